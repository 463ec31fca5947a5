//! Why a view is empty: an empty table must never look like a quiet network.

use super::{Link, Model, View};

impl Model {
    /// Sentences to stand in place of rows, the weightiest first.
    #[must_use]
    pub fn why_empty(&self) -> Vec<String> {
        match &self.link {
            Link::Connecting => vec![format!("connecting to {}", self.server)],
            Link::Down { why, .. } => vec!["no server: nothing can be seen".to_owned(), why.clone()],
            Link::Up => self.why_empty_connected(),
        }
    }

    fn why_empty_connected(&self) -> Vec<String> {
        let stream = self.view.stream();
        if let Some((_, why)) = self.cannot.iter().find(|(of, _)| *of == stream) {
            return vec![why.clone()];
        }
        if self.judging {
            return vec!["looking which rows pass the filter".to_owned()];
        }
        let hidden = self.hidden();
        if hidden > 0 && !self.filter.text.is_empty() {
            let rows = if hidden == 1 { "row does" } else { "rows do" };
            let filter = &self.filter.text;
            return vec![format!("{hidden} {rows} not pass the filter {filter}; Esc takes it back")];
        }
        let mut why = match self.nodes.connected() {
            Some((0, 0)) => vec!["the server knows no nodes: it has nobody to hear from".to_owned()],
            Some((0, known)) => vec![format!("none of {known} nodes is connected: nobody tells of flows")],
            _ => vec![self.nothing_yet().to_owned()],
        };
        why.extend(self.nodes.complaints());
        why
    }

    fn nothing_yet(&self) -> &'static str {
        match self.view {
            View::Connections => "no connection seen yet",
            View::Flows => "no flow seen yet",
            View::Services => "no connection to a Service seen yet",
            View::Dns => "no DNS message seen yet (DNS over UDP is read)",
            View::Drops if self.connections.count() > 0 => {
                "none of the connections in memory failed or was denied"
            }
            View::Drops => "no connection seen yet",
            View::Nodes => "this server tells of no nodes: it is a daemon and speaks for itself",
        }
    }

    /// How many rows the filter may hide here.
    fn hidden(&self) -> usize {
        match self.view {
            View::Connections => self.connections.count(),
            View::Services => self.connections.rows().filter(|row| is_to_service(row)).count(),
            View::Drops => self.connections.rows().filter(|row| row.is_stopped()).count(),
            View::Flows => self.flows.count(),
            View::Dns => self.names.count(),
            View::Nodes => self.nodes.count(),
        }
    }
}

fn is_to_service(row: &super::row::Row) -> bool {
    row.call().is_some_and(|call| call.service.is_some())
}
