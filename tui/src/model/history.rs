//! Filters that were typed, and filters that were given a name: in memory, and as the lines of two small files.
//!
//! What a file holds is not trusted: lines that no query could be are left out, and both lists are bounded.

use weir_proto::query::MAX_LENGTH;

/// Filters that are remembered.
pub const MOST: usize = 200;
/// The file of the filters that were typed, one a line, oldest first.
pub const TYPED_FILE: &str = "filters";
/// The file of the filters with names: name, tab, filter.
pub const SAVED_FILE: &str = "saved-filters";

/// Both lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    typed: Vec<String>,
    saved: Vec<(String, String)>,
}

fn is_line(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= 4 * MAX_LENGTH && !text.chars().any(char::is_control)
}

impl History {
    /// From the contents of the two files; empty texts where there are none.
    #[must_use]
    pub fn read(typed: &str, saved: &str) -> Self {
        let mut history = Self::default();
        typed.lines().for_each(|line| history.push(line));
        for (name, filter) in saved.lines().filter_map(|line| line.split_once('\t')) {
            history.save(name, filter);
        }
        history
    }

    /// Remembers what was typed, as the latest. One that is known moves up.
    pub fn push(&mut self, filter: &str) {
        if !is_line(filter) {
            return;
        }
        self.typed.retain(|known| known != filter);
        self.typed.push(filter.to_owned());
        let surplus = self.typed.len().saturating_sub(MOST);
        self.typed.drain(..surplus);
    }

    /// Gives a filter a name. False if the name cannot be one, or there are too many.
    pub fn save(&mut self, name: &str, filter: &str) -> bool {
        let fits = is_line(name) && !name.contains(' ') && is_line(filter);
        self.saved.retain(|(known, _)| known != name || !fits);
        if !fits || self.saved.len() >= MOST {
            return false;
        }
        self.saved.push((name.to_owned(), filter.to_owned()));
        true
    }

    /// The filter typed so many before the next one.
    #[must_use]
    pub fn back(&self, by: usize) -> Option<&str> {
        self.typed.get(self.typed.len().checked_sub(by)?).map(String::as_str)
    }

    /// How many are remembered.
    #[must_use]
    pub fn count(&self) -> usize {
        self.typed.len()
    }

    /// The filter of that name.
    #[must_use]
    pub fn saved(&self, name: &str) -> Option<&str> {
        self.saved.iter().find(|(known, _)| known == name).map(|(_, filter)| filter.as_str())
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.saved.iter().map(|(name, _)| name.as_str())
    }

    /// Contents of [`TYPED_FILE`].
    #[must_use]
    pub fn typed_lines(&self) -> String {
        self.typed.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Contents of [`SAVED_FILE`].
    #[must_use]
    pub fn saved_lines(&self) -> String {
        self.saved.iter().map(|(name, filter)| format!("{name}\t{filter}\n")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_survives_its_files() {
        let mut history = History::default();
        for number in 0..MOST + 50 {
            history.push(&format!("port={number}"));
        }
        history.push("port=60");
        assert_eq!((history.count(), history.back(1)), (MOST, Some("port=60")));
        assert!(history.save("web", "ns=shop") && history.save("web", "ns=bank"));
        assert!(!history.save("two words", "ns=shop") && !history.save("bad", "a\u{1b}b"));
        let again = History::read(&history.typed_lines(), &history.saved_lines());
        assert_eq!(again, history);
        assert_eq!(again.saved("web"), Some("ns=bank"));
    }

    #[test]
    fn a_damaged_file_costs_its_damaged_lines() {
        let long = "x".repeat(5 * MAX_LENGTH);
        let history =
            History::read(&format!("ns=a\n\u{0}\u{1b}[2J\n{long}\nns=b\n"), "no tab\nweb\tns=shop\n");
        assert_eq!(
            (history.count(), history.back(1), history.saved("web")),
            (2, Some("ns=b"), Some("ns=shop"))
        );
    }
}
