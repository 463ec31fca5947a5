//! The relay's command: flags in, a running relay, signals to its end.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{CommandFactory as _, FromArgMatches as _};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;
use weir_proto::settings::{self, SettingsError};
use weir_relay::app::App;
use weir_relay::config::{Args, Config};

fn main() -> ExitCode {
    let matches = settings::parse(Args::command(), settings::RELAY, std::env::args_os());
    let args = match matches.and_then(|matches| Args::from_arg_matches(&matches).map_err(SettingsError::from))
    {
        Ok(args) => args,
        Err(error) => return ExitCode::from(error.report("weir-relay")),
    };
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(
                clippy::print_stderr,
                reason = "why the command failed, in one sentence, whatever is logged"
            )]
            {
                eprintln!("weir-relay: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

fn start(args: Args) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log).with_context(|| {
        format!("--log {:?} is no filter: write info, debug, or target=level,...", args.log)
    })?;
    let coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(coloured).with_writer(std::io::stderr).init();
    let config = args.check()?;
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    let result = runtime.block_on(run(config));
    // What still runs after a second signal is not waited for.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

async fn run(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let within = config.stop_deadline;
    let mut app = App::start(config).await?;
    let failed = tokio::select! {
        () = either(&mut terminate, &mut interrupt) => None,
        name = app.failed() => Some(name),
    };
    tokio::select! {
        () = stop(app, within) => {}
        () = either(&mut terminate, &mut interrupt) => tracing::warn!("stopped at once by a second signal"),
    }
    match failed {
        None => Ok(()),
        Some(name) => anyhow::bail!("{name} ended unexpectedly"),
    }
}

async fn stop(app: App, within: Duration) {
    tracing::info!("stopping");
    let cut_off = app.stop(within).await;
    if !cut_off.is_empty() {
        tracing::warn!("cut off after {} s: {}", within.as_secs(), cut_off.join(", "));
    }
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}
