//! The composition root: commands and what runs for each.
//!
//! A reader of our output that goes away (`| head`) is no error. Ctrl-C ends a stream as its end would.

use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Arg, ArgMatches, Command};
use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tonic::transport::Channel;
use weir_proto::filter::Lists;
use weir_proto::observer::ServerStatusRequest;
use weir_proto::observer::observer_client::ObserverClient;
use weir_proto::settings;
use weir_proto::weir::v1::ConnectionsRequest;
use weir_proto::weir::v1::weir_client::WeirClient;

use crate::client::{self, ClientError, MAX_MESSAGE_BYTES};
use crate::observe::{self, Ask};
use crate::print::{
    ConnectionPrinter, FlowPrinter, Paint, explanation_json, print_explanation, print_status, status_json,
};
use crate::{policy, screen, shell, view};

/// The name that Hubble's clients ask the health of.
const HEALTH_SERVICE: &str = "hubble.server.Observer";

/// The whole command line.
#[must_use]
pub fn command() -> Command {
    Command::new("weir")
        .about("Sees what a Kubernetes network does: who called whom, by which Service, over which way, and how it ended")
        .version(env!("CARGO_PKG_VERSION"))
        .after_help("Without a command, on a terminal: the screen.")
        .arg(
            Arg::new("server")
                .long("server")
                .global(true)
                .default_value("localhost:4245")
                .value_name("ADDRESS")
                .help("Relay or daemon: host:port or unix:///path"),
        )
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .global(true)
                .default_value("5")
                .value_parser(clap::value_parser!(u64).range(1..=600))
                .value_name("SECONDS")
                .help("How long connecting may take"),
        )
        .arg(
            Arg::new("theme")
                .long("theme")
                .env("WEIR_THEME")
                .value_parser(view::theme::NAMES.to_vec())
                .value_name("NAME")
                .help("Colours of the screen"),
        )
        .subcommand(observe::command())
        .subcommand(policy::command())
        .subcommand(
            Command::new("query")
                .about("Explains the filter language of --query: its grammar and its fields")
                .override_help(weir_proto::query::help()),
        )
        .subcommand(
            Command::new("status").about("Shows how the server and its nodes are").arg(
                Arg::new("output")
                    .long("output")
                    .short('o')
                    .value_parser(["compact", "json"])
                    .default_value("compact")
                    .help("How to print"),
            ),
        )
        .subcommands(shell::commands(&["observe", "policy", "policy-explain", "query", "status"]))
}

/// The same with its variables and its file, as it is shown.
fn whole() -> Command {
    settings::configured(command(), settings::WEIR)
}

/// Parses, runs, and says how it went.
pub async fn main() -> ExitCode {
    let matches = match settings::parse(command(), settings::WEIR, std::env::args_os()) {
        Ok(matches) => matches,
        Err(error) => return ExitCode::from(error.report("weir")),
    };
    let ended = match matches.subcommand() {
        Some(("policy", given)) => explain(given).await,
        _ => run(&matches).await.map(|()| ExitCode::SUCCESS),
    };
    match ended {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(anstream::stderr(), "weir: {error:#}");
            failure(&matches)
        }
    }
}

/// A script must not take an error for a denial.
fn failure(matches: &ArgMatches) -> ExitCode {
    match matches.subcommand_name() {
        Some("policy") => ExitCode::from(policy::UNKNOWN),
        _ => ExitCode::FAILURE,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

async fn run(matches: &ArgMatches) -> Result<()> {
    match matches.subcommand() {
        Some(("observe", given)) => {
            let ask = observe::read(given, Timestamp::now())?;
            match &ask.input {
                Some(path) => from_file(&ask, path),
                None if ask.connections => connections(given, &ask).await,
                None => flows(given, &ask).await,
            }
        }
        Some(("query", _)) => Ok(writeln!(io::stdout(), "{}", weir_proto::query::help().trim_end())?),
        Some(("status", given)) => status(given).await,
        Some(("completions", given)) => Ok(shell::completions(whole(), given, &mut io::stdout())?),
        Some(("man", given)) => Ok(shell::man(whole(), given, &mut io::stdout())?),
        _ if io::stdin().is_terminal() && io::stdout().is_terminal() => screen(matches).await,
        _ => Ok(whole().print_help()?),
    }
}

fn server(matches: &ArgMatches) -> &str {
    matches.get_one::<String>("server").map_or("", String::as_str)
}

async fn channel(matches: &ArgMatches) -> Result<Channel, ClientError> {
    let seconds = matches.get_one::<u64>("timeout").copied().unwrap_or(5);
    client::connect(server(matches), Duration::from_secs(seconds)).await
}

/// True if colours make sense on standard output.
fn colourful() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !refused
}

/// The screen, until it is left.
async fn screen(matches: &ArgMatches) -> Result<()> {
    let timeout = Duration::from_secs(matches.get_one::<u64>("timeout").copied().unwrap_or(5));
    let theme = matches.get_one::<String>("theme").cloned().unwrap_or_default();
    let ask = screen::Ask { server: server(matches).to_owned(), timeout, theme, colours: colourful() };
    screen::run(ask).await
}

/// Where notes about the stream go.
fn notes(ask: &Ask) -> Box<dyn Write> {
    if ask.silent { Box::new(io::sink()) } else { Box::new(io::stderr()) }
}

async fn flows(matches: &ArgMatches, ask: &Ask) -> Result<()> {
    let address = server(matches);
    let refused = |status: tonic::Status| ClientError::refused(address, &status);
    let mut observer =
        ObserverClient::new(channel(matches).await?).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let lists = Lists { whitelist: ask.request.whitelist.clone(), blacklist: ask.request.blacklist.clone() };
    if lists.needs_weir() {
        let status = observer.server_status(ServerStatusRequest {}).await.map_err(refused)?;
        if status.get_ref().weir.is_none() {
            return Err(ClientError::no_queries(address).into());
        }
    }
    let mut stream = observer.get_flows(ask.request.clone()).await.map_err(refused)?.into_inner();
    let mut printer = FlowPrinter::new(ask.output.clone(), colourful());
    let (mut out, mut notes) = (io::stdout().lock(), notes(ask));
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for Ctrl-C")?;
    while let Some(response) = unless(&mut interrupt, stream.message()).await {
        let Some(response) = response.map_err(refused)? else {
            break;
        };
        printer.print(&response, &mut out, &mut notes)?;
        out.flush()?;
    }
    printer.finish(&mut out)?;
    Ok(out.flush()?)
}

async fn connections(matches: &ArgMatches, ask: &Ask) -> Result<()> {
    let address = server(matches);
    let refused = |status: tonic::Status| match status.code() {
        tonic::Code::Unimplemented => ClientError::Refused {
            address: address.to_owned(),
            message: "it answers no question about connections: that takes a weir-relay".to_owned(),
        },
        _ => ClientError::refused(address, &status),
    };
    let request = &ask.request;
    let request = ConnectionsRequest {
        follow: request.follow,
        since: request.since,
        until: request.until,
        whitelist: request.whitelist.clone(),
        blacklist: request.blacklist.clone(),
        number: if request.number == u64::MAX { 0 } else { request.number },
    };
    let follow = request.follow;
    let mut weir = WeirClient::new(channel(matches).await?).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let mut stream = weir.connections(request).await.map_err(refused)?.into_inner();
    let mut printer = ConnectionPrinter::new(ask.output.clone(), colourful(), follow);
    let (mut out, mut notes) = (io::stdout().lock(), notes(ask));
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for Ctrl-C")?;
    while let Some(response) = unless(&mut interrupt, stream.message()).await {
        let Some(response) = response.map_err(refused)? else {
            break;
        };
        printer.print(&response, &mut out, &mut notes)?;
        out.flush()?;
    }
    printer.finish(&mut out)?;
    Ok(out.flush()?)
}

/// What the future gives, or nothing once Ctrl-C was pressed. One listener for the whole stream: a press while a line is
/// printed counts too.
async fn unless<T>(interrupt: &mut Signal, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        _ = interrupt.recv() => None,
        value = future => Some(value),
    }
}

/// Flows of a file, with the request's filters and bounds applied here.
fn from_file(ask: &Ask, path: &Path) -> Result<()> {
    let input: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let file = std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Box::new(BufReader::new(file))
    };
    let flows = observe::file::select(input, &path.display().to_string(), &ask.request)?;
    let mut printer = FlowPrinter::new(ask.output.clone(), colourful());
    let (mut out, mut notes) = (io::BufWriter::new(io::stdout().lock()), notes(ask));
    for response in flows {
        printer.print(&response, &mut out, &mut notes)?;
    }
    printer.finish(&mut out)?;
    Ok(out.flush()?)
}

/// `weir policy explain`: the exit code is the answer.
async fn explain(matches: &ArgMatches) -> Result<ExitCode> {
    let Some(("explain", given)) = matches.subcommand() else { return Ok(ExitCode::from(policy::UNKNOWN)) };
    let answer = client::explain(channel(given).await?, server(given), policy::request(given)).await?;
    let mut out = io::stdout().lock();
    let printed = if given.get_one::<String>("output").is_some_and(|output| output == "json") {
        writeln!(out, "{}", explanation_json(&answer))
    } else {
        print_explanation(&answer, &Paint::new(colourful()), &mut out)
    };
    match printed {
        // Who reads no further has the answer in the exit code.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::from(policy::exit_code(&answer))),
    }
}

async fn status(matches: &ArgMatches) -> Result<()> {
    let address = server(matches);
    let channel = channel(matches).await?;
    let healthy = healthy(channel.clone()).await;
    let status = ObserverClient::new(channel)
        .server_status(ServerStatusRequest {})
        .await
        .map_err(|status| ClientError::refused(address, &status))?
        .into_inner();
    let mut out = io::stdout().lock();
    if matches.get_one::<String>("output").is_some_and(|output| output == "json") {
        writeln!(out, "{}", status_json(&status))?;
    } else {
        print_status(address, healthy, &status, &mut out)?;
    }
    anyhow::ensure!(
        healthy,
        "{address} answers, but does not serve: a relay serves while it reads at least one node"
    );
    Ok(())
}

async fn healthy(channel: Channel) -> bool {
    use tonic_health::pb::health_check_response::ServingStatus;
    let request = tonic_health::pb::HealthCheckRequest { service: HEALTH_SERVICE.to_owned() };
    let answer = tonic_health::pb::health_client::HealthClient::new(channel).check(request).await;
    answer.is_ok_and(|answer| answer.get_ref().status() == ServingStatus::Serving)
}
