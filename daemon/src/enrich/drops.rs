//! What the kernel gave up, on the wire: in its own words in `Flow.weir`, and in Hubble's where one of those fits.
//!
//! Hubble's words are those of Cilium's datapath. A rule of netfilter's may be a policy or anything else: it is called a denied
//! policy only where the kernel's log named the rule, and that does not say that it lets pass what it logs.

use weir_proto::flow::DropReason;
use weir_proto::weir::v1;

use super::{text, timestamp};
use crate::testimony::Owner;
use crate::track::connection::{Connection, KernelDrop, Observation, Way};

/// Returns how many packets were dropped beside those.
pub(super) fn write(room: &mut Vec<v1::KernelDrop>, connection: &Connection) -> u64 {
    text::list(room, connection.drops(), told);
    connection.drops_more()
}

fn told(drop: &KernelDrop, room: &mut v1::KernelDrop) {
    // By name, so that none is forgotten.
    let v1::KernelDrop { reason, device, pod_device, reply, packets, first, last, loss } = room;
    let site = &drop.cause.site;
    text::set(reason, &drop.cause.reason);
    text::set(device, site.device.as_ref().map_or("", |device| &device.name));
    text::set(
        pod_device,
        match &site.owner {
            Owner::Node => "",
            Owner::Pod(host) => &host.name,
        },
    );
    *reply = drop.way == Way::Reverse;
    *packets = drop.packets;
    (*first, *last) = (Some(timestamp(drop.first)), Some(timestamp(drop.last)));
    *loss = drop.is_loss();
}

/// Why a dropped connection was dropped, in Hubble's words. What the kernel did not drop was named by a rule.
pub(super) fn reason(connection: &Connection) -> DropReason {
    let rule = connection.observed(Observation::Logged);
    match connection.stopped_by().map(|drop| &*drop.cause.reason) {
        None => DropReason::PolicyDenied,
        Some("NETFILTER_DROP") if rule => DropReason::PolicyDenied,
        Some(reason) => in_hubbles_words(reason),
    }
}

/// The words that mean the same. None stands for what Cilium does otherwise or does not do.
fn in_hubbles_words(reason: &str) -> DropReason {
    match reason {
        "IP_RPFILTER" | "IP_LOCAL_SOURCE" | "IP_INVALID_SOURCE" | "IP_INADDRERRORS" => {
            DropReason::InvalidSourceIp
        }
        "IP_OUTNOROUTES" | "IP_INNOROUTES" => DropReason::FibLookupFailed,
        "NEIGH_CREATEFAIL" | "NEIGH_FAILED" | "NEIGH_DEAD" => DropReason::StaleOrUnroutableIp,
        "PKT_TOO_SMALL" | "HDR_TRUNC" | "IP_INHDR" | "IP_CSUM" | "TCP_CSUM" | "UDP_CSUM" | "ICMP_CSUM"
        | "SKB_CSUM" | "TCP_FLAGS" => DropReason::InvalidPacketDropped,
        "IPV6_BAD_EXTHDR" => DropReason::InvalidIpv6ExtensionHeader,
        "VXLAN_VNI_NOT_FOUND" => DropReason::InvalidVni,
        "FQ_HORIZON_LIMIT" => DropReason::ReachedEdtRateLimitingDropHorizon,
        _ => DropReason::Unknown,
    }
}
