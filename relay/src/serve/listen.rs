//! Listeners, and why one could not be had.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener};

/// Where clients come in.
#[derive(Debug)]
pub enum Listener {
    /// On an address.
    Tcp(TcpListener),
    /// On a unix socket.
    Unix(UnixSocket),
}

/// A unix socket whose file is removed when it is dropped.
#[derive(Debug)]
pub struct UnixSocket {
    /// Accepts.
    pub listener: UnixListener,
    /// Removes the file.
    pub remove: RemoveFile,
}

/// Removes a file when dropped.
#[derive(Debug)]
pub struct RemoveFile(PathBuf);

/// The relay cannot listen there.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody does already.
    #[error(
        "listening on {0}: in use by another program (another relay?); choose another with --listen or --unix, or stop it"
    )]
    InUse(String),
    /// Not allowed.
    #[error(
        "listening on {0}: permission denied; choose another with --listen or --unix (\"none\" for no socket)"
    )]
    Permission(String),
    /// A file that is no socket.
    #[error("listening on unix://{}: the file exists and is no socket; remove it or choose another with --unix", .0.display())]
    NoSocket(PathBuf),
    /// Else.
    #[error("listening on {place}: {cause}")]
    Other {
        /// Where.
        place: String,
        /// Why.
        cause: io::Error,
    },
}

impl Drop for RemoveFile {
    fn drop(&mut self) {
        // Best effort: the next start removes a stale socket as well.
        let _gone = std::fs::remove_file(&self.0);
    }
}

fn failed(place: String, cause: io::Error) -> BindError {
    match cause.kind() {
        ErrorKind::AddrInUse => BindError::InUse(place),
        ErrorKind::PermissionDenied => BindError::Permission(place),
        _ => BindError::Other { place, cause },
    }
}

/// Listens on an address.
///
/// # Errors
/// Why it cannot.
pub async fn tcp(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|cause| failed(address.to_string(), cause))
}

/// Listens on a unix socket; takes the place of one that nobody listens on any more.
///
/// # Errors
/// Why it cannot.
pub fn unix(path: &Path) -> Result<UnixSocket, BindError> {
    let place = || format!("unix://{}", path.display());
    let io = |cause| failed(place(), cause);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    if let Ok(there) = std::fs::symlink_metadata(path) {
        if !there.file_type().is_socket() {
            return Err(BindError::NoSocket(path.to_owned()));
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(BindError::InUse(place()));
        }
        std::fs::remove_file(path).map_err(io)?;
    }
    let listener = UnixListener::bind(path).map_err(io)?;
    let remove = RemoveFile(path.to_owned());
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(io)?;
    Ok(UnixSocket { listener, remove })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_one_clear_sentence() {
        let first = tcp(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = first.local_addr().unwrap();
        let error = tcp(address).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("listening on {address}: in use by another program")), "{error}");
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/relay.sock");
        let first = unix(&path).unwrap();
        assert!(matches!(unix(&path), Err(BindError::InUse(_))));
        drop(first);
        assert!(!path.exists());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(unix(&path).is_ok());
        std::fs::write(&path, "text").unwrap();
        assert!(matches!(unix(&path), Err(BindError::NoSocket(_))));
    }
}
