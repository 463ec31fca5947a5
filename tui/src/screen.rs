//! The loop between terminal, server and model.
//!
//! Keys are answered at once; what the server tells is taken in batches, one a frame, as much as a bounded queue holds:
//! when it is full the server waits, and skips ahead by its own rules. Long work of the model is done between two inputs,
//! a step at a time. Whatever ends the loop, the terminal is restored.

mod feed;
mod outside;
mod state;
mod terminal;

use std::io;
use std::time::Duration;

use anyhow::Context as _;
use crossterm::event::{Event, EventStream, KeyEventKind, MouseButton, MouseEventKind};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_stream::StreamExt;

use self::outside::{Done, Outside};
use self::terminal::Terminal;
use crate::model::{Effect, Input, Model, Told};
use crate::view;

/// Messages between the server's side and the screen; at most one frame's worth.
const QUEUE: usize = 4096;
/// Time between two frames while nobody types.
const FRAME: Duration = Duration::from_millis(100);
/// Lines a turn of the wheel moves.
const WHEEL_LINES: i64 = 3;

/// What a person wants to look at.
#[derive(Debug)]
pub struct Ask {
    /// Address of the server.
    pub server: String,
    /// How long connecting may take.
    pub timeout: Duration,
    /// Name of the colours; empty: the first, or none where the environment asks for none.
    pub theme: String,
    /// False if the environment asks for none.
    pub colours: bool,
}

impl Ask {
    fn theme(&self) -> usize {
        let named = view::theme::NAMES.iter().position(|name| *name == self.theme);
        named.unwrap_or(if self.colours { 0 } else { view::theme::NONE })
    }
}

/// Shows the screen until it is left.
///
/// # Errors
/// Of the terminal only: a server that is not there is waited for.
pub async fn run(ask: Ask) -> anyhow::Result<()> {
    let mut model = Model::new(&ask.server, Timestamp::now(), TimeZone::system(), view::theme::NAMES)?;
    model.theme = ask.theme();
    model.history = state::read();
    let mut signals = Signals::new().context("listening for signals")?;
    let mut terminal = Terminal::open().context("taking the terminal")?;
    let (tell, told) = mpsc::channel(QUEUE);
    let outside = Outside::new(ask.server.clone(), ask.timeout);
    let feed = tokio::spawn(feed::run(ask.server, ask.timeout, tell));
    let ended = Loop { model, told, outside }.run(&mut terminal, &mut signals).await;
    drop(terminal);
    // The stream is dropped with its task, which the server sees as a reader that left.
    feed.abort();
    let _ = feed.await;
    ended.context("the terminal failed")
}

/// What a turn of the loop begins with.
enum Turn {
    Input(Input),
    Frame,
    Work,
    Done(Done),
    Nothing,
    Over,
}

struct Loop {
    model: Model,
    told: mpsc::Receiver<Told>,
    outside: Outside,
}

impl Loop {
    async fn run(mut self, terminal: &mut Terminal, signals: &mut Signals) -> io::Result<()> {
        let mut events = EventStream::new();
        let mut frames = tokio::time::interval(FRAME);
        frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (columns, lines) = terminal.size()?;
        let mut drawn_second = 0;
        self.model.update(Input::Resize(columns, lines), Timestamp::now());
        loop {
            let turn = self.turn(&mut events, &mut frames, signals).await?;
            let now = Timestamp::now();
            let input = match turn {
                Turn::Over => return Ok(()),
                Turn::Nothing => continue,
                Turn::Work => {
                    self.model.update(Input::Work, now);
                    continue;
                }
                Turn::Input(input) => input,
                Turn::Done(done) => {
                    match done {
                        Done::Said(said) => self.model.say(said),
                        Done::Told(told) => self.model.told(told, now),
                    }
                    Input::Tick
                }
                Turn::Frame => {
                    let is_quiet = self.take(now)? == 0 && !self.model.is_busy();
                    if is_quiet && now.as_second() == drawn_second {
                        continue;
                    }
                    Input::Tick
                }
            };
            for effect in self.model.update(input, now) {
                match effect {
                    Effect::Quit => return Ok(()),
                    Effect::Suspend => {
                        let (columns, lines) = terminal.suspend()?;
                        self.model.update(Input::Resize(columns, lines), Timestamp::now());
                    }
                    effect => self.outside.begin(effect),
                }
            }
            drawn_second = now.as_second();
            terminal.draw(&self.model)?;
        }
    }

    /// Waits for what comes first; signals and keys before all else.
    async fn turn(
        &mut self,
        events: &mut EventStream,
        frames: &mut Interval,
        signals: &mut Signals,
    ) -> io::Result<Turn> {
        Ok(tokio::select! {
            biased;
            () = signals.stop() => Turn::Over,
            event = events.next() => match event {
                Some(event) => read(event?).map_or(Turn::Nothing, Turn::Input),
                None => Turn::Over,
            },
            done = self.outside.done() => Turn::Done(done),
            _ = frames.tick() => Turn::Frame,
            // Others get their turn between two steps.
            () = tokio::task::yield_now(), if self.model.is_busy() => Turn::Work,
        })
    }

    /// Takes what waits, at most a queue full. The server's side ends only by a fault of its own.
    fn take(&mut self, now: Timestamp) -> io::Result<usize> {
        for taken in 0..QUEUE {
            match self.told.try_recv() {
                Ok(item) => self.model.told(item, now),
                Err(TryRecvError::Empty) => return Ok(taken),
                Err(TryRecvError::Disconnected) => {
                    return Err(io::Error::other("the part that talks to the server has failed"));
                }
            }
        }
        Ok(QUEUE)
    }
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
