//! Questions as people ask them, over a cluster as manifests have it.

use std::path::Path;

use weir_cluster::manifest::ManifestFiles;
use weir_cluster::policy::EndError;
use weir_cluster::{Cluster, UnixNanos};
use weir_proto::weir::v1::{ExplainPolicyRequest, ExplainPolicyResponse, PolicyRuling};

use super::{ExplainError, explain};

/// Two pods of a StatefulSet that bears its Service's name, a client, and a pod that shares its node's address.
const CLUSTER: &str = "
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Node, metadata: {name: n1}, spec: {podCIDR: 10.1.0.0/24}, status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}}, spec: {nodeName: n1, containers: []}, status: {phase: Running, podIP: 10.1.0.11}}
---
apiVersion: v1
kind: Pod
metadata: {name: db-0, namespace: shop, labels: {app: db}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: db, uid: u, controller: true}]}
spec: {nodeName: n1, containers: [{name: db, ports: [{name: sql, containerPort: 5432}]}]}
status: {phase: Running, podIP: 10.1.0.20}
---
apiVersion: v1
kind: Pod
metadata: {name: db-1, namespace: shop, labels: {app: db}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: db, uid: u, controller: true}]}
spec: {nodeName: n1, containers: [{name: db, ports: [{name: sql, containerPort: 5432}]}]}
status: {phase: Running, podIP: 10.1.0.21}
---
{apiVersion: v1, kind: Pod, metadata: {name: agent, namespace: shop}, spec: {nodeName: n1, hostNetwork: true, containers: []}, status: {phase: Running, podIP: 192.168.0.1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: new, namespace: shop}, spec: {containers: []}, status: {phase: Pending}}
---
{apiVersion: v1, kind: Service, metadata: {name: db, namespace: shop}, spec: {clusterIP: 10.96.0.9, ports: [{name: sql, port: 3306, targetPort: sql}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-x, namespace: shop, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: sql, port: 5432}]
endpoints: [{addresses: [10.1.0.20], conditions: {ready: true}}, {addresses: [10.1.0.21], conditions: {ready: true}}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db-in, namespace: shop}
spec: {podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: sql}]}]}
";

fn cluster() -> Cluster {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cluster.yaml");
    std::fs::write(&file, CLUSTER).unwrap();
    of(&file)
}

fn of(file: &Path) -> Cluster {
    let snapshot = ManifestFiles::new(vec![file.to_owned()]).load().unwrap();
    let mut cluster = Cluster::default();
    cluster.replace(snapshot.objects, UnixNanos::ZERO);
    cluster
}

fn ask(source: &str, destination: &str, port: u32) -> Result<ExplainPolicyResponse, ExplainError> {
    let [source, destination] = [source, destination].map(str::to_owned);
    let request = ExplainPolicyRequest { source, destination, port, protocol: String::new() };
    explain(&request, &cluster(), "n1")
}

/// Port that is judged, whether it passes, and how many more are alike.
fn answers(source: &str, destination: &str, port: u32) -> Vec<(u32, Option<bool>, u32)> {
    let answer = ask(source, destination, port).unwrap();
    answer.explanations.iter().map(|one| (one.port, one.passes, one.alike)).collect()
}

#[test]
fn a_service_is_what_is_called_where_it_has_the_port_and_else_the_workload_of_its_name() {
    assert_eq!(answers("shop/web", "shop/db", 3306), [(5432, Some(true), 1)], "the Service's port");
    assert_eq!(answers("shop/web", "shop/db", 5432), [(5432, Some(true), 1)], "the pods' own");
    assert_eq!(answers("shop/web", "shop/db", 9999), [(9999, Some(false), 1)], "a port that nobody has");
    assert_eq!(answers("shop/web", "shop/db", 0), [(5432, Some(true), 1)], "every port that is known");
    assert_eq!(answers("shop/web", "shop/db-0", 5432), [(5432, Some(true), 0)], "one pod");
    assert_eq!(answers("shop/web", "10.96.0.9", 3306), [(5432, Some(true), 0)], "the Service's address");
}

#[test]
fn pairs_that_are_judged_alike_are_told_once() {
    assert_eq!(answers("shop/db", "shop/db", 3306), [(5432, Some(true), 1), (5432, Some(false), 1)]);
}

#[test]
fn a_host_network_pod_is_its_node_and_has_no_policies() {
    let answer = ask("shop/db-0", "shop/agent", 80).unwrap();
    let [one] = &answer.explanations[..] else { panic!("{answer:?}") };
    assert_eq!(one.destination.as_ref().unwrap().kind, "node");
    let rulings: Vec<_> = one.judgements.iter().map(weir_proto::weir::v1::PolicyJudgement::ruling).collect();
    assert_eq!((one.passes, rulings), (Some(true), vec![PolicyRuling::Open]));
}

#[test]
fn what_cannot_be_asked_is_refused_with_the_reason() {
    let refused = |source, destination, port| ask(source, destination, port).unwrap_err();
    let end = |error: EndError| ExplainError::End(error);
    let name = |name: &str| name.to_owned();
    assert_eq!(refused("shop/nobody", "shop/db", 1), end(EndError::Unknown { name: name("shop/nobody") }));
    assert_eq!(refused("shop/new", "shop/db", 1), end(EndError::NoAddress { name: name("shop/new") }));
    assert_eq!(refused("shop/web", "8.8.8.8", 0), end(EndError::WhichPort { name: name("8.8.8.8") }));
    assert_eq!(refused("shop/web", "shop/db", 65_536), ExplainError::Port(65_536));
    let request = ExplainPolicyRequest { protocol: "icmp".to_owned(), ..ExplainPolicyRequest::default() };
    assert_eq!(explain(&request, &cluster(), "n1"), Err(ExplainError::Protocol("icmp".to_owned())));
    assert_eq!(explain(&request, &Cluster::default(), "n1"), Err(ExplainError::NoCluster));
}
