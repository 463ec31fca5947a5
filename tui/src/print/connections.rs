//! One row for each connection of the cluster: who called whom, by which Service, which backend answered, seen by which
//! nodes, and how it ended.
//!
//! Followed, a row is printed when the connection is over or its fate is known, and for one that stays open once it has
//! lasted; what was printed open gets one more row at its end if that says anything new. What was printed is remembered
//! within a bound, so that a row that a relay takes back can be named.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};

use weir_proto::flow::Verdict;
use weir_proto::weir::v1::connections_response::Response;
use weir_proto::weir::v1::{ConnectionState, ConnectionsResponse, FlowDetail, Notice, Reason};

use super::style::{Paint, Tone, escape};
use super::{Format, Output, columns, policy_lines};

pub mod row;
pub mod tcp;

use row::{COLUMNS, Column, Row};

/// Connections whose rows are remembered.
const REMEMBERED: usize = 65_536;
/// An open connection is shown once it has lasted so long.
const SHOWN_OPEN_AFTER_S: i64 = 5;

/// Prints the answer of one request for connections.
#[derive(Debug)]
pub struct ConnectionPrinter {
    output: Output,
    paint: Paint,
    follow: bool,
    headed: bool,
    /// Width of each column: as wide as its widest cell so far, within what it may take.
    widths: Vec<usize>,
    rows: columns::Rows,
    printed: HashMap<String, Shown>,
    order: VecDeque<String>,
}

/// What a printed row said.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    over: bool,
    /// Packets both ways.
    packets: u64,
    /// Who called whom.
    ends: String,
}

impl ConnectionPrinter {
    /// A printer; `terminal` tells whether colours make sense where it prints to.
    #[must_use]
    pub fn new(output: Output, terminal: bool, follow: bool) -> Self {
        let paint = Paint::new(output.colour.unwrap_or(terminal));
        Self {
            output,
            paint,
            follow,
            headed: false,
            widths: COLUMNS.iter().map(|column| column.width).collect(),
            rows: columns::Rows::default(),
            printed: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Prints one item: rows to `out`, what the stream says of itself to `notes`.
    ///
    /// # Errors
    /// When writing fails.
    pub fn print(
        &mut self,
        response: &ConnectionsResponse,
        out: &mut dyn Write,
        notes: &mut dyn Write,
    ) -> io::Result<()> {
        if self.output.is_json() {
            return writeln!(out, "{}", weir_proto::json::print(response));
        }
        match &response.response {
            Some(Response::Connection(connection)) => {
                let output = self.output.clone();
                match Row::of(connection, &output) {
                    Some(row) if self.is_due(&row) => self.row(&row, out),
                    Some(_) => Ok(()),
                    None => self.withdraw(&connection.id, notes),
                }
            }
            Some(Response::Notice(notice)) => self.notice(notice, notes),
            None => Ok(()),
        }
    }

    /// Prints what had to wait for the end.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if !self.headed || self.output.format != Format::Table {
            return Ok(());
        }
        let names: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
        self.rows.print(&names, out)
    }

    fn notice(&self, notice: &Notice, notes: &mut dyn Write) -> io::Result<()> {
        let time = self.output.time.print(notice.time);
        let from = if notice.node.is_empty() { "relay" } else { &notice.node };
        let lost = if notice.lost > 0 { format!(" ({} lost)", notice.lost) } else { String::new() };
        writeln!(notes, "{time} [{}]: {}{lost}", escape(from), escape(&notice.message))
    }

    /// Without `follow` every connection comes once and is shown as it is.
    fn is_due(&mut self, row: &Row<'_>) -> bool {
        let over = row.connection.ended;
        if self.follow && !over && !is_decided(row) {
            return false;
        }
        let shown = Shown { over, packets: packets(row.detail), ends: row::ends(row) };
        match self.printed.insert(row.connection.id.clone(), shown) {
            // Where nobody says goodbye, an end without another packet is no news.
            Some(before) => {
                let is_news = row.is_tcp() || before.packets != packets(row.detail);
                !before.over && over && !is_refused(row) && is_news
            }
            None => {
                self.remember(&row.connection.id);
                true
            }
        }
    }

    fn remember(&mut self, id: &str) {
        self.order.push_back(id.to_owned());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.printed.remove(&oldest);
        }
    }

    /// A row without a flow takes back an id: the connection is part of another row. Only who saw it needs to know.
    fn withdraw(&mut self, id: &str, notes: &mut dyn Write) -> io::Result<()> {
        match self.printed.remove(id) {
            Some(shown) => writeln!(
                notes,
                "the row of {} shown above is withdrawn: it turned out to be part of another connection",
                shown.ends
            ),
            None => Ok(()),
        }
    }

    fn row(&mut self, row: &Row<'_>, out: &mut dyn Write) -> io::Result<()> {
        if self.output.format == Format::Dict {
            return self.block(row, out);
        }
        let cells: Vec<String> = COLUMNS.iter().map(|column| (column.cell)(row)).collect();
        if self.output.format == Format::Table {
            self.headed = true;
            self.rows.push(cells);
            return Ok(());
        }
        for ((width, column), cell) in self.widths.iter_mut().zip(COLUMNS).zip(&cells) {
            *width = (*width).max(cell.chars().count().min(column.most));
        }
        if !self.headed {
            self.headed = true;
            let names = COLUMNS.iter().map(|column| column.name.to_owned());
            self.line(names, |_| Some(Tone::Quiet), out)?;
        }
        self.line(cells.into_iter(), |column| (column.tone)(row), out)
    }

    /// All of it: a line a cell, what the policies said, and what was measured of TCP.
    fn block(&mut self, row: &Row<'_>, out: &mut dyn Write) -> io::Result<()> {
        if self.headed {
            writeln!(out, "------------")?;
        }
        self.headed = true;
        let cells =
            row::cells(row.connection, &self.output).into_iter().map(|(name, text)| (name.to_owned(), text));
        let measures = row.detail.tcp.iter().flat_map(tcp::sentences);
        let policies = policy_lines(row.flow).into_iter();
        let policies = policies.map(|line| {
            ("POLICY".to_owned(), format!("{:indent$}{}", "", line.text, indent = line.depth * 2))
        });
        let cells = cells.chain(policies);
        let lines: Vec<_> = cells.chain(measures.map(|one| (one.title.to_uppercase(), one.text))).collect();
        let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        lines.iter().try_for_each(|(name, text)| writeln!(out, "{name:>width$}: {text}"))
    }

    /// One line; a cell is padded before it is coloured, as colours have no width.
    fn line(
        &self,
        cells: impl Iterator<Item = String>,
        tone: impl Fn(&Column) -> Option<Tone>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let mut line = String::new();
        for ((cell, column), width) in cells.zip(COLUMNS).zip(&self.widths) {
            let cell = if column.right { format!("{cell:>width$} ") } else { format!("{cell:<width$} ") };
            match tone(column) {
                Some(tone) => line.push_str(&self.paint.paint(tone, cell)),
                None => line.push_str(&cell),
            }
        }
        writeln!(out, "{}", line.trim_end())
    }
}

/// Its fate is known though it is not over, or it has lasted.
fn is_decided(row: &Row<'_>) -> bool {
    is_refused(row) || has_lasted(row.detail) || is_exchanged(row)
}

fn is_refused(row: &Row<'_>) -> bool {
    let state = row.detail.state();
    row.flow.verdict() == Verdict::Dropped
        || matches!(state, ConnectionState::Rejected | ConnectionState::Unanswered)
}

fn has_lasted(detail: &FlowDetail) -> bool {
    let seconds = |time: Option<prost_types::Timestamp>| time.map(|time| time.seconds);
    let lasted = seconds(detail.last_packet).zip(seconds(detail.first_packet));
    lasted.is_some_and(|(last, first)| last - first >= SHOWN_OPEN_AFTER_S)
}

/// Without a goodbye (UDP, ICMP) the end is the silence of half a minute: too late to be told of a look-up. It was
/// answered, and what its node told later than the first record has all of it.
fn is_exchanged(row: &Row<'_>) -> bool {
    let is_late = !matches!(row.detail.reason(), Reason::Settled | Reason::Unspecified);
    !row.is_tcp() && is_late && row.detail.total.as_ref().is_some_and(|total| total.packets_reverse > 0)
}

fn packets(detail: &FlowDetail) -> u64 {
    detail.total.as_ref().map_or(0, |total| total.packets_forward + total.packets_reverse)
}
