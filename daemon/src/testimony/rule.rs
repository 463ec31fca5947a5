//! The prefix of a log rule -> who wrote the rule, for which policy, and what it does. Pure.
//!
//! A group number and a prefix are all that the kernel's log says of a rule. Some writers put the policy's name into the prefix,
//! some are known by their group alone. A prefix that is not understood stays raw, and what its rule does with a packet is
//! unknown. Nothing is guessed from a prefix that was cut.
//!
//! * Calico, groups 1 (ingress) and 2 (egress), only where its flow logs are on (`felix/rules/nflogprefix.go`, `policy.go`;
//!   names: `felix/types/policy_id.go`, before that `libcalico-go/lib/names/policy.go`): action A, D, P (N of old), owner P
//!   (policy) or R (profile), direction I or E, the rule's number, `|`, name. Without a number no rule of a tier or policy
//!   matched. A prefix of 63 bytes has a hash in its middle.
//! * kube-router, group 100, no prefix: what its policies refuse (`pkg/controllers/netpol/pod.go`). Limited to ten a minute and
//!   pod by default: that there is no log proves nothing.
//! * Weave Net's policy controller, group 86, no prefix: what it drops (`npc/controller.go`, `net/bridge.go`).
//! * Rules written by hand: `deny:NAMESPACE/NAME` or `allow:NAMESPACE/NAME`.

const CALICO_GROUPS: [u16; 2] = [1, 2];
const KUBE_ROUTER_GROUP: u16 = 100;
const WEAVE_GROUP: u16 = 86;
/// Calico's prefixes of this length are cut, and all that are longer.
const CALICO_CUT: usize = 63;

/// A log rule, as far as its prefix tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Who wrote it.
    pub writer: Writer,
    /// What it does.
    pub action: Action,
    /// Kind of its policy, as users call it; empty: not said.
    pub kind: &'static str,
    /// Namespace of the policy; empty: none, or not said.
    pub namespace: Box<str>,
    /// Name of the policy, or of the tier or profile; empty: not said.
    pub name: Box<str>,
    /// Which way it looks at, from the pod that the policy selects.
    pub direction: Option<Direction>,
    /// Number of the rule in the policy's list, from 0. None: not said, or no rule matched.
    pub index: Option<u32>,
}

/// Who writes log rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// Calico's Felix.
    Calico,
    /// kube-router.
    KubeRouter,
    /// Weave Net's policy controller.
    Weave,
    /// Somebody who says what the rule does as here.
    Hand,
}

impl Writer {
    /// As its users call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calico => "calico",
            Self::KubeRouter => "kube-router",
            Self::Weave => "weave",
            Self::Hand => "hand",
        }
    }
}

/// What a rule does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Lets it through.
    Allow,
    /// Stops it.
    Deny,
    /// Leaves it to the next tier.
    Pass,
    /// Would stop it: the policy is staged, and only watches.
    WouldDeny,
}

/// A policy's direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What enters the pod.
    Ingress,
    /// What leaves it.
    Egress,
}

impl Rule {
    /// What the prefix of a rule that logs to that group says; nothing where it is nobody's who is known.
    #[must_use]
    pub fn of(group: u16, prefix: &str) -> Option<Self> {
        let prefix = prefix.trim();
        match (group, prefix) {
            (KUBE_ROUTER_GROUP, "") => Some(Self::nameless(Writer::KubeRouter)),
            (WEAVE_GROUP, "") => Some(Self::nameless(Writer::Weave)),
            _ if CALICO_GROUPS.contains(&group) => calico(prefix).or_else(|| by_hand(prefix)),
            _ => by_hand(prefix),
        }
    }

    /// Whether what it logs goes on: its log is no sign of a stop.
    #[must_use]
    pub const fn lets_pass(&self) -> bool {
        matches!(self.action, Action::Allow | Action::Pass | Action::WouldDeny)
    }

    fn nameless(writer: Writer) -> Self {
        Self {
            writer,
            action: Action::Deny,
            kind: "",
            namespace: Box::default(),
            name: Box::default(),
            direction: None,
            index: None,
        }
    }
}

fn by_hand(prefix: &str) -> Option<Rule> {
    let (action, policy) = prefix.split_once(':')?;
    let action = match action {
        "deny" => Action::Deny,
        "allow" => Action::Allow,
        _ => return None,
    };
    let (namespace, name) = policy.split_once('/')?;
    let is_name = |text: &str| !text.is_empty() && !text.contains(|it: char| it == '/' || it.is_whitespace());
    let named = is_name(namespace) && is_name(name);
    named.then(|| Rule {
        action,
        namespace: namespace.into(),
        name: name.into(),
        ..Rule::nameless(Writer::Hand)
    })
}

fn calico(prefix: &str) -> Option<Rule> {
    let (head, name) = match prefix.split_once('|') {
        Some((head, name)) => (head, Some(name)),
        None => (prefix, None),
    };
    let (letters, number) = (head.get(..3)?, head.get(3..)?);
    let [action, owner, direction] = <[u8; 3]>::try_from(letters.as_bytes()).ok()?;
    let action = match action {
        b'A' => Action::Allow,
        b'D' => Action::Deny,
        b'P' | b'N' => Action::Pass,
        _ => return None,
    };
    let direction = match direction {
        b'I' => Direction::Ingress,
        b'E' => Direction::Egress,
        _ => return None,
    };
    let index = if number.is_empty() { None } else { Some(number.parse().ok()?) };
    let owned = match (owner, name) {
        (b'P' | b'R', Some(_)) if prefix.len() >= CALICO_CUT => Owner::default(),
        (b'P', Some(name)) => policy(name, index),
        (b'R', Some(name)) => Owner { kind: "Profile", name, ..Owner::default() },
        // No profile's rule matched: what no policy selects and no profile lets through.
        (b'R', None) if index.is_none() => Owner { kind: "Profile", ..Owner::default() },
        _ => return None,
    };
    let action = if owned.staged && action == Action::Deny { Action::WouldDeny } else { action };
    Some(Rule {
        writer: Writer::Calico,
        action,
        kind: owned.kind,
        namespace: owned.namespace.into(),
        name: owned.name.into(),
        direction: Some(direction),
        index,
    })
}

/// Whose a rule of Calico's is.
#[derive(Clone, Copy, Debug, Default)]
struct Owner<'a> {
    kind: &'static str,
    namespace: &'a str,
    name: &'a str,
    staged: bool,
}

/// How Calico begins the name of a policy, since its names tell the kinds apart; whether it is staged.
const SHORT_KINDS: [(&str, &str, bool); 7] = [
    ("np", CALICO_POLICY, false),
    ("gnp", CALICO_GLOBAL, false),
    ("knp", KUBERNETES, false),
    ("kcnp", "ClusterNetworkPolicy", false),
    ("snp", CALICO_POLICY, true),
    ("sgnp", CALICO_GLOBAL, true),
    ("sknp", KUBERNETES, true),
];

/// How it called Kubernetes' policies before.
const LONG_NAMES: [(&str, &str); 5] = [
    ("knp.default.", KUBERNETES),
    ("kanp.adminnetworkpolicy.", "AdminNetworkPolicy"),
    ("kbanp.baselineadminnetworkpolicy.", "BaselineAdminNetworkPolicy"),
    ("kcnp.kube-admin.", "ClusterNetworkPolicy"),
    ("kcnp.kube-baseline.", "ClusterNetworkPolicy"),
];

const KUBERNETES: &str = "NetworkPolicy";
const CALICO_POLICY: &str = "Calico's NetworkPolicy";
const CALICO_GLOBAL: &str = "Calico's GlobalNetworkPolicy";
const STAGED: &str = "staged:";

fn policy(name: &str, index: Option<u32>) -> Owner<'_> {
    let short = name.split_once('/').and_then(|(short, rest)| {
        let known = SHORT_KINDS.iter().find(|(known, ..)| *known == short)?;
        Some((known, rest))
    });
    if let Some(((_, kind, staged), rest)) = short {
        let (namespace, name) = rest.split_once('/').unwrap_or(("", rest));
        return Owner { kind, namespace, name, staged: *staged };
    }
    // Names of policies begin with that of their tier and a point, which a tier's name has not.
    if index.is_none() && !name.contains(['/', '.', ':']) {
        return Owner { kind: "Tier", name, ..Owner::default() };
    }
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    let (staged, name) = name.strip_prefix(STAGED).map_or((false, name), |name| (true, name));
    let long = LONG_NAMES.iter().find_map(|(begin, kind)| Some((*kind, name.strip_prefix(begin)?)));
    let calicos = if namespace.is_empty() { CALICO_GLOBAL } else { CALICO_POLICY };
    let (kind, name) = long.unwrap_or((calicos, name));
    Owner { kind, namespace, name, staged }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything but the writer, in short.
    fn told(group: u16, prefix: &str) -> String {
        let Some(rule) = Rule::of(group, prefix) else { return "unknown".to_owned() };
        let Rule { writer, action, kind, namespace, name, direction, index } = rule;
        let direction = direction.map_or("either", |direction| match direction {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        });
        let index = index.map_or("-".to_owned(), |index| index.to_string());
        format!("{} {action:?} {direction} {index} {kind}:{namespace}/{name}", writer.name())
    }

    #[test]
    fn calicos_prefixes_are_read() {
        for (prefix, expected) in [
            ("API0|knp/shop/web", "calico Allow ingress 0 NetworkPolicy:shop/web"),
            ("DPI12|np/shop/default.web", "calico Deny ingress 12 Calico's NetworkPolicy:shop/default.web"),
            ("DPE1|gnp/platform.all", "calico Deny egress 1 Calico's GlobalNetworkPolicy:/platform.all"),
            ("PPE3|kcnp/admins", "calico Pass egress 3 ClusterNetworkPolicy:/admins"),
            ("DPI0|sknp/shop/web", "calico WouldDeny ingress 0 NetworkPolicy:shop/web"),
            ("APE0|sgnp/all", "calico Allow egress 0 Calico's GlobalNetworkPolicy:/all"),
            // As it was before.
            ("API0|shop/knp.default.web", "calico Allow ingress 0 NetworkPolicy:shop/web"),
            ("DPI0|default/knp.default.a.b", "calico Deny ingress 0 NetworkPolicy:default/a.b"),
            ("DPE7|shop/default.web", "calico Deny egress 7 Calico's NetworkPolicy:shop/default.web"),
            ("NPE7|platform.all", "calico Pass egress 7 Calico's GlobalNetworkPolicy:/platform.all"),
            ("DPI0|shop/staged:knp.default.web", "calico WouldDeny ingress 0 NetworkPolicy:shop/web"),
            ("DPI0|kanp.adminnetworkpolicy.web", "calico Deny ingress 0 AdminNetworkPolicy:/web"),
            // No rule matched: of a tier, of a policy, of any profile.
            ("DPI|default", "calico Deny ingress - Tier:/default"),
            ("PPE|security", "calico Pass egress - Tier:/security"),
            ("DPI|knp/shop/web", "calico Deny ingress - NetworkPolicy:shop/web"),
            (
                "DPI|shop/staged:default.web",
                "calico WouldDeny ingress - Calico's NetworkPolicy:shop/default.web",
            ),
            ("DRI", "calico Deny ingress - Profile:/"),
            ("ARE0|kns.shop", "calico Allow egress 0 Profile:/kns.shop"),
            // Cut.
            ("DPE1|quite_nnW4FYptgISH4G3jdI6KJWVcEx19s0BDp2On0wVAY_olicy-name", "calico Deny egress 1 :/"),
        ] {
            assert_eq!(told(1, prefix), expected, "{prefix}");
            assert_eq!(told(2, prefix), expected, "{prefix}");
            assert_eq!(told(5, prefix), "unknown", "{prefix}");
        }
    }

    #[test]
    fn other_writers_are_known_by_their_group_or_their_words() {
        for (group, prefix, expected) in [
            (100, "", "kube-router Deny either - :/"),
            (86, "", "weave Deny either - :/"),
            (5, "deny:shop/api", "hand Deny either - :shop/api"),
            (100, "allow:shop/api ", "hand Allow either - :shop/api"),
            (1, "deny:shop/api", "hand Deny either - :shop/api"),
        ] {
            assert_eq!(told(group, prefix), expected, "{prefix}");
        }
    }

    #[test]
    fn what_is_not_understood_is_nobodys() {
        for prefix in [
            "",
            "D",
            "DPI",
            "DPX0|a",
            "XPI0|a.b",
            "DPIx|a.b",
            "DPI-1|a",
            "DRI0",
            "DPI99999999999|a",
            "deny:",
            "deny:shop",
            "deny:/api",
            "deny:shop/",
            "deny:shop/a/b",
            "deny: shop/api",
            "drop:shop/api",
            "é|a",
            "IN-DROP: ",
        ] {
            assert_eq!(told(1, prefix), "unknown", "{prefix}");
        }
        assert_eq!((told(0, "").as_str(), told(99, "").as_str()), ("unknown", "unknown"));
    }

    #[test]
    fn only_a_stop_is_one() {
        let passes = |prefix| Rule::of(1, prefix).unwrap().lets_pass();
        assert_eq!(
            ["API0|a.b", "PPI0|a.b", "DPI0|staged:a.b", "DPI0|a.b"].map(passes),
            [true, true, true, false]
        );
    }
}
