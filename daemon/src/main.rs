//! The daemon's program: reads what was typed and runs it.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use weir_daemon::{app, config};

fn main() -> ExitCode {
    let cli = config::Cli::parse();
    match app::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed standard error is nobody's problem any more.
            let _ = writeln!(std::io::stderr(), "weir-daemon: {error:#}");
            ExitCode::FAILURE
        }
    }
}
