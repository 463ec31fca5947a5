//! The first two lines: how the server is, what is lost, and which view is shown.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthStr;

use super::put;
use super::theme::Theme;
use crate::model::row::Tone;
use crate::model::{Link, Model, View};
use crate::print::milliseconds;

/// Draws both.
pub fn draw(model: &Model, theme: Theme, first: Rect, second: Rect, buffer: &mut Buffer) {
    let parts = parts(model);
    let needed: usize = parts.iter().map(|(text, _)| text.width() + 2).sum();
    let room = usize::from(first.width).saturating_sub(needed + 5);
    let mut x = put(buffer, first, first.x, first.y, "weir ", theme.style(Tone::Heading));
    x = put(buffer, first, x, first.y, &shortened(&model.server, room), theme.style(Tone::Quiet));
    for (text, tone) in parts {
        x = put(buffer, first, x, first.y, "  ", theme.style(Tone::Plain));
        x = put(buffer, first, x, first.y, &text, theme.style(tone));
    }
    views(model, theme, second, buffer);
}

fn parts(model: &Model) -> Vec<(String, Tone)> {
    let mut parts = Vec::new();
    match &model.link {
        Link::Connecting => parts.push(("connecting".to_owned(), Tone::Unsure)),
        Link::Up => {}
        Link::Down { retry_at, .. } => {
            let left_ms = (retry_at.as_millisecond() - model.now.as_millisecond()).max(0);
            parts.push((format!("✗ AWAY, trying again in {} s", (left_ms + 999) / 1000), Tone::Bad));
        }
    }
    if let (Link::Up, Some((connected, known))) = (&model.link, model.nodes.connected()) {
        let tone = if connected < known { Tone::Bad } else { Tone::Good };
        parts.push((format!("nodes {connected}/{known}"), tone));
    }
    parts.push((format!("{} flows/s", model.rate), Tone::Plain));
    let lost = model.lost();
    parts.push((format!("lost {lost}"), if lost > 0 { Tone::Bad } else { Tone::Plain }));
    let lag = model.lag_ns.map_or_else(|| "-".to_owned(), milliseconds);
    parts.push((format!("lag {lag}"), Tone::Plain));
    if let Some(frozen) = &model.frozen {
        parts.push((format!("FROZEN +{} new", frozen.count), Tone::Unsure));
    }
    parts
}

/// The end of a text tells more than its beginning.
fn shortened(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let mut kept: Vec<char> = Vec::new();
    for character in text.chars().rev().take(room.saturating_sub(1)) {
        kept.push(character);
    }
    std::iter::once('…').chain(kept.into_iter().rev()).collect()
}

fn views(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let mut x = area.x;
    for (at, view) in View::ALL.into_iter().enumerate() {
        let text = format!(" {} {} ", at + 1, view.name());
        let is_shown = view == model.view;
        let style = if is_shown { theme.selected(Tone::Heading) } else { theme.style(Tone::Quiet) };
        x = put(buffer, area, x, area.y, &text, style);
    }
    let counts = match model.view {
        View::Flows | View::Dns => (model.flows.len() as u64, model.flows.forgotten),
        _ => (model.connections.len() as u64, model.connections.forgotten),
    };
    let forgotten = if counts.1 > 0 { format!(", {} forgotten", counts.1) } else { String::new() };
    let text = format!("  {} of {}{forgotten}", model.table().rows.len(), counts.0);
    put(buffer, area, x, area.y, &text, theme.style(Tone::Quiet));
}
