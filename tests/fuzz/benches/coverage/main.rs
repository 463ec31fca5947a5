//! Which lines of each parser its corpus reaches: `tests/coverage.sh` installs what it needs and runs this.
//!
//! For every target this program runs itself once more under Valgrind, which counts the instructions that the corpus runs; the
//! debug information says which line each belongs to, and which lines there are. So nothing is built in a special way: what is
//! measured is the code that all tests run. Code that the linker left out, as no test program uses it, is no line of it.

mod executed;
mod lines;

use std::path::Path;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use weir_fuzz::{TARGETS, Target};
use weir_tests::results::{Figure, Results};

use lines::{Lines, Place};

/// Measures what the corpora reach.
#[derive(Debug, Parser)]
struct Args {
    /// Only this target.
    #[arg(long)]
    only: Option<String>,
    /// Name the lines that are not reached, too.
    #[arg(long)]
    missing: bool,
    /// Write `tests/results/coverage.json`.
    #[arg(long, conflicts_with = "only")]
    write: bool,
    /// Give this target its corpus: what is measured.
    #[arg(long, hide = true)]
    replay: Option<String>,
    /// cargo says so.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(name) = &args.replay {
        return replay(weir_fuzz::target(name).with_context(|| format!("there is no target {name}"))?);
    }
    let program = std::env::current_exe()?;
    let lines = Lines::of(&program)?;
    let mut figures = Vec::new();
    for target in TARGETS.iter().filter(|target| args.only.as_ref().is_none_or(|only| only == target.name)) {
        let reached = lines.at(&executed::by(&program, target.name)?);
        let all: Vec<&Place> = lines.all().filter(|place| is_of(target, &place.file)).collect();
        let missing: Vec<&Place> = all.iter().copied().filter(|place| !reached.contains(*place)).collect();
        let figure = figure(target, all.len(), missing.len());
        print(&figure);
        if args.missing {
            print_missing(&missing);
        }
        figures.push(figure);
    }
    if args.write {
        Results::of("tests/coverage.sh --write", &profile()?, figures)?.write("coverage")?;
    }
    Ok(())
}

/// The folder that the target names, with the file of its name; or the file.
fn is_of(target: &Target, file: &str) -> bool {
    target.files.iter().any(|named| {
        file.strip_prefix(named).is_some_and(|rest| rest.is_empty() || rest == ".rs" || rest.starts_with('/'))
    })
}

fn figure(target: &Target, all: usize, missing: usize) -> Figure {
    let reached = all - missing;
    let share = 100.0 * reached as f64 / all.max(1) as f64;
    let files: Vec<String> = target.files.iter().map(|file| format!("`{file}`")).collect();
    let what = format!("`{}`: {reached} of {all} lines of {}", target.name, files.join(", "));
    Figure::new(target.name, (share * 10.0).round() / 10.0, "%", &what)
}

fn replay(target: &Target) -> Result<()> {
    executed::tell_base()?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let corpus = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    for line in corpus.lines() {
        (target.run)(&STANDARD.decode(line)?);
    }
    Ok(())
}

fn profile() -> Result<String> {
    let version = |program: &str| -> Result<String> {
        let told = std::process::Command::new(program).arg("--version").output()?;
        let first = String::from_utf8(told.stdout)?.lines().next().unwrap_or_default().to_owned();
        Ok(first.split(" (").next().unwrap_or_default().to_owned())
    };
    Ok(format!("dev: opt-level 1, {}, {}", version("rustc")?, version("valgrind")?))
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn print(figure: &Figure) {
    println!("{:6.1} %  {}", figure.value, figure.what);
}

#[expect(clippy::print_stdout, reason = "the lines are what was asked for")]
fn print_missing(missing: &[&Place]) {
    for Place { file, line } in missing {
        println!("          {file}:{line}");
    }
}
