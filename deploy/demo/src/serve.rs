//! The HTTP server of the backends, run inside a pod's namespace: answers with as many bytes as asked for, and writes down
//! who called.
//!
//! Its log is a witness against weir: one JSON line a request, written from what the socket says.

use std::convert::Infallible;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::load;

/// The largest body that may be asked for, and that is read of a request.
const LARGEST_BODY: usize = 1 << 20;

/// One request, as the server saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The caller as the socket names it: behind a masquerade, the masquerade.
    pub client: SocketAddr,
    /// The address it was called at.
    pub server: SocketAddr,
    pub method: String,
    /// With the query, in which the caller says which call it is.
    pub path: String,
    pub status: u16,
    /// Bytes of the request's and the answer's body.
    pub received: usize,
    pub sent: usize,
}

/// Where and as whom to serve.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArgs {
    /// Addresses and ports to listen on.
    #[arg(long, required = true)]
    listen: Vec<SocketAddr>,
    /// File that each request is written to.
    #[arg(long)]
    log: PathBuf,
}

/// Serves until the process is ended.
pub async fn serve(args: &ServeArgs) -> Result<()> {
    let mut listeners = Vec::new();
    for address in &args.listen {
        let listener = TcpListener::bind(address).await;
        listeners.push(listener.with_context(|| format!("cannot listen on {address}"))?);
    }
    let log = File::options().create(true).append(true).open(&args.log);
    let log = Arc::new(Mutex::new(log.with_context(|| format!("cannot open {}", args.log.display()))?));
    let mut serving = JoinSet::new();
    for listener in listeners {
        serving.spawn(accept(listener, Arc::clone(&log)));
    }
    // None ends but by failing.
    while let Some(ended) = serving.join_next().await {
        ended.context("a listener was lost")??;
    }
    Ok(())
}

async fn accept(listener: TcpListener, log: Arc<Mutex<File>>) -> Result<()> {
    loop {
        let (stream, client) = listener.accept().await.context("cannot accept a connection")?;
        // Ends with its connection; a client that stays silent costs one socket of the demo.
        tokio::spawn(serve_connection(stream, client, Arc::clone(&log)));
    }
}

async fn serve_connection(stream: TcpStream, client: SocketAddr, log: Arc<Mutex<File>>) {
    let Ok(server) = stream.local_addr() else { return };
    let service = service_fn(move |request| answer(request, client, server, Arc::clone(&log)));
    // A client that breaks off is the client's business.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    client: SocketAddr,
    server: SocketAddr,
    log: Arc<Mutex<File>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let limited = http_body_util::Limited::new(body, LARGEST_BODY);
    let (status, received) = match limited.collect().await {
        Ok(body) => (StatusCode::OK, body.to_bytes().len()),
        Err(_) => (StatusCode::PAYLOAD_TOO_LARGE, 0),
    };
    let load = head.uri.path().strip_prefix(load::PATH);
    let count = load.or_else(|| head.uri.path().strip_prefix("/bytes/"));
    let length = count.and_then(|count| count.parse().ok()).unwrap_or(0);
    let content = Bytes::from(vec![b'w'; usize::min(length, LARGEST_BODY)]);
    let served = Served {
        client,
        server,
        method: head.method.to_string(),
        path: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        status: status.as_u16(),
        received,
        sent: content.len(),
    };
    if load.is_none() {
        write_line(&log, &served);
    }
    let mut response = Response::new(Full::new(content));
    *response.status_mut() = status;
    Ok(response)
}

/// A line that cannot be written is missing as a witness, which the check then reports.
fn write_line(log: &Mutex<File>, served: &Served) {
    let Ok(mut line) = serde_json::to_vec(served) else { return };
    line.push(b'\n');
    if let Ok(mut log) = log.lock() {
        let _ = log.write_all(&line);
    }
}

impl Served {
    /// The call that was made from this port.
    pub fn is_call(&self, port: u16) -> bool {
        self.path.split_once('?').is_some_and(|(_, told)| told == port.to_string())
    }
}

/// Reads such a log.
pub fn read_log(file: &Path) -> Result<Vec<Served>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    text.lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("bad line in {}", file.display())))
        .collect()
}
