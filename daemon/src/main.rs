//! The daemon's program: reads what was typed and runs it.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use weir_daemon::{app, config};
use weir_proto::settings::{self, SettingsError};

fn main() -> ExitCode {
    let matches = settings::parse(config::Cli::command(), settings::DAEMON, std::env::args_os());
    let cli =
        matches.and_then(|matches| config::Cli::from_arg_matches(&matches).map_err(SettingsError::from));
    let cli = match cli {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(error.report("weir-daemon")),
    };
    match app::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed standard error is nobody's problem any more.
            let _ = writeln!(std::io::stderr(), "weir-daemon: {error:#}");
            ExitCode::FAILURE
        }
    }
}
