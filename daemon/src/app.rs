//! The composition root: the only place that constructs stages, starts threads and connects them.
//!
//! One module a command. Every thread and task has a name and an owner here; all end within a deadline, sources
//! first, so that what they read still reaches the readers.

mod check;
mod clock;
mod cluster;
mod error;
mod frames;
mod governed;
mod kernel_drops;
mod live;
mod manifests;
mod node;
mod policies;
mod record;
mod replay;
mod serving;
mod sources;
mod tracking;
mod usage;

use std::io::IsTerminal as _;
use std::time::Duration;

pub use error::AppError;

use crate::config::{Cli, Command};

/// How long the end of a recording may take.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// Does what was typed, and returns when it is over.
///
/// # Errors
/// Why it could not begin or go on, in a sentence for the person who typed it.
pub fn run(cli: Cli) -> Result<(), AppError> {
    log(&cli.log)?;
    match cli.command {
        Command::Run(args) => live::run(&args),
        Command::Record(args) => record::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Check(args) => check::run(&args),
    }
}

fn log(directives: &str) -> Result<(), AppError> {
    let wrong = |reason: String| AppError::Log { directives: directives.to_owned(), reason };
    let filter =
        tracing_subscriber::EnvFilter::try_new(directives).map_err(|error| wrong(error.to_string()))?;
    let coloured =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(coloured)
        .with_writer(std::io::stderr)
        .try_init()
        .map_err(|error| wrong(error.to_string()))
}
