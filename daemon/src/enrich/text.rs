//! Addresses as text. A flow has some twenty of them, and the standard library's way, through its formatter into a text that
//! grows piece by piece, showed in the profile of the pipeline.

use std::fmt::{Display, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The longest: `255.255.255.255`, with a port, and an IPv6 address in full, in brackets, with one.
const LONGEST: (usize, usize, usize) = (15, 21, 47);

/// As `Display` has it.
pub(super) fn address(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let mut text = String::with_capacity(LONGEST.0);
            v4(address, &mut text);
            text
        }
        IpAddr::V6(address) => formatted(&address),
    }
}

/// As `Display` has it: address and port, an IPv6 address in brackets.
pub(super) fn end(end: SocketAddr) -> String {
    match end {
        SocketAddr::V4(end) => {
            let mut text = String::with_capacity(LONGEST.1);
            v4(*end.ip(), &mut text);
            text.push(':');
            number(end.port(), &mut text);
            text
        }
        SocketAddr::V6(end) => formatted(&end),
    }
}

fn formatted(v6: &impl Display) -> String {
    let mut text = String::with_capacity(LONGEST.2);
    // Writing into a text cannot fail.
    let _ = write!(text, "{v6}");
    text
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
    let places = [10_000, 1000, 100, 10, 1];
    let wanted = places.into_iter().skip_while(|place| number < *place && *place > 1);
    text.extend(wanted.map(|place| char::from(b'0' + u8::try_from(number / place % 10).unwrap_or(0))));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_what_display_writes(ip: IpAddr, port: u16) {
            prop_assert_eq!(address(ip), ip.to_string());
            let both = SocketAddr::new(ip, port);
            prop_assert_eq!(end(both), both.to_string());
        }
    }
}
