//! What the daemon uses -> how much it looks at, so that it stays within what its node can spare.
//!
//! Pure: it is told what was used and when, and says which [`Detail`] to take from then on. It gives way a level at a time and
//! waits between two, since a level takes effect only after what is queued is done; it comes back more slowly than it went,
//! so that a load near the budget does not make it swing, and more slowly each time that coming back did not hold.
//!
//! Memory is not given back when less is looked at: the allocator keeps it, and what is stored stays until newer things take its
//! place. So memory over its budget is a reason to give way only while it grows, and no reason to stay there once it does not.

use std::time::Duration;

use crate::capture::Detail;

/// What may be used. None: no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Thousandths of one core.
    pub cpu_thousandths: Option<u32>,
    /// Bytes of resident memory.
    pub resident_bytes: Option<u64>,
}

/// What was used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time of all threads since the process began.
    pub cpu: Duration,
    /// Bytes of memory that are resident now.
    pub resident_bytes: u64,
}

/// Use is averaged over about so long.
const WINDOW: Duration = Duration::from_secs(5);
/// Between two steps down.
const PATIENCE: Duration = Duration::from_secs(5);
/// Use must stay below [`COMFORT`] for so long before a step up.
const RECOVERY: Duration = Duration::from_secs(30);
/// The longest that such a wait becomes.
const LONGEST_RECOVERY: Duration = Duration::from_secs(30 * 16);
/// Percent of a budget below which there is room for more.
const COMFORT: u64 = 70;
/// Memory that is more by so many percent of its budget has grown: less is what allocators and page tables make of it.
const GROWTH: u64 = 1;
/// Memory alone is no reason for less: here it grows no more.
const LEAST_FOR_MEMORY: Detail = Detail::Sampled;

/// A time in which there is room for more.
#[derive(Clone, Copy, Debug)]
struct Calm {
    since: Duration,
    /// Resident memory at its beginning.
    resident_bytes: u64,
}

/// Decides on the [`Detail`].
#[derive(Debug)]
pub struct Governor {
    budget: Budget,
    detail: Detail,
    /// Thousandths of one core, averaged.
    cpu_thousandths: u32,
    /// Nothing was averaged since the last step.
    fresh: bool,
    last: Option<(Duration, Usage)>,
    stepped: Duration,
    /// Resident memory when it last gave way.
    resident_then: Option<u64>,
    /// When it last took more.
    came_back: Option<Duration>,
    calm: Option<Calm>,
    recovery: Duration,
}

impl Governor {
    /// One that begins with everything.
    #[must_use]
    pub const fn new(budget: Budget) -> Self {
        Self {
            budget,
            detail: Detail::Full,
            cpu_thousandths: 0,
            fresh: false,
            last: None,
            stepped: Duration::ZERO,
            resident_then: None,
            came_back: None,
            calm: None,
            recovery: RECOVERY,
        }
    }

    /// What may be used.
    #[must_use]
    pub const fn budget(&self) -> Budget {
        self.budget
    }

    /// Thousandths of one core that were used of late.
    #[must_use]
    pub const fn cpu_thousandths(&self) -> u32 {
        self.cpu_thousandths
    }

    /// How much is looked at now.
    #[must_use]
    pub const fn detail(&self) -> Detail {
        self.detail
    }

    /// Takes what was used until `now`, on a clock that only goes forward. Some if the detail changes.
    pub fn look(&mut self, now: Duration, usage: Usage) -> Option<Detail> {
        self.average(now, usage);
        let before = self.detail;
        let (cpu, memory) = (self.is_cpu_over(), self.is_memory_over(usage));
        if cpu || memory {
            self.calm = None;
            if now.saturating_sub(self.stepped) >= PATIENCE {
                self.give_way(now, usage, cpu);
            }
        } else if self.is_comfortable(usage) {
            let resident_bytes = usage.resident_bytes;
            let calm = *self.calm.get_or_insert(Calm { since: now, resident_bytes });
            if self.detail != Detail::Full && now.saturating_sub(calm.since) >= self.recovery {
                self.step_up(now, usage);
            }
        } else {
            self.calm = None;
        }
        (self.detail != before).then_some(self.detail)
    }

    fn average(&mut self, now: Duration, usage: Usage) {
        let Some((at, before)) = self.last.replace((now, usage)) else { return };
        let passed = now.saturating_sub(at);
        if passed.is_zero() {
            return;
        }
        let used = usage.cpu.saturating_sub(before.cpu);
        let thousandths = (used.as_nanos() * 1000 / passed.as_nanos()).min(u128::from(u32::MAX));
        // Each look counts for its share of the window; the first one after a step for all of it, since what was used before says
        // nothing of what is used now.
        let whole = WINDOW.as_nanos();
        let fresh = std::mem::take(&mut self.fresh);
        let weight = if fresh { whole } else { passed.min(WINDOW).as_nanos() };
        let mixed = (u128::from(self.cpu_thousandths) * (whole - weight) + thousandths * weight) / whole;
        self.cpu_thousandths = u32::try_from(mixed).unwrap_or(u32::MAX);
    }

    fn is_cpu_over(&self) -> bool {
        self.budget.cpu_thousandths.is_some_and(|most| self.cpu_thousandths > most)
    }

    /// Over its budget, and more than when that was last answered.
    fn is_memory_over(&mut self, usage: Usage) -> bool {
        let Some(most) = self.budget.resident_bytes else { return false };
        let over = usage.resident_bytes > most;
        if !over && self.detail == Detail::Full {
            // All is well again; the next time is a first time.
            self.resident_then = None;
        }
        over && self.resident_then.is_none_or(|then| has_grown(then, usage.resident_bytes, most))
    }

    fn is_comfortable(&self, usage: Usage) -> bool {
        let below = |used: u64, most: Option<u64>| most.is_none_or(|most| used < most / 100 * COMFORT);
        let now = usage.resident_bytes;
        let grows = |most| self.calm.is_some_and(|calm| has_grown(calm.resident_bytes, now, most));
        below(self.cpu_thousandths.into(), self.budget.cpu_thousandths.map(u64::from))
            && (below(now, self.budget.resident_bytes) || !self.budget.resident_bytes.is_some_and(grows))
    }

    /// Takes less, if the processor asks for it or less would make memory grow less.
    fn give_way(&mut self, now: Duration, usage: Usage, cpu: bool) {
        if cpu || self.detail < LEAST_FOR_MEMORY {
            self.step_down(now);
        }
        self.stepped = now;
        self.resident_then = Some(usage.resident_bytes);
    }

    fn step_down(&mut self, now: Duration) {
        let held = self.came_back.take().map(|at| now.saturating_sub(at) >= self.recovery);
        self.recovery = match held {
            Some(false) => (self.recovery * 2).min(LONGEST_RECOVERY),
            Some(true) => RECOVERY,
            None => self.recovery,
        };
        self.detail = self.detail.less();
        self.fresh = true;
    }

    fn step_up(&mut self, now: Duration, usage: Usage) {
        self.detail = self.detail.more();
        self.stepped = now;
        self.fresh = true;
        self.came_back = Some(now);
        self.calm = Some(Calm { since: now, resident_bytes: usage.resident_bytes });
    }
}

/// True of memory that is more than it was, as far as that says anything.
const fn has_grown(then: u64, now: u64, budget: u64) -> bool {
    now > then.saturating_add(budget / 100 * GROWTH)
}

#[cfg(test)]
mod tests;
