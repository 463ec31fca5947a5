//! One way of a TCP connection -> the DNS messages in it, each behind its length (RFC 1035 section 4.2.2).
//!
//! Segments come in the order of capture. What was seen before is skipped; behind a hole reading begins anew at the next segment,
//! since a message mostly begins one. Bounded: a message longer than the buffer is skipped, and counted as unread.

use super::{Message, parse};

/// Longest message that is put together from several segments. One that is whole in its segment may be longer.
const MAX_BUFFER: usize = 16_384;
const LENGTH_LEN: usize = 2;

/// What is kept of one way between segments.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// Sequence number that follows all that was read.
    next: Option<u32>,
    /// A message that has begun, with its length in front.
    begun: Vec<u8>,
}

/// What a segment brought.
#[derive(Debug, Default)]
pub struct Found {
    /// Messages that it completed.
    pub messages: Vec<Message>,
    /// A message could not be read for lack of its bytes or of room.
    pub unread: bool,
}

impl Stream {
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
                found.unread = !self.begun.is_empty();
                self.begun.clear();
                payload
            }
        };
        let end = sequence.wrapping_add(payload_len);
        if (end.wrapping_sub(next) as i32) <= 0 && self.next.is_some() {
            return found;
        }
        self.next = Some(end);
        self.read(fresh, &mut found);
        if u32::try_from(payload.len()).unwrap_or(u32::MAX) < payload_len {
            // The capture kept less: what follows begins elsewhere.
            found.unread |= !self.begun.is_empty();
            self.begun.clear();
        }
        found
    }

    fn read(&mut self, fresh: &[u8], found: &mut Found) {
        if self.begun.is_empty() {
            let rest = whole(fresh, found);
            return self.keep(rest, found);
        }
        let mut begun = std::mem::take(&mut self.begun);
        begun.extend_from_slice(fresh);
        let rest = whole(&begun, found);
        self.keep(rest, found);
    }

    fn keep(&mut self, rest: &[u8], found: &mut Found) {
        if rest.len() > MAX_BUFFER {
            found.unread = true;
        } else {
            self.begun.extend_from_slice(rest);
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
            let mut stream = Stream::default();
            let mut read = take(&mut stream, u32::MAX - 3, &both[..cut]);
            read.extend(take(&mut stream, (u32::MAX - 3).wrapping_add(cut as u32), &both[cut..]));
            assert_eq!(read, [1, 2], "cut at {cut}");
        }
    }

    #[test]
    fn what_is_sent_again_is_read_once() {
        let (one, other) = (question(1), question(2));
        let mut stream = Stream::default();
        assert_eq!(take(&mut stream, 100, &one), [1]);
        assert!(take(&mut stream, 100, &one).is_empty());
        assert_eq!(take(&mut stream, 100, &[one, other].concat()), [2]);
    }

    #[test]
    fn behind_a_hole_reading_begins_anew() {
        let mut stream = Stream::default();
        assert!(take(&mut stream, 100, &question(1)[..9]).is_empty());
        let found = stream.segment(500, &question(2), 19);
        assert_eq!((ids(&found), found.unread), (vec![2], true));
    }

    #[test]
    fn what_never_ends_is_not_kept() {
        let mut stream = Stream::default();
        take(&mut stream, 0, &[0xff, 0xff]);
        for step in 0..64 {
            take(&mut stream, 2 + step * 1000, &[0; 1000]);
            assert!(stream.begun.len() <= MAX_BUFFER);
        }
    }

    #[test]
    fn a_message_that_the_capture_cut_is_told_as_unread() {
        let mut stream = Stream::default();
        let found = stream.segment(0, &question(1)[..10], 19);
        assert!(found.unread && found.messages.is_empty());
        assert_eq!(take(&mut stream, 19, &question(2)), [2]);
    }
}
