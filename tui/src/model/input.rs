//! What happens to the model, what it asks for, and the views there are.

use std::sync::Arc;

use bytes::Bytes;
use crossterm::event::KeyEvent;
use jiff::Timestamp;
use weir_proto::observer::ServerStatusResponse;
use weir_proto::weir::v1::{ExplainPolicyRequest, ExplainPolicyResponse, Notice};

use super::export::Export;
use super::table::Table;
use super::{connections, flows, names, nodes, services};

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

    /// How it stands on the line of views.
    #[must_use]
    pub fn label(self) -> String {
        format!(" {} {} ", self as usize + 1, self.name())
    }

    /// Its columns and how it is sorted at first.
    pub(super) const fn table(self) -> Table {
        match self {
            Self::Connections => Table::new(connections::COLUMNS, 1, true),
            Self::Flows => Table::new(flows::COLUMNS, 1, true),
            Self::Services => Table::new(services::COLUMNS, 1, false),
            Self::Dns => Table::new(names::COLUMNS, 3, true),
            Self::Drops => Table::new(connections::DROPS_COLUMNS, 1, true),
            Self::Nodes => Table::new(nodes::COLUMNS, 1, false),
        }
    }

    /// The stream of the server's that its rows come from.
    pub(super) const fn stream(self) -> Stream {
        match self {
            Self::Connections | Self::Services | Self::Drops => Stream::Connections,
            Self::Flows | Self::Dns => Stream::Flows,
            Self::Nodes => Stream::Status,
        }
    }
}

/// What is asked of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// weir.v1's connections.
    Connections,
    /// Hubble's flows.
    Flows,
    /// How the server and its nodes are.
    Status,
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
    /// The latest of one connection: a `weir.v1.Connection`, encoded.
    Connection(Bytes),
    /// A `flow.Flow`, encoded, with its time in Unix nanoseconds and the node that saw it.
    Flow(Bytes, u64, String),
    /// So many records were lost on the way.
    Lost(u64),
    /// A sentence of the server's.
    Notice(Notice),
    /// How the server is.
    Status(Box<ServerStatusResponse>),
    /// What it does not tell, and why, in words.
    Cannot(Stream, String),
    /// What the policies say of the connection of that row, or why nobody said it.
    Explained(Arc<str>, Box<Result<ExplainPolicyResponse, String>>),
}

/// What happens to the model.
#[derive(Debug)]
pub enum Input {
    /// A key.
    Key(KeyEvent),
    /// Text that was pasted.
    Paste(String),
    /// A click on a column and line of the screen.
    Click(u16, u16),
    /// The wheel.
    Wheel(i64),
    /// The terminal has another size: columns, lines.
    Resize(u16, u16),
    /// Time goes on.
    Tick,
    /// There is time to go on with what takes long.
    Work,
}

/// What is to be done outside.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Leave.
    Quit,
    /// Stop the process, as a shell's job control would.
    Suspend,
    /// Put this on the clipboard.
    Copy(String),
    /// Write this into a new file of the current directory whose name begins so.
    Write {
        /// The name without its number and ending.
        stem: String,
        /// What is to be in it.
        export: Export,
    },
    /// Keep these lines for the next time, under this name.
    Keep(&'static str, String),
    /// Ask the server what the policies say of the connection of that row.
    Explain(Arc<str>, ExplainPolicyRequest),
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
        /// Since when.
        since: Timestamp,
        /// The next try.
        retry_at: Timestamp,
    },
}
