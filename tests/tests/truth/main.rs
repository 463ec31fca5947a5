//! The real `weir-daemon replay` over every capture of the corpus against what tshark found in them: connections, packets and
//! bytes each way, handshakes, segments sent again, tunnels, DNS messages, translations.
//!
//! What both sides count by different rules is in `compare`; captures with encapsulations that weir does not know are left out by
//! tshark's names for them. Everything else agrees, or a line of `otherwise.tsv` says who is right and why: for two in a hundred
//! captures at most.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]
#![expect(clippy::panic, reason = "a test fails by a panic")]
#![expect(clippy::print_stdout, reason = "the table is what the test is read for")]

mod compare;
mod told;
mod tshark;
mod weir;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use compare::{Compared, Field};

/// Captures that may differ with a reason: two in a hundred.
const EXPLAINED_PERCENT: usize = 2;
/// Replays at once.
const WORKERS: usize = 2;

/// A line of `otherwise.tsv`.
struct Otherwise {
    file: String,
    field: String,
}

/// file, frame, field, who is right, why; a line each.
fn otherwise() -> Vec<Otherwise> {
    let table = include_str!("otherwise.tsv");
    let lines = table.lines().filter(|line| !line.starts_with('#')).skip(1);
    lines
        .map(|line| match line.split('\t').collect::<Vec<_>>().as_slice() {
            [file, frame, field, right, why] => {
                assert!(frame.parse::<u64>().is_ok() && !why.is_empty(), "{line}");
                assert!(matches!(*right, "weir" | "tshark" | "both"), "{line}");
                Otherwise { file: (*file).to_owned(), field: (*field).to_owned() }
            }
            _ => panic!("five columns: {line}"),
        })
        .collect()
}

fn captures(corpus: &Path) -> Vec<PathBuf> {
    let mut captures = Vec::new();
    for folder in std::fs::read_dir(corpus.join("real")).unwrap().map(|entry| entry.unwrap().path()) {
        if folder.is_dir() {
            let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            captures.extend(
                files.filter_map(|path| Some(PathBuf::from(path.to_str()?.strip_suffix(".truth.json")?))),
            );
        }
    }
    captures.sort();
    captures
}

/// What came of one capture.
enum Outcome {
    LeftOut { protocol: String, packets: u64 },
    Compared(Compared),
}

fn look(capture: &Path) -> Outcome {
    let truth = tshark::read(capture);
    if let Some(protocol) = truth.foreign {
        return Outcome::LeftOut { protocol, packets: truth.packets };
    }
    let replayed = weir::replay(capture);
    // A file that is damaged is told up to there, and fails; nothing else does.
    assert!(matches!(replayed.code, Some(0 | 1)), "{}: {}", capture.display(), replayed.said);
    let mut compared = compare::compare(&replayed.told, &truth);
    compare::translations(&replayed.told, &tshark::translations(capture), &mut compared);
    Outcome::Compared(compared)
}

/// Every capture with what came of it, by the path within the corpus.
fn look_at_all(corpus: &Path) -> BTreeMap<String, Outcome> {
    let captures = Mutex::new(captures(corpus).into_iter());
    let found = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let next = captures.lock().unwrap().next();
                    let Some(capture) = next else { break };
                    let outcome = look(&capture);
                    let name =
                        capture.strip_prefix(corpus.join("real")).unwrap().to_str().unwrap().to_owned();
                    found.lock().unwrap().insert(name, outcome);
                }
            });
        }
    });
    found.into_inner().unwrap()
}

#[test]
fn replay_agrees_with_independent_ground_truth() {
    let Some(corpus) = weir_tests::corpus("replay_agrees_with_independent_ground_truth") else { return };
    let outcomes = look_at_all(&corpus);
    assert!(outcomes.len() > 100, "the corpus is not whole");
    let otherwise = otherwise();
    let mut used = vec![false; otherwise.len()];
    let (mut unexplained, mut explained, mut agreed) = (Vec::new(), 0, 0);
    let mut left_out: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut facts: BTreeMap<Field, (u64, u64)> = BTreeMap::new();
    for (file, outcome) in &outcomes {
        let compared = match outcome {
            Outcome::LeftOut { protocol, packets } => {
                let entry = left_out.entry(protocol).or_default();
                *entry = (entry.0 + 1, entry.1 + packets);
                continue;
            }
            Outcome::Compared(compared) => compared,
        };
        for (field, count) in &compared.facts {
            facts.entry(*field).or_default().0 += count;
        }
        let before = unexplained.len();
        for difference in &compared.differences {
            facts.entry(difference.field).or_default().1 += 1;
            let line =
                otherwise.iter().position(|line| line.file == *file && line.field == difference.field.name());
            match line {
                Some(line) => used[line] = true,
                None => unexplained.push(format!(
                    "{file}\t{}\t{}\t{}",
                    difference.frame,
                    difference.field.name(),
                    difference.what
                )),
            }
        }
        explained += usize::from(!compared.differences.is_empty() && unexplained.len() == before);
        agreed += usize::from(compared.differences.is_empty());
    }
    table(&outcomes, &left_out, &facts, agreed, explained);
    let idle: Vec<&str> =
        otherwise.iter().zip(&used).filter(|(_, used)| !**used).map(|(line, _)| line.file.as_str()).collect();
    assert!(unexplained.is_empty(), "{} differences:\n{}", unexplained.len(), unexplained.join("\n"));
    assert!(idle.is_empty(), "these agree: take their lines out of otherwise.tsv: {idle:?}");
    assert!(explained * 100 <= EXPLAINED_PERCENT * outcomes.len(), "{explained} captures are too many");
}

fn table(
    outcomes: &BTreeMap<String, Outcome>,
    left_out: &BTreeMap<&str, (u64, u64)>,
    facts: &BTreeMap<Field, (u64, u64)>,
    agreed: usize,
    explained: usize,
) {
    let out: u64 = left_out.values().map(|(files, _)| files).sum();
    println!(
        "{} captures: {agreed} agree, {explained} differ with a reason, {out} left out:",
        outcomes.len()
    );
    for (protocol, (files, packets)) in left_out {
        println!("  {protocol:<16} {files:>4} captures {packets:>8} packets");
    }
    println!("{:<16} {:>10} {:>10}", "compared", "facts", "differ");
    for field in Field::ALL {
        let (compared, differ) = facts.get(&field).copied().unwrap_or_default();
        println!("{:<16} {compared:>10} {differ:>10}", field.name());
    }
}
