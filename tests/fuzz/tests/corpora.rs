//! The inputs that the fuzzer kept, given to their targets: what once broke stays whole.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

#[test]
fn every_input_of_every_corpus_is_taken() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in weir_fuzz::TARGETS {
        let file = root.join(target.name);
        let corpus =
            std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut inputs = 0;
        for line in corpus.lines() {
            (target.run)(&STANDARD.decode(line).unwrap());
            inputs += 1;
        }
        assert!(inputs > 10, "{} has {inputs} inputs", target.name);
    }
}

#[test]
fn every_parser_of_a_target_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for file in weir_fuzz::TARGETS.iter().flat_map(|target| target.files) {
        assert!(root.join(file).exists(), "{file}");
    }
}
