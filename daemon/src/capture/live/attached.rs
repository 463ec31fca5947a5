//! A device with its open handles, from its opening to its last frame.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll;

use super::Settings;
use super::handle::{Handle, RETIRE_MS, Refusal};
use super::outlet::Outlet;
use crate::capture::{Direction, Interface, InterfaceId, Role};

/// After this time the kernel has handed over what was in the rings of a device that went.
pub const CLOSING: Duration = Duration::from_millis(2 * RETIRE_MS as u64);

/// A device that is captured on.
#[derive(Debug)]
pub struct Attached {
    /// As the links have it.
    pub interface: Interface,
    /// Bytes of its rings.
    pub ring_bytes: usize,
    id: InterfaceId,
    handles: Vec<Handle>,
    /// As the queue knows it. Until it does, the rings are not read: without a name frames mean nothing.
    announced: Option<Interface>,
    /// When it will be closed: it went, and its rings are being read to their end.
    closes: Option<Instant>,
}

impl Attached {
    /// One handle for each way. A frame on the loopback goes out and comes in; libpcap shows the second.
    pub fn open(
        id: InterfaceId,
        interface: Interface,
        ring: usize,
        settings: &Settings,
    ) -> Result<Self, Refusal> {
        let ways: &[Direction] = match interface.role {
            Role::Loopback => &[Direction::Inbound],
            _ => &[Direction::Inbound, Direction::Outbound],
        };
        let handles: Result<Vec<Handle>, Refusal> =
            ways.iter().map(|way| Handle::open(&interface.name, *way, ring, settings)).collect();
        let handles = handles?;
        let ring_bytes = ring * handles.len();
        Ok(Self { interface, ring_bytes, id, handles, announced: None, closes: None })
    }

    /// Announces what the queue does not know of it; from the first time on its rings are waited for. If the queue has no
    /// room it is to be tried again.
    ///
    /// # Errors
    /// If the rings cannot be waited for.
    pub fn announce(&mut self, outlet: &mut Outlet, epoll: &OwnedFd) -> rustix::io::Result<()> {
        if self.announced.as_ref() == Some(&self.interface) || !outlet.announce(self.id, &self.interface) {
            return Ok(());
        }
        let known = self.announced.replace(self.interface.clone());
        if known.is_some() || self.closes.is_some() {
            return Ok(());
        }
        for (number, handle) in (0..).zip(&self.handles) {
            let token = epoll::EventData::new_u64(u64::from(self.id.0) << 1 | number);
            epoll::add(epoll, handle, token, epoll::EventFlags::IN)?;
        }
        Ok(())
    }

    /// Reads one of its rings, unless it is closing.
    pub fn read(&mut self, handle: usize, outlet: &mut Outlet) -> Result<(), pcap::Error> {
        if self.closes.is_some() {
            return Ok(());
        }
        match self.handles.get_mut(handle) {
            Some(handle) => handle.read(self.id, |frame| outlet.hold(frame)).map(drop),
            None => Ok(()),
        }
    }

    /// No more waiting for its rings: the kernel hands over what they have within [`CLOSING`].
    pub fn begin_close(&mut self, epoll: &OwnedFd) {
        if self.closes.is_none() {
            self.closes = Some(Instant::now() + CLOSING);
            for handle in &self.handles {
                // Not in the set if it was never announced.
                let _ = epoll::delete(epoll, handle);
            }
        }
    }

    /// True from [`Attached::begin_close`] on.
    pub const fn is_closing(&self) -> bool {
        self.closes.is_some()
    }

    /// True if its rings hold all that they ever will.
    pub fn is_to_close(&self, now: Instant) -> bool {
        self.closes.is_some_and(|at| at <= now)
    }

    /// Tells of frames that the kernel dropped since this was last asked.
    pub fn count_dropped(&mut self, outlet: &mut Outlet) {
        let dropped = self.handles.iter_mut().map(Handle::newly_dropped).sum();
        outlet.lost_in_kernel(dropped);
    }

    /// Reads its rings to their end. Frames of a device that could not be announced are lost.
    pub fn close(mut self, outlet: &mut Outlet) {
        let announced = self.announced.is_some();
        let mut unnamed = 0;
        for handle in &mut self.handles {
            // The first read after a device went may give that error again and no frames.
            for _ in 0..2 {
                let read = handle.read(self.id, |frame| {
                    if announced {
                        outlet.hold(frame);
                    }
                });
                unnamed += if announced { 0 } else { read.unwrap_or(0) as u64 };
            }
        }
        outlet.lost_for_the_queue(unnamed);
        self.count_dropped(outlet);
    }
}

/// The device and handle of an event of the set.
pub fn ring_of(token: u64) -> (InterfaceId, usize) {
    (InterfaceId(u32::try_from(token >> 1).unwrap_or(0)), usize::from(token & 1 == 1))
}
