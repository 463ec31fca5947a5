//! One row of a table: cells to show and sort by, and what it stands for.
//!
//! Rows are made when what they tell changes, not when they are drawn: drawing and sorting only read them. They are small,
//! as there are thousands: all text of a row is one string, and what it was made from stays encoded.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;

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

/// How a column's cells are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Show {
    /// From the left, cut at the end.
    #[default]
    Text,
    /// Cut before the port, which stays.
    Port,
    /// A number, to the right.
    Number,
    /// The cell's rank is a time in Unix nanoseconds; shown is how long ago that was.
    Age,
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
    /// How its cells are shown.
    pub show: Show,
    /// What it says, for who asks.
    pub help: &'static str,
}

impl Column {
    /// A column of text.
    #[must_use]
    pub const fn text(
        title: &'static str,
        (least, most): (u16, u16),
        priority: u8,
        help: &'static str,
    ) -> Self {
        Self { title, least, most, priority, show: Show::Text, help }
    }

    /// The same, shown another way.
    #[must_use]
    pub const fn shown(mut self, show: Show) -> Self {
        self.show = show;
        self
    }
}

/// The column of marks, first in every view.
pub const MARK: Column = Column::text(
    "",
    (2, 2),
    0,
    "✓ went through, ✗ did not, ⧗ no answer, ? not known; ≠ policies say otherwise, ~ not told lately",
);

/// One cell while its row is made: its text, safe for a terminal, and what it is sorted by.
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

    /// A count of what should not be: quiet at 0.
    #[must_use]
    pub fn bad(count: u64) -> Self {
        Self::count(count, if count > 0 { Tone::Bad } else { Tone::Quiet })
    }
}

#[derive(Clone, Copy, Debug)]
struct Part {
    end: u32,
    tone: Tone,
    rank: u64,
}

/// The cells of a row, packed.
#[derive(Clone, Debug, Default)]
pub struct Cells {
    text: Box<str>,
    parts: Box<[Part]>,
}

impl FromIterator<Cell> for Cells {
    fn from_iter<I: IntoIterator<Item = Cell>>(cells: I) -> Self {
        let mut text = String::new();
        let mut parts = Vec::new();
        for cell in cells {
            text.push_str(&cell.text);
            let end = u32::try_from(text.len()).unwrap_or(u32::MAX);
            parts.push(Part { end, tone: cell.tone, rank: cell.rank });
        }
        Self { text: text.into(), parts: parts.into() }
    }
}

impl Cells {
    /// Text of a cell; empty where there is none.
    #[must_use]
    pub fn text(&self, at: usize) -> &str {
        let Some(part) = self.parts.get(at) else { return "" };
        let start = at.checked_sub(1).map_or(0, |before| self.parts[before].end);
        let at = |byte: u32| usize::try_from(byte).unwrap_or(usize::MAX);
        self.text.get(at(start)..at(part.end)).unwrap_or_default()
    }

    /// What a cell is sorted by before its text.
    #[must_use]
    pub fn rank(&self, at: usize) -> u64 {
        self.parts.get(at).map_or(0, |part| part.rank)
    }

    /// How a cell is shown.
    #[must_use]
    pub fn tone(&self, at: usize) -> Tone {
        self.parts.get(at).map_or(Tone::Plain, |part| part.tone)
    }

    /// All texts.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        (0..self.parts.len()).map(|at| self.text(at))
    }
}

/// What is known of a connection beside its cells.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// The `weir.v1.Connection`, encoded.
    pub encoded: Bytes,
    /// The key that all nodes compute alike.
    pub join_key: u64,
    /// Time of its first packet, Unix nanoseconds.
    pub first_ns: u64,
    /// Time of its last packet, Unix nanoseconds.
    pub last_ns: u64,
    /// No more will come.
    pub ended: bool,
    /// It did not do what its client wanted.
    pub failed: bool,
    /// Policies deny it, whatever became of it.
    pub denied: bool,
    /// What policies say and what its packets did contradict each other.
    pub disagrees: bool,
    /// In which session with a server it was told last.
    pub session: u32,
    /// The Service it goes through.
    pub service: Option<Through>,
}

/// What the view of Services counts of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Through {
    /// Name of the Service, `?` behind it where inferred.
    pub name: Box<str>,
    /// Its address; empty if unknown.
    pub vip: Box<str>,
    /// A query that finds the connections of this Service and backend.
    pub query: Box<str>,
    /// IP bytes, both ways.
    pub bytes: u64,
    /// Handshake to the server and back; 0 if not measured.
    pub rtt_ns: u64,
}

/// What a row stands for, and so what opening it does.
#[derive(Clone, Debug)]
pub enum Subject {
    /// Opens the connection.
    Connection(Box<Call>),
    /// Opens the connection of this flow: the `flow.Flow`, encoded.
    Flow(Bytes),
    /// Shows the connections that pass this query.
    Group(String),
}

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    /// Stays the same as long as the row stands for the same thing.
    pub id: Arc<str>,
    /// One for each column of the view.
    pub cells: Cells,
    /// What it stands for.
    pub subject: Subject,
}

impl Row {
    /// The connection it stands for.
    #[must_use]
    pub fn call(&self) -> Option<&Call> {
        match &self.subject {
            Subject::Connection(call) => Some(call),
            Subject::Flow(_) | Subject::Group(_) => None,
        }
    }

    /// True for what should not be.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        self.call().map_or(self.cells.tone(0) == Tone::Bad, |call| call.failed)
    }

    /// True for what was stopped, should have been, or should not have been.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.is_bad() || self.call().is_some_and(|call| call.denied || call.disagrees)
    }

    /// The order of two rows by one column; equal ones by their id, so that rows do not dance.
    #[must_use]
    pub fn compare(&self, other: &Self, column: usize, descending: bool) -> Ordering {
        let (mine, theirs) = (&self.cells, &other.cells);
        let order = mine.rank(column).cmp(&theirs.rank(column));
        let order = order.then_with(|| mine.text(column).cmp(theirs.text(column)));
        let order = if descending { order.reverse() } else { order };
        order.then_with(|| self.id.cmp(&other.id))
    }
}
