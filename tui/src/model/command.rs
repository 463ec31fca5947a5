//! Commands behind `:`, and what a click means. One table names all commands.

use super::export::FORMS;
use super::{Effect, Model, Overlay, TITLE_LINE, View};
use crate::model::row::Column;

type Run = fn(&mut Model, &str) -> Result<Vec<Effect>, String>;

/// Name, what follows, what it does.
const COMMANDS: &[(&str, &str, Run)] = &[
    ("quit", "", |_, _| Ok(vec![Effect::Quit])),
    ("q", "", |_, _| Ok(vec![Effect::Quit])),
    ("filter", "TEXT", filter),
    ("sort", "COLUMN", sort),
    ("view", "NAME", view),
    ("export", "json|csv|command", export),
    ("theme", "NAME", theme),
];

fn filter(model: &mut Model, text: &str) -> Result<Vec<Effect>, String> {
    if let Err(error) = super::Filter::parse(text) {
        return Err(error.to_string());
    }
    model.set_filter(text.to_owned());
    Ok(Vec::new())
}

fn sort(model: &mut Model, name: &str) -> Result<Vec<Effect>, String> {
    let columns = model.table().columns;
    let found = columns.iter().position(|column| !name.is_empty() && begins(column.title, name));
    let Some(column) = found else {
        let names: Vec<&str> =
            columns.iter().map(|column| column.title).filter(|title| !title.is_empty()).collect();
        return Err(format!("no column {name}: {}", names.join(", ")));
    };
    let table = model.table_mut();
    (table.sort, model.dirty) = (column, true);
    Ok(Vec::new())
}

fn view(model: &mut Model, name: &str) -> Result<Vec<Effect>, String> {
    match View::ALL.into_iter().find(|view| !name.is_empty() && begins(view.name(), name)) {
        Some(view) => {
            model.show(view);
            Ok(Vec::new())
        }
        None => Err(format!("no view {name}: {}", View::ALL.map(View::name).join(", "))),
    }
}

fn export(model: &mut Model, name: &str) -> Result<Vec<Effect>, String> {
    match FORMS.iter().find(|(_, known, ..)| *known == name) {
        Some((.., form)) => Ok(model.export(*form)),
        None => Err(format!("no form {name}: json, csv, command")),
    }
}

fn theme(model: &mut Model, name: &str) -> Result<Vec<Effect>, String> {
    match model.themes.iter().position(|theme| !name.is_empty() && begins(theme, name)) {
        Some(theme) => {
            model.theme = theme;
            Ok(Vec::new())
        }
        None => Err(format!("no theme {name}: {}", model.themes.join(", "))),
    }
}

fn begins(name: &str, typed: &str) -> bool {
    name.to_lowercase().starts_with(&typed.to_lowercase())
}

impl Model {
    pub(super) fn run_command(&mut self, text: &str) -> Vec<Effect> {
        let (name, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if name.is_empty() {
            return Vec::new();
        }
        let done = match COMMANDS.iter().find(|(known, ..)| *known == name) {
            Some((.., run)) => run(self, rest.trim()),
            None => {
                let all: Vec<String> = COMMANDS
                    .iter()
                    .map(|(name, rest, _)| format!("{name} {rest}").trim_end().to_owned())
                    .collect();
                Err(format!("no command {name}: {}", all.join(", ")))
            }
        };
        done.unwrap_or_else(|problem| {
            self.say(crate::print::escape(&problem));
            Vec::new()
        })
    }

    /// On a row: selects it, and opens it if it is selected. On a title: sorts by it, or the other way round.
    pub(super) fn click(&mut self, column: u16, line: u16) -> Vec<Effect> {
        if self.overlay != Overlay::None {
            self.overlay = Overlay::None;
            return Vec::new();
        }
        if self.opened.is_some() {
            return Vec::new();
        }
        if line == TITLE_LINE {
            self.click_title(column);
        } else if let Some(row) = line.checked_sub(TITLE_LINE + 1).map(usize::from)
            && row < self.page()
        {
            let at = self.table().top + row;
            if at >= self.table().rows.len() {
                return Vec::new();
            }
            if self.table().selected_line() == at {
                self.open();
            } else {
                self.table_mut().select(at);
            }
        }
        Vec::new()
    }

    fn click_title(&mut self, x: u16) {
        let places = places(self.table().columns, self.size.0);
        let hit = places.into_iter().find(|place| (place.x..=place.x + place.width).contains(&x));
        let Some(place) = hit else { return };
        let table = self.table_mut();
        if table.sort == place.column {
            table.descending = !table.descending;
        } else {
            table.sort = place.column;
        }
        self.dirty = true;
    }
}

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

/// The columns that fit, one cell apart: those of the highest numbers leave first, and room that is left goes to those that
/// can use it.
#[must_use]
pub fn places(columns: &[Column], room: u16) -> Vec<Place> {
    let mut chosen: Vec<usize> = (0..columns.len()).collect();
    let needed = |chosen: &[usize]| -> u16 { chosen.iter().map(|at| columns[*at].least + 1).sum::<u16>() };
    while needed(&chosen) > room + 1 && chosen.len() > 1 {
        let least_wanted = chosen.iter().copied().max_by_key(|at| columns[*at].priority);
        chosen.retain(|at| Some(*at) != least_wanted);
    }
    let mut widths: Vec<u16> = chosen.iter().map(|at| columns[*at].least).collect();
    let mut left = (room + 1).saturating_sub(needed(&chosen));
    while left > 0 {
        let before = left;
        for (width, at) in widths.iter_mut().zip(&chosen) {
            if left > 0 && *width < columns[*at].most {
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
    for (column, width) in chosen.into_iter().zip(widths) {
        places.push(Place { column, x, width: width.min(room.saturating_sub(x)) });
        x += width + 1;
    }
    places
}
