//! A model -> the screen. Reads the model, draws it, and decides nothing.
//!
//! ```text
//! server, nodes, seen, lost, lag, frozen             header
//! 1 Connections  2 Flows  3 Services ...             views
//! TIME▼    CLIENT        SERVICE       ...           titles, the sorted one with an arrow
//! 10:02:31 shop/web-1    shop/api      ...           rows
//! what is typed, what was said, or the main keys     last line
//! ```

mod detail;
mod header;
mod last_line;
mod overlay;
mod table;
pub mod theme;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::model::row::Tone;
use crate::model::{Model, Overlay, TITLE_LINE, VIEWS_LINE};

/// Draws all of it.
pub fn draw(model: &Model, frame: &mut Frame<'_>) {
    let area = frame.area();
    let theme = theme::of(model.theme);
    let buffer = frame.buffer_mut();
    if area.width < 20 || area.height < 6 {
        put(buffer, area, area.x, area.y, "too small", theme.style(Tone::Bad));
        return;
    }
    header::draw(model, theme, line(area, 0), buffer);
    header::views(model, theme, line(area, VIEWS_LINE), buffer);
    let body = Rect { y: area.y + TITLE_LINE, height: area.height - TITLE_LINE - 1, ..area };
    if model.opened.is_some() {
        detail::draw(model, theme, body, buffer);
    } else {
        table::draw(model, theme, body, buffer);
    }
    match model.overlay {
        Overlay::None => {}
        Overlay::Help(top) => overlay::keys(theme, area, top, buffer),
        Overlay::Export => overlay::export(theme, area, buffer),
    }
    if let Some(x) = last_line::draw(model, theme, line(area, area.height - 1), buffer) {
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

#[cfg(test)]
mod tests;
