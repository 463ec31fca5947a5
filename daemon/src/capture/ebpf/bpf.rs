//! The one call of bpf(2) that aya lacks: reading many entries of a map at once. One by one, each entry would cost two calls.
//!
//! What is read may be torn, since entries are changed meanwhile: it is a hint, no count is taken from it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::abi::{Entry, Key};

/// `BPF_MAP_LOOKUP_BATCH` (linux/bpf.h).
const LOOKUP_BATCH: libc::c_long = 24;
/// Entries read at once; a bucket must fit.
const AT_ONCE: usize = 1024;

/// The part `batch` of `union bpf_attr`.
#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// Reads a table from its beginning to its end.
#[derive(Debug)]
pub struct Reader {
    keys: Vec<Key>,
    entries: Vec<Entry>,
}

impl Default for Reader {
    fn default() -> Self {
        Self { keys: vec![Key::default(); AT_ONCE], entries: vec![Entry::default(); AT_ONCE] }
    }
}

impl Reader {
    /// Calls `each` with every entry there is. Those that come and go meanwhile may be missed or come twice.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn read(&mut self, table: BorrowedFd<'_>, mut each: impl FnMut(&Key, &Entry)) -> io::Result<()> {
        let mut place = None;
        loop {
            let (read, next) = self.read_batch(table, place)?;
            for (key, entry) in self.keys.iter().zip(&self.entries).take(read) {
                each(key, entry);
            }
            if next.is_none() {
                return Ok(());
            }
            place = next;
        }
    }

    /// How many were read, and where the next ones begin; None at the end.
    fn read_batch(&mut self, table: BorrowedFd<'_>, place: Option<u32>) -> io::Result<(usize, Option<u32>)> {
        let (from, mut next) = (place.unwrap_or_default(), 0_u32);
        let mut batch = Batch {
            in_batch: if place.is_some() { address(&raw const from) } else { 0 },
            out_batch: address(&raw mut next),
            keys: address(self.keys.as_mut_ptr()),
            values: address(self.entries.as_mut_ptr()),
            count: u32::try_from(self.keys.len().min(self.entries.len())).unwrap_or(u32::MAX),
            map: u32::try_from(table.as_raw_fd()).unwrap_or(u32::MAX),
            element_flags: 0,
            flags: 0,
        };
        #[expect(unsafe_code, reason = "no crate has this call")]
        // SAFETY: the kernel reads the structure, whose size it is given; it reads four bytes at `in_batch`, which live as
        // long as `from`, and writes four at `out_batch` (a hash table's place is a bucket's number) and at most `count`
        // keys and values, which is the length of both vectors; every pattern of these is a value.
        let outcome =
            unsafe { libc::syscall(libc::SYS_bpf, LOOKUP_BATCH, &raw mut batch, size_of::<Batch>()) };
        if outcome == 0 {
            return Ok((batch.count as usize, Some(next)));
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENOENT) => Ok((batch.count as usize, None)),
            error => Err(error),
        }
    }
}

fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}
