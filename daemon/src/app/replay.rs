//! `weir-daemon replay`: capture files -> the same flows as live, printed or served; or flows from a file, served.
//!
//! No clock is read: the time is the packets'. The same files give the same bytes.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;
use weir_cluster::Cluster;
use weir_proto::flow::{Flow, LostEvent, LostEventSource};
use weir_proto::observer::GetFlowsResponse;
use weir_proto::observer::get_flows_response::ResponseTypes;
use weir_proto::weir::v1::PolicyStatus;

use crate::capture::Loss;
use crate::capture::file::{FileEnd, FileError, FileSource};
use crate::config::{ReplayArgs, ReplayOutput};
use crate::enrich::{self, Enricher};
use crate::pipeline::{Counts, Output, Pipeline};
use crate::ring::ring;
use crate::serve::{Clock, Node, Run, Server, Status, Stopped, preload, questions};
use crate::track::{self, Tracker};

use super::serving::{self, Signals};
use super::{AppError, node};

/// A replay's run: its flows have the same places each time.
const RUN: u64 = 1;

/// Reads the files and prints or serves.
///
/// # Errors
/// What is wrong with a file, or why it cannot be served.
pub fn run(args: &ReplayArgs) -> Result<(), AppError> {
    if let Some(file) = &args.flows {
        let loaded = preload(file, serving::limits(&args.serve))?;
        let run = Run { id: RUN, previous: None };
        return serve(args, &loaded.node, run, loaded.ring, Arc::default(), &Cluster::default());
    }
    let source = FileSource::open(&args.files)?;
    let name = recorded_node(args, &source)?;
    let (cluster, _) = node::cluster(&args.cluster, &name)?;
    let replay = Replay { source, pipeline: pipeline(args, &name)?, cluster };
    match args.output() {
        ReplayOutput::Json => to_a_reader(print(replay, &name)),
        ReplayOutput::Summary => to_a_reader(summary(replay)),
        ReplayOutput::Serve => {
            let (mut writer, ring) = ring(serving::limits(&args.serve));
            let status = Arc::new(Status::default());
            let ended = replay.run(&status, &mut |told| {
                match told {
                    Told::Output(Output::Flow(flow)) => drop(writer.push(flow)),
                    Told::Output(Output::Lost(loss)) => writer.push_lost(lost(loss)),
                    Told::SoFar => {}
                }
                Ok(())
            })?;
            let cluster = ended.checked()?;
            serve(args, &name, Run { id: RUN, previous: None }, ring, status, &cluster)
        }
    }
}

/// The node that the recordings name; a name that was typed goes before it.
fn recorded_node(args: &ReplayArgs, source: &FileSource) -> Result<String, AppError> {
    if let Some(name) = &args.cluster.node {
        return Ok(name.clone());
    }
    let mut nodes = source.origins().map(|origin| &origin.node);
    let Some(first) = nodes.next() else {
        return Ok("replay".to_owned());
    };
    match nodes.find(|node| *node != first) {
        Some(other) => Err(AppError::TwoNodes { one: first.clone(), other: other.clone() }),
        None => Ok(first.clone()),
    }
}

fn pipeline(args: &ReplayArgs, name: &str) -> Result<Pipeline, AppError> {
    let enricher = Enricher::new(enrich::Settings {
        node_name: name.to_owned(),
        cluster_name: args.cluster.cluster_name.clone(),
        run: RUN,
        ..enrich::Settings::default()
    })?;
    let decode = args.tunnels.settings();
    let settings = track::Settings { max_connections: args.max_connections, ..track::Settings::default() };
    Ok(Pipeline::new(decode, Tracker::new(settings), enricher))
}

/// A replay that told all it could.
struct Ended {
    counts: Counts,
    cluster: Cluster,
    /// The first file that could not be read to its end.
    damaged: Option<FileError>,
}

impl Ended {
    /// The cluster, for who asks about it.
    fn checked(self) -> Result<Cluster, AppError> {
        self.damaged.map_or(Ok(self.cluster), |damage| Err(AppError::File(damage)))
    }
}

/// What a replay tells.
enum Told<'a> {
    Output(Output<'a>),
    /// What was read so far is told: a capture through a pipe may let one wait for more.
    SoFar,
}

struct Replay {
    source: FileSource,
    pipeline: Pipeline,
    cluster: Cluster,
}

/// A reader that goes away (`| head`) has seen enough; that is no failure.
fn to_a_reader(printed: Result<(), AppError>) -> Result<(), AppError> {
    match printed {
        Err(AppError::Print(cause)) if cause.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

impl Replay {
    /// Everything, to the end of the files and of the open connections. A damaged file ends there, and what precedes the
    /// damage is told, and the other files are; the damage is for the caller to tell.
    fn run(
        mut self,
        status: &Status,
        out: &mut dyn FnMut(Told<'_>) -> Result<(), AppError>,
    ) -> Result<Ended, AppError> {
        let (mut failed, mut damaged) = (None, None);
        let mut keep_failure = |told: Told<'_>, failed: &mut Option<AppError>| {
            if failed.is_none() {
                *failed = out(told).err();
            }
        };
        for input in self.source.by_ref() {
            match input {
                Ok(input) => {
                    let sink = &mut |output: Output<'_>| keep_failure(Told::Output(output), &mut failed);
                    self.pipeline.take(&input, &self.cluster, sink);
                    keep_failure(Told::SoFar, &mut failed);
                }
                Err(error) if damaged.is_none() => damaged = Some(error),
                Err(another) => tracing::error!("{another}"),
            }
            if failed.is_some() {
                break;
            }
        }
        let sink = &mut |output: Output<'_>| keep_failure(Told::Output(output), &mut failed);
        self.pipeline.settle_policies(&self.cluster, sink);
        self.pipeline.finish(&self.cluster, sink);
        for end in self.source.ends().filter(|end| matches!(end, FileEnd::Truncated { .. })) {
            tracing::warn!("{end}");
            status.notice("capture", &end.to_string());
        }
        let counts = self.pipeline.counts();
        status.frames.store(counts.packets(), Ordering::Relaxed);
        status.undecodable.store(counts.undecodable, Ordering::Relaxed);
        status.tell_links(self.pipeline.links());
        let policies = self.cluster.stats().policies as u64;
        status.tell_policy(PolicyStatus { policies, ..self.pipeline.policy_stats() });
        failed.map_or(Ok(Ended { counts, cluster: self.cluster, damaged }), Err)
    }
}

fn lost(loss: Loss) -> LostEvent {
    LostEvent {
        source: LostEventSource::PerfEventRingBuffer.into(),
        num_events_lost: loss.kernel + loss.queue,
        ..LostEvent::default()
    }
}

fn print(replay: Replay, node: &str) -> Result<(), AppError> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let read = replay.run(&Status::default(), &mut |told| {
        let response = match told {
            Told::SoFar => return out.flush().map_err(AppError::Print),
            Told::Output(Output::Flow(flow)) => envelope(flow.clone()),
            Told::Output(Output::Lost(loss)) => GetFlowsResponse {
                node_name: node.to_owned(),
                time: None,
                response_types: Some(ResponseTypes::LostEvents(lost(loss))),
                weir: None,
            },
        };
        writeln!(out, "{}", weir_proto::json::to_json(&response)).map_err(AppError::Print)
    });
    out.flush().map_err(AppError::Print)?;
    read?.checked().map(drop)
}

fn envelope(flow: Flow) -> GetFlowsResponse {
    let (node_name, time) = (flow.node_name.clone(), flow.time);
    GetFlowsResponse { node_name, time, response_types: Some(ResponseTypes::Flow(flow)), weir: None }
}

fn summary(replay: Replay) -> Result<(), AppError> {
    let (mut flows, mut ends) = (0_u64, 0_u64);
    let status = Status::default();
    let ended = replay.run(&status, &mut |told| {
        if let Told::Output(Output::Flow(flow)) = told {
            flows += 1;
            let end = weir_proto::weir::v1::Reason::End;
            ends += u64::from(flow.weir.as_ref().is_some_and(|weir| weir.reason() == end));
        }
        Ok(())
    })?;
    let (mut out, links, counts) = (std::io::stdout().lock(), status.links(), ended.counts);
    writeln!(
        out,
        "{} packets, {} of ARP and the like, {} not decodable, {} lost by the capture; {ends} connections, {flows} flows",
        counts.packets(),
        counts.link.total(),
        counts.undecodable,
        counts.lost.kernel + counts.lost.queue,
    )
    .map_err(AppError::Print)?;
    for device in links {
        writeln!(
            out,
            "{}: {} of ARP, {} of neighbour discovery, {} of multicast membership, {} of other protocols than IP",
            device.device, device.arp, device.neighbours, device.memberships, device.not_ip,
        )
        .map_err(AppError::Print)?;
    }
    ended.checked().map(drop)
}

fn serve(
    args: &ReplayArgs,
    name: &str,
    run: Run,
    ring: Arc<crate::ring::Ring>,
    status: Arc<Status>,
    cluster: &Cluster,
) -> Result<(), AppError> {
    let (_peers, peers) = watch::channel(Vec::new());
    let (asker, mut questions) = questions();
    let node = Node {
        name: name.into(),
        cluster: args.cluster.cluster_name.as_str().into(),
        run,
        clock: Clock::NewestFlow,
        ring,
        status,
        peers,
        asker,
    };
    let runtime = serving::runtime()?;
    let within = args.serve.stop_deadline();
    let served = runtime.block_on(async {
        let mut signals = Signals::catch()?;
        let mut server = Server::start(node, &serving::listen(&args.serve)).await?;
        tracing::info!(node = name, addresses = ?server.addresses(), "serving what was read");
        loop {
            tokio::select! {
                name = signals.next() => {
                    tracing::info!("{name}: ending");
                    break;
                }
                failed = server.failed() => break failed?,
                Some(question) = questions.recv() => question.answer(cluster, name),
            }
        }
        let orderly = async {
            if server.stop(within).await == Stopped::DeadlineOver {
                tracing::warn!("some readers did not take their last flows within {within:?}");
            }
        };
        signals.unless_again(orderly).await;
        Ok(())
    });
    serving::end(runtime);
    served
}
