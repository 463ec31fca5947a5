//! The fields of a flow that a replay cannot give as live did, each with its reason. Everything else must be the same.

use crate::check::stories::Differs;

/// Path in the flow's JSON, and why it differs.
pub const DIFFERS: &[(&str, Differs, &str)] = &[
    (
        "time",
        Differs::InValue,
        "when the flow was finished: by the daemon's clock live, by the packets' times in a replay",
    ),
    ("uuid", Differs::InValue, "it numbers the flows of one run, and the replay is another"),
    (
        "weir.connection_id",
        Differs::InValue,
        "one that the kernel's word alone tells of is numbered when its frames were waited for long enough: by the clock live",
    ),
];
