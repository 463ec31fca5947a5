//! The fields of a flow that two daemons on one node cannot tell alike, each with its reason. Everything else must be the same.

use weir_proto::weir::v1::SourceKind;

use crate::check::stories::Differs;
use crate::kinds::Source;

/// True if a daemon that was asked for this source has it.
pub fn is(asked: Source, told: Option<SourceKind>) -> bool {
    match asked {
        Source::Auto => told.is_some(),
        Source::Ebpf => told == Some(SourceKind::Ebpf),
        Source::Pcap => told == Some(SourceKind::Pcap),
    }
}

const MOMENT: &str = "each source stamps a packet at its own place, some microseconds apart";
const SINCE: &str = "of what was new since the flow before, and each daemon tells when its own clock says so";
const ESTIMATED: &str = "libpcap's is an estimate by the segment size that both ends announced";
const COUNTED: &str =
    "packets that were counted in the kernel were not timed; `weir.tcp.absent` names what that leaves out";

/// Path in the flow's JSON, and why it differs. What is below a path differs with it.
pub const DIFFERS: &[(&str, Differs, &str)] = &[
    ("time", Differs::InValue, "when the flow was finished, by the clock of the daemon that tells it"),
    ("uuid", Differs::InValue, "it numbers the flows of one daemon's run"),
    ("weir.connection_id", Differs::InValue, "it numbers the connections of one daemon"),
    ("weir.first_packet", Differs::InValue, MOMENT),
    ("weir.last_packet", Differs::InValue, MOMENT),
    ("weir.path.first", Differs::InValue, MOMENT),
    ("weir.path.last", Differs::InValue, MOMENT),
    ("weir.evidence.time", Differs::InValue, MOMENT),
    (
        "weir.evidence.detail",
        Differs::InValue,
        "a packet that is unwrapped keeps libpcap's one stamp on both devices, and either may be called the first",
    ),
    ("weir.kernel_drops.first", Differs::InValue, MOMENT),
    ("weir.kernel_drops.last", Differs::InValue, MOMENT),
    ("weir.tcp.handshake_server_ns", Differs::InValue, MOMENT),
    ("weir.tcp.handshake_client_ns", Differs::InValue, MOMENT),
    ("weir.dns_latency_ns", Differs::InValue, MOMENT),
    ("l7.latency_ns", Differs::InValue, MOMENT),
    ("weir.delta", Differs::Entirely, SINCE),
    ("l4.TCP.flags", Differs::Entirely, SINCE),
    ("Summary", Differs::Entirely, SINCE),
    ("weir.reason", Differs::InValue, SINCE),
    ("weir.correction", Differs::Entirely, SINCE),
    ("weir.total.wire_packets_forward", Differs::InValue, ESTIMATED),
    ("weir.total.wire_packets_reverse", Differs::InValue, ESTIMATED),
    ("weir.path.counters.wire_packets_forward", Differs::InValue, ESTIMATED),
    ("weir.path.counters.wire_packets_reverse", Differs::InValue, ESTIMATED),
    ("weir.tcp.rtt_server", Differs::Entirely, COUNTED),
    ("weir.tcp.rtt_client", Differs::Entirely, COUNTED),
    ("weir.tcp.absent", Differs::Entirely, COUNTED),
];
