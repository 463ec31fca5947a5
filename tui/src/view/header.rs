//! The first two lines: how the server is, what is lost, and which view is shown.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthStr;

use super::put;
use super::theme::Theme;
use crate::model::row::Tone;
use crate::model::{LOSS_IS_NEWS_S, Link, Model, View};
use crate::print::milliseconds;

/// Cells of the server's address that are always shown.
const LEAST_SERVER: usize = 8;

/// Draws how the server is.
pub fn draw(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let parts = parts(model);
    let needed: usize = parts.iter().map(|(text, _)| text.width() + 2).sum();
    let room = usize::from(area.width).saturating_sub(needed + 5).max(LEAST_SERVER);
    let mut x = put(buffer, area, area.x, area.y, "weir ", theme.style(Tone::Heading));
    x = put(buffer, area, x, area.y, &shortened(&model.server, room), theme.style(Tone::Quiet));
    for (text, tone) in parts {
        x = put(buffer, area, x, area.y, "  ", theme.style(Tone::Plain));
        x = put(buffer, area, x, area.y, &text, theme.style(tone));
    }
}

/// The weightiest first: a narrow line loses its end.
fn parts(model: &Model) -> Vec<(String, Tone)> {
    let mut parts = Vec::new();
    match &model.link {
        Link::Connecting => parts.push(("connecting".to_owned(), Tone::Unsure)),
        Link::Up => {}
        Link::Down { since, retry_at, .. } => {
            let left_ms = (retry_at.as_millisecond() - model.now.as_millisecond()).max(0);
            let away_s = model.now.as_second() - since.as_second();
            parts.push((format!("✗ AWAY {away_s}s, retry in {}s", (left_ms + 999) / 1000), Tone::Bad));
        }
    }
    if let Some(frozen) = &model.frozen {
        let new = match model.view {
            View::Flows | View::Dns => frozen.flows,
            View::Connections | View::Services | View::Drops | View::Nodes => frozen.connections,
        };
        parts.push((format!("FROZEN +{new} new"), Tone::Unsure));
    }
    if let (Link::Up, Some((connected, known))) = (&model.link, model.nodes.connected()) {
        let tone = if connected < known || connected == 0 { Tone::Bad } else { Tone::Good };
        let mark = if tone == Tone::Bad { "✗ " } else { "" };
        parts.push((format!("{mark}nodes {connected}/{known}"), tone));
    }
    parts.push((format!("seen {}/s", rate(model.rate)), Tone::Plain));
    parts.push(lost(model));
    let lag = model.lag_ns.map_or_else(|| "-".to_owned(), milliseconds);
    parts.push((format!("lag {lag}"), Tone::Plain));
    parts
}

/// Two digits are enough to see how much it is.
fn rate(rate: u64) -> String {
    if rate < 10_000 { rate.to_string() } else { format!("{}.{}k", rate / 1000, rate % 1000 / 100) }
}

/// A loss is loud while it is news; later it still stands there.
fn lost(model: &Model) -> (String, Tone) {
    let lost = model.lost();
    if lost == 0 {
        return ("lost 0".to_owned(), Tone::Plain);
    }
    let since = |at: jiff::Timestamp| model.now.as_second() - at.as_second();
    let is_news = model.lost_at.is_some_and(|at| since(at) < LOSS_IS_NEWS_S);
    let thousandths = model.lost_thousandths();
    let share = format!("lost {lost} ({}.{}%)", thousandths / 10, thousandths % 10);
    if is_news { (format!("! {share}"), Tone::Bad) } else { (share, Tone::Unsure) }
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

/// Draws the names of the views, and how many rows of how many are shown.
pub fn views(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let mut x = area.x;
    for view in View::ALL {
        let is_shown = view == model.view;
        let style = if is_shown { theme.selected(Tone::Heading) } else { theme.style(Tone::Quiet) };
        x = put(buffer, area, x, area.y, &view.label(), style);
    }
    let (all, forgotten) = match model.view {
        View::Flows => (model.flows.count(), model.flows.forgotten),
        View::Dns => (model.names.count(), model.names.forgotten),
        View::Nodes => (model.nodes.count(), 0),
        View::Connections | View::Services | View::Drops => {
            (model.connections.count(), model.connections.forgotten)
        }
    };
    let of = match model.view {
        // Rows that stand for many are no part of these.
        View::Services | View::Dns => "rows".to_owned(),
        View::Connections | View::Flows | View::Drops | View::Nodes => format!("of {all}"),
    };
    let forgotten = if forgotten > 0 { format!(", {forgotten} forgotten") } else { String::new() };
    let text = format!(" {} {of}{forgotten}", model.table().rows.len());
    put(buffer, area, x, area.y, &text, theme.style(Tone::Quiet));
}
