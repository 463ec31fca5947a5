//! The mistakes that everybody makes with NetworkPolicies: each a cluster and a question in a file, and what `weir policy explain`
//! prints.
//!
//! The first line of a file is the question. A daemon that serves a recording knows the cluster of the file.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::path::Path;
use std::process::Command;

use weir_tests::{Running, answering, finish, program, root};

/// The question in the first line of a file.
fn question(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let asked = text.lines().next().and_then(|line| line.strip_prefix("# ask: ")).unwrap();
    let mut words: Vec<String> = asked.split(' ').map(str::to_owned).collect();
    if words.len() == 4 {
        words.insert(3, "--protocol".to_owned());
    }
    words
}

/// What is printed for a file's question, and the exit code.
fn explained(file: &Path) -> String {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("weir.sock");
    let mut command = Command::new(program("weir-daemon").unwrap());
    command.arg("replay").arg(root().join("tests/scenarios/two-nodes/rowan.pcapng"));
    command.arg("--cluster").arg(file).args(["--node", "n1", "--output", "serve", "--unix"]).arg(&socket);
    let _daemon = Running::logging(&mut command, &folder.path().join("log")).unwrap();
    answering(&socket).unwrap();
    let mut command = Command::new(program("weir").unwrap());
    command.args(["policy", "explain"]).args(question(file));
    command.args(["--server", &format!("unix://{}", socket.display())]);
    let ended = finish(&mut command).unwrap();
    format!("{}{}exit code {:?}\n", ended.out, ended.err, ended.code.unwrap())
}

#[test]
fn each_mistake_is_named_in_a_sentence() {
    let folder = root().join("tests/scenarios/policies/mistakes");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 8);
    let explained: Vec<_> = files
        .iter()
        .map(|file| format!("== {}\n{}", file.file_stem().unwrap().to_str().unwrap(), explained(file)))
        .collect();
    insta::assert_snapshot!(explained.join("\n"));
}
