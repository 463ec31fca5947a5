//! Compares what weir says with what everybody else says: calls are made, weir is asked by gRPC, and so are curl, conntrack,
//! `ip`, the rules' counters and the servers' logs.
//!
//! One file a question. Each makes its own calls, from ports that the background traffic never uses, and notes every
//! comparison; a check that cannot be made to its end is a difference too.

mod calls;
mod denied;
mod dns;
mod faults;
mod overlay;
mod rejected;
mod replay;
mod row;
mod service_calls;
mod sources;
mod stories;

use std::cell::Cell;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::Result;
use weir_proto::flow::{FlowFilter, Verdict};
use weir_proto::weir::v1::{Connection, ConnectionState, PolicyRuling};

use crate::client::Client;
use crate::curl::{Call, Outcome};
use crate::instance::Instance;
use crate::kinds::Source;
use crate::netns::Netns;
use crate::plan::Plan;
use crate::report::Report;
use crate::stack::Stack;
use crate::wait;
use crate::world::World;

/// Below every port that Linux hands out by itself (32768 on).
const FIRST_PORT: u16 = 20_000;
/// How long weir may take to have said all about a connection that is over: a few times its slowest clock.
const SETTLE_LIMIT: Duration = Duration::from_secs(15);

/// What the checks look at.
pub struct Scene<'a> {
    pub instance: &'a Instance,
    pub plan: &'a Plan,
    pub world: &'a World,
    pub source: Source,
    pub relay: Client,
    next_port: Cell<u16>,
}

impl<'a> Scene<'a> {
    pub fn new(
        instance: &'a Instance,
        plan: &'a Plan,
        world: &'a World,
        source: Source,
        relay: Client,
    ) -> Self {
        Self { instance, plan, world, source, relay, next_port: Cell::new(FIRST_PORT) }
    }

    /// Makes a call from a port of its own, and says which.
    pub async fn call(&self, from: &Netns, call: Call) -> Result<(u16, Outcome)> {
        let port = self.next_port.get();
        self.next_port.set(port.saturating_add(1));
        Ok((port, call.with_local_port(port).run(from).await?))
    }

    /// Waits until weir awaits no answer to any call of the checks, and no contradiction of policies: time alone would change what
    /// it says of them.
    pub async fn all_told(&self) -> Result<()> {
        let own = FIRST_PORT..self.next_port.get();
        let is_open = |flow: &weir_proto::flow::Flow| {
            flow.weir.as_ref().is_some_and(|detail| detail.state() == ConnectionState::Opening)
        };
        wait::within(SETTLE_LIMIT, async || {
            let rows = self.relay.connections(FlowFilter::default()).await?;
            let mut own = rows.iter().filter(|row| own.contains(&row::source_port(row)));
            Ok((!own.any(|row| row.sightings.iter().any(|flow| is_open(flow) || may_contradict(flow))))
                .then_some(()))
        })
        .await
        .map(drop)
    }

    /// weir's rows of the connections from this address and these ports, as soon as there is one for each port and all of
    /// them are complete; what there is when the time is over, so that the differences can be told.
    pub async fn rows(
        &self,
        from: IpAddr,
        ports: &[u16],
        complete: impl Fn(&Connection) -> bool,
    ) -> Result<Vec<Connection>> {
        let filter = FlowFilter { source_ip: vec![from.to_string()], ..FlowFilter::default() };
        let mut last = Vec::new();
        wait::within(SETTLE_LIMIT, async || {
            let rows = self.relay.connections(filter.clone()).await?;
            last = rows.into_iter().filter(|row| ports.contains(&row::source_port(row))).collect();
            let each = ports.iter().all(|port| last.iter().any(|row| row::source_port(row) == *port));
            Ok((each && last.iter().all(&complete)).then_some(()))
        })
        .await?;
        Ok(last)
    }
}

/// Delivered though it is denied, and not told as a contradiction yet.
fn may_contradict(flow: &weir_proto::flow::Flow) -> bool {
    let denied = |detail: &weir_proto::weir::v1::FlowDetail| {
        detail.disagreements.is_empty()
            && detail.policies.iter().any(|it| it.ruling() == PolicyRuling::Denied)
    };
    flow.verdict() == Verdict::Forwarded && flow.weir.as_ref().is_some_and(denied)
}

/// The conversation is over in every sighting, and so many nodes have seen it.
fn is_over(row: &Connection, sightings: usize) -> bool {
    let over = |flow: &weir_proto::flow::Flow| {
        flow.weir.as_ref().is_some_and(|detail| {
            matches!(
                detail.state(),
                ConnectionState::Closed | ConnectionState::Reset | ConnectionState::Rejected
            )
        })
    };
    row.sightings.len() >= sightings && row.sightings.iter().all(over) && row.flow.as_ref().is_some_and(over)
}

/// Makes all checks, the one that kills a daemon last.
pub async fn all(scene: &Scene<'_>, stack: &mut Stack, report: &mut Report) {
    traffic(scene, report).await;
    let done = replay::check(scene, report).await;
    note(report, replay::NAME, done);
    let done = sources::check(scene, report).await;
    note(report, sources::NAME, done);
    let done = faults::check(scene, stack, report).await;
    note(report, faults::NAME, done);
}

async fn traffic(scene: &Scene<'_>, report: &mut Report) {
    for family in scene.plan.families() {
        let done = service_calls::check(scene, *family, report).await;
        note(report, service_calls::NAME, done);
        let done = service_calls::direct(scene, *family, report).await;
        note(report, "pod call", done);
        let done = service_calls::at_nodes(scene, *family, report).await;
        note(report, "call at a node", done);
        let done = denied::check(scene, *family, report).await;
        note(report, denied::NAME, done);
        let done = rejected::check(scene, *family, report).await;
        note(report, rejected::NAME, done);
    }
    let done = dns::check(scene, report).await;
    note(report, dns::NAME, done);
}

fn note(report: &mut Report, check: &'static str, done: Result<()>) {
    if let Err(error) = done {
        report.broke_off(check, &error);
    }
}
