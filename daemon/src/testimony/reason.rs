//! What the kernel's drop reasons say of a packet, by their names (include/net/dropreason-core.h, without `SKB_DROP_REASON_`).
//!
//! The numbers differ from kernel to kernel, the names stay. Most of what the kernel frees was lost to nobody: such reasons are
//! [`Weight::Nothing`] and are not recorded. A name that is not listed here is new, and taken for a drop.

/// How much a drop reason says of its packet's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The packet was lost to nobody: a copy, a duplicate, another host's, or left over when its socket was closed.
    Nothing,
    /// Nobody here takes such packets, and the sender is told so by an RST or ICMP: a refusal, no loss.
    Refusal,
    /// This packet was lost, for lack of room or for what it is itself: the next may pass.
    Single,
    /// Lost by where it goes or comes from (a rule, a route, a neighbour): others like it are lost as well.
    Every,
}

/// Freed without a loss.
const NOTHING: &[&str] = &[
    "NOT_DROPPED_YET",
    "CONSUMED",
    // The kernel frees by this whatever nobody gave a reason to, mostly what was used up.
    "NOT_SPECIFIED",
    "SOCKET_CLOSE",
    "QUEUE_PURGE",
    "UNIX_DISCONNECT",
    "UNIX_SKIP_OOB",
    "OTHERHOST",
    "UNICAST_IN_L2_MULTICAST",
    // A capture's copy.
    "PACKET_SOCK_ERROR",
    "TAP_FILTER",
    "TAP_TXFILTER",
    // What a receiver has already, or was told with.
    "TCP_OLD_DATA",
    "TCP_OLD_ACK",
    "TCP_OLD_SEQUENCE",
    "TCP_OFOMERGE",
    "TCP_RESET",
    "TCP_FASTOPEN",
    "TCP_RFC7323_PAWS_ACK",
    "DUP_FRAG",
    // Frames about their link alone.
    "UNHANDLED_PROTO",
    "LOCAL_MAC",
    "MAC_IEEE_MAC_CONTROL",
    "ARP_PVLAN_DISABLE",
    "IPV6_NDISC_NS_OTHERHOST",
    "CAN_RX_INVALID_FRAME",
    "CANFD_RX_INVALID_FRAME",
    "CANXL_RX_INVALID_FRAME",
];

const REFUSALS: &[&str] = &["NO_SOCKET", "IP_NOPROTO"];

/// Beside all of TCP's own, whose segments are judged one by one.
const SINGLE: &[&str] = &[
    "SOCKET_RCVBUFF",
    "SOCKET_BACKLOG",
    "PROTO_MEM",
    "NEIGH_QUEUEFULL",
    "QDISC_DROP",
    "QDISC_OVERLIMIT",
    "QDISC_CONGESTED",
    "CAKE_FLOOD",
    "FQ_BAND_LIMIT",
    "FQ_HORIZON_LIMIT",
    "FQ_FLOW_LIMIT",
    "DUALPI2_STEP_DROP",
    "CPU_BACKLOG",
    "FULL_RING",
    "NOMEM",
    "PFMEMALLOC",
    "PKT_TOO_SMALL",
    "PKT_TOO_BIG",
    "HDR_TRUNC",
    "SKB_CSUM",
    "SKB_GSO_SEG",
    "SKB_UCOPY_FAULT",
    "UDP_CSUM",
    "ICMP_CSUM",
    "IP_CSUM",
    "IP_INHDR",
    "FRAG_REASM_TIMEOUT",
    "FRAG_TOO_FAR",
    "IPV6_BAD_EXTHDR",
];

/// Beside all of the queueing disciplines': given up on the way out of a device, behind the programs that see what it sends. Since 6.6
/// the order there is tcx, the filters of clsact, the discipline, and then those who capture (net/core/dev.c, `__dev_queue_xmit`).
const BEHIND: &[&str] = &["TC_EGRESS", "CAKE_FLOOD", "DUALPI2_STEP_DROP"];

/// True of a reason to give up what a device was already seen to send.
#[must_use]
pub fn strikes_behind_a_device(reason: &str) -> bool {
    BEHIND.contains(&reason) || reason.starts_with("QDISC_") || reason.starts_with("FQ_")
}

/// What a reason says. It may be a name that this list has never heard of.
#[must_use]
pub fn weight(reason: &str) -> Weight {
    if NOTHING.contains(&reason) {
        Weight::Nothing
    } else if REFUSALS.contains(&reason) {
        Weight::Refusal
    } else if SINGLE.contains(&reason) || reason.starts_with("TCP_") {
        Weight::Single
    } else {
        Weight::Every
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_in_one_list() {
        let all: Vec<&str> = [NOTHING, REFUSALS, SINGLE].concat();
        for name in &all {
            assert_eq!(all.iter().filter(|other| *other == name).count(), 1, "{name}");
        }
    }

    #[test]
    fn what_is_dropped_behind_a_device_is_told_apart() {
        let names = ["TC_EGRESS", "QDISC_OVERLIMIT", "FQ_BAND_LIMIT", "TC_INGRESS", "NETFILTER_DROP"];
        assert_eq!(names.map(strikes_behind_a_device), [true, true, true, false, false]);
    }

    #[test]
    fn what_is_not_listed_is_a_drop() {
        let told =
            ["NETFILTER_DROP", "OF_ANOTHER_KERNEL", "TCP_CSUM", "NO_SOCKET", "QUEUE_PURGE"].map(weight);
        assert_eq!(told, [Weight::Every, Weight::Every, Weight::Single, Weight::Refusal, Weight::Nothing]);
    }
}
