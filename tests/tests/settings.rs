//! Flags, variables and files as the real programs take them; and the README's tables of them, which follow from the programs.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command as Process;

use clap::{Arg, Command, CommandFactory as _};
use rustix::process::{Pid, Signal, kill_process};
use weir_proto::settings::{self, Program};
use weir_tests::{DEADLINE, Ended, Running, answering, finish, program, root, wait_for};

fn run(name: &str, args: &[&str], variables: &[(&str, &str)]) -> Ended {
    let mut command = Process::new(program(name).unwrap());
    finish(command.args(args).envs(variables.iter().copied())).unwrap()
}

fn written(folder: &Path, text: &str) -> String {
    let path = folder.join("weir.yaml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// An address that is refused shows which one counted.
#[test]
fn a_flag_comes_before_a_variable_that_before_the_file_and_that_before_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "listen: 0.0.0.0:1\npeer: [a=127.0.0.1:9]\n");
    let variable = [("WEIR_RELAY_LISTEN", "0.0.0.0:2"), ("WEIR_RELAY_CONFIG", file.as_str())];
    let refused = |args: &[&str], variables: &[(&str, &str)]| {
        let ended = run("weir-relay", args, variables);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        ended.sentence().split_whitespace().nth(2).unwrap().to_owned()
    };
    assert_eq!(refused(&["--config", &file], &[]), "0.0.0.0:1");
    assert_eq!(refused(&[], &variable), "0.0.0.0:2");
    assert_eq!(refused(&["--listen", "0.0.0.0:3"], &variable), "0.0.0.0:3");
}

#[test]
fn what_is_wrong_in_a_file_is_said_by_every_program() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        (
            "weir-daemon",
            "run:\n  snaplen: 10\n",
            "line 2: snaplen: \"10\" will not do: 10 is not in 96..=65535",
        ),
        ("weir-daemon", "run:\n  lissten: x\n", "did you mean listen?"),
        ("weir-relay", "peers: x\n", "did you mean peer?"),
        ("weir", "timeout: 5\ntimeout: 6\n", "line 2: timeout stands in line 1 already"),
    ];
    for (name, text, why) in cases {
        let file = written(folder.path(), text);
        let ended = run(name, &["--config", &file], &[]);
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{ended:?}");
        let said = ended.sentence();
        assert!(
            said.starts_with(&format!("{name}: --config {file}")) && said.contains(why),
            "{why}: {ended:?}"
        );
    }
}

#[test]
fn help_names_the_variables_and_shows_no_value_of_them() {
    let ended = run("weir", &["observe", "--help"], &[("WEIR_SERVER", "secret.example:1")]);
    assert!(ended.out.contains("WEIR_SERVER") && ended.out.contains("WEIR_CONFIG"), "{ended:?}");
    assert!(!ended.out.contains("secret"), "{ended:?}");
}

#[test]
fn a_program_that_is_asked_to_end_ends_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("node.sock");
    let mut command = Process::new(program("weir-daemon").unwrap());
    command.arg("replay").arg(root().join("tests/scenarios/two-nodes/rowan.pcapng"));
    let log = folder.path().join("log");
    let mut node = Running::logging(command.arg("--unix").arg(&socket), &log).unwrap();
    answering(&socket).unwrap();
    let id = Pid::from_child(node.child());
    kill_process(id, Signal::TERM).unwrap();
    let status = wait_for("its end", DEADLINE, || node.child().try_wait().unwrap()).unwrap();
    assert!(status.success() && !socket.exists(), "{status}");
}

fn row(arg: &Arg) -> String {
    let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
    let defaults: Vec<_> = arg.get_default_values().iter().map(|it| it.to_string_lossy()).collect();
    let variable = arg.get_env().unwrap_or_default().to_string_lossy();
    let flag = format!("--{}", arg.get_long().unwrap());
    // A switch is off unless it is said.
    let defaults = defaults.join(",").replace("false", "");
    let help = arg.get_help().unwrap().to_string().replace('|', "\\|");
    format!("| {} | {} | {} | {help} |\n", code(&flag), code(&variable), code(&defaults))
}

fn table(command: Command, program: Program, below: Option<&str>) -> String {
    let command = settings::configured(command, program);
    let mut text = "| flag | variable | default | |\n|---|---|---|---|\n".to_owned();
    let below = below.map(|name| command.find_subcommand(name).unwrap());
    let args = command.get_arguments().chain(below.into_iter().flat_map(Command::get_arguments));
    for arg in args.filter(|arg| arg.get_long().is_some_and(|long| !["help", "version"].contains(&long))) {
        write!(text, "{}", row(arg)).unwrap();
    }
    text
}

/// `WEIR_GENERATE=1` writes them anew.
#[test]
fn the_readmes_tables_are_the_programs_flags() {
    let daemon = table(weir_daemon::config::Cli::command(), settings::DAEMON, Some("run"));
    let relay = table(weir_relay::config::Args::command(), settings::RELAY, None);
    let path = root().join("README.md");
    let before = std::fs::read_to_string(&path).unwrap();
    let mut readme = before.clone();
    for (name, table) in [("weir-daemon", daemon), ("weir-relay", relay)] {
        let begin = format!("<!-- settings {name} -->\n");
        let from = readme.find(&begin).unwrap() + begin.len();
        let to = from + readme[from..].find("<!-- end -->").unwrap();
        readme.replace_range(from..to, &table);
    }
    if std::env::var_os("WEIR_GENERATE").is_some() {
        std::fs::write(path, readme).unwrap();
    } else {
        assert_eq!(before, readme, "WEIR_GENERATE=1 cargo test -p weir-tests --test settings writes it anew");
    }
}
