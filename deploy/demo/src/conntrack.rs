//! Reads `conntrack -L`: the kernel's own account of a node's connections, both tuples and both counters.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;

use crate::command::output;
use crate::netns::Netns;
use crate::plan::Family;

/// One direction of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub packets: u64,
    pub bytes: u64,
}

/// An entry of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub original: Direction,
    pub reply: Direction,
}

/// The node's TCP entries of that family.
pub fn list_tcp(node: &Netns, family: Family) -> Result<Vec<Entry>> {
    let family = family.name().to_lowercase();
    let text = output(node.command("conntrack").args(["-L", "-f", &family, "-p", "tcp"]))?;
    Ok(text.lines().filter_map(parse).collect())
}

/// Reads a line. Those without ports or counters are none of ours.
fn parse(line: &str) -> Option<Entry> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let start = words.iter().position(|word| word.starts_with("src="))?;
    let (_, from_original) = words.split_at_checked(start)?;
    let second = from_original.iter().skip(1).position(|word| word.starts_with("src="))? + 1;
    let (original, reply) = from_original.split_at_checked(second)?;
    Some(Entry { original: direction(original)?, reply: direction(reply)? })
}

fn direction(words: &[&str]) -> Option<Direction> {
    let field = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let address = |name: &str| field(name)?.parse::<IpAddr>().ok();
    let port = |name: &str| field(name)?.parse::<u16>().ok();
    Some(Direction {
        source: SocketAddr::new(address("src")?, port("sport")?),
        destination: SocketAddr::new(address("dst")?, port("dport")?),
        packets: field("packets")?.parse().ok()?,
        bytes: field("bytes")?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tuples_and_counters() {
        let line = "tcp      6 118 TIME_WAIT src=10.1.0.15 dst=10.2.5.2 sport=43314 dport=8888 packets=7 bytes=455 \
            src=10.1.1.20 dst=10.1.0.15 sport=3250 dport=43314 packets=6 bytes=507 [ASSURED] mark=0 use=1";
        let entry = parse(line).unwrap();
        assert_eq!(entry.original.destination, "10.2.5.2:8888".parse().unwrap());
        assert_eq!((entry.original.packets, entry.original.bytes), (7, 455));
        assert_eq!(entry.reply.source, "10.1.1.20:3250".parse().unwrap());
        assert_eq!((entry.reply.packets, entry.reply.bytes), (6, 507));
        assert_eq!(parse("conntrack v1.4.7 (conntrack-tools): 3 flow entries have been shown."), None);
    }
}
