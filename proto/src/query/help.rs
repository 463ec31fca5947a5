//! The help text: grammar, rules and the table of fields, made from what the parser itself goes by.

use std::fmt::Write as _;

use super::field::{Field, Kind, Scope};
use super::fields::FIELDS;

const INTRODUCTION: &str = "\
A query says which flows or connections to show. The same text works on the command line (weir observe --query), in
the screen, and in requests (weir.v1.FlowFilter.query).

  ns=shop dst.svc=api verdict!=ok
  rtt>50ms or retrans>=3
  dns.rcode=nxdomain not src.ns=kube-system
  port in 80,443,8000-8080 not (host or world)
  http.path~\"^/api/v[12]/\" http.status>=500
  checkout";

const RULES: &str = "\
  Without an end, a field of the ends holds if it holds of one of them; src. and dst. choose.
  not and != are the exact complement: port!=80 means that neither end has port 80, and
  what a flow does not carry is not equal to anything, nor less or more.
  A field alone asks whether the flow carries it: nat, tunnel, reply, dns, rtt.
  A word that is no field is looked for in all names and addresses; put a word that is one in quotation marks.
  ~ takes a regular expression in Go's dialect, found anywhere. Durations need a unit (ns us ms s m h);
  counts and sizes may have one (k M G Ki Mi Gi).";

/// The help of the query language.
#[must_use]
pub fn help() -> String {
    let mut text = format!("{INTRODUCTION}\n\nGRAMMAR\n");
    for line in super::GRAMMAR.lines() {
        let _ = writeln!(text, "  {line}");
    }
    let _ = write!(text, "\nRULES\n{RULES}\n");
    for (title, scope) in [
        ("FIELDS OF AN END, WITH src., dst. OR NEITHER BEFORE THEM", Scope::Ends),
        ("FIELDS OF THE FLOW", Scope::Flow),
    ] {
        let _ = write!(text, "\n{title}\n");
        for field in FIELDS.iter().filter(|field| field.scope == scope) {
            describe(&mut text, field);
        }
    }
    text
}

fn describe(text: &mut String, field: &Field) {
    let _ = writeln!(text, "  {:<13} {:<15} {}", field.name, field.kind.shown(), field.help);
    let _ = write!(text, "  {:<13} {:<15} e.g. {}", "", "", field.example);
    if !field.aliases.is_empty() {
        let _ = write!(text, "; also {}", field.aliases.join(", "));
    }
    text.push('\n');
    if let Kind::Words(words) = &field.kind {
        wrapped(text, words.all().map(|(word, _)| word));
    }
}

/// A list of at most so many words as fit in three lines.
fn wrapped(text: &mut String, words: impl Iterator<Item = String>) {
    const WIDTH: usize = 82;
    const INDENT: usize = 32;
    let (mut line, mut lines, mut known) = (String::new(), 0, Vec::new());
    for word in words {
        if known.contains(&word) {
            continue;
        }
        if line.len() + word.len() > WIDTH {
            let _ = writeln!(text, "{:INDENT$}{}", "", line.trim_end());
            line.clear();
            lines += 1;
            if lines == 3 {
                let _ = writeln!(text, "{:INDENT$}...", "");
                return;
            }
        }
        let _ = write!(line, "{word} ");
        known.push(word);
    }
    let _ = writeln!(text, "{:INDENT$}{}", "", line.trim_end());
}
