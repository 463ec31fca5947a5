//! The addresses of the instructions that a corpus runs, by Valgrind's callgrind.
//!
//! callgrind names each object and the instructions in it by their addresses in its file. Where it cannot read an object's symbols,
//! as Debian 12's of some programs that rustc links, it names none and tells the addresses in memory: the program itself tells where
//! it lies.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Before the number that the replaying program prints.
const BASE: &str = "base ";

/// An object whose symbols cannot be read.
const NAMELESS: &str = "???";

/// What the replay of a target's corpus runs, as addresses in the program's file.
pub fn by(program: &Path, target: &str) -> Result<BTreeSet<u64>> {
    let folder = tempfile::tempdir()?;
    let counted = folder.path().join("callgrind");
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--dump-instr=yes", "--dump-line=no"])
        .args(["--compress-strings=no", "--compress-pos=no"])
        .arg(format!("--callgrind-out-file={}", counted.display()))
        .arg(program)
        .args(["--replay", target])
        .output()
        .context("cannot start valgrind")?;
    let said = String::from_utf8_lossy(&run.stdout);
    ensure!(run.status.success(), "{target}: {}: {}", run.status, String::from_utf8_lossy(&run.stderr));
    let base = said.lines().find_map(|line| line.strip_prefix(BASE)).context("the replay told no base")?;
    let base: u64 = base.parse()?;
    let mut addresses = BTreeSet::new();
    let mut subtract = None;
    for line in BufReader::new(std::fs::File::open(&counted)?).lines() {
        let line = line?;
        if let Some(object) = line.strip_prefix("ob=") {
            let own = (Path::new(object) == program).then_some(0);
            subtract = own.or((object == NAMELESS).then_some(base));
        }
        let address = line.split(' ').next().and_then(|first| first.strip_prefix("0x"));
        let address = address.and_then(|hex| u64::from_str_radix(hex, 16).ok());
        addresses.extend(address.zip(subtract).and_then(|(address, base)| address.checked_sub(base)));
    }
    Ok(addresses)
}

/// Prints where the running program lies in memory.
#[expect(clippy::print_stdout, reason = "the measuring program reads it")]
pub fn tell_base() -> Result<()> {
    let program = std::env::current_exe()?;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let first = maps.lines().find(|line| line.ends_with(&*program.to_string_lossy()));
    let start =
        first.and_then(|line| line.split('-').next()).context("the program is not in its own memory")?;
    println!("{BASE}{}", u64::from_str_radix(start, 16)?);
    Ok(())
}
