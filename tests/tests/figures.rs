//! The README's figures are those of the committed results, to the digit. `WEIR_GENERATE=1` writes the tables anew.

use weir_tests::{results, root};

#[test]
fn the_readme_shows_the_committed_results() {
    let readme = root().join("README.md");
    let text = std::fs::read_to_string(&readme).unwrap();
    let committed = results::committed().unwrap();
    assert!(!committed.is_empty());
    let current = results::with_tables(&text, &committed).unwrap();
    if std::env::var_os("WEIR_GENERATE").is_some() {
        std::fs::write(&readme, current).unwrap();
        return;
    }
    assert!(text == current, "the README's tables differ from tests/results: run with WEIR_GENERATE=1");
}

#[test]
fn a_figure_says_what_it_is() {
    for (name, results) in results::committed().unwrap() {
        assert!(!results.figures.is_empty(), "{name} has no figures");
        let mut names: Vec<&str> = results.figures.iter().map(|figure| figure.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), results.figures.len(), "{name} has a figure twice");
        let said = results.figures.iter().all(|figure| !figure.what.is_empty() && figure.value.is_finite());
        assert!(said && !results.command.is_empty() && !results.machine.is_empty(), "{name}");
    }
}
