//! weir and programs like it over one and the same capture, in turn: `tests/bench.sh` installs them and runs this.
//!
//! The capture is made anew by the recipe in `traffic` and lies in the page cache. Each round runs every program once, so that
//! what else the machine does falls on all; the median of the rounds counts. A second capture holds a million connections that
//! stay open: the most memory that weir takes for them.

mod draw;
mod tools;
mod traffic;
mod wire;
mod world;

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use weir_tests::results::{Figure, Results};

use tools::{Run, Tool};
use traffic::Shape;

/// Measures weir beside its peers.
#[derive(Debug, Parser)]
struct Args {
    /// Conversations of the capture that all read.
    #[arg(long, default_value_t = 60_000)]
    talks: u32,
    /// Connections that stay open, of the capture by which memory is measured.
    #[arg(long, default_value_t = 1_000_000)]
    open: u32,
    /// Rounds; one more goes before them and does not count.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only make the captures.
    #[arg(long)]
    make: bool,
    /// Write `tests/results/peers.json`.
    #[arg(long)]
    write: bool,
    /// cargo says so.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let folder = weir_tests::root().join("target/bench");
    fs::create_dir_all(&folder)?;
    let spread_ns = 60_000_000_000;
    let mixed = make(&folder, "mixed", Shape { talks: args.talks, spread_ns, open: false })?;
    let open = make(&folder, "open", Shape { talks: args.open, spread_ns, open: true })?;
    if args.make {
        return Ok(());
    }
    let mut figures = mixed.figures();
    figures.extend(rounds(&mixed, args.rounds)?);
    figures.extend(memory(&open)?);
    print(&figures);
    if args.write {
        Results::of("tests/bench.sh", "bench", figures)?.write("peers")?;
    }
    Ok(())
}

/// A capture that was made.
struct Made {
    file: PathBuf,
    packets: u64,
    talks: u32,
}

fn make(folder: &Path, name: &str, shape: Shape) -> Result<Made> {
    let file = folder.join(format!("{name}.pcap"));
    let mut capture = wire::CaptureFile::new(BufWriter::with_capacity(1 << 20, File::create(&file)?))?;
    traffic::each(shape, |talk, planned| capture.write(talk, planned))?;
    let packets = capture.finish()?;
    fs::write(file.with_extension("yaml"), world::manifests())?;
    Ok(Made { file, packets, talks: shape.talks })
}

impl Made {
    fn figures(&self) -> Vec<Figure> {
        let count = |name, value, what| Figure::new(name, value, "", what);
        vec![
            count("packets", self.packets as f64, "packets of the capture that all read"),
            count("conversations", f64::from(self.talks), "conversations in it"),
        ]
    }
}

/// Every program in turn.
fn rounds(made: &Made, rounds: usize) -> Result<Vec<Figure>> {
    let mut runs: Vec<(Tool, Vec<Run>)> = Tool::ALL.map(|tool| (tool, Vec::new())).into();
    for round in 0..=rounds {
        for (tool, taken) in &mut runs {
            let scratch = tempfile::tempdir()?;
            let run = tools::run(tool.command(&made.file, scratch.path()))?;
            if round > 0 {
                taken.push(run);
            }
        }
    }
    let mut figures = Vec::new();
    for (tool, taken) in &runs {
        let wall = median(taken.iter().map(|run| run.wall).collect());
        let cpu = median(taken.iter().map(|run| run.cpu).collect());
        if *tool == Tool::Weir {
            let rate = made.packets as f64 / cpu.as_secs_f64();
            let what = "weir, packets a second of CPU time, reading the file and starting included";
            figures.push(Figure::new("weir_packets_per_second", rate.round(), "packets/s", what));
        }
        let named = |unit: &str| format!("{}_{unit}", tool.name());
        let what = format!("{}: wall time", tool.does());
        figures.push(Figure::new(&named("wall_s"), seconds(wall), "s", &what));
        figures.push(Figure::new(&named("cpu_s"), seconds(cpu), "s", "its CPU time"));
    }
    Ok(figures)
}

/// Peak memory with all those connections open.
fn memory(made: &Made) -> Result<Vec<Figure>> {
    let scratch = tempfile::tempdir()?;
    let run = tools::run(Tool::Weir.command(&made.file, scratch.path()))?;
    let what =
        format!("peak resident memory of a replay of {} packets of as many open connections", made.packets);
    let connections = Figure::new("open_connections", f64::from(made.talks), "", "connections open at once");
    Ok(vec![connections, Figure::new("open_peak_mib", f64::from(run.peak_kib / 1024), "MiB", &what)])
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn print(figures: &[Figure]) {
    for Figure { name, value, unit, .. } in figures {
        println!("{name:32} {value:14.3} {unit}");
    }
}
