//! The fields of a flow that a replay cannot give as live did, each with its reason. Everything else must be the same.

/// Path in the flow's JSON, and why it differs.
pub const DIFFERS: &[(&str, &str)] = &[
    ("time", "when the flow was finished: by the daemon's clock live, by the packets' times in a replay"),
    ("uuid", "it numbers the flows of one run, and the replay is another"),
];
