//! The way of a connection: in one line, and hop by hop.
//!
//! A hop where an address differs from the hop before is where it was translated, and says so. Times of two nodes are of
//! two clocks: each node's hops are counted from its own first packet.

use jiff::tz::TimeZone;
use prost_types::Timestamp;
use weir_proto::weir::v1::{Connection, Counters, Encapsulation, PathPoint, Role};

use super::{Line, clock, line};
use crate::model::row::Tone;
use crate::print::{address, bytes, escape, milliseconds, tunnel_name, tunnels};

/// The whole way in one line: devices of each node, what was translated between them, `=` for a tunnel.
pub(super) fn way(connection: &Connection) -> Vec<Line> {
    let mut way = String::from("client");
    let mut before: Option<&PathPoint> = None;
    for sighting in &connection.sightings {
        let Some(detail) = &sighting.weir else { continue };
        way.push_str(&format!(" > [{}]", escape(&sighting.node_name)));
        for point in &detail.path {
            for (kind, _) in translated(before, point) {
                way.push_str(&format!(" {kind}"));
            }
            let names: Vec<String> = tunnels(point).into_iter().map(tunnel_name).collect();
            match names.as_slice() {
                [] => way.push_str(&format!(" > {}", escape(&point.device))),
                names => way.push_str(&format!(" ={}= {}", names.join(" in "), escape(&point.device))),
            }
            before = Some(point);
        }
    }
    let end = if connection.flow.as_ref().is_some_and(crate::model::connections::failed) {
        " > ?"
    } else {
        " > server"
    };
    vec![line("path", way + end, Tone::Heading)]
}

/// What the addresses say was translated since the hop before, and from what.
fn translated<'a>(before: Option<&'a PathPoint>, point: &PathPoint) -> Vec<(&'static str, &'a str)> {
    let Some(before) = before else { return Vec::new() };
    let mut found = Vec::new();
    if before.destination != point.destination {
        found.push(("DNAT", before.destination.as_str()));
    }
    if before.source != point.source {
        found.push(("SNAT", before.source.as_str()));
    }
    found
}

/// Every device of every node, client's side first: times, counters, addresses as they are there.
pub(super) fn of(connection: &Connection, zone: &TimeZone) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut before: Option<&PathPoint> = None;
    for sighting in &connection.sightings {
        let Some(detail) = &sighting.weir else { continue };
        let head = format!(
            "{}, first packet {}",
            escape(&sighting.node_name),
            clock(detail.first_packet.as_ref(), zone)
        );
        lines.push(line("node", head, Tone::Heading));
        for point in &detail.path {
            lines.extend(hop(point, before, detail.first_packet.as_ref()));
            before = Some(point);
        }
    }
    lines
}

fn hop(point: &PathPoint, before: Option<&PathPoint>, start: Option<&Timestamp>) -> Vec<Line> {
    let nanos = weir_proto::time::unix_nanos;
    let after =
        point.first.as_ref().zip(start).map_or(0, |(first, start)| nanos(first).saturating_sub(nanos(start)));
    let counters = point.counters.unwrap_or_default();
    let role = match point.role() {
        Role::PodVeth => "pod veth",
        Role::Bridge => "bridge",
        Role::Overlay => "overlay",
        Role::Underlay => "underlay",
        Role::Loopback => "loopback",
        Role::Unspecified => "other",
    };
    let first = format!(
        "  {:<3} {} ({role}) +{}  {}{}",
        if point.inbound { "in" } else { "out" },
        escape(&point.device),
        milliseconds(after),
        passed_here(&counters),
        if point.measured { "  measured" } else { "" },
    );
    let translated = translated(before, point);
    let mut lines = vec![line("", first, Tone::Plain)];
    // Addresses that are as they were at the hop before need no line.
    if before.is_none() || !translated.is_empty() {
        let mut second = format!("      {} > {}", escape(&point.source), escape(&point.destination));
        for (kind, from) in translated {
            second.push_str(&format!("  {kind} from {}", escape(from)));
        }
        lines.push(line("", second, Tone::Host));
    }
    lines.extend(around(point).into_iter().map(|within| line("", within, Tone::Quiet)));
    lines
}

/// What the packets came in: tags, and encapsulations; where the two ways differ, each with its packets.
fn around(point: &PathPoint) -> Vec<String> {
    let ids: Vec<String> = point.vlans.iter().map(ToString::to_string).collect();
    let tags = (!ids.is_empty()).then(|| format!("      in vlan {}", ids.join(" in vlan ")));
    let within = |tunnel: &Encapsulation| {
        format!(
            "in {} from {} to {}",
            tunnel_name(tunnel),
            address((&tunnel.source, tunnel.source_port)),
            address((&tunnel.destination, tunnel.destination_port)),
        )
    };
    let usual = point.tunnel.iter().filter(|_| point.wrappings.is_empty());
    let usual = usual.map(|tunnel| format!("      {}", within(tunnel)));
    let apart = point.wrappings.iter().map(|wrapping| {
        let stack: Vec<String> = wrapping.stack.iter().rev().map(within).collect();
        let way = if wrapping.reverse { '←' } else { '→' };
        format!("      {way} {} {}", wrapping.packets, stack.join(" "))
    });
    let more = (point.more_wrapped > 0).then(|| format!("      {} in other tunnels", point.more_wrapped));
    tags.into_iter().chain(usual).chain(apart).chain(more).collect()
}

/// Packets and bytes, from the client and back.
fn passed_here(counters: &Counters) -> String {
    format!(
        "→ {} {}  ← {} {}",
        counters.packets_forward,
        bytes(Some(counters), |count| count.ip_bytes_forward),
        counters.packets_reverse,
        bytes(Some(counters), |count| count.ip_bytes_reverse),
    )
}
