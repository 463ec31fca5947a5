//! A named thread with an owner, a stop signal that ends its waiting, and a deadline for its end.
//!
//! The readers of packets and netlink messages wait in the kernel, so they cannot be async tasks; the signal is a file
//! descriptor that they wait for beside their own.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use thiserror::Error;

/// A thread did not end as it should.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum StopError {
    /// It runs on; it holds what it held.
    #[error("thread {name} did not end within {deadline:?}")]
    Late {
        /// The thread's name.
        name: &'static str,
        /// How long it was waited for.
        deadline: Duration,
    },
    /// It panicked; what it said is on standard error.
    #[error("thread {name} ended by a panic")]
    Panicked {
        /// The thread's name.
        name: &'static str,
    },
}

#[derive(Debug)]
struct Signal {
    requested: AtomicBool,
    event: OwnedFd,
}

/// The thread's side of the stop signal.
#[derive(Clone, Debug)]
pub struct Stop(Arc<Signal>);

impl Stop {
    fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(Signal { requested: AtomicBool::new(false), event })))
    }

    fn request(&self) {
        self.0.requested.store(true, Ordering::SeqCst);
        // Fails only if the counter is full, and then it is readable already.
        let _ = rustix::io::write(&self.0.event, &1_u64.to_ne_bytes());
    }

    /// True once the thread should end.
    #[must_use]
    pub fn requested(&self) -> bool {
        self.0.requested.load(Ordering::SeqCst)
    }

    /// Waits until one of these can be read, the stop signal comes, or the time is over.
    ///
    /// # Errors
    /// What the kernel says to `poll(2)`; an interruption by a signal is no error.
    pub fn wait_for(&self, sources: &[BorrowedFd<'_>], timeout: Duration) -> io::Result<()> {
        let own = [self.0.event.as_fd()];
        let mut waiting: Vec<PollFd<'_>> = sources
            .iter()
            .chain(&own)
            .map(|source| PollFd::from_borrowed_fd(*source, PollFlags::IN))
            .collect();
        let timeout = Timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        match poll(&mut waiting, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Stop {
    /// Readable from the stop signal on.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}

/// A running thread. Dropped, it is told to stop but not waited for.
#[derive(Debug)]
pub struct Worker {
    name: &'static str,
    stop: Stop,
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread of this name (at most 15 bytes are shown by the kernel). It is in the network namespace of the
    /// thread that starts it.
    ///
    /// # Errors
    /// If the kernel has no thread or file descriptor left.
    pub fn spawn(name: &'static str, body: impl FnOnce(Stop) + Send + 'static) -> io::Result<Self> {
        let stop = Stop::new()?;
        let (ends, ended) = sync_channel::<()>(1);
        let seen = stop.clone();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _ends = ends;
            body(seen);
        })?;
        Ok(Self { name, stop, ended, thread: Some(thread) })
    }

    /// True while it has not ended.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Tells it to stop and waits for its end, at most so long.
    ///
    /// # Errors
    /// [`StopError::Late`] if it has not ended by then, [`StopError::Panicked`] if it did not end by itself.
    pub fn stop(mut self, deadline: Duration) -> Result<(), StopError> {
        self.stop.request();
        if self.ended.recv_timeout(deadline) == Err(RecvTimeoutError::Timeout) {
            return Err(StopError::Late { name: self.name, deadline });
        }
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(_)) => Err(StopError::Panicked { name: self.name }),
            _ => Ok(()),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.request();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiting_thread_ends_when_told() {
        let worker = Worker::spawn("waits", |stop| {
            while !stop.requested() {
                stop.wait_for(&[], Duration::from_secs(60)).unwrap();
            }
        })
        .unwrap();
        assert!(worker.is_running());
        assert_eq!(worker.stop(Duration::from_secs(5)), Ok(()));
    }

    #[test]
    fn one_that_does_not_end_is_named() {
        let (release, held) = sync_channel::<()>(1);
        let worker = Worker::spawn("deaf", move |_| {
            let _ = held.recv();
        })
        .unwrap();
        let deadline = Duration::from_millis(10);
        assert_eq!(worker.stop(deadline), Err(StopError::Late { name: "deaf", deadline }));
        drop(release);
    }
}
