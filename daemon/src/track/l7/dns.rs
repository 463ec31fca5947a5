//! DNS bytes -> DNS [`Message`] (RFC 1035 section 4), as much of it as a flow tells. UDP carries one, TCP a [`stream`] of them.
//!
//! Only question and answer section are read, forwards and once: a name's pointers must lead back, so nothing loops, and
//! what is kept is bounded. Bytes of a name that are no printable ASCII are escaped as in a zone file (section 5.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub mod stream;
mod types;

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod tests;

const HEADER_LEN: usize = 12;
/// Longest name on the wire (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 255;
/// Records of an answer that are told; an answer of 4096 bytes has at most 255.
const MAX_RECORDS: u16 = 512;

/// Flag bits of the header's second word.
const RESPONSE: u16 = 1 << 15;
const OPCODE: u16 = 0xf << 11;
const TRUNCATED: u16 = 1 << 9;
const RCODE: u16 = 0xf;

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
/// what is there of the answer section is told. So it is if the server says that it cut the answer.
#[must_use]
pub fn parse(payload: &[u8], cut: bool) -> Option<Message> {
    let header = Header::read(payload)?;
    if header.flags & OPCODE != 0 || header.questions != 1 {
        return None;
    }
    let mut reader = Reader { message: payload, at: HEADER_LEN };
    let name = reader.name()?;
    let qtype = types::word(reader.u16()?);
    let _class = reader.u16()?;
    let mut message = Message {
        id: header.id,
        response: header.flags & RESPONSE != 0,
        truncated: header.flags & TRUNCATED != 0,
        rcode: u8::try_from(header.flags & RCODE).unwrap_or_default(),
        name,
        qtype,
        ips: Vec::new(),
        cnames: Vec::new(),
        rrtypes: Vec::new(),
        ttl: 0,
    };
    for _ in 0..header.answers.min(MAX_RECORDS) {
        match reader.record() {
            Some(record) => message.tell(record),
            None if cut || message.truncated => break,
            None => return None,
        }
    }
    Some(message)
}

impl Message {
    fn tell(&mut self, record: Record) {
        self.ttl = if self.rrtypes.is_empty() { record.ttl } else { self.ttl.min(record.ttl) };
        self.rrtypes.push(types::word(record.kind));
        match record.data {
            Data::Address(address) => self.ips.push(address),
            Data::Alias(name) => self.cnames.push(name),
            Data::Other => {}
        }
    }
}

/// RFC 1035 section 4.1.1, without the counts of the sections that are not read.
struct Header {
    id: u16,
    flags: u16,
    questions: u16,
    answers: u16,
}

impl Header {
    fn read(payload: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_LEN] = payload.first_chunk()?;
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        Some(Self { id: word(0), flags: word(2), questions: word(4), answers: word(6) })
    }
}

/// One record of the answer section.
struct Record {
    kind: u16,
    ttl: u32,
    data: Data,
}

/// What of a record is told.
enum Data {
    Address(IpAddr),
    Alias(String),
    Other,
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let bytes = self.message.get(self.at..)?.get(..len)?;
        self.at += len;
        Some(bytes)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(*self.take(2)?.first_chunk()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(*self.take(4)?.first_chunk()?))
    }

    /// RFC 1035 section 4.1.3. A record whose data do not fit its type is malformed.
    fn record(&mut self) -> Option<Record> {
        self.name()?;
        let kind = self.u16()?;
        let _class = self.u16()?;
        let ttl = self.u32()?;
        let len = usize::from(self.u16()?);
        let start = self.at;
        let bytes = self.take(len)?;
        let data = match kind {
            types::A => Data::Address(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
            types::AAAA => Data::Address(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
            types::CNAME => Data::Alias(Reader { message: self.message, at: start }.name()?),
            _ => Data::Other,
        };
        Some(Record { kind, ttl, data })
    }

    /// A name, lower case with its final dot; leaves the reader behind it. A pointer must lead to before the labels it
    /// ends (section 4.1.4: "a prior occurrence"), so each jump goes further back.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let mut wire_len = 1;
        let mut labels = Reader { message: self.message, at: self.at };
        let mut earliest = self.at;
        let mut behind = None;
        loop {
            match labels.u8()? {
                0 => break,
                len @ 1..=63 => {
                    wire_len += 1 + usize::from(len);
                    if wire_len > MAX_NAME {
                        return None;
                    }
                    push_label(&mut name, labels.take(usize::from(len))?);
                }
                high @ 0xc0.. => {
                    let target = usize::from(u16::from_be_bytes([high & 0x3f, labels.u8()?]));
                    behind.get_or_insert(labels.at);
                    if target >= earliest {
                        return None;
                    }
                    (earliest, labels.at) = (target, target);
                }
                _ => return None,
            }
        }
        self.at = behind.unwrap_or(labels.at);
        if name.is_empty() {
            name.push('.');
        }
        Some(name)
    }
}

/// Appends a label and its dot. A dot within it, a backslash and all that does not print are escaped.
fn push_label(name: &mut String, label: &[u8]) {
    for byte in label.iter().map(u8::to_ascii_lowercase) {
        match byte {
            b'.' | b'\\' => name.extend(['\\', char::from(byte)]),
            b'!'..=b'~' => name.push(char::from(byte)),
            _ => name.push_str(&format!("\\{byte:03}")),
        }
    }
    name.push('.');
}
