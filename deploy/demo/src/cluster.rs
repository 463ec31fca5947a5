//! The plan as `kubectl get namespaces,nodes,pods,services,... -o yaml` would print it: one v1 List.
//!
//! Besides what the world contains it lists what clusters trip their observers with: more host-network pods with one address,
//! and a pod that Succeeded and whose address is another pod's now.

mod policy;
mod yaml;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::plan::{Addresses, Controller, Family, Node, Plan, Pod, Role, Service, ServicePort};
use crate::services::fnv;

/// The manifest file's text. All objects were created at that time.
pub fn manifest(plan: &Plan, created: Timestamp) -> String {
    let made = Made {
        at: created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        seed: plan.seed,
        families: plan.families(),
    };
    let mut items = Vec::new();
    items.extend(plan.namespaces().into_iter().map(|name| made.namespace(name)));
    items.extend(plan.nodes().map(|node| made.node(node)));
    items.extend(made.replica_sets(plan));
    items.extend(plan.pods.iter().map(|pod| made.pod(plan, pod)));
    items.push(made.ended_pod(plan));
    items.extend(plan.nodes().map(|node| made.host_pod(node)));
    items.extend(plan.services().map(|service| made.service(service)));
    let slices = |service| plan.families().iter().map(move |family| (service, *family));
    items.extend(
        plan.services()
            .into_iter()
            .flat_map(slices)
            .map(|(service, family)| made.endpoint_slice(plan, service, family)),
    );
    items.extend(plan.policies().map(|policy| policy::network_policy(&made, policy)));
    yaml::document(
        &json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}}),
    )
}

/// What is alike in all objects: when they were made, and uids that follow from the seed.
struct Made {
    at: String,
    seed: u64,
    families: &'static [Family],
}

impl Made {
    /// The addresses that there are, the first family's first.
    fn addresses(&self, of: Addresses) -> Vec<String> {
        self.families.iter().map(|family| of.of(*family).to_string()).collect()
    }

    fn metadata(&self, kind: &str, namespace: &str, name: &str) -> Value {
        let mut metadata = json!({
            "creationTimestamp": self.at,
            "name": name,
            "resourceVersion": "1000",
            "uid": self.uid(kind, namespace, name),
        });
        if !namespace.is_empty() {
            metadata["namespace"] = json!(namespace);
        }
        metadata
    }

    fn uid(&self, kind: &str, namespace: &str, name: &str) -> String {
        let of = format!("{}/{kind}/{namespace}/{name}", self.seed);
        let (high, low) = (fnv(&of, 0), fnv(&of, 1));
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        )
    }

    fn owner(&self, version: &str, kind: &str, namespace: &str, name: &str) -> Value {
        json!([{
            "apiVersion": version,
            "blockOwnerDeletion": true,
            "controller": true,
            "kind": kind,
            "name": name,
            "uid": self.uid(kind, namespace, name),
        }])
    }

    fn namespace(&self, name: &str) -> Value {
        let mut metadata = self.metadata("Namespace", "", name);
        metadata["labels"] = json!({"kubernetes.io/metadata.name": name});
        json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": metadata,
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        })
    }

    fn node(&self, node: &Node) -> Value {
        let mut metadata = self.metadata("Node", "", &node.name);
        metadata["labels"] = json!({
            "kubernetes.io/hostname": node.name,
            "kubernetes.io/os": "linux",
            "topology.kubernetes.io/zone": format!("zone-{}", node.name),
        });
        metadata["annotations"] = self.flannel(node);
        let cidrs: Vec<String> = self.families.iter().map(|family| node.pods.cidr(*family)).collect();
        let mut addresses: Vec<Value> = self
            .addresses(node.addresses)
            .into_iter()
            .map(|address| json!({"address": address, "type": "InternalIP"}))
            .collect();
        addresses.push(json!({"address": node.name, "type": "Hostname"}));
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": metadata,
            "spec": {"podCIDR": cidrs.first(), "podCIDRs": cidrs},
            "status": {
                "addresses": addresses,
                "conditions": [{"lastTransitionTime": self.at, "status": "True", "type": "Ready"}],
            },
        })
    }

    /// What flanneld tells the others by: the IPv6 overlay has annotations of its own.
    fn flannel(&self, node: &Node) -> Value {
        let mut annotations = json!({"flannel.alpha.coreos.com/backend-type": "vxlan"});
        for family in self.families {
            let (data, address) = match family {
                Family::V4 => ("backend-data", "public-ip"),
                Family::V6 => ("backend-v6-data", "public-ipv6"),
            };
            let mac = node.overlay_mac(*family);
            annotations[format!("flannel.alpha.coreos.com/{data}")] =
                json!(format!("{{\"VNI\":1,\"VtepMAC\":\"{mac}\"}}"));
            annotations[format!("flannel.alpha.coreos.com/{address}")] =
                json!(node.address(*family).to_string());
        }
        annotations
    }

    /// One ReplicaSet for the pods that share a template, each owned by the Deployment of its app's name.
    fn replica_sets(&self, plan: &Plan) -> Vec<Value> {
        let mut sets: Vec<&Pod> = Vec::new();
        for pod in plan.pods.iter().filter(|pod| pod.controller == Controller::Deployment) {
            if !sets.iter().any(|other| other.template_hash == pod.template_hash) {
                sets.push(pod);
            }
        }
        sets.into_iter().map(|pod| self.replica_set(plan, pod)).collect()
    }

    fn replica_set(&self, plan: &Plan, pod: &Pod) -> Value {
        let count = plan.pods.iter().filter(|other| other.template_hash == pod.template_hash).count();
        let mut metadata = self.metadata("ReplicaSet", &pod.namespace, &replica_set_name(pod));
        metadata["labels"] = labels(pod);
        metadata["ownerReferences"] = self.owner("apps/v1", "Deployment", &pod.namespace, &pod.app);
        json!({
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": metadata,
            "spec": {"replicas": count, "selector": {"matchLabels": labels(pod)}},
            "status": {"availableReplicas": count, "readyReplicas": count, "replicas": count},
        })
    }

    fn pod(&self, plan: &Plan, pod: &Pod) -> Value {
        let node = plan.node(pod.place);
        let mut metadata = self.metadata("Pod", &pod.namespace, &pod.name);
        metadata["labels"] = labels(pod);
        let (kind, owner) = match pod.controller {
            Controller::Deployment => ("ReplicaSet", replica_set_name(pod)),
            Controller::StatefulSet => ("StatefulSet", pod.app.clone()),
            Controller::DaemonSet => ("DaemonSet", pod.app.clone()),
        };
        metadata["ownerReferences"] = self.owner("apps/v1", kind, &pod.namespace, &owner);
        let mut container = json!({"image": format!("registry.example/{}:1", pod.app), "name": pod.app});
        let ports: Vec<Value> = plan
            .services()
            .into_iter()
            .filter(|service| service.backends.contains(&pod.role))
            .flat_map(|service| &service.ports)
            .map(|port| {
                json!({"containerPort": port.target, "name": port.name, "protocol": port.protocol.upper()})
            })
            .collect();
        if !ports.is_empty() {
            container["ports"] = json!(ports);
        }
        self.running(&metadata, node, &[container], pod.addresses, pod.host_network)
    }

    /// kube-proxy: its address is the node's.
    fn host_pod(&self, node: &Node) -> Value {
        let name = format!("kube-proxy-{:05x}", fnv(&node.name, 0) & 0xf_ffff);
        let mut metadata = self.metadata("Pod", "kube-system", &name);
        metadata["labels"] = json!({"controller-revision-hash": "5d8f7c6b9", "k8s-app": "kube-proxy"});
        metadata["ownerReferences"] = self.owner("apps/v1", "DaemonSet", "kube-system", "kube-proxy");
        let container = json!({"image": "registry.example/kube-proxy:1", "name": "kube-proxy"});
        self.running(&metadata, node, &[container], node.addresses, true)
    }

    fn running(
        &self,
        metadata: &Value,
        node: &Node,
        containers: &[Value],
        addresses: Addresses,
        host_network: bool,
    ) -> Value {
        let addresses = self.addresses(addresses);
        let listed = |addresses: &[String]| -> Vec<Value> {
            addresses.iter().map(|address| json!({"ip": address})).collect()
        };
        let hosts = self.addresses(node.addresses);
        let mut spec = json!({"containers": containers, "nodeName": node.name, "restartPolicy": "Always"});
        if host_network {
            spec["hostNetwork"] = json!(true);
        }
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": spec,
            "status": {
                "conditions": [{"lastTransitionTime": self.at, "status": "True", "type": "Ready"}],
                "hostIP": hosts.first(),
                "hostIPs": listed(&hosts),
                "phase": "Running",
                "podIP": addresses.first(),
                "podIPs": listed(&addresses),
                "startTime": self.at,
            },
        })
    }

    fn ended_pod(&self, plan: &Plan) -> Value {
        let pod = &plan.ended_pod;
        let mut metadata = self.metadata("Pod", &pod.namespace, &pod.name);
        metadata["labels"] = json!({"app": pod.app, "job-name": pod.app});
        metadata["ownerReferences"] = self.owner("batch/v1", "Job", &pod.namespace, &pod.app);
        let container = json!({"image": "registry.example/migrate:1", "name": "migrate"});
        let node = plan.node(pod.place);
        let mut object = self.running(&metadata, node, &[container], pod.addresses, false);
        object["spec"]["restartPolicy"] = json!("Never");
        object["status"]["phase"] = json!("Succeeded");
        object["status"]["conditions"] = json!([
            {"lastTransitionTime": self.at, "reason": "PodCompleted", "status": "False", "type": "Ready"}
        ]);
        object
    }

    fn service(&self, service: &Service) -> Value {
        let ports: Vec<Value> = service.ports.iter().map(service_port).collect();
        let families: Vec<&str> = self.families.iter().map(|family| family.name()).collect();
        let cluster_ips =
            if service.has_address() { self.addresses(service.addresses) } else { vec!["None".to_owned()] };
        let ingress = service.reach.ingress();
        let kind = match (ingress, service.node_port()) {
            (Some(_), _) => "LoadBalancer",
            (None, Some(_)) => "NodePort",
            (None, None) => "ClusterIP",
        };
        let mut spec = json!({
            "clusterIP": cluster_ips.first(),
            "clusterIPs": cluster_ips,
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": families,
            "ipFamilyPolicy": if families.len() > 1 { "RequireDualStack" } else { "SingleStack" },
            "ports": ports,
            "selector": selector(service),
            "sessionAffinity": if service.sticky { "ClientIP" } else { "None" },
            "type": kind,
        });
        if service.sticky {
            spec["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": 10800}});
        }
        let mut balancer = json!({});
        if let Some(ingress) = ingress {
            spec["externalTrafficPolicy"] = json!("Local");
            spec["allocateLoadBalancerNodePorts"] = json!(false);
            let each: Vec<Value> = self
                .addresses(ingress)
                .into_iter()
                .map(|address| json!({"ip": address, "ipMode": "VIP"}))
                .collect();
            balancer = json!({"ingress": each});
        }
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": self.metadata("Service", &service.namespace, &service.name),
            "spec": spec,
            "status": {"loadBalancer": balancer},
        })
    }

    fn endpoint_slice(&self, plan: &Plan, service: &Service, family: Family) -> Value {
        let hash = fnv(&format!("{} {}", service.path(), family.name()), 0) & 0xf_ffff;
        let name = format!("{}-{hash:05x}", service.name);
        let mut metadata = self.metadata("EndpointSlice", &service.namespace, &name);
        metadata["labels"] = json!({
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            "kubernetes.io/service-name": service.name,
        });
        metadata["ownerReferences"] = self.owner("v1", "Service", &service.namespace, &service.name);
        let endpoints: Vec<Value> =
            plan.backends(service).map(|pod| self.endpoint(plan, pod, family)).collect();
        let ports: Vec<Value> = service
            .ports
            .iter()
            .filter(|_| !endpoints.is_empty())
            .map(|port| json!({"name": port.name, "port": port.target, "protocol": port.protocol.upper()}))
            .collect();
        json!({
            "addressType": family.name(),
            "apiVersion": "discovery.k8s.io/v1",
            "endpoints": endpoints,
            "kind": "EndpointSlice",
            "metadata": metadata,
            "ports": ports,
        })
    }

    fn endpoint(&self, plan: &Plan, pod: &Pod, family: Family) -> Value {
        json!({
            "addresses": [pod.address(family).to_string()],
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "nodeName": plan.node(pod.place).name,
            "targetRef": {
                "kind": "Pod",
                "name": pod.name,
                "namespace": pod.namespace,
                "uid": self.uid("Pod", &pod.namespace, &pod.name),
            },
        })
    }
}

fn replica_set_name(pod: &Pod) -> String {
    format!("{}-{}", pod.app, pod.template_hash)
}

/// Key and value of the label that Services and policies select a pod by.
fn app_label(app: &str) -> (&str, &str) {
    if app == "coredns" { ("k8s-app", "kube-dns") } else { ("app", app) }
}

fn labels(pod: &Pod) -> Value {
    let (key, value) = app_label(&pod.app);
    match pod.controller {
        Controller::Deployment => json!({key: value, "pod-template-hash": pod.template_hash}),
        Controller::DaemonSet => json!({key: value, "controller-revision-hash": pod.template_hash}),
        Controller::StatefulSet => json!({
            key: value,
            "apps.kubernetes.io/pod-index": pod.name.rsplit('-').next(),
            "controller-revision-hash": format!("{}-{}", pod.app, pod.template_hash),
            POD_NAME: pod.name,
        }),
    }
}

/// Label by which one pod of a StatefulSet is selected.
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";

fn selector(service: &Service) -> Value {
    let (key, value) = app_label(&service.selects);
    match service.backends.as_slice() {
        [Role::First] => json!({POD_NAME: format!("{}-0", service.selects)}),
        _ => json!({key: value}),
    }
}

fn service_port(port: &ServicePort) -> Value {
    let mut value = json!({
        "name": port.name,
        "port": port.port,
        "protocol": port.protocol.upper(),
        "targetPort": port.target,
    });
    if let Some(node_port) = port.node_port {
        value["nodePort"] = json!(node_port);
    }
    value
}
