//! The node's devices that are no pod's, kept current for the program: what is given up behind them is another machine's.
//!
//! In a node that is itself a container the card is a veth, as a pod's device is, and its other end is the host's. Which is which
//! is told by the device's role, as for the capture.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{HashMap, MapData, MapError};

use crate::capture::Role;
use crate::capture::links::Links;

/// The program's map of them.
pub(super) type Map<M> = HashMap<M, u32, u8>;

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

    /// Looks again if something changed.
    pub(super) fn follow<M: std::borrow::BorrowMut<MapData>>(&mut self, map: &mut Map<M>) -> io::Result<()> {
        if self.links.disturbed()? {
            self.links.refresh()?;
            self.tell(map).map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// Writes the difference into the map. What has no room there is taken for a pod's.
    pub(super) fn tell<M: std::borrow::BorrowMut<MapData>>(
        &mut self,
        map: &mut Map<M>,
    ) -> Result<(), MapError> {
        let no_pods = self.links.snapshot().filter(|device| device.interface.role != Role::PodVeth);
        let now: BTreeSet<u32> = no_pods.map(|device| device.id.0).collect();
        for gone in self.told.difference(&now) {
            map.remove(gone)?;
        }
        for new in now.difference(&self.told) {
            map.insert(new, 1, 0)?;
        }
        self.told = now;
        Ok(())
    }
}

impl AsFd for Uplinks {
    /// Readable when something changed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.links.as_fd()
    }
}
