//! What the kernel says by netlink: its packet log, its connection tracking, its devices.

use weir_cluster::UnixNanos;
use weir_daemon::capture::links;
use weir_daemon::testimony::Testimony;
use weir_daemon::{conntrack, nflog};

const AT: UnixNanos = UnixNanos::from_nanos(1_000_000_000);

/// A logged packet; what is written of it is read back as the same.
pub(crate) fn packet_log(bytes: &[u8]) {
    let Some(packet) = nflog::parse_packet(bytes, AT) else { return };
    let again = nflog::parse_packet(&nflog::emit_packet(&packet), packet.at);
    // An attribute holds 64 KiB, and a prefix what is left of them by its NUL.
    if packet.packet.len() < 60_000 && packet.prefix.len() < 60_000 {
        assert_eq!(again, Some(packet));
    }
}

/// A conntrack entry; what is written of it is read back as the same.
pub(crate) fn conntrack(bytes: &[u8]) {
    let (entry, gone) = match conntrack::parse_message(bytes, AT) {
        Some(Testimony::Tracked(entry)) => (entry, false),
        Some(Testimony::Untracked(entry)) => (entry, true),
        Some(Testimony::Logged(_) | Testimony::Dropped(_)) | None => return,
    };
    let again = conntrack::parse_message(&conntrack::emit_message(&entry, gone), AT);
    assert_eq!(again, Some(if gone { Testimony::Untracked(entry) } else { Testimony::Tracked(entry) }));
}

/// Links, addresses and routes of the node.
pub(crate) fn devices(bytes: &[u8]) {
    if let Some(link) = links::wire::parse_link(bytes) {
        let _ = (links::role::role_of(&link), links::role::why(&link), links::role::may_bypass(&link));
    }
    let _ = links::wire::parse_address(bytes);
    let _ = links::wire::parse_default_route(bytes);
}
