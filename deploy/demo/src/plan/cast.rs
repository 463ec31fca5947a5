//! Draws a plan: who is in the world, what they are called, where they live and what they may do.
//!
//! The shape is always the same, so that every check finds its calls; names, addresses and ports are drawn.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{
    Addresses, Allow, Controller, Direction, Network, Node, Place, Plan, Pod, Policy, Protocol, Reach, Role,
    Service, ServicePort,
};
use crate::draw::Draw;
use crate::kinds::Kinds;

const NODE_NAMES: &[&str] =
    &["alder", "birch", "cedar", "elm", "hazel", "larch", "maple", "rowan", "spruce", "willow"];
const NAMESPACES: &[&str] =
    &["shop", "orders", "billing", "media", "travel", "library", "clinic", "lab", "market"];
const CLIENTS: &[&str] = &["web", "frontend", "portal", "kiosk", "mobile-gateway"];
const CHECKERS: &[&str] = &["probe", "auditor", "inspector", "canary"];
const DENIED: &[&str] = &["batch", "crawler", "reporter", "exporter"];
const RESTRICTED: &[&str] = &["mailer", "indexer", "thumbnailer", "archiver"];
const APIS: &[&str] = &["api", "catalog", "ledger", "cart", "inventory"];
const STORES: &[&str] = &["landing", "gallery", "storefront", "docs"];
const EMPTY: &[&str] = &["search", "recommend", "legacy", "quotes"];
const SETS: &[&str] = &["db", "queue", "cache", "broker"];
const AGENTS: &[&str] = &["node-agent", "node-metrics", "node-logs"];
const EXTERNAL: &[&str] =
    &["www.supplier.example", "api.carrier.example", "files.partner.example", "status.bank.example"];

impl Plan {
    /// Draws a world. The kinds decide what of it is made, and never what is drawn.
    pub fn draw(seed: u64, kinds: Kinds) -> Self {
        let draw = &mut Draw::new(seed);
        let (near, far, ranges) = draw_nodes(draw);
        let cast = Cast::draw(draw);
        let pods = cast.pods(draw, &near, &far);
        let services = cast.services(draw, &ranges);
        let [api_policy, egress_policy, forgotten_policy] = cast.policies(&services);
        let [api, store, dns, empty, headless, session, primary, agent, edge] = services;
        let ended_pod = ended(draw, &pods, &cast);
        Self {
            seed,
            kinds,
            underlay: ranges.underlay,
            world: ranges.world,
            outside: ranges.world.at(draw.byte(2, 254)),
            pod_range: ranges.pods,
            near,
            far,
            pods,
            api,
            store,
            dns,
            empty,
            headless,
            session,
            primary,
            agent,
            edge,
            api_policy,
            forgotten_policy,
            egress_policy,
            ended_pod,
            external_names: draw.several(EXTERNAL, 2).into_iter().map(str::to_owned).collect(),
            outside_port: draw.port(8000, 8999),
            store_host_port: draw.port(7000, 7999),
        }
    }
}

struct Ranges {
    underlay: Network,
    world: Network,
    pods: Network,
    services: Network,
    balancers: Network,
}

/// A network of both families: in IPv6 a /64 of this number in the world's own range (RFC 4193).
fn network(ula: [u16; 3], number: u16, base: [u8; 4], v4_length: u8, v6_length: u8) -> Network {
    let [one, two, three] = ula;
    let v6 = Ipv6Addr::new(one, two, three, number, 0, 0, 0, 0);
    Network { base: Addresses { v4: Ipv4Addr::from(base), v6 }, v4_length, v6_length }
}

fn draw_nodes(draw: &mut Draw) -> (Node, Node, Ranges) {
    let seconds = draw.several_bytes(16, 250, 2);
    let second = |at: usize| seconds.get(at).copied().unwrap_or(96);
    let mut pair = || u16::from_be_bytes([draw.byte(0, 255), draw.byte(0, 255)]);
    let ula = [0xfd00 | pair() >> 8, pair(), pair()];
    // Pods have 256 networks of a /56, numbered from there on.
    let pod_network = |block: u8, v4_length, v6_length| {
        network(ula, 0x1000 + u16::from(block), [10, second(0), block, 0], v4_length, v6_length)
    };
    let ranges = Ranges {
        underlay: network(ula, 0x20, [192, 168, draw.byte(0, 255), 0], 24, 64),
        world: network([0x2001, 0xdb8, 0x113], 0, [203, 0, 113, 0], 24, 64),
        pods: pod_network(0, 16, 56),
        services: network(ula, 0x30, [10, second(1), 0, 0], 16, 112),
        balancers: network([0x2001, 0xdb8, 0x51], 0, [198, 51, 100, 0], 24, 64),
    };
    let names = draw.several(NODE_NAMES, 2);
    let addresses = draw.several_bytes(2, 254, 2);
    let blocks = draw.several_bytes(0, 255, 2);
    let mut node = |place, at: usize| Node {
        place,
        name: names.get(at).copied().unwrap_or("node").to_owned(),
        addresses: ranges.underlay.at(addresses.get(at).copied().unwrap_or(2)),
        pods: pod_network(blocks.get(at).copied().unwrap_or(0), 24, 64),
        overlay_macs: [draw.mac(), draw.mac()],
    };
    (node(Place::Near, 0), node(Place::Far, 1), ranges)
}

/// The names of namespaces and apps.
struct Cast {
    front: String,
    back: String,
    /// Where the StatefulSet is, whose policy nobody enforces.
    side: String,
    client: String,
    checker: String,
    denied: String,
    restricted: String,
    api: String,
    store: String,
    empty: String,
    set: String,
    agent: String,
}

impl Cast {
    fn draw(draw: &mut Draw) -> Self {
        let namespaces = draw.several(NAMESPACES, 3);
        let namespace = |at: usize, other: &str| namespaces.get(at).copied().unwrap_or(other).to_owned();
        let mut one =
            |list: &[&'static str]| draw.several(list, 1).first().copied().unwrap_or("app").to_owned();
        Self {
            client: one(CLIENTS),
            checker: one(CHECKERS),
            denied: one(DENIED),
            restricted: one(RESTRICTED),
            api: one(APIS),
            store: one(STORES),
            empty: one(EMPTY),
            set: one(SETS),
            agent: one(AGENTS),
            front: namespace(0, "shop"),
            back: namespace(1, "orders"),
            side: namespace(2, "data"),
        }
    }

    fn pods(&self, draw: &mut Draw, near: &Node, far: &Node) -> Vec<Pod> {
        let system = "kube-system";
        let (front, back, side) = (self.front.as_str(), self.back.as_str(), self.side.as_str());
        let cast = [
            (Role::Client, front, self.client.as_str(), near),
            (Role::Checker, front, &self.checker, near),
            (Role::Denied, front, &self.denied, near),
            (Role::Restricted, front, &self.restricted, near),
            (Role::ApiNear, back, &self.api, near),
            (Role::ApiFar, back, &self.api, far),
            (Role::Store, back, &self.store, far),
            (Role::Dns, system, "coredns", far),
            (Role::First, side, &self.set, near),
            (Role::Second, side, &self.set, far),
            (Role::HostServer, system, &self.agent, far),
            (Role::HostClient, system, &self.agent, near),
        ];
        let hosts = draw.several_bytes(2, 254, cast.len());
        let mut hashes: Vec<(&str, String)> = Vec::new();
        let mut pods = Vec::new();
        for ((role, namespace, app, node), host) in cast.into_iter().zip(hosts) {
            let known = hashes.iter().find(|(theirs, _)| *theirs == app).map(|(_, hash)| hash.clone());
            let hash = known.unwrap_or_else(|| draw.name_suffix(9));
            hashes.push((app, hash.clone()));
            let controller = controller(role);
            let host_network = controller == Controller::DaemonSet;
            pods.push(Pod {
                role,
                namespace: namespace.to_owned(),
                name: pod_name(draw, role, app, &hash),
                app: app.to_owned(),
                controller,
                template_hash: hash,
                place: node.place,
                addresses: if host_network { node.addresses } else { node.pods.at(host) },
                host_network,
                veth: format!("veth{}", draw.hex(8)),
            });
        }
        pods
    }

    fn services(&self, draw: &mut Draw, ranges: &Ranges) -> [Service; 9] {
        let addresses: Vec<Addresses> = draw
            .several_bytes(1, 254, 7)
            .into_iter()
            .map(|third| ranges.services.at_pair(third, draw.byte(1, 254)))
            .collect();
        let ports = draw.several(&[80, 8080, 8000, 8888, 9000, 9090, 8081], 7);
        let targets = [draw.port(3000, 5999), draw.port(6000, 7999), draw.port(8500, 9999)];
        let [set_target, agent_target] = [draw.port(3000, 5999), draw.port(9100, 9999)];
        let port = |at: usize, target: u16, node_port| ServicePort {
            name: "http".to_owned(),
            protocol: Protocol::Tcp,
            port: ports.get(at).copied().unwrap_or(80),
            target,
            node_port,
        };
        let service = |at: usize, name: &str, selects: &str, target, backends: &[Role]| Service {
            namespace: self.back.clone(),
            name: name.to_owned(),
            addresses: addresses.get(at).copied().unwrap_or(Addresses::NONE),
            reach: Reach::ClusterIp,
            sticky: false,
            ports: vec![port(at, target, None)],
            selects: selects.to_owned(),
            backends: backends.to_vec(),
        };
        let [api_target, store_target, empty_target] = targets;
        let api = service(0, &self.api, &self.api, api_target, &[Role::ApiNear, Role::ApiFar]);
        let mut store = service(1, &self.store, &self.store, store_target, &[Role::Store]);
        store.ports = vec![port(1, store_target, Some(draw.port(30000, 31999)))];
        let empty = service(2, &self.empty, &self.empty, empty_target, &[]);
        let set = [Role::First, Role::Second];
        let mut headless = service(3, &self.set, &self.set, set_target, &set);
        headless.ports = vec![port(3, set_target, None)];
        headless.reach = Reach::Headless;
        headless.addresses = Addresses::NONE;
        let mut session = service(3, &format!("{}-session", self.set), &self.set, set_target, &set);
        session.sticky = true;
        let mut primary = service(4, &format!("{}-primary", self.set), &self.set, set_target, &set[..1]);
        for of_set in [&mut headless, &mut session, &mut primary] {
            of_set.namespace.clone_from(&self.side);
        }
        let mut agent = service(5, &self.agent, &self.agent, agent_target, &[Role::HostServer]);
        "kube-system".clone_into(&mut agent.namespace);
        let mut edge = service(6, &format!("{}-edge", self.store), &self.store, store_target, &[Role::Store]);
        edge.reach = Reach::LoadBalancer(ranges.balancers.at(draw.byte(1, 254)));
        let dns = dns_service(ranges.services.at_pair(0, 10));
        [api, store, dns, empty, headless, session, primary, agent, edge]
    }

    fn policies(&self, [api, store, dns, _, set, ..]: &[Service; 9]) -> [Policy; 3] {
        let api_policy = Policy {
            namespace: self.back.clone(),
            name: format!("{}-ingress", self.api),
            app: self.api.clone(),
            direction: Direction::Ingress,
            allow: vec![Allow {
                peers: vec![
                    (self.front.clone(), self.client.clone()),
                    (self.front.clone(), self.checker.clone()),
                ],
                ports: vec![(Protocol::Tcp, api.target())],
            }],
        };
        let dns_ports = dns.ports.iter().map(|port| (port.protocol, port.target)).collect();
        // The Service's port instead of the pod's: the mistake that people make, and so the calls are denied.
        let store_port = store.ports.first().map_or(80, |port| port.port);
        let egress_policy = Policy {
            namespace: self.front.clone(),
            name: format!("{}-egress", self.restricted),
            app: self.restricted.clone(),
            direction: Direction::Egress,
            allow: vec![
                Allow { peers: vec![(dns.namespace.clone(), "coredns".to_owned())], ports: dns_ports },
                Allow {
                    peers: vec![(self.back.clone(), self.store.clone())],
                    ports: vec![(Protocol::Tcp, store_port)],
                },
            ],
        };
        let forgotten_policy = Policy {
            namespace: self.side.clone(),
            name: format!("{}-isolated", self.set),
            app: self.set.clone(),
            direction: Direction::Ingress,
            allow: vec![Allow {
                peers: vec![(self.side.clone(), self.set.clone())],
                ports: vec![(Protocol::Tcp, set.target())],
            }],
        };
        [api_policy, egress_policy, forgotten_policy]
    }
}

fn controller(role: Role) -> Controller {
    match role {
        Role::First | Role::Second => Controller::StatefulSet,
        Role::HostServer | Role::HostClient => Controller::DaemonSet,
        _ => Controller::Deployment,
    }
}

/// As the controllers name their pods.
fn pod_name(draw: &mut Draw, role: Role, app: &str, hash: &str) -> String {
    let suffix = draw.name_suffix(5);
    match role {
        Role::First => format!("{app}-0"),
        Role::Second => format!("{app}-1"),
        Role::HostServer | Role::HostClient => format!("{app}-{suffix}"),
        _ => format!("{app}-{hash}-{suffix}"),
    }
}

fn dns_service(addresses: Addresses) -> Service {
    let port = |name: &str, protocol| ServicePort {
        name: name.to_owned(),
        protocol,
        port: 53,
        target: 53,
        node_port: None,
    };
    Service {
        namespace: "kube-system".to_owned(),
        name: "kube-dns".to_owned(),
        addresses,
        reach: Reach::ClusterIp,
        sticky: false,
        selects: "coredns".to_owned(),
        ports: vec![port("dns", Protocol::Udp), port("dns-tcp", Protocol::Tcp)],
        backends: vec![Role::Dns],
    }
}

fn ended(draw: &mut Draw, pods: &[Pod], cast: &Cast) -> Pod {
    let (place, addresses) = pods
        .iter()
        .find(|pod| pod.role == Role::Client)
        .map_or((Place::Near, Addresses::NONE), |client| (client.place, client.addresses));
    Pod {
        role: Role::Client,
        namespace: cast.back.clone(),
        name: format!("migrate-{}", draw.name_suffix(5)),
        app: "migrate".to_owned(),
        controller: Controller::Deployment,
        template_hash: String::new(),
        place,
        addresses,
        host_network: false,
        veth: String::new(),
    }
}
