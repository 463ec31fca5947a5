//! The lines of a program, and the addresses of their instructions, as `readelf` prints them from the debug information.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// A line of the sources.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// From the root of the repository.
    pub file: String,
    pub line: u32,
}

/// What stands at each address: a line of the repository from there on, or something else.
#[derive(Debug, Default)]
pub struct Lines {
    starts: BTreeMap<u64, Option<Place>>,
    /// The file whose rows are being read, if it is the repository's.
    file: Option<String>,
}

impl Lines {
    /// Those of a program.
    pub fn of(program: &Path) -> Result<Self> {
        let mut readelf = Command::new("readelf")
            .args(["--wide", "--debug-dump=decodedline"])
            .arg(program)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start readelf, of binutils")?;
        let printed = readelf.stdout.take().context("readelf has no output")?;
        let mut lines = Self::default();
        for row in BufReader::new(printed).lines() {
            lines.row(&row?);
        }
        let status = readelf.wait()?;
        ensure!(status.success() && !lines.starts.is_empty(), "readelf found no lines: {status}");
        Ok(lines)
    }

    /// `daemon/src/decode/ip.rs:` stands before rows like `ip.rs   17   0x382fd0   x`; a `-` for the line ends a sequence of
    /// addresses.
    fn row(&mut self, row: &str) {
        if let Some(file) = row.strip_prefix("CU: ").unwrap_or(row).strip_suffix(':') {
            let ours = ["daemon/", "proto/", "relay/"].iter().any(|package| file.starts_with(package));
            self.file = ours.then(|| file.to_owned());
            return;
        }
        let mut words = row.split_ascii_whitespace().skip(1);
        let (Some(line), Some(address)) = (words.next(), words.next()) else { return };
        let Some(address) = address.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok())
        else {
            return;
        };
        let line = line.parse().ok().filter(|line| *line > 0);
        let place = line.zip(self.file.clone()).map(|(line, file)| Place { file, line });
        // Of several rows for one address the last has the instruction; the end of another sequence has none.
        if place.is_some() || !self.starts.contains_key(&address) {
            self.starts.insert(address, place);
        }
    }

    /// All lines that have instructions.
    pub fn all(&self) -> impl Iterator<Item = &Place> {
        self.starts.values().flatten().collect::<BTreeSet<_>>().into_iter()
    }

    /// Those of these addresses.
    pub fn at(&self, addresses: &BTreeSet<u64>) -> BTreeSet<Place> {
        let line = |address: &u64| self.starts.range(..=address).next_back()?.1.clone();
        addresses.iter().filter_map(line).collect()
    }
}
