//! The thread that looks whether the manifest files have changed, and hands a new snapshot to the pipeline.
//!
//! A bad file changes nothing: its error is a notice and a log line, and the last good state stays.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use weir_cluster::manifest::{ManifestFiles, Snapshot};

use crate::serve::Status;
use crate::worker::{Stop, Worker};

use super::AppError;

const INTERVAL: Duration = Duration::from_secs(1);
const TOPIC: &str = "cluster";

/// Starts it over files that were loaded once.
///
/// # Errors
/// If there is no thread left.
pub fn watch(files: ManifestFiles, status: Arc<Status>) -> Result<(Worker, Receiver<Snapshot>), AppError> {
    let (queue, snapshots) = sync_channel(1);
    let body = move |stop: Stop| poll(files, &status, &queue, &stop);
    let worker = Worker::spawn("manifests", body)
        .map_err(|cause| AppError::Start { what: "the watch of manifests", cause })?;
    Ok((worker, snapshots))
}

fn poll(mut files: ManifestFiles, status: &Status, queue: &SyncSender<Snapshot>, stop: &Stop) {
    let mut waiting = None;
    while !stop.requested() {
        // An interrupted wait is only a shorter one.
        let _ = stop.wait_for(&[], INTERVAL);
        match files.poll() {
            Ok(Some(snapshot)) => {
                status.settle(TOPIC);
                waiting = Some(snapshot);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!("{error}; the last good state stays");
                status.notice(TOPIC, &format!("{error}; the last good state stays"));
            }
        }
        // A snapshot that the pipeline has not taken yet is replaced by the next one, never queued behind it.
        waiting = match waiting.take().map(|snapshot| queue.try_send(snapshot)) {
            Some(Err(TrySendError::Full(snapshot))) => Some(snapshot),
            Some(Err(TrySendError::Disconnected(_))) => return,
            Some(Ok(())) | None => None,
        };
    }
}
