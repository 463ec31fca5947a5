//! A dropped packet's reason and place as the comment of its packet, which any pcapng viewer shows, and back.
//!
//! `weir: dropped NETFILTER_DROP`, and where it is known ` device=2:eth0`, ` pod=17:veth1a2b`: the device that had it, and the
//! node's device that leads to the pod in whose network namespace it was. Neither a reason nor a device's name has a space in
//! it (net/core/dev.c, `dev_valid_name`).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::label::{MARK, NotALabel, number};
use crate::testimony::{Device, DropSite, Owner};

const DEVICE: &str = "device=";
const POD: &str = "pod=";

/// Why and where a recorded packet was dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::capture) struct Dropped {
    pub(in crate::capture) reason: Arc<str>,
    pub(in crate::capture) site: DropSite,
}

impl fmt::Display for Dropped {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{MARK}dropped {}", self.reason)?;
        if let Some(Device { ifindex, name }) = &self.site.device {
            write!(out, " {DEVICE}{ifindex}:{name}")?;
        }
        match &self.site.owner {
            Owner::Node => Ok(()),
            Owner::Pod(Device { ifindex, name }) => write!(out, " {POD}{ifindex}:{name}"),
        }
    }
}

impl FromStr for Dropped {
    type Err = NotALabel;

    fn from_str(text: &str) -> Result<Self, NotALabel> {
        let words = text.strip_prefix(MARK).and_then(|text| text.strip_prefix("dropped "));
        let mut words = words.ok_or(NotALabel)?.split(' ').peekable();
        let reason = words.next().filter(|reason| !reason.is_empty()).ok_or(NotALabel)?;
        let device = words.next_if(|word| word.starts_with(DEVICE));
        let device = device.map(|word| read(word, DEVICE)).transpose()?;
        let owner = match words.next() {
            Some(word) => Owner::Pod(read(word, POD)?),
            None => Owner::Node,
        };
        let all = words.next().is_none();
        all.then(|| Self { reason: reason.into(), site: DropSite { owner, device } }).ok_or(NotALabel)
    }
}

fn read(word: &str, key: &str) -> Result<Device, NotALabel> {
    let (ifindex, name) = word.split_once(':').ok_or(NotALabel)?;
    Ok(Device { ifindex: number(ifindex, key)?, name: name.into() })
}
