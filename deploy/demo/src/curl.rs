//! One HTTP call by the real curl in a namespace, and what curl itself measured of it.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::command::typed;
use crate::netns::Netns;
use crate::plan::Family;

/// What to call.
#[derive(Clone, Debug)]
pub struct Call {
    pub url: String,
    /// Bytes of a header that makes the request longer; 0: none.
    pub ballast: usize,
    /// Give up after so long.
    pub patience: Duration,
    /// Port to call from; none: the kernel's choice.
    local_port: Option<u16>,
    /// The only family that names are looked up for; none: both.
    family: Option<Family>,
}

/// What curl said of a call (`curl --write-out`).
#[derive(Clone, Debug, Deserialize)]
pub struct Outcome {
    /// 0 after success, else curl's exit code: 7 refused, 28 timed out.
    pub exit: u16,
    /// HTTP status, three digits; "000": no answer.
    status: String,
    local_ip: String,
    /// As curl prints it; "-1" without a connection.
    local_port: String,
    /// Bytes of the request's line and headers.
    request: u64,
    /// Bytes of the answer's headers, and of its body.
    header: u64,
    download: u64,
    /// Seconds from the start until the connection stood.
    connect: f64,
}

impl Outcome {
    /// The server answered, and well.
    pub fn is_success(&self) -> bool {
        self.exit == 0 && self.status == "200"
    }

    /// Address and port that it called from.
    pub fn local(&self) -> String {
        let (address, port) = (&self.local_ip, &self.local_port);
        if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
    }

    /// Nanoseconds from the start until the connection stood.
    pub fn connect_ns(&self) -> u64 {
        let time = Duration::try_from_secs_f64(self.connect).unwrap_or_default();
        u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Transport payload that the client sent, and that it received.
    pub fn payload(&self) -> (u64, u64) {
        (self.request, self.header + self.download)
    }
}

const WRITE_OUT: &str = concat!(
    r#"{"exit":%{exitcode},"status":"%{response_code}","local_ip":"%{local_ip}","local_port":"%{local_port}","#,
    r#""request":%{size_request},"header":%{size_header},"download":%{size_download},"#,
    r#""connect":%{time_connect}}"#
);

impl Call {
    pub fn get(url: String) -> Self {
        Self { url, ballast: 0, patience: Duration::from_secs(5), local_port: None, family: None }
    }

    /// An answer of so many bytes from a backend at this address.
    pub fn bytes(at: SocketAddr, count: usize) -> Self {
        Self::get(format!("http://{at}/bytes/{count}"))
    }

    pub fn ballast(self, ballast: usize) -> Self {
        Self { ballast, ..self }
    }

    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// From this port, which the server's log then finds in the path.
    pub fn with_local_port(self, port: u16) -> Self {
        Self { local_port: Some(port), url: format!("{}?{port}", self.url), ..self }
    }

    /// By an address of this family, where it is called by name.
    pub fn family(self, family: Family) -> Self {
        Self { family: Some(family), ..self }
    }

    /// Makes the call. A call that fails is an outcome; an error means that curl could not be run.
    pub async fn run(&self, from: &Netns) -> Result<Outcome> {
        let command = self.command(from);
        let text = typed(&command);
        let mut command = tokio::process::Command::from(command);
        let done =
            command.kill_on_drop(true).output().await.with_context(|| format!("cannot run `{text}`"))?;
        serde_json::from_slice(&done.stdout).with_context(|| {
            format!(
                "`{text}` ({}) did not say how it went: {}",
                done.status,
                String::from_utf8_lossy(&done.stderr)
            )
        })
    }

    fn command(&self, from: &Netns) -> Command {
        let mut command = from.command("curl");
        // -q: no curlrc of whoever runs the demo; no proxy of theirs either.
        command.args(["-q", "--noproxy", "*", "--silent", "--output", "/dev/null", "--write-out", WRITE_OUT]);
        command.args(["--max-time", &self.patience.as_secs_f32().to_string()]);
        if let Some(port) = self.local_port {
            command.args(["--local-port", &port.to_string()]);
        }
        command.args(self.family.map(Family::flag));
        if self.ballast > 0 {
            // A header and no body: versions of curl differ in whether a body sent with the headers counts twice.
            command.args(["--header", &format!("X-Ballast: {}", "b".repeat(self.ballast))]);
        }
        command.arg(&self.url).stdin(Stdio::null());
        command
    }
}
