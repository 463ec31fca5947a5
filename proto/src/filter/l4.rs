//! Fields about protocols: of layer 3, 4 and 7, and TCP's flags.

use super::{Predicate, Reason, predicate};
use crate::flow::TcpFlags;
use crate::flow::layer4::Protocol;
use crate::matching::protocol::{PROTOCOLS, l4};

/// `protocol`: a name from [`PROTOCOLS`], in any case.
pub(super) fn protocol(text: &str) -> Result<Predicate, Reason> {
    let Some((_, test)) = PROTOCOLS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) else {
        let names: Vec<&str> = PROTOCOLS.iter().map(|(name, _)| *name).collect();
        return Err(Reason::Protocol(text.to_owned(), names.join(", ")));
    };
    predicate(*test)
}

/// `tcp_flags`: every flag that is set here is set in the flow; others may be.
pub(super) fn tcp_flags(wanted: &TcpFlags) -> Result<Predicate, Reason> {
    let wanted = bits(wanted);
    predicate(move |flow| match l4(flow) {
        Some(Protocol::Tcp(tcp)) => tcp.flags.as_ref().is_some_and(|flags| bits(flags) & wanted == wanted),
        _ => false,
    })
}

fn bits(flags: &TcpFlags) -> u16 {
    let TcpFlags { fin, syn, rst, psh, ack, urg, ece, cwr, ns } = *flags;
    [fin, syn, rst, psh, ack, urg, ece, cwr, ns].iter().rev().fold(0, |bits, set| bits << 1 | u16::from(*set))
}

/// `ip_version`; a flow that is not of IP has version 0.
pub(super) fn ip_version(wanted: &i32) -> Result<Predicate, Reason> {
    let wanted = *wanted;
    predicate(move |flow| flow.ip.as_ref().map_or(0, |ip| ip.ip_version) == wanted)
}
