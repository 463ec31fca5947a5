//! The keys: one table that says what a key does, where, and in which words.
//!
//! The overlay of `?`, the hints of the last line and the README's table are all made from it. A new key is one entry here.

use crossterm::event::{KeyCode, KeyModifiers};

/// Where a key works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In tables and in an opened connection.
    Everywhere,
    /// In tables.
    Table,
}

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Shows the view of that number, from 1.
    View(u8),
    /// So many views further.
    NextView(isize),
    /// Moves the selection, or the text of an opened connection, by lines.
    Move(i32),
    /// Moves by halves of a page.
    HalfPages(i32),
    /// To the first line.
    First,
    /// To the last line.
    Last,
    /// To the next row that failed, or, if false, to the one before.
    NextFailed(bool),
    /// Opens what is selected.
    Open,
    /// One step back: overlay, connection, filter.
    Back,
    /// Begins to type a filter.
    Filter,
    /// The column to sort by moves by so many.
    SortColumn(i32),
    /// Sorts the other way round.
    Reverse,
    /// Stops the screen, or lets it go on.
    Freeze,
    /// Keeps one connection at the top.
    Follow,
    /// Copies to the clipboard of the terminal.
    Copy,
    /// Asks for the form to export in.
    Export,
    /// Shows or hides the keys.
    Help,
    /// Begins to type a command.
    Command,
    /// Gives the terminal back to the shell for a while.
    Suspend,
    /// Leaves.
    Quit,
}

/// One line of the table.
#[derive(Debug)]
pub struct Binding {
    /// The keys, any of which does it.
    pub keys: &'static [(KeyCode, KeyModifiers)],
    /// How they are written.
    pub shown: &'static str,
    /// Where.
    pub scope: Scope,
    /// In words.
    pub help: &'static str,
    /// What it does.
    pub action: Action,
}

const NONE: KeyModifiers = KeyModifiers::NONE;
const CTRL: KeyModifiers = KeyModifiers::CONTROL;

const fn c(character: char) -> (KeyCode, KeyModifiers) {
    (KeyCode::Char(character), NONE)
}

macro_rules! key {
    ($keys:expr, $shown:literal, $scope:ident, $action:expr, $help:literal) => {
        Binding { keys: &$keys, shown: $shown, scope: Scope::$scope, help: $help, action: $action }
    };
}

/// All keys, in the order in which they are shown.
pub const KEYS: &[Binding] = &[
    key!([c('1')], "1", Everywhere, Action::View(1), "Connections, updated in place"),
    key!([c('2')], "2", Everywhere, Action::View(2), "Flows, as they come"),
    key!([c('3')], "3", Everywhere, Action::View(3), "Services and their backends"),
    key!([c('4')], "4", Everywhere, Action::View(4), "DNS: names, answers, waste"),
    key!([c('5')], "5", Everywhere, Action::View(5), "Drops and denials, and why"),
    key!([c('6')], "6", Everywhere, Action::View(6), "Nodes: rate, loss, lag, skew"),
    key!([(KeyCode::Tab, NONE)], "Tab", Everywhere, Action::NextView(1), "next view"),
    key!([(KeyCode::BackTab, NONE)], "S-Tab", Everywhere, Action::NextView(-1), "view before"),
    key!([c('j'), (KeyCode::Down, NONE)], "j ↓", Everywhere, Action::Move(1), "down"),
    key!([c('k'), (KeyCode::Up, NONE)], "k ↑", Everywhere, Action::Move(-1), "up"),
    key!(
        [(KeyCode::Char('d'), CTRL), (KeyCode::PageDown, NONE)],
        "^d PgDn",
        Everywhere,
        Action::HalfPages(1),
        "half a page down"
    ),
    key!(
        [(KeyCode::Char('u'), CTRL), (KeyCode::PageUp, NONE)],
        "^u PgUp",
        Everywhere,
        Action::HalfPages(-1),
        "half a page up"
    ),
    key!([c('g'), (KeyCode::Home, NONE)], "g Home", Everywhere, Action::First, "first line"),
    key!([c('G'), (KeyCode::End, NONE)], "G End", Everywhere, Action::Last, "last line"),
    key!([c('n')], "n", Table, Action::NextFailed(true), "next row that failed"),
    key!([c('N')], "N", Table, Action::NextFailed(false), "row before that failed"),
    key!([(KeyCode::Enter, NONE)], "Enter", Table, Action::Open, "open it, or its connections"),
    key!([(KeyCode::Esc, NONE)], "Esc", Everywhere, Action::Back, "back; takes the filter back"),
    key!([c('/')], "/", Table, Action::Filter, "filter; Tab, ↑ history"),
    key!([c('>'), (KeyCode::Right, NONE)], "> →", Table, Action::SortColumn(1), "sort by the next column"),
    key!([c('<'), (KeyCode::Left, NONE)], "< ←", Table, Action::SortColumn(-1), "sort by the column before"),
    key!([c('r')], "r", Table, Action::Reverse, "sort the other way round"),
    key!([c(' ')], "Space", Everywhere, Action::Freeze, "freeze, count; again: go on"),
    key!([c('f')], "f", Everywhere, Action::Follow, "follow: keep on first line"),
    key!([c('y')], "y", Everywhere, Action::Copy, "copy (OSC 52 or tmux)"),
    key!([c('e')], "e", Everywhere, Action::Export, "export: json, csv, command"),
    key!([c(':')], ":", Everywhere, Action::Command, "command; Tab lists them"),
    key!([c('?')], "?", Everywhere, Action::Help, "these keys"),
    key!([(KeyCode::Char('z'), CTRL)], "^z", Everywhere, Action::Suspend, "suspend to the shell"),
    key!([c('q'), (KeyCode::Char('c'), CTRL)], "q ^c", Everywhere, Action::Quit, "quit"),
];

/// What a key does in a table, or in an opened connection.
#[must_use]
pub fn action(code: KeyCode, modifiers: KeyModifiers, in_table: bool) -> Option<Action> {
    // Terminals differ in whether Shift is told of a character that is already the shifted one.
    let modifiers = modifiers - KeyModifiers::SHIFT;
    KEYS.iter()
        .filter(|binding| in_table || binding.scope == Scope::Everywhere)
        .find(|binding| binding.keys.contains(&(code, modifiers)))
        .map(|binding| binding.action)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_does_two_things() {
        let mut all: Vec<_> = KEYS.iter().flat_map(|binding| binding.keys).collect();
        let count = all.len();
        all.sort_by_key(|(code, modifiers)| (format!("{code:?}"), modifiers.bits()));
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn the_manual_has_these_keys() {
        let rows: Vec<String> =
            KEYS.iter().map(|binding| format!("| `{}` | {} |", binding.shown, binding.help)).collect();
        let table = format!("| key | what it does |\n|---|---|\n{}", rows.join("\n"));
        assert!(
            include_str!("../../README.md").contains(&table),
            "README.md has another table than:\n{table}"
        );
    }
}
