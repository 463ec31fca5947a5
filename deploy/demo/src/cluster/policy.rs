//! NetworkPolicies as objects.

use serde_json::{Value, json};

use super::{Made, app_label};
use crate::plan::{Allow, Direction, Policy};

pub fn network_policy(made: &Made, policy: &Policy) -> Value {
    let (key, value) = app_label(&policy.app);
    let rules: Vec<Value> = policy.allow.iter().map(|allow| rule(policy.direction, allow)).collect();
    let (field, kind) = match policy.direction {
        Direction::Ingress => ("ingress", "Ingress"),
        Direction::Egress => ("egress", "Egress"),
    };
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": made.metadata("NetworkPolicy", &policy.namespace, &policy.name),
        "spec": {
            field: rules,
            "podSelector": {"matchLabels": {key: value}},
            "policyTypes": [kind],
        },
    })
}

fn rule(direction: Direction, allow: &Allow) -> Value {
    let peers: Vec<Value> = allow
        .peers
        .iter()
        .map(|(namespace, app)| {
            let (key, value) = app_label(app);
            json!({
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "podSelector": {"matchLabels": {key: value}},
            })
        })
        .collect();
    let ports: Vec<Value> = allow
        .ports
        .iter()
        .map(|(protocol, port)| json!({"port": port, "protocol": protocol.upper()}))
        .collect();
    let peer_field = match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    };
    json!({peer_field: peers, "ports": ports})
}
