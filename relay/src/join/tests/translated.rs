//! Connections that more than one node translates, and connections that a node found to be part of another.

use super::*;

const SENT: u64 = 0xa1;
const TRANSLATED: u64 = 0xb2;

/// A pod on n1 calls n2's NodePort: n1 masquerades it.
fn at_the_callers_node() -> Flow {
    with(seen_by("n1", 100, 0.0), |detail| {
        (detail.join_key, detail.destination_node) = (SENT, "n2".into());
        detail.nat = Some(nat("", "192.168.0.1"));
    })
}

/// The NodePort's node sends it to a pod, which sees that node as its client.
fn at_the_node_port() -> Flow {
    let flow = with(seen_by("n2", 100, 0.001), |detail| {
        (detail.join_key, detail.entry_key) = (TRANSLATED, SENT);
        (detail.source_node, detail.destination_node) = ("n1".into(), "n3".into());
        detail.nat = Some(nat("192.168.0.2", "10.244.2.0"));
    });
    Flow {
        ip: Some(Ip { source: "192.168.0.1".into(), destination: "10.244.3.7".into(), ..Ip::default() }),
        destination: Some(Endpoint { pod_name: "api-1".into(), ..Endpoint::default() }),
        ..flow
    }
}

/// The pod's node sees the second translation alone.
fn at_the_backends_node(node: &str) -> Flow {
    with(seen_by(node, 100, 0.002), |detail| {
        (detail.join_key, detail.counts) = (TRANSLATED, false);
        (detail.source_node, detail.destination_node) = ("n2".into(), node.into());
    })
}

fn nat(vip: &str, masquerade: &str) -> Nat {
    Nat { vip: vip.into(), masquerade: masquerade.into(), source: 1, ..Nat::default() }
}

#[test]
fn nodes_in_a_chain_are_one_row_in_any_order() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut nodes = Nodes::default();
        for at in order {
            match at {
                0 => nodes.tell("n1", 3, at_the_callers_node()),
                1 => nodes.tell("n2", 5, at_the_node_port()),
                _ => nodes.tell("n3", 7, at_the_backends_node("n3")),
            }
        }
        let rows: Vec<_> = nodes.rows().into_iter().filter(|row| !row.sightings.is_empty()).collect();
        assert_eq!(rows.len(), 1, "{order:?}: {rows:#?}");
        assert_eq!(rows[0].sightings.len(), 3, "{order:?}");
        let flow = rows[0].flow.clone().unwrap();
        let ip = flow.ip.unwrap();
        assert_eq!((ip.source.as_str(), ip.destination.as_str()), ("10.244.0.5", "10.244.3.7"), "{order:?}");
        assert_eq!(flow.destination.unwrap().pod_name, "api-1");
        let nat = flow.weir.unwrap().nat.unwrap();
        assert_eq!((nat.vip.as_str(), nat.masquerade.as_str()), ("192.168.0.2", "10.244.2.0"));
        assert_eq!(nat.source(), NatSource::Join);
    }
}

#[test]
fn a_backend_on_the_callers_own_node_is_seen_there_twice_and_one_row() {
    let mut nodes = Nodes::default();
    nodes.tell("n1", 3, at_the_callers_node());
    nodes.tell("n1", 4, at_the_backends_node("n1"));
    nodes.tell("n2", 5, at_the_node_port());
    let rows: Vec<_> = nodes.rows().into_iter().filter(|row| !row.sightings.is_empty()).collect();
    assert_eq!(rows.len(), 1, "{rows:#?}");
    assert_eq!(rows[0].sightings.len(), 3);
}

#[test]
fn other_sequence_numbers_are_another_call_whatever_the_keys() {
    let mut nodes = Nodes::default();
    nodes.tell("n1", 3, at_the_callers_node());
    let other = with(at_the_node_port(), |detail| {
        detail.tcp = Some(Tcp { client_isn: 7, server_isn: 8, isn_known: true, ..Tcp::default() });
    });
    nodes.tell("n2", 5, other);
    assert_eq!(nodes.rows().len(), 2);
}

#[test]
fn a_connection_that_is_part_of_another_is_no_row_any_more() {
    let mut nodes = Nodes::default();
    nodes.tell("n1", 1, with(seen_by("n1", 100, 0.0), |detail| detail.join_key = SENT));
    nodes.tell("n1", 2, with(seen_by("n1", 100, 0.0), |detail| detail.join_key = TRANSLATED));
    nodes.tell("n2", 9, at_the_backends_node("n2"));
    assert_eq!(nodes.rows().len(), 2);
    let part = with(seen_by("n1", 100, 0.0), |detail| {
        (detail.join_key, detail.merged_into) = (TRANSLATED, 1);
        detail.reason = Reason::End.into();
    });
    nodes.tell("n1", 2, part);
    nodes.tell("n1", 1, with(seen_by("n1", 100, 0.0), |detail| detail.join_key = TRANSLATED));
    let rows: Vec<_> = nodes.rows().into_iter().filter(|row| !row.sightings.is_empty()).collect();
    assert_eq!(rows.len(), 1, "{rows:#?}");
    let mut ids: Vec<_> =
        rows[0].sightings.iter().map(|flow| flow.weir.as_ref().unwrap().connection_id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 9]);
}
