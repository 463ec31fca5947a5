//! Random changes, and a model so simple that it must be right: keep every state of the cluster, and look through all of
//! its objects for each question.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::EndpointKind;

#[derive(Clone, Debug)]
enum Change {
    Apply(Object),
    Delete(ObjectKey),
    Replace(Vec<Object>),
}

/// All states, each with the time it began.
#[derive(Default)]
struct Model {
    states: Vec<(UnixNanos, BTreeMap<ObjectKey, Object>)>,
}

impl Model {
    fn change(&mut self, change: Change, time: UnixNanos) {
        let mut objects = self.states.last().map(|(_, objects)| objects.clone()).unwrap_or_default();
        match change {
            Change::Apply(object) => drop(objects.insert(object.key(), object)),
            Change::Delete(key) => drop(objects.remove(&key)),
            Change::Replace(all) => {
                objects = all.into_iter().map(|object| (object.key(), object)).collect();
            }
        }
        self.states.push((time, objects));
    }

    fn objects(&self, time: UnixNanos) -> impl Iterator<Item = &Object> {
        let state = self.states.iter().rev().find(|(from, _)| *from <= time);
        state.into_iter().flat_map(|(_, objects)| objects.values())
    }

    /// Kind and pod or node that holds the address, by going through the reasons from the strongest on.
    fn holder(&self, address: IpAddr, time: UnixNanos) -> Option<(EndpointKind, Arc<str>)> {
        let objects: Vec<_> = self.objects(time).collect();
        let pods = || {
            objects.iter().filter_map(|object| match object {
                Object::Pod(pod) if pod.phase.owns_address() && pod.addresses.contains(&address) => Some(pod),
                _ => None,
            })
        };
        let nodes = || {
            objects.iter().filter_map(|object| match object {
                Object::Node(node) => Some(node),
                _ => None,
            })
        };
        let newest = |host_network: bool| {
            pods()
                .filter(|pod| pod.host_network == host_network)
                .max_by(|a, b| (a.created, &a.uid, &a.name).cmp(&(b.created, &b.uid, &b.name)))
        };
        let by_node = nodes().filter(|node| node.addresses.contains(&address));
        let is_gateway = |node: &&Node| {
            node.pod_cidrs.iter().any(|net| net.hosts().next() == Some(address) || net.network() == address)
        };
        let is_vip = objects.iter().any(
            |object| matches!(object, Object::Service(service) if service.cluster_addresses.contains(&address)),
        );
        by_node
            .max_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)))
            .map(|node| (EndpointKind::Node, Arc::clone(&node.name)))
            .or_else(|| newest(true).map(|pod| (EndpointKind::Node, Arc::clone(&pod.node))))
            .or_else(|| newest(false).map(|pod| (EndpointKind::Pod, Arc::clone(&pod.name.name))))
            .or_else(|| {
                let node =
                    nodes().filter(is_gateway).max_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
                node.map(|node| (EndpointKind::Node, Arc::clone(&node.name)))
            })
            .or_else(|| is_vip.then(|| (EndpointKind::Service, "".into())))
    }

    fn endpoint(&self, address: IpAddr, time: UnixNanos) -> (EndpointKind, Arc<str>) {
        if let Some(holder) = self.holder(address, time) {
            return holder;
        }
        let last = self.states.iter().rev().find_map(|(from, _)| self.holder(address, *from));
        let was_inside = last.is_some_and(|(kind, _)| kind != EndpointKind::Node);
        let mut ever = self.states.iter().flat_map(|(_, objects)| objects.values());
        let in_range = ever.any(|object| {
            matches!(object, Object::Node(node) if node.pod_cidrs.iter().any(|net| net.contains(&address)))
        });
        let kind = if was_inside || in_range { EndpointKind::Unmanaged } else { EndpointKind::World };
        (kind, "".into())
    }

    fn services_behind(&self, address: IpAddr, time: UnixNanos) -> Vec<ServicePort> {
        let mut found: Vec<_> = self
            .objects(time)
            .filter_map(|object| match object {
                Object::EndpointSlice(slice) => Some(slice),
                _ => None,
            })
            .filter(|slice| slice.set.addresses.iter().any(|(other, _)| *other == address))
            .map(|slice| http_of(&slice.service))
            .collect();
        found.sort();
        found.dedup();
        found
    }

    fn frontend(&self, address: IpAddr, time: UnixNanos) -> Option<ServicePort> {
        let services = self.objects(time).filter_map(|object| match object {
            Object::Service(service) if service.cluster_addresses.contains(&address) => Some(service),
            _ => None,
        });
        services.map(|service| http_of(&service.name.name)).min()
    }
}

/// Few addresses and names, so that objects meet.
fn any_address() -> impl Strategy<Value = IpAddr> {
    (0..6_u8).prop_map(|last| IpAddr::from([10, 244, 1, last]))
}

fn any_pod() -> impl Strategy<Value = Object> {
    let phase = prop_oneof![Just(PodPhase::Running), Just(PodPhase::Pending), Just(PodPhase::Failed)];
    let flags = (0..4_u64, prop::bool::weighted(0.2), phase);
    ("[a-d]", prop::collection::vec(any_address(), 0..3), flags).prop_map(
        |(name, addresses, (created, host_network, phase))| {
            let mut made = pod("shop", &name, "10.244.1.2");
            made.addresses = addresses;
            made.created = at(created);
            (made.host_network, made.phase) = (host_network, phase);
            made.into()
        },
    )
}

fn any_object() -> impl Strategy<Value = Object> {
    let node = ("[xy]", any_address(), 0..3_u8).prop_map(|(name, address, net)| {
        node(&name, &address.to_string(), &format!("10.244.{net}.0/24")).into()
    });
    let service = ("[st]", any_address())
        .prop_map(|(name, address)| service("shop", &name, &address.to_string()).into());
    let slice = ("[mn]", "[st]", prop::collection::vec(any_address(), 0..4)).prop_map(|(name, of, all)| {
        let mut made = slice(&name, &of, &[]);
        made.set.addresses = all.into_iter().map(|address| (address, Condition::READY)).collect();
        made.into()
    });
    prop_oneof![4 => any_pod(), 1 => node, 1 => service, 2 => slice]
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => any_object().prop_map(Change::Apply),
        3 => any_object().prop_map(|object| Change::Delete(object.key())),
        1 => prop::collection::vec(any_object(), 0..8).prop_map(Change::Replace),
    ]
}

proptest! {
    #[test]
    fn look_ups_at_any_time_agree_with_the_model(
        changes in prop::collection::vec((0..3_u64, any_change()), 0..40),
    ) {
        let (mut cluster, mut model, mut now) = (Cluster::default(), Model::default(), 1);
        cluster.apply(node("first", "192.168.0.1", "10.244.9.0/24").into(), at(now));
        model.change(Change::Apply(node("first", "192.168.0.1", "10.244.9.0/24").into()), at(now));
        for (step, change) in changes {
            now += step;
            model.change(change.clone(), at(now));
            match change {
                Change::Apply(object) => cluster.apply(object, at(now)),
                Change::Delete(key) => cluster.delete(&key, at(now)),
                Change::Replace(objects) => cluster.replace(objects, at(now)),
            }
        }
        for time in (0..now + 2).map(at) {
            for address in (0..6).map(|last| IpAddr::from([10, 244, 1, last])) {
                let found = cluster.endpoint(address, time);
                let named = match found.kind {
                    EndpointKind::Node => &found.node,
                    _ => &found.pod_name,
                };
                prop_assert_eq!((found.kind, Arc::clone(named)), model.endpoint(address, time), "{} at {}", address, time);
                prop_assert_eq!(
                    cluster.services_behind(Protocol::Tcp, address, 8080, time),
                    model.services_behind(address, time)
                );
                prop_assert_eq!(cluster.frontend(Protocol::Tcp, address, 80, time), model.frontend(address, time));
            }
        }
    }
}
