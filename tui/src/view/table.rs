//! The rows of a view: titles with the sort's arrow, and as many rows as fit.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::put;
use super::theme::Theme;
use crate::model::Model;
use crate::model::layout::{Place, of_table};
use crate::model::row::{Column, Row, Show, Tone};

/// What was silent for so long fades.
const FADES_AFTER_NS: u64 = 30_000_000_000;

/// Draws titles and rows.
pub fn draw(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let table = model.table();
    let places = of_table(table, area.width);
    titles(model, &places, theme, area, buffer);
    let body = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    if table.rows.is_empty() {
        for (y, why) in (body.y + 1..).zip(model.why_empty()) {
            put(buffer, body, body.x + 1, y, &why, theme.style(Tone::Unsure));
        }
        return;
    }
    let selected = table.selected_line();
    let page = usize::from(body.height);
    for (at, row) in table.rows.iter().enumerate().skip(table.top).take(page) {
        let y = body.y + u16::try_from(at - table.top).unwrap_or_default();
        let line = Line { row, model, theme, is_selected: at == selected };
        line.draw(&places, Rect { y, height: 1, ..body }, buffer);
    }
}

fn titles(model: &Model, places: &[Place], theme: Theme, area: Rect, buffer: &mut Buffer) {
    let table = model.table();
    for place in places {
        let column = &table.columns[place.column];
        let arrow = match (place.column == table.sort, table.descending) {
            (false, _) => "",
            (true, true) => "▼",
            (true, false) => "▲",
        };
        let cell = cell_area(area, *place, area.y);
        let style = theme.style(Tone::Heading).add_modifier(Modifier::UNDERLINED);
        // The arrow must be seen: the title makes room for it.
        let room = usize::from(place.width).saturating_sub(arrow.width());
        let mut shown: String = column.title.chars().take(room).collect();
        shown.push_str(arrow);
        let x = if is_right(column) { right_of(cell, &shown) } else { cell.x };
        put(buffer, cell, x, cell.y, &shown, style);
    }
}

fn is_right(column: &Column) -> bool {
    matches!(column.show, Show::Number | Show::Age)
}

fn right_of(cell: Rect, text: &str) -> u16 {
    cell.x + cell.width.saturating_sub(u16::try_from(text.width()).unwrap_or(u16::MAX))
}

fn cell_area(area: Rect, place: Place, y: u16) -> Rect {
    Rect { x: area.x + place.x, y, width: place.width, height: 1 }
}

struct Line<'a> {
    row: &'a Row,
    model: &'a Model,
    theme: Theme,
    is_selected: bool,
}

impl Line<'_> {
    fn draw(&self, places: &[Place], area: Rect, buffer: &mut Buffer) {
        if self.is_selected {
            buffer.set_style(area, self.theme.selected(Tone::Plain));
        }
        let is_stale = self.model.is_stale(self.row);
        let fades = is_stale || self.is_silent();
        for place in places {
            let column = &self.model.table().columns[place.column];
            let text = self.text(place.column, column, is_stale, usize::from(place.width));
            let cell = cell_area(area, *place, area.y);
            let x = if is_right(column) { right_of(cell, &text) } else { cell.x };
            put(buffer, cell, x, cell.y, &text, self.style(self.row.cells.tone(place.column), fades));
        }
    }

    fn style(&self, tone: Tone, fades: bool) -> Style {
        let style = if self.is_selected { self.theme.selected(tone) } else { self.theme.style(tone) };
        if fades { style.add_modifier(Modifier::DIM).remove_modifier(Modifier::BOLD) } else { style }
    }

    /// Nothing more comes of it, or nothing has for a while.
    fn is_silent(&self) -> bool {
        let now = u64::try_from(self.model.shown_at().as_nanosecond()).unwrap_or_default();
        self.row.call().is_some_and(|call| call.ended || now.saturating_sub(call.last_ns) > FADES_AFTER_NS)
    }

    fn text(&self, at: usize, column: &Column, is_stale: bool, room: usize) -> String {
        let cells = &self.row.cells;
        let is_followed = self.model.followed.as_ref().is_some_and(|id| *id == self.row.id);
        match (at, column.show) {
            (0, _) => {
                let behind = if is_followed {
                    "»"
                } else if self.row.call().is_some_and(|call| call.disagrees) {
                    "≠"
                } else if is_stale {
                    "~"
                } else {
                    ""
                };
                format!("{}{behind}", cells.text(0))
            }
            (_, Show::Age) => age(self.model, cells.rank(at)),
            (_, Show::Port) => cut_before_port(cells.text(at), room),
            (_, Show::Text | Show::Number) => cut(cells.text(at), room),
        }
    }
}

/// How long ago, in at most four cells.
fn age(model: &Model, unix_nanos: u64) -> String {
    let now = u64::try_from(model.shown_at().as_nanosecond()).unwrap_or_default();
    let seconds = now.saturating_sub(unix_nanos) / 1_000_000_000;
    match seconds {
        _ if unix_nanos == 0 => "-".to_owned(),
        0..=99 => format!("{seconds}s"),
        100..=5_999 => format!("{}m", seconds / 60),
        6_000..=359_999 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// What is cut says so.
fn cut(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut left = room.saturating_sub(1);
    for character in text.chars() {
        let width = character.width().unwrap_or_default();
        if width > left {
            break;
        }
        left -= width;
        kept.push(character);
    }
    kept.push('…');
    kept
}

/// A port that is cut off cannot be guessed; a name can.
fn cut_before_port(text: &str, room: usize) -> String {
    let port = text.rfind(':').map_or("", |at| &text[at..]);
    let is_port = port.len() > 1 && port.len() <= 6 && port[1..].bytes().all(|byte| byte.is_ascii_digit());
    if text.width() <= room || !is_port || room < port.len() + 4 {
        return cut(text, room);
    }
    let name = cut(&text[..text.len() - port.len()], room - port.len());
    format!("{name}{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_stay_and_cuts_are_seen() {
        assert_eq!(cut_before_port("shop/frontend-77:8080", 14), "shop/fro…:8080");
        assert_eq!(cut_before_port("[fd00::1]:8080", 80), "[fd00::1]:8080");
        assert_eq!(cut_before_port("no backend seen", 8), "no back…");
        assert_eq!(cut("猫猫猫", 5), "猫猫…");
    }
}
