//! `weir-results NAME COMMAND PROFILE`: what a script has measured, from lines of name, value, unit and meaning with tabs between
//! them, into `tests/results/NAME.json`. Figures that this run did not measure stay as they were.

use std::io::BufRead as _;

use anyhow::{Context as _, Result, bail};
use weir_tests::results::{Figure, Results};

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [name, command, profile] = words.as_slice() else {
        bail!("usage: weir-results NAME COMMAND PROFILE, with the figures' lines on standard input");
    };
    let lines = std::io::stdin().lock().lines();
    let figures = lines.map(|line| figure(&line?)).collect::<Result<Vec<Figure>>>()?;
    Results::of(command, profile, figures)?.beside(name)?.write(name)?;
    Ok(())
}

fn figure(line: &str) -> Result<Figure> {
    let parts: Vec<&str> = line.split('\t').collect();
    let [name, value, unit, what] = parts.as_slice() else { bail!("{line:?} has not four parts") };
    let value = value.parse().with_context(|| format!("{line:?}: the second part is no number"))?;
    Ok(Figure::new(name, value, unit, what))
}
