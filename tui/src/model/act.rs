//! Keys -> what follows from them.

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::export::{self, Export, FORMS, Form};
use super::filter::Filter;
use super::prompt::{Prompt, Purpose};
use super::row::Subject;
use super::{Effect, Frozen, Model, Opened, Overlay, View, connections};
use crate::keys::{self, Action};

impl Model {
    pub(super) fn key(&mut self, key: KeyEvent) -> Vec<Effect> {
        let is_break = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
        if is_break {
            return vec![Effect::Quit];
        }
        if self.prompt.is_some() {
            return self.typed(key);
        }
        match self.overlay {
            Overlay::None => {}
            Overlay::Help => {
                self.overlay = Overlay::None;
                return Vec::new();
            }
            Overlay::Export => {
                self.overlay = Overlay::None;
                let form = FORMS.iter().find(|(letter, ..)| key.code == KeyCode::Char(*letter));
                return form.map_or_else(Vec::new, |(.., form)| self.export(*form));
            }
        }
        keys::action(key.code, key.modifiers, self.opened.is_none())
            .map_or_else(Vec::new, |action| self.act(action))
    }

    fn act(&mut self, action: Action) -> Vec<Effect> {
        match action {
            Action::View(number) => self.show(View::ALL[usize::from(number - 1) % View::ALL.len()]),
            Action::NextView => self.show(View::ALL[(self.view as usize + 1) % View::ALL.len()]),
            Action::Move(by) => self.step(by.into()),
            Action::HalfPages(by) => {
                let half = i64::try_from(self.page() / 2).unwrap_or(1).max(1);
                self.step(i64::from(by) * half);
            }
            Action::First => self.first(),
            Action::Last => self.step(i64::MAX),
            Action::Open => self.open(),
            Action::Back => self.back(),
            Action::Filter => self.prompt = Some(Prompt::new(Purpose::Filter, self.filter_text())),
            Action::Command => self.prompt = Some(Prompt::new(Purpose::Command, "")),
            Action::SortColumn(by) => {
                self.table_mut().sort_by(by);
                self.dirty = true;
            }
            Action::Reverse => {
                let table = self.table_mut();
                table.descending = !table.descending;
                self.dirty = true;
            }
            Action::Freeze => self.freeze(),
            Action::Follow => self.follow(),
            Action::Copy => return self.copy(),
            Action::Export => self.overlay = Overlay::Export,
            Action::Help => self.overlay = Overlay::Help,
            Action::Quit => return vec![Effect::Quit],
        }
        Vec::new()
    }

    /// Shows a view.
    pub fn show(&mut self, view: View) {
        (self.view, self.opened, self.dirty) = (view, None, true);
    }

    pub(super) fn step(&mut self, by: i64) {
        if self.opened.is_some() {
            let most = self.detail().len().saturating_sub(self.page() / 2);
            if let Some(opened) = &mut self.opened {
                let top = i64::try_from(opened.top).unwrap_or_default().saturating_add(by).max(0);
                opened.top = usize::try_from(top).unwrap_or_default().min(most);
            }
        } else {
            self.table_mut().step(by);
        }
    }

    fn first(&mut self) {
        match &mut self.opened {
            Some(opened) => opened.top = 0,
            None => self.table_mut().home(),
        }
    }

    pub(super) fn open(&mut self) {
        let Some(subject) = self.table().selected().map(|row| row.subject.clone()) else {
            return;
        };
        match subject {
            Subject::Connection(connection) => self.opened = Some(Opened { connection, top: 0 }),
            Subject::Flow(flow) => match self.connections.of_flow(&flow).cloned() {
                Some(connection) => self.opened = Some(Opened { connection, top: 0 }),
                None => {
                    let key = flow.weir.as_ref().map_or(0, |detail| detail.join_key);
                    self.pivot(format!("key={key:016x}"));
                }
            },
            Subject::Group(filter) => self.pivot(filter),
        }
    }

    fn pivot(&mut self, filter: String) {
        self.show(View::Connections);
        self.set_filter(filter);
        self.table_mut().home();
    }

    /// Filters by this text; one that is not understood changes nothing.
    pub(super) fn set_filter(&mut self, text: String) -> bool {
        let Ok(filter) = Filter::parse(&text) else {
            return false;
        };
        self.filters[self.view as usize] = (text, filter);
        self.dirty = true;
        true
    }

    fn back(&mut self) {
        if self.opened.take().is_none() && !self.filter_text().is_empty() {
            self.set_filter(String::new());
        }
    }

    fn freeze(&mut self) {
        if self.frozen.take().is_none() {
            let connections = self.connections.rows().cloned().collect();
            self.frozen = Some(Frozen { count: 0, connections, flows: self.flows.rows().cloned().collect() });
            return;
        }
        self.dirty = true;
        if let Some(opened) = &mut self.opened
            && let Some(latest) = self.connections.get(&opened.connection.id)
        {
            opened.connection = latest.clone();
        }
    }

    fn follow(&mut self) {
        let chosen: Option<Arc<str>> = match (&self.opened, self.table().selected()) {
            (Some(opened), _) => Some(opened.connection.id.as_str().into()),
            (None, Some(row)) if matches!(row.subject, Subject::Connection(_)) => Some(row.id.clone()),
            _ => None,
        };
        if chosen.is_none() {
            self.say("only a connection can be followed");
        }
        self.followed = if self.followed == chosen { None } else { chosen };
        self.dirty = true;
    }

    fn copy(&mut self) -> Vec<Effect> {
        let text = if self.opened.is_some() {
            let lines = self.detail();
            lines.iter().map(|line| format!("{:<11}{}\n", line.title, line.text)).collect::<String>()
        } else {
            let Some(row) = self.table().selected() else {
                return Vec::new();
            };
            row.cells.iter().map(|cell| cell.text.as_str()).collect::<Vec<_>>().join(" ")
        };
        self.say("copied, where the terminal knows OSC 52");
        vec![Effect::Copy(text)]
    }

    pub(super) fn export(&mut self, form: Form) -> Vec<Effect> {
        let opened = self.opened.as_ref().and_then(|opened| {
            connections::row(&opened.connection, &self.output).map(|row| vec![Arc::new(row)])
        });
        let table = self.table();
        let (rows, columns) = match opened {
            Some(rows) => (rows, connections::COLUMNS),
            None => (table.rows.clone(), table.columns),
        };
        let export = Export { form, rows, columns, command: self.command_line() };
        self.say("writing");
        vec![Effect::Write { stem: format!("weir-{}", self.view.name().to_lowercase()), export }]
    }

    /// The command that shows the same.
    #[must_use]
    pub fn command_line(&self) -> String {
        let server = export::shell_word(&self.server);
        let what = match self.view {
            View::Nodes => return format!("weir status --server {server}"),
            View::Flows | View::Dns => "observe --follow",
            View::Connections | View::Services | View::Drops => "observe --follow --connections",
        };
        let mut flags = self.filters[self.view as usize].1.flags();
        if self.view == View::Dns {
            flags.push_str(" --protocol dns");
        }
        if let Some(opened) = &self.opened
            && let Some(flow) = &opened.connection.flow
            && let Some(ip) = &flow.ip
        {
            flags = format!(
                " --from-ip {} --to-ip {}",
                export::shell_word(&ip.source),
                export::shell_word(&ip.destination)
            );
        }
        format!("weir {what} --server {server}{flags}")
    }
}
