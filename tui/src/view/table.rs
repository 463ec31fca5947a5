//! The rows of a view: titles with the sort's arrow, and as many rows as fit.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use unicode_width::UnicodeWidthStr;

use super::put;
use super::theme::Theme;
use crate::model::command::{Place, places};
use crate::model::row::{Row, Tone};
use crate::model::{Link, Model};

/// Draws titles and rows.
pub fn draw(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let table = model.table();
    let places = places(table.columns, area.width);
    for place in &places {
        let title = table.columns[place.column].title;
        let is_sorted = place.column == table.sort;
        let arrow = match (is_sorted, table.descending) {
            (false, _) => "",
            (true, true) => "▼",
            (true, false) => "▲",
        };
        let cell = cell_area(area, *place, area.y);
        let style = theme.style(Tone::Heading).add_modifier(Modifier::UNDERLINED);
        // The arrow must be seen: the title makes room for it.
        let room = usize::from(place.width).saturating_sub(arrow.width());
        let kept: String = title.chars().take(room).collect();
        let x = put(buffer, cell, cell.x, cell.y, &kept, style);
        put(buffer, cell, x, cell.y, arrow, style);
    }
    let body = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    if table.rows.is_empty() {
        put(buffer, body, body.x + 1, body.y + 1, nothing(model), theme.style(Tone::Quiet));
        return;
    }
    let selected = table.selected_line();
    let page = usize::from(body.height);
    for (at, row) in table.rows.iter().enumerate().skip(table.top).take(page) {
        let y = body.y + u16::try_from(at - table.top).unwrap_or_default();
        let is_followed = model.followed.as_ref().is_some_and(|id| *id == row.id);
        draw_row(row, &places, Rect { y, height: 1, ..body }, at == selected, is_followed, theme, buffer);
    }
}

/// Why there are no rows.
fn nothing(model: &Model) -> &'static str {
    match (&model.link, model.filter_text().is_empty()) {
        (Link::Up, true) => "nothing seen yet",
        (Link::Up, false) => "nothing passes the filter; Esc clears it",
        (Link::Connecting, _) => "connecting",
        (Link::Down { .. }, _) => "the server is away",
    }
}

fn cell_area(area: Rect, place: Place, y: u16) -> Rect {
    Rect { x: area.x + place.x, y, width: place.width, height: 1 }
}

fn draw_row(
    row: &Row,
    places: &[Place],
    area: Rect,
    is_selected: bool,
    is_followed: bool,
    theme: Theme,
    buffer: &mut Buffer,
) {
    if is_selected {
        buffer.set_style(area, theme.selected(Tone::Plain));
    }
    for place in places {
        let Some(cell) = row.cells.get(place.column) else { continue };
        let style = if is_selected { theme.selected(cell.tone) } else { theme.style(cell.tone) };
        let at = cell_area(area, *place, area.y);
        let text = if is_followed && place.column == 0 { "»" } else { cell.text.as_str() };
        if text.width() > usize::from(place.width) && place.width > 1 {
            // What is cut says so.
            let kept = Rect { width: at.width - 1, ..at };
            let end = put(buffer, kept, at.x, at.y, text, style);
            put(buffer, at, end, at.y, "…", style);
        } else {
            put(buffer, at, at.x, at.y, text, style);
        }
    }
}
