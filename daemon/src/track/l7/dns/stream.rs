//! One way of a TCP connection -> the DNS messages in it, each behind its length (RFC 1035 section 4.2.2).
//!
//! Segments come in the order of capture. What was seen before is skipped; behind a hole reading begins anew at the next segment,
//! since a message mostly begins one. Bounded: what has begun is kept in the [`Budget`] that all connections share; a message
//! that is too long or finds no room there is passed over to its end, and told so.

use super::{Message, parse};
use crate::track::l7::budget::{Budget, Kept};

/// Longest message that is put together from several segments. One that is whole in its segment may be longer.
const MAX_BUFFER: usize = 16_384;
const LENGTH_LEN: usize = 2;

/// What is kept of one way between segments.
#[derive(Debug)]
pub struct Stream {
    /// Sequence number that follows all that was read.
    next: Option<u32>,
    /// A message that has begun, with its length in front.
    begun: Kept,
    /// Bytes to come of a message that is not read.
    passed_over: usize,
}

/// What a segment brought.
#[derive(Debug, Default)]
pub struct Found {
    /// Messages that it completed.
    pub messages: Vec<Message>,
    /// A message could not be read for lack of its bytes, or since it is too long.
    pub unread: bool,
    /// The budget had no room for a message.
    pub no_room: bool,
}

impl Stream {
    /// Nothing was seen yet. What begins is kept in this budget.
    #[must_use]
    pub const fn new(budget: Budget) -> Self {
        Self { next: None, begun: Kept::new(budget), passed_over: 0 }
    }

    /// Takes a segment: its sequence number, what was captured of its payload, and how long that was on the wire.
    pub fn segment(&mut self, sequence: u32, payload: &[u8], payload_len: u32) -> Found {
        let mut found = Found::default();
        if payload_len == 0 {
            return found;
        }
        let next = self.next.unwrap_or(sequence);
        // How far behind (positive) or ahead of what was read the segment begins.
        let seen = next.wrapping_sub(sequence) as i32;
        let fresh = match usize::try_from(seen) {
            Ok(seen) => payload.get(seen..).unwrap_or_default(),
            Err(_) => {
                self.missing(seen.unsigned_abs(), &mut found);
                payload
            }
        };
        let end = sequence.wrapping_add(payload_len);
        if (end.wrapping_sub(next) as i32) <= 0 && self.next.is_some() {
            return found;
        }
        self.next = Some(end);
        self.read(fresh, &mut found);
        let captured = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        if captured < payload_len {
            // The capture kept less.
            self.missing(payload_len - captured, &mut found);
        }
        found
    }

    /// So many bytes are not there: what follows them is read from where it begins.
    fn missing(&mut self, bytes: u32, found: &mut Found) {
        found.unread |= !self.begun.is_empty();
        self.begun.take();
        self.passed_over = self.passed_over.saturating_sub(usize::try_from(bytes).unwrap_or(usize::MAX));
    }

    fn read(&mut self, fresh: &[u8], found: &mut Found) {
        let passed = self.passed_over.min(fresh.len());
        self.passed_over -= passed;
        let fresh = fresh.get(passed..).unwrap_or_default();
        if self.begun.is_empty() {
            let rest = whole(fresh, found);
            return self.keep(rest, found);
        }
        let mut begun = self.begun.take();
        begun.extend_from_slice(fresh);
        let rest = whole(&begun, found);
        self.keep(rest, found);
    }

    /// Keeps a message's beginning, or knows where it will end.
    fn keep(&mut self, rest: &[u8], found: &mut Found) {
        let declared = rest.first_chunk().map_or(0, |length| usize::from(u16::from_be_bytes(*length)));
        let message = LENGTH_LEN + declared;
        let too_long = message > MAX_BUFFER;
        if too_long || !self.begun.keep(rest) {
            found.unread |= too_long;
            found.no_room |= !too_long;
            self.passed_over = message.saturating_sub(rest.len());
        }
    }
}

/// Reads the messages that are whole, and gives back what is behind them.
fn whole<'a>(mut bytes: &'a [u8], found: &mut Found) -> &'a [u8] {
    while let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_LEN>()
        && let Some((message, behind)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
    {
        found.messages.extend(parse(message, false));
        bytes = behind;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A question for `.`, with its length in front.
    fn question(id: u8) -> Vec<u8> {
        let message = [0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1];
        [&[0, 17][..], &message].concat()
    }

    fn stream() -> Stream {
        Stream::new(Budget::new(usize::MAX))
    }

    fn ids(found: &Found) -> Vec<u16> {
        found.messages.iter().map(|message| message.id).collect()
    }

    fn take(stream: &mut Stream, sequence: u32, bytes: &[u8]) -> Vec<u16> {
        ids(&stream.segment(sequence, bytes, u32::try_from(bytes.len()).unwrap()))
    }

    #[test]
    fn messages_may_share_a_segment_or_span_several() {
        let both = [question(1), question(2)].concat();
        for cut in 0..=both.len() {
            let mut stream = stream();
            let mut read = take(&mut stream, u32::MAX - 3, &both[..cut]);
            read.extend(take(&mut stream, (u32::MAX - 3).wrapping_add(cut as u32), &both[cut..]));
            assert_eq!(read, [1, 2], "cut at {cut}");
        }
    }

    #[test]
    fn what_is_sent_again_is_read_once() {
        let (one, other) = (question(1), question(2));
        let mut stream = stream();
        assert_eq!(take(&mut stream, 100, &one), [1]);
        assert!(take(&mut stream, 100, &one).is_empty());
        assert_eq!(take(&mut stream, 100, &[one, other].concat()), [2]);
    }

    #[test]
    fn behind_a_hole_reading_begins_anew() {
        let mut stream = stream();
        assert!(take(&mut stream, 100, &question(1)[..9]).is_empty());
        let found = stream.segment(500, &question(2), 19);
        assert_eq!((ids(&found), found.unread), (vec![2], true));
    }

    #[test]
    fn a_message_that_is_too_long_is_passed_over_to_its_end() {
        let mut stream = stream();
        let long = [&[0xff, 0xff][..], &[0; 0xffff]].concat();
        let mut sequence = 0;
        let mut unread = 0;
        for segment in [long, question(3)].concat().chunks(1000) {
            let found = stream.segment(sequence, segment, segment.len() as u32);
            assert!(stream.begun.bytes().len() <= MAX_BUFFER);
            unread += u32::from(found.unread);
            sequence += segment.len() as u32;
            let last = sequence == 0xffff + 2 + 19;
            assert_eq!(ids(&found), if last { vec![3] } else { vec![] }, "at {sequence}");
        }
        assert_eq!(unread, 1);
    }

    #[test]
    fn a_message_without_room_is_passed_over_to_its_end() {
        let budget = Budget::new(12);
        let mut stream = Stream::new(budget.clone());
        let found = stream.segment(0, &question(1)[..15], 15);
        assert!(found.no_room && !found.unread);
        assert_eq!(budget.used(), 0);
        // Its end, and the beginning of the next one.
        let rest = [&question(1)[15..], &question(2)[..9]].concat();
        assert!(take(&mut stream, 15, &rest).is_empty());
        assert_eq!(budget.used(), 9);
        assert_eq!(take(&mut stream, 28, &question(2)[9..]), [2]);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_is_passed_over_may_be_missing_too() {
        for hole in 1..=12 {
            let mut stream = Stream::new(Budget::new(0));
            assert!(stream.segment(0, &question(1)[..7], 7).no_room);
            let behind = [&question(1)[7 + hole as usize..], &question(2)].concat();
            assert_eq!(take(&mut stream, 7 + hole, &behind), [2], "{hole} bytes of it");
        }
    }

    #[test]
    fn a_message_that_the_capture_cut_is_told_as_unread() {
        let mut stream = stream();
        let found = stream.segment(0, &question(1)[..10], 19);
        assert!(found.unread && found.messages.is_empty());
        assert_eq!(take(&mut stream, 19, &question(2)), [2]);
    }
}
