//! A real `weir-daemon run` on a node of its own, a network namespace with two pods: what it says of real calls against what
//! the kernel counted, and what it does when things break under it.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};

use serde_json::Value;
use weir_tests::{DEADLINE, Running, answering, ask, is_root, program, skip_unless, wait_for};

use world::{SERVER, VIP, World, number, port_of, send_signal};

/// A world with its daemon watching, or the line that says why there is none.
fn world(test: &str) -> Option<World> {
    skip_unless(test, is_root().then_some(()), "network namespaces need root")?;
    Some(World::new().unwrap())
}

/// The connections of a client's port: the last record of each, by its number.
fn told(world: &World, port: u16) -> BTreeMap<u64, Value> {
    let mut connections = BTreeMap::new();
    for answer in ask(&world.socket(), &["observe", "--all", "--port", &port.to_string()]).unwrap() {
        if port_of(&answer["flow"]) == Some(port) {
            connections.insert(number(&answer["flow"]["weir"]["connection_id"]), answer["flow"].clone());
        }
    }
    connections
}

/// The one connection of this port, once it is over.
fn ended(world: &World, port: u16) -> Value {
    let over = |flow: &Value| flow["weir"]["reason"] == "REASON_END";
    wait_for(&format!("the end of the call from port {port}"), DEADLINE, || {
        let mut connections = told(world, port);
        // The datagrams by which the devices were tried may have come from the same port.
        connections.retain(|_, flow| flow["l4"]["TCP"].is_object());
        connections.values().all(over).then_some(connections).filter(|all| !all.is_empty())
    })
    .map(|connections| {
        assert_eq!(connections.len(), 1, "one call, one connection: {connections:#?}");
        connections.into_values().next().unwrap()
    })
    .unwrap()
}

/// Packets and bytes there and back, as the kernel's connection tracking counted them.
fn kernel_counts(world: &World, port: u16) -> [u64; 4] {
    let entry = world.node.run(&format!("conntrack -L -p tcp --sport {port}")).unwrap();
    let counts = |name: &str| {
        let found = entry.split_whitespace().filter_map(|word| word.strip_prefix(name)?.parse().ok());
        found.collect::<Vec<u64>>()
    };
    let (packets, bytes) = (counts("packets="), counts("bytes="));
    assert_eq!((packets.len(), bytes.len()), (2, 2), "one entry: {entry}");
    [packets[0], packets[1], bytes[0], bytes[1]]
}

fn weir_counts(flow: &Value) -> [u64; 4] {
    let total = &flow["weir"]["total"];
    ["packets_forward", "packets_reverse", "ip_bytes_forward", "ip_bytes_reverse"]
        .map(|name| number(&total[name]))
}

#[test]
fn a_call_is_one_connection_with_the_packets_and_bytes_that_the_kernel_counted() {
    let Some(world) = world("a_call_is_one_connection_with_the_packets_and_bytes_that_the_kernel_counted")
    else {
        return;
    };
    let _server = world.serve(2).unwrap();
    for to in [SERVER, VIP] {
        let port = world.call(to, 700).unwrap();
        let flow = ended(&world, port);
        assert_eq!(weir_counts(&flow), kernel_counts(&world, port), "{to}: {flow:#}");
        assert_eq!(flow["weir"]["state"], "CONNECTION_STATE_CLOSED");
        assert_eq!((flow["verdict"].as_str(), flow["is_reply"].as_bool()), (Some("FORWARDED"), Some(false)));
        for measure in ["handshake_server_ns", "handshake_client_ns"] {
            assert!(number(&flow["weir"]["tcp"][measure]) > 0, "{measure}: {flow:#}");
        }
        let devices: BTreeSet<&str> = flow["weir"]["path"]
            .as_array()
            .unwrap()
            .iter()
            .map(|point| point["device"].as_str().unwrap())
            .collect();
        assert_eq!(devices, BTreeSet::from(["veth-client", "veth-server"]), "{flow:#}");
        // Another pod had the server's address before; it is Succeeded.
        assert_eq!(
            (&flow["source"]["pod_name"], &flow["destination"]["pod_name"]),
            (&"client".into(), &"server".into())
        );
        assert_eq!(flow["IP"]["destination"], SERVER.ip().to_string());
        let nat = &flow["weir"]["nat"];
        if to == VIP {
            assert_eq!(
                (&nat["vip"], number(&nat["vip_port"])),
                (&VIP.ip().to_string().into(), u64::from(VIP.port()))
            );
            assert_eq!(nat["source"], "NAT_SOURCE_CONNTRACK");
            assert_eq!(flow["weir"]["services"][0]["exact"], true, "{flow:#}");
            assert_eq!(flow["destination_service"]["name"], "api");
        } else {
            assert!(nat.is_null(), "{flow:#}");
        }
    }
}

#[test]
fn the_nodes_own_address_is_the_host_whatever_pods_share_it() {
    let Some(world) = world("the_nodes_own_address_is_the_host_whatever_pods_share_it") else {
        return;
    };
    let port = world.call_node().unwrap();
    let flow = wait_for("the call", DEADLINE, || told(&world, port).into_values().next()).unwrap();
    assert_eq!(flow["source"]["pod_name"], "client");
    let host = &flow["destination"];
    assert!(host["pod_name"].is_null(), "two pods have this address: {host:#}");
    assert!(host["labels"].as_array().unwrap().contains(&"reserved:host".into()), "{host:#}");
}

fn notices(world: &World) -> String {
    ask(&world.socket(), &["status"]).unwrap()[0]["weir"]["notices"].to_string()
}

#[test]
fn a_manifest_that_turns_bad_changes_nothing_but_the_notices_and_its_return_settles_them() {
    let Some(world) = world("a_manifest_that_turns_bad_changes_nothing_but_the_notices") else {
        return;
    };
    let file = world.cluster_file();
    let good = std::fs::read_to_string(&file).unwrap();
    let wrong = good.replacen("podIP: 10.88.1.2", "podIP: 10.88.1.999", 1);
    let cases: [(Option<&str>, &str); 3] = [
        (Some(&good[..good.len() / 2]), "cluster.yaml"),
        (Some(wrong.as_str()), "podIP"),
        (None, "No such file"),
    ];
    for (text, why) in cases {
        // As a ConfigMap changes: another file takes the name.
        match text {
            Some(text) => world.replace_cluster(text).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let said =
            wait_for(why, DEADLINE, || Some(notices(&world)).filter(|said| said.contains(why))).unwrap();
        assert!(said.contains("the last good state stays"), "{said}");
        let server = world.serve(1).unwrap();
        let flow = ended(&world, world.call(VIP, 10).unwrap());
        drop(server);
        assert_eq!(
            (&flow["destination"]["pod_name"], &flow["destination_service"]["name"]),
            (&"server".into(), &"api".into())
        );
        world.replace_cluster(&good).unwrap();
        wait_for("no notice any more", DEADLINE, || (notices(&world) == "null").then_some(())).unwrap();
    }
}

#[test]
fn a_device_that_vanishes_and_a_group_that_is_taken_cost_nothing_else() {
    let Some(world) = world("a_device_that_vanishes_and_a_group_that_is_taken_cost_nothing_else") else {
        return;
    };
    let second = world.second_daemon().unwrap();
    let said = wait_for("the notice of the second daemon", DEADLINE, || {
        let notices = ask(&second.socket, &["status"]).unwrap()[0]["weir"]["notices"].to_string();
        notices.contains("listens to group 7").then_some(notices)
    });
    assert!(said.unwrap().contains("nflog: another program"));

    world.vanish().unwrap();
    let server = world.serve(1).unwrap();
    let flow = ended(&world, world.call(SERVER, 10).unwrap());
    drop(server);
    assert_eq!(flow["destination"]["pod_name"], "server");
}

#[test]
fn names_are_right_again_after_conntrack_events_were_lost() {
    let Some(mut world) = world("names_are_right_again_after_conntrack_events_were_lost") else {
        return;
    };
    let _server = world.serve(1).unwrap();
    // A daemon that stands still reads no events, and the kernel's buffer for them is small against these.
    send_signal(&mut world.daemon, "STOP");
    world.flood(30_000).unwrap();
    let mut call = world.open(VIP).unwrap();
    send_signal(&mut world.daemon, "CONT");
    wait_for("an overrun in the status", DEADLINE, || {
        let status = ask(&world.socket(), &["status"]).unwrap().remove(0);
        (number(&status["weir"]["conntrack_overruns"]) > 0).then_some(())
    })
    .unwrap();
    let port = call.local_addr().unwrap().port();
    let mut last = Value::Null;
    let named = wait_for("the Service of a call whose event was lost", DEADLINE, || {
        // The flood may have pushed the call's first frames out of the ring: it goes on talking.
        call.write_all(b"x").unwrap();
        last = told(&world, port).into_values().next()?;
        let (pod, service) = (&last["destination"]["pod_name"], &last["destination_service"]["name"]);
        (pod == "server" && service == "api").then_some(())
    });
    assert!(named.is_ok(), "{last:#}");
}

/// Every answer that a followed relay gives, as they come.
fn follow(relay: &std::path::Path) -> (Running, Receiver<Value>) {
    let mut command = Command::new(program("weir").unwrap());
    command.args(["observe", "-f", "-o", "json", "--server", &format!("unix://{}", relay.display())]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (sender, answers) = sync_channel(100_000);
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if sender.send(serde_json::from_str(&line).unwrap()).is_err() {
                return;
            }
        }
    });
    (Running::of(child), answers)
}

/// What came of a node's runs: the numbers of the flows, and how many were told as lost.
#[derive(Default)]
struct Heard {
    runs: BTreeMap<String, BTreeSet<u64>>,
    lost: u64,
}

impl Heard {
    /// The number of a flow is the last 40 bits of its uuid; what is before them is node and run.
    fn note(&mut self, answer: &Value) {
        if let Some(uuid) = answer["flow"]["uuid"].as_str() {
            let (run, number) = uuid.split_at(uuid.len() - 10);
            let new =
                self.runs.entry(run.to_owned()).or_default().insert(u64::from_str_radix(number, 16).unwrap());
            assert!(new, "{uuid} came twice");
        }
        self.lost += number(&answer["lost_events"]["num_events_lost"]);
    }

    fn until(&mut self, what: &str, answers: &Receiver<Value>, holds: impl Fn(&Self) -> bool) {
        wait_for(what, DEADLINE, || {
            answers.try_iter().for_each(|answer| self.note(&answer));
            holds(self).then_some(())
        })
        .unwrap();
    }
}

#[test]
fn a_killed_daemon_costs_what_is_stated_and_no_flow_comes_twice() {
    let Some(mut world) = world("a_killed_daemon_costs_what_is_stated_and_no_flow_comes_twice") else {
        return;
    };
    let relay_socket = world.file("relay.sock");
    let mut command = Command::new(program("weir-relay").unwrap());
    command.arg(format!("--peer=n1=unix://{}", world.socket().display()));
    command.args(["--listen", "none", "--unix"]).arg(&relay_socket);
    let mut relay = Running::logging(&mut command, &world.file("relay.log")).unwrap();
    answering(&relay_socket).unwrap();
    let (_follower, answers) = follow(&relay_socket);
    let mut heard = Heard::default();
    let server = world.serve(5000).unwrap();
    wait_for("the first flow at the follower", DEADLINE, || {
        world.call(SERVER, 10).unwrap();
        answers.try_iter().for_each(|answer| heard.note(&answer));
        (!heard.runs.is_empty()).then_some(())
    })
    .unwrap();

    // A relay that stands still takes nothing, so the daemon dies with flows that nobody got.
    send_signal(&mut relay, "STOP");
    wait_for("more flows than fit between daemon and relay", DEADLINE, || {
        for _ in 0..20 {
            world.call(VIP, 10).unwrap();
        }
        let status = ask(&world.socket(), &["status"]).unwrap().remove(0);
        (number(&status["weir"]["seq"]) > 800).then_some(())
    })
    .unwrap();
    world.kill_daemon().unwrap();
    let last = world.last_number().unwrap();
    send_signal(&mut relay, "CONT");
    wait_for("the relay to say so", DEADLINE, || {
        let status = ask(&relay_socket, &["status"]).unwrap().remove(0);
        (number(&status["num_unavailable_nodes"]) == 1).then_some(())
    })
    .unwrap();
    world.start_daemon().unwrap();
    world.call(SERVER, 10).unwrap();
    heard.until("flows of the new run", &answers, |heard| heard.runs.len() == 2 && heard.lost > 0);
    drop(server);
    let (_, first_run) = heard.runs.first_key_value().unwrap();
    let (first, got) = (*first_run.first().unwrap(), first_run.len() as u64);
    assert!(last > first + got, "something was lost: {last} {first} {got}");
    let lost = heard.lost;
    assert_eq!(lost, last + 1 - first - got, "stated to the unit");
}
