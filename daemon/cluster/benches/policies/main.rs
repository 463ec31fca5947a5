//! What policies cost: how fast connections are judged, how long policies take to be applied, what they hold, and what changes of
//! pods cost beside them; with 100,000 pods and 100, 1,000 and 10,000 policies.
//!
//! `cargo bench -p weir-cluster --bench policies -- --write` writes the results that the README shows. One thread, by its processor
//! time.

mod world;

use std::alloc::System;
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use rustix::time::{ClockId, clock_gettime};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use weir_cluster::object::Object;
use weir_cluster::policy::{Direction, Question, Ruling};
use weir_cluster::{Change, Cluster, Protocol, UnixNanos};
use weir_tests::results::{Figure, Results};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const POLICIES: [u32; 3] = [100, 1_000, 10_000];
const CALLS: u32 = 1_000_000;
/// Seconds of the burst, and pods that change in each.
const BURST_SECONDS: u32 = 10;
const CHANGES: u32 = 100;
const COMMAND: &str = "cargo bench -p weir-cluster --bench policies -- --write";

/// Measures what policies cost.
#[derive(Debug, Parser)]
struct Args {
    /// Write `tests/results/policies.json`.
    #[arg(long)]
    write: bool,
    /// cargo says so.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut figures = Vec::new();
    for count in POLICIES {
        figures.extend(of(count));
    }
    print(&figures);
    if args.write {
        Results::of(COMMAND, "bench", figures)?.write("policies")?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what a benchmark has to say")]
fn print(figures: &[Figure]) {
    for Figure { name, value, unit, what } in figures {
        println!("{name:<24} {value:>14.3} {unit:<12} {what}");
    }
}

/// The processor time of this thread: what else the machine does is not counted.
struct Clock(Duration);

impl Clock {
    fn now() -> Self {
        Self(spent())
    }

    fn elapsed(&self) -> Duration {
        spent().saturating_sub(self.0)
    }
}

fn spent() -> Duration {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(spent).unwrap_or_default()
}

/// With so many policies.
fn of(count: u32) -> Vec<Figure> {
    let mut cluster = Cluster::default();
    cluster.replace(world::objects(), UnixNanos::ZERO);
    let policies: Vec<Change> = (0..count).map(|number| Change::Apply(world::policy(number))).collect();
    let (held, clock) = (held(), Clock::now());
    cluster.change(policies, UnixNanos::from_nanos(1));
    let applied = clock.elapsed();
    let grown = held_since(held);
    let snapshot = snapshot_of(count);
    let rulings = rulings(&cluster);
    let (verdicts, denied) = verdicts(&cluster);
    let burst = burst(&mut cluster);
    let figure = |name: &str, value, unit: &str, what: &str| {
        Figure::new(&format!("{name}_{count}"), value, unit, &format!("{count} policies: {what}"))
    };
    vec![
        figure("rulings", rulings, "verdicts/s", "one direction of a connection judged, one thread"),
        figure(
            "verdicts",
            verdicts,
            "verdicts/s",
            "the same, with the policies and rules that decide, or what each lacks",
        ),
        figure("denied", denied, "%", "of these verdicts are denials"),
        figure("snapshot", snapshot.as_secs_f64(), "s", "a snapshot of them and 100,000 pods applied"),
        figure("applied", applied.as_secs_f64() * 1e3, "ms", "applied to 100,000 pods that were there"),
        figure("memory", grown / f64::from(1 << 20), "MiB", "what they hold, with whom they select"),
        figure("change", burst.as_secs_f64() * 1e6, "µs", "a pod's change, in a burst of 100 a second"),
    ]
}

/// Bytes allocated now.
fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.wrapping_sub(stats.bytes_deallocated)
}

fn held_since(before: usize) -> f64 {
    held().saturating_sub(before) as f64
}

fn snapshot_of(count: u32) -> Duration {
    let mut objects: Vec<Object> = world::objects();
    objects.extend((0..count).map(world::policy));
    let mut cluster = Cluster::default();
    let clock = Clock::now();
    cluster.replace(objects, UnixNanos::ZERO);
    clock.elapsed()
}

/// Verdicts a second over calls of all pods, without what brought them about.
fn rulings(cluster: &Cluster) -> f64 {
    let questions: Vec<Question> = (0..CALLS).map(question).collect();
    let clock = Clock::now();
    for question in &questions {
        for direction in [Direction::Egress, Direction::Ingress] {
            black_box(cluster.ruling(question, direction));
        }
    }
    2.0 * f64::from(CALLS) / clock.elapsed().as_secs_f64()
}

/// Verdicts a second over calls of all pods, and how many of a hundred were denials.
fn verdicts(cluster: &Cluster) -> (f64, f64) {
    let questions: Vec<Question> = (0..CALLS).map(question).collect();
    let mut denied = 0_u32;
    let clock = Clock::now();
    for question in &questions {
        for direction in [Direction::Egress, Direction::Ingress] {
            let judgement = black_box(cluster.judge(question, direction));
            denied += u32::from(judgement.is_some_and(|it| it.ruling == Ruling::Denied));
        }
    }
    let verdicts = 2.0 * f64::from(CALLS);
    (verdicts / clock.elapsed().as_secs_f64(), 100.0 * f64::from(denied) / verdicts)
}

/// Calls between pods that are far apart in every list; every second one stays in its namespace.
fn question(number: u32) -> Question {
    let client = number.wrapping_mul(0x9e37_79b1) % world::PODS;
    let near = client / 500 * 500 + number % 500;
    let server = if number.is_multiple_of(2) { near } else { number.wrapping_mul(0x85eb_ca6b) % world::PODS };
    let port = [8080, 9090, 443][number as usize % 3];
    let server = SocketAddr::new(world::address(server), port);
    Question::direct(UnixNanos::MAX, Protocol::Tcp, world::address(client), server)
}

/// Time of one change, where each second's changes come together.
fn burst(cluster: &mut Cluster) -> Duration {
    let mut spent = Duration::ZERO;
    for second in 1..=BURST_SECONDS {
        let changed = (0..CHANGES).map(|number| (second * CHANGES + number).wrapping_mul(997) % world::PODS);
        let changes: Vec<Change> =
            changed.map(|number| Change::Apply(Object::Pod(world::pod(number, second)))).collect();
        let clock = Clock::now();
        cluster.change(changes, UnixNanos::from_parts(u64::from(second), 0));
        spent += clock.elapsed();
    }
    spent / (BURST_SECONDS * CHANGES)
}
