//! `weir-daemon run`: this node's traffic -> flows, served until told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use weir_cluster::{Cluster, UnixNanos};
use weir_proto::flow::{Flow, LostEvent, LostEventSource};
use weir_proto::weir::v1::{PolicyStatus, Untold};

use crate::capture::{Horizon, Input, Loss};
use crate::config::RunArgs;
use crate::enrich::{self, Enricher};
use crate::pipeline::{Output, Pipeline};
use crate::ring::{Seq, Writer, ring};
use crate::run_state::{LastFlow, RunState};
use crate::serve::{self, Clock, Node, PeerNode, PreviousRun, Run, Server, Status, Stopped};
use crate::track::{self, Tracker};
use crate::worker::{Stop, StopError, Worker};

use super::cluster::{self, Feed, Source};
use super::governed::Governed;
use super::record::Recording;
use super::serving::{self, Signals};
use super::sources::Sources;
use super::tracking::Tracking;
use super::{AppError, clock, node, policies};

/// Time passes for the tracker at least so often.
const TICK: Duration = Duration::from_millis(20);
/// The tracker's time stays at least so far behind the clock, since frames wait that long in rings and for their order.
const LAG: Duration = Duration::from_millis(150);
/// Counts and notices of the sources are looked at so often.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

const POLICY_TOPIC: &str = "policies";

/// A pipeline that has not turned for so long is stuck. Taking in a large cluster's first lists takes a few seconds.
const STUCK: Duration = Duration::from_secs(30);

/// When the pipeline last turned.
#[derive(Debug)]
struct Pulse {
    started: Instant,
    /// Milliseconds after the start.
    beat: AtomicU64,
}

impl Pulse {
    fn new() -> Self {
        Self { started: Instant::now(), beat: AtomicU64::new(0) }
    }

    fn beat(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.beat.store(now, Ordering::Relaxed);
    }

    fn is_alive(&self) -> bool {
        let beat = Duration::from_millis(self.beat.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(beat) < STUCK
    }
}

/// Runs until told to stop.
///
/// # Errors
/// Why it cannot begin, or which part ended by itself.
pub fn run(args: &RunArgs) -> Result<(), AppError> {
    let name = node::name(&args.cluster);
    let run = clock::run_of(clock::now());
    let state = args.state_dir.as_deref().map(|folder| RunState::begin(folder, run)).transpose()?;
    let previous = state.as_ref().and_then(RunState::previous);
    let (cluster, files) = node::cluster(&args.cluster, &name)?;
    let port = args.serve.listen.map_or(node::DEFAULT_PORT, |listen| listen.port());
    let (asker, questions) = serve::questions();
    let (peers, peers_seen) = watch::channel(node::peers(&cluster, &args.cluster.cluster_name, port));
    let (writer, ring) = ring(serving::limits(&args.serve));
    let status = Arc::new(Status::default());
    let node = Node {
        name: name.as_str().into(),
        cluster: args.cluster.cluster_name.as_str().into(),
        run: Run {
            id: run,
            previous: previous.map(|last| PreviousRun { id: last.run, last: Seq(last.seq) }),
        },
        clock: Clock::System,
        ring,
        status: Arc::clone(&status),
        peers: peers_seen,
        asker,
    };
    let runtime = serving::runtime()?;
    let server = runtime.block_on(Server::start(node, &serving::listen(&args.serve)))?;
    let recording = args.record.as_deref().map(|file| Recording::begin(file, &name, run)).transpose()?;
    let (sources, inputs) = Sources::start(&args.capture)?;
    let (source, feed) = cluster::start(args, files, &runtime, &status)?;
    runtime.block_on(server.set_ready(source.is_ready()));
    let pulse = Arc::new(Pulse::new());
    let pump = Pump {
        name: name.clone(),
        questions,
        feed,
        horizon: sources.horizon(),
        pulse: Arc::clone(&pulse),
        peers_told: Instant::now(),
        links_told: Instant::now(),
        peers_stale: true,
        pipeline: pipeline(args, &name, run)?,
        cluster,
        writer,
        state,
        recording,
        run,
        status: Arc::clone(&status),
        peers,
        cluster_name: args.cluster.cluster_name.clone(),
        port,
    };
    let pump = Worker::spawn("pipeline", move |stop| pump.run(&inputs, &stop))
        .map_err(|cause| AppError::Start { what: "the pipeline", cause })?;
    tracing::info!(node = name, run, addresses = ?server.addresses(), "capturing and serving");
    let governed = Governed::new(args.budget.budget());
    let parts = Parts { server, sources, source, pump, pulse, governed, tracking: Tracking::default() };
    let ended = runtime.block_on(parts.until_stopped(&status, args.serve.stop_deadline()));
    serving::end(runtime);
    ended
}

fn pipeline(args: &RunArgs, name: &str, run: u64) -> Result<Pipeline, AppError> {
    let enricher = Enricher::new(enrich::Settings {
        node_name: name.to_owned(),
        cluster_name: args.cluster.cluster_name.clone(),
        run,
        ..enrich::Settings::default()
    })?;
    let settings = track::Settings {
        max_connections: args.max_connections,
        periodic_ns: args.interval_s.saturating_mul(1_000_000_000),
        ..track::Settings::default()
    };
    let decode = args.capture.tunnels.settings();
    Ok(Pipeline::new(decode, Tracker::new(settings), enricher))
}

/// Everything that runs, in the order in which it is stopped.
struct Parts {
    sources: Sources,
    source: Source,
    pump: Worker,
    server: Server,
    pulse: Arc<Pulse>,
    governed: Governed,
    tracking: Tracking,
}

impl Parts {
    async fn until_stopped(mut self, status: &Status, within: Duration) -> Result<(), AppError> {
        let mut look = tokio::time::interval(STATUS_INTERVAL);
        let mut signals = Signals::catch()?;
        let ended = loop {
            tokio::select! {
                name = signals.next() => {
                    tracing::info!("{name}: ending within {within:?}");
                    break Ok(());
                }
                failed = self.server.failed() => break failed.map_err(AppError::from),
                _ = look.tick() => {
                    self.look(status);
                    self.server.set_ready(self.source.is_ready()).await;
                    self.server.set_live(self.pulse.is_alive()).await;
                    if let Some(what) = self.ended() {
                        break Err(AppError::Ended { what });
                    }
                }
            }
        };
        signals.unless_again(self.stop(Instant::now() + within)).await;
        ended
    }

    /// The part without which there is nothing to serve, if it ended by itself.
    fn ended(&self) -> Option<&'static str> {
        let parts = [("the capture", self.sources.is_capturing()), ("the pipeline", self.pump.is_running())];
        parts.into_iter().find_map(|(what, runs)| (!runs).then_some(what))
    }

    /// What the sources count and say.
    fn look(&mut self, status: &Status) {
        self.source.look(status);
        self.governed.look(&mut self.sources, status);
        self.tracking.look(status);
        status.tell_source(self.sources.told());
        let counts = self.sources.counts();
        status.frames_dropped_kernel.store(counts.kernel_dropped, Ordering::Relaxed);
        status.frames_dropped_queue.store(counts.queue_dropped, Ordering::Relaxed);
        status.conntrack_overruns.store(counts.conntrack_overruns, Ordering::Relaxed);
        if counts.logged_lost > 0 {
            let sentence = format!(
                "nflog: {} logged packets were lost: a denied call may lack its rule",
                counts.logged_lost
            );
            status.notice("nflog loss", &sentence);
        }
        if counts.drops_lost > 0 {
            let sentence = format!(
                "kernel drops: {} packets that the kernel gave up found no room on their way here: a dropped call may \
                 lack its reason",
                counts.drops_lost
            );
            status.notice("kernel drop loss", &sentence);
        }
        status.tell_kernel_drops(self.sources.kernel_drops());
        for (topic, sentence) in self.sources.notices() {
            tracing::warn!("{sentence}");
            status.notice(topic, &sentence);
        }
    }

    /// Ready no more; then sources first, so that what they read still goes through; readers get the rest; then the server.
    /// All within one deadline. Threads are waited for apart, so that a second signal is heard meanwhile.
    async fn stop(self, until: Instant) {
        let Self { sources, source, pump, server, pulse: _, governed: _, tracking: _ } = self;
        server.set_ready(false).await;
        let left = move || until.saturating_duration_since(Instant::now());
        let ends = [
            waited(move || sources.stop(left())).await,
            source.stop(left()).await,
            waited(move || pump.stop(left())).await,
        ];
        for error in ends.into_iter().filter_map(Result::err) {
            tracing::error!("{error}");
        }
        if server.stop(left()).await == Stopped::DeadlineOver {
            tracing::warn!("some readers did not take their last flows before the --stop-deadline");
        }
    }
}

/// A wait that would keep the runtime's thread.
async fn waited(wait: impl FnOnce() -> Result<(), StopError> + Send + 'static) -> Result<(), StopError> {
    match tokio::task::spawn_blocking(wait).await {
        Ok(ended) => ended,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// The pipeline's thread: inputs and cluster changes in, flows into the ring.
struct Pump {
    name: String,
    questions: mpsc::Receiver<serve::Question>,
    feed: Feed,
    horizon: Horizon,
    pulse: Arc<Pulse>,
    /// When the nodes were last looked at, and whether there may be news since.
    peers_told: Instant,
    links_told: Instant,
    peers_stale: bool,
    pipeline: Pipeline,
    cluster: Cluster,
    writer: Writer,
    state: Option<RunState>,
    recording: Option<Recording>,
    run: u64,
    status: Arc<Status>,
    peers: watch::Sender<Vec<PeerNode>>,
    cluster_name: String,
    port: u16,
}

impl Pump {
    fn run(mut self, inputs: &Receiver<Input>, stop: &Stop) {
        let (mut ticked, mut taken) = (Instant::now(), UnixNanos::ZERO);
        loop {
            let reached = self.horizon.reached();
            let input = match inputs.try_recv() {
                Err(TryRecvError::Empty) => {
                    taken = reached;
                    inputs.recv_timeout(TICK)
                }
                Err(TryRecvError::Disconnected) => break,
                Ok(input) => Ok(input),
            };
            match input {
                Ok(input) => {
                    self.record(&input);
                    self.step(|pipeline, cluster, out| pipeline.take(&input, cluster, out));
                }
                Err(RecvTimeoutError::Timeout) if stop.requested() => break,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if ticked.elapsed() >= TICK {
                self.tick(taken);
                ticked = Instant::now();
            }
        }
        self.step(Pipeline::finish);
    }

    /// A recording that cannot go on ends, with a notice; the flows do not.
    fn record(&mut self, input: &Input) {
        let Some(Err(error)) = self.recording.as_mut().map(|recording| recording.record(input)) else {
            return;
        };
        tracing::error!("{error}; the recording ends here");
        self.status.notice("recording", &format!("{error}; the recording ends here"));
        self.recording = None;
    }

    /// All that was captured until `taken` has been taken. The clock may be far ahead of what waits in rings and queue.
    fn tick(&mut self, taken: UnixNanos) {
        self.pulse.beat();
        let now = clock::now();
        self.peers_stale |= self.feed.apply_to(&mut self.cluster, now);
        if self.peers_stale && self.peers_told.elapsed() >= STATUS_INTERVAL {
            (self.peers_stale, self.peers_told) = (false, Instant::now());
            let peers = node::peers(&self.cluster, &self.cluster_name, self.port);
            self.peers.send_if_modified(|told| {
                let news = *told != peers;
                *told = peers;
                news
            });
        }
        while let Ok(question) = self.questions.try_recv() {
            question.answer(&self.cluster, &self.name);
        }
        let (clock, reached) = (now.saturating_sub(LAG), self.pipeline.tracker().now());
        let until = if clock <= reached { clock } else { clock.min(taken).max(reached) };
        self.step(|pipeline, cluster, out| pipeline.advance(until, cluster, out));
        let counts = self.pipeline.counts();
        let tracked = self.pipeline.tracker();
        let set = |counter: &std::sync::atomic::AtomicU64, value| counter.store(value, Ordering::Relaxed);
        set(&self.status.frames, counts.packets());
        set(&self.status.undecodable, counts.undecodable);
        set(&self.status.packets_left_out, counts.left_out + tracked.stats().left_out);
        set(&self.status.connections, tracked.len() as u64);
        set(&self.status.connections_evicted, tracked.stats().evicted);
        if self.links_told.elapsed() >= STATUS_INTERVAL {
            self.links_told = Instant::now();
            self.status.tell_links(self.pipeline.links());
            self.status.tell_untold(untold(&self.pipeline.tracker().stats()));
            self.tell_policies();
        }
    }

    fn tell_policies(&self) {
        let policies = self.cluster.stats().policies as u64;
        let told = PolicyStatus { policies, ..self.pipeline.policy_stats() };
        match policies::nobody_enforces(&told) {
            Some(sentence) => self.status.notice(POLICY_TOPIC, &sentence),
            None => self.status.settle(POLICY_TOPIC),
        }
        self.status.tell_policy(told);
    }

    /// One call of the pipeline, its flows into the ring.
    fn step(&mut self, call: impl FnOnce(&mut Pipeline, &Cluster, &mut dyn FnMut(Output<'_>))) {
        let Self { pipeline, cluster, writer, state, run, status, .. } = self;
        call(pipeline, cluster, &mut |output| match output {
            Output::Flow(flow) => publish(flow, *run, writer, state.as_mut(), status),
            Output::Lost(loss) => lost(loss, writer),
        });
    }
}

const fn untold(stats: &track::Stats) -> Untold {
    Untold { messages: stats.messages_dropped, pieces: stats.unmatched, superseded: stats.superseded }
}

/// The number is kept before the flow can be seen: a reader never knows a flow that the next run does not know of.
fn publish(flow: &Flow, run: u64, writer: &mut Writer, state: Option<&mut RunState>, status: &Status) {
    if let Some(state) = state
        && let Err(error) = state.note(LastFlow { run, seq: writer.next_seq().0 })
    {
        status.notice("state", &error.to_string());
    }
    writer.push(flow);
}

fn lost(loss: Loss, writer: &mut Writer) {
    let at = Some(weir_proto::time::timestamp(clock::now().as_nanos()));
    for (source, count) in [
        (LostEventSource::PerfEventRingBuffer, loss.kernel),
        (LostEventSource::ObserverEventsQueue, loss.queue),
    ] {
        if count > 0 {
            writer.push_lost(LostEvent {
                source: source.into(),
                num_events_lost: count,
                cpu: None,
                first: at,
                last: at,
            });
        }
    }
}
