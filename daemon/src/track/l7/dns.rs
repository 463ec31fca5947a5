//! UDP payload -> DNS [`Message`] (RFC 1035 section 4), as much of it as a flow tells.

use std::net::IpAddr;

/// A DNS query or answer with exactly one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Transaction id.
    pub id: u16,
    /// An answer.
    pub response: bool,
    /// The answer was cut to fit (TC bit): the client asks again over TCP.
    pub truncated: bool,
    /// Response code (RFC 1035 section 4.1.1), 0 on a query.
    pub rcode: u8,
    /// The name asked for, lower case, fully qualified with its final dot.
    pub name: String,
    /// Type asked for, in words: `A`, `AAAA`, `TYPE65`.
    pub qtype: String,
    /// Addresses in the answer section.
    pub ips: Vec<IpAddr>,
    /// Canonical names in the answer section, in order.
    pub cnames: Vec<String>,
    /// Types of the answer section's records, in order.
    pub rrtypes: Vec<String>,
    /// Smallest time to live in the answer section, seconds; 0 without records.
    pub ttl: u32,
}

/// Reads a message. None if it is no DNS message with one question. With `cut`, the capture did not keep all bytes:
/// what is there of the answer section is told.
#[must_use]
pub fn parse(payload: &[u8], cut: bool) -> Option<Message> {
    let _ = (payload, cut);
    None
}
