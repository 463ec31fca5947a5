//! The signal to stop, as streams and listeners see it.
//!
//! A stream that follows never ends by itself, so each one looks at this. Dropping the sender is the same signal.

use std::pin::Pin;

use tokio::sync::watch;

/// Resolves when the server is asked to stop. Must not be polled again after that.
pub(super) type Asked = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// One copy for each who has to stop.
#[derive(Clone, Debug)]
pub(super) struct Stop(watch::Receiver<()>);

impl Stop {
    pub(super) fn new() -> (watch::Sender<()>, Self) {
        let (ask, asked) = watch::channel(());
        (ask, Self(asked))
    }

    pub(super) fn is_asked(&self) -> bool {
        self.0.has_changed().unwrap_or(true)
    }

    pub(super) fn asked(&self) -> Asked {
        let mut asked = self.0.clone();
        Box::pin(async move {
            // An error says that the sender is gone, which asks for the same.
            let _: Result<(), _> = asked.changed().await;
        })
    }
}
