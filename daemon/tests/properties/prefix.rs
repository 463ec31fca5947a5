//! A capture that begins later, by any number of frames: what is joined then is joined in the whole as well.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use weir_daemon::capture::file::FileSource;
use weir_daemon::capture::{Batch, Input};

use crate::node::{Join, Watched, calls, joins, sights};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn calls_from_their_middle_on_are_never_joined_wrong(
        calls in calls(), cut in 0.0..1.0, counts in any::<bool>(),
    ) {
        let sights = sights(&calls);
        let from = (sights.len() as f64 * cut) as usize;
        let mut watched = Watched::by(counts);
        for sight in &sights[from..] {
            watched.sees(sight, sight.at);
        }
        watched.finish();
        let right: BTreeSet<Join> = calls
            .iter()
            .flat_map(|call| {
                let forms = call.forms();
                let form = |(one, other): &(std::net::SocketAddr, std::net::SocketAddr)| {
                    let (one, other) = (one.to_string(), other.to_string());
                    if one <= other { (one, other) } else { (other, one) }
                };
                let mut forms: Vec<_> = forms.iter().map(form).collect();
                forms.sort();
                (forms.len() == 2).then(|| (forms[0].clone(), forms[1].clone()))
            })
            .collect();
        let found = joins(watched.connections());
        prop_assert!(found.is_subset(&right), "{:?}", found.difference(&right));
        if from == 0 {
            prop_assert_eq!(found, right);
        }
    }
}

/// The inputs of a capture, one frame each.
fn inputs(capture: &Path) -> Vec<Input> {
    let mut inputs = Vec::new();
    for input in FileSource::open(&[capture]).into_iter().flatten().flatten() {
        match input {
            Input::Frames(frames) => inputs.extend(frames.frames().map(|frame| {
                let mut batch = Batch::default();
                batch.push(&frame);
                Input::Frames(batch)
            })),
            other => inputs.push(other),
        }
    }
    inputs
}

fn joined(inputs: &[Input], from: usize, counts: bool) -> BTreeSet<Join> {
    let mut watched = Watched::by(counts);
    for (number, input) in inputs.iter().enumerate() {
        match input {
            Input::Frames(batch) if number >= from => {
                batch.frames().for_each(|frame| watched.sees_frame(&frame));
            }
            Input::Interface(..) => watched.take(input),
            _ if number >= from => watched.take(input),
            _ => {}
        }
    }
    watched.finish();
    joins(watched.connections())
}

pub fn captures(corpus: &Path) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(corpus.join("real")).unwrap().map(|entry| entry.unwrap().path());
    let files =
        folders.filter(|folder| folder.is_dir()).flat_map(|folder| std::fs::read_dir(folder).unwrap());
    files
        .filter_map(|file| Some(PathBuf::from(file.unwrap().path().to_str()?.strip_suffix(".truth.json")?)))
        .collect()
}

#[test]
fn captures_from_their_middle_on_are_never_joined_wrong() {
    let name = "captures_from_their_middle_on_are_never_joined_wrong";
    let Some(corpus) = weir_tests::corpus(name) else { return };
    let mut joined_somewhere = 0;
    for capture in captures(&corpus) {
        let inputs = inputs(&capture);
        let whole = joined(&inputs, 0, false);
        joined_somewhere += usize::from(!whole.is_empty());
        // Every cut of a small capture, some of a large one.
        let step = inputs.len().div_ceil(24).max(1);
        for from in (1..inputs.len()).step_by(step) {
            for counts in [false, true] {
                let cut = joined(&inputs, from, counts);
                let wrong = cut.difference(&whole);
                assert!(cut.is_subset(&whole), "{} from {from}: {wrong:?}", capture.display());
            }
        }
    }
    assert!(joined_somewhere > 0, "no capture has a translation in it");
}
