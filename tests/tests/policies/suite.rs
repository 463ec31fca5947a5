//! The cases of Kubernetes' own NetworkPolicy suite, and some of weir's: the whole matrix of who may call whom is compared.
//!
//! All steps of a case are applied before the first is compared, each for its own time: what was so then must still be told.
//! `tests/scenarios/policies/README.md` lists the cases and is held to them; `WEIR_GENERATE=1` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use weir_cluster::object::{Object, ObjectKey, ObjectKind, ObjectName, Pod};
use weir_cluster::policy::{Direction, Question, Ruling};
use weir_cluster::{Change, Cluster, UnixNanos};

use super::cases::{Case, Matrix, Step, Suite, file, objects, objects_of, suites};

#[test]
fn every_case_lets_pass_what_it_says_and_nothing_else() {
    let world = objects(file("world.yaml"));
    let mut wrong = Vec::new();
    for suite in suites() {
        for case in &suite.cases {
            wrong.extend(differences(&world, case).into_iter().map(|it| format!("{}: {it}", case.name)));
        }
    }
    assert!(wrong.is_empty(), "{} pairs differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_table_lists_every_case() {
    let suites = suites();
    let table = table(&suites);
    let readme = file("README.md");
    if std::env::var_os("WEIR_GENERATE").is_some() {
        std::fs::write(&readme, &table).unwrap();
        return;
    }
    let current = std::fs::read_to_string(&readme).unwrap();
    assert!(current == table, "{} differs from the cases: run with WEIR_GENERATE=1", readme.display());
}

#[test]
fn a_case_is_either_here_or_says_why_not() {
    for case in suites().iter().flat_map(|suite| &suite.cases) {
        assert_ne!(case.steps.is_empty(), case.instead.is_none(), "{}", case.name);
    }
    let here = suites().iter().filter(|suite| suite.source.is_some()).map(here).sum::<usize>();
    assert!(here >= 60, "{here} cases of the suites upstream are here");
}

fn here(suite: &Suite) -> usize {
    suite.cases.iter().filter(|case| case.instead.is_none()).count()
}

fn pods(world: &[Object]) -> Vec<Pod> {
    let pod = |object: &Object| match object {
        Object::Pod(pod) => Some(pod.clone()),
        _ => None,
    };
    world.iter().filter_map(pod).collect()
}

fn at(step: usize) -> UnixNanos {
    UnixNanos::from_nanos(100 * (step as u64 + 1))
}

fn differences(world: &[Object], case: &Case) -> Vec<String> {
    let mut now: BTreeMap<ObjectKey, Object> = world.iter().map(|it| (it.key(), it.clone())).collect();
    let mut cluster = Cluster::default();
    cluster.replace(world.to_vec(), UnixNanos::ZERO);
    for (number, step) in case.steps.iter().enumerate() {
        cluster.change(changes(step, &mut now), at(number));
    }
    let pods = pods(world);
    let mut wrong = Vec::new();
    for (number, step) in case.steps.iter().enumerate() {
        for matrix in step.matrices() {
            assert!(!matrix.idle(&pods), "{}: a line is about no pod", case.name);
            let told = compare(&cluster, &pods, &matrix, at(number));
            wrong.extend(told.into_iter().map(|it| format!("step {}: {it}", number + 1)));
        }
    }
    wrong
}

fn changes(step: &Step, now: &mut BTreeMap<ObjectKey, Object>) -> Vec<Change> {
    let mut changes = Vec::new();
    let applied = step.apply.as_deref().map(objects_of).unwrap_or_default();
    let relabelled = step.relabel.iter().map(|(name, labels)| {
        let mut object = now[&labelled(name)].clone();
        match &mut object {
            Object::Pod(pod) => pod.labels.clone_from(labels),
            Object::Namespace(namespace) => namespace.labels.clone_from(labels),
            other => panic!("{other:?} has no labels here"),
        }
        object
    });
    for object in applied.into_iter().chain(relabelled.collect::<Vec<_>>()) {
        now.insert(object.key(), object.clone());
        changes.push(Change::Apply(object));
    }
    for name in &step.delete {
        let (namespace, name) = name.split_once('/').unwrap();
        let key = ObjectKey { kind: ObjectKind::NetworkPolicy, name: ObjectName::new(namespace, name) };
        now.remove(&key).expect("what is deleted is there");
        changes.push(Change::Delete(key));
    }
    changes
}

/// `x/a` is a pod, `y` a namespace.
fn labelled(name: &str) -> ObjectKey {
    match name.split_once('/') {
        Some((namespace, name)) => {
            ObjectKey { kind: ObjectKind::Pod, name: ObjectName::new(namespace, name) }
        }
        None => ObjectKey { kind: ObjectKind::Namespace, name: ObjectName::new("", name) },
    }
}

fn compare(cluster: &Cluster, pods: &[Pod], matrix: &Matrix, at: UnixNanos) -> Vec<String> {
    let mut wrong = Vec::new();
    for (client, server) in pods.iter().flat_map(|client| pods.iter().map(move |server| (client, server))) {
        for (from, to) in client.addresses.iter().zip(&server.addresses) {
            let question = Question::direct(at, matrix.protocol, *from, SocketAddr::new(*to, matrix.port));
            let (said, passes) = said(cluster, &question);
            if passes != Some(matrix.passes(client, server)) {
                let Matrix { protocol, port, .. } = matrix;
                wrong.push(format!("{} -> {} ({to}) {protocol:?} {port}: {said}", client.name, server.name));
            }
        }
    }
    wrong
}

/// What is said of both ends, and whether both let it pass; none where one of them cannot say.
fn said(cluster: &Cluster, question: &Question) -> (String, Option<bool>) {
    let rulings = [Direction::Egress, Direction::Ingress].map(|direction| cluster.judge(question, direction));
    let passes = |judgement: &weir_cluster::policy::Judgement| match judgement.ruling {
        Ruling::Undecidable(_) => None,
        _ => Some(judgement.passes()),
    };
    let both = rulings.iter().map(|ruling| ruling.as_ref().and_then(passes)).collect::<Option<Vec<bool>>>();
    let said = rulings.map(|ruling| format!("{:?}", ruling.map(|it| it.ruling)));
    (said.join(", "), both.map(|both| both.iter().all(|passes| *passes)))
}

const HEAD: &str = "# Cases of NetworkPolicy

The cases of Kubernetes' end-to-end suites, each written anew under the name of its test there, and some of weir's own. A step applies,
relabels or deletes objects; then who may call whom is compared for all 81 pairs of the nine pods in `world.yaml`, in both address
families, on every port that the case is about. A pod may always call itself. `tests/tests/policies` runs them and makes this table of
them.
";

fn table(suites: &[Suite]) -> String {
    let upstream = suites.iter().filter(|suite| suite.source.is_some());
    let (all, here) =
        upstream.fold((0, 0), |(all, some), suite| (all + suite.cases.len(), some + here(suite)));
    let mut table = format!("{HEAD}\nOf {all} cases upstream {here} are here.\n");
    for suite in suites {
        let source = suite.source.as_ref().map(|source| format!(" (`{source}`)")).unwrap_or_default();
        let _ = writeln!(
            table,
            "\n## {}{source}\n\n| test | here | answers compared |\n|---|---|--:|",
            suite.suite
        );
        for case in &suite.cases {
            let matrices: usize = case.steps.iter().map(|step| step.matrices().len()).sum();
            let here = match (&case.instead, case.steps.len()) {
                (Some(why), _) => format!("no: {why}"),
                (None, 1) => "yes".to_owned(),
                (None, steps) => format!("yes, in {steps} steps"),
            };
            let _ = writeln!(table, "| {} | {here} | {} |", case.name, matrices * 81 * 2);
        }
    }
    table
}
