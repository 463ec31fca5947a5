//! What the screen costs and how soon it answers: ten thousand connections in the table, five thousand flows and as many
//! changes of connections a second, over a unix socket to the real `weir` in a real terminal.
//!
//! `cargo bench -p weir-tui --profile dev --bench screen`; with WEIR_GENERATE=1 the figures become `tests/results/screen.json`.

#![expect(clippy::print_stdout, reason = "its figures are what it is for")]

mod relay;
mod terminal;
mod traffic;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use prost::Message as _;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};
use weir_tui::model::{Input, Model, Told};

use relay::Relay;
use terminal::Terminal;

const CONNECTIONS: u32 = 10_000;
const FLOWS_PER_S: u64 = 5_000;
const SIZE: (u16, u16) = (200, 50);
const MEASURED_FOR: Duration = Duration::from_secs(20);
const KEYS: usize = 100;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    // Cargo's own arguments for harnesses mean nothing here; a run of all tests does not measure.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let mut figures = frames()?;
    figures.extend(program().await?);
    for figure in &figures {
        println!(
            "{:>12.2} {:<4} {}",
            figure["value"].as_f64().unwrap_or_default(),
            figure["unit"].as_str().unwrap_or(""),
            figure["what"]
        );
    }
    if std::env::var_os("WEIR_GENERATE").is_some() {
        write(&figures)?;
    }
    Ok(())
}

fn figure(name: &str, value: f64, unit: &str, what: &str) -> Value {
    json!({"name": name, "value": (value * 100.0).round() / 100.0, "unit": unit, "what": what})
}

/// The 99th of a hundred, in milliseconds.
fn p99_ms(mut times: Vec<Duration>) -> f64 {
    times.sort();
    let at = (times.len() * 99).div_ceil(100).saturating_sub(1);
    times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

/// Model and view alone: what one frame takes.
fn frames() -> Result<Vec<Value>> {
    let now = Timestamp::from_second(1_795_620_000)?;
    let mut model = Model::new("bench", now, TimeZone::UTC, weir_tui::view::theme::NAMES)?;
    model.told(Told::Connected, now);
    model.update(Input::Resize(SIZE.0, SIZE.1), now);
    for number in 0..CONNECTIONS {
        model.told(Told::Connection(traffic::connection(number).encode_to_vec().into()), now);
    }
    let later = Timestamp::from_second(now.as_second() + 1)?;
    while model.is_busy() || model.table().rows.len() < usize::try_from(CONNECTIONS)? {
        model.update(Input::Work, now);
        model.update(Input::Tick, later);
    }
    let mut terminal = ratatui::Terminal::new(TestBackend::new(SIZE.0, SIZE.1))?;
    let mut frame = |model: &mut Model, key: KeyCode, modifiers: KeyModifiers| -> Result<Duration> {
        let start = Instant::now();
        model.update(Input::Key(KeyEvent::new(key, modifiers)), later);
        terminal.draw(|frame| weir_tui::view::draw(model, frame))?;
        Ok(start.elapsed())
    };
    let times = |mut one: Box<dyn FnMut() -> Result<Duration> + '_>| {
        (0..1000).map(|_| one()).collect::<Result<Vec<_>>>()
    };
    let scrolls = times(Box::new(|| frame(&mut model, KeyCode::Char('d'), KeyModifiers::CONTROL)))?;
    let mut sorts = Vec::new();
    for _ in 0..100 {
        sorts.push(frame(&mut model, KeyCode::Char('>'), KeyModifiers::NONE)?);
    }
    Ok(vec![
        figure(
            "scroll_frame_p99",
            p99_ms(scrolls),
            "ms",
            "half a page down among 10,000 connections, to the drawn frame of 200x50 (99th percentile)",
        ),
        figure(
            "sort_frame_p99",
            p99_ms(sorts),
            "ms",
            "10,000 connections sorted by another column, to the drawn frame (99th percentile)",
        ),
    ])
}

/// Times from keys, and from letters of a filter, to what follows from them on the terminal.
fn typed(terminal: &mut Terminal, all: &str) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let mut keys = Vec::new();
    let mut letters = Vec::new();
    for _ in 0..KEYS {
        keys.push(terminal.key("'?'", |screen| screen.contains("row before that failed"))?);
        keys.push(terminal.key("Escape", |screen| !screen.contains("row before that failed"))?);
        letters.push(
            terminal.key("/", |screen| screen.lines().last().is_some_and(|line| line.starts_with("✓/")))?,
        );
        letters.push(
            terminal.key("w", |screen| screen.lines().last().is_some_and(|line| line.starts_with("✓/w")))?,
        );
        terminal.press("Escape")?;
        terminal.until("no prompt", |screen| screen.contains("q quit") && screen.contains(all))?;
    }
    Ok((keys, letters))
}

/// The real program at full load, then idle.
async fn program() -> Result<Vec<Value>> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("relay.sock");
    let relay = Relay::new(CONNECTIONS, FLOWS_PER_S);
    relay.serve(&socket)?;
    let command = format!(
        "'env XDG_STATE_HOME={0} {1} --server unix://{2}'",
        folder.path().display(),
        env!("CARGO_BIN_EXE_weir"),
        socket.display()
    );
    let mut terminal = Terminal::open(SIZE.0, SIZE.1, command.trim_matches('\''))?;
    let all = format!(" {CONNECTIONS} of {CONNECTIONS}");
    terminal.until("all connections", |screen| screen.contains(&all))?;
    let process = terminal.process()?;
    let sent = relay.sent.load(std::sync::atomic::Ordering::Relaxed);
    let start = Instant::now();
    let busy = process.share(MEASURED_FOR).await?;
    let rate =
        (relay.sent.load(std::sync::atomic::Ordering::Relaxed) - sent) as f64 / start.elapsed().as_secs_f64();
    let (keys, letters) = typed(&mut terminal, &all)?;
    let resident = process.resident_mib()?;
    relay.runs.store(false, std::sync::atomic::Ordering::Relaxed);
    terminal.until("quiet", |screen| screen.contains("seen 0/s"))?;
    let idle = process.share(MEASURED_FOR).await?;
    Ok(vec![
        figure(
            "flows_per_second",
            rate,
            "flows/s",
            "flows that `weir` was sent and took, beside as many changes of connections",
        ),
        figure(
            "key_p99",
            p99_ms(keys),
            "ms",
            "from a key to its effect on the terminal, at that load (99th percentile)",
        ),
        figure(
            "filter_key_p99",
            p99_ms(letters),
            "ms",
            "from a letter of a filter to its place on the terminal, 10,000 rows judged meanwhile (99th percentile)",
        ),
        figure("cpu_busy", busy, "%", "of one core, at that load"),
        figure("cpu_idle", idle, "%", "of one core, with 10,000 connections and nothing new"),
        figure("resident", resident, "MiB", "resident memory with 10,000 connections and 10,000 flows"),
    ])
}

fn write(figures: &[Value]) -> Result<()> {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let of = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_once(':').map_or_else(String::new, |(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism()?;
    let memory: u64 = of(&text("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse()?;
    let machine = format!(
        "{}, {cores} cores, {} GiB, Linux {}",
        of(&text("/proc/cpuinfo"), "model name"),
        memory.div_ceil(1 << 20),
        text("/proc/sys/kernel/osrelease").trim()
    );
    let commit = std::process::Command::new("git").args(["rev-parse", "--short", "HEAD"]).output()?;
    let result = json!({
        "command": "WEIR_GENERATE=1 cargo bench -p weir-tui --profile dev --bench screen",
        "machine": machine,
        "date": Timestamp::now().strftime("%Y-%m-%d").to_string(),
        "commit": String::from_utf8_lossy(&commit.stdout).trim(),
        "profile": "dev: opt-level 1, dependencies 2",
        "figures": figures,
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/results");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("screen.json"), format!("{result:#}\n")).context("writing the figures")
}
