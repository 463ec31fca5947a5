//! How a server is: Hubble's lines, and what weir adds: losses, peers, notices.

use std::io::{self, Write};

use weir_proto::observer::ServerStatusResponse;
use weir_proto::weir::v1::{
    ConntrackStatus, Cost, Detail, PeerStatus, PolicyStatus, ServerStatus, Source, SourceKind, Untold,
};

use super::style::escape;

/// As JSON, one line.
#[must_use]
pub fn status_json(status: &ServerStatusResponse) -> String {
    weir_proto::json::print(status)
}

/// In lines.
///
/// # Errors
/// When writing fails.
pub fn print_status(
    server: &str,
    healthy: bool,
    status: &ServerStatusResponse,
    out: &mut dyn Write,
) -> io::Result<()> {
    let health = if healthy { "Ok" } else { "Not serving" };
    writeln!(out, "Healthcheck (via {}): {health}", escape(server))?;
    let (now, max) = (status.num_flows, status.max_flows);
    let hundredths = if max > 0 { u128::from(now) * 10_000 / u128::from(max) } else { 0 };
    let share = format!("{}.{:02}", hundredths / 100, hundredths % 100);
    writeln!(out, "Current/Max Flows: {}/{} ({share}%)", grouped(now), grouped(max))?;
    writeln!(out, "Flows/s: {:.2}", rate(status))?;
    if let Some(connected) = status.num_connected_nodes {
        let away = status.num_unavailable_nodes.unwrap_or_default();
        writeln!(out, "Connected Nodes: {connected}/{}", connected + away)?;
        if away > 0 {
            writeln!(out, "Unavailable Nodes: {away}")?;
            for name in &status.unavailable_nodes {
                writeln!(out, "  - {}", escape(name))?;
            }
        }
    }
    match &status.weir {
        Some(weir) => added(weir, out),
        None => Ok(()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(status: &ServerStatusResponse) -> f64 {
    if status.flows_rate > 0.0 || status.uptime_ns == 0 {
        return status.flows_rate;
    }
    status.seen_flows as f64 / (status.uptime_ns as f64 / 1e9)
}

fn added(weir: &ServerStatus, out: &mut dyn Write) -> io::Result<()> {
    if weir.frames > 0 {
        frames(weir, out)?;
    }
    if let Some(untold) = weir.untold.filter(|untold| *untold != Untold::default()) {
        writeln!(
            out,
            "Untold: {} messages without room, {} pieces of datagrams without their first, {} packets counted for a connection that was gone",
            grouped(untold.messages),
            grouped(untold.pieces),
            grouped(untold.superseded),
        )?;
    }
    if let Some(source) = &weir.source {
        writeln!(out, "Source: {}", source_line(source))?;
    }
    if let Some(cost) = &weir.cost {
        writeln!(out, "Cost: {}", cost_line(cost))?;
    }
    if let Some(table) = &weir.conntrack {
        writeln!(out, "Conntrack: {}", conntrack_line(table))?;
    }
    counted(weir, out)?;
    for peer in &weir.peers {
        writeln!(out, "Node {}", peer_line(peer))?;
    }
    for notice in &weir.notices {
        writeln!(out, "Note: {}", escape(notice))?;
    }
    Ok(())
}

fn counted(weir: &ServerStatus, out: &mut dyn Write) -> io::Result<()> {
    for link in &weir.links {
        writeln!(
            out,
            "Link {}: {} of ARP, {} of neighbour discovery, {} of multicast membership, {} of other protocols than IP",
            escape(&link.device),
            grouped(link.arp),
            grouped(link.neighbours),
            grouped(link.memberships),
            grouped(link.not_ip),
        )?;
    }
    for drop in &weir.kernel_drops {
        writeln!(
            out,
            "Kernel drops {}: {} packets, {} told one by one",
            escape(&drop.reason),
            grouped(drop.packets),
            grouped(drop.told),
        )?;
    }
    if let Some(policy) = &weir.policy {
        writeln!(out, "Policies: {}", policy_line(policy))?;
    }
    Ok(())
}

fn frames(weir: &ServerStatus, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "Frames: {} read, {} dropped by the kernel, {} dropped for a full queue, {} not decodable",
        grouped(weir.frames),
        grouped(weir.frames_dropped_kernel),
        grouped(weir.frames_dropped_queue),
        grouped(weir.undecodable),
    )?;
    writeln!(
        out,
        "Connections: {} in the table, {} evicted; conntrack overruns: {}",
        grouped(weir.connections),
        grouped(weir.connections_evicted),
        grouped(weir.conntrack_overruns),
    )
}

/// In a word.
#[must_use]
pub const fn source_name(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Unspecified => "-",
        SourceKind::Pcap => "pcap",
        SourceKind::Ebpf => "ebpf",
    }
}

/// What a level leaves out, beside what the one before it does, in a word or two.
#[must_use]
pub const fn detail_name(detail: Detail) -> &'static str {
    match detail {
        Detail::Full => "nothing",
        Detail::NoPayload => "messages",
        Detail::NoTiming => "tcp measures",
        Detail::Sampled => "15 of 16",
        Detail::CountersOnly => "connections",
    }
}

fn source_line(source: &Source) -> String {
    let mut line = format!("{} on {} devices", source_name(source.kind()), source.devices);
    if source.table_room > 0 {
        line += &format!(
            ", {} packets counted in the kernel, table {} of {} ({} found it full), ring at most {} KiB of {} KiB",
            grouped(source.tallied),
            grouped(source.table_used),
            grouped(source.table_room),
            grouped(source.table_full),
            grouped(source.ring_used / 1024),
            grouped(source.ring_room / 1024),
        );
    }
    if !source.why.is_empty() {
        line += &format!(" ({})", escape(&source.why));
    }
    line
}

fn cost_line(cost: &Cost) -> String {
    let percent = |thousandths: u32| format!("{}.{}%", thousandths / 10, thousandths % 10);
    let cpu_budget = match cost.cpu_budget_thousandths {
        0 => String::new(),
        most => format!(" (budget {})", percent(most)),
    };
    let memory_budget = match cost.resident_budget_bytes {
        0 => String::new(),
        most => format!(" (budget {} MiB)", grouped(most >> 20)),
    };
    let mut line = format!(
        "{} of a core{cpu_budget}, {} MiB resident{memory_budget}; left out: {}",
        percent(cost.cpu_thousandths),
        grouped(cost.resident_bytes >> 20),
        detail_name(cost.detail()),
    );
    if cost.packets_left_out > 0 {
        line += &format!(", {} packets were only counted", grouped(cost.packets_left_out));
    }
    line
}

fn conntrack_line(table: &ConntrackStatus) -> String {
    format!(
        "{} of {} entries; {} packets dropped, {} entries removed early, {} not inserted, {} packets invalid",
        grouped(table.entries),
        grouped(table.max),
        grouped(table.drop),
        grouped(table.early_drop),
        grouped(table.insert_failed),
        grouped(table.invalid),
    )
}

fn policy_line(policy: &PolicyStatus) -> String {
    let forgotten = match policy.not_remembered {
        0 => String::new(),
        count => format!("; {} without room to be remembered", grouped(count)),
    };
    format!(
        "{} known; directions of connections: {} allowed, {} denied ({} of them seen stopped, {} delivered all the same), {} \
         undecidable; {} disagreements of policies and packets{forgotten}",
        grouped(policy.policies),
        grouped(policy.allowed),
        grouped(policy.denied),
        grouped(policy.denied_dropped),
        grouped(policy.denied_delivered),
        grouped(policy.undecidable),
        grouped(policy.disagreements),
    )
}

fn peer_line(peer: &PeerStatus) -> String {
    let state = if peer.connected { "connected" } else { "unavailable" };
    let why = if peer.message.is_empty() { String::new() } else { format!(" ({})", escape(&peer.message)) };
    let skew_ms = peer.clock_skew_ns / 1_000_000;
    format!(
        "{} at {}: {state}{why}, {} flows, {} lost, {} late, clock {skew_ms:+} ms, {} reconnects",
        escape(&peer.name),
        escape(&peer.address),
        grouped(peer.received),
        grouped(peer.lost),
        grouped(peer.late),
        grouped(peer.reconnects),
    )
}

/// A number with commas between its thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_with_frames_about_its_links() {
        let link = weir_proto::weir::v1::LinkStatus {
            device: "cni0".to_owned(),
            arp: 1234,
            neighbours: 5,
            memberships: 6,
            not_ip: 7,
        };
        let weir = ServerStatus { links: vec![link], ..ServerStatus::default() };
        let mut out = Vec::new();
        added(&weir, &mut out).unwrap();
        let expected = "Link cni0: 1,234 of ARP, 5 of neighbour discovery, 6 of multicast membership, \
            7 of other protocols than IP\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_node_whose_kernel_dropped_more_than_it_told_of() {
        let drop = weir_proto::weir::v1::KernelDropStatus {
            reason: "NETFILTER_DROP".to_owned(),
            packets: 50_321,
            told: 1000,
        };
        let weir = ServerStatus { kernel_drops: vec![drop], ..ServerStatus::default() };
        let mut out = Vec::new();
        added(&weir, &mut out).unwrap();
        let expected = "Kernel drops NETFILTER_DROP: 50,321 packets, 1,000 told one by one\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_node_whose_connection_tracking_had_no_room() {
        let table = ConntrackStatus {
            entries: 65_536,
            max: 65_536,
            insert_failed: 3,
            drop: 1200,
            early_drop: 40,
            invalid: 7,
        };
        let weir = ServerStatus { conntrack: Some(table), ..ServerStatus::default() };
        let mut out = Vec::new();
        added(&weir, &mut out).unwrap();
        let expected = "Conntrack: 65,536 of 65,536 entries; 1,200 packets dropped, 40 entries removed early, 3 not \
            inserted, 7 packets invalid\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_daemon_that_counts_in_the_kernel_and_is_over_its_budget() {
        let source = Source {
            kind: SourceKind::Ebpf.into(),
            devices: 3,
            table_used: 1200,
            table_room: 131_072,
            ring_used: 4096,
            ring_room: 1 << 24,
            tallied: 5_000_000,
            ..Source::default()
        };
        let cost = Cost {
            cpu_thousandths: 1234,
            cpu_budget_thousandths: 1000,
            resident_bytes: 80 << 20,
            detail: Detail::Sampled.into(),
            packets_left_out: 70_000,
            ..Cost::default()
        };
        let untold = Untold { messages: 1, pieces: 2, superseded: 3 };
        let weir = ServerStatus {
            source: Some(source),
            cost: Some(cost),
            untold: Some(untold),
            ..Default::default()
        };
        let mut out = Vec::new();
        added(&weir, &mut out).unwrap();
        let expected = "Untold: 1 messages without room, 2 pieces of datagrams without their first, 3 packets counted for a \
            connection that was gone\n\
            Source: ebpf on 3 devices, 5,000,000 packets counted in the kernel, table 1,200 of 131,072 (0 found it full), ring \
            at most 4 KiB of 16,384 KiB\n\
            Cost: 123.4% of a core (budget 100.0%), 80 MiB resident; left out: 15 of 16, 70,000 packets were only counted\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn what_the_policies_said_and_what_the_packets_did() {
        let policy = PolicyStatus {
            policies: 12,
            allowed: 1234,
            denied: 56,
            undecidable: 2,
            denied_dropped: 40,
            denied_delivered: 3,
            disagreements: 4,
            not_remembered: 0,
        };
        let weir = ServerStatus { policy: Some(policy), ..ServerStatus::default() };
        let mut out = Vec::new();
        added(&weir, &mut out).unwrap();
        let expected = "Policies: 12 known; directions of connections: 1,234 allowed, 56 denied (40 of them seen stopped, \
            3 delivered all the same), 2 undecidable; 4 disagreements of policies and packets\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_relay_without_one_of_its_nodes() {
        let status = ServerStatusResponse {
            num_flows: 8190,
            max_flows: 8190,
            flows_rate: 40.512,
            num_connected_nodes: Some(2),
            num_unavailable_nodes: Some(1),
            unavailable_nodes: vec!["kind-worker2".to_owned()],
            ..Default::default()
        };
        let mut out = Vec::new();
        print_status("localhost:4245", true, &status, &mut out).unwrap();
        let expected = "Healthcheck (via localhost:4245): Ok\nCurrent/Max Flows: 8,190/8,190 (100.00%)\n\
            Flows/s: 40.51\nConnected Nodes: 2/3\nUnavailable Nodes: 1\n  - kind-worker2\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
