//! The program `weir`: everything is in the library, for tests and benchmarks to reach.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    weir_tui::app::main().await
}
