//! A file or pipe as a run of records: so many bytes, or the place where it was cut. Memory grows with what is there, not
//! with what a damaged length claims.
//!
//! Records are handed out where they were read to: most of a big capture's time would go into copying them once more.

use std::io::{self, Read};

/// Bytes asked for at once.
const BUFFER: usize = 256 << 10;

/// Bytes of a capture, read forwards once.
pub(super) struct Stream {
    reader: Box<dyn Read + Send>,
    /// `begin..end` is the record as far as it was read, `end..filled` is read already and not looked at.
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
    filled: usize,
    /// Of the record's end, from the beginning of the file.
    offset: u64,
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
        Self { reader, buffer: vec![0; BUFFER], begin: 0, end: 0, filled: 0, offset: 0 }
    }

    /// True if the next byte may have to be waited for.
    pub(super) const fn is_drained(&self) -> bool {
        self.end == self.filled
    }

    /// Begins a record. False at the end of the file.
    pub(super) fn begin(&mut self) -> io::Result<bool> {
        self.begin = self.end;
        Ok(!self.is_drained() || self.read_on()? > 0)
    }

    /// Reads so many bytes more into the record.
    pub(super) fn more(&mut self, len: usize) -> io::Result<Filled> {
        while self.filled - self.end < len {
            if self.read_on()? == 0 {
                let missing = len - (self.filled - self.end);
                self.take(self.filled - self.end);
                return Ok(Filled::Cut(missing as u64));
            }
        }
        self.take(len);
        Ok(Filled::Whole)
    }

    /// Passes over so many bytes. They are no part of the record, which is empty then.
    pub(super) fn skip(&mut self, len: u64) -> io::Result<Filled> {
        let mut left = len;
        loop {
            let here = (self.filled - self.end) as u64;
            self.take(left.min(here) as usize);
            self.begin = self.end;
            left = left.saturating_sub(here);
            if left == 0 {
                return Ok(Filled::Whole);
            }
            if self.read_on()? == 0 {
                return Ok(Filled::Cut(left));
            }
        }
    }

    /// The record as far as it was read.
    pub(super) fn record(&self) -> &[u8] {
        self.buffer.get(self.begin..self.end).unwrap_or_default()
    }

    /// Where reading stands.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    const fn take(&mut self, len: usize) {
        self.end += len;
        self.offset += len as u64;
    }

    /// Reads what is there, behind what was read. Room is made first: the record moves to the front, and grows by as much as
    /// it is long.
    fn read_on(&mut self) -> io::Result<usize> {
        if self.filled == self.buffer.len() {
            self.buffer.copy_within(self.begin..self.filled, 0);
            self.filled -= self.begin;
            self.end -= self.begin;
            self.begin = 0;
            if self.filled == self.buffer.len() {
                self.buffer.resize(2 * self.buffer.len(), 0);
            }
        }
        loop {
            match self.reader.read(self.buffer.get_mut(self.filled..).unwrap_or_default()) {
                Ok(read) => {
                    self.filled += read;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
