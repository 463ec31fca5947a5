//! Characters -> the pieces of the grammar: words, quoted texts, symbols, keywords. Knows nothing of fields.

use super::error::{Problem, QueryError};

pub(super) type Parsed<T> = Result<T, QueryError>;

/// A text and how far it is read.
pub(super) struct Scanner {
    pub(super) text: Vec<char>,
    pub(super) at: usize,
}

/// True for characters that a word without quotes is made of.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || "._/:*-@%+".contains(c)
}

impl Scanner {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.chars().collect(), at: 0 }
    }

    /// `"..."` or `'...'`. A backslash makes a quotation mark or a backslash ordinary and is one itself before others.
    pub(super) fn quoted(&mut self) -> Parsed<String> {
        let start = self.at;
        let quote = self.text[self.at];
        let mut text = String::new();
        self.at += 1;
        while let Some(c) = self.text.get(self.at).copied() {
            self.at += 1;
            match (c, self.text.get(self.at).copied()) {
                ('\\', Some(next @ ('"' | '\'' | '\\'))) => {
                    text.push(next);
                    self.at += 1;
                }
                _ if c == quote => return Ok(text),
                _ => text.push(c),
            }
        }
        let length = self.text.len() - start;
        self.at = self.text.len();
        Err(self.error_over(start, length, Problem::Quote))
    }

    /// Up to a space or a parenthesis that it did not open.
    pub(super) fn raw_pattern(&mut self) -> String {
        let mut open = 0usize;
        self.take_while(|c| {
            match c {
                '(' => open += 1,
                ')' if open == 0 => return false,
                ')' => open -= 1,
                _ => {}
            }
            !c.is_whitespace()
        })
    }

    pub(super) fn word(&mut self) -> String {
        self.take_while(is_word)
    }

    pub(super) fn take_while(&mut self, mut wanted: impl FnMut(char) -> bool) -> String {
        let start = self.at;
        while self.text.get(self.at).is_some_and(|c| wanted(*c)) {
            self.at += 1;
        }
        self.text[start..self.at].iter().collect()
    }

    pub(super) fn skip_space(&mut self) {
        while self.text.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
    }

    /// The next character that is no space.
    pub(super) fn peek(&mut self) -> Option<char> {
        self.skip_space();
        self.text.get(self.at).copied()
    }

    /// Steps over a symbol if it is next.
    pub(super) fn symbol(&mut self, symbol: &str) -> bool {
        self.skip_space();
        let found = symbol.chars().enumerate().all(|(offset, c)| self.text.get(self.at + offset) == Some(&c));
        if found {
            self.at += symbol.chars().count();
        }
        found
    }

    pub(super) fn is_keyword(&mut self, keyword: &str) -> bool {
        let before = self.at;
        let found = self.keyword(keyword);
        self.at = before;
        found
    }

    /// Steps over a keyword if it is next and whole.
    pub(super) fn keyword(&mut self, keyword: &str) -> bool {
        let before = self.at;
        self.skip_space();
        if self.word().eq_ignore_ascii_case(keyword) {
            return true;
        }
        self.at = before;
        false
    }

    pub(super) fn error(&self, position: usize, problem: Problem) -> QueryError {
        self.error_over(position, self.text.len().saturating_sub(position), problem)
    }

    pub(super) const fn error_over(&self, position: usize, length: usize, problem: Problem) -> QueryError {
        QueryError { position, length, problem, suggestion: None }
    }
}
