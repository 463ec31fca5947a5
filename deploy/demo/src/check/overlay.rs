//! The overlay as `ip -d link` tells it, against the tunnel that weir saw around a call.

use anyhow::{Context, Result};
use serde_json::Value;
use weir_proto::weir::v1::Encapsulation;

use super::row::NOTHING;
use crate::netns::Netns;
use crate::plan::Family;

/// What `ip -d link` says of a node's overlay device.
pub struct Overlay {
    vni: u64,
    local: String,
    pub port: u64,
}

impl Overlay {
    pub fn ask(node: &Netns, family: Family) -> Result<Self> {
        let device = family.overlay_device();
        let text = node.ip_output(&format!("-d -j link show {device}"))?;
        let links: Value = serde_json::from_str(&text).context("`ip -d -j link` printed no JSON")?;
        let data =
            links.pointer("/0/linkinfo/info_data").with_context(|| format!("{device} is no VXLAN device"))?;
        let number = |name: &str| data.get(name).and_then(Value::as_u64).unwrap_or(0);
        let local = ["local", "local6"]
            .iter()
            .find_map(|name| data.get(name)?.as_str())
            .unwrap_or(NOTHING)
            .to_owned();
        Ok(Self { vni: number("id"), local, port: number("port") })
    }

    pub fn way_to(&self, other: &Self) -> String {
        format!("vxlan {} {} > {}:{}", self.vni, self.local, other.local, other.port)
    }
}

/// What weir saw, in the same words.
pub fn told(tunnel: Option<&Encapsulation>) -> String {
    tunnel.map_or(NOTHING.to_owned(), |outer| {
        format!(
            "{} {} {} > {}:{}",
            outer.protocol, outer.vni, outer.source, outer.destination, outer.destination_port
        )
    })
}
