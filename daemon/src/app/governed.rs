//! The governor at work: what this process uses goes in, what it decides goes to the sources and the pipeline, and both are
//! told in the status.

use std::sync::atomic::Ordering;
use std::time::Instant;

use weir_proto::weir::v1::{self as wire, Cost};

use crate::capture::Detail;
use crate::governor::{Budget, Governor};
use crate::serve::Status;

use super::sources::Sources;
use super::usage;

/// What the daemon costs, and what it was told to leave out for that.
pub struct Governed {
    governor: Governor,
    started: Instant,
    /// What sources and pipeline know.
    told: Detail,
}

impl Governed {
    /// With everything looked at.
    pub fn new(budget: Budget) -> Self {
        Self { governor: Governor::new(budget), started: Instant::now(), told: Detail::Full }
    }

    /// Looks at what was used, and has less or more looked at if need be.
    pub fn look(&mut self, sources: &mut Sources, status: &Status) {
        let usage = usage::now();
        self.governor.look(self.started.elapsed(), usage);
        let detail = self.governor.detail();
        if detail != self.told && sources.set_detail(detail) {
            self.told = detail;
            self.say(status);
        }
        let budget = self.governor.budget();
        status.tell_cost(Cost {
            cpu_ns: u64::try_from(usage.cpu.as_nanos()).unwrap_or(u64::MAX),
            cpu_thousandths: self.governor.cpu_thousandths(),
            resident_bytes: usage.resident_bytes,
            cpu_budget_thousandths: budget.cpu_thousandths.unwrap_or(0),
            resident_budget_bytes: budget.resident_bytes.unwrap_or(0),
            detail: told(self.told).into(),
            packets_left_out: sources.counts().left_out + status.packets_left_out.load(Ordering::Relaxed),
        });
    }

    fn say(&self, status: &Status) {
        if self.told == Detail::Full {
            tracing::info!("there is room again: everything is looked at");
            return status.settle("budget");
        }
        let sentence = format!("over the budget (--cpu-budget, --memory-budget-mib): {}", self.told);
        tracing::warn!("{sentence}");
        status.notice("budget", &sentence);
    }
}

const fn told(detail: Detail) -> wire::Detail {
    match detail {
        Detail::Full => wire::Detail::Full,
        Detail::NoPayload => wire::Detail::NoPayload,
        Detail::NoTiming => wire::Detail::NoTiming,
        Detail::Sampled => wire::Detail::Sampled,
        Detail::CountersOnly => wire::Detail::CountersOnly,
    }
}
