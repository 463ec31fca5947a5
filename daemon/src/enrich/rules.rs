//! The rules that the kernel's log named, on the wire: their prefixes as they are, and what is known of them.

use weir_proto::weir::v1::{LoggedRule, RuleAction, RuleDirection};

use super::text;
use crate::testimony::rule::{Action, Direction, Rule};
use crate::track::connection::Connection;

pub(super) fn write(names: &mut Vec<String>, rules: &mut Vec<LoggedRule>, connection: &Connection) {
    let named = connection.rules.iter().filter(|rule| !rule.prefix.is_empty());
    text::list(names, named, |rule, room| text::set(room, &rule.prefix));
    text::list(rules, connection.rules.iter().filter_map(|rule| rule.known.as_ref()), told);
}

fn told(rule: &Rule, room: &mut LoggedRule) {
    // By name, so that none is forgotten.
    let LoggedRule { writer, action, kind, namespace, name, direction, index } = room;
    text::set(writer, rule.writer.name());
    *action = action_of(rule.action).into();
    text::set(kind, rule.kind);
    text::set(namespace, &rule.namespace);
    text::set(name, &rule.name);
    *direction = direction_of(rule.direction).into();
    *index = rule.index;
}

const fn action_of(action: Action) -> RuleAction {
    match action {
        Action::Allow => RuleAction::Allow,
        Action::Deny => RuleAction::Deny,
        Action::Pass => RuleAction::Pass,
        Action::WouldDeny => RuleAction::WouldDeny,
    }
}

const fn direction_of(direction: Option<Direction>) -> RuleDirection {
    match direction {
        Some(Direction::Ingress) => RuleDirection::Ingress,
        Some(Direction::Egress) => RuleDirection::Egress,
        None => RuleDirection::Unspecified,
    }
}
