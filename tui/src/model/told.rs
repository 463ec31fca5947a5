//! What the server tells -> what is known.

use jiff::Timestamp;
use weir_proto::observer::GetFlowsResponse;
use weir_proto::observer::get_flows_response::ResponseTypes;
use weir_proto::weir::v1::Connection;

use super::row::Subject;
use super::{Link, Model, Told, View};
use crate::print::escape;

impl Model {
    /// Takes what the server's side told.
    pub fn told(&mut self, told: Told, now: Timestamp) {
        self.now = now;
        match told {
            Told::Connected => {
                let is_return = matches!(self.link, Link::Down { .. });
                self.link = Link::Up;
                self.connected_at = now;
                self.connections.reconnected(now);
                self.flows.clear();
                if is_return {
                    self.say("connected again");
                }
            }
            Told::Away { why, retry_ms } => {
                let retry = jiff::SignedDuration::from_millis(i64::try_from(retry_ms).unwrap_or(i64::MAX));
                let retry_at = now.checked_add(retry).unwrap_or(now);
                self.link = Link::Down { why: escape(&why).into_owned(), retry_at };
            }
            Told::Connection(connection) => self.connection(*connection),
            Told::Flow(response) => self.flow(*response),
            // The same loss is counted where the stream of flows tells it; here it is said.
            Told::Notice(notice) => {
                self.say(format!("{}: {}", escape(&notice.node), escape(&notice.message)));
            }
            Told::Status(status) => self.nodes.apply(*status, now),
            Told::Cannot(what) => self.say(escape(&what)),
        }
    }

    fn connection(&mut self, connection: Connection) {
        self.count_frozen();
        let Some(row) = self.connections.apply(connection) else {
            return;
        };
        if self.frozen.is_some() {
            return;
        }
        if let Subject::Connection(connection) = &row.subject
            && let Some(opened) = self.opened.as_mut().filter(|opened| *opened.connection.id == *row.id)
        {
            opened.connection = connection.clone();
        }
        for view in [View::Connections, View::Drops] {
            self.tables[view as usize].update(&row);
        }
        // The first rows are shown at once; later ones when it is sorted next.
        self.dirty |= self.tables[View::Connections as usize].rows.len() < self.page();
    }

    fn flow(&mut self, response: GetFlowsResponse) {
        match response.response_types {
            Some(ResponseTypes::Flow(flow)) => {
                self.count_frozen();
                let ended = flow.time.as_ref().map_or(0, weir_proto::time::unix_nanos);
                // What was there before we asked tells nothing of rate and lag.
                if ended >= nanos(self.connected_at) {
                    self.arrived += 1;
                    let lag_ns = nanos(self.now).saturating_sub(ended);
                    self.lag_ns = Some(lag_ns);
                    self.nodes.arrived(&flow.node_name, lag_ns);
                }
                self.flows.apply(flow);
            }
            Some(ResponseTypes::LostEvents(lost)) => self.missed += lost.num_events_lost,
            Some(ResponseTypes::NodeStatus(_)) | None => {}
        }
    }

    fn count_frozen(&mut self) {
        if let Some(frozen) = &mut self.frozen {
            frozen.count += 1;
        }
    }
}

fn nanos(time: Timestamp) -> u64 {
    u64::try_from(time.as_nanosecond()).unwrap_or_default()
}
