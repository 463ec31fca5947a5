//! A flow as a line, a block or a row; losses and node states as lines.

use std::io::{self, Write};

use weir_proto::flow::{Flow, LostEvent};
use weir_proto::observer::GetFlowsResponse;
use weir_proto::relay::{NodeState, NodeStatusEvent};

use super::style::{Paint, Tone, escape};
use super::{Output, event, host};

/// One line.
pub fn compact(flow: &Flow, output: &Output, paint: &Paint, out: &mut dyn Write) -> io::Result<()> {
    let (source, destination) = host::ends(flow);
    let (left, arrow, right) = match flow.is_reply {
        Some(true) => (destination, "<-", source),
        Some(false) => (source, "->", destination),
        None => (source, "<>", destination),
    };
    let end =
        |host: &host::Host<'_>| format!("{} {}", host.with_port(output.numeric, paint), host.identity(paint));
    let (verdict, tone) = event::verdict(flow, output.policy_names);
    writeln!(
        out,
        "{}{}: {} {arrow} {} {} {} ({})",
        output.time.print(flow.time),
        node(&flow.node_name, output),
        end(&left),
        end(&right),
        event::kind(flow),
        paint.paint(tone, verdict),
        event::summary(flow),
    )
}

fn node(name: &str, output: &Output) -> String {
    if output.node_name { format!(" [{}]", escape(name)) } else { String::new() }
}

/// Names of a row's columns.
pub fn header(output: &Output) -> Vec<&'static str> {
    let mut header = vec!["TIMESTAMP"];
    if output.node_name {
        header.push("NODE");
    }
    header.extend(["SOURCE", "DESTINATION", "TYPE", "VERDICT", "SUMMARY"]);
    header
}

/// The columns of a row.
pub fn row(flow: &Flow, output: &Output) -> Vec<String> {
    let plain = Paint::new(false);
    let (source, destination) = host::ends(flow);
    let mut row = vec![output.time.print(flow.time)];
    if output.node_name {
        row.push(escape(&flow.node_name).into_owned());
    }
    row.extend([
        source.with_port(output.numeric, &plain),
        destination.with_port(output.numeric, &plain),
        event::kind(flow),
        event::verdict(flow, output.policy_names).0,
        event::summary(flow),
    ]);
    row
}

/// One block: a line a column, names aligned to the right.
pub fn dict(flow: &Flow, output: &Output, paint: &Paint, out: &mut dyn Write) -> io::Result<()> {
    let header = header(output);
    let width = header.iter().map(|name| name.len()).max().unwrap_or_default();
    for (name, value) in header.iter().zip(row(flow, output)) {
        let value = match *name {
            "VERDICT" => paint.paint(event::tone(flow.verdict()), value).into_owned(),
            "SOURCE" | "DESTINATION" => paint.paint(Tone::Host, value).into_owned(),
            _ => value,
        };
        writeln!(out, "{name:>width$}: {value}")?;
    }
    Ok(())
}

/// Flows that were lost.
pub fn lost(response: &GetFlowsResponse, lost: &LostEvent, output: &Output) -> String {
    let cpu = lost.cpu.map_or_else(String::new, |cpu| format!(" CPU({cpu})"));
    let between = match (lost.first, lost.last) {
        (Some(first), Some(last)) => {
            let print = |time| output.time.print(Some(time));
            format!(" (first: {}, last: {})", print(first), print(last))
        }
        _ => String::new(),
    };
    format!(
        "{}{} EVENTS LOST: {}{cpu} {}{between}",
        output.time.print(response.time),
        node(&response.node_name, output),
        lost.source().as_str_name(),
        lost.num_events_lost,
    )
}

/// What the relay says of its nodes; nothing where all is well.
pub fn node_status(response: &GetFlowsResponse, status: &NodeStatusEvent, output: &Output) -> Option<String> {
    let nodes = || status.node_names.iter().map(|name| escape(name)).collect::<Vec<_>>().join(", ");
    let count = status.node_names.len();
    let (plural, verb) = if count == 1 { ("", "is") } else { ("s", "are") };
    let said = match status.state_change() {
        NodeState::NodeUnavailable => format!("{count} node{plural} {verb} unavailable: {}", nodes()),
        NodeState::NodeError => {
            format!("error \"{}\" on {count} node{plural}: {}", escape(&status.message), nodes())
        }
        NodeState::NodeGone => format!("{count} node{plural} {verb} gone: {}", nodes()),
        // The first of a stream tells who is there; only a return is news, and the relay says so in its message.
        NodeState::NodeConnected if !status.message.is_empty() => {
            format!("{}: {}", escape(&status.message), nodes())
        }
        NodeState::NodeConnected | NodeState::UnknownNodeState => return None,
    };
    let from = escape(&response.node_name);
    Some(format!("{} [{from}]: {said}", output.time.print(response.time)))
}
