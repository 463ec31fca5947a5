//! One view's table: which rows, in which order, which one is selected.
//!
//! Rows are put in order when told to (on a timer), not when they change: between two sorts a changed row stays on its line.
//! The selection is an id and not a line.

use std::sync::Arc;

use unicode_width::UnicodeWidthStr;

use super::row::{Column, Row, Show};

/// The rows of a view as they stand on the screen.
#[derive(Debug)]
pub struct Table {
    /// Its columns.
    pub columns: &'static [Column],
    /// Sorted by this column.
    pub sort: usize,
    /// The largest first.
    pub descending: bool,
    /// In their order.
    pub rows: Vec<Arc<Row>>,
    /// The first line that is on the screen.
    pub top: usize,
    selected: Option<Arc<str>>,
    /// The line the selection is on, or was last, for when its row goes.
    line: usize,
    /// The widest cell of each column that was on the screen.
    pub widths: Vec<u16>,
}

impl Table {
    /// Empty.
    #[must_use]
    pub const fn new(columns: &'static [Column], sort: usize, descending: bool) -> Self {
        Self {
            columns,
            sort,
            descending,
            rows: Vec::new(),
            top: 0,
            selected: None,
            line: 0,
            widths: Vec::new(),
        }
    }

    /// Takes all rows anew and puts them in order, the pinned one first.
    pub fn arrange(&mut self, rows: Vec<Arc<Row>>, pinned: Option<&str>) {
        let (sort, descending) = (self.sort, self.descending);
        let is_pinned = |row: &Row| pinned.is_some_and(|id| *row.id == *id);
        // Numbers are looked at in place; only equal ones lead to their rows.
        let mut ranked: Vec<(u64, Arc<Row>)> =
            rows.into_iter().map(|row| (row.cells.rank(sort), row)).collect();
        ranked.sort_unstable_by(|(rank, one), (other_rank, other)| {
            let by_rank = rank.cmp(other_rank);
            let by_rank = if descending { by_rank.reverse() } else { by_rank };
            by_rank.then_with(|| one.compare(other, sort, descending))
        });
        self.rows.clear();
        self.rows.extend(ranked.into_iter().map(|(_, row)| row));
        if let Some(at) = self.rows.iter().position(|row| is_pinned(row)) {
            self.rows[..=at].rotate_right(1);
        }
        let found = self.selected.as_ref().and_then(|id| self.rows.iter().position(|row| row.id == *id));
        match found {
            Some(line) => self.line = line,
            None => {
                // The row is gone: the selection goes to the one now on its line, unless nobody chose it.
                self.line = self.line.min(self.rows.len().saturating_sub(1));
                let next = self.rows.get(self.line).map(|row| row.id.clone());
                self.selected = self.selected.is_some().then_some(next).flatten();
            }
        }
    }

    /// Puts changed rows in the places of their former states, on the lines that are on the screen.
    pub fn refresh(&mut self, page: usize, latest: impl Fn(&Row) -> Option<Arc<Row>>) {
        for row in self.rows.iter_mut().skip(self.top).take(page) {
            if let Some(changed) = latest(row) {
                *row = changed;
            }
        }
    }

    /// The selected row; the first while nobody chose.
    #[must_use]
    pub fn selected(&self) -> Option<&Arc<Row>> {
        self.rows.get(self.selected_line())
    }

    /// The line of the selection.
    #[must_use]
    pub fn selected_line(&self) -> usize {
        if self.selected.is_none() { 0 } else { self.line.min(self.rows.len().saturating_sub(1)) }
    }

    /// Selects a line, or the last one.
    pub fn select(&mut self, line: usize) {
        self.line = line.min(self.rows.len().saturating_sub(1));
        self.selected = self.rows.get(self.line).map(|row| row.id.clone());
    }

    /// Selects so many lines further.
    pub fn step(&mut self, by: i64) {
        let line = i64::try_from(self.selected_line()).unwrap_or(i64::MAX);
        self.select(usize::try_from(line.saturating_add(by).max(0)).unwrap_or_default());
    }

    /// Selects the next row, or the one before, for which something holds; round at the ends. False if there is none.
    pub fn seek(&mut self, forward: bool, holds: impl Fn(&Row) -> bool) -> bool {
        let (count, from) = (self.rows.len(), self.selected_line());
        let line = |step: usize| if forward { (from + step) % count } else { (from + count - step) % count };
        let found = (1..=count).map(line).find(|line| holds(&self.rows[*line]));
        if let Some(line) = found {
            self.select(line);
        }
        found.is_some()
    }

    /// To the first line, and on with whatever comes to stand there.
    pub fn home(&mut self) {
        (self.selected, self.line, self.top) = (None, 0, 0);
    }

    /// Moves the screen so that the selection is on it.
    pub fn scroll(&mut self, page: usize) {
        let line = self.selected_line();
        self.top = self.top.min(line).max((line + 1).saturating_sub(page));
        self.top = self.top.min(self.rows.len().saturating_sub(page));
    }

    /// Notes how wide the cells on the screen are. Columns only grow, so that they do not dance.
    pub fn measure(&mut self, page: usize) {
        let Self { columns, rows, top, widths, .. } = self;
        widths.resize(columns.len(), 0);
        for (at, (column, width)) in columns.iter().zip(widths).enumerate() {
            if *width >= column.most || column.show == Show::Age {
                continue;
            }
            let shown = rows.iter().skip(*top).take(page).map(|row| row.cells.text(at).width());
            let widest = shown.max().unwrap_or_default().min(usize::from(column.most));
            *width = (*width).max(u16::try_from(widest).unwrap_or(u16::MAX));
        }
    }

    /// The terminal has another width: columns are as wide as what is shown now.
    pub fn forget_widths(&mut self) {
        self.widths.clear();
    }

    /// Sorts by another column, round at the ends.
    pub fn sort_by(&mut self, by: i32) {
        let count = i32::try_from(self.columns.len()).unwrap_or(i32::MAX).max(1);
        let column = i32::try_from(self.sort).unwrap_or_default();
        self.sort = usize::try_from((column + by).rem_euclid(count)).unwrap_or_default();
    }
}
