//! Colours, and text made safe for a terminal.
//!
//! No meaning is carried by colour alone: without it the same words are there.

use std::borrow::Cow;
use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

/// Puts text into colours, or leaves it.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    on: bool,
}

/// What a colour is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Name of an end.
    Host,
    /// A port.
    Port,
    /// An identity.
    Identity,
    /// Went through.
    Good,
    /// Was stopped.
    Bad,
    /// Neither.
    Unsure,
    /// Beside the point.
    Quiet,
}

impl Paint {
    /// With colours or without.
    #[must_use]
    pub const fn new(on: bool) -> Self {
        Self { on }
    }

    /// The text in its colour.
    #[must_use]
    pub fn paint<'a>(&self, tone: Tone, text: impl Into<Cow<'a, str>>) -> Cow<'a, str> {
        let text = text.into();
        if !self.on || text.is_empty() {
            return text;
        }
        let style = match tone {
            Tone::Host => AnsiColor::Cyan.on_default(),
            Tone::Port | Tone::Unsure => AnsiColor::Yellow.on_default(),
            Tone::Identity => AnsiColor::Magenta.on_default(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Bad => AnsiColor::Red.on_default(),
            Tone::Quiet => Style::new().dimmed(),
        };
        format!("{style}{text}{style:#}").into()
    }
}

/// Text from the wire with everything that could steer a terminal written out: control characters, and the marks that turn
/// the direction of writing (Unicode's UAX 9).
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(steers) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if steers(character) {
            // Writing into a String cannot fail.
            let _ = write!(safe, "\\u{:04x}", u32::from(character));
        } else {
            safe.push(character);
        }
    }
    safe.into()
}

fn steers(character: char) -> bool {
    let turns = matches!(u32::from(character), 0x061c | 0x200e | 0x200f | 0x202a..=0x202e | 0x2066..=0x2069);
    character.is_control() || turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(escape("shop/api-1"), "shop/api-1");
        assert_eq!(escape("a\u{1b}[2Jb\n\u{202e}c\u{9b}"), "a\\u001b[2Jb\\u000a\\u202ec\\u009b");
    }

    #[test]
    fn without_colours_the_words_stay() {
        assert_eq!(Paint::new(false).paint(Tone::Bad, "DROPPED"), "DROPPED");
        assert_eq!(Paint::new(true).paint(Tone::Bad, "DROPPED"), "\u{1b}[31mDROPPED\u{1b}[0m");
    }
}
