//! Commands behind `:`. One table names them all; completion, errors and help are made from it.

use super::export::FORMS;
use super::history::SAVED_FILE;
use super::{Effect, Model, Overlay, View};

/// A command.
struct Command {
    name: &'static str,
    /// What follows the name.
    takes: &'static str,
    help: &'static str,
    /// Words that may follow the name.
    words: fn(&Model) -> Vec<String>,
    run: fn(&mut Model, &str) -> Result<Vec<Effect>, String>,
}

const COMMANDS: &[Command] = &[
    Command { name: "quit", takes: "", help: "leave", words: none, run: |_, _| Ok(vec![Effect::Quit]) },
    Command { name: "filter", takes: "QUERY", help: "show what passes", words: none, run: filter },
    Command { name: "sort", takes: "COLUMN", help: "sort by a column", words: columns, run: sort },
    Command { name: "view", takes: "NAME", help: "show a view", words: views, run: view },
    Command { name: "export", takes: "FORM", help: "write rows to a file", words: forms, run: export },
    Command { name: "save", takes: "NAME", help: "give the filter a name", words: saved, run: save },
    Command { name: "use", takes: "NAME", help: "filter by a saved one", words: saved, run: recall },
    Command { name: "theme", takes: "NAME", help: "other colours", words: themes, run: theme },
    Command { name: "help", takes: "", help: "the keys", words: none, run: help },
];

fn none(_: &Model) -> Vec<String> {
    Vec::new()
}

fn columns(model: &Model) -> Vec<String> {
    let titles = model.table().columns.iter().map(|column| column.title);
    titles.filter(|title| !title.is_empty()).map(str::to_owned).collect()
}

fn views(_: &Model) -> Vec<String> {
    View::ALL.map(|view| view.name().to_owned()).to_vec()
}

fn forms(_: &Model) -> Vec<String> {
    FORMS.iter().map(|(_, name, ..)| (*name).to_owned()).collect()
}

fn saved(model: &Model) -> Vec<String> {
    model.history.names().map(str::to_owned).collect()
}

fn themes(model: &Model) -> Vec<String> {
    model.themes.iter().map(|name| (*name).to_owned()).collect()
}

fn filter(model: &mut Model, text: &str) -> Result<Vec<Effect>, String> {
    weir_proto::query::validate(text).map_err(|error| error.to_string())?;
    model.set_filter(text);
    Ok(Vec::new())
}

/// The one of these words that is meant: as it is, or its beginning.
fn meant(what: &str, typed: &str, words: &[String]) -> Result<usize, String> {
    let typed = typed.to_lowercase();
    let exact = words.iter().position(|word| word.to_lowercase() == typed);
    let begun = || words.iter().position(|word| !typed.is_empty() && word.to_lowercase().starts_with(&typed));
    exact.or_else(begun).ok_or_else(|| format!("no {what} {typed}: {}", words.join(", ")))
}

fn sort(model: &mut Model, name: &str) -> Result<Vec<Effect>, String> {
    let words = columns(model);
    let title = &words[meant("column", name, &words)?];
    let table = model.table_mut();
    table.sort = table.columns.iter().position(|column| column.title == title).unwrap_or_default();
    model.sorted();
    Ok(Vec::new())
}

fn view(model: &mut Model, name: &str) -> Result<Vec<Effect>, String> {
    let at = meant("view", name, &views(model))?;
    model.show(View::ALL[at]);
    Ok(Vec::new())
}

fn export(model: &mut Model, name: &str) -> Result<Vec<Effect>, String> {
    let at = meant("form", name, &forms(model))?;
    Ok(model.export(FORMS[at].3))
}

fn save(model: &mut Model, name: &str) -> Result<Vec<Effect>, String> {
    let text = model.filter.text.clone();
    if text.is_empty() {
        return Err("there is no filter to save".to_owned());
    }
    if !model.history.save(name, &text) {
        return Err("a filter is saved under one word, and there is a bound to how many".to_owned());
    }
    model.say(format!("saved as {name}: {text}"));
    Ok(vec![Effect::Keep(SAVED_FILE, model.history.saved_lines())])
}

fn recall(model: &mut Model, name: &str) -> Result<Vec<Effect>, String> {
    let words = saved(model);
    let at = meant("saved filter", name, &words)?;
    let text = model.history.saved(&words[at]).unwrap_or_default().to_owned();
    filter(model, &text)
}

fn theme(model: &mut Model, name: &str) -> Result<Vec<Effect>, String> {
    model.theme = meant("theme", name, &themes(model))?;
    Ok(Vec::new())
}

fn help(model: &mut Model, _: &str) -> Result<Vec<Effect>, String> {
    model.overlay = Overlay::Help(0);
    Ok(Vec::new())
}

/// Names of all commands and what they do, for completion.
pub(super) fn names() -> Vec<(String, &'static str)> {
    let shown = |command: &Command| {
        let gap = if command.takes.is_empty() { "" } else { " " };
        (format!("{}{gap}", command.name), command.help)
    };
    COMMANDS.iter().map(shown).collect()
}

/// Words that may follow a command.
pub(super) fn words(model: &Model, name: &str) -> Vec<(String, &'static str)> {
    let command = COMMANDS.iter().find(|command| command.name == name);
    let words = command.map_or_else(Vec::new, |command| (command.words)(model));
    words.into_iter().map(|word| (word, "")).collect()
}

/// True if a command of that name, or the beginning of one, stands there.
#[must_use]
pub fn is_known(text: &str) -> bool {
    let name = text.split(' ').next().unwrap_or_default();
    COMMANDS
        .iter()
        .any(|command| if text.contains(' ') { command.name == name } else { command.name.starts_with(name) })
}

impl Model {
    pub(super) fn run_command(&mut self, text: &str) -> Vec<Effect> {
        let (name, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if name.is_empty() {
            return Vec::new();
        }
        let exact = COMMANDS.iter().find(|command| command.name == name);
        let done = match exact.or_else(|| COMMANDS.iter().find(|command| command.name.starts_with(name))) {
            Some(command) => (command.run)(self, rest.trim()),
            None => {
                let shown = |command: &Command| format!("{} {}", command.name, command.takes);
                let all: Vec<String> = COMMANDS.iter().map(|c| shown(c).trim_end().to_owned()).collect();
                Err(format!("no command {name}: {}", all.join(", ")))
            }
        };
        done.unwrap_or_else(|problem| {
            self.say(crate::print::escape(&problem));
            Vec::new()
        })
    }
}
