//! What could stand at the cursor of the line that is typed, and what Tab makes of it.
//!
//! Of a filter: fields, operators and words as the language knows them, and values that connections in memory carry. Of a
//! command: names and words of the table of commands.

use std::ops::Range;

use weir_proto::query::{self, Field};

use super::Model;
use super::command;
use super::prompt::{Prompt, Purpose};

/// Connections whose values are offered.
const LOOKED_AT: usize = 500;
/// Values that are offered.
const MOST_VALUES: usize = 200;

/// What may stand at the cursor.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// Text and what it is, the best first.
    pub candidates: Vec<(String, &'static str)>,
    /// The one that Tab has put into the text.
    pub chosen: Option<usize>,
    /// The characters that it replaces.
    replaces: Range<usize>,
    /// Live values of a field, looked up once.
    live: Option<(&'static str, Vec<String>)>,
}

impl Model {
    /// Looks up what may stand at the cursor.
    pub(super) fn offer(&mut self) {
        let Some(prompt) = &self.prompt else { return };
        let offer = match prompt.purpose {
            Purpose::Filter => self.offer_query(prompt),
            Purpose::Command => self.offer_command(prompt),
        };
        if let Some(prompt) = &mut self.prompt {
            prompt.offer = offer;
        }
    }

    fn offer_query(&self, prompt: &Prompt) -> Offer {
        let found = query::complete(&prompt.text, prompt.cursor);
        let typed: String = prompt.text.chars().take(found.replaces.end).skip(found.replaces.start).collect();
        let mut candidates: Vec<(String, &'static str)> =
            found.candidates.into_iter().map(|candidate| (candidate.text, candidate.help)).collect();
        let mut live = None;
        if let Some(field) = found.value_of {
            let values = match &prompt.offer.live {
                Some((name, values)) if *name == field.name => values.clone(),
                _ => self.live_values(field),
            };
            let fitting = values.iter().filter(|value| fits(value, &typed));
            candidates.extend(fitting.map(|value| (value.clone(), "")));
            live = Some((field.name, values));
        }
        candidates.retain(|(text, _)| *text != typed);
        Offer { candidates, chosen: None, replaces: found.replaces, live }
    }

    fn live_values(&self, field: &'static Field) -> Vec<String> {
        let flows: Vec<_> = self.connections.some_flows(LOOKED_AT).collect();
        let mut values = query::live_values(field, None, flows.iter(), MOST_VALUES);
        values.sort();
        values
    }

    fn offer_command(&self, prompt: &Prompt) -> Offer {
        let before: String = prompt.text.chars().take(prompt.cursor).collect();
        let (start, words) = match before.split_once(' ') {
            None => (0, command::names()),
            Some((name, _)) => (name.chars().count() + 1, command::words(self, name)),
        };
        let typed = before.chars().skip(start).collect::<String>().to_lowercase();
        let fitting = words.into_iter().filter(|(word, _)| word.to_lowercase().starts_with(&typed));
        let candidates = fitting.filter(|(word, _)| word.to_lowercase() != typed).collect();
        Offer { candidates, chosen: None, replaces: start..prompt.cursor, live: None }
    }

    /// Tab: what all candidates have in common, then one after the other.
    pub(super) fn complete(&mut self, by: isize) {
        let Some(prompt) = &mut self.prompt else { return };
        let count = prompt.offer.candidates.len();
        if count == 0 {
            return;
        }
        let start = prompt.offer.replaces.start;
        let typed = prompt.cursor.saturating_sub(start);
        let common = common_start(&prompt.offer.candidates);
        if prompt.offer.chosen.is_none() && (count == 1 || common.chars().count() > typed) {
            prompt.replace(start, &common);
            self.offer();
            return;
        }
        let next = match prompt.offer.chosen {
            None if by > 0 => 0,
            None => count - 1,
            Some(at) => (at + count).saturating_add_signed(by) % count,
        };
        let text = prompt.offer.candidates[next].0.clone();
        prompt.replace(start, &text);
        prompt.offer.chosen = Some(next);
    }
}

/// A value fits if it, or what stands behind its namespace, begins with what is typed.
fn fits(value: &str, typed: &str) -> bool {
    let begins = |text: &str| text.get(..typed.len()).is_some_and(|start| start.eq_ignore_ascii_case(typed));
    begins(value) || value.split_once('/').is_some_and(|(_, name)| begins(name))
}

fn common_start(candidates: &[(String, &str)]) -> String {
    let mut common = candidates.first().map_or("", |(text, _)| text.as_str());
    for (text, _) in candidates {
        let same = common.char_indices().zip(text.chars()).find(|((_, one), other)| one != other);
        let end = same.map_or(common.len().min(text.len()), |((at, _), _)| at);
        common = &common[..end];
    }
    common.to_owned()
}
