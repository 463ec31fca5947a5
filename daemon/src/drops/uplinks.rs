//! The node's devices that are no pod's, kept current for the program: what is given up behind them is another machine's.
//!
//! In a node that is itself a container the card is a veth, as a pod's device is, and its other end is the host's. Which is which
//! is told by the device's role, as for the capture. The program asks for the ends of pairs alone, so no others are told.

use std::borrow::BorrowMut;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{HashMap, MapData, MapError};

use crate::capture::Role;
use crate::capture::links::{Device, Links};

/// The program's map of them.
pub(super) type Map<M> = HashMap<M, u32, u8>;

/// Said once devices had no room in the map.
const NO_ROOM: &str = "kernel drops: the node has more veths and netkits that are no pod's than the program can know: what is \
                       dropped behind some of them is told as a pod's";

/// Where devices are told.
trait Room {
    /// False if there is none.
    fn add(&mut self, device: u32) -> Result<bool, MapError>;
    /// Nothing to do if it is not there.
    fn take_out(&mut self, device: u32) -> Result<(), MapError>;
}

impl<M: BorrowMut<MapData>> Room for Map<M> {
    fn add(&mut self, device: u32) -> Result<bool, MapError> {
        match self.insert(device, 1, 0) {
            Err(error) if answers(&error, libc::E2BIG) => Ok(false),
            other => other.map(|()| true),
        }
    }

    fn take_out(&mut self, device: u32) -> Result<(), MapError> {
        match self.remove(&device) {
            Err(error) if answers(&error, libc::ENOENT) => Ok(()),
            other => other,
        }
    }
}

/// True if this is what the kernel answered.
fn answers(error: &MapError, code: i32) -> bool {
    matches!(error, MapError::SyscallError(call) if call.io_error.raw_os_error() == Some(code))
}

/// Devices that are watched.
pub(super) struct Uplinks {
    links: Links,
    told: BTreeSet<u32>,
}

impl Uplinks {
    /// Of this thread's network namespace.
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { links: Links::open()?, told: BTreeSet::new() })
    }

    /// Looks again if something changed. What there is to say of it.
    pub(super) fn follow<M: BorrowMut<MapData>>(
        &mut self,
        map: &mut Map<M>,
    ) -> io::Result<Option<&'static str>> {
        if !self.links.disturbed()? {
            return Ok(None);
        }
        self.links.refresh()?;
        self.tell(map).map_err(io::Error::other)
    }

    /// Writes the difference into the map. What has no room there is taken for a pod's, which is said.
    pub(super) fn tell<M: BorrowMut<MapData>>(
        &mut self,
        map: &mut Map<M>,
    ) -> Result<Option<&'static str>, MapError> {
        let now =
            self.links.snapshot().filter(|device| is_asked_for(device)).map(|device| device.id.0).collect();
        let all = bring_in_step(&mut self.told, &now, map)?;
        Ok((!all).then_some(NO_ROOM))
    }
}

/// The program looks up the node's ends of pairs.
fn is_asked_for(device: &Device) -> bool {
    device.paired && device.interface.role != Role::PodVeth
}

/// Takes out what went, adds what came, and notes what is in the map. False if there was no room for all.
fn bring_in_step(
    told: &mut BTreeSet<u32>,
    now: &BTreeSet<u32>,
    map: &mut impl Room,
) -> Result<bool, MapError> {
    let gone: Vec<u32> = told.difference(now).copied().collect();
    for device in gone {
        map.take_out(device)?;
        told.remove(&device);
    }
    let new: Vec<u32> = now.difference(told).copied().collect();
    let mut all = true;
    for device in new {
        if map.add(device)? {
            told.insert(device);
        } else {
            all = false;
        }
    }
    Ok(all)
}

impl AsFd for Uplinks {
    /// Readable when something changed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.links.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::links::Framing;
    use crate::capture::{Interface, InterfaceId};

    /// With room for so many.
    struct Few(usize, BTreeSet<u32>);

    impl Room for Few {
        fn add(&mut self, device: u32) -> Result<bool, MapError> {
            Ok(self.1.len() < self.0 && self.1.insert(device))
        }

        fn take_out(&mut self, device: u32) -> Result<(), MapError> {
            assert!(self.1.remove(&device), "only what is there is taken out");
            Ok(())
        }
    }

    #[test]
    fn what_has_no_room_is_told_once_another_went() {
        let (mut map, mut told) = (Few(2, BTreeSet::new()), BTreeSet::new());
        let all = bring_in_step(&mut told, &BTreeSet::from([1, 2, 3]), &mut map).unwrap();
        assert_eq!((all, &told), (false, &BTreeSet::from([1, 2])));
        let all = bring_in_step(&mut told, &BTreeSet::from([1, 2]), &mut map).unwrap();
        assert_eq!(
            (all, &told),
            (true, &BTreeSet::from([1, 2])),
            "what was never told need not be taken out"
        );
        let all = bring_in_step(&mut told, &BTreeSet::from([2, 3]), &mut map).unwrap();
        assert_eq!((all, &told, &map.1), (true, &BTreeSet::from([2, 3]), &BTreeSet::from([2, 3])));
    }

    #[test]
    fn only_the_ends_of_pairs_that_are_no_pods_are_asked_for() {
        let device = |role, paired| Device {
            id: InterfaceId(7),
            interface: Interface { index: 7, name: "eth0".into(), role },
            why: "",
            up: true,
            framing: Framing::Ethernet,
            paired,
        };
        assert!(is_asked_for(&device(Role::Underlay, true)));
        assert!(!is_asked_for(&device(Role::Underlay, false)), "a card, a VLAN, a tunnel");
        assert!(!is_asked_for(&device(Role::PodVeth, true)));
    }
}
