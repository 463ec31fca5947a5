//! Manifest files as a source of cluster state: what `kubectl get ... -o yaml` or `-o json` prints, Lists and typed lists,
//! and hand-written multi-document YAML.
//!
//! `load` reads all files into one snapshot for `Cluster::replace`; `poll`, called now and then by the owner, tells when
//! there is a new one. Nothing of a bad file is used: the error names file, document and field, and the snapshot before
//! stays the owner's. No thread, no clock, no notification that could be missed; a poll of unchanged files is one `stat`
//! each.

pub(crate) mod convert;
mod document;
mod error;
mod file;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

pub use error::{ManifestError, Place};

use crate::object::{Object, ObjectKey};
use document::Found;
use file::{Contents, Stamp};

/// All that the files say at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The objects, each key once, in the order of the files.
    pub objects: Vec<Object>,
    /// How many objects of which kind were left out because weir does not look at that kind, as `apps/v1 Deployment`.
    pub ignored: BTreeMap<String, u64>,
}

/// A list of manifest files and what is known of their contents.
#[derive(Debug)]
pub struct ManifestFiles {
    paths: Vec<PathBuf>,
    /// What the files were when their contents were last looked at.
    stamps: Vec<Stamp>,
    /// A change seen by the last poll: it is read when the next poll finds the files at rest.
    unsettled: Option<Vec<Stamp>>,
    /// Hash of the contents last parsed, well or badly.
    parsed: Option<u64>,
}

impl ManifestFiles {
    /// These files, none of which is read yet.
    #[must_use]
    pub const fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths, stamps: Vec::new(), unsettled: None, parsed: None }
    }

    /// Reads all files now.
    ///
    /// # Errors
    /// When one cannot be read or is too large, holds what is not YAML or JSON or not an object, has a wrong field, or two
    /// places define one object differently.
    pub fn load(&mut self) -> Result<Snapshot, ManifestError> {
        self.stamps = self.stamp();
        self.unsettled = None;
        let contents = self.read()?;
        self.parsed = Some(file::hash(&contents));
        snapshot_of(&contents)
    }

    /// The new snapshot, if the files have changed and come to rest since the last call of `load` or `poll`: a change is
    /// read by the first poll that finds the same size, time and inode as the poll before. An error is told once for each
    /// such change; until the next one there is no answer.
    ///
    /// # Errors
    /// As `load`.
    pub fn poll(&mut self) -> Result<Option<Snapshot>, ManifestError> {
        let stamps = self.stamp();
        if stamps == self.stamps {
            self.unsettled = None;
            return Ok(None);
        }
        if self.unsettled.as_ref() != Some(&stamps) {
            self.unsettled = Some(stamps);
            return Ok(None);
        }
        self.stamps = stamps;
        self.unsettled = None;
        // Whatever cannot be read now is told as new when it can be again, or the error would seem to last.
        let parsed = self.parsed.take();
        let contents = self.read()?;
        let hash = file::hash(&contents);
        self.parsed = Some(hash);
        if parsed == self.parsed {
            return Ok(None);
        }
        snapshot_of(&contents).map(Some)
    }

    fn stamp(&self) -> Vec<Stamp> {
        self.paths.iter().map(|path| Stamp::of(path)).collect()
    }

    fn read(&self) -> Result<Vec<Contents>, ManifestError> {
        self.paths.iter().map(|path| file::read(path)).collect()
    }
}

/// Parses all files; the same object may be in two places only if both say the same.
fn snapshot_of(files: &[Contents]) -> Result<Snapshot, ManifestError> {
    let mut snapshot = Snapshot::default();
    let mut places: HashMap<ObjectKey, (usize, Place)> = HashMap::new();
    for file in files {
        let mut add = |found: Found| match found {
            Found::Ignored(kind) => {
                *snapshot.ignored.entry(kind).or_default() += 1;
                Ok(())
            }
            Found::Object(object, place) => add_once(&mut snapshot.objects, &mut places, *object, place),
        };
        document::parse(file, &mut add)?;
    }
    Ok(snapshot)
}

fn add_once(
    objects: &mut Vec<Object>,
    places: &mut HashMap<ObjectKey, (usize, Place)>,
    object: Object,
    place: Place,
) -> Result<(), ManifestError> {
    let key = object.key();
    let Some((index, first)) = places.get(&key) else {
        places.insert(key, (objects.len(), place));
        objects.push(object);
        return Ok(());
    };
    if objects.get(*index) == Some(&object) {
        return Ok(());
    }
    let (first, second) = (Box::new(first.clone()), Box::new(place));
    Err(ManifestError::Contradiction { object: error::describe(&key), first, second })
}

#[cfg(test)]
mod tests;
