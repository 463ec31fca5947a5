//! Texts of a flow, written into the room of those of the flow before.
//!
//! A flow has some seventy texts, and making each anew was most of what a flow cost: so everything here takes a text that
//! nobody needs any more, and gives it back with other words in it. [`list`] does the same with a list's elements.

use std::fmt::{Display, Write as _};
use std::mem::take;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A copy.
pub(super) fn of(text: &str, mut old: String) -> String {
    text.clone_into(&mut old);
    old
}

/// A text as its parts are written, one behind the other.
pub(super) fn written(parts: &impl Display, mut old: String) -> String {
    old.clear();
    // Writing into a text cannot fail.
    let _ = write!(old, "{parts}");
    old
}

/// As `Display` has it.
pub(super) fn address(address: IpAddr, mut old: String) -> String {
    match address {
        IpAddr::V4(address) => {
            let mut letters = Letters::default();
            letters.v4(address);
            letters.replace(&mut old);
            old
        }
        IpAddr::V6(address) => written(&address, old),
    }
}

/// As `Display` has it: address and port, an IPv6 address in brackets.
pub(super) fn end(end: SocketAddr, mut old: String) -> String {
    match end {
        SocketAddr::V4(end) => {
            let mut letters = Letters::default();
            letters.v4(*end.ip());
            letters.push(b':');
            letters.number(end.port());
            letters.replace(&mut old);
            old
        }
        SocketAddr::V6(end) => written(&end, old),
    }
}

/// As `02:00:0a:f4:01:05`.
pub(super) fn mac(bytes: [u8; 6], mut old: String) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut letters = Letters::default();
    for (index, byte) in bytes.into_iter().enumerate() {
        if index > 0 {
            letters.push(b':');
        }
        letters.push(DIGITS[usize::from(byte >> 4)]);
        letters.push(DIGITS[usize::from(byte & 15)]);
    }
    letters.replace(&mut old);
    old
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
        for (index, byte) in address.octets().into_iter().enumerate() {
            if index > 0 {
                self.push(b'.');
            }
            self.number(byte.into());
        }
    }

    /// The digits that are needed before the last one, and that.
    fn number(&mut self, number: u16) {
        for place in [10_000, 1000, 100, 10] {
            if number >= place {
                self.push(b'0' + (number / place % 10) as u8);
            }
        }
        self.push(b'0' + (number % 10) as u8);
    }

    fn replace(&self, text: &mut String) {
        let letters = self.bytes.get(..self.len).unwrap_or_default();
        std::str::from_utf8(letters).unwrap_or_default().clone_into(text);
    }
}

/// A list of the same room: `make` is given each source and the element that stood in its place.
pub(super) fn list<S, T: Default>(
    mut old: Vec<T>,
    sources: impl IntoIterator<Item = S>,
    make: impl Fn(S, T) -> T,
) -> Vec<T> {
    let mut made = 0;
    for source in sources {
        match old.get_mut(made) {
            Some(element) => *element = make(source, take(element)),
            None => old.push(make(source, T::default())),
        }
        made += 1;
    }
    old.truncate(made);
    old
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_what_display_writes(ip: IpAddr, port: u16) {
            let old = || "what was there before, and is longer than anything that comes".to_owned();
            prop_assert_eq!(address(ip, old()), ip.to_string());
            let both = SocketAddr::new(ip, port);
            prop_assert_eq!(end(both, String::new()), both.to_string());
            prop_assert_eq!(end(both, old()), both.to_string());
        }

        #[test]
        fn a_list_is_what_was_made_whatever_was_there(old: Vec<u8>, new: Vec<u8>) {
            let made = list(old, new.iter(), |source, _| *source);
            prop_assert_eq!(made, new);
        }
    }
}
