//! The little world that the tests of the model and the screens' snapshots look at.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use prost::Message as _;
use weir_proto::flow::layer7::Record;
use weir_proto::flow::{Dns, Endpoint, Flow, Ip, L7FlowType, Layer4, Layer7, Tcp, Verdict, layer4};
use weir_proto::observer::ServerStatusResponse;
use weir_proto::weir::v1::{
    self as wire, Connection, ConnectionState, Cost, Counters, Detail, Encapsulation, Evidence,
    ExplainPolicyResponse, FlowDetail, Nat, NatSource, Observation, PathPoint, PeerStatus, PolicyConflict,
    PolicyDirection, PolicyDisagreement, PolicyEnd, PolicyExplanation, PolicyJudgement, PolicyOpinion,
    PolicyOutcome, PolicyRuling, PolicyStatus, Role, ServiceRef, Source, SourceKind,
};

use super::super::{Effect, Input, Model, Told};

/// 2026-11-25 10:00:00 UTC.
const START_S: i64 = 1_795_600_800;

/// So many seconds after the world began.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(START_S + seconds).unwrap()
}

pub fn stamp(seconds: i64, nanos: i32) -> Option<prost_types::Timestamp> {
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
            rtt_server: Some(wire::RoundTrip {
                smoothed_ns: 320_000,
                least_ns: 280_000,
                greatest_ns: 1_100_000,
                samples: 12,
                by_timestamp: true,
            }),
            absent: vec![wire::TcpMeasure::RttClient.into()],
            ..Default::default()
        }),
        evidence: vec![
            Evidence {
                observation: Observation::Delivered.into(),
                time: stamp(1, 5),
                detail: "veth9f out".to_owned(),
                icmp: None,
            },
            Evidence {
                observation: Observation::Answered.into(),
                time: stamp(1, 9),
                detail: String::new(),
                icmp: None,
            },
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
    detail.policies = policies();
    detail.evidence = vec![Evidence {
        observation: Observation::Logged.into(),
        time: stamp(1, 7),
        detail: "deny:shop/api\u{1b}[2J".to_owned(),
        icmp: None,
    }];
    connection
}

/// The same, delivered though policies deny it.
pub fn contradicted(number: u32) -> Connection {
    let mut connection = connection(number);
    let detail = connection.flow.as_mut().unwrap().weir.as_mut().unwrap();
    detail.policies = policies();
    detail.disagreements = vec![PolicyDisagreement {
        direction: PolicyDirection::Ingress.into(),
        conflict: PolicyConflict::DeniedButDelivered.into(),
        sentence: "policies deny its ingress, and it was answered: nobody enforces them here".to_owned(),
    }];
    connection
}

fn opinion(name: &str, outcome: PolicyOutcome, rule: Option<u32>, why: &str) -> PolicyOpinion {
    PolicyOpinion {
        kind: "NetworkPolicy".to_owned(),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        generation: 2,
        outcome: outcome.into(),
        rule,
        peer: rule.filter(|_| outcome == PolicyOutcome::Allows),
        why: why.to_owned(),
        ..Default::default()
    }
}

const REMEDY: &str = "a policy that selects shop/api-0 with an ingress rule from pods with app=web in namespace shop on TCP 8080 would allow it";

/// Egress is allowed, ingress denied.
fn policies() -> Vec<PolicyJudgement> {
    let judged = |direction: PolicyDirection, ruling: PolicyRuling, opinions| PolicyJudgement {
        direction: direction.into(),
        ruling: ruling.into(),
        opinions,
        ..PolicyJudgement::default()
    };
    let lets = opinion("web-may-call", PolicyOutcome::Allows, Some(0), "");
    let none = "has no rule for it: by itself it lets nothing pass";
    let other = "rule 1 means this peer, but only on TCP 80; TCP 80 is the Service's port, and policies judge the pod's";
    let lacking = vec![
        opinion("api-from-web", PolicyOutcome::Misses, Some(1), other),
        opinion("deny-all\u{1b}[2J", PolicyOutcome::Misses, None, none),
    ];
    vec![
        judged(PolicyDirection::Egress, PolicyRuling::Allowed, vec![lets]),
        PolicyJudgement {
            remedy: REMEDY.to_owned(),
            ..judged(PolicyDirection::Ingress, PolicyRuling::Denied, lacking)
        },
    ]
}

/// What a server says of the denied ones now.
pub fn explanation() -> ExplainPolicyResponse {
    let end = |name: &str| {
        Some(PolicyEnd {
            kind: "pod".to_owned(),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            ..Default::default()
        })
    };
    let explanation = PolicyExplanation {
        source: end("web-24"),
        destination: end("api-0"),
        port: 8080,
        protocol: "tcp".to_owned(),
        passes: Some(false),
        judgements: policies(),
        advice: vec![
            REMEDY.to_owned(),
            "egress allows it, but ingress of the server does not: both must".to_owned(),
        ],
        ..Default::default()
    };
    ExplainPolicyResponse {
        explanations: vec![explanation],
        node: "birch".to_owned(),
        notes: vec!["policies of kind AdminNetworkPolicy are not read\u{1b}".to_owned()],
    }
}

fn dns(name: &str, kind: L7FlowType, rcode: u32, seconds: i64) -> Flow {
    let mut flow = connection(90).flow.unwrap();
    flow.time = stamp(seconds, 0);
    flow.weir.as_mut().unwrap().dns_latency_ns = 1_500_000;
    let dns = Dns { query: name.to_owned(), rcode, qtypes: vec!["A".to_owned()], ..Default::default() };
    flow.l7 = Some(Layer7 { r#type: kind.into(), record: Some(Record::Dns(dns)), ..Default::default() });
    flow
}

pub fn told_flow(flow: &Flow) -> Told {
    let time = flow.time.as_ref().map_or(0, weir_proto::time::unix_nanos);
    Told::Flow(flow.encode_to_vec().into(), time, flow.node_name.clone())
}

/// As a server tells it.
pub fn told(connection: &Connection) -> Told {
    Told::Connection(connection.encode_to_vec().into())
}

/// Goes on until all rows are made and judged.
pub fn rest(model: &mut Model) {
    let now = model.now;
    model.update(Input::Tick, now);
    while model.is_busy() {
        model.update(Input::Work, now);
    }
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
        cost: connected.then(|| Cost {
            cpu_thousandths: 43,
            resident_bytes: 58 << 20,
            detail: Detail::NoTiming.into(),
            ..Cost::default()
        }),
        policy: connected.then(|| PolicyStatus { disagreements: 2, ..PolicyStatus::default() }),
        source: connected.then(|| Source { kind: SourceKind::Ebpf.into(), ..Source::default() }),
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

/// Nothing known.
pub fn empty() -> Model {
    Model::new("unix:///run/weir/relay.sock", at(0), TimeZone::UTC, crate::view::theme::NAMES).unwrap()
}

/// A world with something in every view.
pub fn world() -> Model {
    let mut model = empty();
    model.told(Told::Connected, at(1));
    for number in 0..30 {
        let made = match number {
            12 => contradicted(number),
            _ if number % 7 == 3 => denied(number),
            _ => connection(number),
        };
        model.told(told(&made), at(2));
    }
    model.told(status(100), at(2));
    model.told(status(142), at(3));
    for (name, rcode) in [("api.shop.svc.cluster.local.", 0), ("example.com.shop.svc.cluster.local.", 3)] {
        model.told(told_flow(&dns(name, L7FlowType::Request, 0, 1)), at(3));
        model.told(told_flow(&dns(name, L7FlowType::Response, rcode, 1)), at(3));
    }
    model.told(told_flow(&dns("lost.example.", L7FlowType::Request, 0, -10)), at(3));
    model.told(told_flow(&connection(1).flow.unwrap()), at(3));
    model.update(Input::Tick, at(3));
    rest(&mut model);
    model
}

/// Presses keys, and waits for what follows.
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
    while model.is_busy() {
        let now = model.now;
        model.update(Input::Work, now);
    }
    effects
}
