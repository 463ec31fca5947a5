//! What a source of packets cannot tell, in the words of a flow's fields.
//!
//! The one list: readers of flows go by it, the README's table is it, and the tests that compare the sources allow what is listed
//! and nothing else.

/// How packets are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Every frame is handed up.
    Frames,
    /// Frames that carry news are handed up; what goes on as before is counted where it passes.
    Tallies,
}

/// A field that a source cannot fill, or fills otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absent {
    /// Which source.
    pub kind: Kind,
    /// Path of the field in a flow, as in JSON.
    pub field: &'static str,
    /// What the field has instead.
    pub instead: &'static str,
}

const fn tallies(field: &'static str, instead: &'static str) -> Absent {
    Absent { kind: Kind::Tallies, field, instead }
}

/// All of them.
pub const ABSENT: &[Absent] = &[
    tallies(
        "weir.tcp.rtt_server",
        "absent and named in `weir.tcp.absent` once packets were counted: answers are not seen one by one",
    ),
    tallies("weir.tcp.rtt_client", "the same"),
    tallies("weir.tcp.absent", "names these two"),
];
