//! Fields about the two ends of a flow on the wire: addresses, ports, device, encryption.
//!
//! A flow may carry more than one form of an end: the true one in `IP` and `l4`, and what NAT made of it in `weir.nat`.
//! A filter matches any of them, so that a connection is found by whatever address somebody has read somewhere.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Predicate, Reason, predicate};
use crate::flow::NetworkInterface;
use crate::matching::End;

/// One address or a range of them.
enum Addresses {
    One(IpAddr),
    Range(IpNet),
}

impl Addresses {
    fn parse(text: &str) -> Result<Self, Reason> {
        let wrong = || Reason::Address(text.to_owned());
        if text.contains('/') {
            return text.parse().map(Self::Range).map_err(|_| wrong());
        }
        text.parse().map(Self::One).map_err(|_| wrong())
    }

    fn contains(&self, text: &str) -> bool {
        text.parse::<IpAddr>().is_ok_and(|address| match self {
            Self::One(one) => *one == address,
            Self::Range(range) => range.contains(&address),
        })
    }
}

/// `source_ip`, `destination_ip`: an address or a CIDR.
pub(super) fn address(end: End, text: &str) -> Result<Predicate, Reason> {
    let wanted = Addresses::parse(text)?;
    predicate(move |flow| {
        end.address(flow).is_some_and(|address| wanted.contains(address))
            || end.translated(flow).is_some_and(|(address, _)| wanted.contains(address))
    })
}

/// `source_ip_xlated`: the address after SNAT.
pub(super) fn masquerade(text: &str) -> Result<Predicate, Reason> {
    let wanted = Addresses::parse(text)?;
    predicate(move |flow| {
        let nat = flow.weir.as_ref().and_then(|detail| detail.nat.as_ref());
        flow.ip.as_ref().is_some_and(|ip| wanted.contains(&ip.source_xlated))
            || nat.is_some_and(|nat| wanted.contains(&nat.masquerade))
    })
}

/// `source_port`, `destination_port`: a decimal number.
pub(super) fn port(end: End, text: &str) -> Result<Predicate, Reason> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let wanted = text.parse::<u16>().ok().filter(|_| digits);
    let wanted = u32::from(wanted.ok_or_else(|| Reason::Port(text.to_owned()))?);
    predicate(move |flow| {
        end.port(flow).is_some_and(|port| {
            port == wanted || end.translated(flow).is_some_and(|(_, translated)| translated == wanted)
        })
    })
}

/// `interface`: index where it is not 0, and name where there is one.
pub(super) fn interface(wanted: &NetworkInterface) -> Result<Predicate, Reason> {
    let NetworkInterface { index, name } = wanted.clone();
    predicate(move |flow| {
        let (seen_index, seen_name) =
            flow.interface.as_ref().map_or((0, ""), |seen| (seen.index, seen.name.as_str()));
        (index == 0 || index == seen_index) && (name.is_empty() || name == seen_name)
    })
}

/// `encrypted`.
pub(super) fn encrypted(wanted: &bool) -> Result<Predicate, Reason> {
    let wanted = *wanted;
    predicate(move |flow| flow.ip.as_ref().is_some_and(|ip| ip.encrypted) == wanted)
}
