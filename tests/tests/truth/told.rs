//! What is compared: the conversations of a capture with their counts, tunnels, DNS messages and translations, as one side
//! tells them. `weir.rs` and `tshark.rs` each make it of their side's words.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// Everything that one side says of a capture.
#[derive(Debug, Default)]
pub struct Told {
    /// TCP, UDP and SCTP; in one form of their addresses each.
    pub conversations: BTreeMap<Pair, Vec<Conversation>>,
    /// What was seen in which wrapping, each way for itself.
    pub tunnelled: BTreeMap<Wrapped, Sum>,
    /// UDP conversations that are tunnels to weir: to it, the packet inside is the packet.
    pub carriers: BTreeSet<(IpAddr, IpAddr, u16)>,
    /// DNS messages, and how often.
    pub dns: Vec<Dns>,
    /// Pairs of forms that are one connection.
    pub translated: BTreeSet<(Form, Form)>,
}

/// Protocol and both ends, the lesser first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    pub protocol: String,
    pub a: SocketAddr,
    pub b: SocketAddr,
}

/// One way of a conversation, as it is addressed.
pub type Form = (String, SocketAddr, SocketAddr);

/// The same packet before its translation and after it, with the number of its first frame.
#[derive(Clone, Debug)]
pub struct Translation {
    pub frame: u64,
    pub before: Form,
    pub after: Form,
}

impl Pair {
    /// The pair, and whether its ends changed places.
    pub fn of(protocol: &str, a: SocketAddr, b: SocketAddr) -> (Self, bool) {
        let turned = a > b;
        let (a, b) = if turned { (b, a) } else { (a, b) };
        (Self { protocol: protocol.to_owned(), a, b }, turned)
    }
}

impl Told {
    /// True if the pair is a tunnel's own conversation.
    pub fn carries(&self, pair: &Pair) -> bool {
        let ends = [(pair.a, pair.b), (pair.b, pair.a)];
        let carries = |(from, to): (SocketAddr, SocketAddr)| {
            [from.port(), to.port()].iter().any(|port| self.carriers.contains(&(from.ip(), to.ip(), *port)))
        };
        pair.protocol == "udp" && ends.into_iter().any(carries)
    }
}

impl std::fmt::Display for Pair {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} {} {}", self.protocol, self.a, self.b)
    }
}

/// Packets and bytes of whole frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub packets: u64,
    pub bytes: u64,
    /// Payload of TCP; of other protocols tshark does not tell it.
    pub payload: u64,
}

impl Sum {
    pub fn add(&mut self, more: Self) {
        self.packets += more.packets;
        self.bytes += more.bytes;
        self.payload += more.payload;
    }
}

/// One conversation: of a pair whose port was used again there are several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversation {
    /// First packet, nanoseconds since 1970.
    pub first_ns: u64,
    /// Number of its first frame; weir does not tell it.
    pub frame: u64,
    /// From the lesser end, and from the greater.
    pub ways: [Sum; 2],
    /// Who is the client; of tshark, who sent the first frame.
    pub client: Option<SocketAddr>,
    /// SYN to the ACK that ends the handshake, nanoseconds.
    pub handshake_ns: Option<u64>,
    /// The first half of it; tshark does not tell it.
    pub answered_ns: u64,
    /// SYNs and SYN-ACKs: with more than one of either, nobody can tell which one was answered.
    pub openings: [u64; 2],
    /// Segments sent again or out of order.
    pub again: u64,
    /// Points at which weir saw it: tshark takes the second sighting for a segment sent again.
    pub points: usize,
    /// weir ended it: what comes later between the same ends is another connection.
    pub over: bool,
}

/// What was seen inside a tunnel, one way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wrapped {
    pub kind: String,
    /// Keys or network identifiers, outermost first.
    pub keys: Vec<u32>,
    /// Outermost addresses.
    pub outer: (IpAddr, IpAddr),
    /// Innermost addresses.
    pub inner: (IpAddr, IpAddr),
    /// Protocol, and ports where it has them.
    pub transport: (String, u16, u16),
}

/// A DNS message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dns {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub response: bool,
    /// Lower case, without the final dot.
    pub name: String,
    /// Type by its number.
    pub kind: u16,
    pub rcode: u16,
    /// Addresses told: tshark's of all sections, weir's of the answer.
    pub addresses: Vec<IpAddr>,
    /// Number of its frame; weir does not tell it.
    pub frame: u64,
}

impl Dns {
    /// Tells one message from another; not what it answers.
    pub fn key(&self) -> (IpAddr, IpAddr, bool, &str, u16, u16) {
        (self.source, self.destination, self.response, &self.name, self.kind, self.rcode)
    }
}
