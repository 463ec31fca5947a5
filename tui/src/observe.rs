//! `weir observe`: what was typed -> a request and a way to print its answer.
//!
//! The filter flags are one table (`flags`); everything that is typed is checked here, before a server is asked.

pub mod file;
pub mod filters;
pub mod flags;
pub mod names;
pub mod when;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use jiff::Timestamp;
use prost_types::FieldMask;
use weir_proto::filter::Lists;
use weir_proto::flow::FlowFilter;
use weir_proto::json;
use weir_proto::observer::GetFlowsRequest;
use weir_proto::query::{Query, QueryError};

use crate::print::Output;

/// Flows that are asked for when nothing says how many.
const DEFAULT_NUMBER: u64 = 20;

/// What is wrong with what was typed.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// A flag's value.
    #[error("invalid argument \"{value}\" for --{flag}: {reason}")]
    Flag {
        /// Flag, without dashes.
        flag: String,
        /// What was typed behind it.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A query.
    #[error("--query, {error}\n  {}\n  {:skip$}{:^<width$}", .text, "", "", skip = .error.position, width = .error.length.max(1))]
    Query {
        /// As it was typed.
        text: String,
        /// What is wrong, and where.
        error: QueryError,
    },
    /// Two flags that exclude each other.
    #[error("cannot set both --{0} and --{1}")]
    Conflict(&'static str, &'static str),
}

/// The filters of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filters {
    /// What to show; empty: everything.
    pub whitelist: Vec<FlowFilter>,
    /// What not to show.
    pub blacklist: Vec<FlowFilter>,
}

/// What `weir observe` was asked to do.
#[derive(Clone, Debug)]
pub struct Ask {
    /// For the server.
    pub request: GetFlowsRequest,
    /// Joined connections instead of flows.
    pub connections: bool,
    /// How to print.
    pub output: Output,
    /// Flows from a file, or `-`, instead of a server.
    pub input: Option<std::path::PathBuf>,
    /// Leave out what the stream says of itself: nodes away, flows lost.
    pub silent: bool,
}

/// The sub-command.
#[must_use]
pub fn command() -> Command {
    Command::new("observe")
        .about("Shows flows, or with --connections one row for each connection")
        .args(selection_args())
        .args(output_args())
        .args(filters::args())
        .arg(
            text(
                "query",
                "TEXT",
                "What to show in weir's filter language, beside the flags: 'ns=shop rtt>50ms'",
            )
            .short('q')
            .help_heading("Filters"),
        )
        .after_help("The filter language of --query: weir help query")
        .after_long_help(weir_proto::query::help())
        .arg(
            text("allowlist", "JSON", "A filter as JSON of flow.FlowFilter, beside the flags")
                .help_heading("Filters"),
        )
        .arg(text("denylist", "JSON", "The same for what not to show").help_heading("Filters"))
}

fn text(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help).action(ArgAction::Append)
}

fn toggle(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

fn selection_args() -> Vec<Arg> {
    let number = |name, help| {
        Arg::new(name).long(name).value_name("N").help(help).value_parser(clap::value_parser!(u64))
    };
    let time = |name, help| Arg::new(name).long(name).value_name("TIME").help(help);
    vec![
        toggle("follow", "Goes on as flows come").short('f'),
        number(
            "last",
            "The newest N that pass the filters, of each node on a relay (20 where nothing else is asked)",
        ),
        number("first", "The oldest N, of each node on a relay"),
        toggle("all", "All there are"),
        time("since", "Not older: a duration back (5m) or a time"),
        time("until", "Not newer: a duration back (5m) or a time"),
        toggle("connections", "One row for each connection, as all nodes saw it; needs a relay"),
        Arg::new("input-file").long("input-file").value_name("FILE").help(
            "Flows from a file of JSON lines, `-` for standard input, instead of a server; filters apply",
        ),
        toggle("silent-errors", "Says nothing of unavailable nodes and lost flows").short('s'),
    ]
}

fn output_args() -> Vec<Arg> {
    let choice = |name, values: &'static [&'static str], default, help| {
        Arg::new(name)
            .long(name)
            .value_parser(PossibleValuesParser::new(values))
            .default_value(default)
            .help(help)
    };
    vec![
        choice("output", &["compact", "json", "jsonpb", "dict", "table", "tab"], "compact", "How to print")
            .short('o')
            .help_heading("Output"),
        choice(
            "color",
            &["auto", "always", "never"],
            "auto",
            "Colours; auto: on a terminal, unless NO_COLOR is set",
        )
        .help_heading("Output"),
        toggle("print-node-name", "Adds the node that saw it").help_heading("Output"),
        toggle("print-policy-names", "Adds the policies that decided").help_heading("Output"),
        toggle("numeric", "Addresses instead of names").help_heading("Output"),
        Arg::new("time-format")
            .long("time-format")
            .value_parser(PossibleValuesParser::new(crate::print::TimeFormat::NAMES))
            .default_value("StampMilli")
            .help("How times are printed")
            .help_heading("Output"),
        text("field-mask", "FIELDS", "Only these fields of a flow, comma-separated; with -o json")
            .value_delimiter(',')
            .help_heading("Output"),
    ]
}

/// Reads what was typed. `now` is the present, for durations.
///
/// # Errors
/// What is wrong with it.
pub fn read(matches: &ArgMatches, now: Timestamp) -> Result<Ask, UsageError> {
    let output = Output::read(matches);
    let mut filters = filters::read(matches)?;
    filters.whitelist.extend(raw(matches, "allowlist")?);
    filters.blacklist.extend(raw(matches, "denylist")?);
    let mut request = selection(matches, now)?;
    let lists = queried(matches, Lists { whitelist: filters.whitelist, blacklist: filters.blacklist })?;
    (request.whitelist, request.blacklist) = (lists.whitelist, lists.blacklist);
    request.field_mask = mask(matches, &output)?;
    if output.needs_all() && request.follow {
        return Err(UsageError::Conflict("output table", "follow"));
    }
    let connections = matches.get_flag("connections");
    if connections {
        for_connections(matches, &mut request)?;
    }
    Ok(Ask {
        request,
        connections,
        output,
        input: matches.get_one::<String>("input-file").map(Into::into),
        silent: matches.get_flag("silent-errors"),
    })
}

/// What a question about connections cannot have is refused, not ignored. Followed, it begins with the newest few.
fn for_connections(matches: &ArgMatches, request: &mut GetFlowsRequest) -> Result<(), UsageError> {
    let conflicts = [
        (request.first, "first"),
        (matches.contains_id("field-mask"), "field-mask"),
        (matches.contains_id("input-file"), "input-file"),
    ];
    if let Some((_, other)) = conflicts.into_iter().find(|(conflict, _)| *conflict) {
        return Err(UsageError::Conflict("connections", other));
    }
    let says_how_many = request.since.is_some() || matches.get_flag("all") || matches.contains_id("last");
    if request.follow && !says_how_many {
        request.number = DEFAULT_NUMBER;
    }
    Ok(())
}

/// Narrowed by every query that was typed.
fn queried(matches: &ArgMatches, lists: Lists) -> Result<Lists, UsageError> {
    let texts = matches.get_many::<String>("query").into_iter().flatten();
    texts.into_iter().try_fold(lists, |lists, text| match Query::parse(text) {
        Ok(query) => Ok(query.narrow(lists)),
        Err(error) => Err(UsageError::Query { text: text.clone(), error }),
    })
}

fn raw(matches: &ArgMatches, name: &'static str) -> Result<Vec<FlowFilter>, UsageError> {
    let texts = matches.get_many::<String>(name).into_iter().flatten();
    texts
        .map(|text| {
            let wrong = |reason: json::JsonError| UsageError::Flag {
                flag: name.to_owned(),
                value: text.clone(),
                reason: reason.to_string(),
            };
            json::parse(text, json::UnknownFields::Refuse).map_err(wrong)
        })
        .collect()
}

fn selection(matches: &ArgMatches, now: Timestamp) -> Result<GetFlowsRequest, UsageError> {
    let number = |name| matches.get_one::<u64>(name).copied();
    let (first, last) = (number("first"), number("last"));
    let (all, follow) = (matches.get_flag("all"), matches.get_flag("follow"));
    let conflicts = [
        (first.is_some() && last.is_some(), "first", "last"),
        (first.is_some() && all, "first", "all"),
        (last.is_some() && all, "last", "all"),
        (first.is_some() && follow, "first", "follow"),
    ];
    if let Some((_, one, other)) = conflicts.into_iter().find(|(conflict, ..)| *conflict) {
        return Err(UsageError::Conflict(one, other));
    }
    let time = |name: &'static str| {
        let wrong =
            |value: &String, reason| UsageError::Flag { flag: name.to_owned(), value: value.clone(), reason };
        let typed = matches.get_one::<String>(name);
        typed.map(|value| when::moment(value, now).map_err(|reason| wrong(value, reason))).transpose()
    };
    let (since, until) = (time("since")?, time("until")?);
    let timed = since.is_some() || until.is_some();
    let number = match first.or(last) {
        Some(number) => number,
        None if timed || (follow && !all) => 0,
        None if all => u64::MAX,
        None => DEFAULT_NUMBER,
    };
    let until = until.filter(|_| !follow);
    Ok(GetFlowsRequest { number, follow, first: first.is_some(), since, until, ..Default::default() })
}

fn mask(matches: &ArgMatches, output: &Output) -> Result<Option<FieldMask>, UsageError> {
    let Some(paths) = matches.get_many::<String>("field-mask") else {
        let paths = output.fields();
        return Ok(
            (!paths.is_empty()).then(|| FieldMask { paths: paths.iter().map(ToString::to_string).collect() })
        );
    };
    if output.is_json() {
        Ok(Some(FieldMask { paths: paths.cloned().collect() }))
    } else {
        let value = paths.cloned().collect::<Vec<_>>().join(",");
        let reason = "only -o json prints chosen fields".to_owned();
        Err(UsageError::Flag { flag: "field-mask".to_owned(), value, reason })
    }
}

#[cfg(test)]
mod tests;
