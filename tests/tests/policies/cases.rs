//! The cases in `tests/scenarios/policies` as data: steps of objects that come, change and go, and who may then call whom.
//!
//! A case is compared over all pairs of the nine pods of `world.yaml`, in both address families. Its lines say what is not as
//! without any policy, where everybody may call everybody: `no * -> x/a`, then `yes y/* -> x/a`; a later line overrides.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use weir_cluster::Protocol;
use weir_cluster::manifest::ManifestFiles;
use weir_cluster::object::{Labels, Object, Pod};
use weir_tests::root;

/// The files, in the order of the table.
const FILES: [&str; 7] = ["netpol", "netpol-udp", "netpol-sctp", "legacy", "legacy-sctp", "api", "weir"];

/// A suite of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Its name upstream.
    pub suite: String,
    /// The file upstream; none of weir's own cases.
    pub source: Option<String>,
    pub cases: Vec<Case>,
}

/// A case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The test's name upstream.
    pub name: String,
    #[serde(default)]
    pub steps: Vec<Step>,
    /// Why it is not here.
    pub instead: Option<String>,
}

/// What happens, and what is so then.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Manifests.
    pub apply: Option<String>,
    /// NetworkPolicies.
    #[serde(default)]
    pub delete: Vec<String>,
    /// Pods, or namespaces, and their labels from now on.
    #[serde(default)]
    pub relabel: BTreeMap<String, Labels>,
    /// Lines, by protocol and port.
    expect: BTreeMap<String, Vec<String>>,
}

/// Who may call whom on a port.
#[derive(Debug)]
pub struct Matrix {
    pub protocol: Protocol,
    pub port: u16,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    passes: bool,
    clients: String,
    servers: String,
}

impl Step {
    pub fn matrices(&self) -> Vec<Matrix> {
        self.expect.iter().map(|(on, lines)| Matrix::of(on, lines)).collect()
    }
}

impl Matrix {
    fn of(on: &str, lines: &[String]) -> Self {
        let (protocol, port) = on.split_once(' ').unwrap();
        let protocol = match protocol {
            "TCP" => Protocol::Tcp,
            "UDP" => Protocol::Udp,
            "SCTP" => Protocol::Sctp,
            other => panic!("{other:?} is no protocol"),
        };
        Self {
            protocol,
            port: port.parse().unwrap(),
            lines: lines.iter().map(|line| Line::of(line)).collect(),
        }
    }

    /// Whether one pod may call the other.
    pub fn passes(&self, client: &Pod, server: &Pod) -> bool {
        let about = |line: &&Line| is_among(&line.clients, client) && is_among(&line.servers, server);
        client.name == server.name || self.lines.iter().rev().find(about).is_none_or(|line| line.passes)
    }

    /// A line that is about no pair of them.
    pub fn idle(&self, pods: &[Pod]) -> bool {
        let some = |pattern: &str| pods.iter().any(|pod| is_among(pattern, pod));
        self.lines.iter().any(|line| !some(&line.clients) || !some(&line.servers))
    }
}

impl Line {
    fn of(text: &str) -> Self {
        let (passes, pair) = text.split_once(' ').unwrap();
        let (clients, servers) = pair.split_once(" -> ").unwrap();
        let passes = match passes {
            "yes" => true,
            "no" => false,
            other => panic!("{other:?} is neither yes nor no"),
        };
        Self { passes, clients: clients.to_owned(), servers: servers.to_owned() }
    }
}

fn is_among(pattern: &str, pod: &Pod) -> bool {
    let all_of = pattern.strip_suffix("/*").is_some_and(|namespace| *namespace == *pod.name.namespace);
    pattern == "*" || all_of || pattern == format!("{}/{}", pod.name.namespace, pod.name.name)
}

/// All suites.
pub fn suites() -> Vec<Suite> {
    let text = |name: &str| std::fs::read_to_string(file(&format!("{name}.yaml"))).unwrap();
    FILES.iter().map(|name| serde_saphyr::from_str(&text(name)).unwrap()).collect()
}

/// A file beside the cases.
pub fn file(name: &str) -> PathBuf {
    root().join("tests/scenarios/policies").join(name)
}

/// The objects of manifests in a file, as weir reads them.
pub fn objects(file: PathBuf) -> Vec<Object> {
    ManifestFiles::new(vec![file]).load().unwrap().objects
}

/// The same of a text.
pub fn objects_of(text: &str) -> Vec<Object> {
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(file.path(), text).unwrap();
    objects(file.path().to_owned())
}
