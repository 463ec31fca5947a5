//! The way to a server: an address as people type it -> a channel.
//!
//! Addresses: `host:port`, `tcp://host:port`, `unix:///path`. Connecting has a deadline; every error names the address and
//! what to look at.

pub mod stream;

use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use weir_proto::weir::v1::weir_client::WeirClient;
use weir_proto::weir::v1::{ExplainPolicyRequest, ExplainPolicyResponse};

/// Largest message taken: a flow with a long path and many labels stays far below.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// A relay asks several daemons, and answers within half of this.
const EXPLAINED_WITHIN: Duration = Duration::from_secs(10);

/// Why no server could be reached or went away.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not an address.
    #[error("{address} is no server address: use host:port or unix:///path")]
    Address {
        /// As typed.
        address: String,
    },
    /// TLS was asked for.
    #[error("{address}: this build speaks no TLS: forward a plain port, or use the unix socket on the node")]
    Tls {
        /// As typed.
        address: String,
    },
    /// Nobody answered.
    #[error("cannot connect to {address}: {cause}; is weir-relay (or weir-daemon) running there?")]
    Connect {
        /// As typed.
        address: String,
        /// What the system said.
        cause: String,
    },
    /// It was reached, and then did not speak as a server of flows does, or no more.
    #[error(
        "the connection to {address} broke off: {cause}; does a weir-relay (or weir-daemon) answer there?"
    )]
    Broken {
        /// As typed.
        address: String,
        /// What the system said.
        cause: String,
    },
    /// The server refused, or ended the stream.
    #[error("{address}: {message}")]
    Refused {
        /// As typed.
        address: String,
        /// What the server said.
        message: String,
    },
}

impl ClientError {
    /// From what a call to `address` ended with.
    #[must_use]
    pub fn refused(address: &str, status: &tonic::Status) -> Self {
        // Only what the transport made up itself has a cause; what a server says comes without.
        if let Some(cause) = std::error::Error::source(status) {
            return Self::Broken { address: address.to_owned(), cause: innermost(cause) };
        }
        let message = if status.message().is_empty() {
            status.code().description().to_owned()
        } else {
            status.message().to_owned()
        };
        Self::Refused { address: address.to_owned(), message }
    }

    /// A foreign server skips the text of a query, and would send what nobody asked for.
    #[must_use]
    pub fn no_queries(address: &str) -> Self {
        let message = "it is no server of weir's and would ignore a part of the query: only what `hubble observe` \
            can ask works here, joined by AND";
        Self::Refused { address: address.to_owned(), message: message.to_owned() }
    }
}

/// Asks what policies say of two ends.
///
/// # Errors
/// What the server refuses, and a server that does not answer.
pub async fn explain(
    channel: Channel,
    address: &str,
    request: ExplainPolicyRequest,
) -> Result<ExplainPolicyResponse, ClientError> {
    let refused =
        |message: &str| ClientError::Refused { address: address.to_owned(), message: message.to_owned() };
    let mut weir = WeirClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    match tokio::time::timeout(EXPLAINED_WITHIN, weir.explain_policy(request)).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) if status.code() == tonic::Code::Unimplemented && status.message().is_empty() => {
            Err(refused(
                "it answers no question about policies: that takes a weir-relay or weir-daemon of this version",
            ))
        }
        Ok(Err(status)) => Err(ClientError::refused(address, &status)),
        Err(_) => Err(refused("no answer within 10 s")),
    }
}

/// Connects within the deadline.
///
/// # Errors
/// An address that is none, or nobody there.
pub async fn connect(address: &str, deadline: Duration) -> Result<Channel, ClientError> {
    let failed = |cause: &dyn std::error::Error| ClientError::Connect {
        address: address.to_owned(),
        cause: innermost(cause),
    };
    let wrong = || ClientError::Address { address: address.to_owned() };
    if address.starts_with("tls://") || address.starts_with("https://") {
        return Err(ClientError::Tls { address: address.to_owned() });
    }
    if let Some(path) = address.strip_prefix("unix:") {
        let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let endpoint = settings(Endpoint::from_static("http://localhost"), deadline);
        return endpoint.connect_with_connector(connector).await.map_err(|error| failed(&error));
    }
    let host = address.strip_prefix("tcp://").unwrap_or(address);
    if !host.contains(':') || host.contains('/') {
        return Err(wrong());
    }
    let endpoint = Endpoint::from_shared(format!("http://{host}")).map_err(|_| wrong())?;
    settings(endpoint, deadline).connect().await.map_err(|error| failed(&error))
}

/// A dead server is noticed while a stream is quiet.
fn settings(endpoint: Endpoint, deadline: Duration) -> Endpoint {
    endpoint
        .connect_timeout(deadline)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true)
}

/// The cause that names the reason: transports wrap it in words of their own.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
