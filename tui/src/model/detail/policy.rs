//! What the policies say of an opened connection: when it began, as its nodes judged it, and now, as the server answers.

use weir_proto::flow::Flow;

use super::{Line, line};
use crate::model::explain::Asked;
use crate::model::row::Tone;
use crate::print::{self, PolicyLine, advice_lines, escape, headline, policy_lines};

/// Each direction with its policies, and what contradicts them.
pub(super) fn then(flow: &Flow) -> Vec<Line> {
    titled("policy", policy_lines(flow).iter().map(of))
}

/// What they say now, and what helps beside what is said already.
pub(super) fn now(asked: &Asked, said: &[Line]) -> Vec<Line> {
    let is_new = |line: &PolicyLine| !said.iter().any(|known| known.text.trim_start() == line.text);
    let lines = match asked {
        Asked::No => Vec::new(),
        Asked::Waiting => vec![line("", "asking the server", Tone::Quiet)],
        Asked::Failed(why) => vec![line("", format!("not answered: {}", escape(why)), Tone::Unsure)],
        Asked::Answered(answer) => {
            let pairs = answer.explanations.iter().flat_map(|one| {
                let head = line("", headline(one), tone_of(one.passes));
                std::iter::once(head).chain(advice_lines(one).filter(is_new).map(|said| of(&said)))
            });
            let notes =
                answer.notes.iter().map(|note| line("", format!("note: {}", escape(note)), Tone::Quiet));
            pairs.chain(notes).collect()
        }
    };
    titled("policy now", lines.into_iter())
}

/// The title stands at the first line.
fn titled(title: &'static str, lines: impl Iterator<Item = Line>) -> Vec<Line> {
    lines.enumerate().map(|(at, line)| Line { title: if at == 0 { title } else { "" }, ..line }).collect()
}

fn of(said: &PolicyLine) -> Line {
    line("", format!("{:indent$}{}", "", said.text, indent = said.depth * 2), tone(said.tone))
}

const fn tone_of(passes: Option<bool>) -> Tone {
    match passes {
        Some(true) => Tone::Good,
        Some(false) => Tone::Bad,
        None => Tone::Unsure,
    }
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
