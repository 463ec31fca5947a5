//! What is recorded is read back: random inputs, at every cut, and by another implementation.

use std::collections::HashMap;
use std::net::IpAddr;

use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{Block, PcapBlockOwned, PcapError, PcapNGReader};
use proptest::prelude::*;

use super::*;
use crate::capture::file::{FileEnd, FileSource};
use crate::capture::{Detail, Role};
use crate::testimony::{ConntrackEntry, Device, DropSite, DroppedPacket, LoggedPacket, Owner, Phase};
use crate::tuple::{IpProtocol, Tuple};

/// One thing of an input, to be compared; batches are taken apart.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Frame { at: u64, device: u32, direction: Direction, link: LinkType, original_len: u32, bytes: Vec<u8> },
    Interface(u32, Interface),
    Testimony(Testimony),
    Lost(Loss),
    Detail(Detail),
}

impl Seen {
    fn inputs(self) -> Input {
        match self {
            Self::Frame { at, device, direction, link, original_len, bytes } => {
                let mut batch = Batch::default();
                let (at, interface) = (UnixNanos::from_nanos(at), InterfaceId(device));
                assert!(batch.push(&Frame { at, interface, direction, link, original_len, bytes: &bytes }));
                Input::Frames(batch)
            }
            Self::Interface(id, interface) => Input::Interface(InterfaceId(id), interface),
            Self::Testimony(testimony) => Input::Testimony(testimony),
            Self::Lost(loss) => Input::Lost(loss),
            Self::Detail(detail) => Input::Detail(detail),
        }
    }
}

/// Devices are numbered by first appearance: the reader draws numbers of its own.
fn seen<'a>(inputs: impl IntoIterator<Item = &'a Input>) -> Vec<Seen> {
    let mut numbers: HashMap<InterfaceId, u32> = HashMap::new();
    let mut number = |id| {
        let next = u32::try_from(numbers.len()).unwrap();
        *numbers.entry(id).or_insert(next)
    };
    let mut seen = Vec::new();
    for input in inputs {
        match input {
            Input::Frames(batch) => seen.extend(batch.frames().map(|frame| Seen::Frame {
                at: frame.at.as_nanos(),
                device: number(frame.interface),
                direction: frame.direction,
                link: frame.link,
                original_len: frame.original_len,
                bytes: frame.bytes.to_vec(),
            })),
            Input::Interface(id, interface) => seen.push(Seen::Interface(number(*id), interface.clone())),
            Input::Testimony(testimony) => seen.push(Seen::Testimony(testimony.clone())),
            Input::Lost(loss) => seen.push(Seen::Lost(*loss)),
            Input::Detail(detail) => seen.push(Seen::Detail(*detail)),
        }
    }
    seen
}

fn record(inputs: &[Input]) -> Vec<u8> {
    let mut recorder = Recorder::new(Vec::new(), "worker-1", 1_700_000_000_123).unwrap();
    for input in inputs {
        recorder.record(input).unwrap();
    }
    recorder.into_inner()
}

fn read(file: &[u8]) -> (Vec<Input>, FileEnd) {
    let mut source = FileSource::over(&[file.to_vec()]).unwrap();
    let inputs = source.by_ref().collect::<Result<Vec<_>, _>>().unwrap();
    let end = source.ends().next().unwrap().clone();
    (inputs, end)
}

fn direction() -> impl Strategy<Value = Direction> {
    prop::sample::select(&[Direction::Inbound, Direction::Outbound, Direction::Unknown][..])
}

fn role() -> impl Strategy<Value = Role> {
    let roles = [Role::Unknown, Role::Loopback, Role::Underlay, Role::Bridge, Role::Overlay, Role::PodVeth];
    prop::sample::select(roles.to_vec())
}

fn tuple() -> impl Strategy<Value = Tuple> {
    let address = (any::<[u8; 4]>(), any::<[u8; 16]>(), any::<bool>());
    let ports = (any::<u16>(), any::<u16>());
    let protocol = prop::sample::select(&[6, 17, 132, 1, 58, 47][..]);
    (protocol, address, any::<[u8; 16]>(), ports).prop_map(|(protocol, (v4, v6, six), other, ports)| {
        let (source, destination): (IpAddr, IpAddr) = if six {
            (v6.into(), other.into())
        } else {
            (v4.into(), [other[0], other[1], other[2], other[3]].into())
        };
        let protocol = IpProtocol(protocol);
        let (from, to) = match protocol {
            IpProtocol::TCP | IpProtocol::UDP | IpProtocol::SCTP => ports,
            IpProtocol::ICMP | IpProtocol::ICMPV6 => (ports.0, ports.0),
            _ => (0, 0),
        };
        Tuple::new(protocol, (source, from), (destination, to))
    })
}

fn testimony() -> impl Strategy<Value = Testimony> {
    let entry = (any::<u64>(), tuple(), tuple(), any::<u16>(), any::<bool>());
    let entry = entry.prop_map(|(at, original, reply, zone, gone)| {
        let entry =
            ConntrackEntry { at: UnixNanos::from_nanos(at), original, reply, zone, phase: Phase::Open };
        if gone { Testimony::Untracked(entry) } else { Testimony::Tracked(entry) }
    });
    let numbers = (any::<u64>(), any::<u16>(), any::<[u32; 4]>());
    let packet = prop::collection::vec(any::<u8>(), 0..90);
    let logged = (numbers, "[^\0]{0,20}", packet).prop_map(|(numbers, prefix, packet)| {
        let (at, group, [in_ifindex, out_ifindex, in_port_ifindex, out_port_ifindex]) = numbers;
        let at = UnixNanos::from_nanos(at);
        Testimony::Logged(LoggedPacket {
            at,
            prefix: prefix.into(),
            group,
            in_ifindex,
            out_ifindex,
            in_port_ifindex,
            out_port_ifindex,
            packet,
        })
    });
    prop_oneof![entry, logged, dropped()]
}

fn device() -> impl Strategy<Value = Device> {
    (any::<u32>(), "[^ :/\0]{1,15}").prop_map(|(ifindex, name)| Device { ifindex, name: name.into() })
}

fn dropped() -> impl Strategy<Value = Testimony> {
    let packet = prop::collection::vec(any::<u8>(), 0..90);
    let site = (prop::option::of(device()), prop::option::of(device()));
    (any::<u64>(), "[A-Z0-9_]{1,20}", site, packet).prop_map(|(at, reason, (device, pod), packet)| {
        let owner = pod.map_or(Owner::Node, Owner::Pod);
        Testimony::Dropped(DroppedPacket {
            at: UnixNanos::from_nanos(at),
            reason: reason.into(),
            site: DropSite { owner, device },
            packet,
        })
    })
}

fn frame() -> impl Strategy<Value = Seen> {
    let link = prop::sample::select(&[1, 101, 113, 276, 65_535][..]);
    let bytes = prop::collection::vec(any::<u8>(), 0..90);
    (any::<u64>(), 0_u32..4, direction(), link, any::<u32>(), bytes).prop_map(
        |(at, device, direction, link, original_len, bytes)| {
            let link = LinkType(link);
            Seen::Frame { at, device, direction, link, original_len, bytes }
        },
    )
}

fn inputs() -> impl Strategy<Value = Vec<Seen>> {
    let interface = (0_u32..4, any::<u32>(), ".{0,16}", role()).prop_map(|(id, index, name, role)| {
        Seen::Interface(id, Interface { index, name: name.into(), role })
    });
    let lost = (any::<u64>(), any::<u64>()).prop_map(|(kernel, queue)| Seen::Lost(Loss { kernel, queue }));
    let detail = (0..5_u32).prop_map(|level| Seen::Detail(Detail::of_level(level)));
    let input = prop_oneof![4 => frame(), 1 => interface, 2 => testimony().prop_map(Seen::Testimony), 1 => lost, 1 => detail];
    prop::collection::vec(input, 0..40)
}

proptest! {
    #[test]
    fn what_is_recorded_is_read_back(recorded in inputs()) {
        let inputs: Vec<Input> = recorded.into_iter().map(Seen::inputs).collect();
        let (read_back, end) = read(&record(&inputs));
        prop_assert_eq!(seen(&read_back), seen(&inputs));
        let whole = matches!(end, FileEnd::Whole { .. });
        prop_assert!(whole);
        // A recording of what was read is the same again.
        let (again, _) = read(&record(&read_back));
        prop_assert_eq!(seen(&again), seen(&inputs));
    }

    /// As after kill -9: all inputs whose blocks are whole, then a note.
    #[test]
    fn a_killed_recording_is_good_up_to_its_last_whole_block(
        recorded in inputs(), cut in any::<prop::sample::Index>(),
    ) {
        let inputs: Vec<Input> = recorded.into_iter().map(Seen::inputs).collect();
        let whole = record(&inputs);
        let header = record(&[]).len();
        let cut = header + cut.index(whole.len() - header + 1);
        let (read_back, end) = read(&whole[..cut]);
        prop_assert!(seen(&inputs).starts_with(&seen(&read_back)));
        if let FileEnd::Truncated { offset, missing, .. } = end {
            prop_assert!(offset < cut as u64 && cut as u64 + missing <= whole.len() as u64);
        } else {
            // Every input but the last is there, or the cut fell between two blocks.
            prop_assert!(read_back.len() <= inputs.len());
        }
    }
}

#[test]
fn each_input_is_in_the_file_before_the_next() {
    let frame = |at| Seen::Frame {
        at,
        device: 3,
        direction: Direction::Inbound,
        link: LinkType::ETHERNET,
        original_len: 60,
        bytes: vec![1; 60],
    };
    let mut recorder = Recorder::new(Vec::new(), "n", 1).unwrap();
    for count in 1..=3 {
        recorder.record(&frame(count).inputs()).unwrap();
        let (inputs, end) = read(&recorder.out);
        assert_eq!(seen(&inputs).len() as u64, count);
        assert!(matches!(end, FileEnd::Whole { .. }));
    }
}

#[test]
fn a_recording_names_its_node_and_run() {
    let source = FileSource::over(&[record(&[]), record(&[])]).unwrap();
    let expected = Origin { node: "worker-1".to_owned(), run: 1_700_000_000_123 };
    assert_eq!(source.origins().collect::<Vec<_>>(), [&expected, &expected]);
}

#[test]
fn labels_read_as_documented() {
    let device = Label::Device { id: 3, ifindex: 7, role: Role::PodVeth };
    assert_eq!(device.to_string(), "weir: id=3 ifindex=7 role=pod-veth");
    for label in [device, Label::More { id: 3 }, Label::Losses, Label::Testimony, Label::Drops] {
        assert_eq!(label.to_string().parse(), Ok(label));
    }
    for other in ["", "weir: ", "eth0", "weir: id=x", "weir: id=1 ifindex=2 role=king", "weir: id=1 b"] {
        assert_eq!(other.parse::<Label>(), Err(NotALabel), "{other:?}");
    }
}

#[test]
fn a_dropped_packet_reads_as_documented() {
    let device = |ifindex, name: &str| Device { ifindex, name: name.into() };
    let site = DropSite { owner: Owner::Pod(device(17, "veth1a2b")), device: Some(device(2, "eth0")) };
    let dropped = Dropped { reason: "NETFILTER_DROP".into(), site };
    assert_eq!(dropped.to_string(), "weir: dropped NETFILTER_DROP device=2:eth0 pod=17:veth1a2b");
    for other in
        ["", "weir: dropped ", "dropped X", "weir: dropped X pod=1", "weir: dropped X pod=1:a device=2:b"]
    {
        assert_eq!(other.parse::<Dropped>(), Err(NotALabel), "{other:?}");
    }
}

/// Kinds of blocks, and link types, as another reader of pcapng finds them.
#[test]
fn another_reader_understands_it() {
    let tuple = Tuple::new(IpProtocol::TCP, ([10, 0, 0, 1].into(), 5), ([10, 0, 0, 2].into(), 80));
    let at = UnixNanos::from_parts(1_700_000_000, 999_999_999);
    let entry = ConntrackEntry { at, original: tuple, reply: tuple.reversed(), zone: 0, phase: Phase::Open };
    let veth = Interface { index: 7, name: "veth7".into(), role: Role::PodVeth };
    let frame = Seen::Frame {
        at: at.as_nanos(),
        device: 3,
        direction: Direction::Outbound,
        link: LinkType::ETHERNET,
        original_len: 1500,
        bytes: vec![5; 61],
    };
    let inputs = [
        Input::Interface(InterfaceId(3), veth),
        frame.inputs(),
        Input::Testimony(Testimony::Tracked(entry)),
        Input::Lost(Loss { kernel: 4, queue: 2 }),
    ];
    let file = record(&inputs);
    let mut reader = PcapNGReader::new(65_536, &file[..]).unwrap();
    let mut lines = Vec::new();
    loop {
        match reader.next() {
            Ok((len, PcapBlockOwned::NG(block))) => {
                lines.push(line(&block));
                reader.consume(len);
            }
            Ok(_) => panic!("no pcapng"),
            Err(PcapError::Eof) => break,
            Err(PcapError::Incomplete(_)) => reader.refill().unwrap(),
            Err(error) => panic!("{error:?}"),
        }
    }
    insta::assert_snapshot!(lines.join("\n"), @r"
    section weir: run=1700000000123 node=worker-1
    interface link=1 veth7 | weir: id=3 ifindex=7 role=pod-veth
    packet interface=0 1700000000.999999999 61 of 1500
    interface link=253 conntrack | weir: testimony
    packet interface=1 1700000000.999999999 140 of 140
    interface link=1 losses | weir: losses
    statistics interface=2 ifdrop=2 osdrop=4
    ");
}

fn line(block: &Block<'_>) -> String {
    match block {
        Block::SectionHeader(section) => {
            let comment = section.options.iter().find(|option| option.code.0 == code::COMMENT);
            format!("section {}", comment.unwrap().as_str().unwrap())
        }
        Block::InterfaceDescription(interface) => format!(
            "interface link={} {} | {}",
            interface.linktype.0,
            interface.if_name().unwrap().unwrap(),
            interface.if_description().unwrap().unwrap(),
        ),
        Block::EnhancedPacket(packet) => {
            let (seconds, nanos) = packet.decode_ts(0, 1_000_000_000);
            let (len, whole) = (packet.caplen, packet.origlen);
            format!("packet interface={} {seconds}.{nanos:09} {len} of {whole}", packet.if_id)
        }
        Block::InterfaceStatistics(statistics) => format!(
            "statistics interface={} ifdrop={:?} osdrop={:?}",
            statistics.if_id,
            statistics.isb_ifdrop().unwrap().unwrap(),
            statistics.isb_osdrop().unwrap().unwrap(),
        ),
        _ => "other".to_owned(),
    }
}
