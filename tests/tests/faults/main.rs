//! What goes wrong in a network, made to happen in network namespaces, and what `weir observe -o json` says of it: where it was
//! stopped, by whom, and on which connection.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod flood;
mod translations;
mod world;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::time::Duration;

use serde_json::Value;
use weir_tests::netns::Netns;
use weir_tests::node::{number, port_of};
use weir_tests::{DEADLINE, is_root, skip_unless, wait_for};

use world::{
    CLIENT, EMPTY, GATEWAY, NARROW, NODE, OUTSIDE, ROUTER_BACK, SERVER, VIP, World, break_off, finish_call,
    free_port, open_from,
};

/// A world with its daemon watching, or the line that says why there is none.
fn world(test: &str) -> Option<World> {
    skip_unless(test, is_root().then_some(()), "network namespaces need root")?;
    Some(World::new().unwrap())
}

/// The one piece of evidence of this kind.
fn evidence<'a>(flow: &'a Value, observation: &str) -> Option<&'a Value> {
    flow["weir"]["evidence"].as_array()?.iter().find(|one| one["observation"] == observation)
}

fn has(observation: &'static str) -> impl Fn(&Value) -> bool {
    move |flow| evidence(flow, observation).is_some()
}

fn is_in(state: &'static str) -> impl Fn(&Value) -> bool {
    move |flow| flow["weir"]["state"] == state
}

/// Sender, type and code, and MTU of an ICMP error that is evidence of this.
fn icmp(flow: &Value, observation: &str) -> (String, u64, u64, u64) {
    let error = &evidence(flow, observation).unwrap()["icmp"];
    let sender = error["sender"].as_str().unwrap().to_owned();
    (sender, number(&error["type"]), number(&error["code"]), number(&error["mtu"]))
}

/// A call that fails; gives its port.
fn fails(at: &Netns, from: Ipv4Addr, to: SocketAddrV4) -> u16 {
    let port = free_port(at).unwrap();
    open_from(at, SocketAddrV4::new(from, port), to).unwrap_err();
    port
}

/// A call that hangs for so long; gives its port.
fn hangs(at: &Netns, to: SocketAddrV4) -> u16 {
    let port = free_port(at).unwrap();
    at.enter(|| {
        let socket = rustix::net::socket_with(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::STREAM,
            rustix::net::SocketFlags::NONBLOCK,
            None,
        )?;
        rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
        let begun = rustix::net::connect(&socket, &to);
        anyhow::ensure!(begun == Err(rustix::io::Errno::INPROGRESS), "{begun:?}");
        // The SYN is sent again after a second.
        std::thread::park_timeout(Duration::from_millis(1500));
        Ok(())
    })
    .unwrap();
    port
}

#[test]
fn big_packets_that_vanish_are_told_with_the_router_and_its_mtu() {
    let Some(world) = world("big_packets_that_vanish_are_told_with_the_router_and_its_mtu") else { return };
    let _server = World::serve(&world.outside, 7000, 1).unwrap();
    // The pod never hears of it: the black hole.
    world.client.run("iptables -A INPUT -p icmp -j DROP").unwrap();
    let mut call: TcpStream = world.client.enter(|| Ok(TcpStream::connect((OUTSIDE, 7000))?)).unwrap();
    call.set_read_timeout(Some(DEADLINE)).unwrap();
    call.write_all(&[b'?'; 5000]).unwrap();
    let port = call.local_addr().unwrap().port();
    let sent_again = |flow: &Value| number(&flow["weir"]["tcp"]["retransmissions_forward"]) > 0;
    let flow = world
        .weir
        .call("a big packet that does not fit", port, |flow| {
            has("OBSERVATION_PACKET_TOO_BIG")(flow) && sent_again(flow)
        })
        .unwrap();
    assert_eq!(
        icmp(&flow, "OBSERVATION_PACKET_TOO_BIG"),
        (ROUTER_BACK.to_string(), 3, 4, NARROW),
        "{flow:#}"
    );
    let said = format!("{ROUTER_BACK} icmp 3/4 mtu {NARROW}");
    assert_eq!(evidence(&flow, "OBSERVATION_PACKET_TOO_BIG").unwrap()["detail"], said);
    // It is about the call as the pod made it, though the router saw it masqueraded.
    assert_eq!(
        (&flow["source"]["pod_name"], &flow["weir"]["nat"]["masquerade"]),
        (&"client".into(), &NODE.to_string().into())
    );
    assert_eq!(flow["weir"]["state"], "CONNECTION_STATE_ESTABLISHED", "the handshake was small: {flow:#}");

    // Told of it, the pod sends smaller packets and is done.
    world.client.run("iptables -F INPUT").unwrap();
    finish_call(call).unwrap();
    let flow = world.weir.call("the end", port, is_in("CONNECTION_STATE_CLOSED")).unwrap();
    assert!(has("OBSERVATION_PACKET_TOO_BIG")(&flow), "{flow:#}");
}

#[test]
fn packets_that_run_out_of_hops_are_told_with_the_router_that_gave_them_up() {
    let Some(world) = world("packets_that_run_out_of_hops_are_told_with_the_router") else { return };
    // The first is the node, whose kernel says that it gave the packet up.
    for (hops, router, verdict) in [(1, GATEWAY, "DROPPED"), (2, ROUTER_BACK, "TRACED")] {
        let port = world
            .client
            .enter(|| {
                let socket = UdpSocket::bind("0.0.0.0:0")?;
                socket.set_ttl(hops)?;
                socket.send_to(b"how far?", (OUTSIDE, 33_434))?;
                Ok(socket.local_addr()?.port())
            })
            .unwrap();
        let told = |flow: &Value| has("OBSERVATION_HOPS_EXCEEDED")(flow) && flow["verdict"] == verdict;
        let flow = world.weir.call("hops that are over", port, told).unwrap();
        assert_eq!(icmp(&flow, "OBSERVATION_HOPS_EXCEEDED"), (router.to_string(), 11, 0, 0), "{flow:#}");
    }
}

/// State, verdict, and who ended it.
fn outcome(flow: &Value) -> (String, String, String) {
    let short = |value: &Value, prefix: &str| value.as_str().unwrap_or("-").replace(prefix, "");
    let weir = &flow["weir"];
    (
        short(&weir["state"], "CONNECTION_STATE_"),
        short(&flow["verdict"], ""),
        short(&weir["tcp"]["closed_by"], "CLOSED_BY_"),
    )
}

fn is(state: &str, verdict: &str, closed_by: &str) -> (String, String, String) {
    (state.to_owned(), verdict.to_owned(), closed_by.to_owned())
}

#[test]
fn a_refusal_says_who_refused() {
    let Some(world) = world("a_refusal_says_who_refused") else { return };
    for (port, with) in [(81, "tcp-reset"), (82, "icmp-port-unreachable")] {
        let rule = format!("-d {SERVER} -p tcp --dport {port} -j REJECT --reject-with {with}");
        world.node.run(&format!("iptables -A FORWARD {rule}")).unwrap();
    }
    let call = |to: (Ipv4Addr, u16)| {
        let port = fails(&world.client, CLIENT, SocketAddrV4::new(to.0, to.1));
        let over = |flow: &Value| flow["weir"]["reason"] == "REASON_END";
        world.weir.call("a refused call", port, over).unwrap()
    };
    let detail = |flow: &Value, what: &str| evidence(flow, what).map(|one| one["detail"].clone());

    let pod = call((SERVER, 9));
    assert_eq!(detail(&pod, "OBSERVATION_RESET_BY_ENDPOINT"), Some("veth-server in".into()), "{pod:#}");
    assert_eq!(outcome(&pod), is("RESET", "FORWARDED", "SERVER"), "{pod:#}");

    let rule = call((SERVER, 81));
    assert_eq!(detail(&rule, "OBSERVATION_RESET_BY_NETWORK"), Some("veth-client out".into()), "{rule:#}");
    assert_eq!(outcome(&rule), is("REJECTED", "DROPPED", "NETWORK"), "the node's kernel says so: {rule:#}");

    for to in [(SERVER, 82), (*EMPTY.ip(), EMPTY.port())] {
        let flow = call(to);
        assert_eq!(icmp(&flow, "OBSERVATION_ICMP_UNREACHABLE"), (GATEWAY.to_string(), 3, 3, 0), "{flow:#}");
        assert_eq!(outcome(&flow), is("REJECTED", "DROPPED", "-"), "{flow:#}");
        assert_eq!(detail(&flow, "OBSERVATION_KERNEL_DROP"), Some("NETFILTER_DROP at veth-client".into()));
    }

    let outside = call((OUTSIDE, 9));
    assert_eq!(outcome(&outside), is("RESET", "TRACED", "SERVER"), "it came in by a card: {outside:#}");
    assert!(!has("OBSERVATION_RESET_BY_NETWORK")(&outside), "{outside:#}");
}

#[test]
fn a_datagram_to_a_closed_port_is_refused_by_the_pod_itself() {
    let Some(world) = world("a_datagram_to_a_closed_port_is_refused_by_the_pod_itself") else { return };
    let sent = world.client.enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect((SERVER, 9))?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        // The kernel sends no more than some ICMP errors a second, whoever caused them: until it has sent one.
        let refused = || {
            let answer = socket.send(b"anybody?").and_then(|_| socket.recv(&mut [0; 8]));
            answer.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused).then_some(())
        };
        wait_for("a refusal", DEADLINE, refused)?;
        Ok(socket.local_addr()?.port())
    });
    let refused = has("OBSERVATION_ICMP_UNREACHABLE");
    let flow = world.weir.call("a refused datagram", sent.unwrap(), refused).unwrap();
    assert_eq!(icmp(&flow, "OBSERVATION_ICMP_UNREACHABLE"), (SERVER.to_string(), 3, 3, 0), "{flow:#}");
    assert_eq!(flow["verdict"], "FORWARDED", "it was delivered: {flow:#}");
}

#[test]
fn a_call_that_nobody_answers_says_where_it_was_last_seen() {
    let Some(world) = world("a_call_that_nobody_answers_says_where_it_was_last_seen") else { return };
    world.outside.run("iptables -A INPUT -p tcp --dport 7009 -j DROP").unwrap();
    world.server.run("iptables -A INPUT -p tcp --dport 8080 -j DROP").unwrap();
    world.node.run(&format!("iptables -A FORWARD -d {SERVER} -p tcp --dport 83 -j DROP")).unwrap();
    let expectations = [
        (SocketAddrV4::new(OUTSIDE, 7009), "eth0 out", "TRACED"),
        (VIP, "veth-server out", "DROPPED"),
        (SocketAddrV4::new(SERVER, 83), "veth-client in", "DROPPED"),
    ];
    for (to, last_seen, verdict) in expectations {
        let port = hangs(&world.client, to);
        let flow = world.weir.call("an unanswered call", port, is_in("CONNECTION_STATE_UNANSWERED")).unwrap();
        assert_eq!(
            (&flow["weir"]["last_seen_at"], &flow["verdict"]),
            (&last_seen.into(), &verdict.into()),
            "{flow:#}"
        );
        assert!(number(&flow["weir"]["tcp"]["syns"]) >= 2, "{flow:#}");
        assert!(flow["weir"]["incomplete"].is_null(), "silence is no gap: {flow:#}");
    }
}

/// A program that sees what a device is about to send sees it before the device's queue does.
#[test]
fn what_a_queue_gives_up_on_its_way_to_a_pod_was_not_delivered() {
    let Some(world) = world("what_a_queue_gives_up_on_its_way_to_a_pod_was_not_delivered") else { return };
    // No packet is as short as this burst.
    world.node.run("tc qdisc add dev veth-server root tbf rate 1mbit burst 10 limit 100").unwrap();
    let port = hangs(&world.client, SocketAddrV4::new(SERVER, 8080));
    // Not the last word on it: the node soon asks who has the address, gets no answer by this queue either, and holds back the SYN.
    let flow = world.weir.call("a call given up", port, |flow| flow["verdict"] == "DROPPED").unwrap();
    let dropped = evidence(&flow, "OBSERVATION_KERNEL_DROP").map(|one| one["detail"].clone());
    assert_eq!(dropped, Some("QDISC_DROP at veth-server".into()), "{flow:#}");
    assert!(!has("OBSERVATION_DELIVERED")(&flow), "{flow:#}");
}

#[test]
fn answers_by_another_device_are_counted_once_and_one_side_alone_is_told_as_such() {
    let Some(world) = world("answers_by_another_device_are_counted_once") else { return };
    let _server = World::serve(&world.outside, 7000, 2).unwrap();
    let call = || {
        let mut stream = world.node.enter(|| Ok(TcpStream::connect((OUTSIDE, 7000))?)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(&[b'?'; 700]).unwrap();
        let port = stream.local_addr().unwrap().port();
        finish_call(stream).unwrap();
        port
    };
    let flow = world.weir.call("the end", call(), |flow| flow["weir"]["reason"] == "REASON_END").unwrap();
    let counted = |way: &str| number(&flow["weir"]["total"][format!("payload_bytes_{way}")]);
    assert_eq!((counted("forward"), counted("reverse")), (700, 3000), "{flow:#}");
    assert_eq!(flow["weir"]["state"], "CONNECTION_STATE_CLOSED", "{flow:#}");
    let passed: Vec<(&str, bool, bool)> = flow["weir"]["path"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| {
            let packets = |way: &str| number(&point["counters"][format!("packets_{way}")]) > 0;
            (point["device"].as_str().unwrap(), packets("forward"), packets("reverse"))
        })
        .collect();
    assert_eq!(passed, [("eth0", true, false), ("eth1", false, true)], "{flow:#}");
    let lacks = |flow: &Value| flow["weir"]["incomplete"].to_string();
    assert!(!lacks(&flow).contains("ONE_SIDED"), "both sides were seen: {flow:#}");

    let one_eyed =
        world.another_daemon("one-eyed", &["--capture-filter", &format!("not src host {OUTSIDE}")]).unwrap();
    world.seen_by(&one_eyed).unwrap();
    let one_side = |flow: &Value| lacks(flow).contains("ONE_SIDED");
    let flow = one_eyed.call("one side alone", call(), one_side).unwrap();
    assert_eq!(number(&flow["weir"]["total"]["packets_reverse"]), 0, "{flow:#}");
    assert!(!has("OBSERVATION_UNANSWERED")(&flow), "the client acknowledges what nobody saw: {flow:#}");
}

#[test]
fn a_port_used_again_within_seconds_is_another_connection() {
    let Some(world) = world("a_port_used_again_within_seconds_is_another_connection") else { return };
    let _server = World::serve(&world.server, 8080, 4).unwrap();
    let port = free_port(&world.client).unwrap();
    let from = SocketAddrV4::new(CLIENT, port);
    let bytes = [111, 222, 333, 444];
    for (number, bytes) in bytes.into_iter().enumerate() {
        let mut stream =
            wait_for("the port to be free", DEADLINE, || open_from(&world.client, from, VIP).ok()).unwrap();
        stream.write_all(&vec![b'?'; bytes]).unwrap();
        // Broken off, its port is free at once.
        if number % 2 == 0 { break_off(stream).unwrap() } else { finish_call(stream).unwrap() }
    }
    let told = wait_for("the ends of all", DEADLINE, || {
        let told = world.weir.told(&["--port", &port.to_string()]).ok()?;
        (told.len() >= 4 && told.values().all(|flow| flow["weir"]["reason"] == "REASON_END")).then_some(told)
    })
    .unwrap();
    let sent: Vec<u64> =
        told.values().map(|flow| number(&flow["weir"]["total"]["payload_bytes_forward"])).collect();
    assert_eq!(sent, bytes.map(|bytes| bytes as u64), "{told:#?}");
    for flow in told.values() {
        // By conntrack where its events did not overtake the frames of the call before, else by the packets: told right either way.
        let nat = &flow["weir"]["nat"];
        assert_eq!(
            (&flow["destination"]["pod_name"], &nat["vip"]),
            (&"server".into(), &VIP.ip().to_string().into()),
            "{flow:#}"
        );
    }
}

#[test]
fn translations_are_told_with_conntrack_without_it_and_from_the_middle() {
    let test = "translations_are_told_with_conntrack_without_it_and_from_the_middle";
    let Some(world) = world(test) else { return };
    translations::are_told_three_ways(&world);
}

/// How many connections are in each state.
fn states(told: &BTreeMap<u64, Value>) -> BTreeMap<String, usize> {
    let mut states = BTreeMap::new();
    for flow in told.values() {
        *states.entry(flow["weir"]["state"].to_string()).or_default() += 1;
    }
    states
}

#[test]
fn a_flood_of_syns_is_as_many_connections_and_none_is_joined_to_another() {
    let Some(world) = world("a_flood_of_syns_is_as_many_connections_and_none_is_joined_to_another") else {
        return;
    };
    world.server.run("iptables -A INPUT -p tcp --dport 8080 -j DROP").unwrap();
    let known = number(&world.weir.status().unwrap()["weir"]["connections"]);
    let sent = flood::send(&world.client, VIP).unwrap();
    assert_eq!(sent, 100_000);
    let mut status = Value::Null;
    let counted = wait_for("every SYN to be a connection", DEADLINE, || {
        status = world.weir.status().ok()?;
        let weir = &status["weir"];
        let lost = number(&weir["frames_dropped_kernel"]) + number(&weir["frames_dropped_queue"]);
        let begun = number(&weir["connections"]).saturating_sub(known);
        (begun + lost >= sent).then_some(begun)
    });
    assert!(counted.is_ok_and(|begun| begun <= sent), "{known} were known: {status:#}");
    let lost =
        number(&status["weir"]["frames_dropped_kernel"]) + number(&status["weir"]["frames_dropped_queue"]);
    assert_eq!(number(&status["weir"]["connections_evicted"]), 0);

    for sender in [flood::SENDERS - 2, flood::SENDERS - 1].map(flood::sender) {
        let mut seen = BTreeMap::new();
        let told = wait_for("the calls of a sender as unanswered", DEADLINE, || {
            let mut told = world.weir.told(&["--ip", &sender.to_string()]).ok()?;
            // Of one whose frames are among the lost, the kernel's word that it gave the SYN up is all there is.
            told.retain(|_, flow| lost == 0 || number(&flow["weir"]["total"]["packets_forward"]) > 0);
            seen = states(&told);
            told.values()
                .all(is_in("CONNECTION_STATE_UNANSWERED"))
                .then_some(told)
                .filter(|told| !told.is_empty())
        });
        let told =
            told.unwrap_or_else(|error| panic!("{error}: {seen:?}, {:#}", world.weir.status().unwrap()));
        for flow in told.values() {
            assert_eq!(number(&flow["weir"]["total"]["packets_forward"]), 1, "{flow:#}");
            let from = format!("{sender}:{}", port_of(flow).unwrap());
            for point in flow["weir"]["path"].as_array().unwrap() {
                assert_eq!(point["source"], from, "{flow:#}");
            }
            // The frame behind the DNAT may be among the lost.
            let seen = (flow["IP"]["destination"].as_str(), flow["weir"]["last_seen_at"].as_str());
            let (server, vip) = (SERVER.to_string(), VIP.ip().to_string());
            let behind = seen == (Some(&server), Some("veth-server out"));
            let before =
                [&server, &vip].contains(&&seen.0.unwrap().to_owned()) && seen.1 == Some("veth-client in");
            assert!(behind || lost > 0 && before, "{flow:#}");
        }
    }
}
