//! Keys in, state out. The little world that these tests and the screens' snapshots look at is made here.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use weir_proto::flow::layer7::Record;
use weir_proto::flow::{Dns, Endpoint, Flow, Ip, L7FlowType, Layer4, Layer7, Tcp, Verdict, layer4};
use weir_proto::observer::get_flows_response::ResponseTypes;
use weir_proto::observer::{GetFlowsResponse, ServerStatusResponse};
use weir_proto::weir::v1::{
    self as wire, Connection, ConnectionState, Counters, Encapsulation, Evidence, FlowDetail, Nat, NatSource,
    Observation, PathPoint, PeerStatus, Role, ServiceRef,
};

use super::*;

/// 2026-11-25 10:00:00 UTC.
const START_S: i64 = 1_795_600_800;

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(START_S + seconds).unwrap()
}

fn stamp(seconds: i64, nanos: i32) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds: START_S + seconds, nanos })
}

fn pod(name: &str) -> Option<Endpoint> {
    Some(Endpoint {
        namespace: "shop".to_owned(),
        pod_name: name.to_owned(),
        identity: 70_000,
        ..Default::default()
    })
}

fn counters(packets: u64) -> Option<Counters> {
    Some(Counters {
        packets_forward: packets,
        packets_reverse: packets,
        ip_bytes_forward: packets * 100,
        ip_bytes_reverse: packets * 1000,
        ..Default::default()
    })
}

fn point(device: &str, role: Role, inbound: bool, destination: &str, tunnelled: bool) -> PathPoint {
    let tunnel = Encapsulation {
        protocol: "vxlan".to_owned(),
        source: "192.168.9.1".to_owned(),
        destination: "192.168.9.2".to_owned(),
        source_port: 51_000,
        destination_port: 8472,
        vni: 1,
    };
    PathPoint {
        device: device.to_owned(),
        role: role.into(),
        source: "10.244.1.5:40312".to_owned(),
        destination: destination.to_owned(),
        tunnel: tunnelled.then_some(tunnel),
        first: stamp(1, 40_000),
        last: stamp(2, 0),
        counters: counters(12),
        measured: role == Role::PodVeth,
        inbound,
        ..Default::default()
    }
}

const BACKEND: &str = "10.244.2.7:8080";

fn detail_of(number: u32) -> FlowDetail {
    FlowDetail {
        connection_id: number.into(),
        join_key: u64::from(number),
        community_id: "1:AbCd".to_owned(),
        state: ConnectionState::Established.into(),
        first_packet: stamp(1, 0),
        last_packet: stamp(2, 0),
        total: counters(12),
        counts: true,
        nat: Some(Nat {
            vip: "10.96.3.4".to_owned(),
            vip_port: 80,
            source: NatSource::Conntrack.into(),
            ..Default::default()
        }),
        path: vec![
            point("veth1a2b", Role::PodVeth, true, "10.96.3.4:80", false),
            point("flannel.1", Role::Overlay, false, BACKEND, false),
            point("eth0", Role::Underlay, false, BACKEND, true),
        ],
        tcp: Some(wire::Tcp {
            handshake_server_ns: 300_000,
            handshake_client_ns: 45_000,
            retransmissions_forward: 1,
            syns: 1,
            ..Default::default()
        }),
        evidence: vec![
            Evidence {
                observation: Observation::Delivered.into(),
                time: stamp(1, 5),
                detail: "veth9f out".to_owned(),
            },
            Evidence { observation: Observation::Answered.into(), time: stamp(1, 9), detail: String::new() },
        ],
        services: vec![ServiceRef {
            name: "api".to_owned(),
            namespace: "shop".to_owned(),
            exact: true,
            ..Default::default()
        }],
        source_node: "birch".to_owned(),
        destination_node: "elm".to_owned(),
        ..Default::default()
    }
}

/// A call from web-N to api-N through the Service shop/api, as both nodes saw it.
pub fn connection(number: u32) -> Connection {
    let detail = detail_of(number);
    let tcp = Tcp { source_port: 40_312, destination_port: 8080, flags: None };
    let ip =
        Ip { source: "10.244.1.5".to_owned(), destination: "10.244.2.7".to_owned(), ..Default::default() };
    let flow = Flow {
        time: stamp(2, 0),
        verdict: Verdict::Forwarded.into(),
        ip: Some(ip),
        l4: Some(Layer4 { protocol: Some(layer4::Protocol::Tcp(tcp)) }),
        source: pod(&format!("web-{number:02}")),
        destination: pod(&format!("api-{}", number % 2)),
        node_name: "birch".to_owned(),
        weir: Some(detail),
        ..Default::default()
    };
    let mut there = Flow { node_name: "elm".to_owned(), ..flow.clone() };
    if let Some(detail) = &mut there.weir {
        detail.path = vec![
            point("eth0", Role::Underlay, true, BACKEND, true),
            point("flannel.1", Role::Overlay, true, BACKEND, false),
            point("veth9f", Role::PodVeth, false, BACKEND, false),
        ];
    }
    Connection {
        id: format!("c{number:04}"),
        revision: 1,
        sightings: vec![flow.clone(), there],
        flow: Some(flow),
        ended: false,
    }
}

/// The same, stopped by a rule.
pub fn denied(number: u32) -> Connection {
    let mut connection = connection(number);
    let flow = connection.flow.as_mut().unwrap();
    flow.verdict = Verdict::Dropped.into();
    let detail = flow.weir.as_mut().unwrap();
    detail.state = ConnectionState::Opening.into();
    detail.rule_names = vec!["deny:shop/api\u{1b}[2J".to_owned()];
    detail.last_seen_at = "flannel.1 in".to_owned();
    detail.evidence = vec![Evidence {
        observation: Observation::Logged.into(),
        time: stamp(1, 7),
        detail: "deny:shop/api\u{1b}[2J".to_owned(),
    }];
    connection
}

fn dns(name: &str, kind: L7FlowType, rcode: u32, seconds: i64) -> Flow {
    let mut flow = connection(90).flow.unwrap();
    flow.time = stamp(seconds, 0);
    flow.weir.as_mut().unwrap().dns_latency_ns = 1_500_000;
    let dns = Dns { query: name.to_owned(), rcode, qtypes: vec!["A".to_owned()], ..Default::default() };
    flow.l7 = Some(Layer7 { r#type: kind.into(), record: Some(Record::Dns(dns)), ..Default::default() });
    flow
}

pub fn told_flow(flow: Flow) -> Told {
    let node_name = flow.node_name.clone();
    let response = GetFlowsResponse {
        time: flow.time,
        node_name,
        response_types: Some(ResponseTypes::Flow(flow)),
        ..Default::default()
    };
    Told::Flow(Box::new(response))
}

fn status(received: u64) -> Told {
    let peer = |name: &str, connected: bool| PeerStatus {
        name: name.to_owned(),
        address: "192.168.9.1:4244".to_owned(),
        connected,
        message: if connected { String::new() } else { "connection refused".to_owned() },
        received,
        lost: if connected { 0 } else { 7 },
        clock_skew_ns: -1_234_000,
        ..Default::default()
    };
    let weir =
        wire::ServerStatus { peers: vec![peer("birch", true), peer("elm", false)], ..Default::default() };
    Told::Status(Box::new(ServerStatusResponse {
        num_connected_nodes: Some(1),
        num_unavailable_nodes: Some(1),
        weir: Some(weir),
        ..Default::default()
    }))
}

pub fn empty() -> Model {
    Model::new("unix:///run/weir/relay.sock", at(0), TimeZone::UTC, crate::view::theme::NAMES)
}

/// A world with something in every view.
pub fn world() -> Model {
    let mut model = empty();
    model.told(Told::Connected, at(1));
    for number in 0..30 {
        let made = if number % 7 == 3 { denied(number) } else { connection(number) };
        model.told(Told::Connection(Box::new(made)), at(2));
    }
    model.told(status(100), at(2));
    model.told(status(142), at(3));
    for (name, rcode) in [("api.shop.svc.cluster.local.", 0), ("example.com.shop.svc.cluster.local.", 3)] {
        model.told(told_flow(dns(name, L7FlowType::Request, 0, 1)), at(3));
        model.told(told_flow(dns(name, L7FlowType::Response, rcode, 1)), at(3));
    }
    model.told(told_flow(dns("lost.example.", L7FlowType::Request, 0, -10)), at(3));
    model.told(told_flow(connection(1).flow.unwrap()), at(3));
    model.update(Input::Tick, at(3));
    model
}

pub fn press(model: &mut Model, keys: &str) -> Vec<Effect> {
    let mut effects = Vec::new();
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '\u{1b}' => KeyCode::Esc,
            other => KeyCode::Char(other),
        };
        let now = model.now;
        effects.extend(model.update(Input::Key(KeyEvent::new(code, KeyModifiers::NONE)), now));
    }
    effects
}

fn selected(model: &Model) -> String {
    model.table().selected().unwrap().id.to_string()
}

#[test]
fn the_selection_stays_with_the_connection() {
    let mut model = world();
    press(&mut model, "jjj");
    let chosen = selected(&model);
    let line = model.table().selected_line();
    let mut earlier = connection(99);
    earlier.flow.as_mut().unwrap().weir.as_mut().unwrap().first_packet = stamp(60, 0);
    model.told(Told::Connection(Box::new(earlier)), at(60));
    model.update(Input::Tick, at(61));
    assert_eq!(selected(&model), chosen);
    assert_eq!(model.table().selected_line(), line + 1, "a younger one came above it");
}

#[test]
fn a_row_changes_in_place_between_two_sorts() {
    let mut model = world();
    let line = model.table().rows.iter().position(|row| &*row.id == "c0005").unwrap();
    let mut changed = connection(5);
    changed.flow.as_mut().unwrap().weir.as_mut().unwrap().state = ConnectionState::Closed.into();
    model.told(Told::Connection(Box::new(changed)), at(3));
    model.update(Input::Tick, at(3));
    let row = &model.table().rows[line];
    assert_eq!((&*row.id, row.cells[7].text.as_str()), ("c0005", "closed"));
    assert_eq!(model.connections.len(), 30);
}

#[test]
fn frozen_it_counts_and_does_not_move() {
    let mut model = world();
    press(&mut model, " ");
    let before: Vec<String> = model.table().rows.iter().map(|row| row.cells[7].text.clone()).collect();
    for number in 0..40 {
        model.told(Told::Connection(Box::new(denied(number))), at(5));
    }
    model.update(Input::Tick, at(9));
    let after: Vec<String> = model.table().rows.iter().map(|row| row.cells[7].text.clone()).collect();
    assert_eq!((model.frozen.as_ref().map(|frozen| frozen.count), before), (Some(40), after));
    press(&mut model, " ");
    assert_eq!((model.frozen.is_none(), model.table().rows.len()), (true, 40));
}

#[test]
fn a_filter_works_as_it_is_typed_and_says_what_is_wrong() {
    let mut model = world();
    press(&mut model, "/verdict=drop");
    assert_eq!(model.table().rows.len(), 0);
    press(&mut model, "\t");
    assert_eq!(model.prompt.as_ref().unwrap().text, "verdict=dropped");
    let denied = model.table().rows.len();
    assert_eq!(denied, 4);
    model.update(Input::Paste(" nss=".to_owned()), at(3));
    assert!(model.filter_error().is_some());
    assert_eq!(model.table().rows.len(), denied, "what is not understood changes nothing");
    press(&mut model, "\n");
    assert!(model.prompt.is_some(), "and is not accepted");
    press(&mut model, "\u{1b}");
    assert_eq!((model.prompt.is_none(), model.table().rows.len()), (true, 30));
}

#[test]
fn sorting_moves_turns_and_is_named() {
    let mut model = world();
    press(&mut model, ">r");
    assert_eq!((model.table().sort, model.table().descending), (2, false));
    assert_eq!(selected(&model), "c0000");
    press(&mut model, ":sort state\n");
    assert_eq!(model.table().sort, 7);
    press(&mut model, ":sort nothing\n");
    assert!(model.said().unwrap().starts_with("no column nothing: TIME, CLIENT"));
    model.update(Input::Click(12, TITLE_LINE), at(3));
    assert_eq!(model.table().sort, 2);
}

#[test]
fn a_row_leads_to_its_connections() {
    let mut model = world();
    press(&mut model, "3\n");
    assert_eq!((model.view, model.filter_text()), (View::Connections, "svc=shop/api"));
    press(&mut model, "6\n");
    assert_eq!(model.filter_text(), "node=birch");
    assert_eq!(model.table().rows.len(), 30);
    press(&mut model, "2\n");
    assert!(model.opened.is_some(), "a flow opens its connection");
    press(&mut model, "\u{1b}");
    assert!(model.opened.is_none());
}

#[test]
fn followed_it_stays_on_the_first_line() {
    let mut model = world();
    press(&mut model, "Gf");
    let followed = selected(&model);
    press(&mut model, "g/nothing-like-it\n");
    assert_eq!(model.table().rows.len(), 1);
    assert_eq!(&*model.table().rows[0].id, followed);
}

#[test]
fn copy_and_export_are_done_outside() {
    let mut model = world();
    let effects = press(&mut model, "/web-03\ny");
    assert!(matches!(&effects[0], Effect::Copy(text) if text.contains("shop/web-03")));
    let effects = press(&mut model, "ej:export csv\n:export command\n");
    let contents: Vec<String> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Write { export, .. } => Some(export.contents()),
            _ => None,
        })
        .collect();
    assert_eq!(contents.len(), 3);
    assert!(contents[0].starts_with('{') && contents[0].lines().count() == 1);
    assert!(contents[1].starts_with("MARK,TIME,CLIENT") && contents[1].lines().count() == 2);
    assert_eq!(
        contents[2],
        "weir observe --follow --connections --server unix:///run/weir/relay.sock # further filtered by: web-03\n"
    );
}

#[test]
fn memory_is_bounded_and_says_what_it_forgot() {
    let mut store = Connections::new(output(&TimeZone::UTC, "seconds"), 10);
    for number in 0..25 {
        store.apply(connection(number));
    }
    assert_eq!((store.len(), store.forgotten), (10, 15));
    assert!(store.get("c0024").is_some() && store.get("c0000").is_none());
}

#[test]
fn what_a_reconnected_relay_does_not_tell_again_goes() {
    let mut model = world();
    model.told(Told::Away { why: "gone".to_owned(), retry_ms: 1000 }, at(10));
    assert!(matches!(model.link, Link::Down { .. }));
    model.told(Told::Connected, at(11));
    model.told(Told::Connection(Box::new(connection(1))), at(11));
    model.update(Input::Tick, at(12));
    assert_eq!(model.connections.len(), 30);
    model.update(Input::Tick, at(20));
    assert_eq!((model.connections.len(), model.table().rows.len()), (1, 1));
}

#[test]
fn leaving() {
    for keys in ["q", ":quit\n", "1q"] {
        assert!(matches!(press(&mut world(), keys)[..], [Effect::Quit]), "{keys}");
    }
    let break_key = Input::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
    let mut model = world();
    press(&mut model, "/x");
    assert!(matches!(model.update(break_key, at(3))[..], [Effect::Quit]));
}

#[test]
fn narrow_terminals_lose_the_least_wanted_columns() {
    for room in 20..300 {
        let places = command::places(connections::COLUMNS, room);
        let end = places.last().map_or(0, |place| place.x + place.width);
        assert!(end <= room, "{room}: {places:?}");
    }
    let titles = |room| -> Vec<&str> {
        command::places(connections::COLUMNS, room)
            .iter()
            .map(|p| connections::COLUMNS[p.column].title)
            .collect()
    };
    assert_eq!(titles(80), ["", "TIME", "CLIENT", "SERVICE", "BACKEND", "STATE", "RTT"]);
    assert_eq!(titles(200).len(), connections::COLUMNS.len());
}
