//! How the programs are compiled: one place for `build.rs` and for the test that tries every compiler there is.
//!
//! C for the kernel's virtual machine needs clang and the headers of libbpf and of the kernel's user interface, no others.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Names under which clang is looked for, newest first behind the plain one.
pub const CLANGS: [&str; 7] =
    ["clang", "clang-19", "clang-18", "clang-17", "clang-16", "clang-15", "clang-14"];

/// The first of the names that can be run.
pub fn find_clang() -> Option<&'static str> {
    CLANGS.into_iter().find(|name| runs(name))
}

/// True if there is such a compiler.
pub fn runs(clang: &str) -> bool {
    Command::new(clang).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Compiles one source to an object file. The error is what the compiler says.
pub fn compile(clang: &str, source: &Path, object: &Path) -> Result<(), String> {
    let mut command = Command::new(clang);
    command.args(["-g", "-O2", "-Wall", "-Wextra", "-target", "bpf", "-mcpu=v3"]);
    command.args(asm_headers().iter().flat_map(|path| [Path::new("-I"), path]));
    command.arg("-c").arg(source).arg("-o").arg(object);
    let output = command.output().map_err(|error| format!("{clang} cannot be run: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Debian and its descendants keep `asm/types.h` in a directory of the machine's name.
fn asm_headers() -> Option<PathBuf> {
    let directory = PathBuf::from(format!("/usr/include/{}-linux-gnu", std::env::consts::ARCH));
    directory.is_dir().then_some(directory)
}
