//! Keeps the committed bindings equal to the `.proto` files. `WEIR_GENERATE=1 cargo test -p weir-proto --test generated`
//! writes them anew; no protoc is needed anywhere.

use std::path::{Path, PathBuf};

use prost::Message as _;

const FILES: &[&str] = &[
    "flow/flow.proto",
    "observer/observer.proto",
    "peer/peer.proto",
    "relay/relay.proto",
    "weir/v1/detail.proto",
    "weir/v1/weir.proto",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Writes the bindings and the descriptor set into a folder.
fn generate(into: &Path) {
    let set = protox::compile(FILES, [root()]).unwrap();
    let mut bare = set.clone();
    for file in &mut bare.file {
        file.source_code_info = None;
    }
    std::fs::write(into.join("descriptors.bin"), bare.encode_to_vec()).unwrap();
    tonic_prost_build::configure().out_dir(into).emit_rerun_if_changed(false).compile_fds(set).unwrap();
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into()).collect();
    names.sort();
    names
}

#[test]
fn committed_bindings_are_current() {
    let committed = root().join("src/generated");
    let fresh = tempfile::tempdir().unwrap();
    generate(fresh.path());
    if std::env::var_os("WEIR_GENERATE").is_some() {
        for name in names(fresh.path()) {
            std::fs::copy(fresh.path().join(&name), committed.join(&name)).unwrap();
        }
    }
    assert_eq!(names(&committed), names(fresh.path()));
    for name in names(fresh.path()) {
        let same =
            std::fs::read(committed.join(&name)).unwrap() == std::fs::read(fresh.path().join(&name)).unwrap();
        assert!(
            same,
            "{} is stale: run WEIR_GENERATE=1 cargo test -p weir-proto --test generated",
            name.display()
        );
    }
}
