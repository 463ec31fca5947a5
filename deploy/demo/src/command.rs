//! Runs the system's commands and says what went wrong in a sentence: the command as it could be typed, and what it said.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// The command as it could be typed.
pub fn typed(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |letter: char| letter.is_alphanumeric() || "-_./:=,@+%".contains(letter);
    if !word.is_empty() && word.chars().all(plain) { word.into_owned() } else { format!("'{word}'") }
}

/// A program of the system that outlives nothing: the kernel kills it when this process dies.
///
/// To be spawned by the main thread only: the kernel's signal is tied to the thread that spawned.
pub fn bound_to_us(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// Runs a command to its end and gives what it printed.
pub fn output(command: &mut Command) -> Result<String> {
    let text = typed(command);
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run `{text}`"))?;
    check(&text, &done)?;
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// Runs a command that reads its standard input.
pub fn feed(command: &mut Command, input: &str) -> Result<()> {
    feed_output(command, input).map(drop)
}

/// Runs a command that reads its standard input and gives what it printed.
pub fn feed_output(command: &mut Command, input: &str) -> Result<String> {
    let text = typed(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{text}`"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that stops reading early says why on its stderr, which is told below.
        let _ = stdin.write_all(input.as_bytes());
    }
    let done = child.wait_with_output().with_context(|| format!("cannot wait for `{text}`"))?;
    check(&text, &done)?;
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

fn check(text: &str, done: &Output) -> Result<()> {
    if done.status.success() {
        return Ok(());
    }
    // CNI plugins say what went wrong on standard output.
    let told = if done.stderr.is_empty() { &done.stdout } else { &done.stderr };
    bail!("`{text}` failed ({}): {}", done.status, String::from_utf8_lossy(told).trim());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_quotes_the_command_and_what_it_said() {
        let error =
            run(Command::new("sh").args(["-c", "echo no such link >&2; exit 3"])).unwrap_err().to_string();
        assert_eq!(error, "`sh -c 'echo no such link >&2; exit 3'` failed (exit status: 3): no such link");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("weir-no-such-program")).unwrap_err().to_string();
        assert_eq!(error, "cannot run `weir-no-such-program`");
    }
}
