//! Connections as two nodes of a cluster on an overlay see them, with all that a daemon writes into them.

use weir_proto::flow::{Endpoint, Flow, Ip, Layer4, Tcp, Verdict, Workload, layer4};
use weir_proto::weir::v1::{
    self, Connection, ConnectionState, Counters, Encapsulation, Evidence, FlowDetail, Nat, NatSource,
    Observation, PathPoint, Role, ServiceRef,
};

const START_S: i64 = 1_795_600_800;

fn pod(name: &str, number: u32) -> Option<Endpoint> {
    let labels = [
        format!("k8s:app={name}"),
        "k8s:io.kubernetes.pod.namespace=shop".to_owned(),
        "k8s:tier=backend".to_owned(),
        "k8s:version=v1.24".to_owned(),
    ];
    Some(Endpoint {
        namespace: "shop".to_owned(),
        pod_name: format!("{name}-6b7d9c5f44-{:05}", number % 500),
        identity: 70_000 + number % 500,
        labels: labels.to_vec(),
        workloads: vec![Workload { name: name.to_owned(), kind: "Deployment".to_owned() }],
        ..Default::default()
    })
}

fn stamp(number: u32) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds: START_S + i64::from(number), nanos: 123_456 })
}

fn counters(number: u32) -> Option<Counters> {
    let packets = u64::from(number % 900);
    Some(Counters {
        packets_forward: packets,
        packets_reverse: packets,
        ip_bytes_forward: packets * 300,
        ip_bytes_reverse: packets * 1400,
        wire_packets_forward: packets,
        wire_packets_reverse: packets,
        ..Default::default()
    })
}

fn point(number: u32, device: &str, role: Role, source: &str, destination: &str) -> PathPoint {
    let tunnel = (role == Role::Underlay).then(|| Encapsulation {
        protocol: "vxlan".to_owned(),
        source: "192.168.9.1".to_owned(),
        destination: "192.168.9.2".to_owned(),
        source_port: 51_000,
        destination_port: 8472,
        vni: 1,
    });
    PathPoint {
        device: device.to_owned(),
        role: role.into(),
        source: source.to_owned(),
        destination: destination.to_owned(),
        tunnel,
        first: stamp(number),
        last: stamp(number + 1),
        counters: counters(number),
        measured: role == Role::PodVeth,
        ..Default::default()
    }
}

fn detail(number: u32, client: &str, backend: &str) -> FlowDetail {
    let failed = number.is_multiple_of(29);
    let observation = if failed { Observation::Logged } else { Observation::Delivered };
    FlowDetail {
        connection_id: number.into(),
        join_key: 0x9e37_79b9_7f4a_7c15 ^ u64::from(number),
        community_id: "1:wCb3OG7yAFWelaUydu0D+125CLM=".to_owned(),
        state: ConnectionState::Established.into(),
        first_packet: stamp(number),
        last_packet: stamp(number + 1),
        delta: counters(number),
        total: counters(number),
        counts: true,
        nat: Some(Nat {
            vip: "10.96.3.4".to_owned(),
            vip_port: 80,
            source: NatSource::Conntrack.into(),
            ..Default::default()
        }),
        path: vec![
            point(number, "veth1a2b3c4d", Role::PodVeth, client, "10.96.3.4:80"),
            point(number, "flannel.1", Role::Overlay, client, backend),
            point(number, "eth0", Role::Underlay, client, backend),
        ],
        tcp: Some(v1::Tcp {
            handshake_server_ns: 300_000 + u64::from(number) * 100,
            handshake_client_ns: 45_000,
            syns: 1,
            ..Default::default()
        }),
        evidence: vec![Evidence {
            observation: observation.into(),
            time: stamp(number),
            detail: if failed { "deny:shop/api-ingress" } else { "veth9f8e7d6c out" }.to_owned(),
            icmp: None,
        }],
        services: vec![ServiceRef {
            name: format!("api-{}", number % 20),
            namespace: "shop".to_owned(),
            exact: true,
            ..Default::default()
        }],
        source_node: "birch".to_owned(),
        destination_node: "elm".to_owned(),
        ..Default::default()
    }
}

/// The connection of that number, always the same.
pub fn connection(number: u32) -> Connection {
    let source_port = 32_768 + number % 28_000;
    let (source, destination) = (format!("10.244.1.{}", number % 250), format!("10.244.2.{}", number % 250));
    let detail = detail(number, &format!("{source}:{source_port}"), &format!("{destination}:8080"));
    let tcp = Tcp { source_port, destination_port: 8080, flags: None };
    let verdict = if number.is_multiple_of(29) { Verdict::Dropped } else { Verdict::Forwarded };
    let flow = Flow {
        time: stamp(number + 1),
        uuid: format!("fa69cf2b-7400-8000-8000-{number:012x}"),
        verdict: verdict.into(),
        ip: Some(Ip { source, destination, ..Default::default() }),
        l4: Some(Layer4 { protocol: Some(layer4::Protocol::Tcp(tcp)) }),
        source: pod("web", number),
        destination: pod("api", number),
        node_name: "birch".to_owned(),
        weir: Some(detail),
        ..Default::default()
    };
    let there = Flow { node_name: "elm".to_owned(), ..flow.clone() };
    Connection {
        id: flow.uuid.clone(),
        revision: 1,
        sightings: vec![flow.clone(), there],
        flow: Some(flow),
        ended: false,
    }
}
