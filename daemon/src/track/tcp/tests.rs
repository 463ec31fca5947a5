//! What a conversation's segments measure, step by step.

use super::*;

mod measures;

fn segment(flags: TcpFlags, sequence: u32, payload_len: u32) -> Tcp<'static> {
    Tcp {
        sequence,
        acknowledgement: 6,
        flags,
        window: 0,
        mss: None,
        timestamps: None,
        payload: &[],
        payload_len,
    }
}

fn run(steps: &[(u64, Way, TcpFlags, u32, u32)]) -> (Conversation, State) {
    let mut conversation = Conversation::default();
    let mut state = State::Opening;
    for (at, way, flags, sequence, length) in steps {
        state = conversation.segment(
            UnixNanos::from_nanos(*at),
            *way,
            &segment(*flags, *sequence, *length),
            state,
        );
    }
    (conversation, state)
}

const SYN_ACK: TcpFlags = TcpFlags(2 | 16);
const FIN_ACK: TcpFlags = TcpFlags(1 | 16);

#[test]
fn a_whole_conversation_is_measured() {
    let (conversation, state) = run(&[
        (10, Way::Forward, TcpFlags::SYN, u32::MAX, 0),
        (30, Way::Reverse, SYN_ACK, 5, 0),
        (45, Way::Forward, TcpFlags::ACK, 0, 0),
        (50, Way::Forward, TcpFlags::ACK, 0, 100),
        (60, Way::Reverse, TcpFlags::ACK, 6, 10),
        (70, Way::Reverse, FIN_ACK, 16, 0),
        (80, Way::Forward, FIN_ACK, 100, 0),
    ]);
    assert_eq!(state, State::Closed);
    assert_eq!(conversation.server_rtt_ns(), Some(20));
    assert_eq!(conversation.client_rtt_ns(), Some(15));
    assert_eq!(conversation.closed_by, Some(Way::Reverse));
    assert_eq!(conversation.client.retransmissions + conversation.server.retransmissions, 0);
}

#[test]
fn a_syn_sent_twice_has_no_round_trip() {
    let (conversation, _) = run(&[
        (10, Way::Forward, TcpFlags::SYN, 7, 0),
        (1_000, Way::Forward, TcpFlags::SYN, 7, 0),
        (1_010, Way::Reverse, SYN_ACK, 5, 0),
    ]);
    assert_eq!(conversation.server_rtt_ns(), None);
    assert_eq!(conversation.client.retransmissions, 1);
}

#[test]
fn an_answer_with_a_time_before_its_question_measures_nothing() {
    let (conversation, _) = run(&[
        (10, Way::Reverse, SYN_ACK, 5, 0),
        (300, Way::Forward, TcpFlags::SYN, 7, 0),
        (330, Way::Forward, TcpFlags::ACK, 8, 0),
    ]);
    assert_eq!((conversation.server_rtt_ns(), conversation.client_rtt_ns()), (None, None));
}

#[test]
fn data_sent_again_counts_and_a_keep_alive_does_not() {
    let (conversation, _) = run(&[
        (1, Way::Forward, TcpFlags::ACK, 100, 50),
        (2, Way::Forward, TcpFlags::ACK, 100, 50),
        (3, Way::Forward, TcpFlags::ACK, 149, 1),
    ]);
    assert_eq!(conversation.client.retransmissions, 1);
}

#[test]
fn a_reset_after_both_fins_is_still_closed() {
    let (_, state) = run(&[
        (1, Way::Forward, FIN_ACK, 1, 0),
        (2, Way::Reverse, FIN_ACK, 1, 0),
        (3, Way::Forward, TcpFlags::RST, 2, 0),
    ]);
    assert_eq!(state, State::Closed);
}

#[test]
fn offloaded_segments_stand_for_wire_packets() {
    let conversation = Conversation::default();
    let plain = |len| conversation.wire_packets(&segment(TcpFlags::ACK, 0, len));
    assert_eq!([0, 1460, 1461, 1460 * 10, 1460 * 10 + 1].map(plain), [1, 1, 2, 10, 11]);
    let stamped = |len| {
        let segment = Tcp { timestamps: Some((1, 1)), ..segment(TcpFlags::ACK, 0, len) };
        conversation.wire_packets(&segment)
    };
    assert_eq!([0, 1448, 1448 * 10, 1448 * 10 + 1].map(stamped), [1, 1, 10, 11]);
}
