//! What a source of packets cannot tell, or tells otherwise than another, by the fields of a flow.
//!
//! The one list: the README's table is it, and the tests that hold the sources against each other allow what is listed and nothing
//! else. What depends on the moment is no field of its own and stands in [`TALLIES_AT_TIMES`].

/// How packets are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Every frame is handed up.
    Frames,
    /// Frames that carry news are handed up; what goes on as before is counted where it passes.
    Tallies,
}

/// A field that a source fills otherwise, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absent {
    /// Which source.
    pub source: Source,
    /// Path of the field in a flow, as in JSON.
    pub field: &'static str,
    /// What it has instead.
    pub instead: &'static str,
}

/// All of them.
pub const ABSENT: &[Absent] = &[
    tallies("weir.tcp.rtt_server", "nothing once packets were counted: answers are not seen one by one"),
    tallies("weir.tcp.rtt_client", "nothing once packets were counted"),
    tallies("weir.tcp.absent", "the names of these two"),
    tallies("weir.path.vlans", "those of the latest frame that was handed up"),
    tallies("weir.path.tunnel.source_port", "that of the latest frame that was handed up"),
    tallies("weir.path.wrappings.stack.source_port", "that of the latest frame that was handed up"),
    frames("weir.total.wire_packets_forward", "an estimate by the segment size that both ends announced"),
    frames("weir.total.wire_packets_reverse", "an estimate by the segment size that both ends announced"),
];

/// What a source that counts tells otherwise now and then, in sentences.
pub const TALLIES_AT_TIMES: &[&str] = &[
    "Of segments that TCP sends again after 30 s of silence, or 2 s after a reset, the first eight are seen to be sent again.",
    "After the clock was set back, what was counted before has the time of then.",
    "Where ports are used again at once, what a further device had counted of the connection before may come too late for it.",
];

/// What one source cannot tell.
pub fn of(source: Source) -> impl Iterator<Item = &'static Absent> {
    ABSENT.iter().filter(move |absent| absent.source == source)
}

const fn tallies(field: &'static str, instead: &'static str) -> Absent {
    Absent { source: Source::Tallies, field, instead }
}

const fn frames(field: &'static str, instead: &'static str) -> Absent {
    Absent { source: Source::Frames, field, instead }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_the_list() {
        let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
        for Absent { source, field, instead } in ABSENT {
            let source = if *source == Source::Frames { "pcap, files" } else { "ebpf" };
            let line = format!("| {source} | `{field}` | {instead} |");
            assert!(readme.contains(&line), "{line}");
        }
        for sentence in TALLIES_AT_TIMES {
            assert!(readme.contains(sentence), "{sentence}");
        }
    }
}
