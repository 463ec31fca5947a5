//! What describes the cluster: manifests.

use std::io::Write;

use weir_cluster::manifest::ManifestFiles;
use weir_cluster::{Cluster, HistoryLimits, UnixNanos};

/// Larger files only test how long they take.
const MAX_FILE: usize = 1 << 16;

/// A manifest file, applied to a cluster that is then asked.
pub(crate) fn manifest(bytes: &[u8]) {
    let Ok(mut file) = tempfile::NamedTempFile::new_in("/dev/shm") else { return };
    if file.write_all(bytes.get(..MAX_FILE).unwrap_or(bytes)).is_err() {
        return;
    }
    match ManifestFiles::new(vec![file.path().to_owned()]).load() {
        Ok(snapshot) => {
            let at = UnixNanos::from_nanos(1);
            let mut cluster = Cluster::new(HistoryLimits::default());
            cluster.replace(snapshot.objects, at);
            let _ = (cluster.nodes(at), cluster.namespaces(at), cluster.stats());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
