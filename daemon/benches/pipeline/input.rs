//! What is measured: a capture in memory, as its source hands it to the pipeline, and the cluster it was made in.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use weir_cluster::manifest::ManifestFiles;
use weir_cluster::{Cluster, UnixNanos};
use weir_daemon::capture::file::FileSource;
use weir_daemon::capture::{Input, InterfaceId, Role};
use weir_daemon::testimony::Testimony;
use weir_daemon::track::{Settings, Sink, Tracker};
use weir_daemon::{decode, enrich};
use weir_tests::results::Figure;

/// A capture and its cluster.
pub struct Recorded {
    pub inputs: Vec<Input>,
    pub cluster: Cluster,
    pub node: String,
}

impl Recorded {
    /// Reads a recording, and the manifests beside it.
    pub fn read(file: &Path) -> Result<Self> {
        let mut source = FileSource::open(&[file])?;
        let node = source.origins().next().context("the recording does not say of which node it is")?;
        let node = node.node.clone();
        let inputs = source.by_ref().collect::<Result<Vec<Input>, _>>()?;
        let mut cluster = Cluster::default();
        cluster.set_local_node(&node);
        let mut manifests = ManifestFiles::new(vec![file.with_extension("yaml")]);
        cluster.replace(manifests.load()?.objects, UnixNanos::ZERO);
        Ok(Self { inputs, cluster, node })
    }

    /// Frames in it.
    pub fn frames(&self) -> u64 {
        let batches = self.inputs.iter().map(|input| match input {
            Input::Frames(batch) => batch.len() as u64,
            _ => 0,
        });
        batches.sum()
    }

    pub fn enricher(&self) -> enrich::Enricher {
        let settings = enrich::Settings { node_name: self.node.clone(), ..enrich::Settings::default() };
        enrich::Enricher::new(settings).unwrap_or_else(|error| unreachable!("run 1 has room: {error}"))
    }

    /// The capture's size, and the connections that the tracker finds in it.
    pub fn figures(&self) -> Vec<Figure> {
        let mut tracker = Tracker::new(Settings::default());
        self.each(|taken| taken.give(&mut tracker, &mut |_| {}));
        let stats = tracker.stats();
        let connections = (stats.begun - stats.merged) as f64;
        vec![
            Figure::new("frames", self.frames() as f64, "", "frames of the recording"),
            Figure::new("connections", connections, "", "connections in them"),
        ]
    }

    /// Decodes, and hands on what the tracker takes, as the pipeline does.
    pub fn each(&self, mut take: impl FnMut(Taken<'_>)) {
        let settings = decode::Settings::default();
        let mut roles: HashMap<InterfaceId, Role> = HashMap::new();
        for input in &self.inputs {
            match input {
                Input::Frames(batch) => {
                    for frame in batch.frames() {
                        let Ok(packet) = decode::decode(&frame, &settings) else { continue };
                        if !packet.is_about_the_link() {
                            let role = roles.get(&frame.interface).copied().unwrap_or(Role::Unknown);
                            take(Taken::Packet(&packet, role));
                        }
                    }
                }
                Input::Interface(id, interface) => drop(roles.insert(*id, interface.role)),
                Input::Testimony(testimony) => take(Taken::Testimony(testimony)),
                Input::Lost(_) => take(Taken::Loss),
                Input::Detail(_) => {}
            }
        }
    }
}

/// What the tracker is given.
#[derive(Clone, Copy)]
pub enum Taken<'a> {
    Packet(&'a decode::Packet<'a>, Role),
    Testimony(&'a Testimony),
    Loss,
}

impl Taken<'_> {
    pub fn give(self, tracker: &mut Tracker, sink: Sink<'_>) {
        match self {
            Self::Packet(packet, role) => tracker.packet(packet, role, sink),
            Self::Testimony(testimony) => tracker.testimony(testimony, sink),
            Self::Loss => tracker.capture_lost(),
        }
    }
}
