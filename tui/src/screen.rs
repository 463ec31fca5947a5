//! The loop between terminal, server and model.
//!
//! Keys are answered at once; what the server tells is taken in batches, one a frame, as much as a bounded queue holds:
//! when it is full the server waits, and skips ahead by its own rules. Whatever ends the loop, the terminal is restored.

mod feed;
mod terminal;

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crossterm::event::{Event, EventStream, KeyEventKind, MouseButton, MouseEventKind};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_stream::StreamExt;

use self::terminal::Terminal;
use crate::model::export::Export;
use crate::model::{Effect, Input, Model, Told};
use crate::view;

/// Messages between the server's side and the screen; at most one frame's worth.
const QUEUE: usize = 4096;
/// Time between two frames while nobody types.
const FRAME: Duration = Duration::from_millis(100);
/// Lines a turn of the wheel moves.
const WHEEL_LINES: i64 = 3;
/// Files of one name tried before the export gives up.
const NAMES_TRIED: u32 = 1000;
/// Longest text for the clipboard: terminals refuse or cut longer ones.
const MOST_COPIED: usize = 74_994;

/// What a person wants to look at.
#[derive(Debug)]
pub struct Ask {
    /// Address of the server.
    pub server: String,
    /// How long connecting may take.
    pub timeout: Duration,
    /// False if the environment asks for none.
    pub colours: bool,
}

/// Shows the screen until it is left.
///
/// # Errors
/// Of the terminal only: a server that is not there is waited for.
pub async fn run(ask: Ask) -> io::Result<()> {
    let mut model = Model::new(&ask.server, Timestamp::now(), TimeZone::system(), view::theme::NAMES);
    if !ask.colours {
        model.theme = view::theme::NONE;
    }
    let mut signals = Signals::new()?;
    let mut terminal = Terminal::open()?;
    let (tell, mut told) = mpsc::channel(QUEUE);
    let feed = tokio::spawn(feed::run(ask.server, ask.timeout, tell));
    let ended = follow(&mut model, &mut terminal, &mut told, &mut signals).await;
    // The stream is dropped with its task, which the server sees as a reader that left.
    feed.abort();
    let _ = feed.await;
    ended
}

async fn follow(
    model: &mut Model,
    terminal: &mut Terminal,
    told: &mut mpsc::Receiver<Told>,
    signals: &mut Signals,
) -> io::Result<()> {
    let mut events = EventStream::new();
    let mut frames = tokio::time::interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (columns, lines) = terminal.size()?;
    let mut drawn_second = 0;
    let mut exports: JoinSet<String> = JoinSet::new();
    model.update(Input::Resize(columns, lines), Timestamp::now());
    loop {
        let input = tokio::select! {
            biased;
            () = signals.stop() => return Ok(()),
            event = events.next() => match event {
                Some(event) => read(event?),
                None => return Ok(()),
            },
            Some(said) = exports.join_next(), if !exports.is_empty() => {
                model.say(said.unwrap_or_else(|error| format!("the export failed: {error}")));
                Some(Input::Tick)
            }
            _ = frames.tick() => Some(Input::Tick),
        };
        let Some(input) = input else { continue };
        let now = Timestamp::now();
        let is_tick = matches!(input, Input::Tick);
        let batch = if is_tick { take(model, told, now)? } else { 0 };
        if is_tick && batch == 0 && now.as_second() == drawn_second {
            continue;
        }
        for effect in model.update(input, now) {
            match effect {
                Effect::Quit => return Ok(()),
                Effect::Copy(text) => copy(&text)?,
                Effect::Write { stem, export } => {
                    exports.spawn_blocking(move || write(&stem, &export));
                }
            }
        }
        drawn_second = now.as_second();
        terminal.draw(model)?;
    }
}

/// Takes what waits, at most a queue full. The server's side ends only by a fault of its own.
fn take(model: &mut Model, told: &mut mpsc::Receiver<Told>, now: Timestamp) -> io::Result<usize> {
    for taken in 0..QUEUE {
        match told.try_recv() {
            Ok(item) => model.told(item, now),
            Err(TryRecvError::Empty) => return Ok(taken),
            Err(TryRecvError::Disconnected) => {
                return Err(io::Error::other("the part that talks to the server has failed"));
            }
        }
    }
    Ok(QUEUE)
}

fn read(event: Event) -> Option<Input> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => Some(Input::Key(key)),
        Event::Paste(text) => Some(Input::Paste(text)),
        Event::Resize(columns, lines) => Some(Input::Resize(columns, lines)),
        Event::Mouse(mouse) => match mouse.kind {
            MouseEventKind::Down(MouseButton::Left) => Some(Input::Click(mouse.column, mouse.row)),
            MouseEventKind::ScrollDown => Some(Input::Wheel(WHEEL_LINES)),
            MouseEventKind::ScrollUp => Some(Input::Wheel(-WHEEL_LINES)),
            _ => None,
        },
        _ => None,
    }
}

/// OSC 52: the terminal puts it on the clipboard of the machine it runs on.
fn copy(text: &str) -> io::Result<()> {
    let end = text.char_indices().map(|(at, _)| at).take_while(|at| *at <= MOST_COPIED).last().unwrap_or(0);
    let text = if text.len() > MOST_COPIED { &text[..end] } else { text };
    let mut out = io::stdout().lock();
    write!(out, "\u{1b}]52;c;{}\u{7}", STANDARD.encode(text))?;
    out.flush()
}

/// Writes a file and says how it went.
fn write(stem: &str, export: &Export) -> String {
    let ending = export.ending();
    match create(stem, ending).and_then(|(path, mut file)| {
        file.write_all(export.contents().as_bytes())?;
        Ok(path)
    }) {
        Ok(path) => format!("written to {}", path.display()),
        Err(error) => format!("cannot write {stem}.{ending} here: {error}"),
    }
}

/// A new file; never over another.
fn create(stem: &str, ending: &str) -> io::Result<(PathBuf, File)> {
    for number in 1..=NAMES_TRIED {
        let path = PathBuf::from(format!("{stem}-{number}.{ending}"));
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "too many files of that name"))
}

/// The signals that end it in order.
struct Signals([Signal; 4]);

impl Signals {
    fn new() -> io::Result<Self> {
        let of = |kind| signal(kind);
        Ok(Self([
            of(SignalKind::interrupt())?,
            of(SignalKind::terminate())?,
            of(SignalKind::hangup())?,
            of(SignalKind::quit())?,
        ]))
    }

    async fn stop(&mut self) {
        let [interrupt, terminate, hangup, quit] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
            _ = quit.recv() => {}
        }
    }
}
