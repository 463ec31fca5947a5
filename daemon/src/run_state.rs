//! What outlives a killed daemon: which run it was, and the number of its last flow.
//!
//! Sixteen bytes in a file, written before a flow becomes visible: the kernel keeps them when the process is killed. The
//! next run tells its readers, who then know to the unit what they missed. Without a folder nothing is kept and nothing is
//! claimed. A power cut may lose them; then the last number is too small, never too great.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A run and its last flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastFlow {
    /// Start of the run, Unix milliseconds.
    pub run: u64,
    /// Number of the last flow, 0 for none.
    pub seq: u64,
}

/// The file cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep the number of the last flow in {file}: {cause}; is the --state-dir writable?")]
pub struct RunStateError {
    file: PathBuf,
    cause: io::Error,
}

/// The open file.
#[derive(Debug)]
pub struct RunState {
    path: PathBuf,
    file: File,
    previous: Option<LastFlow>,
}

const NAME: &str = "last-flow";

impl RunState {
    /// Reads what the run before kept, and begins this one. A file of another length is another program's, or torn: it counts
    /// as none.
    ///
    /// # Errors
    /// When the folder cannot be made or the file not be written.
    pub fn begin(folder: &Path, run: u64) -> Result<Self, RunStateError> {
        let path = folder.join(NAME);
        let failed = |cause| RunStateError { file: path.clone(), cause };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        let previous = read(&file).map_err(failed)?;
        let mut state = Self { path: path.clone(), file, previous };
        state.note(LastFlow { run, seq: 0 })?;
        Ok(state)
    }

    /// The run before this one.
    #[must_use]
    pub const fn previous(&self) -> Option<LastFlow> {
        self.previous
    }

    /// Notes that this flow is about to be shown.
    ///
    /// # Errors
    /// When writing fails.
    pub fn note(&mut self, last: LastFlow) -> Result<(), RunStateError> {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&last.run.to_le_bytes());
        bytes[8..].copy_from_slice(&last.seq.to_le_bytes());
        self.file.write_all_at(&bytes, 0).map_err(|cause| RunStateError { file: self.path.clone(), cause })
    }
}

fn read(file: &File) -> io::Result<Option<LastFlow>> {
    if file.metadata()?.len() != 16 {
        file.set_len(16)?;
        return Ok(None);
    }
    let (mut run, mut seq) = ([0; 8], [0; 8]);
    file.read_exact_at(&mut run, 0)?;
    file.read_exact_at(&mut seq, 8)?;
    let last = LastFlow { run: u64::from_le_bytes(run), seq: u64::from_le_bytes(seq) };
    Ok((last.run > 0).then_some(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_run_knows_the_last_flow_of_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = RunState::begin(folder.path(), 7).unwrap();
        assert_eq!(first.previous(), None);
        first.note(LastFlow { run: 7, seq: 42 }).unwrap();
        drop(first);
        let second = RunState::begin(folder.path(), 8).unwrap();
        assert_eq!(second.previous(), Some(LastFlow { run: 7, seq: 42 }));
    }

    #[test]
    fn a_torn_file_is_none_and_a_file_in_the_way_is_said() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), b"torn").unwrap();
        assert_eq!(RunState::begin(folder.path(), 7).unwrap().previous(), None);
        let error = RunState::begin(&folder.path().join(NAME), 7).unwrap_err().to_string();
        assert!(error.contains("state-dir"), "{error}");
    }
}
