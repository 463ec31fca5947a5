//! What weir writes into a recording for itself to read again, in words that a person can read in any pcapng viewer.
//!
//! In `if_description` of an interface:
//! `weir: id=3 ifindex=7 role=pod-veth` a device, announced here; `weir: id=3` further frames of it, of another link type or
//! never announced; `weir: losses` the interface whose statistics count lost frames; `weir: testimony` the kernel's messages;
//! `weir: drops` packets that the kernel gave up, each with its reason in a comment; `weir: detail=2` no interface: from here on
//! so much is looked at.
//! In the section's comment: `weir: run=1700000000000 node=worker-1`.

use std::fmt;
use std::str::FromStr;

use crate::capture::{Detail, Role};

pub(super) const MARK: &str = "weir: ";

/// A role is added here.
const ROLES: [(Role, &str); 6] = [
    (Role::Unknown, "unknown"),
    (Role::Loopback, "loopback"),
    (Role::Underlay, "underlay"),
    (Role::Bridge, "bridge"),
    (Role::Overlay, "overlay"),
    (Role::PodVeth, "pod-veth"),
];

/// What an interface of a recording is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::capture) enum Label {
    /// A device appears or changes here.
    Device { id: u32, ifindex: u32, role: Role },
    /// Frames of a device that is announced elsewhere, or nowhere.
    More { id: u32 },
    /// Its statistics are the losses: `isb_osdrop` the kernel's, `isb_ifdrop` the queue's.
    Losses,
    /// The kernel's testimony.
    Testimony,
    /// From here on so much is looked at.
    Detail(Detail),
    /// Packets that the kernel gave up.
    Drops,
}

impl fmt::Display for Label {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Device { id, ifindex, role } => {
                let word = ROLES.iter().find(|(known, _)| *known == role).map_or("unknown", |(_, word)| word);
                write!(out, "{MARK}id={id} ifindex={ifindex} role={word}")
            }
            Self::More { id } => write!(out, "{MARK}id={id}"),
            Self::Losses => write!(out, "{MARK}losses"),
            Self::Testimony => write!(out, "{MARK}testimony"),
            Self::Detail(detail) => write!(out, "{MARK}detail={}", detail.level()),
            Self::Drops => write!(out, "{MARK}drops"),
        }
    }
}

impl FromStr for Label {
    type Err = NotALabel;

    fn from_str(text: &str) -> Result<Self, NotALabel> {
        let words: Vec<&str> = text.strip_prefix(MARK).ok_or(NotALabel)?.split(' ').collect();
        match *words {
            ["losses"] => Ok(Self::Losses),
            ["testimony"] => Ok(Self::Testimony),
            [word] if word.starts_with("detail=") => {
                let level: u32 = number(word, "detail=")?;
                let known = Detail::ALL.into_iter().find(|detail| detail.level() == level);
                known.map(Self::Detail).ok_or(NotALabel)
            }
            ["drops"] => Ok(Self::Drops),
            [id] => Ok(Self::More { id: number(id, "id=")? }),
            [id, ifindex, role] => {
                let word = role.strip_prefix("role=").ok_or(NotALabel)?;
                let (role, _) = ROLES.iter().find(|(_, known)| *known == word).ok_or(NotALabel)?;
                let (id, ifindex) = (number(id, "id=")?, number(ifindex, "ifindex=")?);
                Ok(Self::Device { id, ifindex, role: *role })
            }
            _ => Err(NotALabel),
        }
    }
}

pub(super) fn number<T: FromStr>(word: &str, key: &str) -> Result<T, NotALabel> {
    word.strip_prefix(key).and_then(|digits| digits.parse().ok()).ok_or(NotALabel)
}

/// The text is another program's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not written by weir")]
pub struct NotALabel;

/// Who made a recording, and in which run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Name of the node.
    pub node: String,
    /// Run of the daemon, as in the place of its flows.
    pub run: u64,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{MARK}run={} node={}", self.run, self.node)
    }
}

impl FromStr for Origin {
    type Err = NotALabel;

    fn from_str(text: &str) -> Result<Self, NotALabel> {
        let rest = text.strip_prefix(MARK).ok_or(NotALabel)?;
        let (run, node) = rest.split_once(' ').ok_or(NotALabel)?;
        let node = node.strip_prefix("node=").ok_or(NotALabel)?.to_owned();
        Ok(Self { node, run: number(run, "run=")? })
    }
}
