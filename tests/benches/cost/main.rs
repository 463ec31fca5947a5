//! What watching costs: loads between two pods with nobody watching, weir by eBPF, weir by libpcap, and tcpdump, in turn, so that
//! what else the machine does falls on all; and what weir itself takes under steady loads.
//!
//! `tests/cost.sh` installs the loads and runs this. Medians count, and their spread is told beside them.

mod least;
mod loads;
mod process;
mod steady;
mod watcher;

use std::collections::BTreeMap;

use anyhow::Result;
use clap::Parser;
use weir_tests::pods::Pods;
use weir_tests::results::{Figure, Results};

use loads::Load;
use watcher::{Kind, Watcher};

/// Measures what watching costs.
#[derive(Debug, Parser)]
struct Args {
    /// Rounds of all loads by all watchers; one more goes before them and does not count.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Seconds of each load.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Seconds of each steady load.
    #[arg(long, default_value_t = 20)]
    steady_seconds: u64,
    /// Write `tests/results/cost.json`.
    #[arg(long)]
    write: bool,
    /// Only hold connections to this port open.
    #[arg(long, hide = true)]
    hold: Option<u16>,
    /// cargo says so.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(port) = args.hold {
        return steady::hold(port);
    }
    let mut figures = in_turn(args.rounds, args.seconds)?;
    figures.extend(steady::figures(args.steady_seconds)?);
    print(&figures);
    if args.write {
        Results::of("tests/cost.sh --write", "release", figures)?.write("cost")?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what a benchmark has to say")]
fn print(figures: &[Figure]) {
    for figure in figures {
        println!("{:<44} {:>14.3} {:<14} {}", figure.name, figure.value, figure.unit, figure.what);
    }
}

/// All loads under all watchers, the order of the watchers turned by one each round.
fn in_turn(rounds: usize, seconds: u64) -> Result<Vec<Figure>> {
    let pods = Pods::new()?;
    let folder = tempfile::tempdir()?;
    Pods::write_cluster(folder.path())?;
    let _servers = loads::Servers::start(&pods, folder.path())?;
    let mut taken: BTreeMap<(Load, Kind), Vec<f64>> = BTreeMap::new();
    for round in 0..=rounds {
        for turn in 0..Kind::ALL.len() {
            let kind = Kind::ALL[(round + turn) % Kind::ALL.len()];
            let watcher = Watcher::start(kind, &pods, folder.path())?;
            for load in Load::ALL {
                let rate = load.run(&pods, seconds)?;
                if round > 0 {
                    taken.entry((load, kind)).or_default().push(rate);
                }
            }
            drop(watcher);
        }
    }
    Ok(Load::ALL.into_iter().flat_map(|load| figures(load, &taken)).collect())
}

fn figures(load: Load, taken: &BTreeMap<(Load, Kind), Vec<f64>>) -> Vec<Figure> {
    let of = |kind| taken.get(&(load, kind)).map_or(&[][..], Vec::as_slice);
    let mut figures = Vec::new();
    for kind in Kind::ALL {
        let name = format!("{}_{}", load.name(), kind.name());
        let what = format!("{}, {}", load.what(), kind.what());
        figures.push(Figure::new(&name, median(of(kind)), load.unit(), &what));
        let spread = format!("{name}_spread");
        figures.push(Figure::new(&spread, spread_percent(of(kind)), "%", "half of the rounds lie within"));
        if kind != Kind::Nothing {
            // Each round's own ratio: what a round had to do beside fell on both.
            let ratios: Vec<f64> = of(kind)
                .iter()
                .zip(of(Kind::Nothing))
                .map(|(with, without)| with / without * 100.0)
                .collect();
            let what = "of that with nobody watching, the median of the rounds' ratios";
            figures.push(Figure::new(&format!("{name}_share"), median(&ratios), "%", what));
        }
    }
    figures
}

/// The middle one; between the two middle ones of an even number.
fn median(values: &[f64]) -> f64 {
    quantile(values, 1, 2)
}

fn quantile(values: &[f64], part: usize, of: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let place = sorted.len().saturating_sub(1) * part;
    let (below, rest) = (place / of, place % of);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(0.0);
    at(below) + (at(below + usize::from(rest > 0)) - at(below)) * rest as f64 / of as f64
}

/// From the first quartile to the third, in percent of the median.
fn spread_percent(values: &[f64]) -> f64 {
    (quantile(values, 3, 4) - quantile(values, 1, 4)) / median(values) * 100.0
}
