//! One row of a table: cells to show and sort by, facts to filter by, and what it stands for.
//!
//! Rows are made when what they tell changes, not when they are drawn: drawing and sorting only read them.

use std::cmp::Ordering;
use std::sync::Arc;

use weir_proto::flow::Flow;
use weir_proto::weir::v1::Connection;

use super::filter::Facts;

/// What a colour is for; the words say the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    #[default]
    Plain,
    /// Name of an end.
    Host,
    /// Went through.
    Good,
    /// Was stopped, failed.
    Bad,
    /// Neither, or not known.
    Unsure,
    /// Beside the point.
    Quiet,
    /// Title of a section.
    Heading,
}

/// A column of a view.
#[derive(Debug)]
pub struct Column {
    /// Its title.
    pub title: &'static str,
    /// Cells it needs at least.
    pub least: u16,
    /// Cells it takes at most, where there is room.
    pub most: u16,
    /// Columns of higher numbers leave first when the terminal is narrow; 0 stays.
    pub priority: u8,
}

/// One cell: its text, safe for a terminal, and what it is sorted by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Shown.
    pub text: String,
    /// Sorted by this first, then by the text.
    pub rank: u64,
    /// How it is shown.
    pub tone: Tone,
}

impl Cell {
    /// Sorted by its text.
    #[must_use]
    pub fn text(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), rank: 0, tone }
    }

    /// Sorted by a number.
    #[must_use]
    pub fn ranked(text: impl Into<String>, rank: u64, tone: Tone) -> Self {
        Self { text: text.into(), rank, tone }
    }

    /// A count.
    #[must_use]
    pub fn count(count: u64, tone: Tone) -> Self {
        Self { text: count.to_string(), rank: count, tone }
    }
}

/// What a row stands for, and so what opening it does.
#[derive(Clone, Debug)]
pub enum Subject {
    /// Opens the connection.
    Connection(Arc<Connection>),
    /// Opens the connection of this flow.
    Flow(Arc<Flow>),
    /// Shows the connections that pass this filter.
    Group(String),
}

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    /// Stays the same as long as the row stands for the same thing.
    pub id: Arc<str>,
    /// One for each column of the view.
    pub cells: Vec<Cell>,
    /// What the filter looks at.
    pub facts: Facts,
    /// What it stands for.
    pub subject: Subject,
}

impl Row {
    /// The order of two rows by one column; equal ones by their id, so that rows do not dance.
    #[must_use]
    pub fn compare(&self, other: &Self, column: usize, descending: bool) -> Ordering {
        let order = match (self.cells.get(column), other.cells.get(column)) {
            (Some(mine), Some(theirs)) => {
                mine.rank.cmp(&theirs.rank).then_with(|| mine.text.cmp(&theirs.text))
            }
            _ => Ordering::Equal,
        };
        let order = if descending { order.reverse() } else { order };
        order.then_with(|| self.id.cmp(&other.id))
    }
}
