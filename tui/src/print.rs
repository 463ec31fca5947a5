//! Flows and connections -> lines. What Hubble's own command line prints for a flow is printed alike, byte for byte; one row
//! for a joined connection is weir's own.
//!
//! Nothing that came over the wire reaches a terminal with its control characters. Printing knows no servers.

mod columns;
mod connections;
mod event;
mod flows;
mod host;
mod kernel_drop;
mod policy;
mod status;
mod style;
mod time;

use std::io::{self, Write};

use clap::ArgMatches;
use weir_proto::observer::GetFlowsResponse;
use weir_proto::observer::get_flows_response::ResponseTypes;

pub use connections::ConnectionPrinter;
pub use connections::row::{
    address, bytes, cells as connection_cells, dns as dns_message, milliseconds, state, tunnel_name, tunnels,
};
pub use connections::tcp::sentences as tcp_sentences;
pub use flows::row as flow_cells;
pub use kernel_drop::kernel_drop;
pub use policy::explain::{all_pass, explanation_json, explanation_lines, print_explanation};
pub use policy::{PolicyLine, denying_rules, policy_lines};
pub use status::{detail_name, print_status, source_name, status_json};
pub use style::{Paint, Tone, escape};
pub use time::TimeFormat;

/// How to print.
#[derive(Clone, Debug)]
pub struct Output {
    /// Which form.
    pub format: Format,
    /// Colours: `None` where the terminal decides.
    pub colour: Option<bool>,
    /// Add the node that saw it.
    pub node_name: bool,
    /// Add the policies that decided.
    pub policy_names: bool,
    /// Addresses instead of names.
    pub numeric: bool,
    /// How times are printed.
    pub time: TimeFormat,
}

/// Forms of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A line a flow.
    Compact,
    /// A line of JSON a response.
    Json,
    /// A block a flow.
    Dict,
    /// Aligned columns, once all is known.
    Table,
}

/// Fields of a flow that its lines are made of.
const PRINTED: &[&str] = &[
    "time",
    "verdict",
    "ethernet",
    "IP",
    "l4",
    "source.identity",
    "source.namespace",
    "source.pod_name",
    "destination.identity",
    "destination.namespace",
    "destination.pod_name",
    "Type",
    "node_name",
    "l7",
    "event_type",
    "source_names",
    "destination_names",
    "source_service",
    "destination_service",
    "is_reply",
    "traffic_direction",
    "policy_match_type",
    "drop_reason_desc",
    "sock_xlate_point",
    "debug_capture_point",
    "auth_type",
    "Summary",
    "ip_trace_id",
];
/// Fields that only policy names need.
const POLICIES: &[&str] =
    &["egress_allowed_by", "ingress_allowed_by", "egress_denied_by", "ingress_denied_by"];

impl Output {
    /// From what was typed; its values were checked by the parser.
    #[must_use]
    pub fn read(matches: &ArgMatches) -> Self {
        let text = |name: &str| matches.get_one::<String>(name).map_or("", String::as_str);
        let format = match text("output") {
            "json" | "jsonpb" => Format::Json,
            "dict" => Format::Dict,
            "table" | "tab" => Format::Table,
            _ => Format::Compact,
        };
        let colour = match text("color") {
            "always" => Some(true),
            "never" => Some(false),
            _ => None,
        };
        Self {
            format,
            colour,
            node_name: matches.get_flag("print-node-name"),
            policy_names: matches.get_flag("print-policy-names"),
            numeric: matches.get_flag("numeric"),
            time: TimeFormat::named(text("time-format")),
        }
    }

    /// True if nothing can be printed before everything is there.
    #[must_use]
    pub fn needs_all(&self) -> bool {
        self.format == Format::Table
    }

    /// True for JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// The fields of a flow that will be printed; empty: all.
    #[must_use]
    pub fn fields(&self) -> Vec<&'static str> {
        if self.is_json() {
            return Vec::new();
        }
        let policies = if self.policy_names { POLICIES } else { &[] };
        PRINTED.iter().chain(policies).copied().collect()
    }
}

/// Prints the answers of one request.
#[derive(Debug)]
pub struct FlowPrinter {
    output: Output,
    paint: Paint,
    rows: columns::Rows,
    printed: u64,
}

impl FlowPrinter {
    /// A printer; `terminal` tells whether colours make sense where it prints to.
    #[must_use]
    pub fn new(output: Output, terminal: bool) -> Self {
        let paint = Paint::new(output.colour.unwrap_or(terminal));
        Self { output, paint, rows: columns::Rows::default(), printed: 0 }
    }

    /// Prints one answer: flows and losses to `out`, what the stream says of nodes to `notes`.
    ///
    /// # Errors
    /// When writing fails.
    pub fn print(
        &mut self,
        response: &GetFlowsResponse,
        out: &mut dyn Write,
        notes: &mut dyn Write,
    ) -> io::Result<()> {
        if self.output.is_json() {
            return writeln!(out, "{}", weir_proto::json::to_json(response));
        }
        match &response.response_types {
            Some(ResponseTypes::Flow(flow)) => self.flow(flow, out),
            Some(ResponseTypes::LostEvents(lost)) => {
                let line = flows::lost(response, lost, &self.output);
                writeln!(out, "{line}")
            }
            Some(ResponseTypes::NodeStatus(status)) => {
                match flows::node_status(response, status, &self.output) {
                    Some(line) => writeln!(notes, "{line}"),
                    None => Ok(()),
                }
            }
            None => Ok(()),
        }
    }

    fn flow(&mut self, flow: &weir_proto::flow::Flow, out: &mut dyn Write) -> io::Result<()> {
        self.printed += 1;
        match self.output.format {
            Format::Dict => {
                if self.printed > 1 {
                    writeln!(out, "------------")?;
                }
                flows::dict(flow, &self.output, &self.paint, out)
            }
            Format::Table => {
                self.rows.push(flows::row(flow, &self.output));
                Ok(())
            }
            Format::Compact | Format::Json => flows::compact(flow, &self.output, &self.paint, out),
        }
    }

    /// Prints what had to wait for the end.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.output.needs_all() && self.printed > 0 {
            self.rows.print(&flows::header(&self.output), out)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
