//! Which role a device has, and why: one table, first rule that applies.
//!
//! The role decides which sighting of a packet counts, so a device that would only repeat another's frames has none and is
//! not captured. A CNI that is not known yet is one more line.

use super::{Link, Role};

/// One rule: devices it applies to, and what they are for. No role means: not captured.
struct Rule {
    role: Option<Role>,
    /// For the debug log, and for the reader here.
    why: &'static str,
    applies: fn(&Link) -> bool,
}

const RULES: &[Rule] = &[
    Rule { role: Some(Role::Loopback), why: "it is the loopback", applies: |link| link.loopback },
    Rule {
        role: None,
        why: "a port of a bond or team: the bond shows the same frames",
        applies: |link| ["bond", "team"].contains(&link.port_of.as_str()),
    },
    Rule {
        role: None,
        why: "it carries no frames: it only holds addresses (kube-ipvs0, nodelocaldns) or copies of frames",
        applies: |link| ["dummy", "ifb", "nlmon", "vcan", "vrf"].contains(&link.kind.as_str()),
    },
    Rule {
        role: None,
        why: "the other end of a pair inside the node: its frames are seen on their way to the pods",
        applies: |link| starts(link, &["vethwe-", "cilium_net"]) || link.name == "ovs-system",
    },
    Rule {
        role: Some(Role::Overlay),
        why: "its kind encapsulates",
        applies: |link| OVERLAY_KINDS.contains(&link.kind.as_str()),
    },
    Rule {
        role: Some(Role::Overlay),
        why: "a CNI's tunnel, by its name",
        applies: |link| starts(link, TUNNEL_NAMES),
    },
    Rule {
        role: Some(Role::PodVeth),
        why: "host end of a pod's device, by the name its CNI gives (Calico, AWS, Cilium, Weave)",
        applies: |link| link.is_pod_kind() && starts(link, &["cali", "eni", "lxc", "vethwepl"]),
    },
    Rule {
        role: Some(Role::Underlay),
        why: "a network card, by its name; a veth in a node that is itself a container",
        applies: |link| is_card(&link.name),
    },
    Rule {
        role: Some(Role::Underlay),
        why: "the default route leads through it",
        applies: |link| link.default_route,
    },
    Rule {
        role: Some(Role::Bridge),
        why: "pods hang on it, or it is the node's leg in their switch",
        applies: |link| {
            link.kind == "bridge"
                || ["cni0", "docker0", "cbr0", "weave", "cilium_host", "antrea-gw0", "ovn-k8s-mp0"]
                    .contains(&link.name.as_str())
        },
    },
    Rule {
        role: Some(Role::PodVeth),
        why: "its peer is in another network namespace",
        applies: |link| link.is_pod_kind() && link.peer_elsewhere,
    },
    Rule {
        role: None,
        why: "both ends are in the node: the other devices show its frames",
        applies: |link| link.kind == "veth",
    },
    Rule {
        role: Some(Role::Underlay),
        why: "unknown, but it has an address: the node talks through it",
        applies: |link| link.has_address,
    },
];

/// Of flannel, Calico, Cilium, Weave, Antrea, and Open vSwitch's for OVN and Antrea.
const TUNNEL_NAMES: &[&str] = &[
    "flannel",
    "vxlan.calico",
    "vxlan-v6.calico",
    "tunl",
    "cilium_vxlan",
    "cilium_geneve",
    "vxlan-6784",
    "antrea-tun",
    "genev_sys_",
    "vxlan_sys_",
];

const OVERLAY_KINDS: &[&str] = &[
    "vxlan",
    "geneve",
    "ipip",
    "ip6tnl",
    "sit",
    "gre",
    "gretap",
    "erspan",
    "ip6gre",
    "ip6gretap",
    "ip6erspan",
    "vti",
    "vti6",
    "wireguard",
    "xfrm",
];

/// What the device is for; None if it is not worth capturing.
#[must_use]
pub fn role_of(link: &Link) -> Option<Role> {
    rule_of(link).and_then(|rule| rule.role)
}

/// Why the device has its role, for people.
#[must_use]
pub fn why(link: &Link) -> &'static str {
    rule_of(link).map_or("unknown, and without an address", |rule| rule.why)
}

fn rule_of(link: &Link) -> Option<&'static Rule> {
    RULES.iter().find(|rule| (rule.applies)(link))
}

/// True for devices of a CNI that moves packets past the host's end of a pod's device (Cilium's host routing, netkit).
#[must_use]
pub fn may_bypass(link: &Link) -> bool {
    link.kind == "netkit" || starts(link, &["cilium_"])
}

impl Link {
    /// Of a kind that comes in pairs, as pods' devices mostly are.
    pub(super) fn is_pod_kind(&self) -> bool {
        ["veth", "netkit"].contains(&self.kind.as_str())
    }
}

fn starts(link: &Link, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| link.name.starts_with(prefix))
}

/// Names as the kernel (eth0, wlan0), systemd (eno1, ens3, enp0s3, enx..., wlp2s0, ib...) and administrators (bond0, team0)
/// give. AWS's `eni...` are pods' and no such name.
fn is_card(name: &str) -> bool {
    let digit_after = |prefix: &str| {
        name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    };
    ["eth", "wlan", "bond", "team", "end"].into_iter().any(digit_after)
        || ["eno", "ens", "enp", "enP", "enx", "enu", "wlp", "wlo", "wls", "wlx", "ibp", "ibs"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, kind: &str) -> Link {
        Link { index: 7, name: name.into(), kind: kind.into(), up: true, ..Link::default() }
    }

    fn veth(name: &str) -> Link {
        Link { peer_elsewhere: true, ..link(name, "veth") }
    }

    /// Name, kind and state of devices as `ip -d link` and `ip address` show them on nodes of each network, and their role.
    const NODES: &[(&str, &str, Option<Role>)] = &[
        ("flannel", "flannel.1 vxlan address", Some(Role::Overlay)),
        ("flannel", "flannel-v6.1 vxlan address", Some(Role::Overlay)),
        ("flannel", "flannel-wg wireguard address", Some(Role::Overlay)),
        ("flannel", "cni0 bridge address", Some(Role::Bridge)),
        ("flannel", "veth5cbb27dc veth elsewhere of=bridge", Some(Role::PodVeth)),
        ("calico", "cali0ef24ba8f1e veth elsewhere", Some(Role::PodVeth)),
        ("calico", "vxlan.calico vxlan address", Some(Role::Overlay)),
        ("calico", "vxlan-v6.calico vxlan address", Some(Role::Overlay)),
        ("calico", "tunl0 ipip address", Some(Role::Overlay)),
        ("calico", "wireguard.cali wireguard address", Some(Role::Overlay)),
        ("calico", "bpfin.cali veth", None),
        ("calico", "bpfout.cali veth", None),
        ("cilium", "lxc3d5f6a1b2c4e veth elsewhere", Some(Role::PodVeth)),
        ("cilium", "lxc_health veth elsewhere", Some(Role::PodVeth)),
        ("cilium", "lxc0a1b2c3d4e5f netkit", Some(Role::PodVeth)),
        ("cilium", "cilium_host veth address", Some(Role::Bridge)),
        ("cilium", "cilium_net veth", None),
        ("cilium", "cilium_vxlan vxlan", Some(Role::Overlay)),
        ("cilium", "cilium_geneve geneve", Some(Role::Overlay)),
        ("cilium", "cilium_wg0 wireguard address", Some(Role::Overlay)),
        ("aws vpc cni", "eni5d3f1a2b4c6 veth elsewhere", Some(Role::PodVeth)),
        ("aws vpc cni", "eth0 hardware address", Some(Role::Underlay)),
        ("aws vpc cni", "ens6 hardware address", Some(Role::Underlay)),
        ("aws vpc cni", "dummy0 dummy address", None),
        ("weave", "weave bridge address", Some(Role::Bridge)),
        ("weave", "vethwepl0a1b2c3 veth elsewhere of=bridge", Some(Role::PodVeth)),
        ("weave", "vethwe-bridge veth of=bridge", None),
        ("weave", "vethwe-datapath veth of=openvswitch", None),
        ("weave", "datapath openvswitch", None),
        ("weave", "vxlan-6784 vxlan of=openvswitch", Some(Role::Overlay)),
        ("antrea", "antrea-gw0 openvswitch address", Some(Role::Bridge)),
        ("antrea", "antrea-tun0 openvswitch", Some(Role::Overlay)),
        ("antrea", "genev_sys_6081 geneve of=openvswitch", Some(Role::Overlay)),
        ("antrea", "nginx-7f-3b2a1c veth elsewhere of=openvswitch", Some(Role::PodVeth)),
        ("antrea", "ovs-system openvswitch", None),
        ("antrea", "antrea-egress0 dummy address", None),
        ("kindnet", "veth9c7e2a10 veth elsewhere", Some(Role::PodVeth)),
        ("kindnet", "eth0 veth elsewhere address default", Some(Role::Underlay)),
        ("bridge", "docker0 bridge address", Some(Role::Bridge)),
        ("bridge", "vethb1d9e8f7 veth elsewhere of=bridge", Some(Role::PodVeth)),
        ("ptp", "veth1f2e3d4c veth elsewhere address", Some(Role::PodVeth)),
    ];

    fn described(words: &str) -> Link {
        let mut words = words.split(' ');
        let (name, kind) = (words.next().unwrap(), words.next().unwrap());
        let mut device = link(name, if kind == "hardware" { "" } else { kind });
        for word in words {
            match word.split_once('=') {
                Some(("of", kind)) => device.port_of = kind.to_owned(),
                _ if word == "elsewhere" => device.peer_elsewhere = true,
                _ if word == "address" => device.has_address = true,
                _ if word == "default" => device.default_route = true,
                _ => panic!("{word}"),
            }
        }
        device
    }

    #[test]
    fn every_device_of_a_network_has_its_role() {
        for (network, words, role) in NODES {
            let device = described(words);
            assert_eq!(role_of(&device), *role, "{network}: {} because {}", device.name, why(&device));
        }
    }

    #[test]
    fn devices_of_known_networks() {
        let expectations: &[(Link, Option<Role>)] = &[
            (Link { loopback: true, ..link("lo", "") }, Some(Role::Loopback)),
            (link("flannel.1", "vxlan"), Some(Role::Overlay)),
            (link("vxlan.calico", "vxlan"), Some(Role::Overlay)),
            (link("tunl0", "ipip"), Some(Role::Overlay)),
            (link("wg0", "wireguard"), Some(Role::Overlay)),
            (link("genev_sys_6081", "geneve"), Some(Role::Overlay)),
            (link("cni0", "bridge"), Some(Role::Bridge)),
            (link("docker0", "bridge"), Some(Role::Bridge)),
            (link("antrea-gw0", "openvswitch"), Some(Role::Bridge)),
            (link("eth0", ""), Some(Role::Underlay)),
            (veth("eth0"), Some(Role::Underlay)),
            (link("enp1s0", ""), Some(Role::Underlay)),
            (link("bond0", "bond"), Some(Role::Underlay)),
            (Link { port_of: "bond".into(), ..link("eth1", "") }, None),
            (Link { port_of: "bridge".into(), ..veth("veth1a2b3c4d") }, Some(Role::PodVeth)),
            (veth("veth-client"), Some(Role::PodVeth)),
            (veth("cali0123456789a"), Some(Role::PodVeth)),
            (veth("eni0123456789a"), Some(Role::PodVeth)),
            (link("lxc0123456789ab", "netkit"), Some(Role::PodVeth)),
            (veth("vethwepl12345"), Some(Role::PodVeth)),
            (link("vethwe-bridge", "veth"), None),
            (Link { default_route: true, ..veth("uplink") }, Some(Role::Underlay)),
            (link("pair0", "veth"), None),
            (Link { has_address: true, ..link("kube-ipvs0", "dummy") }, None),
            (Link { has_address: true, ..link("usb0", "") }, Some(Role::Underlay)),
            (link("usb0", ""), None),
        ];
        for (link, role) in expectations {
            assert_eq!(role_of(link), *role, "{} because {}", link.name, why(link));
        }
    }

    #[test]
    fn a_network_that_goes_past_the_veth_is_recognised() {
        assert!(may_bypass(&link("cilium_host", "veth")));
        assert!(may_bypass(&link("lxc12", "netkit")));
        assert!(!may_bypass(&veth("cali12")));
    }
}
