//! The kinds that a world can be of: how pods are attached, who writes the Services' rules, which IP families there are; and
//! by which source weir looks at it.
//!
//! One table: the flags, their help and what the plan, the world and the checks decide by. A further kind is one more variant
//! here, and the compiler names the places that must know it.

use std::fmt;

use clap::{Args, ValueEnum};

use crate::plan::Family;

/// What kind of world to make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct Kinds {
    /// How pods are attached to their node.
    #[arg(long, value_enum, default_value_t, global = true)]
    pub pods: Attachment,
    /// Who translates Services, and in whose language policies are written.
    #[arg(long, value_enum, default_value_t, global = true)]
    pub services: Rules,
    /// IP families of pods, Services and nodes.
    #[arg(long, value_enum, default_value_t, global = true)]
    pub family: Families,
}

/// How a pod's veth reaches its node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Attachment {
    /// One route a pod, and a gateway that nobody has (as Calico).
    #[default]
    Routed,
    /// A bridge cni0 in hairpin mode (as flannel), bridged frames shown to the rules on one node and not on the other.
    Bridge,
    /// The CNI plugins in /usr/lib/cni, called as a runtime calls them: bridge on one node, ptp on the other.
    Cni,
}

/// Which rules the node's kernel gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Rules {
    /// Chains and random matches, as kube-proxy's iptables mode.
    #[default]
    Iptables,
    /// Verdict maps and endpoint chains, as kube-proxy's nftables mode.
    Nft,
}

/// Which IP families.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Families {
    /// IPv4 alone.
    #[default]
    Ipv4,
    /// IPv6 alone, nodes and overlay included.
    Ipv6,
    /// Both, each with an overlay of its own; IPv4 is the first.
    Dual,
}

impl Families {
    /// The families, the first one first.
    pub fn list(self) -> &'static [Family] {
        match self {
            Self::Ipv4 => &[Family::V4],
            Self::Ipv6 => &[Family::V6],
            Self::Dual => &[Family::V4, Family::V6],
        }
    }
}

/// Where the daemons' frames come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Source {
    /// What the daemon takes by itself.
    #[default]
    Auto,
    /// eBPF programs.
    Ebpf,
    /// libpcap.
    Pcap,
}

impl Source {
    /// The one to compare it with. A daemon left to itself takes eBPF.
    pub const fn other(self) -> Self {
        match self {
            Self::Auto | Self::Ebpf => Self::Pcap,
            Self::Pcap => Self::Ebpf,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Auto => "auto",
            Self::Ebpf => "ebpf",
            Self::Pcap => "pcap",
        })
    }
}
