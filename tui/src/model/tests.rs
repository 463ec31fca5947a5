//! Keys in, state out.

mod world;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::tz::TimeZone;
use prost::Message as _;
use weir_proto::weir::v1::ConnectionState;

use self::world::stamp;
pub use self::world::{at, connection, contradicted, denied, empty, explanation, press, rest, told, world};
use super::*;

fn selected(model: &Model) -> String {
    model.table().selected().unwrap().id.to_string()
}

#[test]
fn the_selection_stays_with_the_connection() {
    let mut model = world();
    press(&mut model, "jjj");
    let chosen = selected(&model);
    let line = model.table().selected_line();
    let mut earlier = connection(99);
    earlier.flow.as_mut().unwrap().weir.as_mut().unwrap().first_packet = stamp(60, 0);
    model.told(told(&earlier), at(60));
    model.update(Input::Tick, at(61));
    assert_eq!(selected(&model), chosen);
    assert_eq!(model.table().selected_line(), line + 1, "a younger one came above it");
}

#[test]
fn a_row_changes_in_place_between_two_sorts() {
    let mut model = world();
    let line = model.table().rows.iter().position(|row| &*row.id == "c0005").unwrap();
    let mut changed = connection(5);
    changed.flow.as_mut().unwrap().weir.as_mut().unwrap().state = ConnectionState::Closed.into();
    model.told(told(&changed), at(3));
    model.update(Input::Tick, at(3));
    let row = &model.table().rows[line];
    assert_eq!((&*row.id, row.cells.text(7)), ("c0005", "closed"));
    assert_eq!(model.connections.count(), 30);
}

#[test]
fn frozen_it_counts_and_does_not_move() {
    let mut model = world();
    press(&mut model, " ");
    let before: Vec<String> = model.table().rows.iter().map(|row| row.cells.text(7).to_owned()).collect();
    for number in 0..40 {
        model.told(told(&denied(number)), at(5));
    }
    model.update(Input::Tick, at(9));
    let after: Vec<String> = model.table().rows.iter().map(|row| row.cells.text(7).to_owned()).collect();
    assert_eq!((model.frozen.as_ref().map(|frozen| frozen.connections), before), (Some(10), after));
    press(&mut model, " ");
    assert_eq!((model.frozen.is_none(), model.table().rows.len()), (true, 40));
}

#[test]
fn a_filter_works_as_it_is_typed_and_says_what_is_wrong() {
    let mut model = world();
    press(&mut model, "/verdict=dro");
    assert_eq!(model.filter_error().unwrap().suggestion, None);
    assert_eq!(model.table().rows.len(), 30, "what is not understood changes nothing");
    press(&mut model, "\t");
    assert_eq!(model.prompt.as_ref().unwrap().text, "verdict=dropped");
    rest(&mut model);
    assert_eq!(model.table().rows.len(), 4);
    model.update(Input::Paste(" nss=shop".to_owned()), at(3));
    let error = model.filter_error().unwrap();
    assert_eq!((error.position, error.suggestion.as_deref()), (16, Some("ns")));
    assert_eq!(model.table().rows.len(), 4);
    press(&mut model, "\n");
    assert!(model.prompt.is_some(), "and is not accepted");
    press(&mut model, "\u{1b}");
    assert_eq!((model.prompt.is_none(), model.table().rows.len()), (true, 30));
}

#[test]
fn the_language_is_that_of_the_command_line() {
    let mut model = world();
    for (text, rows) in [
        ("ns=shop dst.svc=api verdict!=ok", 4),
        ("rtt>50ms", 0),
        ("rtt>100us not host", 30),
        ("port in 80,443", 30),
        ("port=8080 src.pod=web-03 or src.pod=web-04", 2),
        ("rule=deny", 4),
        ("web-07", 1),
        ("!verdict=dropped", 26),
    ] {
        press(&mut model, &format!(":filter {text}\n"));
        rest(&mut model);
        assert_eq!((text, model.table().rows.len()), (text, rows));
    }
    press(&mut model, "2");
    assert_eq!(model.filter.text, "!verdict=dropped", "it holds in every view");
}

#[test]
fn tab_offers_fields_operators_and_live_values() {
    let mut model = world();
    press(&mut model, "/dst.sv\t");
    assert_eq!(model.prompt.as_ref().unwrap().text, "dst.svc");
    press(&mut model, "=ap\t");
    assert_eq!(model.prompt.as_ref().unwrap().text, "dst.svc=shop/api");
    press(&mut model, " src.pod=shop/web-0\t");
    assert_eq!(model.prompt.as_ref().unwrap().text, "dst.svc=shop/api src.pod=shop/web-00");
    press(&mut model, "\t");
    assert_eq!(model.prompt.as_ref().unwrap().text, "dst.svc=shop/api src.pod=shop/web-01");
    press(&mut model, "\u{1b}:so\t");
    assert_eq!(model.prompt.as_ref().unwrap().text, "sort ");
    press(&mut model, "cl\t\n");
    assert_eq!(model.table().sort, 2);
}

#[test]
fn filters_are_remembered_and_saved() {
    let mut model = world();
    let kept = |effects: Vec<Effect>| match effects.into_iter().next() {
        Some(Effect::Keep(name, lines)) => (name, lines),
        other => panic!("{other:?}"),
    };
    press(&mut model, "/ns=shop\n");
    assert_eq!(kept(press(&mut model, "/ port=80\n")).1, "ns=shop\nns=shop port=80\n");
    assert_eq!(
        kept(press(&mut model, ":save web\n")),
        ("saved-filters", "web\tns=shop port=80\n".to_owned())
    );
    press(&mut model, "\u{1b}/");
    for (key, text) in
        [(KeyCode::Up, "ns=shop port=80"), (KeyCode::Up, "ns=shop"), (KeyCode::Down, "ns=shop port=80")]
    {
        model.update(Input::Key(KeyEvent::new(key, KeyModifiers::NONE)), at(3));
        assert_eq!(model.prompt.as_ref().unwrap().text, text);
    }
    press(&mut model, "\u{1b}:use we\n");
    assert_eq!(model.filter.text, "ns=shop port=80");
}

#[test]
fn sorting_moves_turns_and_is_named() {
    let mut model = world();
    press(&mut model, ">r");
    assert_eq!((model.table().sort, model.table().descending), (2, false));
    assert_eq!(selected(&model), "c0000");
    press(&mut model, ":sort state\n");
    assert_eq!(model.table().sort, 7);
    press(&mut model, ":sort nothing\n");
    assert!(model.said().unwrap().starts_with("no column nothing: TIME, CLIENT"));
    model.update(Input::Click(12, TITLE_LINE), at(3));
    assert_eq!(model.table().sort, 2);
}

#[test]
fn a_row_leads_to_its_connections() {
    let mut model = world();
    press(&mut model, "3\n");
    assert_eq!(
        (model.view, model.filter.text.as_str()),
        (View::Connections, "dst.svc~^shop/api$ dst.ip=10.244.2.7")
    );
    press(&mut model, "\u{1b}");
    assert_eq!((model.view, model.filter.text.as_str()), (View::Services, ""), "and back");
    press(&mut model, "6\n");
    assert_eq!(model.filter.text, "node=birch or observer=birch");
    assert_eq!(model.table().rows.len(), 30);
    press(&mut model, "\u{1b}4G\n");
    assert_eq!(model.filter.text, "dns.query=lost.example or name=lost.example");
    press(&mut model, "\u{1b}2\n");
    assert!(model.opened.is_some(), "a flow opens its connection");
    press(&mut model, "\u{1b}");
    assert!(model.opened.is_none());
}

#[test]
fn every_column_has_its_cell() {
    let model = world();
    for (columns, why) in [(connections::COLUMNS, "WHY"), (connections::DROPS_COLUMNS, "STOPPED BY")] {
        let at = |title| columns.iter().position(|column| column.title == title).unwrap();
        let row = model.connections.get("c0003").unwrap();
        let call = row.call().unwrap();
        assert_eq!(row.cells.rank(at("TIME")), call.first_ns);
        assert_eq!(row.cells.rank(at("LAST")), call.last_ns);
        assert!(row.cells.text(at(why)).starts_with("ingress denied: shop/api-from-web, shop/deny"));
        assert!(row.cells.text(at(why)).contains("; logged by "));
        assert_eq!(row.cells.text(at("STATE")), "opening");
        if why == "STOPPED BY" {
            assert!(row.cells.text(at("RULE")).contains("shop/api-from-web rule 1"));
            assert_eq!(row.cells.text(at("LAST SEEN")), "flannel.1 in");
        }
    }
}

#[test]
fn drops_are_what_was_stopped_what_policies_deny_and_where_they_and_the_packets_contradict() {
    let mut model = world();
    let mut unseen = denied(40);
    let flow = unseen.flow.as_mut().unwrap();
    flow.verdict = weir_proto::flow::Verdict::Unknown.into();
    flow.weir.as_mut().unwrap().evidence.clear();
    model.told(told(&unseen), at(3));
    press(&mut model, "5");
    model.update(Input::Tick, at(4));
    rest(&mut model);
    let mut shown: Vec<&str> = model.table().rows.iter().map(|row| &*row.id).collect();
    shown.sort_unstable();
    assert_eq!(shown, ["c0003", "c0010", "c0012", "c0017", "c0024", "c0040"]);
    press(&mut model, "/disagreement\n");
    rest(&mut model);
    assert_eq!(selected(&model), "c0012");
    let row = model.table().selected().unwrap();
    assert!(!row.is_bad(), "its client got what it wanted");
    assert!(row.cells.texts().any(|text| text.starts_with("≠ policies deny its ingress")));
}

fn asked(effects: &[Effect]) -> Vec<(Arc<str>, String)> {
    let question = |effect: &Effect| match effect {
        Effect::Explain(id, request) => {
            let asked =
                format!("{} {} {} {}", request.source, request.destination, request.protocol, request.port);
            Some((id.clone(), asked))
        }
        _ => None,
    };
    effects.iter().filter_map(question).collect()
}

#[test]
fn a_denied_connection_is_asked_about_once_and_its_page_says_what_is_answered() {
    let mut model = world();
    assert!(asked(&press(&mut model, "\n")).is_empty(), "no policy has a word there");
    press(&mut model, "\u{1b}5");
    let questions = asked(&press(&mut model, "\n"));
    assert_eq!(questions.len(), 1);
    let (id, question) = &questions[0];
    assert_eq!(question, "10.244.1.5 10.244.2.7 tcp 8080");
    assert!(asked(&press(&mut model, "jk")).is_empty());
    let page =
        |model: &Model| model.detail().iter().map(|line| line.text.clone()).collect::<Vec<_>>().join("\n");
    assert!(page(&model).contains("asking the server"));
    let answered = |id: &Arc<str>, answer| Told::Explained(id.clone(), Box::new(answer));
    model.told(answered(&"c9999".into(), Err("of another one".to_owned())), at(4));
    assert!(page(&model).contains("asking the server"));
    model.told(answered(id, Err("no daemon is connected".to_owned())), at(4));
    assert!(page(&model).contains("not answered: no daemon is connected"));
    model.told(answered(id, Ok(explanation())), at(4));
    assert!(page(&model).contains("shop/web-24 -> shop/api-0 TCP 8080: denied by ingress of shop/api-0"));
    let advice = page(&model).lines().filter(|line| line.trim_start().starts_with("advice: ")).count();
    assert_eq!(advice, 2, "what is said of then is not said again of now");
    assert_eq!(page(&model).matches("egress of shop/web-24: allowed").count(), 1, "another pod's is new");
    model.told(Told::Away { why: "gone".to_owned(), retry_ms: 1000 }, at(5));
    assert!(asked(&press(&mut model, "\u{1b}\n")).is_empty(), "nobody is there to be asked");
}

#[test]
fn what_failed_is_asked_about_though_no_node_judged_it() {
    let mut stopped = denied(41);
    stopped.flow.as_mut().unwrap().weir.as_mut().unwrap().policies.clear();
    let mut model = world();
    model.told(told(&stopped), at(3));
    press(&mut model, "/web-41\n");
    model.update(Input::Tick, at(4));
    rest(&mut model);
    assert_eq!(asked(&press(&mut model, "\n")).len(), 1);
}

#[test]
fn next_failed_goes_round() {
    let mut model = world();
    press(&mut model, "n");
    let first = selected(&model);
    press(&mut model, "nnn");
    assert_ne!(selected(&model), first);
    press(&mut model, "n");
    assert_eq!(selected(&model), first);
    press(&mut model, "Nn");
    assert_eq!(selected(&model), first);
}

#[test]
fn followed_it_stays_on_the_first_line() {
    let mut model = world();
    press(&mut model, "Gf");
    let followed = selected(&model);
    press(&mut model, "g/nothing-like-it\n");
    assert_eq!(model.table().rows.len(), 1);
    assert_eq!(&*model.table().rows[0].id, followed);
}

#[test]
fn copy_and_export_are_done_outside() {
    let mut model = world();
    let effects = press(&mut model, "/web-03\ny");
    assert!(matches!(effects.last(), Some(Effect::Copy(text)) if text.contains("shop/web-03")));
    let effects = press(&mut model, "ej:export csv\n:export command\n");
    let contents: Vec<String> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Write { export, .. } => Some(export.contents()),
            _ => None,
        })
        .collect();
    assert_eq!(contents.len(), 3);
    assert!(contents[0].starts_with('{') && contents[0].lines().count() == 1);
    assert!(contents[1].starts_with("MARK,TIME,CLIENT") && contents[1].lines().count() == 2);
    assert_eq!(
        contents[2],
        "weir observe --follow --connections --server unix:///run/weir/relay.sock --query web-03\n"
    );
}

#[test]
fn memory_is_bounded_and_says_what_it_forgot() {
    let mut store = Connections::new(output(&TimeZone::UTC, "seconds"), 10);
    let filter = Filter::new("").unwrap();
    for number in 0..25 {
        store.apply(&connection(number).encode_to_vec());
        store.apply(&connection(0).encode_to_vec());
        store.work(&filter, 100);
    }
    assert_eq!((store.count(), store.forgotten), (10, 15));
    assert!(store.get("c0024").is_some() && store.get("c0001").is_none());
    assert!(store.get("c0000").is_some(), "what is told of stays");
}

#[test]
fn what_a_reconnected_relay_does_not_tell_again_stays_and_is_marked() {
    let mut model = world();
    let stale = |model: &Model| model.table().rows.iter().filter(|row| model.is_stale(row)).count();
    assert_eq!(stale(&model), 0);
    model.told(Told::Away { why: "gone".to_owned(), retry_ms: 1000 }, at(10));
    assert!(matches!(model.link, Link::Down { .. }));
    assert_eq!(stale(&model), 30);
    model.told(Told::Connected, at(11));
    model.told(told(&connection(1)), at(11));
    let mut renamed = connection(2);
    renamed.id = "other".to_owned();
    model.told(told(&renamed), at(11));
    model.update(Input::Tick, at(12));
    rest(&mut model);
    assert_eq!((model.connections.count(), stale(&model)), (30, 28));
    assert!(model.connections.get("c0002").is_none(), "it is told under another name now");
    assert!(model.said().unwrap().starts_with("connected again after 1 s"));
}

#[test]
fn what_is_taken_back_goes() {
    let mut model = world();
    let taken_back = Connection { id: "c0005".to_owned(), ended: true, ..Default::default() };
    model.told(told(&taken_back), at(3));
    model.update(Input::Tick, at(4));
    rest(&mut model);
    assert_eq!((model.connections.count(), model.table().rows.len()), (29, 29));
}

#[test]
fn an_empty_view_says_why() {
    let mut model = empty();
    assert_eq!(model.why_empty(), ["connecting to unix:///run/weir/relay.sock"]);
    model.told(Told::Connected, at(1));
    assert_eq!(model.why_empty(), ["no connection seen yet"]);
    model.told(Told::Cannot(Stream::Connections, "not permitted to see connections: no".to_owned()), at(1));
    assert_eq!(model.why_empty(), ["not permitted to see connections: no"]);
    let mut model = world();
    press(&mut model, "/ns=bank\n");
    assert_eq!(model.why_empty(), ["30 rows do not pass the filter ns=bank; Esc takes it back"]);
    model.told(Told::Away { why: "connection refused".to_owned(), retry_ms: 1000 }, at(10));
    assert_eq!(model.why_empty()[1], "connection refused");
}

#[test]
fn nothing_that_comes_is_trusted() {
    let mut model = world();
    for bytes in [&b"\xff\xff\xff"[..], &b"\x0a\x02ab\x1a\x05abc"[..], &b""[..]] {
        model.told(Told::Connection(bytes.to_vec().into()), at(3));
        model.told(Told::Flow(bytes.to_vec().into(), 0, String::new()), at(3));
    }
    for view in ["1", "2", "3", "4", "5", "6"] {
        press(&mut model, view);
        model.update(Input::Tick, at(4));
        rest(&mut model);
    }
    assert!(model.connections.unreadable > 0);
}

#[test]
fn leaving() {
    for keys in ["q", ":quit\n", "1q"] {
        assert!(matches!(press(&mut world(), keys)[..], [Effect::Quit]), "{keys}");
    }
    let break_key = Input::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
    let mut model = world();
    press(&mut model, "/x");
    assert!(matches!(model.update(break_key, at(3))[..], [Effect::Quit]));
}

#[test]
fn narrow_terminals_lose_the_least_wanted_columns() {
    for room in 20..300 {
        let places = layout::places(connections::COLUMNS, &[], room);
        let end = places.last().map_or(0, |place| place.x + place.width);
        assert!(end <= room, "{room}: {places:?}");
    }
    let titles = |room| -> Vec<&str> {
        layout::places(connections::COLUMNS, &[], room)
            .iter()
            .map(|p| connections::COLUMNS[p.column].title)
            .collect()
    };
    assert_eq!(titles(80), ["", "TIME", "CLIENT", "SERVICE", "BACKEND", "STATE", "RTT", "LAST"]);
    assert_eq!(titles(200).len(), connections::COLUMNS.len());
}
