//! What is being typed: a filter that works as it is typed, or a command.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use weir_proto::query::MAX_LENGTH;

use super::complete::Offer;
use super::history::TYPED_FILE;
use super::{Effect, Model};

/// What the text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Filters rows.
    Filter,
    /// Is carried out at Enter.
    Command,
}

/// One line of text with a cursor.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// What for.
    pub purpose: Purpose,
    /// What stands there.
    pub text: String,
    /// The cursor stands before the character of this number.
    pub cursor: usize,
    /// What could stand at the cursor.
    pub offer: Offer,
    /// What stood there before, for when it is given up.
    before: String,
    /// What was typed before history was looked at.
    typed: String,
    /// How far back in history, 0: not.
    back: usize,
}

impl Prompt {
    /// Begins with this text.
    #[must_use]
    pub fn new(purpose: Purpose, text: &str) -> Self {
        let cursor = text.chars().count();
        Self {
            purpose,
            text: text.to_owned(),
            cursor,
            offer: Offer::default(),
            before: text.to_owned(),
            typed: text.to_owned(),
            back: 0,
        }
    }

    fn byte(&self, character: usize) -> usize {
        self.text.char_indices().nth(character).map_or(self.text.len(), |(at, _)| at)
    }

    fn insert(&mut self, character: char) {
        if !character.is_control() && self.text.chars().count() < MAX_LENGTH {
            let at = self.byte(self.cursor);
            self.text.insert(at, character);
            self.cursor += 1;
        }
    }

    /// Puts a text in place of the characters up to the cursor.
    pub(super) fn replace(&mut self, from: usize, text: &str) {
        let (start, end) = (self.byte(from.min(self.cursor)), self.byte(self.cursor));
        self.text.replace_range(start..end, text);
        self.cursor = from + text.chars().count();
    }

    fn delete_back_to(&mut self, from: usize) {
        self.replace(from, "");
    }

    fn word_start(&self) -> usize {
        let before: Vec<char> = self.text.chars().take(self.cursor).collect();
        let end = before.iter().rposition(|c| *c != ' ').map_or(0, |at| at + 1);
        before[..end].iter().rposition(|c| *c == ' ').map_or(0, |at| at + 1)
    }

    fn set(&mut self, text: &str) {
        self.text = text.to_owned();
        self.cursor = text.chars().count();
    }

    /// Moves the cursor or changes the text. False if the key means nothing here.
    fn edit(&mut self, key: KeyEvent) -> bool {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let length = self.text.chars().count();
        match key.code {
            KeyCode::Backspace => self.delete_back_to(self.cursor.saturating_sub(1)),
            KeyCode::Delete if self.cursor < length => {
                self.cursor += 1;
                self.delete_back_to(self.cursor - 1);
            }
            KeyCode::Left => self.cursor = self.cursor.saturating_sub(1),
            KeyCode::Right => self.cursor = (self.cursor + 1).min(length),
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = length,
            KeyCode::Char('a') if control => self.cursor = 0,
            KeyCode::Char('e') if control => self.cursor = length,
            KeyCode::Char('u') if control => self.delete_back_to(0),
            KeyCode::Char('w') if control => self.delete_back_to(self.word_start()),
            KeyCode::Char(character) if !control => self.insert(character),
            _ => return false,
        }
        true
    }
}

impl Model {
    pub(super) fn prompt_for(&mut self, prompt: Prompt) {
        self.prompt = Some(prompt);
        self.offer();
    }

    /// Text from the clipboard goes where text is typed, and nowhere else.
    pub(super) fn paste(&mut self, text: &str) {
        if let Some(prompt) = &mut self.prompt {
            text.chars().for_each(|character| prompt.insert(character));
            self.changed();
        }
    }

    pub(super) fn typed(&mut self, key: KeyEvent) -> Vec<Effect> {
        let Some(prompt) = &mut self.prompt else {
            return Vec::new();
        };
        match key.code {
            KeyCode::Enter => return self.entered(),
            KeyCode::Esc => self.given_up(),
            KeyCode::Tab => self.complete(1),
            KeyCode::BackTab => self.complete(-1),
            KeyCode::Up => self.recall(1),
            KeyCode::Down => self.recall(-1),
            _ => {
                if prompt.edit(key) {
                    self.changed();
                }
            }
        }
        self.try_filter();
        Vec::new()
    }

    /// What may stand at the cursor is another thing after each change.
    fn changed(&mut self) {
        self.offer();
        self.try_filter();
    }

    fn given_up(&mut self) {
        if let Some(prompt) = self.prompt.take()
            && prompt.purpose == Purpose::Filter
            && prompt.before != self.filter.text
        {
            self.set_filter(&prompt.before);
        }
    }

    fn entered(&mut self) -> Vec<Effect> {
        let Some(prompt) = self.prompt.take() else {
            return Vec::new();
        };
        match prompt.purpose {
            Purpose::Command => self.run_command(&prompt.text),
            Purpose::Filter if weir_proto::query::validate(&prompt.text).is_ok() => {
                if prompt.text != self.filter.text {
                    self.set_filter(&prompt.text);
                }
                self.history.push(&prompt.text);
                vec![Effect::Keep(TYPED_FILE, self.history.typed_lines())]
            }
            Purpose::Filter => {
                // What is wrong stays to be mended.
                self.prompt = Some(prompt);
                Vec::new()
            }
        }
    }

    /// The filter counts while it is typed, as long as it is understood.
    pub(super) fn try_filter(&mut self) {
        let typed = self.prompt.as_ref().filter(|prompt| prompt.purpose == Purpose::Filter);
        if let Some(text) = typed.map(|prompt| prompt.text.clone())
            && text != self.filter.text
        {
            self.set_filter(&text);
        }
    }

    fn recall(&mut self, by: isize) {
        let Some(prompt) = self.prompt.as_mut().filter(|prompt| prompt.purpose == Purpose::Filter) else {
            return;
        };
        if prompt.back == 0 {
            prompt.typed.clone_from(&prompt.text);
        }
        prompt.back = prompt.back.saturating_add_signed(by).min(self.history.count());
        let text = self.history.back(prompt.back).filter(|_| prompt.back > 0).map(str::to_owned);
        let text = text.unwrap_or_else(|| prompt.typed.clone());
        prompt.set(&text);
        prompt.offer = Offer::default();
    }
}
