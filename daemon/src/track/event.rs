//! What the tracker tells the next stage: a connection, why it speaks of it now, and a message if that is why.

use weir_cluster::UnixNanos;

use super::connection::{Connection, Counters, Way};
use super::l7::dns;

/// Something worth a flow.
#[derive(Debug)]
pub struct Event<'a> {
    /// When it was decided, on the clock of the packets.
    pub at: UnixNanos,
    /// Why.
    pub reason: Reason,
    /// The connection as it is now.
    pub connection: &'a Connection,
    /// Counted since the connection's previous event.
    pub delta: Counters,
    /// The message, if `reason` is [`Reason::Message`].
    pub message: Option<&'a Message>,
    /// Corrects what earlier events said.
    pub correction: bool,
}

/// Why an event is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The first: settled, or its time is over.
    Settled,
    /// The state changed.
    State,
    /// A message of the application protocol.
    Message,
    /// The kernel's log named it, or the kernel dropped a packet of it.
    Drop,
    /// An ICMP error told of one of its packets.
    Icmp,
    /// It carried traffic.
    Periodic,
    /// NAT or verdict learnt late.
    Correction,
    /// Over.
    End,
}

/// A message of an application protocol.
#[derive(Clone, Debug)]
pub struct Message {
    /// When its packet was captured.
    pub at: UnixNanos,
    /// Who sent it.
    pub way: Way,
    /// Its content.
    pub content: Content,
}

/// Content by protocol.
#[derive(Clone, Debug)]
pub enum Content {
    /// A DNS message; for an answer, the time since its query if that was seen.
    Dns {
        /// The message.
        message: dns::Message,
        /// Time since the query, nanoseconds.
        latency_ns: Option<u64>,
    },
}
