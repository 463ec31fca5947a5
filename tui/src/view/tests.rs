//! Every screen, at the smallest and at a large size.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::draw;
use crate::model::tests::{at, connection, empty, explanation, press, rest, told, world};
use crate::model::{Input, Model, Told};

const SIZES: [(u16, u16); 2] = [(80, 24), (200, 50)];

fn screen(model: &Model, columns: u16, lines: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    terminal.draw(|frame| draw(model, frame)).unwrap();
    terminal.backend().to_string()
}

/// The screen after these keys, at each size.
fn shows(name: &str, make: fn() -> Model, keys: &str) {
    for (columns, lines) in SIZES {
        let mut model = make();
        model.update(Input::Resize(columns, lines), model.now);
        press(&mut model, keys);
        insta::assert_snapshot!(format!("{name}_{columns}x{lines}"), screen(&model, columns, lines));
    }
}

#[test]
fn every_view() {
    for (keys, name) in [
        ("1jj", "connections"),
        ("2", "flows"),
        ("3", "services"),
        ("4", "dns"),
        ("5", "drops"),
        ("6", "nodes"),
    ] {
        shows(name, world, keys);
    }
}

#[test]
fn one_connection() {
    shows("opened", world, "\n");
    shows("opened_denied", world, "5\n");
}

#[test]
fn what_policies_say_of_one_connection() {
    fn answered() -> Model {
        let mut model = world();
        press(&mut model, "5/disagreement\n");
        rest(&mut model);
        press(&mut model, "\n");
        model.told(Told::Explained("c0012".into(), Box::new(Ok(explanation()))), at(4));
        model
    }
    shows("opened_contradicted", answered, "");
    shows("opened_contradicted_below", answered, "jjjj");
}

#[test]
fn help_export_and_prompts() {
    shows("help", world, "?");
    shows("export", world, "e");
    shows("filter_right", world, "/verdict=dropped");
    shows("filter_wrong", world, "/web nss=shop");
    shows("filter_values", world, "/src.pod=shop/web-0");
    shows("filter_hides_all", world, "/ns=bank\n");
    shows("command", world, ":s");
    shows("sorted", world, ":sort rtt\nr");
    shows("exporting", world, ":export csv\n");
    shows("followed", world, "jjjf");
}

#[test]
fn frozen_and_away() {
    fn frozen() -> Model {
        let mut model = world();
        press(&mut model, " ");
        model.told(told(&connection(77)), at(4));
        model
    }
    fn away() -> Model {
        let mut model = world();
        let why = "cannot connect to unix:///run/weir/relay.sock: Connection refused".to_owned();
        model.told(Told::Away { why, retry_ms: 4000 }, at(4));
        model
    }
    shows("frozen", frozen, "");
    fn back() -> Model {
        let mut model = away();
        model.told(Told::Connected, at(9));
        model.told(told(&connection(29)), at(9));
        model.update(Input::Tick, at(9));
        rest(&mut model);
        model
    }
    shows("away", away, "");
    shows("back_again", back, "");
    shows("nothing_yet", empty, "");
}

/// Which tone stands where, as letters: the same letters with other colours are another snapshot.
fn styles(model: &Model) -> String {
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal.draw(|frame| draw(model, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let mut lines = Vec::new();
    for y in [0, 1, 2, 3, 4, 12] {
        let mut runs: Vec<(String, usize)> = Vec::new();
        for x in 0..80 {
            let cell = &buffer[(x, y)];
            let style = format!("{:?}/{:?}", cell.fg, cell.modifier);
            match runs.last_mut() {
                Some((last, count)) if *last == style => *count += 1,
                _ => runs.push((style, 1)),
            }
        }
        let runs: Vec<String> = runs.into_iter().map(|(style, count)| format!("{count}x{style}")).collect();
        lines.push(format!("{y}: {}", runs.join(" ")));
    }
    lines.join("\n")
}

#[test]
fn every_theme() {
    for (number, name) in super::theme::NAMES.iter().enumerate() {
        let mut model = world();
        model.theme = number;
        insta::assert_snapshot!(format!("theme_{name}"), styles(&model));
    }
}

#[test]
fn without_colours_there_are_none() {
    let mut model = world();
    model.theme = super::theme::NONE;
    let mut terminal = Terminal::new(TestBackend::new(200, 50)).unwrap();
    terminal.draw(|frame| draw(&model, frame)).unwrap();
    let is_plain = |cell: &ratatui::buffer::Cell| cell.fg == Color::Reset && cell.bg == Color::Reset;
    assert!(terminal.backend().buffer().content().iter().all(is_plain));
}

#[test]
fn no_size_breaks_it() {
    for columns in [1, 19, 20, 21, 33, 61, 79, 140, 300] {
        for lines in [1, 5, 6, 7, 12, 25, 60] {
            for keys in ["", "\n", "?", "e", "/x"] {
                let mut model = world();
                model.update(Input::Resize(columns, lines), at(3));
                press(&mut model, keys);
                screen(&model, columns, lines);
            }
        }
    }
}

#[test]
fn nothing_of_the_wire_steers_the_terminal_and_wide_letters_stay_in_their_column() {
    let mut model = world();
    let mut made = connection(50);
    made.flow.as_mut().unwrap().source.as_mut().unwrap().pod_name =
        "猫猫猫猫猫猫猫猫猫猫猫\u{1b}[2J".to_owned();
    model.told(told(&made), at(4));
    model.update(Input::Tick, at(5));
    press(&mut model, "/猫\n");
    let drawn = screen(&model, 80, 24);
    assert!(!drawn.contains('\u{1b}'));
    assert!(drawn.contains("猫猫"), "{drawn}");
    insta::assert_snapshot!("wide_80x24", drawn);
}
