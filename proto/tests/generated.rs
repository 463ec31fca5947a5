//! Keeps the committed bindings equal to the `.proto` files. `WEIR_GENERATE=1 cargo test -p weir-proto --test generated`
//! writes them anew; no protoc is needed anywhere.

#![expect(clippy::unwrap_used, reason = "a test may fail by panic")]

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use prost::Message as _;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto};

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
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    let build = tonic_prost_build::configure().out_dir(into).emit_rerun_if_changed(false);
    build.compile_fds_with_config(set, config).unwrap();
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

/// Enums whose values are told of in groups: a comment stands before the first of each group.
const GROUPED: [&str; 2] = ["DropReason", "DebugEventType"];

/// The parts of a file that carry no comment, by their path in the descriptor
/// (`google.protobuf.SourceCodeInfo.Location.path`).
fn uncommented(file: &FileDescriptorProto) -> Vec<String> {
    let commented: HashSet<&[i32]> = file
        .source_code_info
        .iter()
        .flat_map(|info| &info.location)
        .filter(|location| location.leading_comments.is_some())
        .map(|location| location.path.as_slice())
        .collect();
    let mut parts = Vec::new();
    for (index, message) in (0..).zip(&file.message_type) {
        message_parts(message, &[4, index], &mut parts);
    }
    for (index, kind) in (0..).zip(&file.enum_type) {
        enum_parts(kind, &[5, index], &mut parts);
    }
    for (index, service) in (0..).zip(&file.service) {
        parts.push((vec![6, index], service.name().to_owned()));
        let methods = (0..).zip(&service.method);
        parts.extend(methods.map(|(method, at)| (vec![6, index, 2, method], at.name().to_owned())));
    }
    parts.retain(|(path, _)| !commented.contains(path.as_slice()));
    parts.into_iter().map(|(_, name)| format!("{}: {name}", file.name())).collect()
}

fn message_parts(message: &DescriptorProto, path: &[i32], parts: &mut Vec<(Vec<i32>, String)>) {
    let below = |kind, index| [path, &[kind, index]].concat();
    parts.push((path.to_vec(), message.name().to_owned()));
    for (index, field) in (0..).zip(&message.field) {
        parts.push((below(2, index), format!("{}.{}", message.name(), field.name())));
    }
    for (index, oneof) in (0..).zip(&message.oneof_decl) {
        parts.push((below(8, index), format!("{}.{}", message.name(), oneof.name())));
    }
    for (index, nested) in (0..).zip(&message.nested_type) {
        message_parts(nested, &below(3, index), parts);
    }
    for (index, kind) in (0..).zip(&message.enum_type) {
        enum_parts(kind, &below(4, index), parts);
    }
}

fn enum_parts(kind: &EnumDescriptorProto, path: &[i32], parts: &mut Vec<(Vec<i32>, String)>) {
    parts.push((path.to_vec(), kind.name().to_owned()));
    if GROUPED.contains(&kind.name()) {
        return;
    }
    for (index, value) in (0..).zip(&kind.value) {
        parts.push(([path, &[2, index]].concat(), format!("{}.{}", kind.name(), value.name())));
    }
}

#[test]
fn everything_on_hubbles_wire_is_commented() {
    let set = protox::compile(FILES, [root()]).unwrap();
    let hubble =
        set.file.iter().filter(|file| matches!(file.package(), "flow" | "observer" | "peer" | "relay"));
    let missing: Vec<String> = hubble.flat_map(uncommented).collect();
    assert!(missing.is_empty(), "without a comment: {missing:#?}");
    let flow = set.file.iter().find(|file| file.package() == "flow").unwrap();
    let mut bare = flow.clone();
    bare.source_code_info = None;
    assert!(uncommented(&bare).len() > 300, "the walk finds what lacks a comment");
}
