//! `weir-fuzz`: the targets' list; under `--cfg fuzzing`, libFuzzer on the target that `WEIR_FUZZ` names.
//!
//! One program for all targets, so that the workspace is built once with the fuzzer's instrumentation.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
mod fuzzing {
    //! libFuzzer calls this for every input.

    use std::sync::LazyLock;

    use weir_fuzz::Target;

    static TARGET: LazyLock<&Target> = LazyLock::new(|| {
        let name = std::env::var("WEIR_FUZZ").unwrap_or_default();
        weir_fuzz::target(&name).unwrap_or_else(|| panic!("WEIR_FUZZ: there is no target {name:?}"))
    });

    libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));
}

/// One line a target: name, executions of a long run, files.
#[cfg(not(fuzzing))]
#[expect(clippy::print_stdout, reason = "the list is what the script reads")]
fn main() {
    for target in weir_fuzz::TARGETS {
        println!("{} {} {}", target.name, target.executions, target.files.join(","));
    }
}
