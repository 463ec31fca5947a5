//! Frames on hold until no ring can hold an older one, and their order by time.
//!
//! The sort is stable, so frames of one ring with the same time stay as they were. Pure: the times are handed in.

use weir_cluster::UnixNanos;

use crate::capture::{Batch, Frame};

/// Frames not yet released.
#[derive(Debug, Default)]
pub struct Reorder {
    held: Batch,
    released_until: UnixNanos,
}

impl Reorder {
    /// Takes a frame. False if it is older than what was released already: it will be out of order.
    pub fn hold(&mut self, frame: &Frame<'_>) -> bool {
        self.held.push(frame);
        frame.at >= self.released_until
    }

    /// Frames on hold.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Bytes on hold.
    pub fn bytes(&self) -> usize {
        self.held.bytes()
    }

    /// The frames before `until`, oldest first; the others stay.
    pub fn release(&mut self, until: UnixNanos) -> Batch {
        let mut frames: Vec<Frame<'_>> = self.held.frames().collect();
        frames.sort_by_key(|frame| frame.at);
        let due = frames.partition_point(|frame| frame.at < until);
        let batch = gather(&frames[..due]);
        let rest = gather(&frames[due..]);
        let newest = due.checked_sub(1).and_then(|last| frames.get(last)).map(|frame| frame.at);
        self.released_until = self.released_until.max(newest.unwrap_or_default());
        self.held = rest;
        batch
    }
}

fn gather(frames: &[Frame<'_>]) -> Batch {
    let mut batch = Batch::with_capacity(frames.iter().map(|frame| frame.bytes.len()).sum());
    for frame in frames {
        batch.push(frame);
    }
    batch
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::capture::{Direction, InterfaceId, LinkType};

    fn frame(at: u64, mark: &[u8]) -> Frame<'_> {
        Frame {
            at: UnixNanos::from_nanos(at),
            interface: InterfaceId(1),
            direction: Direction::Inbound,
            link: LinkType::ETHERNET,
            original_len: 1500,
            bytes: mark,
        }
    }

    fn contents(batch: &Batch) -> Vec<(u64, Vec<u8>)> {
        batch.frames().map(|frame| (frame.at.as_nanos(), frame.bytes.to_vec())).collect()
    }

    #[test]
    fn what_is_due_leaves_in_order_and_the_rest_stays() {
        let mut reorder = Reorder::default();
        for (at, mark) in [(5, b"e"), (1, b"a"), (5, b"f"), (9, b"z")] {
            assert!(reorder.hold(&frame(at, mark)));
        }
        let batch = reorder.release(UnixNanos::from_nanos(9));
        assert_eq!(contents(&batch), [(1, b"a".to_vec()), (5, b"e".to_vec()), (5, b"f".to_vec())]);
        assert_eq!((reorder.len(), reorder.bytes()), (1, 1));
        assert!(!reorder.hold(&frame(4, b"late")), "older than the newest that left");
        assert_eq!(reorder.release(UnixNanos::MAX).len(), 2);
        assert_eq!(reorder.len(), 0);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_all_is_sorted(rounds in prop::collection::vec(
            (prop::collection::vec(0_u64..100, 0..20), 0_u64..120), 0..8,
        )) {
            let mut reorder = Reorder::default();
            let (mut given, mut taken) = (0, 0);
            for (times, until) in rounds {
                given += times.len();
                for at in times {
                    reorder.hold(&frame(at, b"x"));
                }
                let batch = reorder.release(UnixNanos::from_nanos(until));
                taken += batch.len();
                prop_assert!(batch.frames().is_sorted_by_key(|frame| frame.at));
                prop_assert!(batch.frames().all(|frame| frame.at.as_nanos() < until));
            }
            prop_assert_eq!(given, taken + reorder.len());
        }
    }
}
