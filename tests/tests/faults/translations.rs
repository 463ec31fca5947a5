//! Calls that the node translates, as three daemons tell of them: one that reads conntrack, one that does not, and two that came
//! in the middle. Where both ends change, nothing but conntrack can tell; then two connections are told and none is guessed.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};

use serde_json::Value;
use weir_tests::netns::Netns;
use weir_tests::node::{Watched, number, port_of};
use weir_tests::{DEADLINE, wait_for};

use crate::world::{CLIENT, NODE, OUTSIDE, ROUTER, SERVER, VIP, World, finish_call, open_from};

/// The load balancer's address, which the router has.
const BALANCER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 7), 80);
const LOCAL: SocketAddrV4 = SocketAddrV4::new(NODE, 30_080);
const CLUSTER: SocketAddrV4 = SocketAddrV4::new(NODE, 30_081);

/// A kind of call: who calls what, and the client that the node sees.
struct Kind {
    name: &'static str,
    from: Ipv4Addr,
    to: SocketAddrV4,
    /// What the client called when its packets reach the node; none where nothing replaces it.
    vip: Option<SocketAddrV4>,
    /// The backend's client, where it is another.
    masquerade: Option<Ipv4Addr>,
    /// The client has another address when it reaches the node.
    hidden: bool,
}

const KINDS: &[Kind] = &[
    Kind { name: "ClusterIP", from: CLIENT, to: VIP, vip: Some(VIP), masquerade: None, hidden: false },
    Kind {
        name: "hairpin",
        from: SERVER,
        to: VIP,
        vip: Some(VIP),
        masquerade: Some(Ipv4Addr::new(10, 87, 2, 1)),
        hidden: false,
    },
    Kind {
        name: "out of the cluster",
        from: CLIENT,
        to: SocketAddrV4::new(OUTSIDE, 7000),
        vip: None,
        masquerade: Some(NODE),
        hidden: false,
    },
    Kind {
        name: "NodePort, Local",
        from: OUTSIDE,
        to: LOCAL,
        vip: Some(LOCAL),
        masquerade: None,
        hidden: false,
    },
    Kind {
        name: "NodePort, Cluster",
        from: OUTSIDE,
        to: CLUSTER,
        vip: Some(CLUSTER),
        masquerade: Some(Ipv4Addr::new(10, 87, 2, 1)),
        hidden: false,
    },
    Kind {
        name: "load balancer that calls the NodePort",
        from: OUTSIDE,
        to: BALANCER,
        vip: Some(LOCAL),
        masquerade: None,
        hidden: true,
    },
];

/// A call that is open, and the client's port as the node sees it.
struct Open {
    kind: &'static Kind,
    stream: TcpStream,
}

fn rules(world: &World) {
    let nat = |at: &Netns, rule: &str| at.run(&format!("iptables -t nat {rule}")).unwrap();
    let backend = format!("-j DNAT --to-destination {SERVER}:8080");
    nat(&world.node, &format!("-A PREROUTING -d {NODE} -p tcp --dport 30080 {backend}"));
    nat(&world.node, &format!("-A PREROUTING -d {NODE} -p tcp --dport 30081 -j MARK --set-mark 0x4000"));
    nat(&world.node, &format!("-A PREROUTING -d {NODE} -p tcp --dport 30081 {backend}"));
    nat(&world.node, "-A POSTROUTING -m mark --mark 0x4000 -j MASQUERADE");
    nat(&world.node, &format!("-A POSTROUTING -s {SERVER} -d {SERVER} -j MASQUERADE"));
    nat(
        &world.router,
        &format!("-A PREROUTING -d {} -p tcp --dport 80 -j DNAT --to-destination {LOCAL}", BALANCER.ip()),
    );
    nat(
        &world.router,
        &format!(
            "-A POSTROUTING -d {NODE} -p tcp --dport 30080 -m conntrack --ctorigdst {} -j SNAT --to-source {ROUTER}",
            BALANCER.ip()
        ),
    );
}

impl World {
    fn at(&self, address: Ipv4Addr) -> &Netns {
        match address {
            CLIENT => &self.client,
            SERVER => &self.server,
            _ => &self.outside,
        }
    }
}

/// Does this flow tell of this call? A client that is hidden is known by what it called alone: each kind calls something else.
fn is_of(flow: &Value, call: &Open) -> bool {
    let port = call.stream.local_addr().unwrap().port();
    let vip = call.kind.vip.map(|vip| (vip.ip().to_string(), u64::from(vip.port())));
    let nat = &flow["weir"]["nat"];
    if call.kind.hidden {
        return flow["IP"]["source"] == ROUTER.to_string()
            && vip == nat["vip"].as_str().map(|address| (address.to_owned(), number(&nat["vip_port"])));
    }
    flow["IP"]["source"] == call.kind.from.to_string() && port_of(flow) == Some(port)
}

/// What a daemon tells of a call, as soon as it tells of it what it should.
fn told(weir: &Watched, call: &Open, holds: impl Fn(&Value) -> bool) -> Value {
    let mut last = Vec::new();
    let found = wait_for(call.kind.name, DEADLINE, || {
        last =
            weir.told(&["--protocol", "tcp"]).ok()?.into_values().filter(|flow| is_of(flow, call)).collect();
        let settled = last.iter().position(&holds)?;
        Some(last.swap_remove(settled))
    });
    assert!(found.is_ok(), "{}: {last:#?}", call.kind.name);
    found.unwrap()
}

fn text(address: Option<Ipv4Addr>) -> String {
    address.map(|address| address.to_string()).unwrap_or_default()
}

/// The translation that a flow tells: what was called, who the backend sees, how it is known.
fn translation(flow: &Value) -> (String, String, String) {
    let nat = &flow["weir"]["nat"];
    let of = |name: &str| nat[name].as_str().unwrap_or_default().to_owned();
    (of("vip"), of("masquerade"), of("source").replace("NAT_SOURCE_", ""))
}

impl Kind {
    fn both_ends_change(&self) -> bool {
        self.vip.is_some() && self.masquerade.is_some()
    }

    fn with_conntrack(&self) -> (String, String, String) {
        (text(self.vip.map(|vip| *vip.ip())), text(self.masquerade), "CONNTRACK".to_owned())
    }

    fn without(&self) -> (String, String, String) {
        if self.both_ends_change() {
            return Default::default();
        }
        (text(self.vip.map(|vip| *vip.ip())), text(self.masquerade), "SEQUENCE".to_owned())
    }
}

pub fn are_told_three_ways(world: &World) {
    rules(world);
    let _servers = [
        World::serve(&world.server, 8080, KINDS.len()).unwrap(),
        World::serve(&world.outside, 7000, 1).unwrap(),
    ];
    let blind = world.another_daemon("blind", &["--no-conntrack"]).unwrap();
    world.seen_by(&blind).unwrap();
    let mut calls: Vec<Open> = KINDS
        .iter()
        .map(|kind| {
            let from = SocketAddrV4::new(kind.from, 0);
            let mut stream = open_from(world.at(kind.from), from, kind.to).unwrap();
            stream.write_all(b"the beginning").unwrap();
            Open { kind, stream }
        })
        .collect();
    let late = world.another_daemon("late", &[]).unwrap();
    let late_and_blind = world.another_daemon("late-and-blind", &["--no-conntrack"]).unwrap();
    for weir in [&late, &late_and_blind] {
        world.seen_by(weir).unwrap();
    }
    for call in &mut calls {
        call.stream.write_all(b"the middle").unwrap();
    }
    for call in &calls {
        let kind = call.kind;
        let midstream = |flow: &Value| flow["weir"]["incomplete"].to_string().contains("MIDSTREAM");
        for (weir, conntrack, from_the_middle) in [
            (&world.weir, true, false),
            (&blind, false, false),
            (&late, true, true),
            (&late_and_blind, false, true),
        ] {
            let expected = if conntrack { kind.with_conntrack() } else { kind.without() };
            let flow = told(weir, call, |flow| translation(flow) == expected);
            assert_eq!(midstream(&flow), from_the_middle, "{}: {flow:#}", kind.name);
        }
    }
    for call in calls {
        finish_call(call.stream).unwrap();
    }
}
