//! Files and command lines, right and wrong. The environment is tried with the real programs.

use std::io::Write as _;

use super::*;

const PROGRAM: Program = Program { prefix: "SETTINGS_TEST", by_command: false };

fn command() -> Command {
    let number = clap::value_parser!(u16).range(1..=1000);
    let ports = Arg::new("ports").long("port").action(ArgAction::Append).value_delimiter(',');
    let run = Command::new("run")
        .arg(Arg::new("size").long("ring-size").value_parser(number).default_value("7"))
        .arg(ports.value_parser(number))
        .arg(Arg::new("open").long("insecure").action(ArgAction::SetTrue))
        .arg(Arg::new("colour").long("colour").value_parser(["red", "blue"]).default_value("red"))
        .arg(Arg::new("file"));
    Command::new("program")
        .arg(Arg::new("log").long("log").global(true).default_value("info"))
        .subcommand(run)
}

fn parsed(text: &str, args: &[&str]) -> Result<ArgMatches, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let all = ["program", "run", "--config", &path].into_iter().chain(args.iter().copied());
    parse(command(), PROGRAM, all.map(Into::into)).map_err(|error| error.to_string().replace(&path, "FILE"))
}

fn values(matches: &ArgMatches) -> (String, u16, Vec<u16>, bool, String) {
    let run = matches.subcommand_matches("run").unwrap();
    let text = |of: &ArgMatches, id: &str| of.get_one::<String>(id).unwrap().clone();
    let ports = run.get_many::<u16>("ports").into_iter().flatten().copied().collect();
    (text(matches, "log"), *run.get_one("size").unwrap(), ports, run.get_flag("open"), text(run, "colour"))
}

#[test]
fn a_flag_comes_before_the_file_and_that_before_the_default() {
    let text = "log: debug\nrun:\n  ring-size: 20\n  port: [1, 2]\n  insecure: true\n";
    let of = |args: &[&str]| values(&parsed(text, args).unwrap());
    assert_eq!(of(&[]), ("debug".into(), 20, vec![1, 2], true, "red".into()));
    let flags = of(&["--ring-size", "30", "--port", "9", "--log", "warn"]);
    assert_eq!(flags, ("warn".into(), 30, vec![9], true, "red".into()));
    assert_eq!(values(&parsed("", &[]).unwrap()), ("info".into(), 7, vec![], false, "red".into()));
    assert_eq!(values(&parsed("run: {port: \"3,4\"}", &[]).unwrap()).2, [3, 4]);
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_what_would_be_right() {
    let wrong = |text: &str| parsed(text, &[]).unwrap_err();
    let errors = [
        wrong("run:\n  ring-siez: 3"),
        wrong("rnu:\n  ring-size: 3"),
        wrong("run:\n  ring-size: 0"),
        wrong("\nrun:\n  ring-size: many"),
        wrong("run:\n  ring-size: [1, 2]"),
        wrong("run:\n  ring-size:"),
        wrong("run:\n  port:\n    - 1\n    - {}"),
        wrong("run:\n  insecure: perhaps"),
        wrong("run:\n  colour: green"),
        wrong("run: 3"),
        wrong("ring-size: 3"),
        wrong("run:\n  log: debug"),
        wrong("config: other.yaml"),
        wrong("run:\n  file: x"),
        wrong("- run"),
        wrong("log: info\nlog: debug"),
        wrong("run:\n  colour: [red"),
    ];
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let args = |file: &str| ["program", "run", "--config", file].map(OsString::from);
    let error = parse(command(), PROGRAM, args("/nonexistent/weir.yaml")).unwrap_err().to_string();
    assert!(error.starts_with("--config /nonexistent/weir.yaml: No such file"), "{error}");
    let error = parse(command(), PROGRAM, args("/")).unwrap_err().to_string();
    assert!(error.starts_with("--config /: ") && error.contains("directory"), "{error}");
}

#[test]
fn every_flag_has_a_variable_and_help_names_it() {
    let mut configured = configured(command(), PROGRAM);
    let help = configured.find_subcommand_mut("run").unwrap().render_help().to_string();
    for variable in ["RING_SIZE", "PORT", "INSECURE", "COLOUR"] {
        assert!(help.contains(&format!("[env: SETTINGS_TEST_{variable}]")), "{help}");
    }
    let help = parse(command(), PROGRAM, ["program", "--help"].map(OsString::from)).unwrap_err();
    let SettingsError::Usage(help) = help else { panic!("{help}") };
    assert!(!help.use_stderr() && help.to_string().contains("[env: SETTINGS_TEST_CONFIG]"), "{help}");
}
