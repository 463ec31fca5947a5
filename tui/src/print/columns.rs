//! Rows of text -> aligned columns, three spaces apart.

use std::io::{self, Write};

const GAP: usize = 3;

/// Rows that wait to be aligned.
#[derive(Debug, Default)]
pub struct Rows {
    rows: Vec<Vec<String>>,
}

impl Rows {
    /// Adds a row.
    pub fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// Prints header and rows, each column as wide as its widest cell.
    pub fn print(&self, header: &[&str], out: &mut dyn Write) -> io::Result<()> {
        let header: Vec<String> = header.iter().map(ToString::to_string).collect();
        let mut widths = vec![0; header.len()];
        for row in std::iter::once(&header).chain(&self.rows) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in std::iter::once(&header).chain(&self.rows) {
            writeln!(out, "{}", line(row, &widths))?;
        }
        Ok(())
    }
}

/// One line; nothing trails the last cell.
#[must_use]
pub fn line(cells: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (at, cell) in cells.iter().enumerate() {
        line.push_str(cell);
        if at + 1 < cells.len() {
            let width = widths.get(at).copied().unwrap_or_default();
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + GAP));
        }
    }
    line
}
