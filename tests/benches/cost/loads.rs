//! Loads from the client's pod to the server's, by the distribution's own programs: a stream, and requests.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;
use weir_tests::pods::{Pods, SERVER};
use weir_tests::{DEADLINE, Running, succeed, wait_for};

const HTTP_PORT: u16 = 8080;
const IPERF_PORT: u16 = 5201;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Load {
    Stream,
    Requests,
    Connections,
}

impl Load {
    pub const ALL: [Self; 3] = [Self::Stream, Self::Requests, Self::Connections];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Requests => "requests",
            Self::Connections => "connections",
        }
    }

    pub const fn unit(self) -> &'static str {
        match self {
            Self::Stream => "Gbit/s",
            Self::Requests | Self::Connections => "requests/s",
        }
    }

    pub const fn what(self) -> &'static str {
        match self {
            Self::Stream => "one TCP stream between two pods (iperf3)",
            Self::Requests => "HTTP requests on 32 kept connections (wrk, nginx)",
            Self::Connections => "HTTP requests, each on a connection of its own (wrk, nginx)",
        }
    }

    /// Runs it so long and says how fast it went. Those who answer must run.
    pub fn run(self, pods: &Pods, seconds: u64) -> Result<f64> {
        match self {
            Self::Stream => stream(pods, seconds),
            Self::Requests => requests(pods, seconds, &[]),
            Self::Connections => requests(pods, seconds, &["-H", "Connection: close"]),
        }
    }
}

fn stream(pods: &Pods, seconds: u64) -> Result<f64> {
    let mut command = pods.client.command("iperf3");
    command.args([
        "-J",
        "-c",
        &SERVER.to_string(),
        "-p",
        &IPERF_PORT.to_string(),
        "-t",
        &seconds.to_string(),
    ]);
    let told: Value = serde_json::from_str(&succeed(&mut command)?).context("iperf3's JSON")?;
    let bits = told["end"]["sum_received"]["bits_per_second"].as_f64().context("iperf3 tells no rate")?;
    Ok(bits / 1e9)
}

fn requests(pods: &Pods, seconds: u64, more: &[&str]) -> Result<f64> {
    let mut command = pods.client.command("wrk");
    command.args(["-t", "1", "-c", "32", "-d", &format!("{seconds}s")]).args(more);
    command.arg(format!("http://{SERVER}:{HTTP_PORT}/"));
    let told = succeed(&mut command)?;
    let rate = told.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    rate.context("wrk tells no rate")?.trim().parse().context("wrk's rate")
}

/// Those who answer in the server's pod.
pub struct Servers {
    _iperf: Running,
    _nginx: Running,
}

impl Servers {
    pub fn start(pods: &Pods, folder: &Path) -> Result<Self> {
        let iperf =
            Running::start(pods.server.command("iperf3").args(["-s", "-p", &IPERF_PORT.to_string()]))?;
        let settings = folder.join("nginx.conf");
        std::fs::write(&settings, nginx(folder))?;
        let mut command = pods.server.command("nginx");
        command.arg("-c").arg(&settings).arg("-e").arg(folder.join("nginx-error.log"));
        let nginx = Running::start(&mut command)?;
        wait_for("the servers to listen", DEADLINE, || {
            let listening = pods.server.run("ss -Htln").ok()?;
            [HTTP_PORT, IPERF_PORT].iter().all(|port| listening.contains(&format!(":{port} "))).then_some(())
        })?;
        Ok(Self { _iperf: iperf, _nginx: nginx })
    }
}

/// One process that answers each request with 600 bytes.
fn nginx(folder: &Path) -> String {
    let mut text = String::from("daemon off;\nmaster_process off;\nworker_processes 1;\n");
    let _ = writeln!(text, "pid {};", folder.join("nginx.pid").display());
    text += "events { worker_connections 4096; }\nhttp {\naccess_log off;\nkeepalive_requests 100000000;\n";
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(text, "{kind}_temp_path {};", folder.join(format!("nginx-{kind}")).display());
    }
    let _ = writeln!(
        text,
        "server {{ listen {HTTP_PORT}; location / {{ return 200 \"{}\"; }} }}\n}}",
        "x".repeat(600)
    );
    text
}
