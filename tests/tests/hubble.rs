//! A node that holds the flows of a real Hubble node answers `weir observe` as Hubble answered `hubble observe`: the same
//! flows in the same order, and what it refused is refused. Both programs are the real ones, over a unix socket.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use weir_tests::{Running, corpus, program, wait_for};

/// Calls that cannot be answered alike, and why.
const EXCEPTIONS: &[(&str, &str)] =
    &[("--cel-expression", "no CEL in this server: it says so instead of guessing, and refuses both kinds")];

fn node(corpus: &Path, socket: &Path) -> Running {
    let text = std::fs::read_to_string(corpus.join("hubble/flows.jsonl")).unwrap();
    let flows = socket.with_extension("jsonl");
    // The last is a sentinel that the original never returned.
    let (kept, _) = text.trim_end().rsplit_once('\n').unwrap();
    std::fs::write(&flows, kept).unwrap();
    let mut command = Command::new(program("weir-daemon").unwrap());
    command.arg("replay").arg("--flows").arg(&flows).arg("--unix").arg(socket);
    let node = Running::start(&mut command).unwrap();
    wait_for("the node's socket", Duration::from_secs(20), || {
        std::os::unix::net::UnixStream::connect(socket).ok()
    })
    .unwrap();
    node
}

fn observe(socket: &Path, args: &[&str]) -> (bool, Vec<String>, String) {
    let server = format!("unix://{}", socket.display());
    let output = Command::new(program("weir").unwrap())
        .args(["observe", "--server", &server, "-o", "json"])
        .args(args)
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let uuid =
        |line: &str| serde_json::from_str::<Value>(line).unwrap()["flow"]["uuid"].as_str().map(str::to_owned);
    let uuids = stdout.lines().filter_map(uuid).collect();
    (output.status.success(), uuids, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn answers_as_hubble_does() {
    let Some(corpus) = corpus("answers_as_hubble_does") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("node.sock");
    let _node = node(&corpus, &socket);
    let (mut compared, mut wrong) = (0, Vec::new());
    for line in std::fs::read_to_string(corpus.join("hubble/answers.jsonl")).unwrap().lines() {
        let call: Value = serde_json::from_str(line).unwrap();
        let strings = |name: &str| -> Vec<String> {
            call[name].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let args = strings("args");
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (succeeded, uuids, said) = observe(&socket, &args);
        if args.iter().any(|arg| EXCEPTIONS.iter().any(|(flag, _)| flag == arg)) {
            assert!(!succeeded && said.contains("cel_expression"), "{args:?} is refused by name: {said}");
            continue;
        }
        compared += 1;
        if succeeded != (call["exit"] == 0) || uuids != strings("uuids") {
            wrong.push(format!(
                "{args:?}: {} flows instead of {}, {said}",
                uuids.len(),
                strings("uuids").len()
            ));
        }
        assert_eq!(succeeded, said.is_empty(), "{args:?} says why it fails, and nothing else: {said}");
    }
    assert!(wrong.is_empty(), "{} of {compared} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared >= 85);
}
