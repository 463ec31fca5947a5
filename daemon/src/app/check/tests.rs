//! Facts of a good node and of bad ones, and what is said of them.

use super::facts::Conntrack;
use super::*;

fn link(name: &str, kind: &str) -> Link {
    Link { index: 1, name: name.into(), kind: kind.into(), up: true, ..Link::default() }
}

fn good() -> Facts {
    Facts {
        kernel: "6.12.1".into(),
        has_btf: true,
        capabilities: 1 << NET_RAW | 1 << NET_ADMIN,
        conntrack: Some(Conntrack { opened: Ok(()), accounting: Some(true), entries: Some((3, 262_144)) }),
        nflog: vec![NflogGroup { number: 7, opened: Ok(()) }],
        links: Ok(vec![
            link("eth0", ""),
            Link { peer_elsewhere: true, ..link("veth1", "veth") },
            Link { loopback: true, ..link("lo", "") },
            link("dummy0", "dummy"),
            Link { up: false, ..link("flannel.1", "vxlan") },
        ]),
        with_loopback: false,
        cluster: ClusterFacts::Files(Ok(12)),
    }
}

fn said(facts: &Facts) -> Vec<String> {
    judge(facts).iter().map(ToString::to_string).collect()
}

fn failures(facts: &Facts) -> Vec<String> {
    let findings = judge(facts);
    findings.into_iter().filter(|it| it.level == Level::Fails).map(|it| it.sentence).collect()
}

#[test]
fn a_good_node() {
    assert_eq!(
        said(&good()),
        [
            "works  kernel        Linux 6.12.1",
            "works  btf           the kernel describes its own types (/sys/kernel/btf/vmlinux)",
            "works  capabilities  CAP_NET_RAW: frames can be captured",
            "works  capabilities  CAP_NET_ADMIN: conntrack and NFLOG can be read",
            "works  conntrack     events and table can be read: connections are named before and after NAT",
            "works  conntrack     3 of 262144 entries are in use",
            "works  conntrack     accounting is on (nf_conntrack_acct); weir counts packets by itself",
            "works  nflog         group 7 is free: its rules' verdicts are told",
            "works  device        eth0 is captured as underlay: a network card, by its name; a veth in a node that is itself a container",
            "works  device        veth1 is captured as a pod's device: its peer is in another network namespace",
            "note   device        lo is not captured: it is the loopback; --loopback captures it",
            "note   device        dummy0 is not captured: it carries no frames: it only holds addresses (kube-ipvs0, nodelocaldns) or copies of frames",
            "note   device        flannel.1 is down; once up it is captured as overlay: its kind encapsulates",
            "works  cluster       12 objects in the manifest files",
        ]
    );
}

#[test]
fn what_was_asked_for_and_would_not_work_fails() {
    let refused = || Err("another program listens".to_owned());
    let probe = |resource: &str, outcome| Probe { resource: resource.to_owned(), outcome };
    let bad = Facts {
        has_btf: false,
        capabilities: 0,
        conntrack: Some(Conntrack { opened: refused(), accounting: None, entries: Some((95, 100)) }),
        nflog: vec![NflogGroup { number: 7, opened: refused() }],
        links: Ok(vec![link("dummy0", "dummy")]),
        cluster: ClusterFacts::Server {
            address: "https://10.96.0.1/".into(),
            probes: vec![
                probe("pods", Err("cannot list pods: forbidden".into())),
                probe("nodes", Ok(true)),
                probe("servicecidrs.networking.k8s.io", Ok(false)),
            ],
        },
        ..good()
    };
    assert_eq!(
        failures(&bad),
        [
            "no CAP_NET_RAW: no frame can be captured; run as root, or add it to securityContext.capabilities",
            "another program listens; NAT would be known from packets alone",
            "group 7: another program listens",
            "none to capture on; is this the node's network namespace (hostNetwork)?",
            "cannot list pods: forbidden",
        ]
    );
}

#[test]
fn what_was_not_asked_for_is_no_failure() {
    let modest = Facts {
        has_btf: false,
        capabilities: 1 << NET_RAW,
        conntrack: None,
        nflog: Vec::new(),
        cluster: ClusterFacts::NotAsked,
        ..good()
    };
    assert_eq!(failures(&modest), [""; 0]);
}

#[test]
fn a_finding_is_a_json_object_too() {
    assert_eq!(
        fails("nflog", "group 7: another program listens").json().to_string(),
        r#"{"about":"nflog","level":"fails","sentence":"group 7: another program listens"}"#
    );
}
