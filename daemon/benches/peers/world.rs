//! Who talks: pods of a small cluster, its Services, callers from outside; and the manifests that say so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Each has so many pods, spread over the nodes.
const PODS_A_SERVICE: u32 = 10;
const SERVICES: u32 = 24;
const PODS: u32 = PODS_A_SERVICE * SERVICES;
const NODES: u32 = 3;
/// Ports that a client draws from (net.ipv4.ip_local_port_range).
const CLIENT_PORTS: (u32, u32) = (32_768, 28_232);
const TARGET_PORT: u16 = 8080;

/// What a conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Tcp,
    Dns,
    Echo,
}

/// The two ends of a conversation.
#[derive(Clone, Copy, Debug)]
pub struct Talk {
    pub kind: Kind,
    pub client: (IpAddr, u16),
    pub server: (IpAddr, u16),
}

impl Talk {
    /// The conversation of that number. No two of one capture have the same ends and ports.
    pub fn of(number: u32, open: bool) -> Self {
        let kind = match number % 10 {
            _ if open => Kind::Tcp,
            0..=2 => Kind::Dns,
            3 if number % 50 == 3 => Kind::Echo,
            _ => Kind::Tcp,
        };
        let (from, to) = (number % PODS, (number / 7 + number * 13) % PODS);
        let port = (CLIENT_PORTS.0 + number / PODS % CLIENT_PORTS.1) as u16;
        let pod_to_pod = (pod(from), (pod(to), TARGET_PORT));
        let (client, server) = match (kind, number % 7) {
            (Kind::Dns, _) => (pod(from), (IpAddr::from([10, 96, 0, 10]), 53)),
            (Kind::Echo, _) => (pod(from), (pod(to), port)),
            (Kind::Tcp, 0 | 1) => pod_to_pod,
            (Kind::Tcp, 2) => (pod_v6(from), (pod_v6(to), TARGET_PORT)),
            (Kind::Tcp, 3) => (outside(number), (pod(to), TARGET_PORT)),
            (Kind::Tcp, _) => (pod(from), (service(to / PODS_A_SERVICE), 80)),
        };
        Self { kind, client: (client, port), server }
    }
}

fn pod(number: u32) -> IpAddr {
    Ipv4Addr::from(0x0af4_0000 + (number % NODES) * 256 + 10 + number / NODES).into()
}

fn pod_v6(number: u32) -> IpAddr {
    let low = (number % NODES) * 256 + 10 + number / NODES;
    Ipv6Addr::from(0xfd00_0010_0244_0000_0000_0000_0000_0000 + u128::from(low)).into()
}

fn service(number: u32) -> IpAddr {
    Ipv4Addr::from(0x0a60_0100 + number).into()
}

fn outside(number: u32) -> IpAddr {
    Ipv4Addr::from(0xc633_6400 + number % 200).into()
}

/// The cluster as `kubectl get ... -o yaml` would print it.
pub fn manifests() -> String {
    let pods = (0..PODS).map(pod_manifest);
    pods.chain((0..SERVICES).map(service_manifest)).collect()
}

fn pod_manifest(number: u32) -> String {
    let (owner, node) = (number / PODS_A_SERVICE, number % NODES);
    let (namespace, address, v6) = (namespace(owner), pod(number), pod_v6(number));
    format!(
        "---
apiVersion: v1
kind: Pod
metadata:
  name: app{owner}-5d9f7c6b8-{number:05}
  namespace: {namespace}
  labels: {{app: app{owner}, app.kubernetes.io/part-of: shop, tier: backend, pod-template-hash: 5d9f7c6b8}}
  ownerReferences:
  - {{apiVersion: apps/v1, kind: ReplicaSet, name: app{owner}-5d9f7c6b8, uid: r{owner}, controller: true}}
spec: {{nodeName: node{node}}}
status: {{phase: Running, podIP: {address}, podIPs: [{{ip: {address}}}, {{ip: '{v6}'}}]}}
"
    )
}

fn service_manifest(number: u32) -> String {
    let (namespace, address) = (namespace(number), service(number));
    let pods = number * PODS_A_SERVICE..(number + 1) * PODS_A_SERVICE;
    let ready = |number| format!("- {{addresses: [{}], conditions: {{ready: true}}}}\n", pod(number));
    let backends: String = pods.map(ready).collect();
    format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: app{number}, namespace: {namespace}}}
spec:
  type: ClusterIP
  clusterIP: {address}
  clusterIPs: [{address}]
  ports: [{{name: http, port: 80, protocol: TCP, targetPort: {TARGET_PORT}}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: app{number}-x
  namespace: {namespace}
  labels: {{kubernetes.io/service-name: app{number}}}
addressType: IPv4
ports: [{{name: http, port: {TARGET_PORT}, protocol: TCP}}]
endpoints:
{backends}"
    )
}

fn namespace(owner: u32) -> String {
    format!("team{}", owner % 6)
}
