//! What the model asks for outside of it: the clipboard, files, and single questions to the server. None of it holds up the
//! screen, and each says how it went.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::task::JoinSet;
use weir_proto::weir::v1::{ExplainPolicyRequest, ExplainPolicyResponse};

use super::state;
use crate::client::{self, ClientError};
use crate::model::export::Export;
use crate::model::{Effect, Told};

/// Files of one name tried before the export gives up.
const NAMES_TRIED: u32 = 1000;
/// Longest text for the clipboard: terminals refuse or cut longer ones.
const MOST_COPIED: usize = 74_994;
/// tmux answers within this, or it is done without it.
const TMUX_WITHIN: Duration = Duration::from_secs(2);

/// What was begun and is not done.
#[derive(Debug)]
pub struct Outside {
    server: String,
    timeout: Duration,
    tasks: JoinSet<Option<Done>>,
}

/// What came of it.
#[derive(Debug)]
pub enum Done {
    /// A sentence for the last line.
    Said(String),
    /// An answer of the server's.
    Told(Told),
}

impl Outside {
    /// Nothing begun; questions go to this server, which is connected to within that time.
    #[must_use]
    pub fn new(server: String, timeout: Duration) -> Self {
        Self { server, timeout, tasks: JoinSet::new() }
    }

    /// Begins one.
    pub fn begin(&mut self, effect: Effect) {
        match effect {
            Effect::Copy(text) => {
                self.tasks.spawn(async move { Some(Done::Said(copy(&text).await)) });
            }
            Effect::Write { stem, export } => {
                self.tasks.spawn_blocking(move || Some(Done::Said(write(&stem, &export))));
            }
            Effect::Keep(name, lines) => {
                self.tasks.spawn_blocking(move || {
                    // That it is not kept costs nothing now.
                    let _ = state::keep(name, &lines);
                    None
                });
            }
            Effect::Explain(id, request) => {
                let (server, timeout) = (self.server.clone(), self.timeout);
                self.tasks.spawn(async move {
                    let answer = explain(&server, timeout, request).await.map_err(|error| error.to_string());
                    Some(Done::Told(Told::Explained(id, Box::new(answer))))
                });
            }
            Effect::Quit | Effect::Suspend => {}
        }
    }

    /// Waits until one is done that has something to say.
    pub async fn done(&mut self) -> Done {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(Some(done))) => return done,
                Some(Ok(None)) => {}
                Some(Err(error)) => return Done::Said(format!("it failed: {error}")),
                None => std::future::pending::<()>().await,
            }
        }
    }
}

async fn explain(
    server: &str,
    timeout: Duration,
    request: ExplainPolicyRequest,
) -> Result<ExplainPolicyResponse, ClientError> {
    client::explain(client::connect(server, timeout).await?, server, request).await
}

/// Within tmux, by tmux, which by default refuses the escape sequence of programs inside it; else by OSC 52, by which the
/// terminal puts it on the clipboard of the machine it runs on.
async fn copy(text: &str) -> String {
    let end = text.char_indices().map(|(at, _)| at).take_while(|at| *at <= MOST_COPIED).last().unwrap_or(0);
    let is_cut = text.len() > MOST_COPIED;
    let text = if is_cut { &text[..end] } else { text };
    let cut = if is_cut { ", cut" } else { "" };
    let within_tmux = std::env::var_os("TMUX").is_some_and(|value| !value.is_empty());
    if within_tmux && let Ok(Ok(true)) = tokio::time::timeout(TMUX_WITHIN, to_tmux(text)).await {
        return format!("copied {} bytes{cut} to tmux's buffer and, where it can, the clipboard", text.len());
    }
    match osc52(text) {
        Ok(()) => format!("copied {} bytes{cut}, where the terminal knows OSC 52", text.len()),
        Err(error) => format!("not copied: {error}"),
    }
}

async fn to_tmux(text: &str) -> io::Result<bool> {
    let mut tmux = Command::new("tmux")
        .args(["load-buffer", "-w", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = tmux.stdin.take() {
        stdin.write_all(text.as_bytes()).await?;
    }
    Ok(tmux.wait().await?.success())
}

fn osc52(text: &str) -> io::Result<()> {
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
        Ok(path) => {
            let rows = export.rows.len();
            let path = std::path::absolute(&path).unwrap_or(path);
            format!("{rows} rows written to {}", path.display())
        }
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
