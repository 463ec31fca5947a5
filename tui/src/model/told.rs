//! What the server tells -> what is known.

use jiff::Timestamp;

use super::{Link, Model, Told, flows};
use crate::print::escape;

impl Model {
    /// Takes what the server's side told.
    pub fn told(&mut self, told: Told, now: Timestamp) {
        self.now = now;
        let lost_before = self.lost();
        match told {
            Told::Connected => self.connected(),
            Told::Away { why, retry_ms } => self.away(&why, retry_ms),
            Told::Connection(encoded) => {
                let is_new = self.connections.apply(&encoded);
                if let Some(frozen) = &mut self.frozen {
                    frozen.connections += u64::from(is_new);
                }
            }
            Told::Flow(encoded, ended, node) => self.flow(&encoded, ended, &node),
            Told::Lost(count) => self.missed += count,
            // The same loss is counted where the stream of flows tells it; here it is said.
            Told::Notice(notice) => {
                self.say(format!("{}: {}", escape(&notice.node), escape(&notice.message)));
            }
            Told::Status(status) => self.nodes.apply(*status, now),
            Told::Explained(id, answer) => self.explained(&id, *answer),
            Told::Cannot(stream, why) => self.cannot.push((stream, escape(&why).into_owned())),
        }
        if self.lost() > lost_before {
            self.lost_at = Some(now);
        }
    }

    fn connected(&mut self) {
        if let Link::Down { since, .. } = self.link {
            let seconds = self.now.as_second() - since.as_second();
            self.say(format!("connected again after {seconds} s; rows with ~ are from before"));
        }
        self.link = Link::Up;
        self.connected_at = self.now;
        self.cannot.clear();
        self.connections.reconnected();
        self.flows.clear();
        self.names.clear();
        self.dirty = self.frozen.is_none();
    }

    fn away(&mut self, why: &str, retry_ms: u64) {
        let retry = jiff::SignedDuration::from_millis(i64::try_from(retry_ms).unwrap_or(i64::MAX));
        let retry_at = self.now.checked_add(retry).unwrap_or(self.now);
        let since = match self.link {
            Link::Down { since, .. } => since,
            Link::Connecting | Link::Up => self.now,
        };
        self.link = Link::Down { why: escape(why).into_owned(), since, retry_at };
    }

    fn flow(&mut self, encoded: &[u8], ended: u64, node: &str) {
        if let Some(frozen) = &mut self.frozen {
            frozen.flows += 1;
        }
        self.seen += 1;
        let nanos = |time: Timestamp| u64::try_from(time.as_nanosecond()).unwrap_or_default();
        // What was there before we asked tells nothing of rate and lag.
        if ended >= nanos(self.connected_at) {
            self.arrived += 1;
            let lag_ns = nanos(self.now).saturating_sub(ended);
            self.lag_ns = Some(lag_ns);
            self.nodes.arrived(node, lag_ns);
        }
        if flows::is_dns(encoded) {
            self.names.apply(encoded);
        }
        self.flows.apply(encoded);
    }
}
