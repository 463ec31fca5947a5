//! What `weir observe` prints of Hubble's flows is what Hubble prints, byte for byte; a row a connection is weir's own.

use jiff::tz::TimeZone;
use weir_proto::flow::{Dns, Endpoint, Flow, Ip, L7FlowType, Layer4, Layer7, Tcp, Verdict, layer4, layer7};
use weir_proto::observer::GetFlowsRequest;
use weir_proto::weir::v1::connections_response::Response;
use weir_proto::weir::v1::{
    Connection, ConnectionState, ConnectionsResponse, Counters, Encapsulation, Evidence, FlowDetail,
    KernelDrop, Nat, Observation, PathPoint, Reason, ServiceRef,
};

use super::{ConnectionPrinter, FlowPrinter, Format, Output, TimeFormat};

fn output(format: Format) -> Output {
    let time = TimeFormat::named("StampMilli").in_zone(TimeZone::UTC);
    Output { format, colour: Some(false), node_name: false, policy_names: false, numeric: false, time }
}

fn printed(corpus: &std::path::Path, output: Output) -> String {
    let file = std::fs::File::open(corpus.join("flows.jsonl")).unwrap();
    let all = GetFlowsRequest::default();
    let flows = crate::observe::file::select(std::io::BufReader::new(file), "flows.jsonl", &all).unwrap();
    let mut printer = FlowPrinter::new(output, false);
    let mut out = Vec::new();
    for flow in &flows {
        printer.print(flow, &mut out, &mut std::io::sink()).unwrap();
    }
    printer.finish(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn prints_what_hubble_prints() {
    let Some(corpus) = std::env::var_os("WEIR_CORPUS") else {
        println!("skipped: prints_what_hubble_prints: WEIR_CORPUS is not set");
        return;
    };
    let corpus = std::path::Path::new(&corpus).join("hubble");
    let forms = [
        ("compact", output(Format::Compact)),
        ("compact-node", Output { node_name: true, ..output(Format::Compact) }),
        ("compact-policy", Output { policy_names: true, ..output(Format::Compact) }),
        ("dict", output(Format::Dict)),
        ("table", output(Format::Table)),
        ("json", output(Format::Json)),
    ];
    for (name, output) in forms {
        let expected = std::fs::read_to_string(corpus.join(format!("printed/{name}.txt"))).unwrap();
        let printed = printed(&corpus, output);
        for (at, (ours, theirs)) in printed.lines().zip(expected.lines()).enumerate() {
            assert_eq!(ours, theirs, "{name}, line {}", at + 1);
        }
        assert_eq!(printed, expected, "{name}");
    }
}

fn time(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}

fn connection(id: &str) -> Connection {
    let tunnel = Encapsulation {
        protocol: "vxlan".to_owned(),
        source: "192.168.9.1".to_owned(),
        destination: "192.168.9.2".to_owned(),
        vni: 1,
        ..Default::default()
    };
    let detail = FlowDetail {
        state: ConnectionState::Closed.into(),
        first_packet: time(10),
        last_packet: time(10),
        total: Some(Counters { ip_bytes_forward: 431, ip_bytes_reverse: 12_345, ..Default::default() }),
        nat: Some(Nat { vip: "10.96.3.4".to_owned(), vip_port: 80, ..Default::default() }),
        path: vec![PathPoint { tunnel: Some(tunnel), ..Default::default() }],
        tcp: Some(weir_proto::weir::v1::Tcp {
            handshake_server_ns: 300_000,
            handshake_client_ns: 45_000,
            ..Default::default()
        }),
        services: vec![ServiceRef {
            name: "api".to_owned(),
            namespace: "shop".to_owned(),
            exact: true,
            ..Default::default()
        }],
        ..Default::default()
    };
    let pod = |name: &str| Endpoint {
        namespace: "shop".to_owned(),
        pod_name: name.to_owned(),
        identity: 70_000,
        ..Default::default()
    };
    let tcp = Tcp { source_port: 40_312, destination_port: 8080, flags: None };
    let flow = Flow {
        verdict: Verdict::Forwarded.into(),
        ip: Some(Ip {
            source: "10.244.1.5".to_owned(),
            destination: "10.244.2.7".to_owned(),
            ..Default::default()
        }),
        l4: Some(Layer4 { protocol: Some(layer4::Protocol::Tcp(tcp)) }),
        source: Some(pod("web-5d8f-x2x4q")),
        destination: Some(pod("api-7c9d-9k2lm")),
        weir: Some(detail),
        ..Default::default()
    };
    let seen = |node: &str| Flow { node_name: node.to_owned(), ..flow.clone() };
    let sightings = vec![seen("node-a"), seen("node-b")];
    Connection { id: id.to_owned(), revision: 1, flow: Some(flow), sightings, ended: true }
}

fn rows(follow: bool, connections: &[Connection]) -> String {
    connections_as(Format::Compact, follow, connections)
}

fn connections_as(format: Format, follow: bool, connections: &[Connection]) -> String {
    let mut printer = ConnectionPrinter::new(output(format), false, follow);
    let mut out = Vec::new();
    for connection in connections {
        let response = ConnectionsResponse { response: Some(Response::Connection(connection.clone())) };
        printer.print(&response, &mut out, &mut std::io::sink()).unwrap();
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn a_row_tells_the_whole_way() {
    insta::assert_snapshot!(rows(false, &[connection("1")]));
}

#[test]
fn a_block_tells_what_was_measured_and_what_was_not() {
    use weir_proto::weir::v1::{CloseReason, ClosedBy, RoundTrip, TcpMeasure};
    let mut lossy = connection("2");
    let tcp = lossy.flow.as_mut().unwrap().weir.as_mut().unwrap().tcp.as_mut().unwrap();
    tcp.rtt_server = Some(RoundTrip {
        smoothed_ns: 1_250_000,
        least_ns: 310_000,
        greatest_ns: 12_000_000,
        samples: 41,
        by_timestamp: true,
    });
    (tcp.retransmissions_forward, tcp.out_of_order_reverse, tcp.duplicate_acks_reverse) = (3, 1, 2);
    (tcp.zero_windows_reverse, tcp.zero_window_ns_reverse, tcp.resets_reverse) = (2, 1_500_000_000, 1);
    tcp.set_closed_by(ClosedBy::Server);
    tcp.set_close_reason(CloseReason::Reset);
    tcp.absent = vec![TcpMeasure::RttClient.into(), TcpMeasure::HandshakeClient.into()];
    let mut one_way = connection("3");
    let tcp = one_way.flow.as_mut().unwrap().weir.as_mut().unwrap().tcp.as_mut().unwrap();
    tcp.half_open = true;
    tcp.set_close_reason(CloseReason::HalfOpen);
    tcp.absent =
        [TcpMeasure::HandshakeServer, TcpMeasure::Syns, TcpMeasure::Reverse].map(Into::into).to_vec();
    insta::assert_snapshot!(connections_as(Format::Dict, false, &[lossy, one_way]));
}

#[test]
fn refused_denied_and_unanswered_say_why() {
    let refused = |state: ConnectionState, observation: Observation, detail: &str| {
        let mut connection = connection(detail);
        let flow = connection.flow.as_mut().unwrap();
        flow.verdict = Verdict::Traced.into();
        let weir = flow.weir.as_mut().unwrap();
        (weir.state, weir.nat) = (state.into(), None);
        weir.path.clear();
        weir.evidence = vec![Evidence {
            observation: observation.into(),
            time: None,
            detail: detail.to_owned(),
            icmp: None,
        }];
        connection.sightings = vec![flow.clone()];
        connection
    };
    let mut unanswered = refused(ConnectionState::Unanswered, Observation::Unanswered, "");
    unanswered.flow.as_mut().unwrap().weir.as_mut().unwrap().last_seen_at = "flannel.1 out".to_owned();
    let mut denied = refused(ConnectionState::Opening, Observation::Logged, "deny:shop/db\u{1b}[2J");
    denied.flow.as_mut().unwrap().verdict = Verdict::Dropped.into();
    let rejected = refused(ConnectionState::Rejected, Observation::IcmpUnreachable, "10.244.1.1 icmp 3/3");
    let mut dropped = refused(ConnectionState::Opening, Observation::KernelDrop, "NETFILTER_DROP at eth0");
    let flow = dropped.flow.as_mut().unwrap();
    flow.verdict = Verdict::Dropped.into();
    let drop = KernelDrop {
        reason: "NETFILTER_DROP".to_owned(),
        device: "eth0".to_owned(),
        packets: 3,
        loss: true,
        ..KernelDrop::default()
    };
    flow.weir.as_mut().unwrap().kernel_drops = vec![drop];
    insta::assert_snapshot!(rows(false, &[rejected, denied, dropped, unanswered]));
}

/// What is printed of the answers, and what is noted beside it.
fn followed(connections: &[&Connection]) -> (Vec<String>, String) {
    let mut printer = ConnectionPrinter::new(output(Format::Compact), false, true);
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    for connection in connections {
        let response = ConnectionsResponse { response: Some(Response::Connection((*connection).clone())) };
        printer.print(&response, &mut out, &mut notes).unwrap();
    }
    let lines = String::from_utf8(out).unwrap().lines().skip(1).map(str::to_owned).collect();
    (lines, String::from_utf8(notes).unwrap())
}

#[test]
fn followed_a_connection_is_one_row() {
    let (mut opening, closed) = (connection("1"), connection("1"));
    opening.ended = false;
    assert_eq!(followed(&[&opening, &opening, &closed, &closed]).0.len(), 1);
    let weir = opening.flow.as_mut().unwrap().weir.as_mut().unwrap();
    weir.last_packet = time(16);
    let rows = followed(&[&opening, &opening, &closed]).0;
    assert_eq!(rows.len(), 2, "one that lasts is shown open, and once more at its end");
}

#[test]
fn followed_a_lookup_is_one_row_as_soon_as_its_node_told_all_of_it() {
    let mut first = connection("1");
    first.ended = false;
    let flow = first.flow.as_mut().unwrap();
    let udp = weir_proto::flow::Udp { source_port: 50_400, destination_port: 53 };
    flow.l4 = Some(Layer4 { protocol: Some(layer4::Protocol::Udp(udp)) });
    let dns =
        Dns { query: "api.shop.".to_owned(), qtypes: vec!["A".to_owned()], rcode: 3, ..Default::default() };
    let record = Some(layer7::Record::Dns(dns));
    flow.l7 = Some(Layer7 { r#type: L7FlowType::Response.into(), record, ..Default::default() });
    let detail = flow.weir.as_mut().unwrap();
    detail.set_reason(Reason::Settled);
    detail.total = Some(Counters { packets_forward: 1, ..Default::default() });
    let mut told = first.clone();
    let detail = told.flow.as_mut().unwrap().weir.as_mut().unwrap();
    detail.set_reason(Reason::Periodic);
    detail.total = Some(Counters { packets_forward: 1, packets_reverse: 1, ..Default::default() });
    let idle = Connection { ended: true, ..told.clone() };
    let (rows, _) = followed(&[&first, &told, &idle]);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert!(rows[0].contains("dns api.shop. A: NXDOMAIN"), "{rows:?}");
}

#[test]
fn a_row_that_the_relay_takes_back_is_named_to_who_saw_it() {
    let shown = connection("1");
    let gone = |id: &str| Connection { id: id.to_owned(), ended: true, ..Connection::default() };
    let (rows, notes) = followed(&[&shown, &gone("1"), &gone("1"), &gone("2")]);
    assert_eq!((rows.len(), notes.lines().count()), (1, 1), "{notes}");
    assert!(
        notes.contains(
            "the row of shop/web-5d8f-x2x4q:40312 -> shop/api:80 -> shop/api-7c9d-9k2lm:8080 shown above"
        ),
        "{notes}"
    );
}

#[test]
fn by_numbers_a_row_has_every_address_of_the_way() {
    let mut printer =
        ConnectionPrinter::new(Output { numeric: true, ..output(Format::Compact) }, false, false);
    let mut out = Vec::new();
    let response = ConnectionsResponse { response: Some(Response::Connection(connection("1"))) };
    printer.print(&response, &mut out, &mut std::io::sink()).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains("10.244.1.5:40312 -> 10.96.3.4:80 -> 10.244.2.7:8080"), "{out}");
    assert!(out.contains("vxlan 1 192.168.9.1>192.168.9.2"), "{out}");
}
