//! One view's table: which rows, in which order, which one is selected.
//!
//! Rows are put in order when told to (on a timer), not when they change: between two sorts a changed row stays on its line.
//! The selection is an id and not a line.

use std::collections::HashMap;
use std::sync::Arc;

use super::filter::Filter;
use super::row::{Column, Row};

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
    lines: HashMap<Arc<str>, usize>,
    /// The first line that is on the screen.
    pub top: usize,
    selected: Option<Arc<str>>,
    /// The line the selection was last on, for when its row goes.
    line: usize,
}

impl Table {
    /// Empty.
    #[must_use]
    pub fn new(columns: &'static [Column], sort: usize, descending: bool) -> Self {
        Self {
            columns,
            sort,
            descending,
            rows: Vec::new(),
            lines: HashMap::new(),
            top: 0,
            selected: None,
            line: 0,
        }
    }

    /// Takes all rows anew: those that pass, in order, the pinned one first.
    pub fn arrange(&mut self, rows: impl Iterator<Item = Arc<Row>>, filter: &Filter, pinned: Option<&str>) {
        let is_pinned = |row: &Row| pinned.is_some_and(|id| *row.id == *id);
        self.rows.clear();
        self.rows.extend(rows.filter(|row| is_pinned(row) || filter.matches(&row.facts)));
        let (sort, descending) = (self.sort, self.descending);
        self.rows.sort_unstable_by(|one, other| {
            is_pinned(other).cmp(&is_pinned(one)).then_with(|| one.compare(other, sort, descending))
        });
        self.lines.clear();
        self.lines.extend(self.rows.iter().enumerate().map(|(line, row)| (row.id.clone(), line)));
        self.line = self.selected_line();
        if self.selected.as_ref().is_none_or(|id| !self.lines.contains_key(id)) {
            // The row is gone: the selection goes to the one now on its line, unless nobody chose it.
            self.selected =
                self.selected.is_some().then(|| self.rows.get(self.line).map(|row| row.id.clone())).flatten();
        }
    }

    /// Puts a changed row where its former state stood. False if it has no line yet.
    pub fn update(&mut self, row: &Arc<Row>) -> bool {
        let line = self.lines.get(&row.id).copied();
        if let Some(place) = line.and_then(|line| self.rows.get_mut(line)) {
            *place = row.clone();
        }
        line.is_some()
    }

    /// The selected row; the first while nobody chose.
    #[must_use]
    pub fn selected(&self) -> Option<&Arc<Row>> {
        self.rows.get(self.selected_line())
    }

    /// The line of the selection.
    #[must_use]
    pub fn selected_line(&self) -> usize {
        let line = self.selected.as_ref().and_then(|id| self.lines.get(id)).copied();
        line.unwrap_or(self.line).min(self.rows.len().saturating_sub(1))
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

    /// Sorts by another column, round at the ends.
    pub fn sort_by(&mut self, by: i32) {
        let count = i32::try_from(self.columns.len()).unwrap_or(i32::MAX).max(1);
        let column = i32::try_from(self.sort).unwrap_or_default();
        self.sort = usize::try_from((column + by).rem_euclid(count)).unwrap_or_default();
    }
}
