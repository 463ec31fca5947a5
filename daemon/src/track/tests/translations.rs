//! Every translation that a node makes, told three ways: with conntrack's word, without it, and from the middle of a connection.
//!
//! Where only one end changes, equal packets are enough. Where both do, nothing but conntrack can tell, and without it weir
//! tells two connections rather than guess.

use super::*;

const CARD: (u32, Role) = (7, Role::Underlay);
const BRIDGE: (u32, Role) = (8, Role::Bridge);
const OUTSIDE: &str = "203.0.113.9:51000";
const ABROAD: &str = "203.0.113.9:443";
const LOCAL: &str = "10.244.1.9:8080";
const MASQUERADE: &str = "192.168.0.1:20001";

/// Where a forward packet passes, and in which form.
type Hop = ((u32, Role), Direction, (&'static str, &'static str));

/// A translation: the way through the node, the first form and the last one.
struct Translation {
    name: &'static str,
    way: &'static [Hop],
    /// Equal packets suffice, since every form shares an end with the next.
    evident: bool,
}

const IN: Direction = Direction::Inbound;
const OUT: Direction = Direction::Outbound;

/// kube-proxy's iptables, nftables and IPVS modes give the same forms; they differ in who makes them and in what conntrack
/// says (`ipvs_without_conntrack`).
const TRANSLATIONS: &[Translation] = &[
    Translation {
        name: "ClusterIP, backend on another node",
        way: &[(VETH, IN, (CLIENT, VIP)), (FLANNEL, OUT, (CLIENT, BACKEND)), (ETH0, OUT, (CLIENT, BACKEND))],
        evident: true,
    },
    Translation {
        name: "ClusterIP, backend here",
        way: &[(VETH, IN, (CLIENT, VIP)), (PEER_VETH, OUT, (CLIENT, LOCAL))],
        evident: true,
    },
    Translation {
        name: "hairpin: a pod that gets itself",
        way: &[(VETH, IN, ("10.244.1.9:40000", VIP)), (VETH, OUT, (MASQUERADE, LOCAL))],
        evident: false,
    },
    Translation {
        name: "masquerade on the way out of the cluster",
        way: &[(VETH, IN, (CLIENT, ABROAD)), (CARD, OUT, (MASQUERADE, ABROAD))],
        evident: true,
    },
    Translation {
        name: "masquerade on the way in: a pod of a network that the backend cannot answer",
        way: &[(CARD, IN, (OUTSIDE, LOCAL)), (VETH, OUT, (MASQUERADE, LOCAL))],
        evident: true,
    },
    Translation {
        name: "NodePort, externalTrafficPolicy Local",
        way: &[(CARD, IN, (OUTSIDE, "192.168.0.1:30080")), (VETH, OUT, (OUTSIDE, LOCAL))],
        evident: true,
    },
    Translation {
        name: "NodePort, externalTrafficPolicy Cluster, backend here",
        way: &[(CARD, IN, (OUTSIDE, "192.168.0.1:30080")), (VETH, OUT, (MASQUERADE, LOCAL))],
        evident: false,
    },
    Translation {
        name: "NodePort, externalTrafficPolicy Cluster, backend on another node",
        way: &[
            (CARD, IN, (OUTSIDE, "192.168.0.1:30080")),
            (FLANNEL, OUT, ("10.244.1.0:20001", BACKEND)),
            (ETH0, OUT, ("10.244.1.0:20001", BACKEND)),
        ],
        evident: false,
    },
    Translation {
        name: "load balancer that leaves its address in the packet, Local",
        way: &[(CARD, IN, (OUTSIDE, "198.51.100.7:80")), (VETH, OUT, (OUTSIDE, LOCAL))],
        evident: true,
    },
    Translation {
        name: "load balancer that calls the NodePort itself",
        way: &[(CARD, IN, ("198.51.100.7:33000", "192.168.0.1:30080")), (VETH, OUT, (MASQUERADE, LOCAL))],
        evident: false,
    },
    Translation {
        name: "ClusterIP in front of a node, through a bridge that shows the form in between",
        way: &[
            (VETH, IN, (CLIENT, VIP)),
            (BRIDGE, IN, (CLIENT, "192.168.0.2:9100")),
            (CARD, OUT, (MASQUERADE, "192.168.0.2:9100")),
        ],
        evident: true,
    },
];

impl Translation {
    fn form(&self, hop: &Hop) -> Tuple {
        tuple(hop.2.0, hop.2.1)
    }

    fn first(&self) -> Tuple {
        self.form(&self.way[0])
    }

    fn last(&self) -> Tuple {
        self.form(&self.way[self.way.len() - 1])
    }

    fn passes(&self, world: &mut World, flags: u16, numbers: (u32, u32)) {
        for hop in self.way {
            world.tcp(hop.0, hop.1, self.form(hop), flags, numbers);
        }
    }

    fn comes_back(&self, world: &mut World, flags: u16, numbers: (u32, u32)) {
        for hop in self.way.iter().rev() {
            let back = crate::track::connection::opposite(hop.1);
            world.tcp(hop.0, back, self.form(hop).reversed(), flags, numbers);
        }
    }

    fn testifies(&self, world: &mut World) {
        world.conntrack(self.first(), self.last().reversed());
    }

    /// Four packets there and three back; the handshake is left out `from_the_middle`.
    fn talk(&self, world: &mut World, from_the_middle: bool) {
        if !from_the_middle {
            self.passes(world, SYN, (100, 0));
            self.comes_back(world, SYN_ACK, (900, 101));
        }
        for number in 0..3 {
            self.passes(world, ACK, (101 + number, 901));
            self.comes_back(world, ACK, (901, 102 + number));
        }
    }

    /// One connection with the right ends; or where nothing tells, as many as there are forms, and none called translated.
    fn is_told(&self, world: &mut World, source: NatSource, midstream: bool) {
        let joined = self.evident || source == NatSource::Conntrack;
        world.feed(Tracker::finish);
        let (name, ends) = (self.name, world.ends());
        let packets = if midstream { (3, 3) } else { (4, 4) };
        if joined {
            assert_eq!(ends.len(), 1, "{name}: {:#?}", world.told);
            assert_eq!((ends[0].original, ends[0].backend), (self.first(), self.last()), "{name}");
            assert_eq!((ends[0].nat, ends[0].packets), (Some(source), packets), "{name}");
            assert!(world.told.iter().all(|told| told.id == ends[0].id), "{name}: {:#?}", world.told);
        } else {
            assert_eq!(ends.len(), 2, "{name}: {:#?}", world.told);
            assert!(ends.iter().all(|end| end.nat.is_none()), "{name}: {:#?}", world.told);
        }
    }
}

#[test]
fn with_conntracks_word_before_or_after_the_packets() {
    for translation in TRANSLATIONS {
        for (first, from_the_middle) in [(true, false), (false, false), (true, true), (false, true)] {
            let mut world = World::new();
            if first {
                translation.testifies(&mut world);
                translation.talk(&mut world, from_the_middle);
            } else {
                // The event comes with the first packet, the dump of what was open before with any.
                translation.passes(&mut world, if from_the_middle { ACK } else { SYN }, (100, 0));
                translation.testifies(&mut world);
                translation.talk(&mut world, from_the_middle);
            }
            world.feed(Tracker::finish);
            let (name, ends) = (translation.name, world.ends());
            assert_eq!(ends.len(), 1, "{name}: {:#?}", world.told);
            let end = ends[0];
            assert_eq!((end.original, end.backend), (translation.first(), translation.last()), "{name}");
            assert_eq!((end.nat, end.merged_into), (Some(NatSource::Conntrack), None), "{name}");
        }
    }
}

#[test]
fn without_conntrack_one_changed_end_is_seen_and_two_are_not_guessed() {
    for translation in TRANSLATIONS {
        for from_the_middle in [false, true] {
            let mut world = World::new();
            translation.talk(&mut world, from_the_middle);
            translation.is_told(&mut world, NatSource::Sequence, from_the_middle);
        }
    }
}

#[test]
fn an_ipvs_whose_conntrack_knows_nothing_of_it_is_seen_by_its_packets() {
    // net.ipv4.vs.conntrack=0: the entry names the call as the client made it, and says that nothing was translated.
    let translation = &TRANSLATIONS[0];
    for moment in 0..3 {
        let mut world = World::new();
        let untranslated = translation.first();
        if moment == 0 {
            world.conntrack(untranslated, untranslated.reversed());
        }
        translation.passes(&mut world, SYN, (100, 0));
        if moment == 1 {
            world.conntrack(untranslated, untranslated.reversed());
        }
        translation.comes_back(&mut world, SYN_ACK, (900, 101));
        world.wait(SECOND);
        if moment == 2 {
            world.conntrack(untranslated, untranslated.reversed());
        }
        translation.passes(&mut world, ACK, (101, 901));
        world.feed(Tracker::finish);
        let ends = world.ends();
        assert_eq!(ends.len(), 1, "{moment}: {:#?}", world.told);
        assert_eq!(
            (ends[0].original, ends[0].backend),
            (translation.first(), translation.last()),
            "{moment}"
        );
        assert_eq!(ends[0].nat, Some(NatSource::Sequence), "{moment}");
    }
}

#[test]
fn two_zones_that_know_a_part_each_are_one_way() {
    // As OVN does: one zone holds the Service's translation, the pod's own zone what comes behind it.
    let (called, behind) = (tuple(CLIENT, VIP), tuple(CLIENT, BACKEND));
    let entries = [(called, behind.reversed()), (behind, behind.reversed())];
    for turned in [false, true] {
        let mut world = World::new();
        world.tcp(VETH, IN, called, SYN, (100, 0));
        for index in if turned { [1, 0] } else { [0, 1] } {
            world.conntrack(entries[index].0, entries[index].1);
        }
        world.tcp(FLANNEL, OUT, behind, SYN, (100, 0));
        world.wait(SECOND);
        let last = world.last();
        assert_eq!((last.id, last.original, last.backend), (1, called, behind), "{:#?}", world.told);
        assert_eq!(last.nat, Some(NatSource::Conntrack));
        assert!(world.told.iter().all(|told| told.id == 1), "{:#?}", world.told);
    }
}

#[test]
fn a_client_that_stays_with_its_backend_makes_a_connection_each_time() {
    // Session affinity: the same ends again and again, from another port each time.
    let mut world = World::new();
    for port in 40_000..40_010 {
        let client = format!("10.244.1.5:{port}");
        world.conversation(&client, port * 1000);
    }
    world.wait(SECOND);
    let ends = world.ends();
    assert_eq!(ends.len(), 10);
    assert!(
        ends.iter().all(|end| end.packets == (4, 2) && end.nat == Some(NatSource::Sequence)),
        "{ends:#?}"
    );
}

#[test]
fn an_echo_is_known_by_what_it_carries_and_by_its_identifier() {
    let ping = |world: &mut World, device, direction, source, destination, carried| {
        let end = |address: &str| addr(&format!("{address}:77"));
        let tuple = Tuple { protocol: IpProtocol::ICMP, source: end(source), destination: end(destination) };
        let icmp = Icmp { kind: 8, code: 0, quoted: None, mtu: None, echo: carried };
        world.seen(device, direction, tuple, Transport::Icmp(icmp));
    };
    for (one, other, translated) in
        [(Some((1, 5)), Some((1, 5)), true), (Some((1, 5)), Some((1, 6)), false), (None, None, false)]
    {
        let mut world = World::new();
        ping(&mut world, VETH, IN, "10.244.1.5", "203.0.113.9", one);
        ping(&mut world, CARD, OUT, "192.168.0.1", "203.0.113.9", other);
        world.feed(Tracker::finish);
        let ends = world.ends();
        assert_eq!(ends.len(), if translated { 1 } else { 2 }, "{ends:#?}");
        assert_eq!(ends[0].nat, translated.then_some(NatSource::Payload));
    }
}

/// One question, in the same bytes each time.
const QUESTION: &[u8] =
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03api\x04shop\x00\x00\x01\x00\x01";

#[test]
fn a_cache_that_asks_on_in_the_same_words_makes_a_call_of_its_own() {
    let ask = |world: &mut World, device, direction, source, destination| {
        let tuple = Tuple { protocol: IpProtocol::UDP, ..tuple(source, destination) };
        let transport = Transport::Udp { payload: QUESTION, payload_len: QUESTION.len() as u32 };
        world.seen(device, direction, tuple, transport);
    };
    let mut world = World::new();
    // NodeLocal DNS on the node: the pod's question ends there, the node asks CoreDNS on another one.
    ask(&mut world, VETH, IN, "10.244.1.5:40000", "169.254.20.10:53");
    ask(&mut world, FLANNEL, OUT, "10.244.1.0:50000", "10.244.2.53:53");
    // CoreDNS on this node: another pod's question comes in, and CoreDNS asks outside, masqueraded.
    ask(&mut world, PEER_VETH, OUT, "10.244.2.8:41000", "10.244.1.53:53");
    ask(&mut world, PEER_VETH, IN, "10.244.1.53:52000", "203.0.113.53:53");
    ask(&mut world, CARD, OUT, "192.168.0.1:52000", "203.0.113.53:53");
    world.feed(Tracker::finish);
    let ends = world.ends();
    assert_eq!(ends.len(), 4, "{:#?}", world.told);
    let translated: Vec<_> = ends.iter().filter(|end| end.nat.is_some()).collect();
    assert_eq!(translated.len(), 1, "{ends:#?}");
    assert_eq!(translated[0].nat, Some(NatSource::Payload));
    assert_eq!(translated[0].original.source, addr("10.244.1.53:52000"));
}

#[test]
fn what_another_was_found_to_be_part_of_goes_on() {
    let mut world = World::new();
    let udp = |source, destination| Tuple { protocol: IpProtocol::UDP, ..tuple(source, destination) };
    let short = Transport::Udp { payload: b"?", payload_len: 1 };
    let long = Transport::Udp { payload: b"long enough to be known by", payload_len: 26 };
    // The first packet is too short to tell that both forms are one.
    world.seen(FLANNEL, Direction::Inbound, udp(BACKEND, CLIENT), short);
    world.seen(VETH, Direction::Outbound, udp(VIP, CLIENT), short);
    world.wait(SECOND);
    world.seen(VETH, Direction::Inbound, udp(CLIENT, VIP), long);
    world.seen(FLANNEL, Direction::Outbound, udp(CLIENT, BACKEND), long);
    world.wait(5 * SECOND);
    assert_eq!(world.tracker.stats().merged, 1);
    let ended: Vec<_> = world.ends().iter().map(|told| (told.id, told.merged_into)).collect();
    assert_eq!(ended, [(2, Some(1))]);
}
