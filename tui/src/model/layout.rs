//! Where columns stand on a line, and what a click on a place means.

use unicode_width::UnicodeWidthStr;

use super::row::Column;
use super::table::Table;
use super::{Effect, Model, Overlay, TITLE_LINE, VIEWS_LINE, View};

/// Where a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which.
    pub column: usize,
    /// Its first cell of the screen.
    pub x: u16,
    /// Its cells.
    pub width: u16,
}

/// The columns that fit, one cell apart: those of the lowest numbers come first, and room that is left goes to those whose
/// cells on the screen can use it.
#[must_use]
pub fn places(columns: &[Column], widths: &[u16], room: u16) -> Vec<Place> {
    let mut wanted: Vec<usize> = (0..columns.len()).collect();
    wanted.sort_by_key(|at| columns[*at].priority);
    let mut chosen: Vec<usize> = Vec::new();
    let mut left = room + 1;
    for at in wanted {
        let needed = columns[at].least + 1;
        // The first one is there in any case, or nothing would be.
        if needed <= left || chosen.is_empty() {
            left = left.saturating_sub(needed);
            chosen.push(at);
        }
    }
    chosen.sort_unstable();
    let mut given: Vec<u16> = chosen.iter().map(|at| columns[*at].least).collect();
    let wanted = |at: usize| widths.get(at).copied().unwrap_or_default().min(columns[at].most);
    while left > 0 {
        let before = left;
        for (width, at) in given.iter_mut().zip(&chosen) {
            if left > 0 && *width < wanted(*at) {
                *width += 1;
                left -= 1;
            }
        }
        if left == before {
            break;
        }
    }
    let mut x = 0;
    let mut places = Vec::with_capacity(chosen.len());
    for (column, width) in chosen.into_iter().zip(given) {
        places.push(Place { column, x, width: width.min(room.saturating_sub(x)) });
        x += width + 1;
    }
    places
}

/// The places of a table's columns.
#[must_use]
pub fn of_table(table: &Table, room: u16) -> Vec<Place> {
    places(table.columns, &table.widths, room)
}

impl Model {
    /// On a row: selects it, and opens it if it is selected. On a title: sorts by it, or the other way round. On the name
    /// of a view: shows it.
    pub(super) fn click(&mut self, column: u16, line: u16) -> Vec<Effect> {
        if self.overlay != Overlay::None {
            self.overlay = Overlay::None;
        } else if line == VIEWS_LINE {
            self.click_view(column);
        } else if self.opened.is_some() {
        } else if line == TITLE_LINE {
            self.click_title(column);
        } else if let Some(row) = line.checked_sub(TITLE_LINE + 1).map(usize::from)
            && row < self.page()
        {
            self.click_row(row);
        }
        Vec::new()
    }

    fn click_view(&mut self, x: u16) {
        let mut end = 0;
        for view in View::ALL {
            end += view.label().width();
            if usize::from(x) < end {
                self.show(view);
                return;
            }
        }
    }

    fn click_row(&mut self, row: usize) {
        let at = self.table().top + row;
        if at >= self.table().rows.len() {
            return;
        }
        if self.table().selected_line() == at {
            self.open();
        } else {
            self.table_mut().select(at);
        }
    }

    fn click_title(&mut self, x: u16) {
        let places = of_table(self.table(), self.size.0);
        let hit = places.into_iter().find(|place| (place.x..=place.x + place.width).contains(&x));
        let Some(place) = hit else { return };
        let table = self.table_mut();
        if table.sort == place.column {
            table.descending = !table.descending;
        } else {
            table.sort = place.column;
        }
        self.sorted();
    }
}
