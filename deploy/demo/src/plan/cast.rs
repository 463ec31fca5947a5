//! Draws a plan: who is in the world, what they are called, where they live and what they may do.
//!
//! The shape is always the same, so that every check finds its calls; names, addresses and ports are drawn.

use std::net::Ipv4Addr;

use super::{
    Allow, Direction, Network, Node, Place, Plan, Pod, Policy, Protocol, Role, Service, ServicePort,
};
use crate::draw::Draw;

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
const EXTERNAL: &[&str] =
    &["www.supplier.example", "api.carrier.example", "files.partner.example", "status.bank.example"];

impl Plan {
    /// Draws a world.
    pub fn draw(seed: u64) -> Self {
        let draw = &mut Draw::new(seed);
        let (near, far, ranges) = draw_nodes(draw);
        let cast = Cast::draw(draw);
        let pods = cast.pods(draw, &near, &far);
        let services = cast.services(draw, ranges.services);
        let (api_policy, egress_policy) = cast.policies(&services);
        let [api, store, dns, empty] = services;
        let ended_pod = ended(draw, &pods, &cast);
        Self {
            seed,
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
            api_policy,
            egress_policy,
            ended_pod,
            external_names: draw.several(EXTERNAL, 2).into_iter().map(str::to_owned).collect(),
            outside_port: draw.port(8000, 8999),
        }
    }
}

struct Ranges {
    underlay: Network,
    world: Network,
    pods: Network,
    services: Network,
}

fn draw_nodes(draw: &mut Draw) -> (Node, Node, Ranges) {
    let seconds = draw.several_bytes(16, 250, 2);
    let second = |at: usize| seconds.get(at).copied().unwrap_or(96);
    let ranges = Ranges {
        underlay: Network { base: Ipv4Addr::new(192, 168, draw.byte(0, 255), 0), length: 24 },
        world: Network { base: Ipv4Addr::new(203, 0, 113, 0), length: 24 },
        pods: Network { base: Ipv4Addr::new(10, second(0), 0, 0), length: 16 },
        services: Network { base: Ipv4Addr::new(10, second(1), 0, 0), length: 16 },
    };
    let names = draw.several(NODE_NAMES, 2);
    let addresses = draw.several_bytes(2, 254, 2);
    let blocks = draw.several_bytes(0, 255, 2);
    let mut node = |place, at: usize| Node {
        place,
        name: names.get(at).copied().unwrap_or("node").to_owned(),
        address: ranges.underlay.at(addresses.get(at).copied().unwrap_or(2)),
        pods: Network {
            base: Ipv4Addr::new(10, second(0), blocks.get(at).copied().unwrap_or(0), 0),
            length: 24,
        },
        overlay_mac: draw.mac(),
    };
    (node(Place::Near, 0), node(Place::Far, 1), ranges)
}

/// The names of namespaces and apps.
struct Cast {
    front: String,
    back: String,
    client: String,
    checker: String,
    denied: String,
    restricted: String,
    api: String,
    store: String,
    empty: String,
}

impl Cast {
    fn draw(draw: &mut Draw) -> Self {
        let namespaces = draw.several(NAMESPACES, 2);
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
            front: namespaces.first().copied().unwrap_or("shop").to_owned(),
            back: namespaces.last().copied().unwrap_or("orders").to_owned(),
        }
    }

    fn pods(&self, draw: &mut Draw, near: &Node, far: &Node) -> Vec<Pod> {
        let api_hash = draw.name_suffix(9);
        let hosts = draw.several_bytes(2, 254, 8);
        let cast = [
            (Role::Client, &self.front, &self.client, near),
            (Role::Checker, &self.front, &self.checker, near),
            (Role::Denied, &self.front, &self.denied, near),
            (Role::Restricted, &self.front, &self.restricted, near),
            (Role::ApiNear, &self.back, &self.api, near),
            (Role::ApiFar, &self.back, &self.api, far),
            (Role::Store, &self.back, &self.store, far),
        ];
        let system = ("kube-system".to_owned(), "coredns".to_owned());
        let mut pods = Vec::new();
        for (at, (role, namespace, app, node)) in
            cast.into_iter().chain([(Role::Dns, &system.0, &system.1, far)]).enumerate()
        {
            let own_hash = draw.name_suffix(9);
            let hash = if app == &self.api { api_hash.clone() } else { own_hash };
            pods.push(Pod {
                role,
                namespace: namespace.clone(),
                name: format!("{app}-{hash}-{}", draw.name_suffix(5)),
                app: app.clone(),
                template_hash: hash,
                place: node.place,
                address: node.pods.at(hosts.get(at).copied().unwrap_or(2)),
                veth: format!("veth{}", draw.hex(8)),
            });
        }
        pods
    }

    /// API, store, DNS and the one without endpoints.
    fn services(&self, draw: &mut Draw, range: Network) -> [Service; 4] {
        let [one, two, ..] = range.base.octets();
        let addresses: Vec<Ipv4Addr> = draw
            .several_bytes(1, 254, 3)
            .into_iter()
            .map(|third| Ipv4Addr::new(one, two, third, draw.byte(1, 254)))
            .collect();
        let address = |at: usize| addresses.get(at).copied().unwrap_or(range.base);
        let ports = draw.several(&[80, 8080, 8000, 8888, 9000, 9090], 3);
        let targets = [draw.port(3000, 5999), draw.port(6000, 7999), draw.port(8500, 9999)];
        let node_port = draw.port(30000, 32767);
        let service = |at: usize, namespace: &str, name: &str, node_port, backends: &[Role]| Service {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            address: address(at),
            ports: vec![ServicePort {
                name: "http".to_owned(),
                protocol: Protocol::Tcp,
                port: ports.get(at).copied().unwrap_or(80),
                target: targets.get(at).copied().unwrap_or(8080),
                node_port,
            }],
            backends: backends.to_vec(),
        };
        let api = service(0, &self.back, &self.api, None, &[Role::ApiNear, Role::ApiFar]);
        let store = service(1, &self.back, &self.store, Some(node_port), &[Role::Store]);
        let empty = service(2, &self.back, &self.empty, None, &[]);
        [api, store, dns_service(Ipv4Addr::new(one, two, 0, 10)), empty]
    }

    fn policies(&self, [api, store, dns, _]: &[Service; 4]) -> (Policy, Policy) {
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
        (api_policy, egress_policy)
    }
}

fn dns_service(address: Ipv4Addr) -> Service {
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
        address,
        ports: vec![port("dns", Protocol::Udp), port("dns-tcp", Protocol::Tcp)],
        backends: vec![Role::Dns],
    }
}

fn ended(draw: &mut Draw, pods: &[Pod], cast: &Cast) -> Pod {
    let (place, address) = pods
        .iter()
        .find(|pod| pod.role == Role::Client)
        .map_or((Place::Near, Ipv4Addr::UNSPECIFIED), |client| (client.place, client.address));
    Pod {
        role: Role::Client,
        namespace: cast.back.clone(),
        name: format!("migrate-{}", draw.name_suffix(5)),
        app: "migrate".to_owned(),
        template_hash: String::new(),
        place,
        address,
        veth: String::new(),
    }
}
