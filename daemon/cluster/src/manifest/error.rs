//! What can be wrong with a manifest, told to the one who can repair it: file, document, object, field, and why.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::object::{ObjectKey, ObjectKind};

/// Where in the manifests something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// File, as it was named.
    pub file: PathBuf,
    /// Number of the document in the file, from 1.
    pub document: usize,
    /// Index in the document's `items`, from 0, if that is a list.
    pub item: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, document {}", self.file.display(), self.document)?;
        self.item.map_or(Ok(()), |item| write!(f, ", items[{item}]"))
    }
}

/// Why manifests could not be used.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("cannot read manifest {}: {error}", .file.display())]
    Unreadable {
        /// File.
        file: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// It is no regular file.
    #[error("cannot read manifest {}: it is {what}; name the manifest files one by one", .file.display())]
    NotAFile {
        /// File.
        file: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// It is larger than weir is willing to hold in memory.
    #[error(
        "cannot read manifest {}: it has {bytes} bytes, more than {limit}; leave out kinds that weir does not look at", .file.display()
    )]
    TooLarge {
        /// File.
        file: PathBuf,
        /// Its size.
        bytes: u64,
        /// The largest size.
        limit: u64,
    },
    /// It is no text.
    #[error("manifest {} is not text: byte {offset} {why}; is it a binary file?", .file.display())]
    NotText {
        /// File.
        file: PathBuf,
        /// First byte that cannot be, from 0.
        offset: usize,
        /// Why it cannot.
        why: &'static str,
    },
    /// It holds nothing.
    #[error("manifest {} is empty; an empty cluster is written as a List without items", .file.display())]
    Empty {
        /// File.
        file: PathBuf,
    },
    /// It is neither YAML nor JSON, or ends too early, or is too much.
    #[error("manifest {place} cannot be parsed: {why}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the parser says, with line and column.
        why: String,
    },
    /// A field is missing, of the wrong type, or not what it should be.
    #[error("manifest {place} ({object}): field {field}: {why}")]
    Field {
        /// Where.
        place: Place,
        /// Kind and name, as far as they are known.
        object: String,
        /// Path of the field within the object, as `spec.ports[0].port`.
        field: String,
        /// What is wrong.
        why: String,
    },
    /// Two places say different things of one object, and neither is to be preferred.
    #[error("manifests contradict each other: {object} in {first} differs from that in {second}; remove one")]
    Contradiction {
        /// Kind and name.
        object: String,
        /// The first place.
        first: Box<Place>,
        /// The other.
        second: Box<Place>,
    },
}

/// As `Pod shop/web-1`.
pub(super) fn describe(key: &ObjectKey) -> String {
    let name = &key.name;
    let separator = if name.namespace.is_empty() { "" } else { "/" };
    format!("{} {}{separator}{}", kind_name(key.kind), name.namespace, name.name)
}

const fn kind_name(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Namespace => "Namespace",
        ObjectKind::Node => "Node",
        ObjectKind::ServiceCidr => "ServiceCIDR",
        ObjectKind::Service => "Service",
        ObjectKind::EndpointSlice => "EndpointSlice",
        ObjectKind::Endpoints => "Endpoints",
        ObjectKind::ReplicaSet => "ReplicaSet",
        ObjectKind::Job => "Job",
        ObjectKind::NetworkPolicy => "NetworkPolicy",
        ObjectKind::ForeignPolicy(kind) => kind.name(),
        ObjectKind::Pod => "Pod",
    }
}
