//! The part of Kubernetes' objects that `deploy/weir.yaml` uses. What is not here is an error there.

use std::collections::BTreeMap;

use serde::Deserialize;

type Labels = BTreeMap<String, String>;

macro_rules! strict {
    ($($name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty),* $(,)? })*) => { $(
        #[derive(Debug, PartialEq, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "camelCase")]
        pub struct $name { $($(#[$attribute])* pub $field: $type),* }
    )* };
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields, rename_all_fields = "camelCase")]
#[expect(dead_code, reason = "what is only there to be parsed")]
pub enum Document {
    Namespace { api_version: String, metadata: Metadata },
    ServiceAccount { api_version: String, metadata: Metadata, automount_service_account_token: Option<bool> },
    ClusterRole { api_version: String, metadata: Metadata, rules: Vec<Rule> },
    ClusterRoleBinding { api_version: String, metadata: Metadata, role_ref: RoleRef, subjects: Vec<Subject> },
    ConfigMap { api_version: String, metadata: Metadata, data: BTreeMap<String, String> },
    DaemonSet { api_version: String, metadata: Metadata, spec: DaemonSet },
    Deployment { api_version: String, metadata: Metadata, spec: Deployment },
    Service { api_version: String, metadata: Metadata, spec: Service },
}

impl Document {
    pub const fn metadata(&self) -> &Metadata {
        match self {
            Self::Namespace { metadata, .. }
            | Self::ServiceAccount { metadata, .. }
            | Self::ClusterRole { metadata, .. }
            | Self::ClusterRoleBinding { metadata, .. }
            | Self::ConfigMap { metadata, .. }
            | Self::DaemonSet { metadata, .. }
            | Self::Deployment { metadata, .. }
            | Self::Service { metadata, .. } => metadata,
        }
    }
}

strict! {
    Metadata { name: String, namespace: Option<String>, #[serde(default)] labels: Labels }
    Rule { api_groups: Vec<String>, resources: Vec<String>, verbs: Vec<String> }
    RoleRef { api_group: String, kind: String, name: String }
    Subject { kind: String, name: String, namespace: String }
    Selector { match_labels: Labels }
    RollingUpdate { max_unavailable: String }
    UpdateStrategy { #[serde(rename = "type")] kind: String, rolling_update: RollingUpdate }
    DaemonSet { selector: Selector, update_strategy: UpdateStrategy, template: PodTemplate }
    Deployment { replicas: u32, selector: Selector, template: PodTemplate }
    PodLabels { labels: Labels }
    PodTemplate { metadata: PodLabels, spec: PodSpec }
    Toleration { operator: String }
    PodSpec {
        service_account_name: String,
        automount_service_account_token: Option<bool>,
        priority_class_name: Option<String>,
        #[serde(default)] host_network: bool,
        dns_policy: Option<String>,
        termination_grace_period_seconds: u32,
        #[serde(default)] tolerations: Vec<Toleration>,
        node_selector: Labels,
        containers: Vec<Container>,
        volumes: Vec<Volume>,
    }
    Container {
        name: String,
        image: String,
        image_pull_policy: String,
        command: Vec<String>,
        args: Vec<String>,
        #[serde(default)] env: Vec<Variable>,
        ports: Vec<ContainerPort>,
        liveness_probe: Probe,
        readiness_probe: Probe,
        security_context: SecurityContext,
        resources: Resources,
        volume_mounts: Vec<Mount>,
    }
    Variable { name: String, value_from: ValueFrom }
    ValueFrom { field_ref: FieldRef }
    FieldRef { field_path: String }
    ContainerPort { name: String, container_port: u16, protocol: String }
    Grpc { port: u16, service: String }
    Probe {
        grpc: Grpc,
        period_seconds: u32,
        timeout_seconds: u32,
        failure_threshold: u32,
    }
    Capabilities { #[serde(default)] add: Vec<String>, drop: Vec<String> }
    SeccompProfile { #[serde(rename = "type")] kind: String }
    SecurityContext {
        run_as_user: u32,
        run_as_group: Option<u32>,
        #[serde(default)] run_as_non_root: bool,
        privileged: bool,
        allow_privilege_escalation: bool,
        read_only_root_filesystem: bool,
        capabilities: Capabilities,
        seccomp_profile: SeccompProfile,
    }
    Resources { requests: BTreeMap<String, String>, limits: BTreeMap<String, String> }
    Mount { name: String, mount_path: String, #[serde(default)] read_only: bool }
    EmptyDir { medium: String }
    HostPath { path: String, #[serde(rename = "type")] kind: String }
    ConfigMapName { name: String }
    Volume {
        name: String,
        config_map: Option<ConfigMapName>,
        empty_dir: Option<EmptyDir>,
        host_path: Option<HostPath>,
    }
    ServicePort { name: String, port: u16, target_port: String, protocol: String }
    Service {
        #[serde(rename = "type")] kind: Option<String>,
        #[serde(rename = "clusterIP")] cluster_ip: Option<String>,
        #[serde(default)] publish_not_ready_addresses: bool,
        selector: Labels,
        ports: Vec<ServicePort>,
    }
}
