//! What a colour is for -> a colour. Without colours, weight and underlining are left; the words are always the same.

use ratatui::style::{Color, Modifier, Style};

use crate::model::row::Tone;

/// A set of colours.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    host: Color,
    good: Color,
    bad: Color,
    unsure: Color,
    heading: Color,
}

/// Names of the themes, the first one is used where nothing else is said.
pub const NAMES: &[&str] = &["standard", "colour-blind", "none"];
/// The one without colours.
pub const NONE: usize = 2;

const THEMES: [Theme; 3] = [
    Theme {
        host: Color::Cyan,
        good: Color::Green,
        bad: Color::Red,
        unsure: Color::Yellow,
        heading: Color::Blue,
    },
    // Okabe and Ito's palette: told apart with every common kind of colour blindness.
    Theme {
        host: Color::Rgb(86, 180, 233),
        good: Color::Rgb(0, 158, 115),
        bad: Color::Rgb(213, 94, 0),
        unsure: Color::Rgb(240, 228, 66),
        heading: Color::Rgb(204, 121, 167),
    },
    Theme {
        host: Color::Reset,
        good: Color::Reset,
        bad: Color::Reset,
        unsure: Color::Reset,
        heading: Color::Reset,
    },
];

/// The theme of that number, or the first.
#[must_use]
pub fn of(number: usize) -> Theme {
    THEMES.get(number).copied().unwrap_or(THEMES[0])
}

impl Theme {
    /// The style of a tone.
    #[must_use]
    pub fn style(self, tone: Tone) -> Style {
        let style = Style::default();
        match tone {
            Tone::Plain => style,
            Tone::Host => style.fg(self.host),
            Tone::Good => style.fg(self.good),
            Tone::Bad => style.fg(self.bad).add_modifier(Modifier::BOLD),
            Tone::Unsure => style.fg(self.unsure),
            Tone::Quiet => style.add_modifier(Modifier::DIM),
            Tone::Heading => style.fg(self.heading).add_modifier(Modifier::BOLD),
        }
    }

    /// The style of what is selected.
    #[must_use]
    pub fn selected(self, tone: Tone) -> Style {
        self.style(tone).add_modifier(Modifier::REVERSED)
    }
}
