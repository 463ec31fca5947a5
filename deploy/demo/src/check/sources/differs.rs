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

/// Path in the flow's JSON, and why it differs.
pub const DIFFERS: &[(&str, Differs, &str)] = &[
    ("time", Differs::InValue, "when the flow was finished, by the clock of the daemon that tells it"),
    ("uuid", Differs::InValue, "it numbers the flows of one daemon's run"),
    ("weir.connection_id", Differs::InValue, "it numbers the connections of one daemon"),
];
