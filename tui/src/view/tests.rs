//! Every screen, at the smallest and at a large size.

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::draw;
use crate::model::tests::{at, connection, empty, press, world};
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
fn help_export_and_prompts() {
    shows("help", world, "?");
    shows("export", world, "e");
    shows("filter_right", world, "/verdict=dropped");
    shows("filter_wrong", world, "/web nss=shop");
    shows("followed", world, "jjjf");
}

#[test]
fn frozen_and_away() {
    fn frozen() -> Model {
        let mut model = world();
        press(&mut model, " ");
        model.told(Told::Connection(Box::new(connection(77))), at(4));
        model
    }
    fn away() -> Model {
        let mut model = world();
        let why = "cannot connect to unix:///run/weir/relay.sock: Connection refused".to_owned();
        model.told(Told::Away { why, retry_ms: 4000 }, at(4));
        model
    }
    shows("frozen", frozen, "");
    shows("away", away, "");
    shows("nothing_yet", empty, "");
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
    model.told(Told::Connection(Box::new(made)), at(4));
    model.update(Input::Tick, at(5));
    press(&mut model, "/猫\n");
    let drawn = screen(&model, 80, 24);
    assert!(!drawn.contains('\u{1b}'));
    assert!(drawn.contains("猫猫"), "{drawn}");
    insta::assert_snapshot!("wide_80x24", drawn);
}

/// The quickest of several: a busy machine makes some slow, a slow screen all of them.
fn quickest(mut what: impl FnMut()) -> std::time::Duration {
    let once = |_| {
        let start = std::time::Instant::now();
        what();
        start.elapsed()
    };
    (0..9).map(once).min().unwrap_or_default()
}

#[test]
fn ten_thousand_connections_are_quick() {
    let mut model = empty();
    model.update(Input::Resize(200, 50), at(0));
    for number in 0..10_000 {
        model.told(Told::Connection(Box::new(connection(number))), at(0));
    }
    model.update(Input::Tick, at(1));
    assert_eq!(model.table().rows.len(), 10_000);
    let mut terminal = Terminal::new(TestBackend::new(200, 50)).unwrap();
    let mut frame = |model: &Model| {
        terminal.draw(|frame| draw(model, frame)).unwrap();
    };
    let scrolled = quickest(|| {
        press(&mut model, "j");
        frame(&model);
    });
    let sorted = quickest(|| {
        press(&mut model, "r");
        frame(&model);
    });
    let filtered = quickest(|| {
        press(&mut model, "/web-1\u{1b}");
        frame(&model);
    });
    let second = quickest(|| {
        for number in 0..500 {
            model.told(Told::Connection(Box::new(connection(number))), at(2));
        }
        model.update(Input::Tick, at(2));
        frame(&model);
    });
    println!("scrolled {scrolled:?}, sorted {sorted:?}, filtered {filtered:?}, 500 changes {second:?}");
    assert!(scrolled.as_millis() < 16, "scrolling took {scrolled:?}");
    assert!(sorted.as_millis() < 50 && filtered.as_millis() < 300, "{sorted:?} {filtered:?}");
    assert!(second.as_millis() < 100, "a frame of 5,000 changes a second took {second:?}");
}
