//! Filters of earlier times, in the state directory of the XDG base directory specification.
//!
//! Nobody depends on these files: one that cannot be read is empty, one that cannot be written is forgotten.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::model::history::{History, SAVED_FILE, TYPED_FILE};

/// No more of a file is read: far more than its lines may be.
const MOST_READ: u64 = 4 << 20;

fn folder() -> Option<PathBuf> {
    let named = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = named("XDG_STATE_HOME").or_else(|| Some(named("HOME")?.join(".local/state")));
    Some(state?.join("weir"))
}

/// What was kept.
#[must_use]
pub fn read() -> History {
    let text = |name| folder().and_then(|folder| contents(&folder.join(name)).ok()).unwrap_or_default();
    History::read(&text(TYPED_FILE), &text(SAVED_FILE))
}

fn contents(path: &Path) -> io::Result<String> {
    // Anything may lie there, a pipe that never ends included.
    if !fs::metadata(path)?.is_file() {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MOST_READ).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Keeps lines under a name: all of them or, if that fails, those of before.
///
/// # Errors
/// If the directory or the file cannot be written.
pub fn keep(name: &str, lines: &str) -> io::Result<()> {
    let folder = folder().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no home directory"))?;
    fs::create_dir_all(&folder)?;
    let (path, new) = (folder.join(name), folder.join(format!("{name}.{}", std::process::id())));
    let written = fs::File::create(&new).and_then(|mut file| {
        file.write_all(lines.as_bytes())?;
        fs::rename(&new, &path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}
