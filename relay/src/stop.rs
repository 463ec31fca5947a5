//! The wish to stop, told once to everything that runs.

use tokio::sync::watch;

/// Says when to stop.
#[derive(Debug)]
pub struct StopSender(watch::Sender<bool>);

/// Hears when to stop; every task has one.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// A wish and who hears it.
#[must_use]
pub fn channel() -> (StopSender, Stop) {
    let (sender, receiver) = watch::channel(false);
    (StopSender(sender), Stop(receiver))
}

impl StopSender {
    /// Tells everyone. Dropping the sender tells it too.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Returns when it is time to stop.
    pub async fn requested(&mut self) {
        // An error means that the sender is gone: time to stop as well.
        let _gone = self.0.wait_for(|stop| *stop).await;
    }

    /// For streams that are polled.
    #[must_use]
    pub fn into_receiver(self) -> watch::Receiver<bool> {
        self.0
    }
}
