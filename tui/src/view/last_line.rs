//! The last line: what is typed and whether it is right, what was said, or the main keys; and above it, while something is
//! typed, what Tab would put there.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::put;
use super::theme::Theme;
use crate::model::command;
use crate::model::prompt::{Prompt, Purpose};
use crate::model::row::Tone;
use crate::model::{Link, Model};

/// Cells kept for what is said of a filter while it is typed.
const VERDICT_ROOM: u16 = 34;

/// Draws it; gives the column of the cursor while something is typed.
pub fn draw(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) -> Option<u16> {
    if let Some(prompt) = &model.prompt {
        offers(prompt, theme, Rect { y: area.y.saturating_sub(1), ..area }, buffer);
        return Some(typed(model, prompt, theme, area, buffer));
    }
    let (mut x, y) = (area.x, area.y);
    if !model.filter.text.is_empty() {
        x = put(buffer, area, x, y, "/", theme.style(Tone::Quiet));
        let most = area.width / 2;
        let part = Rect { width: most, ..area };
        x = put(buffer, part, x, y, &model.filter.text, theme.style(Tone::Heading));
        x = put(buffer, area, x, y, if model.is_judging() { " … " } else { "  " }, Style::default());
    }
    let (text, tone) = match (&model.link, model.said()) {
        (_, Some(said)) => (said, Tone::Plain),
        (Link::Down { why, .. }, None) => (why.as_str(), Tone::Bad),
        (_, None) if model.opened.is_some() => {
            ("Esc back  j k scroll  f follow  y copy  e export  ? keys", Tone::Quiet)
        }
        (_, None) => {
            ("Enter open  / filter  < > r sort  Space freeze  n next ✗  ? keys  q quit", Tone::Quiet)
        }
    };
    put(buffer, area, x, y, text, theme.style(tone));
    None
}

/// Text, cursor and what is wrong with it, by glyph and in words.
fn typed(model: &Model, prompt: &Prompt, theme: Theme, area: Rect, buffer: &mut Buffer) -> u16 {
    let error = model.filter_error();
    let is_wrong = match prompt.purpose {
        Purpose::Filter => error.is_some(),
        Purpose::Command => !command::is_known(&prompt.text),
    };
    let tone = if is_wrong { Tone::Bad } else { Tone::Good };
    let (sign, glyph) = match prompt.purpose {
        Purpose::Filter => ("/", if is_wrong { "✗" } else { "✓" }),
        Purpose::Command => (":", if is_wrong { "✗" } else { " " }),
    };
    let x = put(buffer, area, area.x, area.y, glyph, theme.style(tone));
    let x = put(buffer, area, x, area.y, sign, theme.style(Tone::Quiet));
    let room = area.width.saturating_sub(2 + VERDICT_ROOM).max(area.width / 3);
    let text_area = Rect { x, width: room, ..area };
    let wrong = error.as_ref().map_or(0..0, |error| error.position..error.position + error.length.max(1));
    let (end, cursor) = text(prompt, wrong, theme.style(tone), text_area, buffer);
    let said = match (&error, prompt.purpose) {
        (Some(error), _) => format!("  {error}"),
        (None, Purpose::Filter) if model.is_judging() => "  …".to_owned(),
        (None, Purpose::Filter) => format!("  {} rows", model.table().rows.len()),
        (None, Purpose::Command) if is_wrong => "  no such command; Tab lists them".to_owned(),
        (None, Purpose::Command) => String::new(),
    };
    put(buffer, area, end, area.y, &said, theme.style(tone));
    cursor
}

/// Shows the part around the cursor, what is wrong underlined; gives the columns behind the text and of the cursor.
fn text(
    prompt: &Prompt,
    wrong: std::ops::Range<usize>,
    style: Style,
    area: Rect,
    buffer: &mut Buffer,
) -> (u16, u16) {
    let room = usize::from(area.width).saturating_sub(1);
    let widths: Vec<usize> = prompt.text.chars().map(|c| c.width().unwrap_or_default()).collect();
    let mut first = 0;
    while widths[first..prompt.cursor.min(widths.len())].iter().sum::<usize>() > room {
        first += 1;
    }
    let (mut x, mut cursor) = (area.x, area.x);
    for (at, character) in prompt.text.chars().enumerate().skip(first) {
        if at == prompt.cursor {
            cursor = x;
        }
        let marked =
            if wrong.contains(&at) { Modifier::UNDERLINED | Modifier::BOLD } else { Modifier::empty() };
        x = put(buffer, area, x, area.y, character.encode_utf8(&mut [0; 4]), style.add_modifier(marked));
    }
    if prompt.cursor >= widths.len() {
        cursor = x;
    }
    (x, cursor.min(area.right().saturating_sub(1)))
}

/// What could stand at the cursor; the chosen one is marked.
fn offers(prompt: &Prompt, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let offer = &prompt.offer;
    if offer.candidates.is_empty() {
        return;
    }
    buffer.set_style(area, Style::reset());
    put(buffer, area, area.x, area.y, &" ".repeat(usize::from(area.width)), Style::reset());
    let mut x = put(buffer, area, area.x, area.y, "Tab ", theme.style(Tone::Quiet));
    let from = offer.chosen.map_or(0, |chosen| chosen.saturating_sub(2));
    for (at, (text, help)) in offer.candidates.iter().enumerate().skip(from) {
        let is_chosen = offer.chosen == Some(at);
        let style = if is_chosen { theme.selected(Tone::Host) } else { theme.style(Tone::Host) };
        let text = crate::print::escape(text);
        if usize::from(area.right().saturating_sub(x)) < text.width() + 1 {
            put(buffer, area, x, area.y, "…", theme.style(Tone::Quiet));
            return;
        }
        x = put(buffer, area, x, area.y, &text, style);
        let is_first = at == from || is_chosen;
        if is_first && !help.is_empty() {
            x = put(buffer, area, x, area.y, &format!(" ({help})"), theme.style(Tone::Quiet));
        }
        x = put(buffer, area, x, area.y, "  ", Style::reset());
    }
}
