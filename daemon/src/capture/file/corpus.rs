//! Captures of other projects, with what tshark found in them. Their folder is in the environment: WEIR_CORPUS.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::FileSource;
use crate::capture::{Batch, Input};

/// A capture and its truth.
pub(crate) struct Capture {
    pub(crate) path: PathBuf,
    pub(crate) truth: Value,
}

impl Capture {
    /// All frames; how the file ends is looked at elsewhere.
    pub(crate) fn batches(&self) -> Vec<Batch> {
        let Ok(source) = FileSource::open(&[&self.path]) else {
            return Vec::new();
        };
        let frames = |input| if let Ok(Input::Frames(batch)) = input { Some(batch) } else { None };
        source.filter_map(frames).collect()
    }

    pub(crate) fn count(&self, key: &str) -> u64 {
        self.truth.get(key).and_then(Value::as_u64).unwrap_or_default()
    }

    pub(crate) fn list(&self, key: &str) -> &[Value] {
        self.truth.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}

/// All captures; None, with a line that says so, where there is no corpus.
pub(crate) fn captures(test: &str) -> Option<Vec<Capture>> {
    let Some(root) = std::env::var_os("WEIR_CORPUS") else {
        println!("skipped: {test}: WEIR_CORPUS is not set");
        return None;
    };
    let root = Path::new(&root).join("real");
    let mut captures = Vec::new();
    for folder in std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()) {
        if !folder.is_dir() {
            continue;
        }
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if let Some(capture) = path.to_str().and_then(|path| path.strip_suffix(".truth.json")) {
                let truth = serde_json::from_reader(std::fs::File::open(&path).unwrap()).unwrap();
                captures.push(Capture { path: capture.into(), truth });
            }
        }
    }
    assert!(captures.len() > 100, "the corpus is not whole");
    Some(captures)
}

/// Captures where tshark counts otherwise, and why.
const OTHERWISE: [(&str, &str); 6] = [
    ("gopacket__test018", "tshark counts blocks of unknown types as packets"),
    ("gopacket__test102", "tshark counts blocks of unknown types as packets"),
    ("gopacket__test202", "tshark counts blocks of unknown types as packets"),
    ("tcpdump__vtp_asan-3", "tshark stops at a link type that it does not know"),
    ("tcpdump__frf16_magic_ie-oobr", "tshark stops at a link type that it does not know"),
    ("tcpdump__atm-oam-heapoverflow", "tshark takes four bytes of the frame for the link's header"),
];

/// Every file gives the frames that tshark counts, with their bytes.
#[test]
fn frames_are_what_tshark_counts() {
    let Some(captures) = captures("frames_are_what_tshark_counts") else { return };
    let mut differ = Vec::new();
    for capture in captures.iter().filter(|capture| !otherwise(&capture.path)) {
        let mut ours = [0; 3];
        let mut errors = Vec::new();
        let source = FileSource::open(&[&capture.path]);
        for input in source.into_iter().flatten() {
            match input {
                Ok(input) => count(&input, &mut ours),
                Err(error) => errors.push(error.to_string()),
            }
        }
        // The kernel's messages are no frames any more: their bytes are not counted.
        let told = if capture.truth["encap_types"].get("141").is_some() { 1 } else { 3 };
        let truth = ["packets", "wire_bytes", "captured_bytes"].map(|key| capture.count(key));
        if truth[..told] != ours[..told] {
            differ.push(format!("{:?} {truth:?} {ours:?} {errors:?}", capture.path.file_name()));
        }
    }
    assert!(differ.is_empty(), "{} of {}:\n{}", differ.len(), captures.len(), differ.join("\n"));
}

fn otherwise(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy();
    OTHERWISE.iter().any(|(start, _)| name.starts_with(start))
}

fn count(input: &Input, counts: &mut [u64; 3]) {
    match input {
        Input::Frames(batch) => {
            for frame in batch.frames() {
                counts[0] += 1;
                counts[1] += u64::from(frame.original_len);
                counts[2] += frame.bytes.len() as u64;
            }
        }
        Input::Testimony(_) => counts[0] += 1,
        Input::Interface(..) | Input::Lost(_) | Input::Detail(_) => {}
    }
}
