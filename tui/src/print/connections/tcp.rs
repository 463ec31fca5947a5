//! What was measured of a TCP connection, as sentences. What could not be measured is said to be so, never shown as zero.

use weir_proto::weir::v1::{CloseReason, ClosedBy, RoundTrip, Tcp, TcpMeasure};

use super::row::milliseconds;

/// A sentence about one thing that was measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// What it is about.
    pub title: &'static str,
    /// The sentence.
    pub text: String,
    /// Something went wrong.
    pub trouble: bool,
}

/// All that was measured; what never happened, as a window that closed, is left out.
#[must_use]
pub fn sentences(tcp: &Tcp) -> Vec<Sentence> {
    let mut sentences = vec![plain("tcp", handshake(tcp)), plain("round trip", round_trips(tcp)), again(tcp)];
    let counts = [
        ("out of order", tcp.out_of_order_forward, tcp.out_of_order_reverse),
        ("acked twice", tcp.duplicate_acks_forward, tcp.duplicate_acks_reverse),
        ("resets", tcp.resets_forward, tcp.resets_reverse),
    ];
    for (title, client, server) in counts {
        if client > 0 || server > 0 {
            let text = both(tcp, |way| (if way == Way::Client { client } else { server }).to_string());
            sentences.push(Sentence { title, text, trouble: true });
        }
    }
    if tcp.zero_windows_forward > 0 || tcp.zero_windows_reverse > 0 {
        sentences.push(Sentence {
            title: "no room",
            text: both(tcp, |way| no_room(tcp, way)),
            trouble: true,
        });
    }
    sentences
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Client,
    Server,
}

const fn plain(title: &'static str, text: String) -> Sentence {
    Sentence { title, text, trouble: false }
}

fn is_absent(tcp: &Tcp, measure: TcpMeasure) -> bool {
    tcp.absent.contains(&measure.into())
}

fn duration(tcp: &Tcp, nanos: u64, measure: TcpMeasure) -> String {
    if is_absent(tcp, measure) { "not measured".to_owned() } else { milliseconds(nanos) }
}

fn handshake(tcp: &Tcp) -> String {
    let syns = if is_absent(tcp, TcpMeasure::Syns) { "?".to_owned() } else { tcp.syns.to_string() };
    format!(
        "handshake to the server {}, to the client {}; {syns} SYN; {}{}",
        duration(tcp, tcp.handshake_server_ns, TcpMeasure::HandshakeServer),
        duration(tcp, tcp.handshake_client_ns, TcpMeasure::HandshakeClient),
        closed_by(tcp),
        reason(tcp.close_reason()),
    )
}

fn closed_by(tcp: &Tcp) -> &'static str {
    match tcp.closed_by() {
        ClosedBy::Client => "closed by the client",
        ClosedBy::Server => "closed by the server",
        ClosedBy::Network => "closed by the network",
        ClosedBy::Unspecified if tcp.half_open => "half open",
        ClosedBy::Unspecified => "not closed",
    }
}

const fn reason(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Unspecified => "",
        CloseReason::Fin => " (FIN)",
        CloseReason::Reset => " (RST)",
        CloseReason::HalfClosed => " (FIN of one side)",
        CloseReason::HalfOpen => " (handshake never ended)",
        CloseReason::NeverAnswered => " (never answered)",
        CloseReason::Rejected => " (rejected)",
        CloseReason::Idle => " (silent)",
        CloseReason::Evicted => " (forgotten for lack of room)",
        CloseReason::CaptureEnded => " (open when the capture ended)",
    }
}

fn round_trips(tcp: &Tcp) -> String {
    let told = |measured: Option<&RoundTrip>| {
        measured.filter(|measured| measured.samples > 0).map_or_else(
            || "not measured".to_owned(),
            |measured| {
                let how = if measured.by_timestamp { "timestamps" } else { "sequence numbers" };
                format!(
                    "{} ({} to {}, {} by {how})",
                    milliseconds(measured.smoothed_ns),
                    milliseconds(measured.least_ns),
                    milliseconds(measured.greatest_ns),
                    measured.samples
                )
            },
        )
    };
    format!(
        "to the server {}, to the client {}",
        told(tcp.rtt_server.as_ref()),
        told(tcp.rtt_client.as_ref())
    )
}

fn again(tcp: &Tcp) -> Sentence {
    let (client, server) = (tcp.retransmissions_forward, tcp.retransmissions_reverse);
    let text = both(tcp, |way| (if way == Way::Client { client } else { server }).to_string());
    Sentence { title: "sent again", text, trouble: client > 0 || server > 0 }
}

fn no_room(tcp: &Tcp, way: Way) -> String {
    let (times, nanos) = match way {
        Way::Client => (tcp.zero_windows_forward, tcp.zero_window_ns_forward),
        Way::Server => (tcp.zero_windows_reverse, tcp.zero_window_ns_reverse),
    };
    if times == 0 { "0".to_owned() } else { format!("{times} for {}", milliseconds(nanos)) }
}

/// Of both sides; a side of which nothing was seen has no number.
fn both(tcp: &Tcp, told: impl Fn(Way) -> String) -> String {
    let of = |way: Way, measure: TcpMeasure| {
        if is_absent(tcp, measure) { "not seen".to_owned() } else { told(way) }
    };
    format!(
        "{} by the client, {} by the server",
        of(Way::Client, TcpMeasure::Forward),
        of(Way::Server, TcpMeasure::Reverse)
    )
}
