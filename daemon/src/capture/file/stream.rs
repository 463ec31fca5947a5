//! A file or pipe as a run of records: so many bytes, or the place where it was cut. Memory grows with what is there, not
//! with what a damaged length claims.

use std::io::{self, BufRead, BufReader, Read};

const BUFFER: usize = 256 << 10;

/// Bytes of a capture, read forwards once.
pub(super) struct Stream {
    reader: BufReader<Box<dyn Read + Send>>,
    offset: u64,
    /// Bytes of the record that is being read.
    record: Vec<u8>,
}

/// How much of what was asked for was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// All.
    Whole,
    /// The file ends, and the record with it: so many bytes are missing.
    Cut(u64),
}

impl Stream {
    pub(super) fn new(reader: Box<dyn Read + Send>) -> Self {
        Self { reader: BufReader::with_capacity(BUFFER, reader), offset: 0, record: Vec::new() }
    }

    /// True if the next byte may have to be waited for.
    pub(super) fn is_drained(&self) -> bool {
        self.reader.buffer().is_empty()
    }

    /// Begins a record. False at the end of the file.
    pub(super) fn begin(&mut self) -> io::Result<bool> {
        self.record.clear();
        loop {
            match self.reader.fill_buf() {
                Ok(bytes) => return Ok(!bytes.is_empty()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads so many bytes more into the record.
    pub(super) fn more(&mut self, len: usize) -> io::Result<Filled> {
        if let Some(ready) = self.reader.buffer().get(..len) {
            self.record.extend_from_slice(ready);
            self.reader.consume(len);
            self.offset += len as u64;
            return Ok(Filled::Whole);
        }
        let wanted = len as u64;
        let read = (&mut self.reader).take(wanted).read_to_end(&mut self.record)? as u64;
        self.offset += read;
        Ok(if read == wanted { Filled::Whole } else { Filled::Cut(wanted - read) })
    }

    /// Passes over so many bytes.
    pub(super) fn skip(&mut self, len: u64) -> io::Result<Filled> {
        let read = io::copy(&mut (&mut self.reader).take(len), &mut io::sink())?;
        self.offset += read;
        Ok(if read == len { Filled::Whole } else { Filled::Cut(len - read) })
    }

    /// The record as far as it was read.
    pub(super) fn record(&self) -> &[u8] {
        &self.record
    }

    /// Where reading stands.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }
}
