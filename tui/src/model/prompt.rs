//! What is being typed: a filter that works as it is typed, or a command.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{Effect, Model};
use crate::model::filter;

/// Characters that one line takes.
const LONGEST: usize = 400;
/// Filters that are remembered.
const REMEMBERED: usize = 50;

/// What the text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Filters rows.
    Filter,
    /// Is carried out at Enter.
    Command,
}

/// One line of text with the cursor at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// What for.
    pub purpose: Purpose,
    /// What stands there.
    pub text: String,
    /// What stood there before, for when it is given up.
    before: String,
    /// How far back in history, 0: not.
    back: usize,
}

impl Prompt {
    /// Begins with this text.
    #[must_use]
    pub fn new(purpose: Purpose, text: &str) -> Self {
        Self { purpose, text: text.to_owned(), before: text.to_owned(), back: 0 }
    }

    fn push(&mut self, character: char) {
        if !character.is_control() && self.text.chars().count() < LONGEST {
            self.text.push(character);
        }
    }

    fn delete_word(&mut self) {
        let kept = self.text.trim_end().rfind(' ').map_or(0, |at| at + 1);
        self.text.truncate(kept);
    }
}

impl Model {
    /// Text from the clipboard goes where text is typed, and nowhere else.
    pub(super) fn paste(&mut self, text: &str) {
        if let Some(prompt) = &mut self.prompt {
            text.chars().for_each(|character| prompt.push(character));
            self.try_filter();
        }
    }

    pub(super) fn typed(&mut self, key: KeyEvent) -> Vec<Effect> {
        let Some(prompt) = &mut self.prompt else {
            return Vec::new();
        };
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Enter => return self.entered(),
            KeyCode::Esc => {
                let (purpose, before) = (prompt.purpose, prompt.before.clone());
                self.prompt = None;
                if purpose == Purpose::Filter {
                    self.set_filter(before);
                }
                return Vec::new();
            }
            KeyCode::Backspace => {
                prompt.text.pop();
            }
            KeyCode::Char('u') if control => prompt.text.clear(),
            KeyCode::Char('w') if control => prompt.delete_word(),
            KeyCode::Char(character) if !control => prompt.push(character),
            KeyCode::Tab => self.complete(),
            KeyCode::Up => self.recall(1),
            KeyCode::Down => self.recall(-1),
            _ => {}
        }
        self.try_filter();
        Vec::new()
    }

    fn entered(&mut self) -> Vec<Effect> {
        let Some(prompt) = self.prompt.take() else {
            return Vec::new();
        };
        match prompt.purpose {
            Purpose::Command => self.run_command(&prompt.text),
            Purpose::Filter if self.set_filter(prompt.text.clone()) => {
                if !prompt.text.is_empty() && self.history.last() != Some(&prompt.text) {
                    self.history.push(prompt.text);
                    let surplus = self.history.len().saturating_sub(REMEMBERED);
                    self.history.drain(..surplus);
                }
                Vec::new()
            }
            Purpose::Filter => {
                // What is wrong stays to be mended.
                self.prompt = Some(prompt);
                Vec::new()
            }
        }
    }

    /// The filter counts while it is typed, as long as it is understood.
    fn try_filter(&mut self) {
        let typed = self.prompt.as_ref().filter(|prompt| prompt.purpose == Purpose::Filter);
        if let Some(text) = typed.map(|prompt| prompt.text.clone())
            && text != self.filter_text()
        {
            self.set_filter(text);
        }
    }

    fn complete(&mut self) {
        let rows = self.table().rows.iter().map(|row| &row.facts);
        let completed = match &self.prompt {
            Some(prompt) if prompt.purpose == Purpose::Filter => {
                // A value that does not pass yet is on no row of the table: look at all connections.
                filter::complete(&prompt.text, rows)
                    .or_else(|| filter::complete(&prompt.text, self.connections.rows().map(|row| &row.facts)))
            }
            _ => None,
        };
        if let (Some(completed), Some(prompt)) = (completed, &mut self.prompt) {
            prompt.text = completed;
        }
    }

    fn recall(&mut self, by: i32) {
        let Some(prompt) = self.prompt.as_mut().filter(|prompt| prompt.purpose == Purpose::Filter) else {
            return;
        };
        let back = i32::try_from(prompt.back).unwrap_or_default() + by;
        let back = usize::try_from(back.max(0)).unwrap_or_default().min(self.history.len());
        prompt.back = back;
        prompt.text = match back {
            0 => prompt.before.clone(),
            back => self.history[self.history.len() - back].clone(),
        };
    }
}
