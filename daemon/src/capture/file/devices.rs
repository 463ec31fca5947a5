//! Devices of files that go on where others ended -> one device.
//!
//! A capture is cut into files by size and by time, and a recording begins anew with its daemon; a connection that lives through a cut
//! passes one device. So a device whose first frame comes when a file has ended, that had one of the same node, name and number,
//! is told as that one. Files that overlap are captures of several points, whatever their devices are called, and are never one.
//! Bounded by the devices that the files describe.

use std::collections::HashMap;

use weir_cluster::UnixNanos;

use crate::capture::{Interface, InterfaceId};

/// What a device is recognised by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Known {
    /// Of a recording.
    node: Option<String>,
    index: u32,
    /// A device without a name is called by its file, which is another one for each piece: only what follows that counts.
    name: String,
}

impl Known {
    pub(super) fn by(node: Option<String>, interface: &Interface, file_name: &str) -> Self {
        let name = interface.name.strip_prefix(file_name).unwrap_or(&interface.name).to_owned();
        Self { node, index: interface.index, name }
    }
}

/// A device of a file that is being read.
#[derive(Debug)]
struct Open {
    file: usize,
    known: Known,
    /// What it is told as, once a frame of it came.
    told_as: Option<InterfaceId>,
}

/// All devices of all files.
#[derive(Debug, Default)]
pub(super) struct Devices {
    open: HashMap<InterfaceId, Open>,
    /// Devices of files that have ended, and when.
    ended: HashMap<Known, (InterfaceId, UnixNanos)>,
    /// The latest answer: frames of one device come in runs.
    latest: Option<(InterfaceId, InterfaceId)>,
}

impl Devices {
    /// A file describes a device. What is described again stays what it is.
    pub(super) fn describe(&mut self, file: usize, id: InterfaceId, known: Known) {
        self.open.entry(id).or_insert(Open { file, known, told_as: None });
    }

    /// The file, or a section of it, has ended: others may go on with its devices.
    pub(super) fn end(&mut self, file: usize, at: UnixNanos) {
        self.latest = None;
        let Self { open, ended, .. } = self;
        open.retain(|_, device| {
            let its = device.file == file;
            if its && let Some(told_as) = device.told_as {
                ended.insert(device.known.clone(), (told_as, at));
            }
            !its
        });
    }

    /// The number under which a frame of that time is told.
    pub(super) fn told_as(&mut self, id: InterfaceId, at: UnixNanos) -> InterfaceId {
        match self.latest {
            Some((of, told_as)) if of == id => told_as,
            _ => {
                let told_as = self.look_up(id, at);
                self.latest = Some((id, told_as));
                told_as
            }
        }
    }

    fn look_up(&mut self, id: InterfaceId, at: UnixNanos) -> InterfaceId {
        let Some(device) = self.open.get_mut(&id) else { return id };
        *device.told_as.get_or_insert_with(|| match self.ended.get(&device.known) {
            // Only one goes on with it: a second one beside it is another point.
            Some((_, ended)) if *ended <= at => {
                self.ended.remove(&device.known).map_or(id, |(told_as, _)| told_as)
            }
            _ => id,
        })
    }
}
