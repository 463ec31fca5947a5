//! Keys -> what follows from them.

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use prost::Message as _;
use weir_proto::flow::Flow;

use super::explain::Asked;
use super::export::{self, Export, FORMS, Form};
use super::prompt::{Prompt, Purpose};
use super::row::{Row, Subject};
use super::{Effect, Frozen, Model, Opened, Overlay, Step, View, connections, filter};
use crate::keys::{self, Action, KEYS};

/// Steps that can be taken back.
const TRAIL: usize = 32;

impl Model {
    pub(super) fn key(&mut self, key: KeyEvent) -> Vec<Effect> {
        let is_break = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
        if is_break {
            return vec![Effect::Quit];
        }
        if self.prompt.is_some() {
            return self.typed(key);
        }
        let action = keys::action(key.code, key.modifiers, self.opened.is_none());
        match self.overlay {
            Overlay::None => action.map_or_else(Vec::new, |action| self.act(action)),
            Overlay::Help(top) => {
                self.overlay = scrolled(action, top).map_or(Overlay::None, Overlay::Help);
                Vec::new()
            }
            Overlay::Export => {
                self.overlay = Overlay::None;
                let form = FORMS.iter().find(|(letter, ..)| key.code == KeyCode::Char(*letter));
                form.map_or_else(Vec::new, |(.., form)| self.export(*form))
            }
        }
    }

    fn act(&mut self, action: Action) -> Vec<Effect> {
        match action {
            Action::View(number) => self.show(View::ALL[usize::from(number - 1) % View::ALL.len()]),
            Action::NextView(by) => {
                let count = View::ALL.len();
                let next = (self.view as usize + count).saturating_add_signed(by) % count;
                self.show(View::ALL[next]);
            }
            Action::Move(by) => self.step(by.into()),
            Action::HalfPages(by) => {
                let half = i64::try_from(self.page() / 2).unwrap_or(1).max(1);
                self.step(i64::from(by) * half);
            }
            Action::First => self.first(),
            Action::Last => self.step(i64::MAX),
            Action::NextFailed(forward) => self.seek_failed(forward),
            Action::Open => self.open(),
            Action::Back => self.back(),
            Action::Filter => {
                let text = self.filter.text.clone();
                self.prompt_for(Prompt::new(Purpose::Filter, &text));
            }
            Action::Command => self.prompt_for(Prompt::new(Purpose::Command, "")),
            Action::SortColumn(by) => {
                self.table_mut().sort_by(by);
                self.sorted();
            }
            Action::Reverse => {
                let table = self.table_mut();
                table.descending = !table.descending;
                self.sorted();
            }
            Action::Freeze => self.freeze(),
            Action::Follow => self.follow(),
            Action::Copy => return self.copy(),
            Action::Export => self.overlay = Overlay::Export,
            Action::Help => self.overlay = Overlay::Help(0),
            Action::Suspend => return vec![Effect::Suspend],
            Action::Quit => return vec![Effect::Quit],
        }
        Vec::new()
    }

    /// Says by which column the rows are now in order: it may have no room on a narrow screen.
    pub(super) fn sorted(&mut self) {
        self.dirty = true;
        let table = self.table();
        let title = table.columns[table.sort].title;
        let title = if title.is_empty() { "mark" } else { title };
        let way = if table.descending { "largest first ▼" } else { "smallest first ▲" };
        self.say(format!("sorted by {title}, {way}"));
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

    pub(super) fn wheel(&mut self, by: i64) {
        match self.overlay {
            Overlay::Help(top) => {
                let action = Action::Move(if by < 0 { -1 } else { 1 });
                self.overlay = scrolled(Some(action), top).map_or(Overlay::None, Overlay::Help);
            }
            Overlay::None | Overlay::Export => self.step(by),
        }
    }

    fn first(&mut self) {
        match &mut self.opened {
            Some(opened) => opened.top = 0,
            None => self.table_mut().home(),
        }
    }

    fn seek_failed(&mut self, forward: bool) {
        if !self.table_mut().seek(forward, Row::is_bad) {
            self.say("nothing failed among these rows");
        }
    }

    pub(super) fn open(&mut self) {
        let Some(row) = self.table().selected().cloned() else {
            return;
        };
        match &row.subject {
            Subject::Connection(_) => self.open_connection(row),
            Subject::Flow(encoded) => {
                let flow = Flow::decode(&encoded[..]).unwrap_or_default();
                match self.connections.of_flow(&flow).cloned() {
                    Some(row) => self.open_connection(row),
                    None => {
                        let key = flow.weir.as_ref().map_or(0, |detail| detail.join_key);
                        self.pivot(&format!("join={key}"));
                    }
                }
            }
            Subject::Group(query) => self.pivot(&query.clone()),
        }
    }

    fn open_connection(&mut self, row: Arc<Row>) {
        let connection = row.call().map(connections::decode).unwrap_or_default();
        self.opened = Some(Opened { row, connection, messages: Vec::new(), asked: Asked::No, top: 0 });
        self.find_messages();
    }

    /// To the connections behind a row: those that pass its query and the filter by which the row was counted.
    fn pivot(&mut self, query: &str) {
        let text = filter::both(&self.filter.text, query);
        let step = Step { view: self.view, filter: self.filter.text.clone() };
        if !self.set_filter(&text) {
            self.say(format!("no query can ask for this row: {text}"));
            return;
        }
        self.trail.push(step);
        let surplus = self.trail.len().saturating_sub(TRAIL);
        self.trail.drain(..surplus);
        self.show(View::Connections);
        self.table_mut().home();
    }

    /// Filters by this text; one that is not understood changes nothing.
    pub(super) fn set_filter(&mut self, text: &str) -> bool {
        let is_set = self.filter.set(text).is_ok();
        if is_set {
            (self.judging, self.dirty) = (true, true);
        }
        is_set
    }

    /// One step back: the opened connection, then what a row led to, then the filter.
    fn back(&mut self) {
        if self.opened.take().is_some() {
            return;
        }
        if let Some(step) = self.trail.pop() {
            self.set_filter(&step.filter);
            self.show(step.view);
        } else if !self.filter.text.is_empty() {
            self.set_filter("");
        }
    }

    fn freeze(&mut self) {
        let frozen = self.frozen.is_none();
        self.connections.held = frozen;
        if frozen {
            self.frozen = Some(Frozen { at: self.now, connections: 0, flows: 0 });
            (self.flows.held, self.names.held) = (true, true);
            return;
        }
        self.frozen = None;
        self.flows.release();
        self.names.release();
        self.dirty = true;
    }

    fn follow(&mut self) {
        let row = self.opened.as_ref().map(|opened| &opened.row).or(self.table().selected());
        let chosen = match row.map(|row| &row.subject) {
            Some(Subject::Connection(_)) => row.map(|row| row.id.clone()),
            Some(Subject::Flow(encoded)) => {
                let flow = Flow::decode(&encoded[..]).unwrap_or_default();
                self.connections.of_flow(&flow).map(|row| row.id.clone())
            }
            Some(Subject::Group(_)) | None => None,
        };
        self.dirty = true;
        if self.followed.is_some() && (self.followed == chosen || chosen.is_none()) {
            self.followed = None;
            self.say("nothing is followed");
        } else if chosen.is_none() {
            self.say("only a connection can be followed");
        } else {
            self.followed = chosen;
            self.say("followed: first line of Connections, whatever the filter; f again ends it");
        }
    }

    fn copy(&mut self) -> Vec<Effect> {
        let text = if self.opened.is_some() {
            let lines = self.detail();
            lines.iter().map(|line| format!("{:<11}{}\n", line.title, line.text)).collect::<String>()
        } else {
            let Some(row) = self.table().selected() else {
                return Vec::new();
            };
            row.cells.texts().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
        };
        vec![Effect::Copy(text)]
    }

    pub(super) fn export(&mut self, form: Form) -> Vec<Effect> {
        let table = self.table();
        let (rows, columns) = match &self.opened {
            Some(opened) => (vec![opened.row.clone()], connections::COLUMNS),
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
        let (what, own) = match self.view {
            View::Nodes => return format!("weir status --server {server}"),
            View::Flows => ("observe --follow", ""),
            View::Dns => ("observe --follow", "proto=dns counts"),
            View::Connections => ("observe --follow --connections", ""),
            View::Services => ("observe --follow --connections", "svc~."),
            View::Drops => (
                "observe --follow --connections",
                "verdict=dropped or rejected or unanswered or evidence=reset-by-endpoint or policy.ruling=denied or disagreement",
            ),
        };
        let query = match self.opened.as_ref().and_then(|opened| opened.row.call()) {
            Some(call) => format!("join={}", call.join_key),
            None => filter::both(&self.filter.text, own),
        };
        let query = if query.is_empty() { query } else { format!(" --query {}", export::shell_word(&query)) };
        format!("weir {what} --server {server}{query}")
    }
}

/// Where the overlay of keys is after this; nothing if it closes.
fn scrolled(action: Option<Action>, top: usize) -> Option<usize> {
    let top = match action? {
        Action::Move(by) => top.saturating_add_signed(isize::try_from(by).unwrap_or_default()),
        Action::HalfPages(by) => top.saturating_add_signed(isize::try_from(by * 8).unwrap_or_default()),
        Action::First => 0,
        Action::Last => KEYS.len(),
        _ => return None,
    };
    Some(top.min(KEYS.len().saturating_sub(1)))
}
