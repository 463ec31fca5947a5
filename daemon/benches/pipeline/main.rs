//! How fast frames become flows: decode -> track -> enrich -> ring, over a recording, stage by stage; and what is allocated.
//!
//! `cargo bench -p weir-daemon --bench pipeline -- target/bench/demo.pcapng --write` measures a recording that
//! `deploy/demo.sh record target/bench/demo.pcapng` has made, with the cluster beside it, and writes the results that the
//! README shows. Without a file, a small synthetic capture is measured. The frames are in memory before any clock is read, as
//! the capture hands them over; each pass begins with empty tables. One thread.

mod allocations;
mod input;
mod memory;
mod stages;
mod synthetic;

use std::alloc::System;
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use weir_tests::results::{Figure, Results};

use input::Recorded;
use stages::Stage;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Measures decode -> track -> enrich.
#[derive(Debug, Parser)]
struct Args {
    /// A recording, relative to the root of the repository, with the cluster's manifests beside it as `.yaml`.
    recording: Option<PathBuf>,
    /// Write `tests/results/pipeline.json`.
    #[arg(long, requires = "recording")]
    write: bool,
    /// Only this stage, again and again: for a profiler.
    #[arg(long, value_enum)]
    only: Option<Stage>,
    /// Passes over the capture; the median counts.
    #[arg(long, default_value_t = 5)]
    passes: usize,
    /// cargo says so.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let recorded = match &args.recording {
        Some(file) => Recorded::read(&weir_tests::root().join(file))?,
        None => synthetic::capture(),
    };
    if let Some(stage) = args.only {
        for _ in 0..args.passes {
            print(&[stage.measured(&recorded, 1)]);
        }
        return Ok(());
    }
    let mut figures = recorded.figures();
    figures.extend(stages::figures(&recorded, args.passes));
    figures.extend(allocations::figures(&recorded));
    if let Some(file) = &args.recording {
        figures.push(memory::of_a_replay(&weir_tests::root().join(file))?);
    }
    print(&figures);
    if args.write {
        let file = args.recording.unwrap_or_default();
        let command = format!("cargo bench -p weir-daemon --bench pipeline -- {}", file.display());
        Results::of(&command, "bench", figures)?.write("pipeline")?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn print(figures: &[Figure]) {
    for Figure { name, value, unit, .. } in figures {
        println!("{name:32} {value:14.3} {unit}");
    }
}
