//! Recorded traffic with its cluster's manifests -> the connections that weir must tell of it, as tables to be read.
//!
//! A scenario is a folder: a recording for each node, and `cluster.yaml`. `two-nodes` is one second of a cluster on flannel:
//! calls to a Service with a backend on either node, to a pod itself, to a NodePort at either node, out of the cluster, to a
//! Service without endpoints; two calls that a policy's rule stops; lookups.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use weir_tests::{DEADLINE, Running, answering, ask, program, root, wait_for, weir};

const NODES: [&str; 2] = ["rowan", "alder"];

fn scenario(file: &str) -> PathBuf {
    root().join("tests/scenarios/two-nodes").join(file)
}

fn replay(capture: &Path) -> String {
    let cluster = scenario("cluster.yaml");
    let args = ["replay", capture.to_str().unwrap(), "--cluster", cluster.to_str().unwrap()];
    let ended = weir("weir-daemon", &args).unwrap();
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{capture:?}");
    ended.out
}

/// Text at a path as `IP/source`; "-" where there is nothing.
fn at(value: &Value, path: &str) -> String {
    match value.pointer(&format!("/{path}")) {
        Some(Value::String(text)) if !text.is_empty() => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => "-".to_owned(),
    }
}

/// Namespace and pod, or address, with the port.
fn end(flow: &Value, side: &str) -> String {
    let address = at(flow, &format!("IP/{side}"));
    let pod = at(flow, &format!("{side}/pod_name"));
    let name = if pod == "-" { address } else { format!("{}/{pod}", at(flow, &format!("{side}/namespace"))) };
    let ports = flow["l4"].as_object().and_then(|l4| l4.values().next()).cloned().unwrap_or_default();
    format!("{name}:{}", at(&ports, &format!("{side}_port")))
}

/// `name what`, of each item of a list.
fn each(value: &Value, path: &str, show: impl Fn(&Value) -> String) -> String {
    let items = value.pointer(&format!("/{path}")).and_then(Value::as_array);
    let shown: Vec<String> = items.into_iter().flatten().map(show).filter(|text| !text.is_empty()).collect();
    if shown.is_empty() { "-".to_owned() } else { shown.join(", ") }
}

/// What a connection's last record says, a line for each thing.
fn row(flow: &Value) -> String {
    let short = |path: &str, prefix: &str| at(flow, path).replace(prefix, "").to_lowercase();
    let both = |what: &str| {
        let count = |way| at(flow, &format!("weir/total/{what}_{way}")).replace('-', "0");
        format!("{}>{}<", count("forward"), count("reverse"))
    };
    let service = each(flow, "weir/services", |one| {
        let sure = if one["exact"] == true { "" } else { " (inferred)" };
        format!("{}/{}{sure}", at(one, "namespace"), at(one, "name"))
    });
    let nat = ["vip", "masquerade"].map(|form| match at(flow, &format!("weir/nat/{form}")).as_str() {
        "-" => String::new(),
        address => format!("{form} {address}:{} ", at(flow, &format!("weir/nat/{form}_port"))),
    });
    let tunnel = each(flow, "weir/path", |point| match at(point, "tunnel/protocol").as_str() {
        "-" => String::new(),
        name => {
            let outer = |side| at(point, &format!("tunnel/{side}"));
            format!("{name} {} {}>{}", outer("vni"), outer("source"), outer("destination"))
        }
    });
    let evidence = each(flow, "weir/evidence", |one| {
        format!("{} {}", at(one, "observation").replace("OBSERVATION_", "").to_lowercase(), at(one, "detail"))
    });
    let translated = format!("{}{}by {}", nat[0], nat[1], short("weir/nat/source", "NAT_SOURCE_"));
    format!(
        "{} > {} {}\n  service  {service}\n  verdict  {}, {}\n  counted  packets {} bytes {}\n  nat      {}\n  \
         tunnel   {tunnel}\n  evidence {evidence}\n  lacks    {}\n",
        end(flow, "source"),
        end(flow, "destination"),
        flow["l4"].as_object().and_then(|l4| l4.keys().next()).map_or("-", String::as_str),
        at(flow, "verdict"),
        short("weir/state", "CONNECTION_STATE_"),
        both("packets"),
        both("ip_bytes"),
        translated.replace("by -", "-"),
        each(flow, "weir/incomplete", |one| one.as_str().unwrap_or("").to_owned()),
    )
}

#[test]
fn a_recording_gives_these_connections() {
    for node in NODES {
        let file = scenario(&format!("{node}.pcapng"));
        let told = replay(&file);
        assert_eq!(told, replay(&file), "twice the same bytes");
        let mut connections: BTreeMap<u64, Value> = BTreeMap::new();
        for line in told.lines() {
            let flow = serde_json::from_str::<Value>(line).unwrap()["flow"].take();
            assert_eq!(flow["node_name"], node, "named by the recording");
            if flow["l7"].is_null() {
                connections.insert(at(&flow, "weir/connection_id").parse().unwrap(), flow);
            }
        }
        let rows: Vec<String> = connections.values().map(row).collect();
        insta::assert_snapshot!(node, rows.join("\n"));
    }
}

#[test]
fn lookups_are_told_with_their_answers() {
    let told = replay(&scenario("rowan.pcapng"));
    let flows = told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["flow"].take());
    let lookups: Vec<String> = flows
        .filter(|flow| at(flow, "l7/type") == "RESPONSE")
        .map(|flow| {
            let ips = each(&flow, "l7/dns/ips", |ip| ip.as_str().unwrap_or("").to_owned());
            let kinds = each(&flow, "l7/dns/qtypes", |kind| kind.as_str().unwrap_or("").to_owned());
            format!("{kinds} {} code {} {ips}", at(&flow, "l7/dns/query"), at(&flow, "l7/dns/rcode"))
        })
        .collect();
    insta::assert_snapshot!("lookups", lookups.join("\n"));
}

/// A copy of a recording whose clock is ahead by so much.
fn with_clock_ahead(capture: &Path, copy: &Path, nanoseconds: u64) {
    let mut bytes = std::fs::read(capture).unwrap();
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let (mut offset, mut frames) = (0, 0);
    while offset < bytes.len() {
        let (kind, length) = (word(&bytes, offset), word(&bytes, offset + 4) as usize);
        // An Enhanced Packet Block: the time is two words, the high one first.
        if kind == 6 {
            let (high, low) = (offset + 12, offset + 16);
            let time = (u64::from(word(&bytes, high)) << 32) + u64::from(word(&bytes, low)) + nanoseconds;
            bytes[high..high + 4].copy_from_slice(&u32::try_from(time >> 32).unwrap().to_le_bytes());
            bytes[low..low + 4].copy_from_slice(&u32::try_from(time & 0xffff_ffff).unwrap().to_le_bytes());
            frames += 1;
        }
        offset += length;
    }
    assert!(frames > 100);
    std::fs::write(copy, bytes).unwrap();
}

fn serve(program_name: &str, args: &[&str], socket: &Path) -> Running {
    let mut command = Command::new(program(program_name).unwrap());
    command.args(args).arg("--unix").arg(socket);
    let running = Running::logging(&mut command, &socket.with_extension("log")).unwrap();
    answering(socket).unwrap();
    running
}

/// Every connection that a relay over both nodes tells, when one node's clock is ahead.
fn joined(ahead_ns: u64) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (cluster, mut running, mut flows) = (scenario("cluster.yaml"), Vec::new(), BTreeMap::new());
    for (node, ahead) in NODES.iter().zip([0, ahead_ns]) {
        let (copy, socket) = (path(&format!("{node}.pcapng")), path(&format!("{node}.sock")));
        with_clock_ahead(&scenario(&format!("{node}.pcapng")), &copy, ahead);
        let args = ["replay", copy.to_str().unwrap(), "--cluster", cluster.to_str().unwrap()];
        running.push(serve("weir-daemon", &args, &socket));
        flows.insert(*node, at(&ask(&socket, &["status"]).unwrap()[0], "weir/seq"));
    }
    let peers = NODES.map(|node| format!("--peer={node}=unix://{}", path(&format!("{node}.sock")).display()));
    let relay = path("relay.sock");
    let _relay = serve("weir-relay", &["--listen", "none", &peers[0], &peers[1]], &relay);
    wait_for("all flows at the relay", DEADLINE, || {
        let status = ask(&relay, &["status"]).unwrap().remove(0);
        let total: u64 = flows.values().map(|count| count.parse::<u64>().unwrap()).sum();
        (at(&status, "seen_flows") == total.to_string()).then_some(())
    })
    .unwrap();
    let status = ask(&relay, &["status"]).unwrap().remove(0);
    for peer in status["weir"]["peers"].as_array().unwrap() {
        let name = at(peer, "name");
        assert_eq!(
            (&at(peer, "received"), at(peer, "lost")),
            (&flows[name.as_str()], "-".to_owned()),
            "{peer}"
        );
    }
    let rows = wait_for("every connection", DEADLINE, || {
        let rows = ask(&relay, &["observe", "--connections", "--all"]).unwrap();
        (rows.iter().filter(|row| row["connection"]["ended"] == true).count() == 11).then_some(rows)
    })
    .unwrap();
    let mut rows: Vec<String> = rows
        .iter()
        .map(|answer| {
            let seen = each(&answer["connection"], "sightings", |sighting| at(sighting, "node_name"));
            format!("{}  seen by  {seen}\n", row(&answer["connection"]["flow"]))
        })
        .collect();
    rows.sort();
    rows
}

#[test]
fn two_nodes_tell_of_each_connection_once_even_with_clocks_two_seconds_apart() {
    let rows = joined(0);
    insta::assert_snapshot!("joined", rows.join("\n"));
    assert_eq!(joined(2_000_000_000), rows);
}
