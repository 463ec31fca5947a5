//! What lies over the rest: the keys, made from their table, and the choice of an export.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{Block, Clear, Widget};

use super::put;
use super::theme::Theme;
use crate::keys::KEYS;
use crate::model::export::FORMS;
use crate::model::row::Tone;

/// Cells of one column of keys.
const COLUMN_WIDTH: u16 = 40;

/// The keys, from one of them on; in as many columns as make all of them fit, if they can.
pub fn keys(theme: Theme, area: Rect, top: usize, buffer: &mut Buffer) {
    let room = usize::from(area.height.saturating_sub(3)).max(1);
    let columns = KEYS.len().div_ceil(room).clamp(1, usize::from(area.width / COLUMN_WIDTH).max(1));
    let lines = KEYS.len().div_ceil(columns).min(room);
    let fits = lines * columns >= KEYS.len();
    let top = if fits { 0 } else { top.min(KEYS.len() - lines * columns) };
    let title = if fits { " keys; any key closes " } else { " keys; j k scroll, any other key closes " };
    let width = u16::try_from(columns).unwrap_or(1).saturating_mul(COLUMN_WIDTH);
    let inner =
        frame(title, width.min(area.width), u16::try_from(lines).unwrap_or(u16::MAX), theme, area, buffer);
    let each = inner.width / u16::try_from(columns).unwrap_or(1);
    for (at, binding) in KEYS.iter().skip(top).take(lines * columns).enumerate() {
        let column = u16::try_from(at / lines).unwrap_or_default();
        let y = inner.y + u16::try_from(at % lines).unwrap_or_default();
        let cell = Rect { x: inner.x + column * each, y, width: each.saturating_sub(1), height: 1 };
        put(buffer, cell, cell.x, y, binding.shown, theme.style(Tone::Heading));
        put(buffer, cell, cell.x + 9, y, binding.help, theme.style(Tone::Plain));
    }
}

/// The forms.
pub fn export(theme: Theme, area: Rect, buffer: &mut Buffer) {
    let lines = u16::try_from(FORMS.len()).unwrap_or_default();
    let inner = frame(" export to a file here ", 40, lines, theme, area, buffer);
    for (at, (key, name, ..)) in FORMS.iter().enumerate() {
        let y = inner.y + u16::try_from(at).unwrap_or_default();
        let x = put(buffer, inner, inner.x, y, &key.to_string(), theme.style(Tone::Heading));
        put(buffer, inner, x, y, &format!("  {name}"), theme.style(Tone::Plain));
    }
}

/// A box in the middle; gives what is inside.
fn frame(title: &str, width: u16, lines: u16, theme: Theme, area: Rect, buffer: &mut Buffer) -> Rect {
    let width = width.min(area.width);
    let height = (lines + 2).min(area.height);
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(place, buffer);
    let block = Block::bordered().title(title).border_style(theme.style(Tone::Heading));
    let inner = block.inner(place);
    block.render(place, buffer);
    inner
}
