//! The reader of what the kernel gives up, where this build has one and the node allows it; else a sentence that says why not.

use std::time::Duration;

use weir_proto::weir::v1::KernelDropStatus;

use crate::capture::Sink;
use crate::worker::StopError;

#[cfg(feature = "ebpf")]
mod running {
    use super::{Duration, KernelDropStatus, Sink, StopError};
    use crate::drops::{self, DropsError};

    /// The running reader.
    #[derive(Debug)]
    pub struct KernelDrops(drops::Reader);

    impl KernelDrops {
        /// Starts it in this thread's network namespace.
        ///
        /// # Errors
        /// Why it cannot run.
        pub fn start(sink: Sink) -> Result<Self, DropsError> {
            drops::start(&drops::Settings::default(), sink).map(Self)
        }

        /// Packets given up, by reason.
        #[must_use]
        pub fn counts(&self) -> Vec<KernelDropStatus> {
            let told = |count: drops::ReasonCount| KernelDropStatus {
                reason: count.reason.to_string(),
                packets: count.packets,
                told: count.told,
            };
            self.0.stats().reasons.into_iter().map(told).collect()
        }

        /// Records that did not get here, though the kernel told of them.
        #[must_use]
        pub fn lost(&self) -> u64 {
            let stats = self.0.stats();
            stats.ring_full + stats.queue_full
        }

        /// Takes the sentences for people that came since the last call.
        #[must_use]
        pub fn notices(&self) -> Vec<String> {
            self.0.notices()
        }

        /// Stops it.
        ///
        /// # Errors
        /// If it does not end in time.
        pub fn stop(self, deadline: Duration) -> Result<(), StopError> {
            self.0.stop(deadline)
        }
    }
}

#[cfg(not(feature = "ebpf"))]
mod running {
    use super::{Duration, KernelDropStatus, Sink, StopError};

    /// There is none.
    #[derive(Debug)]
    pub enum KernelDrops {}

    /// Built without.
    #[derive(Clone, Copy, Debug, thiserror::Error)]
    #[error("kernel drops are not told: this weir-daemon was built without the feature `ebpf`")]
    pub struct NotBuilt;

    impl KernelDrops {
        /// Never starts.
        ///
        /// # Errors
        /// [`NotBuilt`]
        pub fn start(_: Sink) -> Result<Self, NotBuilt> {
            Err(NotBuilt)
        }

        /// See the other build.
        #[must_use]
        pub fn counts(&self) -> Vec<KernelDropStatus> {
            match *self {}
        }

        /// See the other build.
        #[must_use]
        pub fn lost(&self) -> u64 {
            match *self {}
        }

        /// See the other build.
        #[must_use]
        pub fn notices(&self) -> Vec<String> {
            match *self {}
        }

        /// See the other build.
        ///
        /// # Errors
        /// None.
        pub fn stop(self, _: Duration) -> Result<(), StopError> {
            match self {}
        }
    }
}

pub use running::KernelDrops;
