//! The stream that a `GetFlows` client reads: takes the steps of a [`Reading`] and waits where it says so.
//!
//! It is polled only while the client takes data, so a slow client holds back nobody: the ring goes on, and the reading is
//! told what it missed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;
use tokio_stream::Stream;
use tonic::Status;

use super::answer::Answer;
use super::flows::{Reading, Step};
use super::stop::Stop;

type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// See the module.
pub struct FlowStream {
    reading: Reading,
    stop: Stop,
    waiting: Option<Waiting>,
}

impl FlowStream {
    pub(super) const fn new(reading: Reading, stop: Stop) -> Self {
        Self { reading, stop, waiting: None }
    }

    /// Until there is a flow to read, until `deadline`, or until the server stops.
    fn wait(&self, deadline: Option<Instant>) -> Waiting {
        let ring = Arc::clone(self.reading.reader().ring());
        let next = self.reading.reader().position();
        let asked = self.stop.asked();
        Box::pin(async move {
            let deadline = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = ring.reached(next) => {}
                () = deadline => {}
                () = asked => {}
            }
        })
    }
}

impl Stream for FlowStream {
    type Item = Result<Answer, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                std::task::ready!(waiting.as_mut().poll(cx));
                self.waiting = None;
            }
            if self.stop.is_asked() {
                return Poll::Ready(Some(Err(Status::unavailable("this node's daemon is stopping"))));
            }
            match self.reading.step(Instant::now()) {
                Step::Send(answer) => return Poll::Ready(Some(Ok(answer))),
                Step::Wait(deadline) => self.waiting = Some(self.wait(deadline)),
                Step::End => return Poll::Ready(None),
                Step::Pause => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }
}
