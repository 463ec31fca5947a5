//! `weir-daemon record`: frames and the kernel's testimony -> a pcapng file that replays as live and opens in Wireshark.

use std::fs::{File, OpenOptions};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::capture::Input;
use crate::capture::record::Recorder;
use crate::config::RecordArgs;
use crate::worker::{Stop, Worker};

use super::serving::{self, Signals};
use super::sources::Sources;
use super::{AppError, STOP_DEADLINE, clock};

/// A waiting recorder looks so often whether it should stop.
const TICK: Duration = Duration::from_millis(50);

/// Records until told to stop, or for the time given.
///
/// # Errors
/// Why it cannot begin, or not go on writing.
pub fn run(args: &RecordArgs) -> Result<(), AppError> {
    let node = args.node.clone();
    let node = node.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
    let recording = Recording::begin(&args.file, &node, clock::run_of(clock::now()))?;
    let runtime = serving::runtime()?;
    let (mut sources, inputs) = Sources::start(&args.capture)?;
    let (failures, failed) = std::sync::mpsc::sync_channel(1);
    let writer = Worker::spawn("recorder", move |stop| {
        if let Err(error) = write(recording, &inputs, &stop) {
            // Nobody waits for the failure only when everything ends anyway.
            let _ = failures.try_send(error);
        }
    })
    .map_err(|cause| AppError::Start { what: "the recorder", cause })?;
    tracing::info!(file = %args.file.display(), node, "recording");
    let end = args.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let ended = runtime.block_on(until_over(end, &writer, &mut sources));
    let counts = sources.counts();
    let stopped = [sources.stop(STOP_DEADLINE), writer.stop(STOP_DEADLINE)];
    for error in stopped.into_iter().filter_map(Result::err) {
        tracing::error!("{error}");
    }
    if counts.kernel_dropped + counts.queue_dropped > 0 {
        tracing::warn!(counts.kernel_dropped, counts.queue_dropped, "frames were lost; the file says where");
    }
    match failed.try_recv() {
        Ok(error) => Err(error),
        Err(_) => ended,
    }
}

async fn until_over(end: Option<Instant>, writer: &Worker, sources: &mut Sources) -> Result<(), AppError> {
    let over = async {
        match end {
            Some(end) => tokio::time::sleep_until(end.into()).await,
            None => std::future::pending().await,
        }
    };
    let mut signals = Signals::catch()?;
    tokio::pin!(over);
    let mut look = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            () = &mut over => return Ok(()),
            _ = signals.next() => return Ok(()),
            _ = look.tick() => {
                for (_, sentence) in sources.notices() {
                    tracing::warn!("{sentence}");
                }
                if !writer.is_running() {
                    return Err(AppError::Ended { what: "the recorder" });
                }
                if !sources.is_capturing() {
                    return Err(AppError::Ended { what: "the capture" });
                }
            }
        }
    }
}

fn write(mut recording: Recording, inputs: &Receiver<Input>, stop: &Stop) -> Result<(), AppError> {
    loop {
        match inputs.recv_timeout(TICK) {
            Ok(input) => recording.record(&input)?,
            Err(RecvTimeoutError::Timeout) if !stop.requested() => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

/// A file that is being written.
pub struct Recording {
    file: PathBuf,
    recorder: Recorder<BufWriter<File>>,
}

impl Recording {
    /// Begins a new file; one that is there is never written over.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn begin(file: &Path, node: &str, run: u64) -> Result<Self, AppError> {
        let create = |cause| AppError::Create { file: file.to_owned(), cause };
        let opened = OpenOptions::new().write(true).create_new(true).open(file).map_err(create)?;
        let recorder = Recorder::new(BufWriter::new(opened), node, run);
        let recorder = recorder.map_err(|cause| AppError::Record { file: file.to_owned(), cause })?;
        Ok(Self { file: file.to_owned(), recorder })
    }

    /// Writes one input, whole.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn record(&mut self, input: &Input) -> Result<(), AppError> {
        let cannot = |cause| AppError::Record { file: self.file.clone(), cause };
        self.recorder.record(input).map_err(cannot)
    }
}
