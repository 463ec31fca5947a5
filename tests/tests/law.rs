//! The law of the tree, held by what cargo itself says: dependencies go one way, heavy ones stay where they belong, every
//! module says what it is, files stay short enough to proofread.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Which packages of the workspace a package may use. `weir-tests`, `weir-fuzz` and `weir-demo` look at the whole from outside.
const MAY_USE: &[(&str, &[&str])] = &[
    ("weir-proto", &[]),
    ("weir-cluster", &["weir-proto"]),
    ("weir-daemon", &["weir-proto", "weir-cluster"]),
    ("weir-relay", &["weir-proto", "weir-cluster"]),
    ("weir-tui", &["weir-proto"]),
    ("weir-demo", &["weir-proto"]),
    ("weir-tests", &[]),
    ("weir-fuzz", &["weir-proto", "weir-cluster", "weir-daemon", "weir-relay"]),
];

/// Crates that only these packages may name.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("aya", &["weir-daemon"]),
    ("pcap", &["weir-daemon"]),
    ("pcap-parser", &["weir-daemon"]),
    ("etherparse", &["weir-daemon"]),
    ("k8s-openapi", &["weir-cluster"]),
    ("kube", &["weir-cluster"]),
    ("clickhouse", &["weir-relay"]),
    ("ratatui", &["weir-tui"]),
];

/// What may stand at the top level beside dotfiles: the root is the table of contents.
const ROOT: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "daemon",
    "deploy",
    "proto",
    "relay",
    "rust-toolchain.toml",
    "target",
    "tests",
    "tui",
];

/// Lines before its tests that a file may have.
const MAX_LINES: usize = 700;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn uses() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap();
    let normal = |package: &cargo_metadata::Package| {
        let kept = package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
        kept.map(|dependency| dependency.name.clone()).collect()
    };
    metadata.packages.iter().map(|package| (package.name.to_string(), normal(package))).collect()
}

#[test]
fn dependencies_go_one_way() {
    let uses = uses();
    let members: BTreeSet<&String> = uses.keys().collect();
    let listed: BTreeSet<String> = MAY_USE.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(members, listed.iter().collect(), "every package has its line in MAY_USE");
    for (package, may) in MAY_USE {
        for used in uses[*package].iter().filter(|name| name.starts_with("weir-")) {
            assert!(may.contains(&used.as_str()), "{package} must not use {used}");
        }
    }
}

#[test]
fn heavy_crates_stay_where_they_belong() {
    for (package, used) in uses() {
        for (heavy, homes) in ONLY_IN {
            assert!(
                !used.contains(*heavy) || homes.contains(&package.as_str()),
                "{package} must not use {heavy}"
            );
        }
    }
}

#[test]
fn the_root_is_the_table_of_contents() {
    for entry in std::fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            name.starts_with('.') || ROOT.contains(&name.as_str()),
            "{name} has no place at the top level"
        );
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !matches!(name.as_str(), "target" | "generated") && !name.starts_with('.') {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_module_says_what_it_is_and_is_short() {
    let mut files = Vec::new();
    sources(&root(), &mut files);
    assert!(files.len() > 20);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//!"), "{} opens without //!", file.display());
        let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines before its tests", file.display());
    }
}

/// The modules of each package that have an order: none imports one behind it.
const ORDERS: &[(&str, &[&str])] = &[
    ("proto", &["matching", "query", "filter"]),
    ("daemon", &["capture", "decode", "track", "enrich", "ring", "serve"]),
    ("relay", &["peers", "peer", "merge", "join", "history", "serve"]),
];

#[test]
fn stages_import_nothing_downstream() {
    for (package, stages) in ORDERS {
        let source = root().join(package).join("src");
        for (place, stage) in stages.iter().enumerate() {
            let mut files = vec![source.join(format!("{stage}.rs"))];
            if source.join(stage).is_dir() {
                sources(&source.join(stage), &mut files);
            }
            let is_test = |file: &Path| file.iter().any(|part| part == "tests" || part == "tests.rs");
            files.retain(|file| !file.strip_prefix(&source).is_ok_and(is_test));
            assert!(!files.is_empty());
            for file in &files {
                let text = std::fs::read_to_string(file).unwrap();
                for later in &stages[place + 1..] {
                    let imports = ["::", ";"].map(|end| format!("crate::{later}{end}"));
                    let found = imports.iter().find(|import| text.contains(*import));
                    assert!(found.is_none(), "{} imports {later}, which is behind it", file.display());
                }
            }
        }
    }
}
