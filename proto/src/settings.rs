//! How each of the three programs is configured: a flag comes before an environment variable, that before the file of
//! `--config`, that before the default. From the program's own clap command, which alone says what there is.
//!
//! The variable of a flag is the program's prefix and the flag's name (`WEIR_RELAY_PEER_DNS`). The file is YAML; its keys are
//! the long names of flags, those of a command below the command's name. What is wrong in it is said with its line, and with
//! the key that was probably meant. Its values become defaults of the flags, so that help shows them.

mod file;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::builder::BoolishValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use file::{Entries, Node};

/// The long name of the flag that names the file.
const CONFIG: &str = "config";

/// How a program's variables are named.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The beginning of their names.
    pub prefix: &'static str,
    /// Whether the command that a flag belongs to is part of the name: where commands have flags of one name and another
    /// meaning.
    pub by_command: bool,
}

/// `weir-daemon`.
pub const DAEMON: Program = Program { prefix: "WEIR_DAEMON", by_command: false };
/// `weir-relay`.
pub const RELAY: Program = Program { prefix: "WEIR_RELAY", by_command: false };
/// `weir`.
pub const WEIR: Program = Program { prefix: "WEIR", by_command: true };

/// What was asked for cannot be.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// On the command line or in the environment; or help was asked for.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// The file of `--config`.
    #[error("--config {}{}: {why}", file.display(), line.map(|line| format!(" line {line}")).unwrap_or_default())]
    File {
        /// The file.
        file: PathBuf,
        /// Where in it, from 1.
        line: Option<u64>,
        /// What is wrong, and how it would be right.
        why: String,
    },
}

impl SettingsError {
    /// Prints what there is to say, and gives the exit code: 2 for what is wrong, 0 for help that was asked for.
    #[must_use]
    pub fn report(&self, program: &str) -> u8 {
        // A closed pipe is the reader's choice.
        match self {
            Self::Usage(error) => {
                let _ = error.print();
                if error.use_stderr() { 2 } else { 0 }
            }
            Self::File { .. } => {
                let _ = writeln!(std::io::stderr(), "{program}: {self}");
                2
            }
        }
    }
}

/// The command with `--config`, and with a variable for every flag that has none.
#[must_use]
pub fn configured(command: Command, program: Program) -> Command {
    let config = Arg::new(CONFIG)
        .long(CONFIG)
        .global(true)
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help("YAML file with the flags' names as keys; a flag or its variable comes before it");
    with_variables(command.arg(config), program, program.prefix)
}

fn with_variables(command: Command, program: Program, prefix: &str) -> Command {
    command.mut_args(|arg| with_variable(arg, prefix)).mut_subcommands(|command| {
        let own = format!("{prefix}_{}", variable(command.get_name()));
        with_variables(command, program, if program.by_command { &own } else { prefix })
    })
}

fn with_variable(arg: Arg, prefix: &str) -> Arg {
    let is_switch = is_switch(&arg);
    let Some(name) = arg.get_long().filter(|_| is_switch || takes_value(&arg)) else { return arg };
    let name = format!("{prefix}_{}", variable(name));
    let has_one = arg.get_env().is_some();
    // Variables hold what is not for everybody's eyes: help names them and does not show them.
    let arg = arg.hide_env_values(true);
    let arg = if is_switch { arg.value_parser(BoolishValueParser::new()) } else { arg };
    if has_one { arg } else { arg.env(name) }
}

fn variable(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values() && arg.get_num_args().is_none_or(|number| number.max_values() > 0)
}

fn takes_many(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append) || arg.get_value_delimiter().is_some()
}

/// Parses a command line with all that stands behind it.
///
/// # Errors
/// What is wrong with it, or with the file; and help and version, which are to be printed.
pub fn parse(
    command: Command,
    program: Program,
    args: impl IntoIterator<Item = OsString>,
) -> Result<ArgMatches, SettingsError> {
    let args: Vec<OsString> = args.into_iter().collect();
    let command = configured(command, program);
    let Some(path) = config_file(&command, &args)? else {
        return Ok(command.try_get_matches_from(args)?);
    };
    let entries = file::read(&path)?;
    let file = File { path: &path, program: &command };
    let command = file.applied(command.clone(), entries, &[])?;
    Ok(command.try_get_matches_from(args)?)
}

/// The file that the command line or the environment names, whatever else is wrong with them.
fn config_file(command: &Command, args: &[OsString]) -> Result<Option<PathBuf>, clap::Error> {
    let matches = match command.clone().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(shown) if !shown.use_stderr() => return Err(shown),
        Err(_) => command.clone().ignore_errors(true).try_get_matches_from(args)?,
    };
    Ok(matches.get_one::<PathBuf>(CONFIG).cloned())
}

/// A file whose entries become defaults.
struct File<'a> {
    path: &'a Path,
    /// The whole program, to try values on.
    program: &'a Command,
}

impl File<'_> {
    fn wrong(&self, line: u64, why: String) -> SettingsError {
        SettingsError::File { file: self.path.to_owned(), line: Some(line), why }
    }

    /// The command with these entries as its defaults; `names` are the commands that lead to it.
    fn applied(
        &self,
        mut command: Command,
        entries: Entries,
        names: &[String],
    ) -> Result<Command, SettingsError> {
        let mut lines = HashMap::new();
        for (key, line, value) in entries {
            if let Some(before) = lines.insert(key.clone(), line) {
                return Err(self.wrong(line, format!("{key} stands in line {before} already")));
            }
            if let Some(inner) = command.find_subcommand_mut(&key) {
                let Node::Map(entries) = value else {
                    return Err(
                        self.wrong(line, format!("{key} is a command: below it stand its flags, as keys"))
                    );
                };
                let names: Vec<_> = names.iter().chain([&key]).cloned().collect();
                let own = std::mem::replace(inner, Command::new("taken"));
                *inner = self.applied(own, entries, &names)?;
            } else {
                command = self.set(command, &key, line, value, names)?;
            }
        }
        Ok(command)
    }

    fn set(
        &self,
        command: Command,
        key: &str,
        line: u64,
        value: Node,
        names: &[String],
    ) -> Result<Command, SettingsError> {
        let known = command.get_arguments().find(|arg| arg.get_long() == Some(key) && key != CONFIG);
        let Some(arg) = known.filter(|arg| is_switch(arg) || takes_value(arg)) else {
            return Err(self.wrong(line, self.unknown(key, names)));
        };
        let values = value.into_values().filter(|values| values.len() == 1 || takes_many(arg));
        let Some(values) = values else {
            let wanted = if takes_many(arg) { "a value or a list of values" } else { "one value" };
            return Err(self.wrong(line, format!("{key} takes {wanted}")));
        };
        let refused = values.iter().find_map(|value| self.refused(arg, value, names).map(|why| (value, why)));
        if let Some((value, why)) = refused {
            return Err(self.wrong(line, format!("{key}: {value:?} will not do: {why}")));
        }
        let id = arg.get_id().clone();
        Ok(command.mut_arg(id.as_str(), |arg| arg.default_values(values)))
    }

    /// Why clap would not take the value on the command line.
    fn refused(&self, arg: &Arg, value: &str, names: &[String]) -> Option<String> {
        if is_switch(arg) {
            return (!matches!(value, "true" | "false")).then(|| "it is true or false".to_owned());
        }
        let flag = format!("--{}", arg.get_long().unwrap_or_default());
        let error = self.tried(&format!("{flag}={value}"), names)?;
        let of_flag = matches!(error.get(ContextKind::InvalidArg), Some(ContextValue::String(text)) if
            text.split_whitespace().next() == Some(flag.as_str()));
        match error.kind() {
            ErrorKind::ValueValidation if of_flag => {
                let cause = std::error::Error::source(&error);
                Some(cause.map_or_else(|| "it is malformed".to_owned(), ToString::to_string))
            }
            ErrorKind::InvalidValue if of_flag => match error.get(ContextKind::ValidValue) {
                Some(ContextValue::Strings(values)) => Some(format!("it is one of {}", values.join(", "))),
                _ => Some("it is empty".to_owned()),
            },
            _ => None,
        }
    }

    /// What clap says to one flag after these commands.
    fn tried(&self, flag: &str, names: &[String]) -> Option<clap::Error> {
        let program = self.program.get_name().to_owned();
        let args = [program].into_iter().chain(names.iter().cloned()).chain([flag.to_owned()]);
        self.program.clone().try_get_matches_from(args).err()
    }

    fn unknown(&self, key: &str, names: &[String]) -> String {
        if key == CONFIG {
            return "a file names no other file".to_owned();
        }
        let place = [self.program.get_name()].into_iter().chain(names.iter().map(String::as_str));
        let place = place.collect::<Vec<_>>().join(" ");
        let no_flag = format!("{place} has no flag --{key}");
        let has = |command: &Command| command.get_arguments().any(|arg| arg.get_long() == Some(key));
        if !names.is_empty() && has(self.program) {
            return format!("{no_flag} of its own: {key} stands at the file's left edge");
        }
        if let Some(other) =
            self.program.get_subcommands().find(|other| has(other)).filter(|_| names.is_empty())
        {
            return format!("{no_flag}: {key} stands below {}:", other.get_name());
        }
        let meant = self.tried(&format!("--{key}"), names).and_then(|error| suggested(&error));
        match meant.or_else(|| self.command_like(key, names)) {
            Some(meant) => format!("{no_flag}; did you mean {meant}?"),
            None => format!("{no_flag}: the keys are the long flags of {place} --help"),
        }
    }

    /// The command of this program that was probably meant.
    fn command_like(&self, key: &str, names: &[String]) -> Option<String> {
        let error = self.tried(key, names)?;
        match error.get(ContextKind::SuggestedSubcommand)? {
            ContextValue::Strings(names) => names.first().cloned(),
            ContextValue::String(name) => Some(name.clone()),
            _ => None,
        }
    }
}

fn suggested(error: &clap::Error) -> Option<String> {
    match error.get(ContextKind::SuggestedArg)? {
        ContextValue::String(flag) => flag.split_whitespace().next()?.strip_prefix("--").map(str::to_owned),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
