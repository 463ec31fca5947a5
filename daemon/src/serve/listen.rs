//! Where the daemon listens: loopback and a unix socket, unless told otherwise.
//!
//! Flows tell everything about everybody's traffic and there is no TLS here, so an address that others reach must be asked
//! for in so many words. A unix socket is readable by its owner and group; a file left by a daemon that died is replaced,
//! a living one's is not.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener, UnixStream};

/// Owner and group may connect.
const SOCKET_MODE: u32 = 0o660;

/// Addresses to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// TCP addresses; port 0 takes a free one.
    pub tcp: Vec<SocketAddr>,
    /// Path of a unix socket.
    pub unix: Option<PathBuf>,
    /// Allows addresses that are not loopback, although everybody there can read all flows.
    pub insecure: bool,
}

/// Why the daemon cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Open to others, not asked for.
    #[error(
        "refusing to listen on {address} without TLS: whoever reaches it could read all flows. \
         Use a loopback address or the unix socket, or say --insecure"
    )]
    Open {
        /// As asked for.
        address: SocketAddr,
    },
    /// Taken.
    #[error(
        "cannot listen on {address}: another program has this port (another weir-daemon, or Cilium's own Hubble). \
         Stop it, or choose another with --listen"
    )]
    PortInUse {
        /// As asked for.
        address: SocketAddr,
    },
    /// A port for the privileged.
    #[error(
        "cannot listen on {address}: ports below 1024 need the capability CAP_NET_BIND_SERVICE. \
         Give it to the daemon, or choose a port from 1024 up with --listen"
    )]
    PrivilegedPort {
        /// As asked for.
        address: SocketAddr,
    },
    /// Anything else about an address.
    #[error("cannot listen on {address}: {source}")]
    Tcp {
        /// As asked for.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// A living daemon's socket.
    #[error(
        "another daemon is listening on {}. Stop it, or choose another path with --unix", path.display()
    )]
    SocketInUse {
        /// As asked for.
        path: PathBuf,
    },
    /// Something else is there.
    #[error("cannot listen on {}: there is a file that is no socket. Remove it, or choose another path with --unix", path.display())]
    NotASocket {
        /// As asked for.
        path: PathBuf,
    },
    /// Anything else about a path.
    #[error("cannot listen on {}: {operation}: {source}. Another path can be given with --unix", path.display())]
    Unix {
        /// As asked for.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// All listeners, bound.
#[derive(Debug)]
pub(super) struct Bound {
    /// With the addresses they got.
    pub(super) tcp: Vec<(SocketAddr, TcpListener)>,
    pub(super) unix: Option<(UnixListener, SocketFile)>,
}

impl Listen {
    /// # Errors
    /// Which address, why not, and what to do.
    pub(super) async fn bind(&self) -> Result<Bound, ListenError> {
        let mut tcp = Vec::new();
        for address in &self.tcp {
            tcp.push(self.bind_tcp(*address).await?);
        }
        let unix = match &self.unix {
            Some(path) => Some(bind_unix(path).await?),
            None => None,
        };
        Ok(Bound { tcp, unix })
    }

    async fn bind_tcp(&self, address: SocketAddr) -> Result<(SocketAddr, TcpListener), ListenError> {
        if !address.ip().to_canonical().is_loopback() && !self.insecure {
            return Err(ListenError::Open { address });
        }
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => ListenError::PortInUse { address },
            io::ErrorKind::PermissionDenied => ListenError::PrivilegedPort { address },
            _ => ListenError::Tcp { address, source },
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        Ok((listener.local_addr().map_err(failed)?, listener))
    }
}

async fn bind_unix(path: &Path) -> Result<(UnixListener, SocketFile), ListenError> {
    let failed = |operation| move |source| ListenError::Unix { path: path.to_owned(), operation, source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("looking at the path")(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(ListenError::NotASocket { path: path.to_owned() });
        }
        Ok(_) if UnixStream::connect(path).await.is_ok() => {
            return Err(ListenError::SocketInUse { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed("making its folder"))?;
    }
    // Bound beside its place and moved into it: never there with other permissions, never gone in between.
    let beside = SocketFile::beside(path);
    let listener = UnixListener::bind(&beside).map_err(failed("binding"))?;
    let moved = fs::set_permissions(&beside, Permissions::from_mode(SOCKET_MODE))
        .and_then(|()| fs::rename(&beside, path))
        .and_then(|()| SocketFile::at(path));
    match moved {
        Ok(file) => Ok((listener, file)),
        Err(error) => {
            let _: io::Result<()> = fs::remove_file(&beside);
            Err(failed("putting the socket in its place")(error))
        }
    }
}

/// The file of a unix socket, removed with its listener if it is still that listener's.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl SocketFile {
    fn beside(path: &Path) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}", std::process::id()));
        PathBuf::from(name)
    }

    /// For error messages.
    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), inode: fs::symlink_metadata(path)?.ino() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode) {
            let _: io::Result<()> = fs::remove_file(&self.path);
        }
    }
}
