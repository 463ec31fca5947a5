//! What an SCTP packet's chunks mean for its association (RFC 9260 sections 4, 5 and 9).
//!
//! Its measures are not taken: only how it begins and ends.

use super::connection::State;
use crate::decode::Chunks;

/// Which end a packet is from, where its chunks tell: the one that asks for the association is the client.
pub(super) const fn sent_by_client(chunks: Chunks) -> Option<bool> {
    if chunks.has(Chunks::INIT) || chunks.has(Chunks::COOKIE_ECHO) {
        Some(true)
    } else if chunks.has(Chunks::INIT_ACK) || chunks.has(Chunks::COOKIE_ACK) {
        Some(false)
    } else {
        None
    }
}

/// The state behind a packet with these chunks.
pub(super) const fn after(state: State, chunks: Chunks) -> State {
    if state.is_over() {
        state
    } else if chunks.has(Chunks::ABORT) {
        State::Reset
    } else if chunks.has(Chunks::SHUTDOWN_COMPLETE) {
        State::Closed
    } else if chunks.has(Chunks::SHUTDOWN) || chunks.has(Chunks::SHUTDOWN_ACK) {
        State::Closing
    } else {
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(kinds: &[u8]) -> Chunks {
        kinds.iter().fold(Chunks::default(), |chunks, kind| chunks.with(*kind))
    }

    #[test]
    fn an_association_begins_with_its_client_and_ends_in_order() {
        assert_eq!(sent_by_client(packet(&[Chunks::INIT])), Some(true));
        assert_eq!(sent_by_client(packet(&[Chunks::INIT_ACK])), Some(false));
        assert_eq!(sent_by_client(packet(&[Chunks::COOKIE_ECHO, Chunks::DATA])), Some(true));
        assert_eq!(sent_by_client(packet(&[Chunks::DATA])), None);
        let mut state = State::Established;
        for (kind, next) in [
            (Chunks::DATA, State::Established),
            (Chunks::SHUTDOWN, State::Closing),
            (Chunks::SHUTDOWN_ACK, State::Closing),
            (Chunks::SHUTDOWN_COMPLETE, State::Closed),
            (Chunks::ABORT, State::Closed),
        ] {
            state = after(state, packet(&[kind]));
            assert_eq!(state, next);
        }
        assert_eq!(after(State::Opening, packet(&[Chunks::ABORT])), State::Reset);
    }
}
