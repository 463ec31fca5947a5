//! The terminal, taken and given back: on every way out, a panic included.

use std::io::{self, Stdout};

use crossterm::cursor::Show;
use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::backend::CrosstermBackend;

use crate::model::Model;
use crate::view;

/// The terminal while it is ours. Dropping it gives it back.
#[derive(Debug)]
pub struct Terminal {
    inner: ratatui::Terminal<CrosstermBackend<Stdout>>,
}

impl Terminal {
    /// Takes it.
    pub fn open() -> io::Result<Self> {
        // A panic speaks after the terminal is itself again, or nobody could read it.
        let speak = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            speak(panic);
        }));
        match take().and_then(|()| ratatui::Terminal::new(CrosstermBackend::new(io::stdout()))) {
            Ok(inner) => Ok(Self { inner }),
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }

    /// Columns and lines.
    pub fn size(&self) -> io::Result<(u16, u16)> {
        let size = self.inner.size()?;
        Ok((size.width, size.height))
    }

    /// Draws what changed.
    pub fn draw(&mut self, model: &Model) -> io::Result<()> {
        self.inner.draw(|frame| view::draw(model, frame)).map(|_| ())
    }
}

impl Terminal {
    /// Gives the terminal back and stops the process until the shell lets it go on; then takes it again. Gives its size.
    pub fn suspend(&mut self) -> io::Result<(u16, u16)> {
        restore();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TSTP)?;
        take()?;
        self.inner.clear()?;
        self.size()
    }
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen, EnableMouseCapture, EnableBracketedPaste)
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

/// Best effort, and harmless when done twice: there is nobody left to tell of a failure.
fn restore() {
    let _ = disable_raw_mode();
    let _ = execute!(io::stdout(), DisableBracketedPaste, DisableMouseCapture, LeaveAlternateScreen, Show);
}
