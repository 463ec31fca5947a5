//! Frames of LINKTYPE_NETLINK and LINKTYPE_NFLOG -> [`Testimony`]. What says nothing that weir knows stays a frame, which
//! the decoder counts.

use weir_cluster::UnixNanos;

use crate::capture::LinkType;
use crate::capture::record::{ARPHRD_NETLINK, NETLINK_NETFILTER};
use crate::testimony::Testimony;
use crate::{conntrack, nflog};

/// Length of the header of LINKTYPE_NETLINK.
const COOKED: usize = 16;
/// `NLMSG_ALIGNTO` (linux/netlink.h).
const ALIGN: usize = 4;
/// `struct nlmsghdr`.
const NLMSG_HEADER: usize = 16;

/// The testimony in a frame, in its order.
pub(super) fn read(link: LinkType, bytes: &[u8], at: UnixNanos) -> Vec<Testimony> {
    match link {
        LinkType::NFLOG => nflog::parse_packet(bytes, at).map(Testimony::Logged).into_iter().collect(),
        LinkType::NETLINK => netlink(bytes, at),
        _ => Vec::new(),
    }
}

/// False for what a rule logged without a prefix: it says no more than that the packet was there.
pub(super) fn names_a_rule(testimony: &Testimony) -> bool {
    !matches!(testimony, Testimony::Logged(logged) if logged.prefix.is_empty())
}

/// A frame may hold several messages, as a dump's do.
fn netlink(bytes: &[u8], at: UnixNanos) -> Vec<Testimony> {
    let word = |place: usize| bytes.get(place..)?.first_chunk().map(|word| u16::from_be_bytes(*word));
    if word(2) != Some(ARPHRD_NETLINK) || word(14) != Some(NETLINK_NETFILTER) {
        return Vec::new();
    }
    let mut rest = bytes.get(COOKED..).unwrap_or_default();
    let mut found = Vec::new();
    while let Some(len) = rest.first_chunk().map(|len| u32::from_ne_bytes(*len) as usize) {
        let Some(message) = rest.get(..len).filter(|message| message.len() >= NLMSG_HEADER) else {
            break;
        };
        found.extend(conntrack::parse_message(message, at));
        rest = rest.get(len.next_multiple_of(ALIGN)..).unwrap_or_default();
    }
    found
}
