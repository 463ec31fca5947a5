//! What came and what was typed -> what is to be shown, and what is to be done.
//!
//! Pure: no I/O and no clock; the time comes with each input, and what must happen outside (leaving, copying, writing a
//! file) is given back as an [`Effect`]. Knows nothing of colours or places on the screen but how many lines there are.
//! Long work (thousands of rows to make or to judge) is done in small steps, so that a key never waits for it.

mod act;
pub mod command;
mod complete;
pub mod connections;
pub mod detail;
pub mod explain;
pub mod export;
pub mod filter;
pub mod flows;
pub mod history;
mod input;
pub mod layout;
pub mod names;
pub mod nodes;
pub mod prompt;
pub mod row;
pub mod services;
pub mod table;
#[cfg(test)]
pub mod tests;
mod told;
mod why;

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use weir_proto::query::QueryError;
use weir_proto::weir::v1::Connection;

pub use self::input::{Effect, Input, Link, Stream, Told, View};

use self::connections::Connections;
use self::explain::Asked;
use self::filter::Filter;
use self::flows::Latest;
use self::history::History;
use self::names::Message;
use self::nodes::Nodes;
use self::prompt::{Prompt, Purpose};
use self::row::Row;
use self::table::Table;
use crate::print::{Format, Output, TimeFormat, escape};

/// Lines of the screen that are not rows: header, views, titles, last line.
pub const FRAME_LINES: u16 = 4;
/// The line of the views' names.
pub const VIEWS_LINE: u16 = 1;
/// The line of the columns' titles.
pub const TITLE_LINE: u16 = 2;
/// A sentence stays on the last line for so long.
const SAID_FOR_S: i64 = 6;
/// Rows made or judged in one step: a few milliseconds.
const STEP: usize = 300;
/// A loss is news for so long.
pub const LOSS_IS_NEWS_S: i64 = 60;
/// Messages of a connection that are shown with it.
const MOST_MESSAGES: usize = 50;

/// What lies over the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Overlay {
    /// Nothing.
    None,
    /// The keys, from this line on.
    Help(usize),
    /// The choice of a form.
    Export,
}

/// An opened connection.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its row.
    pub row: Arc<Row>,
    /// As it was last.
    pub connection: Connection,
    /// Its DNS messages that are in memory, oldest first.
    pub messages: Vec<weir_proto::flow::Flow>,
    /// What the policies say of it now.
    pub asked: Asked,
    /// Lines above the screen.
    pub top: usize,
}

/// What came since the screen was frozen.
#[derive(Clone, Debug)]
pub struct Frozen {
    /// When that was.
    pub at: Timestamp,
    /// Connections that were not known.
    pub connections: u64,
    /// Flows.
    pub flows: u64,
}

/// Where one came from, to go back to.
#[derive(Clone, Debug)]
struct Step {
    view: View,
    filter: String,
}

/// All that is shown.
#[derive(Debug)]
pub struct Model {
    /// Address as typed.
    pub server: String,
    /// How it is reached.
    pub link: Link,
    /// The time of the latest input.
    pub now: Timestamp,
    /// Columns and lines of the terminal.
    pub size: (u16, u16),
    /// The view that is shown.
    pub view: View,
    /// What passes, in every view.
    pub filter: Filter,
    /// What is being typed.
    pub prompt: Option<Prompt>,
    /// What lies over all.
    pub overlay: Overlay,
    /// The connection that is open.
    pub opened: Option<Opened>,
    /// What came since the screen was frozen.
    pub frozen: Option<Frozen>,
    /// The connection that stays on the first line.
    pub followed: Option<Arc<str>>,
    /// Which colours.
    pub theme: usize,
    /// Names of the colours there are.
    pub themes: &'static [&'static str],
    /// The connections.
    pub connections: Connections,
    /// The flows.
    pub flows: Latest<Arc<Row>>,
    /// The DNS messages.
    pub names: Latest<Option<Message>>,
    /// The nodes.
    pub nodes: Nodes,
    /// Records that these streams lost.
    pub missed: u64,
    /// When the count of lost records last grew.
    pub lost_at: Option<Timestamp>,
    /// Time from a flow's end to its arrival, of the newest flow, nanoseconds.
    pub lag_ns: Option<u64>,
    /// Flows in the last second.
    pub rate: u64,
    /// Filters that were typed and saved.
    pub history: History,
    /// What the server does not tell, and why.
    cannot: Vec<(Stream, String)>,
    trail: Vec<Step>,
    connected_at: Timestamp,
    arrived: u64,
    /// Flows that came on this screen's stream.
    seen: u64,
    second: i64,
    said: Option<(String, Timestamp)>,
    tables: [Table; 6],
    output: Output,
    flow_output: Output,
    zone: TimeZone,
    /// The shown table is to be put in order.
    dirty: bool,
    judging: bool,
    unmade: bool,
}

fn output(zone: &TimeZone, pattern: &str) -> Output {
    let time = TimeFormat::clock(pattern, zone.clone());
    Output {
        format: Format::Compact,
        colour: Some(false),
        node_name: true,
        policy_names: true,
        numeric: false,
        time,
    }
}

impl Model {
    /// Nothing known yet.
    ///
    /// # Errors
    /// None: the empty filter is a query.
    pub fn new(
        server: &str,
        now: Timestamp,
        zone: TimeZone,
        themes: &'static [&'static str],
    ) -> Result<Self, QueryError> {
        let table_output = output(&zone, "seconds");
        Ok(Self {
            server: escape(server).into_owned(),
            link: Link::Connecting,
            now,
            size: (80, 24),
            view: View::Connections,
            filter: Filter::new("")?,
            prompt: None,
            overlay: Overlay::None,
            opened: None,
            frozen: None,
            followed: None,
            theme: 0,
            themes,
            connections: Connections::new(table_output.clone(), connections::MOST),
            flows: Latest::new(flows::MOST),
            names: Latest::new(flows::MOST_NAMES),
            nodes: Nodes::default(),
            missed: 0,
            lost_at: None,
            lag_ns: None,
            rate: 0,
            history: History::default(),
            cannot: Vec::new(),
            trail: Vec::new(),
            connected_at: now,
            arrived: 0,
            seen: 0,
            second: now.as_second(),
            said: None,
            tables: View::ALL.map(View::table),
            output: table_output,
            flow_output: output(&zone, "milliseconds"),
            zone,
            dirty: true,
            judging: false,
            unmade: false,
        })
    }

    /// The table that is shown.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.tables[self.view as usize]
    }

    fn table_mut(&mut self) -> &mut Table {
        &mut self.tables[self.view as usize]
    }

    /// Rows that fit on the screen.
    #[must_use]
    pub fn page(&self) -> usize {
        usize::from(self.size.1.saturating_sub(FRAME_LINES)).max(1)
    }

    /// The time that ages on the screen are counted to.
    #[must_use]
    pub fn shown_at(&self) -> Timestamp {
        self.frozen.as_ref().map_or(self.now, |frozen| frozen.at)
    }

    /// Lines of the opened connection.
    #[must_use]
    pub fn detail(&self) -> Vec<detail::Line> {
        self.opened.as_ref().map_or_else(Vec::new, |opened| detail::lines(opened, &self.output, &self.zone))
    }

    /// The sentence of the last line, while it is fresh.
    #[must_use]
    pub fn said(&self) -> Option<&str> {
        let (said, at) = self.said.as_ref()?;
        (self.now.as_second() - at.as_second() < SAID_FOR_S).then_some(said.as_str())
    }

    /// Says something on the last line.
    pub fn say(&mut self, what: impl Into<String>) {
        self.said = Some((what.into(), self.now));
    }

    /// What is wrong with the filter that is being typed.
    #[must_use]
    pub fn filter_error(&self) -> Option<QueryError> {
        let prompt = self.prompt.as_ref().filter(|prompt| prompt.purpose == Purpose::Filter)?;
        weir_proto::query::validate(&prompt.text).err()
    }

    /// Records lost on the way here, as far as known.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.missed.max(self.nodes.lost())
    }

    /// The same as a share of all, in thousandths.
    #[must_use]
    pub fn lost_thousandths(&self) -> u64 {
        let all = self.nodes.received().max(self.seen) + self.lost();
        (self.lost() * 1000).checked_div(all).unwrap_or_default()
    }

    /// True while rows are being judged by a filter that has changed.
    #[must_use]
    pub const fn is_judging(&self) -> bool {
        self.judging
    }

    /// True if there is work that [`Input::Work`] goes on with.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.judging || self.unmade
    }

    /// True for a connection that the server now connected to has not told of.
    #[must_use]
    pub fn is_stale(&self, row: &Row) -> bool {
        let session = self.connections.session();
        row.call().is_some_and(|call| self.link != Link::Up || call.session != session)
    }

    /// Takes what was typed, or that time went on. Call once before drawing, with [`Input::Tick`] if nothing else.
    pub fn update(&mut self, input: Input, now: Timestamp) -> Vec<Effect> {
        self.now = now;
        let mut effects = match input {
            Input::Key(key) => self.key(key),
            Input::Paste(text) => {
                self.paste(&text);
                Vec::new()
            }
            Input::Click(column, line) => self.click(column, line),
            Input::Wheel(by) => {
                self.wheel(by);
                Vec::new()
            }
            Input::Resize(columns, lines) => {
                self.size = (columns, lines);
                self.tables.iter_mut().for_each(Table::forget_widths);
                Vec::new()
            }
            Input::Tick | Input::Work => Vec::new(),
        };
        self.work();
        if now.as_second() != self.second {
            self.each_second();
        }
        if self.dirty && !self.judging {
            self.dirty = false;
            self.arrange();
        }
        self.settle();
        effects.extend(self.question());
        effects
    }

    /// One step of what takes long.
    fn work(&mut self) {
        let Self { connections, flows, names, filter, .. } = self;
        let judging = connections.work(filter, STEP);
        let output = &self.flow_output;
        let unmade = match self.view {
            View::Flows => {
                flows.work(filter, STEP, |flow, number, encoded| flows::row(flow, number, encoded, output))
            }
            View::Dns => names.work(filter, STEP, |flow, _, _| names::message(flow)),
            View::Connections | View::Services | View::Drops | View::Nodes => false,
        };
        let was_judging = std::mem::replace(&mut self.judging, judging);
        self.unmade = unmade || self.connections.waiting() > 0;
        // The first rows are shown at once; later ones when it is sorted next.
        let is_short = self.frozen.is_none() && self.table().rows.len() < self.page();
        self.dirty |= is_short || (was_judging && !judging);
    }

    fn each_second(&mut self) {
        let elapsed = u64::try_from(self.now.as_second() - self.second).unwrap_or(1).max(1);
        self.rate = self.arrived / elapsed;
        self.arrived = 0;
        self.second = self.now.as_second();
        self.dirty |= self.frozen.is_none();
        if self.frozen.is_none() {
            self.find_messages();
        }
    }

    /// Puts the rows of the shown view in order.
    fn arrange(&mut self) {
        let rows: Vec<Arc<Row>> = match self.view {
            View::Connections => self.connections.passing().cloned().collect(),
            View::Flows => self.flows.passing().cloned().collect(),
            View::Services => services::rows(self.connections.passing()),
            View::Dns => names::rows(self.names.passing(), self.shown_at()),
            View::Drops => self.connections.passing().filter(|row| row.is_stopped()).cloned().collect(),
            View::Nodes => self.nodes.rows(&self.filter),
        };
        let followed = self.followed.clone();
        let is_listed = |id: &str| rows.iter().any(|row| *row.id == *id);
        let pinned = followed.as_deref().filter(|_| matches!(self.view, View::Connections | View::Drops));
        let missing = pinned.filter(|id| !is_listed(id)).and_then(|id| self.connections.get(id)).cloned();
        let rows = missing.into_iter().chain(rows).collect();
        self.tables[self.view as usize].arrange(rows, pinned);
    }

    /// Brings what is on the screen up to date.
    fn settle(&mut self) {
        let (page, view) = (self.page(), self.view as usize);
        let table = &mut self.tables[view];
        table.scroll(page);
        if self.frozen.is_none() {
            let connections = &self.connections;
            table.refresh(page, |row| row.call().and_then(|_| connections.newer(row)));
            if let Some(opened) = &mut self.opened
                && let Some(row) = connections.newer(&opened.row)
            {
                opened.connection = row.call().map(connections::decode).unwrap_or_default();
                opened.row = row;
            }
        }
        table.measure(page);
    }

    /// The DNS messages of the opened connection, as far as they are in memory.
    fn find_messages(&mut self) {
        let Some(opened) = &mut self.opened else { return };
        let key = opened.row.call().map_or(0, |call| call.join_key);
        let of_it = self.names.encoded().filter(|encoded| flows::join_key(encoded) == Some(key));
        let decoded = of_it.filter_map(|encoded| prost::Message::decode(&encoded[..]).ok());
        opened.messages = decoded.take(MOST_MESSAGES).collect();
        opened.messages.reverse();
    }
}
