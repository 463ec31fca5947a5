//! A node's name, and how far its flows were read: what is new, what came twice, and what is missing, to the unit.
//!
//! A node numbers its flows from 1 in each run of its daemon, so a hole is a loss. What a daemon that was killed took
//! with it shows when its next run tells the last number of the one before. Pure.

use std::fmt;
use std::sync::Arc;

/// Name of a node, shared by all that speaks of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for NodeName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Place of a flow on its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The daemon's run, its start in Unix milliseconds.
    pub run: u64,
    /// Number in that run, from 1.
    pub seq: u64,
}

/// What the next place means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Seen already: not to be told again.
    Known,
    /// New, and this is missing before it.
    New(Missing),
}

/// What is missing before a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// So many flows, certainly.
    pub flows: u64,
    /// And an unknown number more, of a run whose last number nobody kept.
    pub unknown_tail: bool,
}

/// How far one node was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    last: Option<Place>,
}

impl Progress {
    /// The last place seen.
    #[must_use]
    pub const fn last(&self) -> Option<Place> {
        self.last
    }

    /// The next flow, with the last place of the run before its own where it tells that. What a node told before it was
    /// first read is no loss.
    pub fn advance(&mut self, next: Place, previous: Option<Place>) -> Step {
        let Some(last) = self.last else {
            self.last = Some(next);
            return Step::New(Missing::default());
        };
        if next.run == last.run && next.seq <= last.seq {
            return Step::Known;
        }
        self.last = Some(next);
        let before = next.seq.saturating_sub(1);
        if next.run == last.run {
            return Step::New(Missing { flows: before - last.seq, unknown_tail: false });
        }
        Step::New(match previous {
            Some(old) if old.run == last.run => {
                Missing { flows: before + old.seq.saturating_sub(last.seq), unknown_tail: false }
            }
            // A whole run passed unseen; what the run before that one had left is not known.
            Some(old) => Missing { flows: before + old.seq, unknown_tail: true },
            None => Missing { flows: before, unknown_tail: true },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(run: u64, seq: u64) -> Place {
        Place { run, seq }
    }

    fn after(last: Place, next: Place, previous: Option<Place>) -> Step {
        let mut progress = Progress { last: Some(last) };
        progress.advance(next, previous)
    }

    fn missing(flows: u64, unknown_tail: bool) -> Step {
        Step::New(Missing { flows, unknown_tail })
    }

    #[test]
    fn what_was_before_the_first_flow_read_is_no_loss() {
        assert_eq!(Progress::default().advance(at(1, 500), None), missing(0, false));
    }

    #[test]
    fn a_hole_is_counted_to_the_unit() {
        assert_eq!(after(at(1, 5), at(1, 6), None), missing(0, false));
        assert_eq!(after(at(1, 5), at(1, 9), None), missing(3, false));
    }

    #[test]
    fn a_flow_is_never_new_twice() {
        assert_eq!(after(at(1, 5), at(1, 5), None), Step::Known);
        assert_eq!(after(at(1, 5), at(1, 4), None), Step::Known);
    }

    #[test]
    fn the_next_run_tells_what_the_killed_one_took_with_it() {
        assert_eq!(after(at(1, 5), at(2, 1), Some(at(1, 5))), missing(0, false));
        assert_eq!(after(at(1, 5), at(2, 1), Some(at(1, 8))), missing(3, false));
        assert_eq!(after(at(1, 5), at(2, 4), Some(at(1, 8))), missing(6, false));
    }

    #[test]
    fn what_nobody_kept_is_called_unknown() {
        assert_eq!(after(at(1, 5), at(2, 3), None), missing(2, true));
        assert_eq!(after(at(1, 5), at(3, 1), Some(at(2, 7))), missing(7, true));
    }
}
