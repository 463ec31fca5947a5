//! What weir said against what a witness said, value by value, and whether they are the same.
//!
//! Equal rows of one kind are counted into one line; each difference is a line of its own, in red on a terminal.

use std::fmt::Display;
use std::io::{IsTerminal, Write};

use anyhow::Result;

const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";
/// A longer cell moves its own line's rest, and nobody else's.
const WIDEST: usize = 44;

/// One comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    check: &'static str,
    value: &'static str,
    subject: String,
    weir: String,
    witness: &'static str,
    said: String,
    same: bool,
}

/// All comparisons of a run.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

/// Part of a report: one check, about one call.
pub struct About<'a> {
    report: &'a mut Report,
    check: &'static str,
    subject: String,
}

impl Report {
    pub fn about(&mut self, check: &'static str, subject: impl Display) -> About<'_> {
        About { report: self, check, subject: subject.to_string() }
    }

    /// Notes a check that could not be made to its end: a difference too.
    pub fn broke_off(&mut self, check: &'static str, error: &anyhow::Error) {
        self.about(check, "").holds("the check itself", "", "error", format!("{error:#}"), false);
    }

    pub fn differences(&self) -> usize {
        self.rows.iter().filter(|row| !row.same).count()
    }

    pub fn comparisons(&self) -> usize {
        self.rows.len()
    }

    /// Prints the table.
    pub fn print(&self, out: &mut (impl Write + IsTerminal)) -> Result<()> {
        let coloured = out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let text = self.table(coloured);
        out.write_all(text.as_bytes())?;
        out.flush()?;
        Ok(())
    }

    fn table(&self, coloured: bool) -> String {
        let mut lines = vec![["CHECK", "VALUE", "WEIR", "WITNESS", "SAID", "SAME"].map(str::to_owned)];
        let mut bad = vec![false];
        let mut told: Vec<(&str, &str, &str)> = Vec::new();
        for row in &self.rows {
            let kind = (row.check, row.value, row.witness);
            if !told.contains(&kind) {
                told.push(kind);
                let alike =
                    self.rows.iter().filter(|other| (other.check, other.value, other.witness) == kind);
                let (same, all) =
                    alike.fold((0, 0), |(same, all), other| (same + u32::from(other.same), all + 1));
                if let Some(example) = self.example(kind) {
                    lines.push(example.line(format!("{same} of {all}")));
                    bad.push(false);
                }
            }
            if !row.same {
                lines.push(row.line(format!("DIFFERS {}", row.subject)));
                bad.push(true);
            }
        }
        aligned(&lines, &bad, coloured)
    }

    /// The first row of a kind that is the same.
    fn example(&self, kind: (&str, &str, &str)) -> Option<&Row> {
        self.rows.iter().find(|row| (row.check, row.value, row.witness) == kind && row.same)
    }
}

impl Row {
    fn line(&self, verdict: String) -> [String; 6] {
        let [check, value, witness] = [self.check, self.value, self.witness].map(str::to_owned);
        [check, value, self.weir.clone(), witness, self.said.clone(), verdict]
    }
}

fn aligned(lines: &[[String; 6]], bad: &[bool], coloured: bool) -> String {
    let mut widths = [0; 6];
    for line in lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            let length = cell.chars().count();
            if length <= WIDEST {
                *width = usize::max(*width, length);
            }
        }
    }
    let mut text = String::new();
    for (line, bad) in lines.iter().zip(bad) {
        let cells: Vec<String> =
            line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let joined = cells.join("  ");
        let joined = joined.trim_end();
        if *bad && coloured {
            text.push_str(&format!("{RED}{joined}{PLAIN}\n"));
        } else {
            text.push_str(joined);
            text.push('\n');
        }
    }
    text
}

impl About<'_> {
    /// The two must be the same, to the letter.
    pub fn equal(
        &mut self,
        value: &'static str,
        weir: impl Display,
        witness: &'static str,
        said: impl Display,
    ) {
        let (weir, said) = (weir.to_string(), said.to_string());
        let same = weir == said;
        self.holds(value, weir, witness, said, same);
    }

    /// A relation other than sameness, decided by the caller.
    pub fn holds(
        &mut self,
        value: &'static str,
        weir: impl Display,
        witness: &'static str,
        said: impl Display,
        same: bool,
    ) {
        self.report.rows.push(Row {
            check: self.check,
            value,
            subject: self.subject.clone(),
            weir: weir.to_string(),
            witness,
            said: said.to_string(),
            same,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_rows_are_counted_and_differences_stand_out() {
        let mut report = Report::default();
        report.about("calls", "port 1").equal("bytes", 10, "curl", 10);
        report.about("calls", "port 2").equal("bytes", 11, "curl", 12);
        assert_eq!((report.comparisons(), report.differences()), (2, 1));
        let expected = "\
CHECK  VALUE  WEIR  WITNESS  SAID  SAME
calls  bytes  10    curl     10    1 of 2
calls  bytes  11    curl     12    DIFFERS port 2
";
        assert_eq!(report.table(false), expected);
        assert!(report.table(true).contains("\x1b[31mcalls  bytes  11"));
    }
}
