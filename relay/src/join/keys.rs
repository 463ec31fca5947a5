//! Which rows have a view with which key: by its own form, and by the form in which it came to a node that translated it.

use std::collections::HashMap;

use super::RowId;
use crate::peer::View;

/// Rows by the keys of their views.
#[derive(Debug, Default)]
pub struct Keys {
    joins: HashMap<u64, Vec<RowId>>,
    entries: HashMap<u64, Vec<RowId>>,
}

impl Keys {
    /// The row has such a view. Twice is as good as once.
    pub fn add(&mut self, view: &View, row: RowId) {
        for (index, key) in [(&mut self.joins, view.join_key), (&mut self.entries, view.entry_key)] {
            if key != 0 {
                let rows = index.entry(key).or_default();
                if !rows.contains(&row) {
                    rows.push(row);
                }
            }
        }
    }

    /// The row has such a view no more.
    pub fn remove(&mut self, view: &View, row: RowId) {
        for (index, key) in [(&mut self.joins, view.join_key), (&mut self.entries, view.entry_key)] {
            if let Some(rows) = index.get_mut(&key) {
                rows.retain(|known| *known != row);
                if rows.is_empty() {
                    index.remove(&key);
                }
            }
        }
    }

    /// Rows that such a view may belong to: those with its own key (false), and those that a translation may link to it (true).
    pub fn of(&self, view: &View) -> Vec<(bool, RowId)> {
        let found = |index: &HashMap<u64, Vec<RowId>>, key: u64| {
            if key == 0 { Vec::new() } else { index.get(&key).cloned().unwrap_or_default() }
        };
        let own = found(&self.joins, view.join_key).into_iter().map(|row| (false, row));
        let next = found(&self.entries, view.join_key).into_iter().map(|row| (true, row));
        let before = found(&self.joins, view.entry_key).into_iter().map(|row| (true, row));
        own.chain(next).chain(before).collect()
    }
}
