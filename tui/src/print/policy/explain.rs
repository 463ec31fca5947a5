//! The answer to a question about two ends -> lines: who calls whom and whether it passes, why, and what helps.

use std::io::{self, Write};

use weir_proto::weir::v1::{
    ExplainPolicyResponse, PolicyDirection, PolicyEnd, PolicyExplanation, PolicyJudgement, PolicyRuling,
};

use super::{PolicyLine, advice, direction, judgement};
use crate::print::style::{Paint, Tone, escape};

/// As JSON, one line.
#[must_use]
pub fn explanation_json(response: &ExplainPolicyResponse) -> String {
    weir_proto::json::print(response)
}

/// Whether all of it passes: none where nobody can say, or where nothing was answered.
#[must_use]
pub fn all_pass(response: &ExplainPolicyResponse) -> Option<bool> {
    let passes = || response.explanations.iter().map(|one| one.passes);
    if passes().any(|passes| passes == Some(false)) {
        Some(false)
    } else if response.explanations.is_empty() || passes().any(|passes| passes.is_none()) {
        None
    } else {
        Some(true)
    }
}

/// In lines.
///
/// # Errors
/// When writing fails.
pub fn print_explanation(
    response: &ExplainPolicyResponse,
    paint: &Paint,
    out: &mut dyn Write,
) -> io::Result<()> {
    for explanation in &response.explanations {
        for line in explanation_lines(explanation) {
            let indent = line.depth * 2;
            writeln!(out, "{:indent$}{}", "", paint.paint(line.tone, line.text))?;
        }
        writeln!(out)?;
    }
    if response.explanations.is_empty() {
        writeln!(out, "there is nothing to judge between these two ends")?;
    }
    for note in &response.notes {
        writeln!(out, "note: {}", escape(note))?;
    }
    if !response.node.is_empty() {
        let by =
            format!("judged by the daemon of {}, by the policies as they are now", escape(&response.node));
        writeln!(out, "{}", paint.paint(Tone::Quiet, by))?;
    }
    Ok(())
}

/// One pair of ends: the answer first.
#[must_use]
pub fn explanation_lines(explanation: &PolicyExplanation) -> Vec<PolicyLine> {
    let tone = match explanation.passes {
        Some(true) => Tone::Good,
        Some(false) => Tone::Bad,
        None => Tone::Unsure,
    };
    let mut lines = vec![PolicyLine::new(0, headline(explanation), tone)];
    lines.extend(whereabouts(explanation).map(|text| PolicyLine::new(1, text, Tone::Quiet)));
    for one in &explanation.judgements {
        let judged = judgement(one, &pod_of(explanation, one));
        lines.extend(judged.into_iter().map(|line| PolicyLine { depth: line.depth + 1, ..line }));
    }
    lines.extend(advice_lines(explanation).map(|line| PolicyLine { depth: 1, ..line }));
    if explanation.alike > 0 {
        let (pairs, are) = if explanation.alike == 1 { ("pair", "is") } else { ("pairs", "are") };
        let alike = format!("{} more {pairs} of ends {are} judged alike", explanation.alike);
        lines.push(PolicyLine::new(1, alike, Tone::Quiet));
    }
    lines
}

fn advice_lines(explanation: &PolicyExplanation) -> impl Iterator<Item = PolicyLine> {
    explanation.advice.iter().map(|one| PolicyLine::new(0, advice(one), Tone::Host))
}

/// `shop/web-1 -> shop/api-1 TCP 8080: denied by ingress of shop/api-1`.
fn headline(explanation: &PolicyExplanation) -> String {
    let end = |end: &Option<PolicyEnd>| end.as_ref().map_or_else(|| "?".to_owned(), end_name);
    let protocol = escape(&explanation.protocol).to_uppercase();
    let port = match explanation.port {
        0 => String::new(),
        port => format!(" {port}"),
    };
    let (source, destination) = (end(&explanation.source), end(&explanation.destination));
    format!("{source} -> {destination} {protocol}{port}: {}", result(explanation))
}

fn result(explanation: &PolicyExplanation) -> String {
    let by = |wanted: PolicyRuling| {
        let of =
            |one: &PolicyJudgement| format!("{} of {}", direction(one.direction()), pod_of(explanation, one));
        let judged = explanation.judgements.iter().filter(|one| one.ruling() == wanted);
        judged.map(of).collect::<Vec<_>>().join(" and ")
    };
    let with = |said: &str, by: &str, who: String| {
        if who.is_empty() { said.to_owned() } else { format!("{said} {by} {who}") }
    };
    match explanation.passes {
        // Where no policy can have a word, the answer says why.
        _ if explanation.judgements.is_empty() && !explanation.answer.is_empty() => {
            escape(&explanation.answer).into_owned()
        }
        Some(true) => "allowed".to_owned(),
        Some(false) => with("denied", "by", by(PolicyRuling::Denied)),
        None => with("undecidable", "for", by(PolicyRuling::Undecidable)),
    }
}

/// The pod that is judged.
fn pod_of(explanation: &PolicyExplanation, judgement: &PolicyJudgement) -> String {
    let end = match judgement.direction() {
        PolicyDirection::Ingress => &explanation.destination,
        _ => &explanation.source,
    };
    end.as_ref().map_or_else(String::new, end_name)
}

/// A name that says what it is where it is no pod.
fn end_name(end: &PolicyEnd) -> String {
    let name = match (end.namespace.as_str(), end.name.as_str()) {
        (_, "") => String::new(),
        ("", name) => escape(name).into_owned(),
        (namespace, name) => format!("{}/{}", escape(namespace), escape(name)),
    };
    let address = escape(&end.address);
    match (end.kind.as_str(), name.is_empty()) {
        ("pod", false) => name,
        ("service", false) => format!("service {name}"),
        ("node", _) if !end.node.is_empty() => format!("node {}", escape(&end.node)),
        ("world", _) => format!("{address} outside"),
        ("unmanaged", _) => format!("{address} of nobody"),
        (_, false) => name,
        (_, true) => address.into_owned(),
    }
}

/// Addresses, and nodes of pods: which one of a workload's pods it is about.
fn whereabouts(explanation: &PolicyExplanation) -> Option<String> {
    let place = |end: &PolicyEnd| {
        let on = if end.node.is_empty() { String::new() } else { format!(" on {}", escape(&end.node)) };
        format!("{}{on}", escape(&end.address))
    };
    let (source, destination) = (explanation.source.as_ref()?, explanation.destination.as_ref()?);
    let known = !source.address.is_empty() && !destination.address.is_empty();
    known.then(|| format!("from {} to {}", place(source), place(destination)))
}
