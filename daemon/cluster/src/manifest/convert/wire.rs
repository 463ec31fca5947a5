//! The fields of Kubernetes' objects that are read, under their own names; all others are passed over.
//!
//! Only these, because Kubernetes' complete types cost minutes of every build and a pod's hundreds of fields of time at
//! each load. `null` stands for absent, as it does for Kubernetes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ObjectMeta {
    pub(super) name: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) uid: Option<String>,
    pub(super) creation_timestamp: Option<String>,
    pub(super) generation: Option<u64>,
    pub(super) resource_version: Option<String>,
    pub(super) labels: Option<BTreeMap<String, String>>,
    pub(super) annotations: Option<BTreeMap<String, String>>,
    pub(super) owner_references: Option<Vec<OwnerReference>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct OwnerReference {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) controller: Option<bool>,
}

/// An object with specification and status, the latter passed over unless its type is named.
#[derive(Debug, Deserialize)]
pub(super) struct Whole<Spec, Status = IgnoredAny> {
    #[serde(default)]
    pub(super) metadata: ObjectMeta,
    pub(super) spec: Option<Spec>,
    pub(super) status: Option<Status>,
}

/// An object of which only the metadata matters.
#[derive(Debug, Deserialize)]
pub(super) struct Bare {
    #[serde(default)]
    pub(super) metadata: ObjectMeta,
}

pub(super) type Pod = Whole<PodSpec, PodStatus>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodSpec {
    pub(super) node_name: Option<String>,
    pub(super) host_network: Option<bool>,
    pub(super) service_account_name: Option<String>,
    pub(super) containers: Option<Vec<Container>>,
    pub(super) init_containers: Option<Vec<Container>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Container {
    pub(super) ports: Option<Vec<ContainerPort>>,
    pub(super) restart_policy: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerPort {
    pub(super) name: Option<String>,
    pub(super) container_port: i32,
    pub(super) protocol: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct PodStatus {
    pub(super) phase: Option<String>,
    #[serde(rename = "podIP")]
    pub(super) pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pub(super) pod_ips: Option<Vec<Ip>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Ip {
    pub(super) ip: String,
}

pub(super) type Node = Whole<NodeSpec, NodeStatus>;

#[derive(Debug, Default, Deserialize)]
pub(super) struct NodeSpec {
    #[serde(rename = "podCIDR")]
    pub(super) pod_cidr: Option<String>,
    #[serde(rename = "podCIDRs")]
    pub(super) pod_cidrs: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct NodeStatus {
    pub(super) addresses: Option<Vec<NodeAddress>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct NodeAddress {
    pub(super) address: String,
    #[serde(rename = "type")]
    pub(super) type_: String,
}

pub(super) type Service = Whole<ServiceSpec, ServiceStatus>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceSpec {
    #[serde(rename = "type")]
    pub(super) type_: Option<String>,
    #[serde(rename = "clusterIP")]
    pub(super) cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    pub(super) cluster_ips: Option<Vec<String>>,
    #[serde(rename = "externalIPs")]
    pub(super) external_ips: Option<Vec<String>>,
    pub(super) external_name: Option<String>,
    pub(super) ports: Option<Vec<ServicePort>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServicePort {
    pub(super) name: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) port: i32,
    pub(super) node_port: Option<i32>,
    pub(super) target_port: Option<NumberOrName>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a number or a name")]
pub(super) enum NumberOrName {
    Number(i32),
    Name(String),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceStatus {
    pub(super) load_balancer: Option<LoadBalancerStatus>,
}

#[derive(Debug, Deserialize)]
pub(super) struct LoadBalancerStatus {
    pub(super) ingress: Option<Vec<Ingress>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Ingress {
    pub(super) ip: Option<String>,
}

pub(super) type ServiceCidr = Whole<ServiceCidrSpec>;

#[derive(Debug, Deserialize)]
pub(super) struct ServiceCidrSpec {
    pub(super) cidrs: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndpointSlice {
    #[serde(default)]
    pub(super) metadata: ObjectMeta,
    pub(super) address_type: String,
    pub(super) endpoints: Option<Vec<Endpoint>>,
    pub(super) ports: Option<Vec<EndpointPort>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Endpoint {
    pub(super) addresses: Vec<String>,
    pub(super) conditions: Option<Conditions>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Conditions {
    pub(super) ready: Option<bool>,
    pub(super) serving: Option<bool>,
    pub(super) terminating: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub(super) struct EndpointPort {
    pub(super) name: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) port: Option<i32>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Endpoints {
    #[serde(default)]
    pub(super) metadata: ObjectMeta,
    pub(super) subsets: Option<Vec<Subset>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Subset {
    pub(super) addresses: Option<Vec<Ip>>,
    pub(super) not_ready_addresses: Option<Vec<Ip>>,
    pub(super) ports: Option<Vec<EndpointPort>>,
}
