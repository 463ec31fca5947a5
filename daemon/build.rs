//! Compiles the eBPF programs, `ebpf/*.bpf.c`, for the feature `ebpf`.

use std::error::Error;
use std::path::{Path, PathBuf};

#[path = "ebpf/compile.rs"]
mod compile;

const NO_CLANG: &str = "the eBPF programs need clang 14 or newer and the headers of libbpf: install them (Debian: apt-get \
                        install clang-14 libbpf-dev), name a compiler by WEIR_CLANG, or build without the feature `ebpf`";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=ebpf");
    println!("cargo::rerun-if-env-changed=WEIR_CLANG");
    if std::env::var_os("CARGO_FEATURE_EBPF").is_none() {
        return Ok(());
    }
    let named = std::env::var("WEIR_CLANG").ok();
    let clang = named.as_deref().or_else(|| compile::find_clang()).ok_or(NO_CLANG)?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    for entry in std::fs::read_dir("ebpf")? {
        let source = entry?.path();
        if let Some(name) = program(&source) {
            let object = out.join(format!("{name}.bpf.o"));
            compile::compile(clang, &source, &object)
                .map_err(|reason| format!("{clang} refuses {}; {NO_CLANG}:\n{reason}", source.display()))?;
        }
    }
    Ok(())
}

/// `tcx` of `tcx.bpf.c`; None of other files.
fn program(source: &Path) -> Option<&str> {
    source.file_name()?.to_str()?.strip_suffix(".bpf.c")
}
