//! Measured figures: what a benchmark writes into `tests/results/`, and the README's tables of them.
//!
//! A number in the README is worth the command, the machine and the day that made it. So benchmarks write files of one form,
//! the files are committed, and the tables are made of the files: nobody types a figure.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::root;

/// A benchmark's run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// The command that measures the same again.
    pub command: String,
    /// Processor, cores, memory and kernel.
    pub machine: String,
    /// Day of the run, UTC, as 2026-11-25.
    pub date: String,
    /// What was measured; with `+` where the tree had changes beside it.
    pub commit: String,
    /// Cargo's build profile.
    pub profile: String,
    /// What came out.
    pub figures: Vec<Figure>,
}

/// One number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Its name, unique in its file.
    pub name: String,
    /// The number.
    pub value: f64,
    /// Its unit.
    pub unit: String,
    /// What it is, for a reader of the README.
    pub what: String,
}

impl Figure {
    /// A number with its unit and its meaning.
    #[must_use]
    pub fn new(name: &str, value: f64, unit: &str, what: &str) -> Self {
        Self { name: name.to_owned(), value, unit: unit.to_owned(), what: what.to_owned() }
    }
}

impl Results {
    /// What was measured here, now, of this tree.
    ///
    /// # Errors
    /// If the machine or the tree does not tell what it is.
    pub fn of(command: &str, profile: &str, figures: Vec<Figure>) -> Result<Self> {
        Ok(Self {
            command: command.to_owned(),
            machine: machine()?,
            date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
            commit: commit()?,
            profile: profile.to_owned(),
            figures,
        })
    }

    /// With the committed figures of this name that were not measured now, each in its place.
    ///
    /// # Errors
    /// If there is a file of that name that is no results.
    pub fn beside(mut self, name: &str) -> Result<Self> {
        let file = folder().join(format!("{name}.json"));
        if file.exists() {
            let (_, older) = read(&file).with_context(|| file.display().to_string())?;
            self.figures = together(older.figures, self.figures);
        }
        Ok(self)
    }

    /// Writes `tests/results/NAME.json` and says where that is.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, name: &str) -> Result<PathBuf> {
        let file = folder().join(format!("{name}.json"));
        fs::create_dir_all(folder())?;
        let text = serde_json::to_string_pretty(self)?;
        fs::write(&file, text + "\n").with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }

    /// As the README shows them.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = String::from("| figure | |\n|---|--:|\n");
        for Figure { value, unit, what, .. } in &self.figures {
            let _ = writeln!(table, "| {what} | {} {unit} |", readable(*value));
        }
        let Self { command, machine, date, commit, profile, .. } = self;
        let _ = writeln!(table, "\n`{command}` on {date}, commit {commit}, profile `{profile}`.\n{machine}.");
        table
    }
}

/// The older figures with the newer ones in their places, and those that are new behind them.
fn together(mut older: Vec<Figure>, newer: Vec<Figure>) -> Vec<Figure> {
    for figure in newer {
        match older.iter_mut().find(|known| known.name == figure.name) {
            Some(known) => *known = figure,
            None => older.push(figure),
        }
    }
    older
}

/// All committed results by name, in the order of their names.
///
/// # Errors
/// Names the file that cannot be read, or is not of the form.
pub fn committed() -> Result<Vec<(String, Results)>> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder())?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    files.iter().map(|file| read(file).with_context(|| file.display().to_string())).collect()
}

fn read(file: &Path) -> Result<(String, Results)> {
    ensure!(file.extension().is_some_and(|extension| extension == "json"), "not a .json file");
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok((name, serde_json::from_str(&fs::read_to_string(file)?)?))
}

/// The text with the tables of these results: each between its own marks, one without marks behind the last that has.
///
/// # Errors
/// If marks are not closed, or nobody knows their results, or there are none to put a table behind.
pub fn with_tables(text: &str, results: &[(String, Results)]) -> Result<String> {
    let mut missing: Vec<&(String, Results)> = results.iter().collect();
    let mut written = String::new();
    let mut rest = text;
    let mut last = None;
    while let Some((before, after)) = rest.split_once(OPEN) {
        let (name, after) = after.split_once(" -->").context("a mark of results is not closed")?;
        let (_, after) = after.split_once(END).with_context(|| format!("the table {name} has no end"))?;
        let found = results.iter().find(|(other, _)| other == name);
        let (_, known) = found.with_context(|| format!("no tests/results/{name}.json"))?;
        missing.retain(|(other, _)| other != name);
        written += before;
        written += &marked(name, known);
        last = Some(written.len());
        rest = after;
    }
    written += rest;
    let last = last.context("the text has no table of results")?;
    let more: String =
        missing.iter().map(|(name, results)| format!("\n\n{}", marked(name, results))).collect();
    written.insert_str(last, &more);
    Ok(written)
}

const OPEN: &str = "<!-- results ";
const END: &str = "<!-- end -->";

fn marked(name: &str, results: &Results) -> String {
    format!("{OPEN}{name} -->\n{}{END}", results.table())
}

fn folder() -> PathBuf {
    root().join("tests/results")
}

/// Whole numbers with their thousands apart; what is small with three places.
fn readable(value: f64) -> String {
    if value.fract() != 0.0 && value.abs() < 100.0 {
        let places = if value.abs() < 1.0 { 3 } else { 1 };
        return format!("{value:.places$}");
    }
    let digits = format!("{value:.0}");
    let mut apart = String::new();
    for (place, digit) in digits.chars().enumerate() {
        let before = digits.len() - place;
        if place > 0 && before.is_multiple_of(3) && !apart.ends_with('-') {
            apart.push(',');
        }
        apart.push(digit);
    }
    apart
}

fn machine() -> Result<String> {
    let of = |file: &str, key: &str| -> Result<String> {
        let text = fs::read_to_string(file)?;
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix(':'));
        Ok(line.with_context(|| format!("{file} has no {key}"))?.trim().to_owned())
    };
    let memory: u64 = of("/proc/meminfo", "MemTotal")?.trim_end_matches(" kB").parse()?;
    Ok(format!(
        "{}, {} cores, {} GiB, Linux {}",
        of("/proc/cpuinfo", "model name")?,
        std::thread::available_parallelism()?,
        (memory + (1 << 19)) >> 20,
        rustix::system::uname().release().to_string_lossy()
    ))
}

fn commit() -> Result<String> {
    let git = |words: &[&str]| -> Result<String> {
        let told = Command::new("git").arg("-C").arg(root()).args(words).output()?;
        ensure!(told.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&told.stderr).trim());
        Ok(String::from_utf8(told.stdout)?.trim().to_owned())
    };
    let head = git(&["rev-parse", "--short=10", "HEAD"])?;
    let changes = git(&["status", "--porcelain", "--", ".", ":!tests/results", ":!README.md"])?;
    Ok(if changes.is_empty() { head } else { head + "+" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(value: f64) -> Results {
        Results {
            command: "cargo bench".into(),
            machine: "a machine".into(),
            date: "2026-11-25".into(),
            commit: "abc".into(),
            profile: "bench".into(),
            figures: vec![Figure::new("speed", value, "packets/s", "speed of it")],
        }
    }

    #[test]
    fn numbers_are_readable() {
        let shown = [2_600_000.0, 999.0, 1000.4, 0.0, 0.0123, 3.25, 99.99, -1234.0].map(readable);
        assert_eq!(shown, ["2,600,000", "999", "1,000", "0", "0.012", "3.2", "100.0", "-1,234"]);
    }

    #[test]
    fn a_table_replaces_what_stood_between_its_marks_and_a_new_one_follows() {
        let readme = "before\n<!-- results one -->\nold\n<!-- end -->\nafter\n";
        let both = [("one".to_owned(), results(1.0)), ("two".to_owned(), results(2.0))];
        let text = with_tables(readme, &both).unwrap();
        assert!(text.starts_with("before\n<!-- results one -->\n| figure") && text.ends_with("\nafter\n"));
        assert!(!text.contains("old") && text.contains("| speed of it | 2 packets/s |"));
        assert_eq!(with_tables(&text, &both).unwrap(), text);
    }

    #[test]
    fn what_is_measured_again_takes_the_place_of_what_was() {
        let figure = |name: &str, value| Figure::new(name, value, "s", "a time");
        let older = vec![figure("one", 1.0), figure("two", 2.0)];
        let both = together(older, vec![figure("three", 3.0), figure("one", 9.0)]);
        assert_eq!(both, [figure("one", 9.0), figure("two", 2.0), figure("three", 3.0)]);
    }

    #[test]
    fn marks_without_results_are_an_error() {
        let none = with_tables("<!-- results gone -->\n<!-- end -->", &[]).unwrap_err();
        assert_eq!(none.to_string(), "no tests/results/gone.json");
        assert!(with_tables("<!-- results one -->", &[("one".to_owned(), results(1.0))]).is_err());
    }
}
