//! The kernel's connection tracking, looked at for the status: how full its table is, and a notice where that is too full.

use std::time::Instant;

use crate::conntrack::table::{self, Fullness};
use crate::serve::Status;

const TOPIC: &str = "conntrack table";

/// What was seen of the table, and whether anything was said of it.
#[derive(Debug)]
pub struct Tracking {
    started: Instant,
    fullness: Fullness,
    told: bool,
}

impl Default for Tracking {
    fn default() -> Self {
        Self { started: Instant::now(), fullness: Fullness::default(), told: false }
    }
}

impl Tracking {
    /// Looks at the table of the daemon's network namespace.
    pub fn look(&mut self, status: &Status) {
        let table = table::read(|path| std::fs::read_to_string(path));
        let sentence = table.as_ref().and_then(|table| self.fullness.look(self.started.elapsed(), table));
        status.tell_conntrack(table);
        match sentence {
            Some(sentence) => {
                if !self.told {
                    tracing::warn!("{sentence}");
                }
                self.told = true;
                status.notice(TOPIC, &sentence);
            }
            None if self.told => {
                self.told = false;
                status.settle(TOPIC);
            }
            None => {}
        }
    }
}
