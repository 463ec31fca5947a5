//! Manifests as people have them: kubectl's forms, hand-written ones, and the many ways to be broken.

mod changes;
mod foreign;
mod policies;

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::object::{PodPhase, ServiceType, TargetPort};
use crate::{Cluster, EndpointKind, Protocol, UnixNanos};

/// A directory with files of these names and contents, and their paths.
fn files(contents: &[(&str, &str)]) -> (TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let paths = contents.iter().map(|(name, text)| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    });
    let paths = paths.collect();
    (folder, paths)
}

fn load(text: &str) -> Result<Snapshot, ManifestError> {
    let (_folder, paths) = files(&[("cluster.yaml", text)]);
    ManifestFiles::new(paths).load()
}

/// The error's message without the folder the test made.
fn error_of(text: &str) -> String {
    let (folder, paths) = files(&[("cluster.yaml", text)]);
    message(folder.path(), &ManifestFiles::new(paths).load().unwrap_err())
}

fn message(folder: &Path, error: &ManifestError) -> String {
    error.to_string().replace(&format!("{}/", folder.display()), "")
}

fn names(snapshot: &Snapshot) -> Vec<String> {
    snapshot.objects.iter().map(|object| error::describe(&object.key())).collect()
}

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, creationTimestamp: '2026-01-02T03:04:05Z', uid: u-1}
spec: {nodeName: node-a}
status: {phase: Running, podIP: 10.244.1.5}
";

/// As `kubectl get pods,services,... -A -o yaml` prints: keys in the order of the alphabet, the list's kind at its end.
const KUBECTL_LIST: &str = r#"
apiVersion: v1
items:
- apiVersion: v1
  kind: Pod
  metadata:
    annotations:
      kubernetes.io/config.source: api
    creationTimestamp: "2026-01-02T03:04:05Z"
    labels: {app: web, pod-template-hash: 5d9f}
    name: web-5d9f-x
    namespace: shop
    ownerReferences:
    - {apiVersion: apps/v1, controller: true, kind: ReplicaSet, name: web-5d9f, uid: r-1}
    uid: u-1
  spec:
    containers:
    - name: web
      ports: [{containerPort: 8080, name: http, protocol: TCP}]
      resources: {limits: {cpu: 500m, memory: 64Mi}}
    hostNetwork: false
    nodeName: node-a
    serviceAccountName: seller
  status:
    phase: Running
    podIP: 10.244.1.5
    podIPs: [{ip: 10.244.1.5}, {ip: "fd00:1::5"}]
- apiVersion: v1
  kind: Service
  metadata: {name: web, namespace: shop}
  spec:
    clusterIP: 10.96.0.10
    clusterIPs: [10.96.0.10]
    externalIPs: [203.0.113.9]
    ports: [{name: http, nodePort: 30080, port: 80, protocol: TCP, targetPort: http}]
    type: LoadBalancer
  status:
    loadBalancer: {ingress: [{ip: 203.0.113.5}, {hostname: lb.example.org}]}
- addressType: IPv4
  apiVersion: discovery.k8s.io/v1
  endpoints:
  - addresses: [10.244.1.5]
    conditions: {ready: true, serving: true, terminating: false}
  - addresses: [10.244.1.6]
    conditions: {ready: false}
  kind: EndpointSlice
  metadata:
    labels: {kubernetes.io/service-name: web}
    name: web-abc
    namespace: shop
  ports: [{name: http, port: 8080, protocol: TCP}]
- apiVersion: v1
  kind: Node
  metadata:
    annotations: {projectcalico.org/IPv4VXLANTunnelAddr: 10.244.1.193}
    name: node-a
  spec: {podCIDR: 10.244.1.0/24, podCIDRs: [10.244.1.0/24]}
  status:
    addresses:
    - {address: 192.168.0.1, type: InternalIP}
    - {address: node-a, type: Hostname}
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: web, namespace: shop}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: deny, namespace: shop}
  spec: {podSelector: {}}
kind: List
metadata:
  resourceVersion: ""
"#;

#[test]
fn a_list_of_kubectl_answers_look_ups() {
    let snapshot = load(KUBECTL_LIST).unwrap();
    assert_eq!(
        names(&snapshot),
        [
            "Pod shop/web-5d9f-x",
            "Service shop/web",
            "EndpointSlice shop/web-abc",
            "Node node-a",
            "NetworkPolicy shop/deny"
        ]
    );
    let ignored: Vec<_> = snapshot.ignored.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
    assert_eq!(ignored, [("apps/v1 Deployment", 1)]);

    let mut cluster = Cluster::default();
    cluster.replace(snapshot.objects, UnixNanos::from_nanos(7));
    let ip = |text: &str| text.parse().unwrap();
    let pod = cluster.endpoint(ip("fd00:1::5"), UnixNanos::MAX);
    assert_eq!((&*pod.namespace, &*pod.pod_name, &*pod.node), ("shop", "web-5d9f-x", "node-a"));
    assert_eq!(&*pod.workload.as_ref().unwrap().name, "web");
    assert!(pod.labels.contains(&"k8s:io.cilium.k8s.policy.serviceaccount=seller".to_owned()));
    assert_eq!(cluster.endpoint(ip("10.244.1.193"), UnixNanos::MAX).kind, EndpointKind::Node);
    for (address, port) in
        [("10.96.0.10", 80), ("203.0.113.9", 80), ("203.0.113.5", 80), ("192.168.0.1", 30080)]
    {
        let found = cluster.frontend(Protocol::Tcp, ip(address), port, UnixNanos::MAX).unwrap();
        assert_eq!(&*found.name, "web", "{address}:{port}");
        assert!(cluster.has_ready_backend(&found, UnixNanos::MAX));
        assert_eq!(cluster.backends(&found, UnixNanos::MAX).len(), 2);
    }
}

#[test]
fn multi_document_yaml_takes_comments_defaults_and_empty_documents() {
    let text = format!(
        "# the shop\n---\n{POD}---\n# nothing here\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: db}}\n\
         spec: {{clusterIP: None, ports: [{{port: 5432}}]}}\n"
    );
    let snapshot = load(&text).unwrap();
    assert_eq!(names(&snapshot), ["Pod shop/web-1", "Service default/db"]);
    let [Object::Pod(pod), Object::Service(service)] = snapshot.objects.as_slice() else { panic!() };
    assert_eq!((pod.phase, &*pod.service_account), (PodPhase::Running, "default"));
    assert_eq!(pod.created, UnixNanos::from_parts(1_767_323_045, 0));
    assert!(service.is_headless());
    assert_eq!(service.service_type, ServiceType::ClusterIp);
    assert_eq!(service.ports[0].protocol, Protocol::Tcp);
    assert_eq!(service.ports[0].target_port, TargetPort::Number(5432));
}

#[test]
fn json_may_be_a_list_or_several_objects() {
    let list = r#"{"kind":"PodList","apiVersion":"v1","items":[
        {"metadata":{"name":"a"},"spec":{},"status":{"podIP":"10.0.0.1"}},
        {"metadata":{"name":"b"},"spec":{},"status":{"phase":"Failed"}}]}"#;
    assert_eq!(names(&load(list).unwrap()), ["Pod default/a", "Pod default/b"]);
    let two = r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"}}
        {"apiVersion":"v1","kind":"Namespace","metadata":{"name":"b"}}"#;
    assert_eq!(names(&load(two).unwrap()), ["Namespace a", "Namespace b"]);
}

#[test]
fn items_of_a_typed_list_may_come_before_its_kind() {
    let text = "apiVersion: v1\nitems:\n- metadata: {name: a}\n- metadata: {name: b}\nkind: NamespaceList\n";
    assert_eq!(names(&load(text).unwrap()), ["Namespace a", "Namespace b"]);
    let ignored = load("apiVersion: v1\nitems:\n- metadata: {name: a}\nkind: SecretList\n").unwrap().ignored;
    assert_eq!(ignored.into_iter().collect::<Vec<_>>(), [("v1 Secret".to_owned(), 1)]);
}

#[test]
fn a_list_without_items_is_an_empty_cluster() {
    for text in ["apiVersion: v1\nkind: List\nitems: []\n", "apiVersion: v1\nkind: PodList\nitems: null\n"] {
        assert_eq!(load(text).unwrap(), Snapshot::default());
    }
}

#[test]
fn endpoints_and_service_ranges_are_read() {
    let text = "
apiVersion: v1
kind: Endpoints
metadata: {name: db, namespace: shop}
subsets:
- addresses: [{ip: 10.0.0.1}]
  notReadyAddresses: [{ip: 10.0.0.2}]
  ports: [{port: 5432, protocol: TCP}]
---
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: {name: kubernetes}
spec: {cidrs: [10.96.0.0/12]}
status: {conditions: []}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: of-nobody, namespace: shop}
addressType: IPv4
endpoints: []
";
    let snapshot = load(text).unwrap();
    assert_eq!(names(&snapshot), ["Endpoints shop/db", "ServiceCIDR kubernetes"]);
    assert_eq!(snapshot.ignored["discovery.k8s.io/v1 EndpointSlice"], 1);
    let mut cluster = Cluster::default();
    cluster.replace(snapshot.objects, UnixNanos::ZERO);
    let behind = cluster.services_behind(Protocol::Tcp, "10.0.0.2".parse().unwrap(), 5432, UnixNanos::MAX);
    let conditions = cluster.backend_conditions(&behind[0], UnixNanos::MAX);
    assert_eq!(conditions.iter().map(|(_, condition)| condition.ready).collect::<Vec<_>>(), [true, false]);
    let vip = "10.100.0.1".parse().unwrap();
    assert_eq!(cluster.endpoint(vip, UnixNanos::MAX).kind, EndpointKind::Unmanaged);
}

#[test]
fn a_wrong_field_is_named_with_file_document_object_and_path() {
    let service = |ports: &str| {
        format!(
            "{POD}---\napiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop}}\nspec: {{ports: [{ports}]}}\n"
        )
    };
    let prefix = "manifest cluster.yaml, document 2 (Service shop/web): field spec.ports[0]";
    assert_eq!(
        error_of(&service("{port: eighty}")),
        format!("{prefix}.port: invalid type: string \"eighty\", expected i32")
    );
    assert_eq!(
        error_of(&service("{port: 65536}")),
        format!("{prefix}.port: 65536 is not a port from 1 to 65535")
    );
    assert_eq!(
        error_of(&service("{port: 80, protocol: tcp}")),
        format!("{prefix}.protocol: \"tcp\" is none of TCP, UDP and SCTP")
    );
}

#[test]
fn a_wrong_item_of_a_list_is_named_by_its_index() {
    let text = KUBECTL_LIST.replace("{ip: 10.244.1.5}", "{ip: 10.244.1.555}");
    assert_eq!(
        error_of(&text),
        "manifest cluster.yaml, document 1, items[0] (Pod shop/web-5d9f-x): field status.podIPs[0]: \
         \"10.244.1.555\" is not an IP address"
    );
}

#[test]
fn what_every_object_must_have_is_asked_for() {
    let missing = "is missing; is the file complete?";
    for (text, expected) in [
        (
            "apiVersion: v1\nmetadata: {name: a}\n",
            format!("(object of unknown kind a): field kind: {missing}"),
        ),
        ("kind: Pod\nmetadata: {name: a}\n", format!("(Pod a): field apiVersion: {missing}")),
        ("apiVersion: v1\nkind: Pod\n", format!("(Pod): field spec: {missing}")),
        ("apiVersion: v1\nkind: Namespace\n", format!("(Namespace): field metadata.name: {missing}")),
        ("apiVersion: v1\nkind: List\n", format!("(v1 List): field items: {missing}")),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a, creationTimestamp: today}\nspec: {}\n",
            "(Pod a): field metadata.creationTimestamp: \"today\" is not a time as 2026-01-02T03:04:05Z"
                .to_owned(),
        ),
        ("apiVersion: 1\nkind: Pod\n", "(Pod): field apiVersion: is not a string".to_owned()),
    ] {
        assert_eq!(error_of(text), format!("manifest cluster.yaml, document 1 {expected}"));
    }
}

#[test]
fn a_file_cut_short_anywhere_within_a_list_is_an_error() {
    let json = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}]});
    for text in [KUBECTL_LIST.trim().to_owned(), json.to_string()] {
        let body = text.find("kind: List").unwrap_or(text.len());
        for end in (1..body).step_by(7) {
            if text.is_char_boundary(end) {
                assert!(load(&text[..end]).is_err(), "accepted: {}", &text[..end]);
            }
        }
    }
}

#[test]
fn what_is_no_manifest_is_refused_with_the_place() {
    for (text, expected) in [
        ("just a sentence\n", "manifest cluster.yaml, document 1 cannot be parsed: "),
        ("- a\n- b\n", "manifest cluster.yaml, document 1 cannot be parsed: "),
        ("a: [1, 2\nb: }\n", "manifest cluster.yaml, document 1 cannot be parsed: "),
        ("{\"kind\": \"Pod\",", "manifest cluster.yaml, document 1 cannot be parsed: EOF"),
        ("apiVersion: v1\nkind: List\nitems: 5\n", "manifest cluster.yaml, document 1 cannot be parsed: "),
        (
            "apiVersion: v1\nkind: List\nitems: [5]\n",
            "manifest cluster.yaml, document 1, items[0] (object of",
        ),
        ("", "manifest cluster.yaml is empty; "),
        (" \n\t\n", "manifest cluster.yaml is empty; "),
        ("# only a comment\n---\n", "manifest cluster.yaml is empty; "),
    ] {
        let error = error_of(text);
        assert!(error.starts_with(expected), "{text:?} gave {error}");
        assert!(!error.contains('\n'), "{error}");
    }
    let second = error_of(&format!("{POD}---\na: [1\n"));
    assert!(second.starts_with("manifest cluster.yaml, document 2 cannot be parsed: "), "{second}");
    assert!(second.contains("line"), "{second}");
}

#[test]
fn files_that_are_no_text_or_no_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.yaml");
    let error_of =
        |path: &Path| message(folder.path(), &ManifestFiles::new(vec![path.to_owned()]).load().unwrap_err());
    fs::write(&path, b"kind: Pod\0\x01\x02").unwrap();
    assert_eq!(error_of(&path), "manifest cluster.yaml is not text: byte 9 is zero; is it a binary file?");
    fs::write(&path, b"kind: \xff\xfe").unwrap();
    assert_eq!(
        error_of(&path),
        "manifest cluster.yaml is not text: byte 6 is not UTF-8; is it a binary file?"
    );
    fs::create_dir(folder.path().join("folder")).unwrap();
    assert_eq!(
        error_of(&folder.path().join("folder")),
        "cannot read manifest folder: it is a directory; name the manifest files one by one"
    );
    assert!(error_of(Path::new("/dev/zero")).contains("it is not a regular file"));
    assert!(
        error_of(&folder.path().join("nowhere.yaml"))
            .starts_with("cannot read manifest nowhere.yaml: No such file")
    );
    // Even root may not read a process's memory at address 0: as unreadable as a file gets.
    assert!(matches!(
        ManifestFiles::new(vec!["/proc/self/mem".into()]).load(),
        Err(ManifestError::Unreadable { .. })
    ));
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.yaml");
    fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
    let error = ManifestFiles::new(vec![path]).load().unwrap_err();
    assert!(matches!(error, ManifestError::TooLarge { bytes: 0x4000_0000, .. }), "{error}");
}

#[test]
fn blown_up_yaml_ends_in_an_error() {
    let mut laughs = String::from("a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]\n");
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert!(error_of(&laughs).contains("cannot be parsed"));
    assert!(error_of(&format!("a: {}", "[".repeat(100_000))).contains("cannot be parsed"));
    assert!(error_of(&format!("{{\"a\": {}", "[".repeat(100_000))).contains("cannot be parsed"));
    let mut nested = String::new();
    for depth in 0..2_000 {
        nested.push_str(&format!("{}a:\n", " ".repeat(depth)));
    }
    assert!(error_of(&nested).contains("cannot be parsed"));
}

#[test]
fn many_small_objects_are_no_bomb() {
    let mut text = String::from("apiVersion: v1\nkind: List\nitems:\n");
    for n in 0..30_000 {
        text.push_str(&format!(
            "- {{apiVersion: v1, kind: Namespace, metadata: {{name: n{n}, labels: {{a: b}}}}}}\n"
        ));
    }
    assert_eq!(load(&text).unwrap().objects.len(), 30_000);
}

#[test]
fn the_same_object_twice_is_fine_and_a_contradiction_is_not() {
    let (_folder, paths) = files(&[("a.yaml", POD), ("b.yaml", &format!("---{POD}---{POD}"))]);
    assert_eq!(ManifestFiles::new(paths).load().unwrap().objects.len(), 1);
    let moved = POD.replace("10.244.1.5", "10.244.1.6");
    let (folder, paths) = files(&[("a.yaml", POD), ("b.yaml", &format!("{KUBECTL_LIST}---{moved}"))]);
    assert_eq!(
        message(folder.path(), &ManifestFiles::new(paths).load().unwrap_err()),
        "manifests contradict each other: Pod shop/web-1 in a.yaml, document 1 differs from that in \
         b.yaml, document 2; remove one"
    );
}
