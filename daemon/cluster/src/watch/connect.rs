//! Where the API server is and who we are to it: the pod's service account, or a kubeconfig.

use std::path::Path;
use std::time::Duration;

use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::WatchError;

/// To connect and to shake hands.
const CONNECT: Duration = Duration::from_secs(10);

/// An API server, and the credentials for it.
#[derive(Clone, Debug)]
pub struct Server(Config);

impl Server {
    /// The cluster that this process is a pod of. The token is read again when it is renewed.
    ///
    /// # Errors
    /// If this is no pod, or has no service account.
    pub fn in_cluster() -> Result<Self, WatchError> {
        Config::incluster().map(Self).map_err(|error| WatchError::NoServer(error.to_string()))
    }

    /// The current context of a kubeconfig file.
    ///
    /// # Errors
    /// If the file cannot be read, or names no cluster or user.
    pub async fn from_kubeconfig(file: &Path) -> Result<Self, WatchError> {
        let wrong = |error: kube::config::KubeconfigError| WatchError::Kubeconfig {
            file: file.display().to_string(),
            why: error.to_string(),
        };
        let kubeconfig = Kubeconfig::read_from(file).map_err(wrong)?;
        let named = kubeconfig.clusters.iter().filter_map(|named| named.cluster.as_ref());
        let asks_for_proxy = named.filter_map(|cluster| cluster.proxy_url.clone()).collect::<Vec<_>>();
        let options = KubeConfigOptions::default();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(wrong)?;
        if let Some(proxy) = config.proxy_url.take() {
            let proxy = proxy.to_string();
            if asks_for_proxy.iter().any(|asked| proxy.starts_with(asked.trim_end_matches('/'))) {
                return Err(WatchError::Kubeconfig {
                    file: file.display().to_string(),
                    why: "its cluster is reached by a proxy (proxy-url), which weir does not speak with"
                        .to_owned(),
                });
            }
            tracing::warn!("HTTPS_PROXY is not used: the API server is asked directly");
        }
        Ok(Self(config))
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> String {
        self.0.cluster_url.to_string()
    }

    /// A server without credentials.
    #[cfg(test)]
    pub(super) fn at(address: std::net::SocketAddr) -> Result<Self, http::uri::InvalidUri> {
        Ok(Self(Config::new(format!("http://{address}").parse()?)))
    }

    pub(super) fn client(self, silence: Duration) -> Result<Client, WatchError> {
        let Self(mut config) = self;
        let server = config.cluster_url.to_string();
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(silence);
        // What failed is tried again by the watchers, at their pace.
        config.default_retry = false;
        let failed = |error: kube::Error| WatchError::Client { server, why: error.to_string() };
        ClientBuilder::try_from(config).map(ClientBuilder::build).map_err(failed)
    }
}
