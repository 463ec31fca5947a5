//! Texts of a flow, written into the room of those of the flow before.
//!
//! A flow has some seventy texts, and making each anew was most of what a flow cost: so everything here writes into a text that
//! nobody needs any more. [`list`] does the same with a list's elements.

use std::fmt::{Display, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A copy.
pub(super) fn set(room: &mut String, text: &str) {
    text.clone_into(room);
}

/// A text as its parts are written, one behind the other.
pub(super) fn write(room: &mut String, parts: &impl Display) {
    room.clear();
    // Writing into a text cannot fail.
    let _ = write!(room, "{parts}");
}

/// As `Display` has it.
pub(super) fn address(room: &mut String, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let mut letters = Letters::default();
            letters.v4(address);
            letters.replace(room);
        }
        IpAddr::V6(address) => write(room, &address),
    }
}

/// As `Display` has it: address and port, an IPv6 address in brackets.
pub(super) fn end(room: &mut String, end: SocketAddr) {
    match end {
        SocketAddr::V4(end) => {
            let mut letters = Letters::default();
            letters.v4(*end.ip());
            letters.push(b':');
            letters.port(end.port());
            letters.replace(room);
        }
        SocketAddr::V6(end) => write(room, &end),
    }
}

/// As `02:00:0a:f4:01:05`.
pub(super) fn mac(room: &mut String, bytes: [u8; 6]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut letters = Letters::default();
    for (index, byte) in bytes.into_iter().enumerate() {
        if index > 0 {
            letters.push(b':');
        }
        letters.push(DIGITS[usize::from(byte >> 4)]);
        letters.push(DIGITS[usize::from(byte & 15)]);
    }
    letters.replace(room);
}

/// The digits of each octet, and how many they are.
static OCTETS: [([u8; 3], u8); 256] = octets();

const fn octets() -> [([u8; 3], u8); 256] {
    let mut all = [([b'0'; 3], 1); 256];
    let mut octet = 0_u8;
    loop {
        let (hundreds, tens, ones) = (b'0' + octet / 100, b'0' + octet / 10 % 10, b'0' + octet % 10);
        all[octet as usize] = match octet {
            0..=9 => ([ones, b'0', b'0'], 1),
            10..=99 => ([tens, ones, b'0'], 2),
            _ => ([hundreds, tens, ones], 3),
        };
        if octet == u8::MAX {
            return all;
        }
        octet += 1;
    }
}

/// A few letters of ASCII, put together before they become a text: one by one into a text, each asks for room.
#[derive(Default)]
struct Letters {
    bytes: [u8; 24],
    len: usize,
}

impl Letters {
    const fn push(&mut self, letter: u8) {
        // The longest, an IPv4 address with its port, has 21.
        if self.len < self.bytes.len() {
            self.bytes[self.len] = letter;
            self.len += 1;
        }
    }

    fn v4(&mut self, address: Ipv4Addr) {
        for (index, octet) in address.octets().into_iter().enumerate() {
            if index > 0 {
                self.push(b'.');
            }
            let (digits, len) = &OCTETS[usize::from(octet)];
            if let Some(room) = self.bytes.get_mut(self.len..self.len + digits.len()) {
                room.copy_from_slice(digits);
                self.len += usize::from(*len);
            }
        }
    }

    /// The digits that are needed before the last one, and that.
    fn port(&mut self, number: u16) {
        for place in [10_000, 1000, 100, 10] {
            if number >= place {
                self.push(b'0' + (number / place % 10) as u8);
            }
        }
        self.push(b'0' + (number % 10) as u8);
    }

    fn replace(&self, room: &mut String) {
        let letters = self.bytes.get(..self.len).unwrap_or_default();
        set(room, std::str::from_utf8(letters).unwrap_or_default());
    }
}

/// What a flow may have or not: `write` is given what there is, and the room of what stood there.
pub(super) fn either<S, T: Default>(room: &mut Option<T>, source: Option<S>, write: impl FnOnce(S, &mut T)) {
    match source {
        Some(source) => write(source, room.get_or_insert_with(T::default)),
        None => *room = None,
    }
}

/// A list in the room of another: `write` is given each source and the element that stood in its place.
pub(super) fn list<S, T: Default>(
    room: &mut Vec<T>,
    sources: impl IntoIterator<Item = S>,
    mut write: impl FnMut(S, &mut T),
) {
    let mut written = 0;
    for source in sources {
        if written == room.len() {
            room.push(T::default());
        }
        if let Some(element) = room.get_mut(written) {
            write(source, element);
        }
        written += 1;
    }
    room.truncate(written);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn over_another(write: impl FnOnce(&mut String)) -> String {
        let mut room = "what was there before, and is longer than anything that comes".to_owned();
        write(&mut room);
        room
    }

    proptest! {
        #[test]
        fn it_is_what_display_writes(ip: IpAddr, port: u16) {
            prop_assert_eq!(over_another(|room| address(room, ip)), ip.to_string());
            let both = SocketAddr::new(ip, port);
            prop_assert_eq!(over_another(|room| end(room, both)), both.to_string());
            let mut empty = String::new();
            end(&mut empty, both);
            prop_assert_eq!(empty, both.to_string());
        }

        #[test]
        fn a_list_is_what_was_written_whatever_was_there(mut room: Vec<u8>, new: Vec<u8>) {
            list(&mut room, new.iter(), |source, element| *element = *source);
            prop_assert_eq!(room, new);
        }
    }

    #[test]
    fn every_octet_has_its_digits() {
        for octet in 0..=255 {
            let ip = IpAddr::from([octet, 0, octet, 255]);
            assert_eq!(over_another(|room| address(room, ip)), ip.to_string());
        }
    }
}
