//! Capture files -> the same [`Input`](super::Input)s as a live source: pcap and pcapng, from disk or through a pipe.
//!
//! Several files are merged in the order of time; within one file its own order always stands, as the clock of a capture
//! may step. A device of a file that begins when another file with such a device has ended is the same device (`devices`): captures
//! are cut into files by size and by time. Read forwards once in bounded memory. A file that is cut short gives all that precedes the cut; a damaged one
//! ends with an error there, and costs the others nothing.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use weir_cluster::UnixNanos;

use super::record::Origin;
use super::{Detail, Direction, Frame, Interface, InterfaceId, LinkType, Loss, Role, Tally};
use crate::testimony::Testimony;

mod devices;
mod fields;
mod merge;
mod pcap;
mod pcapng;
mod stream;
mod testimony;

#[cfg(test)]
pub(crate) mod corpus;
#[cfg(test)]
mod tests;

pub use merge::FileSource;

use pcap::{HEADER_REST, Pcap, cut};
use pcapng::Section;
use stream::Stream;

/// Devices told apart by the ifindex in their frames, a file; more share the interface they were captured on.
const MAX_COOKED_DEVICES: usize = 4096;

/// A capture file that cannot be read, or not further.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It does not open.
    #[error("cannot open capture file {file}: {source}")]
    Open {
        /// The file.
        file: Arc<str>,
        /// What the system says.
        source: io::Error,
    },
    /// It cannot be read on.
    #[error("cannot read capture file {file} at byte {offset}: {source}")]
    Read {
        /// The file.
        file: Arc<str>,
        /// Where.
        offset: u64,
        /// What the system says.
        source: io::Error,
    },
    /// It is something else.
    #[error("{file} is no capture file: {cause}; weir reads pcap and pcapng")]
    NotACapture {
        /// The file.
        file: Arc<str>,
        /// What it looks like.
        cause: &'static str,
    },
    /// It contradicts itself.
    #[error(
        "capture file {file} is damaged at byte {offset}: {cause}; what precedes was read, what follows is not"
    )]
    Damaged {
        /// The file.
        file: Arc<str>,
        /// Where the damaged record begins.
        offset: u64,
        /// What is wrong.
        cause: &'static str,
    },
}

/// How a file ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileEnd {
    /// Read to its end.
    #[error("capture file {file} was read to its end")]
    Whole {
        /// The file.
        file: Arc<str>,
    },
    /// It ends within a record: the capture was killed, or the file not copied whole.
    #[error(
        "capture file {file} is cut short: the record at byte {offset} lacks {missing} bytes; all before it was read"
    )]
    Truncated {
        /// The file.
        file: Arc<str>,
        /// Where the cut record begins.
        offset: u64,
        /// At least so many bytes are missing.
        missing: u64,
    },
}

/// Why a record was not read; the file's name and place are added on the way up.
#[derive(Debug)]
enum Fault {
    Cut { missing: u64 },
    Damaged(&'static str),
    Io(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A frame whose bytes are in the stream's record.
#[derive(Clone, Copy, Debug)]
struct Head {
    at: UnixNanos,
    interface: InterfaceId,
    direction: Direction,
    link: LinkType,
    original_len: u32,
    start: usize,
    len: usize,
}

/// What a record says.
#[derive(Debug)]
enum Content {
    Origin(Box<Origin>),
    /// Another section begins: the devices of the one before are described no more.
    Section,
    Interface(InterfaceId, Interface),
    Frame(Head),
    /// Its format has no time for it.
    Timeless(Head),
    Testimony(UnixNanos, Box<Testimony>),
    Tally(Box<Tally>),
    Lost(Loss),
    Detail(Detail),
}

/// Draws the numbers of devices, for all files.
#[derive(Debug)]
struct Ids<'a> {
    next: &'a mut u32,
    file_name: &'a str,
}

impl Ids<'_> {
    const fn draw(&mut self) -> InterfaceId {
        let id = InterfaceId(*self.next);
        *self.next = self.next.saturating_add(1);
        id
    }

    const fn file_name(&self) -> &str {
        self.file_name
    }
}

enum Format {
    Pcap(Pcap),
    PcapNg(Section),
}

/// One file, and what was read of it but not yet handed on.
struct CaptureFile {
    /// As the user named it.
    label: Arc<str>,
    /// Without its folders.
    name: Arc<str>,
    stream: Stream,
    format: Format,
    pending: VecDeque<Content>,
    /// What one record says, until it is pending.
    found: Vec<Content>,
    /// Latest time so far: a step back does not reorder.
    reached: UnixNanos,
    /// Time of the frame before, for blocks without one.
    last: UnixNanos,
    origin: Option<Origin>,
    cooked: HashMap<(InterfaceId, u32), InterfaceId>,
    progress: Progress,
}

/// How far a file was read.
enum Progress {
    Reading,
    Ended(FileEnd),
    /// Its error was told.
    Failed,
}

impl Progress {
    const fn is_over(&self) -> bool {
        !matches!(self, Self::Reading)
    }
}

impl CaptureFile {
    /// Opens `path`, `-` being standard input, and reads as much as tells its format.
    fn open(path: &Path, next_id: &mut u32) -> Result<Self, FileError> {
        let label: Arc<str> = path.display().to_string().into();
        if path.as_os_str() == "-" {
            return Self::begin("standard input".into(), "stdin".into(), Box::new(io::stdin()), next_id);
        }
        let name = path.file_name().map_or_else(|| label.clone(), |name| name.display().to_string().into());
        let failed = |source| FileError::Open { file: label.clone(), source };
        let file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(FileError::NotACapture { file: label, cause: "it is a folder" });
        }
        Self::begin(label, name, Box::new(file), next_id)
    }

    fn begin(
        label: Arc<str>,
        name: Arc<str>,
        mut reader: Box<dyn Read + Send>,
        next_id: &mut u32,
    ) -> Result<Self, FileError> {
        let mut magic = Vec::new();
        let read = reader.by_ref().take(4).read_to_end(&mut magic);
        read.map_err(|source| FileError::Read { file: label.clone(), offset: 0, source })?;
        let stream = Stream::new(Box::new(io::Cursor::new(magic.clone()).chain(reader)));
        let mut file = Self {
            label,
            name,
            stream,
            format: Format::PcapNg(Section::default()),
            pending: VecDeque::new(),
            found: Vec::new(),
            reached: UnixNanos::ZERO,
            last: UnixNanos::ZERO,
            origin: None,
            cooked: HashMap::new(),
            progress: Progress::Reading,
        };
        let cause = match file.recognise(&magic, next_id) {
            Ok(()) => return Ok(file),
            Err(Fault::Io(source)) => return Err(file.unreadable(source)),
            Err(Fault::Damaged(cause)) => cause,
            Err(Fault::Cut { .. }) => "it ends within its first header",
        };
        Err(FileError::NotACapture { file: file.label, cause })
    }

    fn recognise(&mut self, magic: &[u8], next_id: &mut u32) -> Result<(), Fault> {
        let magic: [u8; 4] = match *magic {
            [] => return Err(Fault::Damaged("it is empty")),
            [0x1f, 0x8b, ..] => return Err(Fault::Damaged("it is compressed by gzip, decompress it first")),
            [0x28, 0xb5, 0x2f, 0xfd] => {
                return Err(Fault::Damaged("it is compressed by zstd, decompress it first"));
            }
            [0x0a, 0x0d, 0x0d, 0x0a] => return self.read_record(next_id).map(|_| ()),
            [a, b, c, d] => [a, b, c, d],
            _ => return Err(Fault::Cut { missing: 4 }),
        };
        let mut pcap = Pcap::recognise(magic, InterfaceId(*next_id))
            .ok_or(Fault::Damaged("it begins with none of their magic numbers"))?;
        self.stream.begin()?;
        cut(self.stream.more(4 + HEADER_REST)?)?;
        pcap.header(self.stream.record().get(4..).unwrap_or_default())?;
        if pcap.link() != LinkType::NETLINK {
            let interface = Interface { index: 0, name: self.name.clone(), role: Role::Unknown };
            self.pending.push_back(Content::Interface(InterfaceId(*next_id), interface));
        }
        *next_id = next_id.saturating_add(1);
        self.format = Format::Pcap(pcap);
        Ok(())
    }

    /// Reads records until one says something, or none is left.
    fn advance(&mut self, next_id: &mut u32) -> Result<(), FileError> {
        while self.pending.is_empty() && matches!(self.progress, Progress::Reading) {
            let offset = self.stream.offset();
            let read = self.read_record(next_id);
            if matches!(read, Ok(true)) {
                continue;
            }
            let file = self.label.clone();
            match read {
                Ok(_) => self.progress = Progress::Ended(FileEnd::Whole { file }),
                Err(Fault::Cut { missing }) => {
                    self.progress = Progress::Ended(FileEnd::Truncated { file, offset, missing });
                }
                Err(Fault::Damaged(cause)) => {
                    self.progress = Progress::Failed;
                    return Err(FileError::Damaged { file, offset, cause });
                }
                Err(Fault::Io(source)) => {
                    self.progress = Progress::Failed;
                    return Err(self.unreadable(source));
                }
            }
        }
        Ok(())
    }

    fn unreadable(&self, source: io::Error) -> FileError {
        FileError::Read { file: self.label.clone(), offset: self.stream.offset(), source }
    }

    fn read_record(&mut self, next_id: &mut u32) -> Result<bool, Fault> {
        if !self.stream.begin()? {
            return Ok(false);
        }
        let found = &mut self.found;
        let read = match &mut self.format {
            Format::Pcap(pcap) => {
                let head = pcap.frame(&mut self.stream)?;
                self.refine(Content::Frame(head), next_id);
                return Ok(true);
            }
            Format::PcapNg(section) => {
                section.block(&mut self.stream, &mut Ids { next: next_id, file_name: &self.name }, found)
            }
        };
        let mut found = std::mem::take(&mut self.found);
        for content in found.drain(..) {
            self.refine(content, next_id);
        }
        self.found = found;
        read.map(|()| true)
    }

    /// Turns the kernel's messages into testimony, and tells apart the devices of a cooked capture.
    fn refine(&mut self, content: Content, next_id: &mut u32) {
        let mut head = match content {
            Content::Frame(head) => head,
            Content::Timeless(head) => Head { at: self.last, ..head },
            Content::Origin(origin) => {
                self.origin.get_or_insert(*origin);
                return;
            }
            other => return self.pending.push_back(other),
        };
        self.last = head.at;
        let frame = self.frame(&head);
        let mut told = testimony::read(frame.link, frame.bytes, frame.at);
        // Elsewhere NFLOG is also a way to capture: its packets are frames, and rules that name nothing have nothing to say.
        let (link, index) = (frame.link, frame.cooked_ifindex());
        let captured = self.origin.is_none() && link == LinkType::NFLOG;
        if captured {
            self.pending.push_back(Content::Frame(head));
            told.retain(testimony::names_a_rule);
        }
        let taken = captured || !told.is_empty();
        self.pending.extend(told.into_iter().map(|told| Content::Testimony(head.at, Box::new(told))));
        if taken {
            return;
        }
        // A recording of weir's names the devices itself.
        if let (None, Some(index)) = (&self.origin, index) {
            head.interface = self.cooked_device(head.interface, index, next_id);
        }
        self.pending.push_back(Content::Frame(head));
    }

    /// The device of a frame that was captured on all of them at once; announced when first seen.
    fn cooked_device(&mut self, captured_on: InterfaceId, index: u32, next_id: &mut u32) -> InterfaceId {
        if let Some(known) = self.cooked.get(&(captured_on, index)) {
            return *known;
        }
        if index == 0 || self.cooked.len() >= MAX_COOKED_DEVICES {
            return captured_on;
        }
        let id = Ids { next: next_id, file_name: &self.name }.draw();
        self.cooked.insert((captured_on, index), id);
        let interface = Interface { index, name: format!("if{index}").into(), role: Role::Unknown };
        self.pending.push_back(Content::Interface(id, interface));
        id
    }

    /// The frame, while its record is the stream's.
    fn frame(&self, head: &Head) -> Frame<'_> {
        let bytes = self.stream.record().get(head.start..).unwrap_or_default();
        Frame {
            at: head.at,
            interface: head.interface,
            direction: head.direction,
            link: head.link,
            original_len: head.original_len,
            bytes: bytes.get(..head.len).unwrap_or_default(),
        }
    }

    /// Time of what comes next; never before what already came.
    fn due(&self) -> Option<UnixNanos> {
        let at = match self.pending.front()? {
            Content::Frame(head) | Content::Timeless(head) => head.at,
            Content::Testimony(at, _) => *at,
            Content::Tally(tally) => tally.last,
            Content::Origin(_)
            | Content::Section
            | Content::Interface(..)
            | Content::Lost(_)
            | Content::Detail(_) => self.reached,
        };
        Some(at.max(self.reached))
    }
}
