//! What the policies say of an opened connection: when it began, as its nodes judged it, and now, as the server answers.

use weir_proto::flow::Flow;
use weir_proto::weir::v1::ExplainPolicyResponse;

use super::{Line, line};
use crate::model::explain::Asked;
use crate::model::row::Tone;
use crate::print::{self, PolicyLine, escape, explanation_lines, policy_lines};

/// Each direction with its policies, and what contradicts them.
pub(super) fn then(flow: &Flow) -> Vec<Line> {
    titled("policy", policy_lines(flow).iter().map(of))
}

/// What they say now, as far as it is not what they said then, and what helps.
pub(super) fn now(asked: &Asked, then: &[Line], is_masqueraded: bool) -> Vec<Line> {
    let lines = match asked {
        Asked::No => Vec::new(),
        Asked::Waiting => vec![line("", "asking the server", Tone::Quiet)],
        Asked::Failed(why) => vec![line("", format!("not answered: {}", escape(why)), Tone::Unsure)],
        Asked::Answered(answer) => answered(answer, then, is_masqueraded),
    };
    titled("policy now", lines.into_iter())
}

/// Where the ends are stands above, and which pods are alike is nobody's question here.
fn answered(answer: &ExplainPolicyResponse, then: &[Line], is_masqueraded: bool) -> Vec<Line> {
    let is_new = |line: &PolicyLine| {
        line.tone != print::Tone::Quiet && !then.iter().any(|known| known.text.trim_start() == line.text)
    };
    let said = answer.explanations.iter().flat_map(explanation_lines).filter(is_new).map(|line| of(&line));
    let notes = answer.notes.iter().map(|note| line("", format!("note: {}", escape(note)), Tone::Quiet));
    let other =
        "asked of a call whose client nobody masquerades; this one's was, and is judged by that address";
    let other = is_masqueraded.then(|| line("", format!("note: {other}"), Tone::Unsure));
    said.chain(notes).chain(other).collect()
}

/// The title stands at the first line.
fn titled(title: &'static str, lines: impl Iterator<Item = Line>) -> Vec<Line> {
    lines.enumerate().map(|(at, line)| Line { title: if at == 0 { title } else { "" }, ..line }).collect()
}

fn of(said: &PolicyLine) -> Line {
    line("", format!("{:indent$}{}", "", said.text, indent = said.depth * 2), tone(said.tone))
}

const fn tone(printed: print::Tone) -> Tone {
    match printed {
        print::Tone::Good => Tone::Good,
        print::Tone::Bad => Tone::Bad,
        print::Tone::Unsure => Tone::Unsure,
        print::Tone::Quiet => Tone::Quiet,
        print::Tone::Host | print::Tone::Port | print::Tone::Identity => Tone::Host,
    }
}
