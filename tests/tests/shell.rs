//! What `weir` gives to a shell: scripts that a real bash loads and completes by, and manual pages that name every command
//! and every field.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::process::{Command, Stdio};

use weir_tests::program;

fn printed(args: &[&str]) -> String {
    let ended = Command::new(program("weir").unwrap()).args(args).output().unwrap();
    assert!(ended.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).unwrap()
}

/// What bash offers for the last of the words.
fn offered(words: &[&str]) -> Vec<String> {
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(script.path(), printed(&["completions", "bash"])).unwrap();
    let last = words.len() - 1;
    let asked = format!(
        "source {}; COMP_WORDS=({}); COMP_CWORD={last}; _weir weir {} {}; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.path().display(),
        words.join(" "),
        words[last],
        words[last - 1],
    );
    let answer = Command::new("bash").args(["--norc", "-c", &asked]).output().unwrap();
    assert!(answer.stderr.is_empty(), "{}", String::from_utf8_lossy(&answer.stderr));
    String::from_utf8(answer.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_flags_and_values() {
    assert_eq!(offered(&["weir", "obs"]), ["observe"]);
    assert_eq!(offered(&["weir", "observe", "--conn"]), ["--connections"]);
    assert_eq!(offered(&["weir", "status", "--output", "js"]), ["json"]);
    assert_eq!(offered(&["weir", "pol"]), ["policy"]);
}

#[test]
fn every_shell_has_a_script_and_a_reader_that_leaves_is_no_error() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(printed(&["completions", shell]).contains("observe"), "{shell}");
    }
    let mut child = Command::new(program("weir").unwrap())
        .args(["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
}

#[test]
fn pages_name_every_command_and_the_whole_filter_language() {
    let page = printed(&["man"]);
    assert!(page.contains(".TH weir 1"), "{page}");
    for command in ["observe", "policy", "query", "status", "completions", "man"] {
        assert!(page.contains(&format!("weir\\-{command}(1)")), "{command}: {page}");
    }
    // What the page escapes is no letter.
    let letters = |text: &str| text.replace("\\*(Aq", "").replace(|c: char| !c.is_alphanumeric(), "");
    assert!(letters(&page).contains(&letters(&printed(&["query"]))));
    let explain = printed(&["man", "policy-explain"]);
    assert!(explain.contains(".TH weir-policy-explain 1") && explain.contains("Exit code: 0"), "{explain}");
    let observe = printed(&["man", "observe"]);
    assert!(observe.contains(".TH weir-observe 1") && observe.contains("\\-\\-from\\-pod"), "{observe}");
}
