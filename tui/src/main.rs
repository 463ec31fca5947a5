//! `weir`: the person's side. What is typed -> what is asked -> what is printed.
//!
//! `client` reaches a server, `observe` reads what was typed, `print` makes the lines. Only `app` wires them.

mod app;
mod client;
mod observe;
mod print;

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    app::main().await
}
