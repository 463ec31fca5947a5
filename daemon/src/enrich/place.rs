//! The place of a flow on this node: which run of the daemon, which number in it.

/// Run and number of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowPlace {
    /// Start of the run, Unix milliseconds; 1 for a replay.
    pub run: u64,
    /// Number in the run, from 1.
    pub seq: u64,
}

impl FlowPlace {
    pub(super) fn uuid(self, node: &str) -> String {
        format!("{node}-{}-{}", self.run, self.seq)
    }
}
