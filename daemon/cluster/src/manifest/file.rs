//! A manifest file's bytes: read whole, within a bound, and only if it is a regular file that holds text.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::error::ManifestError;

/// The largest file: 100,000 pods as `kubectl` prints them, at 5 kB each.
const MAX_BYTES: u64 = 512 * 1024 * 1024;

/// What tells, without reading it, that a file is another than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stamp {
    Present { device: u64, inode: u64, bytes: u64, modified: (i64, i64), changed: (i64, i64) },
    Absent(io::ErrorKind),
}

impl Stamp {
    pub(super) fn of(path: &Path) -> Self {
        match fs::metadata(path) {
            Ok(metadata) => Self::Present {
                device: metadata.dev(),
                inode: metadata.ino(),
                bytes: metadata.len(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            },
            Err(error) => Self::Absent(error.kind()),
        }
    }
}

/// A file's text.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) file: PathBuf,
    pub(super) text: String,
}

/// One number for the contents of all files.
pub(super) fn hash(contents: &[Contents]) -> u64 {
    let mut hash = Xxh3::new();
    for Contents { file: _, text } in contents {
        hash.update(&text.len().to_le_bytes());
        hash.update(text.as_bytes());
    }
    hash.digest()
}

pub(super) fn read(path: &Path) -> Result<Contents, ManifestError> {
    let unreadable = |error| ManifestError::Unreadable { file: path.to_owned(), error };
    // Asked before opening: to open a pipe is to wait for its writer.
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(ManifestError::NotAFile { file: path.to_owned(), what: what_it_is(&metadata) });
    }
    within_limit(path, metadata.len())?;
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    within_limit(path, bytes.len() as u64)?;
    text_of(path, bytes)
}

fn what_it_is(metadata: &Metadata) -> &'static str {
    if metadata.is_dir() { "a directory" } else { "not a regular file" }
}

fn within_limit(path: &Path, bytes: u64) -> Result<(), ManifestError> {
    if bytes > MAX_BYTES {
        return Err(ManifestError::TooLarge { file: path.to_owned(), bytes, limit: MAX_BYTES });
    }
    Ok(())
}

fn text_of(path: &Path, bytes: Vec<u8>) -> Result<Contents, ManifestError> {
    let file = path.to_owned();
    if let Some(offset) = bytes.iter().position(|byte| *byte == 0) {
        return Err(ManifestError::NotText { file, offset, why: "is zero" });
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        ManifestError::NotText { file: file.clone(), offset, why: "is not UTF-8" }
    })?;
    if text.trim().is_empty() {
        return Err(ManifestError::Empty { file });
    }
    Ok(Contents { file, text })
}
