//! Who this node is, and what its cluster looks like at the start.

use std::net::SocketAddr;

use weir_cluster::manifest::ManifestFiles;
use weir_cluster::{Cluster, UnixNanos};

use crate::config::ClusterArgs;
use crate::serve::PeerNode;

use super::AppError;

/// The port that the cluster's daemons serve on where nothing else is said.
pub const DEFAULT_PORT: u16 = 4244;

/// The name given, or the machine's, which is what Kubernetes calls a node unless told otherwise.
#[must_use]
pub fn name(args: &ClusterArgs) -> String {
    args.node.clone().unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

/// The cluster as the files say, valid for all times before now too; and the files, to be looked at again.
///
/// # Errors
/// What is wrong with a file.
pub fn cluster(args: &ClusterArgs, node: &str) -> Result<(Cluster, ManifestFiles), AppError> {
    let mut files = ManifestFiles::new(args.cluster_files.clone());
    let mut cluster = Cluster::default();
    cluster.set_local_node(node);
    if !args.cluster_files.is_empty() {
        cluster.replace(files.load()?.objects, UnixNanos::ZERO);
    }
    Ok((cluster, files))
}

/// The daemons of the cluster's nodes, by their first addresses; all serve on one port.
#[must_use]
pub fn peers(cluster: &Cluster, cluster_name: &str, port: u16) -> Vec<PeerNode> {
    let full = |name: &str| match cluster_name {
        "default" | "" => name.to_owned(),
        cluster => format!("{cluster}/{name}"),
    };
    let nodes = cluster.nodes(UnixNanos::MAX);
    let peer = |node: &weir_cluster::object::Node| {
        let address = SocketAddr::new(*node.addresses.first()?, port).to_string();
        Some(PeerNode { name: full(&node.name), address, tls_server_name: String::new() })
    };
    nodes.iter().filter_map(|node| peer(node)).collect()
}
