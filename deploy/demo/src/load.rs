//! Bounded load on a Service, run inside a pod's namespace: many short HTTP connections, paced, and some that stay.
//!
//! The short ones come to their number and no more; the kept ones ask on until the process is ended, so that who records can
//! wait for as many frames as it wants. A call that fails is counted and told, never tried again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Path that servers answer under without writing it down: a log line a call would be most of their work.
pub const PATH: &str = "/load/";
/// What the client prints once its short connections are over.
pub const SHORT_DONE: &str = "short connections: ";
/// Body of an answer, bytes; every so many answers on a kept connection have the long one.
const SHORT_ANSWER: usize = 200;
const LONG_ANSWER: usize = 60_000;
const LONG_EVERY: u64 = 64;
/// A kept connection asks this often.
const KEPT_PACE: Duration = Duration::from_millis(14);
/// New short connections are begun together this often.
const SHORT_PACE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(10);

/// What is called, how often, and how fast.
#[derive(Clone, Debug, clap::Args)]
pub struct LoadArgs {
    /// The Service's address and port.
    #[arg(long)]
    to: SocketAddr,
    /// Short connections to be made.
    #[arg(long)]
    connections: u64,
    /// Short connections begun a second.
    #[arg(long)]
    per_second: u64,
    /// Connections that stay.
    #[arg(long)]
    kept: usize,
}

/// How the short connections ended.
#[derive(Debug, Default)]
struct Tally {
    answered: AtomicU64,
    failed: AtomicU64,
}

/// Makes the short connections, says so, and keeps the others busy until the process is ended.
pub async fn run(args: &LoadArgs) -> Result<()> {
    let mut kept = JoinSet::new();
    for _ in 0..args.kept {
        kept.spawn(keep_asking(args.to));
    }
    let tally = short_connections(args).await;
    crate::say(format_args!(
        "{SHORT_DONE}{} answered, {} failed",
        tally.answered.load(Ordering::Relaxed),
        tally.failed.load(Ordering::Relaxed)
    ));
    // None ends but by failing.
    match kept.join_next().await {
        Some(ended) => ended.context("a kept connection was lost")?,
        None => Ok(()),
    }
}

async fn short_connections(args: &LoadArgs) -> Arc<Tally> {
    let tally = Arc::new(Tally::default());
    let together = (args.per_second * SHORT_PACE.as_millis() as u64 / 1000).max(1);
    let mut clock = interval(SHORT_PACE);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut running = JoinSet::new();
    let mut begun = 0;
    while begun < args.connections {
        clock.tick().await;
        for _ in 0..together.min(args.connections - begun) {
            begun += 1;
            let (to, tally) = (args.to, Arc::clone(&tally));
            running.spawn(async move {
                let count = if call_once(to).await.is_ok() { &tally.answered } else { &tally.failed };
                count.fetch_add(1, Ordering::Relaxed);
            });
        }
        while running.try_join_next().is_some() {}
    }
    while running.join_next().await.is_some() {}
    tally
}

fn request(length: usize, connection: &str) -> String {
    format!("GET {PATH}{length} HTTP/1.1\r\nHost: load\r\nConnection: {connection}\r\n\r\n")
}

/// One connection, one request; the server closes it.
async fn call_once(to: SocketAddr) -> Result<()> {
    let call = async {
        let mut stream = TcpStream::connect(to).await?;
        stream.write_all(request(SHORT_ANSWER, "close").as_bytes()).await?;
        let mut answer = Vec::with_capacity(1024);
        stream.read_to_end(&mut answer).await?;
        ensure!(answer.len() > SHORT_ANSWER, "the answer is short of its body");
        Ok(())
    };
    timeout(PATIENCE, call).await.context("no answer in time")?
}

/// One connection, a request at every tick.
async fn keep_asking(to: SocketAddr) -> Result<()> {
    let mut stream = timeout(PATIENCE, TcpStream::connect(to)).await.context("no connection in time")??;
    let mut clock = interval(KEPT_PACE);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut buffer = vec![0; 2 * LONG_ANSWER];
    for number in 1_u64.. {
        clock.tick().await;
        let length = if number.is_multiple_of(LONG_EVERY) { LONG_ANSWER } else { SHORT_ANSWER };
        stream.write_all(request(length, "keep-alive").as_bytes()).await?;
        timeout(PATIENCE, read_answer(&mut stream, &mut buffer, length))
            .await
            .context("no answer in time")??;
    }
    Ok(())
}

/// Reads a head and a body of that length.
async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8], body: usize) -> Result<()> {
    let mut have = 0;
    loop {
        let read = stream.read(buffer.get_mut(have..).unwrap_or_default()).await?;
        ensure!(read > 0, "the server closed a connection that was to be kept");
        have += read;
        let so_far = buffer.get(..have).unwrap_or_default();
        let head = so_far.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4);
        if head.is_some_and(|head| have >= head + body) {
            return Ok(());
        }
    }
}
