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
            old.clear();
            v4(address, &mut old);
            old
        }
        IpAddr::V6(address) => written(&address, old),
    }
}

/// As `Display` has it: address and port, an IPv6 address in brackets.
pub(super) fn end(end: SocketAddr, mut old: String) -> String {
    match end {
        SocketAddr::V4(end) => {
            old.clear();
            v4(*end.ip(), &mut old);
            old.push(':');
            number(end.port(), &mut old);
            old
        }
        SocketAddr::V6(end) => written(&end, old),
    }
}

/// As `02:00:0a:f4:01:05`.
pub(super) fn mac(bytes: [u8; 6], mut old: String) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    old.clear();
    for (index, byte) in bytes.into_iter().enumerate() {
        if index > 0 {
            old.push(':');
        }
        old.extend([byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)])));
    }
    old
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

fn v4(address: Ipv4Addr, text: &mut String) {
    for (index, byte) in address.octets().into_iter().enumerate() {
        if index > 0 {
            text.push('.');
        }
        number(byte.into(), text);
    }
}

fn number(number: u16, text: &mut String) {
    let mut digits = [0; 5];
    let mut rest = number;
    let mut begin = digits.len();
    while rest > 0 || begin == digits.len() {
        begin -= 1;
        digits[begin] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    text.extend(digits[begin..].iter().copied().map(char::from));
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
