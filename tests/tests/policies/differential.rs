//! The compiled evaluator and the naive one are asked the same of random clusters, and must say the same.
//!
//! A draw is one call: both its directions are judged, by short and by full answer. `WEIR_DRAWS` says how many draws
//! (100,000 without it); a difference is told with the seed of its cluster, and `WEIR_SEED` begins with that one.

use std::collections::{BTreeMap, HashSet};

use ipnet::IpNet;
use weir_cluster::object::{Object, ObjectKey, ObjectKind, ObjectName};
use weir_cluster::policy::{Always, Direction, Judgement, Outcome, Question, Ruling, Undecidable};
use weir_cluster::{Change, Cluster, HistoryLimits};

use super::draw::{Addresses, call, net, past};
use super::naive::{Call, Past, Place, Says, Side, Snapshot};
use super::seed::{self, Draw};

/// Calls that one cluster is asked about.
const CALLS: u64 = 50;

/// How often each answer came.
type Seen = BTreeMap<&'static str, usize>;

#[test]
fn both_evaluators_say_the_same_of_every_call() {
    let draws: u64 = std::env::var("WEIR_DRAWS").map_or(100_000, |draws| draws.parse().unwrap());
    let first = seed::chosen();
    println!("WEIR_SEED={first}, {draws} draws");
    let mut seen = Seen::new();
    for seed in first..first + draws / CALLS {
        if let Err(difference) = one_cluster(seed, HistoryLimits::default(), &[], &mut seen) {
            panic!("caught at draw {}: WEIR_SEED={seed}\n{difference}", draw_of(first, seed, &difference));
        }
    }
    println!("{seen:?}");
    let few: Vec<_> =
        ANSWERS.iter().filter(|answer| seen.get(*answer).is_none_or(|times| *times == 0)).collect();
    assert!(draws < 10_000 || few.is_empty(), "these answers never came: {few:?}");
}

/// Each of them must come, or the draws show nothing of it.
const ANSWERS: [&str; 14] = [
    "no pod",
    "open",
    "allowed",
    "own node",
    "itself",
    "denied",
    "foreign",
    "unknown field",
    "protocol",
    "unknown peer",
    "unknown namespace",
    "no backend",
    "block at service",
    "masqueraded",
];

#[test]
fn what_is_forgotten_is_never_told_wrong() {
    // That an address was once a pod's or a Service's is forgotten too: only the ranges still say that it is the cluster's.
    let ranges = ["10.0.0.0/8", "fd00::/16"].map(net);
    let limits = HistoryLimits { entries: 6, per_key: 2 };
    let first = seed::chosen();
    println!("WEIR_SEED={first}");
    let mut seen = Seen::new();
    for seed in first..first + 200 {
        if let Err(difference) = one_cluster(seed, limits, &ranges, &mut seen) {
            panic!("caught at draw {}: WEIR_SEED={seed}\n{difference}", draw_of(first, seed, &difference));
        }
    }
    assert!(seen.get("too old").is_some_and(|times| *times > 100), "{seen:?}");
}

#[test]
fn the_naive_evaluator_knows_objects_and_nothing_of_the_compiled_one() {
    for text in [include_str!("naive.rs"), include_str!("naive/owner.rs")] {
        let uses: Vec<&str> = text.split("use weir_cluster::").skip(1).collect();
        assert!(!uses.is_empty() && !text.contains("is_in_block"));
        for one in uses {
            let one = one.split_once(';').map_or(one, |(one, _)| one);
            let known = one.starts_with("object::") || ["UnixNanos", "{Protocol, UnixNanos}"].contains(&one);
            assert!(known, "{one}");
        }
    }
}

/// Where the two differ.
struct Difference {
    call: u64,
    text: String,
}

fn draw_of(first: u64, seed: u64, difference: &Difference) -> u64 {
    (seed - first) * CALLS + difference.call
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

fn one_cluster(
    seed: u64,
    limits: HistoryLimits,
    ranges: &[IpNet],
    seen: &mut Seen,
) -> Result<(), Difference> {
    let mut draw = Draw::new(seed);
    let mut past = past(&mut draw);
    past.ranges.extend(ranges);
    let cluster = built(&mut draw, &past, limits);
    let addresses = Addresses::of(&past);
    for number in 0..CALLS {
        let call = call(&mut draw, &past, &addresses);
        for side in [Side::Egress, Side::Ingress] {
            let told = |text: String| Difference {
                call: number,
                text: format!("{text}\n{}", scene(&past, &call, side)),
            };
            compare(&cluster, &past, &call, side, seen).map_err(told)?;
        }
    }
    Ok(())
}

/// The cluster after all these changes, whichever way they came.
fn built(draw: &mut Draw, past: &Past, limits: HistoryLimits) -> Cluster {
    let mut cluster = Cluster::new(limits);
    for range in &past.ranges {
        cluster.add_range(*range);
    }
    for pair in past.moments.windows(2) {
        let [(_, before), (at, after)] = pair else { unreachable!("a window of two") };
        let objects = objects(after);
        match draw.below(4) {
            // The first that is said to be all there is holds since ever, which is not what the naive one is told.
            0 if !before.nodes.is_empty() => cluster.replace(objects, *at),
            1 => one_by_one(draw, &mut cluster, before, objects, *at),
            _ => cluster.change(changes(draw, before, objects), *at),
        }
    }
    cluster
}

fn one_by_one(
    draw: &mut Draw,
    cluster: &mut Cluster,
    before: &Snapshot,
    objects: Vec<Object>,
    at: weir_cluster::UnixNanos,
) {
    for change in changes(draw, before, objects) {
        match change {
            Change::Apply(object) => cluster.apply(object, at),
            Change::Delete(key) => cluster.delete(&key, at),
            Change::Only(kind, keys) => cluster.change([Change::Only(kind, keys)], at),
        }
    }
}

/// What makes one snapshot of the other, in drawn order.
fn changes(draw: &mut Draw, before: &Snapshot, after: Vec<Object>) -> Vec<Change> {
    let known: HashSet<ObjectKey> = after.iter().map(Object::key).collect();
    let gone = objects(before).iter().map(Object::key).filter(|key| !known.contains(key)).collect::<Vec<_>>();
    let mut changes: Vec<Change> = after.into_iter().map(Change::Apply).collect();
    for key in gone {
        let kind = key.kind;
        // A watch that begins anew says which there are instead of which are gone.
        let only = matches!(kind, ObjectKind::Pod | ObjectKind::NetworkPolicy) && draw.chance(30);
        let left = || known.iter().filter(|key| key.kind == kind).cloned().collect();
        changes.push(if only { Change::Only(kind, left()) } else { Change::Delete(key) });
    }
    for place in (1..changes.len()).rev() {
        changes.swap(place, draw.below(place + 1));
    }
    changes
}

fn objects(snapshot: &Snapshot) -> Vec<Object> {
    let Snapshot { namespaces, nodes, services, policies, foreign, pods } = snapshot.clone();
    let namespaces = namespaces.into_iter().map(Object::Namespace);
    let rest = nodes.into_iter().map(Object::Node).chain(services.into_iter().map(Object::Service));
    let policies = policies.into_iter().map(Object::NetworkPolicy);
    let policies = policies.chain(foreign.into_iter().map(Object::ForeignPolicy));
    namespaces.chain(rest).chain(policies).chain(pods.into_iter().map(Object::Pod)).collect()
}

fn compare(cluster: &Cluster, past: &Past, call: &Call, side: Side, seen: &mut Seen) -> Result<(), String> {
    let (question, direction) = asked(call, side);
    let naive = past.says(call, side);
    let short = cluster.judge(&question, direction);
    *seen.entry(kind(short.as_ref())).or_default() += 1;
    if let Some(Judgement { ruling: Ruling::Undecidable(Undecidable::TooOld), .. }) = &short {
        let exact_since = cluster.stats().exact_since;
        return if call.at < exact_since {
            Ok(())
        } else {
            Err(format!("too old, yet exact since {exact_since}"))
        };
    }
    if short.is_none() && call.at < cluster.stats().exact_since {
        return Ok(());
    }
    let said = short.as_ref().map(says);
    if said != naive {
        return Err(format!("naive: {naive:?}\nweir:  {said:?}\n{short:?}"));
    }
    in_full(cluster, call, side, naive.as_ref())?;
    noticed(cluster, past, call, side, naive.as_ref())
}

/// The full answer has the same ruling, and an opinion of every policy that selects the pod, in the order of their names.
fn in_full(cluster: &Cluster, call: &Call, side: Side, naive: Option<&Says>) -> Result<(), String> {
    let (question, direction) = asked(call, side);
    let full = cluster.judge_in_full(&question, direction);
    if full.as_ref().map(says).as_ref() != naive {
        return Err(format!("in full: {full:?}\nnaive: {naive:?}"));
    }
    let Some(full) = full else { return Ok(()) };
    let names: Vec<&ObjectName> = full.opinions.iter().map(|opinion| &opinion.policy.name).collect();
    let sorted = names.is_sorted() && names.iter().collect::<HashSet<_>>().len() == names.len();
    let judged = call.at;
    let all = matches!(naive, Some(Says::Allowed(_) | Says::Denied(_)));
    let missing = all && names.is_empty();
    if sorted && !missing { Ok(()) } else { Err(format!("opinions at {judged}: {names:?}")) }
}

/// Where the answer was another at the moment before, the cluster says that something has changed in between.
fn noticed(
    cluster: &Cluster,
    past: &Past,
    call: &Call,
    side: Side,
    naive: Option<&Says>,
) -> Result<(), String> {
    let earlier =
        Call { at: weir_cluster::UnixNanos::from_nanos(call.at.as_nanos().saturating_sub(100)), ..*call };
    let before = past.says(&earlier, side);
    if before.as_ref() == naive || cluster.stats().forgotten > 0 {
        return Ok(());
    }
    let (question, direction) = asked(call, side);
    let noticed = cluster.judged_otherwise_within(&question, direction, earlier.at, call.at);
    if noticed { Ok(()) } else { Err(format!("{before:?} became {naive:?}, which is not noticed")) }
}

const fn asked(call: &Call, side: Side) -> (Question, Direction) {
    let Call { at, protocol, client, client_behind, called, server } = *call;
    let direction = match side {
        Side::Egress => Direction::Egress,
        Side::Ingress => Direction::Ingress,
    };
    (Question { at, protocol, client, client_behind, called, server }, direction)
}

/// In the naive one's words.
fn says(judgement: &Judgement) -> Says {
    match &judgement.ruling {
        Ruling::Open => Says::Open,
        Ruling::Allowed => Says::Allowed(
            judgement
                .allowing()
                .map(|(policy, it)| (policy.name.clone(), Place::from((it.rule, it.peer, it.port))))
                .collect(),
        ),
        Ruling::Always(Always::OwnNode) => Says::OwnNode,
        Ruling::Always(Always::Itself) => Says::Itself,
        Ruling::Denied => {
            let misses = judgement.opinions.iter().filter(|it| matches!(it.outcome, Outcome::Misses(_)));
            Says::Denied(misses.map(|opinion| opinion.policy.name.clone()).collect())
        }
        Ruling::Undecidable(_) => Says::Undecidable,
    }
}

const fn kind(judgement: Option<&Judgement>) -> &'static str {
    let Some(judgement) = judgement else { return "no pod" };
    match &judgement.ruling {
        Ruling::Open => "open",
        Ruling::Allowed => "allowed",
        Ruling::Always(Always::OwnNode) => "own node",
        Ruling::Always(Always::Itself) => "itself",
        Ruling::Denied => "denied",
        Ruling::Undecidable(Undecidable::Foreign { .. }) => "foreign",
        Ruling::Undecidable(Undecidable::UnknownField { .. }) => "unknown field",
        Ruling::Undecidable(Undecidable::Protocol) => "protocol",
        Ruling::Undecidable(Undecidable::UnknownPeer(_)) => "unknown peer",
        Ruling::Undecidable(Undecidable::UnknownNamespace(_)) => "unknown namespace",
        Ruling::Undecidable(Undecidable::NoBackend(_)) => "no backend",
        Ruling::Undecidable(Undecidable::BlockAtService(_)) => "block at service",
        Ruling::Undecidable(Undecidable::Masqueraded(_)) => "masqueraded",
        Ruling::Undecidable(Undecidable::TooOld) => "too old",
    }
}

/// What a reader of a difference needs.
fn scene(past: &Past, call: &Call, side: Side) -> String {
    let now = past.moments.iter().rev().find(|(from, _)| *from <= call.at);
    let moments: Vec<_> = past.moments.iter().map(|(from, _)| from.as_nanos()).collect();
    format!("{side:?} of {call:?}\nmoments {moments:?}, ranges {:?}\n{now:#?}", past.ranges)
}
