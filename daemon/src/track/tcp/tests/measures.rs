//! What goes wrong on the way, and how long the way is.

use super::*;

const MS: u64 = 1_000_000;

/// A segment by what matters here; the rest is as usual.
#[derive(Clone, Copy)]
struct Sent {
    at: u64,
    way: Way,
    flags: TcpFlags,
    sequence: u32,
    acknowledgement: u32,
    payload_len: u32,
    window: u16,
    timestamps: Option<(u32, u32)>,
}

/// From the client, carrying so much.
const fn client(at: u64, sequence: u32, payload_len: u32) -> Sent {
    Sent {
        at,
        way: Way::Forward,
        flags: TcpFlags::ACK,
        sequence,
        acknowledgement: 500,
        payload_len,
        window: 1000,
        timestamps: None,
    }
}

/// From the server, acknowledging so much.
const fn server(at: u64, acknowledgement: u32) -> Sent {
    Sent { at, way: Way::Reverse, sequence: 500, acknowledgement, payload_len: 0, ..client(at, 0, 0) }
}

fn measure(segments: &[Sent]) -> Conversation {
    let mut conversation = Conversation::default();
    for sent in segments {
        let tcp = Tcp {
            acknowledgement: sent.acknowledgement,
            window: sent.window,
            timestamps: sent.timestamps,
            ..segment(sent.flags, sent.sequence, sent.payload_len)
        };
        conversation.segment(UnixNanos::from_nanos(sent.at), sent.way, &tcp, State::Established);
    }
    conversation
}

#[test]
fn round_trips_are_timed_one_segment_at_once() {
    let measured = measure(&[
        client(10 * MS, 100, 50),
        client(11 * MS, 150, 50),
        server(30 * MS, 200),
        client(40 * MS, 200, 50),
        server(52 * MS, 250),
    ]);
    let round_trip = measured.client.round_trip().unwrap();
    assert_eq!((round_trip.samples, round_trip.least_ns, round_trip.greatest_ns), (2, 12 * MS, 20 * MS));
    assert_eq!(round_trip.smoothed_ns, 19 * MS);
    assert!(!round_trip.by_timestamp);
    assert_eq!(measured.server.round_trip(), None, "an empty segment is not answered");
}

#[test]
fn what_was_sent_again_is_timed_by_its_timestamp_alone() {
    let bare = [client(10 * MS, 100, 50), client(300 * MS, 100, 50), server(320 * MS, 150)];
    assert_eq!(measure(&bare).client.round_trip(), None);
    let stamped = |echo| {
        let mut segments = bare;
        segments[0].timestamps = Some((1, 0));
        segments[1].timestamps = Some((291, 0));
        segments[2].timestamps = Some((7, echo));
        measure(&segments).client.round_trip()
    };
    let by_the_second = stamped(291).unwrap();
    assert_eq!((by_the_second.smoothed_ns, by_the_second.by_timestamp), (20 * MS, true));
    assert_eq!(stamped(1), None, "the first copy was answered, long after: by what, nobody knows");
}

#[test]
fn what_is_overtaken_is_not_what_is_sent_again() {
    let overtaken = measure(&[client(0, 100, 50), client(MS, 200, 50), client(2 * MS, 150, 50)]);
    assert_eq!((overtaken.client.out_of_order, overtaken.client.retransmissions), (1, 0));
    let again = measure(&[client(0, 100, 50), client(MS, 200, 50), client(250 * MS, 150, 50)]);
    assert_eq!((again.client.out_of_order, again.client.retransmissions), (0, 1));
    // Sent again in a larger segment that goes on behind what was sent.
    let larger = measure(&[client(0, 100, 50), client(250 * MS, 100, 80)]);
    assert_eq!(larger.client.retransmissions, 1);
    // What was not captured, but acknowledged by its sender's own later segment, was sent before.
    let unseen = measure(&[client(0, 100, 50), client(5 * MS, 200, 0), client(250 * MS, 150, 50)]);
    assert_eq!(unseen.client.retransmissions, 1);
}

#[test]
fn acknowledgements_are_duplicate_while_something_is_missing() {
    let lost = [client(0, 100, 50), server(MS, 150), client(2 * MS, 200, 50), server(3 * MS, 150)];
    assert_eq!(measure(&lost).server.duplicate_acks, 1);
    // All is there: an answer to a keep-alive, or nothing to say.
    let idle = [client(0, 100, 50), server(MS, 150), server(3 * MS, 150)];
    assert_eq!(measure(&idle).server.duplicate_acks, 0);
    // A window that opens is news.
    let opened = Sent { window: 2000, ..server(3 * MS, 150) };
    assert_eq!(measure(&[lost[0], lost[1], lost[2], opened]).server.duplicate_acks, 0);
}

#[test]
fn a_closed_window_has_a_count_and_a_time() {
    let full = |at| Sent { window: 0, ..server(at, 150) };
    let measured = measure(&[
        client(0, 100, 50),
        full(10 * MS),
        full(20 * MS),
        server(40 * MS, 150),
        full(70 * MS),
        client(75 * MS, 150, 1),
    ]);
    assert_eq!(measured.server.zero_windows, 2);
    assert_eq!(measured.server.zero_window_ns(UnixNanos::from_nanos(75 * MS)), 35 * MS);
    assert_eq!(measured.client.zero_windows, 0);
}

#[test]
fn resets_are_counted_by_who_sent_them() {
    let reset = Sent { flags: TcpFlags::RST, ..server(MS, 150) };
    let measured = measure(&[client(0, 100, 50), reset, reset]);
    assert_eq!((measured.client.resets, measured.server.resets), (0, 2));
    assert_eq!(measured.closed_by, Some(Way::Reverse));
}

#[test]
fn an_answer_that_is_never_acknowledged_leaves_it_half_open() {
    let syn = Sent { flags: TcpFlags::SYN, ..client(0, 99, 0) };
    let syn_ack = Sent { flags: SYN_ACK, sequence: 499, ..server(MS, 100) };
    assert!(!measure(&[syn]).is_half_open());
    assert!(measure(&[syn, syn_ack]).is_half_open());
    assert!(!measure(&[syn, syn_ack, client(2 * MS, 100, 0)]).is_half_open());
}

#[test]
fn a_side_that_was_not_seen_has_no_measures() {
    let measured = measure(&[client(0, 100, 50)]);
    assert!(measured.client.seen() && !measured.server.seen());
}
