//! The typed filter flags, in their order -> the request's filters.
//!
//! Different flags are joined by AND, the same flag by OR, and `--not` turns the next one around. A flag about either end
//! makes two filters, one for each way round; they are one where they say the same.

use clap::{Arg, ArgAction, ArgMatches};
use weir_proto::flow::FlowFilter;

use super::flags::{End, FLAGS, Flag, Subject};
use super::{Filters, UsageError};

const NOT: &str = "not";

/// The arguments of all filter flags, and `--not`.
pub fn args() -> Vec<Arg> {
    let not = Arg::new(NOT)
        .long(NOT)
        .help("Turns the next filter flag around")
        .num_args(0)
        .default_missing_value("")
        .action(ArgAction::Append)
        .help_heading("Filters");
    let mut args = vec![not];
    for flag in FLAGS {
        args.extend(names(flag).into_iter().map(|(name, _)| arg(flag, name)));
    }
    args
}

/// The names a flag has, and the end each is about.
fn names(flag: &Flag) -> Vec<(&'static str, Option<End>)> {
    match flag.subject {
        Subject::Flow(_) | Subject::Switch(..) => vec![(flag.name, None)],
        Subject::Ends { from, to, .. } | Subject::Namespace { from, to, .. } => {
            vec![(flag.name, None), (from, Some(End::Source)), (to, Some(End::Destination))]
        }
    }
}

const fn takes_no_value(flag: &Flag) -> bool {
    matches!(flag.subject, Subject::Switch(..) | Subject::Namespace { any: true, .. })
}

fn arg(flag: &Flag, name: &'static str) -> Arg {
    let side = match name {
        _ if name == flag.name => "",
        _ if name.starts_with("from-") => "Source: ",
        _ => "Destination: ",
    };
    let arg = Arg::new(name).long(name).action(ArgAction::Append).help_heading("Filters");
    let arg = arg.help(format!("{side}{}", flag.help)).hide_short_help(!side.is_empty());
    let arg = match flag.short {
        Some(letter) if name == flag.name => arg.short(letter),
        _ => arg,
    };
    if takes_no_value(flag) { arg.num_args(0).default_missing_value("") } else { arg.value_name(flag.value) }
}

/// One typed flag.
struct Typed<'a> {
    index: usize,
    flag: &'static Flag,
    name: &'static str,
    end: Option<End>,
    value: &'a str,
}

fn occurrences<'a>(matches: &'a ArgMatches, name: &str) -> Vec<(usize, &'a str)> {
    let indices = matches.indices_of(name).into_iter().flatten();
    let values = matches.get_many::<String>(name).into_iter().flatten();
    indices.zip(values.map(String::as_str)).collect()
}

fn typed(matches: &ArgMatches) -> Vec<Typed<'_>> {
    let mut typed = Vec::new();
    for flag in FLAGS {
        for (name, end) in names(flag) {
            let found = occurrences(matches, name).into_iter();
            typed.extend(found.map(|(index, value)| Typed { index, flag, name, end, value }));
        }
    }
    typed.sort_by_key(|typed| typed.index);
    typed
}

/// Reads the filter flags out of what was typed.
///
/// # Errors
/// A value that its flag does not take, or a namespace that contradicts a name.
pub fn read(matches: &ArgMatches) -> Result<Filters, UsageError> {
    let mut nots: Vec<usize> = occurrences(matches, NOT).into_iter().map(|(index, _)| index).collect();
    let (mut whitelist, mut blacklist) = (Sides::default(), Sides::default());
    for typed in typed(matches) {
        let before = nots.iter().filter(|index| **index < typed.index).count();
        nots.drain(..before);
        let sides = if before % 2 == 1 { &mut blacklist } else { &mut whitelist };
        let wrong =
            |reason| UsageError::Flag { flag: typed.name.to_owned(), value: typed.value.to_owned(), reason };
        sides.set(&typed).map_err(wrong)?;
    }
    Ok(Filters { whitelist: whitelist.filters()?, blacklist: blacklist.filters()? })
}

/// A filter for each way round: in `left` a flag about either end speaks of the source, in `right` of the destination.
#[derive(Default)]
struct Sides {
    any: bool,
    left: FlowFilter,
    right: FlowFilter,
    namespaces: Namespaces,
}

/// Namespaces to be folded into the names of (left, right) and (source, destination).
#[derive(Default)]
struct Namespaces {
    left: [Vec<String>; 2],
    right: [Vec<String>; 2],
}

const fn place(end: End) -> usize {
    match end {
        End::Source => 0,
        End::Destination => 1,
    }
}

impl Sides {
    fn set(&mut self, typed: &Typed<'_>) -> Result<(), String> {
        self.any = true;
        let (left, right) = (typed.end.unwrap_or(End::Source), typed.end.unwrap_or(End::Destination));
        match typed.flag.subject {
            Subject::Flow(set) => {
                set(&mut self.left, typed.value)?;
                set(&mut self.right, typed.value)
            }
            Subject::Switch(set, value) => {
                set(&mut self.left, value)?;
                set(&mut self.right, value)
            }
            Subject::Ends { set, .. } => {
                set(&mut self.left, left, typed.value)?;
                set(&mut self.right, right, typed.value)
            }
            Subject::Namespace { .. } => {
                self.namespaces.left[place(left)].push(typed.value.to_owned());
                self.namespaces.right[place(right)].push(typed.value.to_owned());
                Ok(())
            }
        }
    }

    fn filters(self) -> Result<Vec<FlowFilter>, UsageError> {
        if !self.any {
            return Ok(Vec::new());
        }
        let Self { mut left, mut right, namespaces, .. } = self;
        fold(&mut left, &namespaces.left)?;
        fold(&mut right, &namespaces.right)?;
        Ok(if left == right { vec![left] } else { vec![left, right] })
    }
}

fn fold(filter: &mut FlowFilter, namespaces: &[Vec<String>; 2]) -> Result<(), UsageError> {
    let FlowFilter { source_pod, destination_pod, source_service, destination_service, .. } = filter;
    fold_end(&namespaces[0], source_pod, source_service)?;
    fold_end(&namespaces[1], destination_pod, destination_service)
}

fn fold_end(
    namespaces: &[String],
    pods: &mut Vec<String>,
    services: &mut Vec<String>,
) -> Result<(), UsageError> {
    if namespaces.is_empty() {
        return Ok(());
    }
    if pods.is_empty() && services.is_empty() {
        *pods = namespaces.iter().map(|namespace| format!("{namespace}/")).collect();
        return Ok(());
    }
    for names in [pods, services] {
        let mut folded = Vec::new();
        for name in names.drain(..) {
            folded.extend(in_namespaces(namespaces, &name)?);
        }
        *names = folded;
    }
    Ok(())
}

fn in_namespaces(namespaces: &[String], name: &str) -> Result<Vec<String>, UsageError> {
    let Some((own, _)) = name.split_once('/') else {
        return Ok(namespaces.iter().map(|namespace| format!("{namespace}/{name}")).collect());
    };
    if namespaces.iter().any(|namespace| namespace.is_empty() || namespace == own) {
        Ok(vec![name.to_owned()])
    } else {
        let reason = format!("{name} is in another namespace: leave one of them out");
        Err(UsageError::Flag { flag: "namespace".to_owned(), value: namespaces.join(","), reason })
    }
}
