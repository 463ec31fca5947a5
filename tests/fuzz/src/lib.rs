//! What a fuzzer feeds to every parser, and to the pipeline as a whole.
//!
//! A target takes any bytes and fails by a panic: what it asserts is what must hold on every input. `tests/fuzz.sh` lets
//! libFuzzer find inputs and keeps those that reach new code in `corpus/`; `tests/corpora.rs` gives these to the same targets
//! in every run of the tests. A new parser is one line in [`TARGETS`].

mod script;
mod targets;

/// One thing that takes bytes from outside.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Name, of its folder in `corpus/` as well.
    pub name: &'static str,
    /// Runs it once.
    pub run: fn(&[u8]),
    /// The source files that are its parser, from the root of the repository: what the coverage is told of.
    pub files: &'static [&'static str],
    /// Executions that a long run of the tests asks for.
    pub executions: u32,
}

const fn parser(name: &'static str, run: fn(&[u8]), files: &'static [&'static str]) -> Target {
    Target { name, run, files, executions: 500_000 }
}

/// Every target.
pub const TARGETS: &[Target] = &[
    parser("frame", targets::packets::frame, &["daemon/src/decode"]),
    parser("capture_file", targets::packets::capture_file, &["daemon/src/capture/file"]),
    parser("dns", targets::packets::dns, &["daemon/src/track/l7/dns.rs", "daemon/src/track/l7/dns/types.rs"]),
    parser(
        "dns_stream",
        targets::packets::dns_stream,
        &["daemon/src/track/l7/dns/stream.rs", "daemon/src/track/l7/budget.rs"],
    ),
    parser("packet_log", targets::kernel::packet_log, &["daemon/src/nflog/codec.rs"]),
    parser("conntrack", targets::kernel::conntrack, &["daemon/src/conntrack/codec.rs"]),
    parser("devices", targets::kernel::devices, &["daemon/src/capture/links/wire.rs"]),
    parser("manifest", targets::cluster::manifest, &["daemon/cluster/src/manifest"]),
    parser("query", targets::wire::query, &["proto/src/query"]),
    parser("filter", targets::wire::filter, &["proto/src/filter", "proto/src/matching"]),
    parser("json", targets::wire::json, &["proto/src/json"]),
    parser("mask", targets::wire::mask, &["proto/src/mask", "proto/src/wire"]),
    parser("record", targets::wire::record, &["relay/src/peer/record.rs"]),
    Target {
        name: "pipeline",
        run: targets::pipeline::run,
        files: &["daemon/src/track", "daemon/src/enrich"],
        executions: 2_000_000,
    },
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
