//! What is counted beside connections.

use etherparse::PacketBuilder;

use super::*;
use crate::capture::{Direction, Frame, Interface, LinkType};
use crate::enrich;
use crate::track;
use crate::tuple::{IpProtocol, Tuple};

fn frame(interface: u32, bytes: &[u8]) -> Frame<'_> {
    Frame {
        at: UnixNanos::from_nanos(1_700_000_000_000_000_000),
        interface: InterfaceId(interface),
        direction: Direction::Unknown,
        link: LinkType::ETHERNET,
        original_len: u32::try_from(bytes.len()).unwrap(),
        bytes,
    }
}

fn built(kind: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv6([0xfe; 16], [0xff; 16], 255)
        .icmpv6_raw(kind, 0, [0; 4])
        .write(&mut bytes, &[0; 16])
        .unwrap();
    bytes
}

#[test]
fn packets_are_counted_whether_they_came_or_not() {
    let settings = enrich::Settings { node_name: "node".to_owned(), run: 1, ..enrich::Settings::default() };
    let tracker = Tracker::new(track::Settings::default());
    let mut pipeline = Pipeline::new(decode::Settings::default(), tracker, Enricher::new(settings).unwrap());
    let (cluster, at) = (Cluster::default(), UnixNanos::from_nanos(1_000_000_000));
    let end = |last: u8, port| ([10, 0, 0, last].into(), port);
    let mut batch = Batch::default();
    batch.push_tally(Tally {
        tuple: Tuple::new(IpProtocol::UDP, end(1, 5000), end(2, 6000)),
        interface: InterfaceId(1),
        direction: Direction::Inbound,
        tunnelled: false,
        first: at,
        last: at,
        packets: 7,
        wire_packets: 7,
        ip_bytes: 700,
        frame_bytes: 798,
        payload_bytes: 504,
        tcp: None,
    });
    assert!(batch.push(&frame(1, &built(128))));
    let mut packets = Vec::new();
    let mut out = |output: Output<'_>| {
        if let Output::Flow(flow) = output {
            packets.push(flow.weir.as_ref().unwrap().total.as_ref().unwrap().packets_forward);
        }
    };
    pipeline.take(&Input::Frames(batch), &cluster, &mut out);
    pipeline.finish(&cluster, &mut out);
    packets.sort_unstable();
    assert_eq!((pipeline.counts().frames, pipeline.counts().tallied, pipeline.counts().packets()), (1, 7, 8));
    assert_eq!(packets.last(), Some(&7));
}

#[test]
fn frames_about_their_link_are_counted_by_device() {
    let settings = enrich::Settings { node_name: "node".to_owned(), run: 1, ..enrich::Settings::default() };
    let tracker = Tracker::new(track::Settings::default());
    let mut pipeline = Pipeline::new(decode::Settings::default(), tracker, Enricher::new(settings).unwrap());
    let (cluster, mut flows) = (Cluster::default(), 0);
    let mut out = |_: Output<'_>| flows += 1;
    for (id, name) in [(1, "eth0"), (2, "cni0")] {
        let interface = Interface { index: id, name: name.into(), role: Role::Unknown };
        pipeline.take(&Input::Interface(InterfaceId(id), interface), &cluster, &mut out);
    }
    let ether = |kind: u16| [&[0xff; 12][..], &kind.to_be_bytes(), &[0; 46]].concat();
    let mut batch = Batch::default();
    for (interface, bytes) in [
        (1, ether(0x0806)),
        (1, ether(0x88cc)),
        (2, ether(0x0806)),
        (2, ether(0x0806)),
        (2, built(135)),
        (2, built(143)),
        (2, ether(0x0800)),
        (2, built(128)),
    ] {
        assert!(batch.push(&frame(interface, &bytes)));
    }
    pipeline.take(&Input::Frames(batch), &cluster, &mut out);
    pipeline.finish(&cluster, &mut out);
    let links: Vec<(&str, LinkCounts)> = pipeline.links().collect();
    let eth0 = LinkCounts { arp: 1, not_ip: 1, ..LinkCounts::default() };
    let cni0 = LinkCounts { arp: 2, neighbours: 1, memberships: 1, not_ip: 1 };
    assert_eq!(links, [("eth0", eth0), ("cni0", cni0)]);
    assert_eq!((pipeline.counts().frames, pipeline.counts().link.total()), (8, 7));
    assert!(flows > 0, "the echo request is a connection");
}
