//! A model -> the screen. Reads the model, draws it, and decides nothing.
//!
//! ```text
//! server, nodes, flows/s, lost, lag, frozen          header
//! 1 Connections  2 Flows  3 Services ...             views
//! TIME▼    CLIENT        SERVICE       ...           titles, the sorted one with an arrow
//! 10:02:31 shop/web-1    shop/api      ...           rows
//! what is typed, what was said, or the main keys     last line
//! ```

mod detail;
mod header;
mod overlay;
mod table;
pub mod theme;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use self::theme::Theme;
use crate::model::prompt::Purpose;
use crate::model::row::Tone;
use crate::model::{Link, Model, Overlay, TITLE_LINE};

/// Draws all of it.
pub fn draw(model: &Model, frame: &mut Frame<'_>) {
    let area = frame.area();
    let theme = theme::of(model.theme);
    let buffer = frame.buffer_mut();
    if area.width < 20 || area.height < 6 {
        put(buffer, area, area.x, area.y, "too small", theme.style(Tone::Bad));
        return;
    }
    header::draw(model, theme, line(area, 0), line(area, 1), buffer);
    let rows = area.height - TITLE_LINE - 1;
    let body = Rect { y: area.y + TITLE_LINE, height: rows, ..area };
    if model.opened.is_some() {
        detail::draw(model, theme, body, buffer);
    } else {
        table::draw(model, theme, body, buffer);
    }
    last_line(model, theme, line(area, area.height - 1), buffer);
    match model.overlay {
        Overlay::None => {}
        Overlay::Help => overlay::keys(theme, area, buffer),
        Overlay::Export => overlay::export(theme, area, buffer),
    }
    if let Some(prompt) = &model.prompt {
        let typed = unicode_width::UnicodeWidthStr::width(prompt.text.as_str());
        let x = area.x + u16::try_from(typed + 1).unwrap_or(u16::MAX).min(area.width - 1);
        frame.set_cursor_position((x, area.bottom() - 1));
    }
}

fn line(area: Rect, at: u16) -> Rect {
    Rect { y: area.y + at, height: 1, ..area }
}

/// Puts text on a line, cut at the area's end; gives the column behind it.
fn put(buffer: &mut Buffer, area: Rect, x: u16, y: u16, text: &str, style: Style) -> u16 {
    if x >= area.right() || y >= area.bottom() {
        return x;
    }
    buffer.set_stringn(x, y, text, usize::from(area.right() - x), style).0
}

fn last_line(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let (x, y) = (area.x, area.y);
    if let Some(prompt) = &model.prompt {
        let sign = if prompt.purpose == Purpose::Filter { "/" } else { ":" };
        let error = model.filter_error();
        let tone = if error.is_some() { Tone::Bad } else { Tone::Good };
        let tone = if prompt.purpose == Purpose::Command { Tone::Plain } else { tone };
        let x = put(buffer, area, x, y, sign, theme.style(Tone::Quiet));
        let x = put(buffer, area, x, y, &prompt.text, theme.style(tone));
        let said = match (error, prompt.purpose) {
            (Some(error), _) => format!("  ✗ {error}"),
            (None, Purpose::Filter) => format!("  ✓ {} rows", model.table().rows.len()),
            (None, Purpose::Command) => String::new(),
        };
        put(buffer, area, x, y, &said, theme.style(tone));
        return;
    }
    let mut x = x;
    if !model.filter_text().is_empty() {
        x = put(buffer, area, x, y, "/", theme.style(Tone::Quiet));
        x = put(buffer, area, x, y, model.filter_text(), theme.style(Tone::Heading));
        x = put(buffer, area, x, y, "  ", Style::default());
    }
    let why = match &model.link {
        Link::Down { why, .. } => Some(why.as_str()),
        Link::Connecting | Link::Up => None,
    };
    match model.said() {
        None if why.is_some() => put(buffer, area, x, y, why.unwrap_or_default(), theme.style(Tone::Bad)),
        Some(said) => put(buffer, area, x, y, said, theme.style(Tone::Plain)),
        None if model.opened.is_some() => {
            put(buffer, area, x, y, "Esc back  f follow  y copy  e export  ? keys", theme.style(Tone::Quiet))
        }
        None => put(
            buffer,
            area,
            x,
            y,
            "Enter open  / filter  < > r sort  Space freeze  ? keys  q quit",
            theme.style(Tone::Quiet),
        ),
    };
}

#[cfg(test)]
mod tests;
