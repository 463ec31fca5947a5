//! What came and what was typed -> what is to be shown, and what is to be done.
//!
//! Pure: no I/O and no clock; the time comes with each input, and what must happen outside (leaving, copying, writing a
//! file) is given back as an [`Effect`]. Knows nothing of colours or places on the screen but how many lines there are.

mod act;
pub mod command;
pub mod connections;
pub mod detail;
pub mod export;
mod facts;
pub mod filter;
pub mod flows;
pub mod nodes;
pub mod prompt;
pub mod row;
pub mod services;
pub mod table;
#[cfg(test)]
pub mod tests;
mod told;

use std::sync::Arc;

use crossterm::event::KeyEvent;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use weir_proto::observer::{GetFlowsResponse, ServerStatusResponse};
use weir_proto::weir::v1::{Connection, Notice};

use self::connections::Connections;
use self::export::Export;
use self::filter::{Filter, FilterError};
use self::flows::Flows;
use self::nodes::Nodes;
use self::prompt::{Prompt, Purpose};
use self::row::{Row, Subject};
use self::table::Table;
use crate::print::{Format, Output, TimeFormat, escape};

/// Lines of the screen that are not rows: header, views, titles, last line.
pub const FRAME_LINES: u16 = 4;
/// The line of the columns' titles.
pub const TITLE_LINE: u16 = 2;
/// A sentence stays on the last line for so long.
const SAID_FOR_S: i64 = 6;

/// The views, in the order of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// One row a connection.
    Connections,
    /// The records as they come.
    Flows,
    /// Backends of Services.
    Services,
    /// Names.
    Dns,
    /// What was stopped.
    Drops,
    /// Who observes.
    Nodes,
}

impl View {
    /// All.
    pub const ALL: [Self; 6] =
        [Self::Connections, Self::Flows, Self::Services, Self::Dns, Self::Drops, Self::Nodes];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connections => "Connections",
            Self::Flows => "Flows",
            Self::Services => "Services",
            Self::Dns => "DNS",
            Self::Drops => "Drops",
            Self::Nodes => "Nodes",
        }
    }

    fn table(self) -> Table {
        match self {
            Self::Connections => Table::new(connections::COLUMNS, 1, true),
            Self::Flows => Table::new(flows::COLUMNS, 1, true),
            Self::Services => Table::new(services::COLUMNS, 1, false),
            Self::Dns => Table::new(flows::DNS_COLUMNS, 3, true),
            Self::Drops => Table::new(connections::DROPS_COLUMNS, 1, true),
            Self::Nodes => Table::new(nodes::COLUMNS, 1, false),
        }
    }
}

/// What the server's side tells.
#[derive(Debug)]
pub enum Told {
    /// A server was reached; all it knows comes anew.
    Connected,
    /// It went away, or is not there; the next try is in so many milliseconds.
    Away {
        /// Why, in words.
        why: String,
        /// When it is tried again.
        retry_ms: u64,
    },
    /// The latest of one connection.
    Connection(Box<Connection>),
    /// An answer of the flow stream.
    Flow(Box<GetFlowsResponse>),
    /// A sentence of the server's.
    Notice(Notice),
    /// How the server is.
    Status(Box<ServerStatusResponse>),
    /// What it cannot answer, in words.
    Cannot(String),
}

/// What happens to the model.
#[derive(Debug)]
pub enum Input {
    /// A key.
    Key(KeyEvent),
    /// Text that was pasted.
    Paste(String),
    /// A click on a line and column of the screen.
    Click(u16, u16),
    /// The wheel.
    Wheel(i64),
    /// The terminal has another size: columns, lines.
    Resize(u16, u16),
    /// Time goes on.
    Tick,
}

/// What is to be done outside.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Leave.
    Quit,
    /// Put this on the clipboard.
    Copy(String),
    /// Write this into a new file of the current directory whose name begins so.
    Write {
        /// The name without its number and ending.
        stem: String,
        /// What is to be in it.
        export: Export,
    },
}

/// What lies over the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Overlay {
    /// Nothing.
    None,
    /// The keys.
    Help,
    /// The choice of a form.
    Export,
}

/// How the server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// Never yet.
    Connecting,
    /// It is there.
    Up,
    /// It is not; tried again at that time.
    Down {
        /// Why.
        why: String,
        /// The next try.
        retry_at: Timestamp,
    },
}

/// An opened connection.
#[derive(Clone, Debug)]
pub struct Opened {
    /// As it was last.
    pub connection: Arc<Connection>,
    /// Lines above the screen.
    pub top: usize,
}

/// The rows of the moment when the screen was frozen.
#[derive(Debug)]
pub struct Frozen {
    /// What came since.
    pub count: u64,
    connections: Vec<Arc<Row>>,
    flows: Vec<Arc<Row>>,
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
    /// Each view's filter, as text and understood.
    filters: [(String, Filter); 6],
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
    pub flows: Flows,
    /// The nodes.
    pub nodes: Nodes,
    /// Records that this stream lost.
    pub missed: u64,
    /// Time from a flow's end to its arrival, of the newest flow, nanoseconds.
    pub lag_ns: Option<u64>,
    /// Flows in the last second.
    pub rate: u64,
    connected_at: Timestamp,
    arrived: u64,
    second: i64,
    said: Option<(String, Timestamp)>,
    tables: [Table; 6],
    output: Output,
    zone: TimeZone,
    dirty: bool,
    history: Vec<String>,
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
    #[must_use]
    pub fn new(server: &str, now: Timestamp, zone: TimeZone, themes: &'static [&'static str]) -> Self {
        let table_output = output(&zone, "seconds");
        Self {
            server: escape(server).into_owned(),
            link: Link::Connecting,
            now,
            size: (80, 24),
            view: View::Connections,
            filters: Default::default(),
            prompt: None,
            overlay: Overlay::None,
            opened: None,
            frozen: None,
            followed: None,
            theme: 0,
            themes,
            connections: Connections::new(table_output.clone(), connections::MOST),
            flows: Flows::new(output(&zone, "milliseconds"), flows::MOST),
            nodes: Nodes::default(),
            missed: 0,
            lag_ns: None,
            rate: 0,
            connected_at: now,
            arrived: 0,
            second: now.as_second(),
            said: None,
            tables: View::ALL.map(View::table),
            output: table_output,
            zone,
            dirty: true,
            history: Vec::new(),
        }
    }

    /// The table that is shown.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.tables[self.view as usize]
    }

    /// The text of the shown view's filter.
    #[must_use]
    pub fn filter_text(&self) -> &str {
        &self.filters[self.view as usize].0
    }

    fn table_mut(&mut self) -> &mut Table {
        &mut self.tables[self.view as usize]
    }

    /// Rows that fit on the screen.
    #[must_use]
    pub fn page(&self) -> usize {
        usize::from(self.size.1.saturating_sub(FRAME_LINES)).max(1)
    }

    /// Lines of the opened connection.
    #[must_use]
    pub fn detail(&self) -> Vec<detail::Line> {
        self.opened
            .as_ref()
            .map_or_else(Vec::new, |opened| detail::lines(&opened.connection, &self.output, &self.zone))
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
    pub fn filter_error(&self) -> Option<FilterError> {
        let prompt = self.prompt.as_ref().filter(|prompt| prompt.purpose == Purpose::Filter)?;
        Filter::parse(&prompt.text).err()
    }

    /// Records lost on the way here, as far as known.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.missed.max(self.nodes.lost())
    }

    /// Takes what was typed, or that time went on. Call once before drawing, with [`Input::Tick`] if nothing else.
    pub fn update(&mut self, input: Input, now: Timestamp) -> Vec<Effect> {
        self.now = now;
        let effects = match input {
            Input::Key(key) => self.key(key),
            Input::Paste(text) => {
                self.paste(&text);
                Vec::new()
            }
            Input::Click(column, line) => self.click(column, line),
            Input::Wheel(by) => {
                self.step(by);
                Vec::new()
            }
            Input::Resize(columns, lines) => {
                self.size = (columns, lines);
                Vec::new()
            }
            Input::Tick => Vec::new(),
        };
        if now.as_second() != self.second {
            self.each_second();
        }
        if std::mem::take(&mut self.dirty) {
            self.arrange();
        }
        let page = self.page();
        self.table_mut().scroll(page);
        effects
    }

    fn each_second(&mut self) {
        let elapsed = u64::try_from(self.now.as_second() - self.second).unwrap_or(1).max(1);
        self.rate = self.arrived / elapsed;
        self.arrived = 0;
        self.second = self.now.as_second();
        self.connections.sweep(self.now);
        self.dirty |= self.frozen.is_none();
    }

    /// Puts the rows of the shown view in order; while frozen, the rows of that moment.
    fn arrange(&mut self) {
        let connections = || -> Vec<Arc<Row>> {
            let live = || self.connections.rows().cloned().collect();
            self.frozen.as_ref().map_or_else(live, |frozen| frozen.connections.clone())
        };
        let flows = || -> Vec<Arc<Row>> {
            let live = || self.flows.rows().cloned().collect();
            self.frozen.as_ref().map_or_else(live, |frozen| frozen.flows.clone())
        };
        let rows: Vec<Arc<Row>> = match self.view {
            View::Connections => connections(),
            View::Flows => flows(),
            View::Services => services::rows(connections().iter(), &self.output),
            View::Dns => flows::names(flows().iter(), self.now),
            View::Drops => connections().into_iter().filter(|row| is_failed(row)).collect(),
            View::Nodes => self.nodes.rows(),
        };
        let table = &mut self.tables[self.view as usize];
        let (_, filter) = &self.filters[self.view as usize];
        table.arrange(rows.into_iter(), filter, self.followed.as_deref());
    }
}

fn is_failed(row: &Row) -> bool {
    match &row.subject {
        Subject::Connection(connection) => connection.flow.as_ref().is_some_and(connections::failed),
        Subject::Flow(_) | Subject::Group(_) => false,
    }
}
