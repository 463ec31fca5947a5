//! What `weir observe` prints of Hubble's flows is what Hubble prints, byte for byte; a row a connection is weir's own.

use jiff::tz::TimeZone;
use weir_proto::flow::{Endpoint, Flow, Ip, Layer4, Tcp, Verdict, layer4};
use weir_proto::observer::GetFlowsRequest;
use weir_proto::weir::v1::connections_response::Response;
use weir_proto::weir::v1::{
    Connection, ConnectionState, ConnectionsResponse, Counters, Encapsulation, Evidence, FlowDetail, Nat,
    Observation, PathPoint, ServiceRef,
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
    let mut printer = ConnectionPrinter::new(output(Format::Compact), false, follow);
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
fn refused_denied_and_unanswered_say_why() {
    let refused = |state: ConnectionState, observation: Observation, detail: &str| {
        let mut connection = connection(detail);
        let flow = connection.flow.as_mut().unwrap();
        flow.verdict = Verdict::Traced.into();
        let weir = flow.weir.as_mut().unwrap();
        (weir.state, weir.nat) = (state.into(), None);
        weir.path.clear();
        weir.evidence =
            vec![Evidence { observation: observation.into(), time: None, detail: detail.to_owned() }];
        connection.sightings = vec![flow.clone()];
        connection
    };
    let mut unanswered = refused(ConnectionState::Unanswered, Observation::Unanswered, "");
    unanswered.flow.as_mut().unwrap().weir.as_mut().unwrap().last_seen_at = "flannel.1 out".to_owned();
    let mut denied = refused(ConnectionState::Opening, Observation::Logged, "deny:shop/db\u{1b}[2J");
    denied.flow.as_mut().unwrap().verdict = Verdict::Dropped.into();
    let rejected = refused(ConnectionState::Rejected, Observation::IcmpUnreachable, "10.244.1.1 icmp 3/3");
    insta::assert_snapshot!(rows(false, &[rejected, denied, unanswered]));
}

#[test]
fn followed_a_connection_is_one_row() {
    let (mut opening, closed) = (connection("1"), connection("1"));
    opening.ended = false;
    assert_eq!(
        rows(true, &[opening.clone(), opening.clone(), closed.clone(), closed.clone()]).lines().count(),
        2
    );
    let weir = opening.flow.as_mut().unwrap().weir.as_mut().unwrap();
    weir.last_packet = time(16);
    let rows = rows(true, &[opening.clone(), opening, closed]);
    assert_eq!(rows.lines().count(), 3, "one that lasts is shown open, and once more at its end");
}
