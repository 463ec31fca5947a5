//! `weir`: the person's side. What is typed -> what is asked -> what is shown.
//!
//! `client` reaches a server. The command line: `observe` reads what was typed, `print` makes the lines. The screen: `keys`
//! says what a key does, `model` what follows from it and from what the server tells, `view` draws it, `screen` is the loop
//! between them. Only `app` wires them.

mod app;
mod client;
mod keys;
mod model;
mod observe;
mod print;
mod screen;
mod shell;
mod view;

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    app::main().await
}
