//! The node's network devices and what each is for, from rtnetlink: what there is, what came, what went.
//!
//! Events only say that something changed; what is true is read by a dump and compared with what was known, so that lost,
//! doubled and reordered events do no harm. Which role a device has is decided in one table, [`role`].

pub mod queueing;
pub mod role;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Interface, InterfaceId, Role};
use crate::netlink::{Listener, Message, Received};

/// `RTNLGRP_LINK`, `RTNLGRP_IPV4_IFADDR`, `RTNLGRP_IPV6_IFADDR` (linux/rtnetlink.h).
const GROUPS: [u32; 3] = [1, 5, 9];
const RECEIVE_BUFFER: usize = 1 << 20;
const ARPHRD_ETHER: u16 = 1;
const ARPHRD_LOOPBACK: u16 = 772;
/// Types without a link header: SLIP and its kind (256 to 259), PPP as the kernel shows it (512), RAWIP (519), TUNNEL (768), TUNNEL6
/// (769), SIT (776), NONE (0xfffe: WireGuard, tun, xfrm); and IPGRE (778) and IP6GRE (823), whose header begins with IP's.
const WITHOUT_HEADER: [u16; 12] = [256, 257, 258, 259, 512, 519, 768, 769, 776, 778, 823, 0xfffe];
/// The kernel answers a dump at once; so long is never.
const DUMP_DEADLINE: Duration = Duration::from_secs(2);

/// A device as the kernel describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Index in the network namespace.
    pub index: u32,
    /// Name, as `ip link` shows it.
    pub name: String,
    /// `IFLA_INFO_KIND`, as "veth"; empty for hardware.
    pub kind: String,
    /// Kind of the device it is a port of, as "bond"; empty where it is none.
    pub port_of: String,
    /// Device it is a port of, 0 where it is none.
    pub controller: u32,
    /// True if its peer or lower device is in another network namespace.
    pub peer_elsewhere: bool,
    /// Administratively up.
    pub up: bool,
    /// `IFF_LOOPBACK`.
    pub loopback: bool,
    /// Kind of its link header (`ARPHRD_`, linux/if_arp.h).
    pub hardware: u16,
    /// It has an address that is not link-local.
    pub has_address: bool,
    /// A default route leads through it.
    pub default_route: bool,
}

/// How the frames of a device begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// With an Ethernet header.
    Ethernet,
    /// With the packet itself.
    Ip,
    /// With the header of a link of this number (`ARPHRD_`, linux/if_arp.h).
    Other(u16),
}

impl Framing {
    fn of(hardware: u16) -> Self {
        match hardware {
            ARPHRD_ETHER | ARPHRD_LOOPBACK => Self::Ethernet,
            bare if WITHOUT_HEADER.contains(&bare) => Self::Ip,
            other => Self::Other(other),
        }
    }
}

/// A device that weir could capture on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its number: the ifindex.
    pub id: InterfaceId,
    /// How it is announced.
    pub interface: Interface,
    /// Why it has its role.
    pub why: &'static str,
    /// Up: frames can pass.
    pub up: bool,
    /// How its frames begin.
    pub framing: Framing,
    /// Of a kind that comes in pairs: veth or netkit.
    pub paired: bool,
}

/// What happened to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It came.
    Added(Device),
    /// Its name, role or state is another.
    Changed(Device),
    /// It went. One that comes back with the same name is another device.
    Removed(InterfaceId),
}

/// The devices of the network namespace in which this was opened.
#[derive(Debug)]
pub struct Links {
    events: Listener,
    devices: BTreeMap<InterfaceId, Device>,
    bypass: BTreeSet<String>,
}

impl Links {
    /// Subscribes to changes and reads what there is.
    ///
    /// # Errors
    /// As the kernel says; no capability is needed.
    pub fn open() -> io::Result<Self> {
        let events = Listener::open(NETLINK_ROUTE, &GROUPS, RECEIVE_BUFFER)?;
        let mut links = Self { events, devices: BTreeMap::new(), bypass: BTreeSet::new() };
        links.refresh()?;
        Ok(links)
    }

    /// The devices, by index.
    pub fn snapshot(&self) -> impl Iterator<Item = &Device> {
        self.devices.values()
    }

    /// Devices whose packets may pass the host's end of the pods' veths unseen: there, "not seen delivered" is no evidence.
    #[must_use]
    pub const fn bypass(&self) -> &BTreeSet<String> {
        &self.bypass
    }

    /// Takes the events that are waiting: true if there were any, so that [`Links::refresh`] is due.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn disturbed(&mut self) -> io::Result<bool> {
        let mut any = false;
        while !matches!(self.events.receive()?, Received::Nothing) {
            any = true;
        }
        Ok(any)
    }

    /// Reads what there is now and tells the difference.
    ///
    /// # Errors
    /// As the kernel says; what was known is kept.
    pub fn refresh(&mut self) -> io::Result<Vec<Change>> {
        let links = read_links()?;
        self.bypass =
            links.iter().filter(|link| role::may_bypass(link)).map(|link| link.name.clone()).collect();
        let now = links.iter().filter_map(device).map(|device| (device.id, device)).collect();
        let before = std::mem::replace(&mut self.devices, now);
        Ok(difference(&before, &self.devices))
    }
}

impl AsFd for Links {
    /// Readable when something changed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

fn device(link: &Link) -> Option<Device> {
    let role = role::role_of(link)?;
    let name: Arc<str> = link.name.as_str().into();
    Some(Device {
        id: InterfaceId(link.index),
        interface: Interface { index: link.index, name, role },
        why: role::why(link),
        up: link.up,
        framing: Framing::of(link.hardware),
        paired: link.is_pod_kind(),
    })
}

fn difference(before: &BTreeMap<InterfaceId, Device>, now: &BTreeMap<InterfaceId, Device>) -> Vec<Change> {
    let gone = before.keys().filter(|id| !now.contains_key(id)).map(|id| Change::Removed(*id));
    let rest = now.values().filter_map(|device| match before.get(&device.id) {
        None => Some(Change::Added(device.clone())),
        Some(known) if known != device => Some(Change::Changed(device.clone())),
        Some(_) => None,
    });
    gone.chain(rest).collect()
}

/// All devices there are, those too that are not captured.
///
/// # Errors
/// As the kernel says; no capability is needed.
pub fn read_links() -> io::Result<Vec<Link>> {
    let mut links = Vec::new();
    dump(&wire::link_request(), |whole| links.extend(wire::parse_link(whole)))?;
    let mut addressed = BTreeSet::new();
    dump(&wire::address_request(), |whole| addressed.extend(wire::parse_address(whole)))?;
    let mut default_routes = BTreeSet::new();
    dump(&wire::route_request(), |whole| default_routes.extend(wire::parse_default_route(whole)))?;
    for link in &mut links {
        link.has_address = addressed.contains(&link.index);
        link.default_route = default_routes.contains(&link.index);
    }
    Ok(links)
}

/// One dump, on a socket of its own: so that one that was given up leaves nothing behind.
fn dump(request: &[u8], mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut listener = Listener::open(NETLINK_ROUTE, &[], RECEIVE_BUFFER)?;
    listener.send(request)?;
    loop {
        let messages = match listener.receive()? {
            Received::Messages(messages) => messages,
            Received::Overrun => {
                return Err(io::Error::other("the kernel had no room for a dump of the devices"));
            }
            Received::Nothing => {
                await_answer(&listener)?;
                continue;
            }
        };
        for message in messages {
            match message {
                Message::Data { whole, .. } => each(whole),
                Message::Done | Message::Answer { error: None, .. } => return Ok(()),
                Message::Answer { error: Some(error), .. } => return Err(error.into()),
            }
        }
    }
}

fn await_answer(listener: &Listener) -> io::Result<()> {
    let mut waiting = [PollFd::new(listener, PollFlags::IN)];
    let deadline = Timespec { tv_sec: DUMP_DEADLINE.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: 0 };
    match poll(&mut waiting, Some(&deadline)) {
        Ok(0) => Err(io::ErrorKind::TimedOut.into()),
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What to say where packets may bypass the host's end of a pod's veth; None where they do not.
#[must_use]
pub fn bypass_sentence(devices: &BTreeSet<String>) -> Option<String> {
    if devices.is_empty() {
        return None;
    }
    let names: Vec<&str> = devices.iter().take(4).map(String::as_str).collect();
    Some(format!(
        "packets may bypass the host's end of pod devices here ({}): a packet not seen delivered to a pod is no evidence",
        names.join(", ")
    ))
}

/// True if this device is for a role that is captured, loopback only if asked for.
#[must_use]
pub fn is_wanted(device: &Device, loopback: bool) -> bool {
    device.up && (loopback || device.interface.role != Role::Loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(index: u32, name: &str, up: bool) -> (InterfaceId, Device) {
        let interface = Interface { index, name: name.into(), role: Role::PodVeth };
        let (id, framing) = (InterfaceId(index), Framing::Ethernet);
        (id, Device { id, interface, why: "", up, framing, paired: true })
    }

    #[test]
    fn the_difference_is_what_came_went_and_changed() {
        let before = BTreeMap::from([known(1, "a", true), known(2, "b", false), known(3, "c", true)]);
        let now = BTreeMap::from([known(2, "b", true), known(3, "c", true), known(4, "a", true)]);
        assert_eq!(
            difference(&before, &now),
            [
                Change::Removed(InterfaceId(1)),
                Change::Changed(known(2, "b", true).1),
                Change::Added(known(4, "a", true).1),
            ]
        );
    }

    #[test]
    fn this_machine_has_a_loopback() {
        let links = Links::open().unwrap();
        let lo = links.snapshot().find(|device| device.interface.role == Role::Loopback).unwrap();
        let told = (&*lo.interface.name, lo.interface.index, lo.framing);
        assert_eq!(told, ("lo", lo.id.0, Framing::Ethernet));
    }

    #[test]
    fn only_frames_without_a_link_header_are_read_as_ip() {
        for (hardware, framing) in [
            (1, Framing::Ethernet),
            (772, Framing::Ethernet),
            (0xfffe, Framing::Ip),
            (512, Framing::Ip),
            (519, Framing::Ip),
            (768, Framing::Ip),
            (769, Framing::Ip),
            (776, Framing::Ip),
            (778, Framing::Ip),
            (32, Framing::Other(32)),
            (513, Framing::Other(513)),
            (801, Framing::Other(801)),
        ] {
            assert_eq!(Framing::of(hardware), framing, "{hardware}");
        }
    }
}
