//! Several [`CaptureFile`]s -> one run of [`Input`]s in the order of time.

use std::collections::VecDeque;
use std::path::Path;

use super::devices::{Devices, Known};
use super::{CaptureFile, Content, FileEnd, FileError, Progress};
use crate::capture::record::Origin;
use crate::capture::{Batch, Frame, Input, Tally};

/// A batch is handed on when it holds so much, or when the next byte may have to be waited for.
const BATCH_BYTES: usize = 96 << 10;
const BATCH_FRAMES: usize = 512;
/// Room for a batch and the frame that fills it, where that is no giant: then it never grows, and stays in the cache.
const BATCH_ROOM: usize = BATCH_BYTES + 2048;

/// Capture files as a source: an iterator of inputs. Devices get numbers of their own, so that two files' do not mix, but for those
/// that go on where another file ended.
pub struct FileSource {
    files: Vec<CaptureFile>,
    next_id: u32,
    devices: Devices,
    batch: Batch,
    ready: VecDeque<Result<Input, FileError>>,
}

/// What to do next.
enum Next {
    Take(usize),
    HandOn,
    Fail(FileError),
    Finish,
}

impl FileSource {
    /// Opens the files, `-` being standard input, and reads their headers. Nothing is left open if one fails.
    ///
    /// # Errors
    /// The first file that does not open or is no capture file.
    pub fn open<P: AsRef<Path>>(paths: &[P]) -> Result<Self, FileError> {
        let mut next_id = 0;
        let files = paths
            .iter()
            .map(|path| CaptureFile::open(path.as_ref(), &mut next_id))
            .collect::<Result<_, _>>()?;
        Ok(Self::of(files, next_id))
    }

    /// Files that are in memory, named by their number.
    #[cfg(test)]
    pub(in crate::capture) fn over(files: &[Vec<u8>]) -> Result<Self, FileError> {
        let mut next_id = 0;
        let begin = |(number, bytes): (usize, &Vec<u8>)| {
            let name: std::sync::Arc<str> = format!("file{number}").into();
            let reader = Box::new(std::io::Cursor::new(bytes.clone()));
            CaptureFile::begin(name.clone(), name, reader, &mut next_id)
        };
        let files = files.iter().enumerate().map(begin).collect::<Result<_, _>>()?;
        Ok(Self::of(files, next_id))
    }

    fn of(files: Vec<CaptureFile>, next_id: u32) -> Self {
        let batch = Batch::with_capacity(BATCH_ROOM);
        Self { files, next_id, devices: Devices::default(), batch, ready: VecDeque::new() }
    }

    /// Who recorded the files, where weir did: in the order of the files that say so.
    pub fn origins(&self) -> impl Iterator<Item = &Origin> {
        self.files.iter().filter_map(|file| file.origin.as_ref())
    }

    /// How the files ended that have ended without an error.
    pub fn ends(&self) -> impl Iterator<Item = &FileEnd> {
        self.files.iter().filter_map(|file| match &file.progress {
            Progress::Ended(end) => Some(end),
            Progress::Reading | Progress::Failed => None,
        })
    }

    /// The file whose next content is due first; of equals the first named.
    fn choose(&mut self) -> Next {
        let mut chosen = None;
        for (number, file) in self.files.iter_mut().enumerate() {
            if file.pending.is_empty() && matches!(file.progress, Progress::Reading) {
                if file.stream.is_drained() && !self.batch.is_empty() {
                    return Next::HandOn;
                }
                let read = file.advance(&mut self.next_id);
                if file.pending.is_empty() && file.progress.is_over() {
                    self.devices.end(number, file.reached);
                }
                if let Err(error) = read {
                    return Next::Fail(error);
                }
            }
            let due = file.due().map(|due| (due, number));
            chosen = match (chosen, due) {
                (Some(earlier), Some(due)) => Some(due.min(earlier)),
                (earlier, due) => earlier.or(due),
            };
        }
        match chosen {
            Some((_, number)) => Next::Take(number),
            None if self.batch.is_empty() => Next::Finish,
            None => Next::HandOn,
        }
    }

    fn take(&mut self, number: usize) {
        let Some(file) = self.files.get_mut(number) else {
            return;
        };
        file.reached = file.due().unwrap_or(file.reached);
        let input = match file.pending.pop_front() {
            Some(Content::Frame(head) | Content::Timeless(head)) => {
                let interface = self.devices.told_as(head.interface, head.at);
                self.batch.push(&Frame { interface, ..file.frame(&head) });
                return self.hand_on_if_full();
            }
            Some(Content::Tally(tally)) => {
                let interface = self.devices.told_as(tally.interface, tally.last);
                self.batch.push_tally(Tally { interface, ..*tally });
                return self.hand_on_if_full();
            }
            Some(Content::Interface(id, interface)) => {
                let node = file.origin.as_ref().map(|origin| origin.node.clone());
                self.devices.describe(number, id, Known::by(node, &interface, &file.name));
                Input::Interface(id, interface)
            }
            Some(Content::Section) => {
                self.devices.end(number, file.reached);
                return;
            }
            Some(Content::Testimony(_, testimony)) => Input::Testimony(*testimony),
            Some(Content::Lost(loss)) => Input::Lost(loss),
            Some(Content::Detail(detail)) => Input::Detail(detail),
            Some(Content::Origin(_)) | None => return,
        };
        self.hand_on();
        self.ready.push_back(Ok(input));
    }

    fn hand_on_if_full(&mut self) {
        if self.batch.len() >= BATCH_FRAMES || self.batch.bytes() >= BATCH_BYTES {
            self.hand_on();
        }
    }

    fn hand_on(&mut self) {
        if !self.batch.is_empty() {
            let batch = std::mem::replace(&mut self.batch, Batch::with_capacity(BATCH_ROOM));
            self.ready.push_back(Ok(Input::Frames(batch)));
        }
    }
}

impl Iterator for FileSource {
    type Item = Result<Input, FileError>;

    /// The next input. After an error the other files go on.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            match self.choose() {
                Next::Take(number) => self.take(number),
                Next::HandOn => self.hand_on(),
                Next::Fail(error) => {
                    self.hand_on();
                    self.ready.push_back(Err(error));
                }
                Next::Finish => return None,
            }
        }
    }
}
