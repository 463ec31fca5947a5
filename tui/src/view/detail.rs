//! One connection, opened: titles in the margin, long lines broken.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthChar;

use super::put;
use super::theme::Theme;
use crate::model::Model;
use crate::model::row::Tone;

/// Cells of the margin.
const MARGIN: u16 = 11;

/// Draws it from its first line on the screen.
pub fn draw(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let top = model.opened.as_ref().map_or(0, |opened| opened.top);
    let mut y = area.y;
    for line in model.detail().iter().skip(top) {
        if y >= area.bottom() {
            break;
        }
        put(buffer, area, area.x, y, line.title, theme.style(Tone::Quiet));
        for part in broken(&line.text, usize::from(area.width.saturating_sub(MARGIN))) {
            put(buffer, area, area.x + MARGIN, y, &part, theme.style(line.tone));
            y += 1;
        }
    }
}

/// The text in parts that fit, broken at spaces where there are any.
fn broken(text: &str, room: usize) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut width = 0;
    for word in text.split_inclusive(' ') {
        let length: usize = word.chars().filter_map(UnicodeWidthChar::width).sum();
        let bare: usize = word.trim_end().chars().filter_map(UnicodeWidthChar::width).sum();
        if width + bare > room && width > 0 {
            parts.push("        ".to_owned());
            width = 8;
        }
        for character in word.chars() {
            let wide = character.width().unwrap_or_default();
            if width + wide > room && length > room {
                parts.push("        ".to_owned());
                width = 8;
            }
            if let Some(part) = parts.last_mut() {
                part.push(character);
            }
            width += wide;
        }
    }
    parts
}
