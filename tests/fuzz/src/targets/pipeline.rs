//! The whole pipeline: frames, kernel testimony, losses and the clock, all from the input.
//!
//! Times go forwards and backwards by anything from nothing to years. Whatever comes, nothing panics, no table passes its bound,
//! flows are numbered without a hole and never go back in time, and when all is told nothing is left open.

use std::sync::{Arc, LazyLock};

use weir_cluster::{Cluster, HistoryLimits, UnixNanos};
use weir_daemon::capture::{Batch, Direction, Frame, Input, Interface, InterfaceId, LinkType, Loss, Role};
use weir_daemon::pipeline::{Output, Pipeline};
use weir_daemon::testimony::{
    ConntrackEntry, Device, DropSite, DroppedPacket, LoggedPacket, Owner, Phase, Testimony,
};
use weir_daemon::track::{self, Tracker};
use weir_daemon::{decode, enrich};
use weir_proto::place::Place;

use crate::script::Script;

/// Small, so that inputs of a few hundred bytes fill it.
const MAX_CONNECTIONS: usize = 8;

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::new(HistoryLimits::default()));

/// Runs the script.
pub(crate) fn run(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let settings = enrich::Settings { node_name: "node".to_owned(), ..enrich::Settings::default() };
    let Ok(enricher) = enrich::Enricher::new(settings) else { return };
    let bounds = track::Settings {
        max_connections: MAX_CONNECTIONS,
        max_testimony: MAX_CONNECTIONS,
        ..track::Settings::default()
    };
    let mut pipeline = Pipeline::new(decode::Settings::default(), Tracker::new(bounds), enricher);
    let (mut told, mut clock) = (Told::default(), Clock(1_000_000_000_000));
    devices(&mut pipeline, &mut told);
    while !script.is_over() {
        let at = clock.next(&mut script);
        match script.u8() % 8 {
            0 => pipeline.advance(at, &CLUSTER, &mut |output| told.take(&output)),
            1 => pipeline.take(&testimony(&mut script, at), &CLUSTER, &mut |output| told.take(&output)),
            2 => pipeline.take(&logged(&mut script, at), &CLUSTER, &mut |output| told.take(&output)),
            3 => pipeline.take(&loss(&mut script), &CLUSTER, &mut |output| told.take(&output)),
            4 => pipeline.take(&dropped(&mut script, at), &CLUSTER, &mut |output| told.take(&output)),
            _ => pipeline.take(&frame(&mut script, at), &CLUSTER, &mut |output| told.take(&output)),
        }
        assert!(pipeline.tracker().len() <= MAX_CONNECTIONS, "a table beyond its bound");
    }
    pipeline.finish(&CLUSTER, &mut |output| told.take(&output));
}

/// What was told so far.
#[derive(Default)]
struct Told {
    flows: u64,
    /// Seconds and nanoseconds.
    newest: (i64, i32),
}

impl Told {
    fn take(&mut self, output: &Output<'_>) {
        let Output::Flow(flow) = output else { return };
        self.flows += 1;
        let place = flow.uuid.parse().ok().and_then(Place::from_uuid);
        assert_eq!(place.map(Place::seq), Some(self.flows), "a hole in the numbers");
        let at = flow.time.as_ref().map_or((0, 0), |time| (time.seconds, time.nanos));
        assert!(at >= self.newest, "a flow that goes back in time");
        self.newest = at;
    }
}

struct Clock(u64);

impl Clock {
    /// The next time, nanoseconds: a step of the script's from a choice of magnitudes, one in eight backwards.
    fn next(&mut self, script: &mut Script<'_>) -> UnixNanos {
        let (kind, step) = (script.u8(), u64::from(script.u8()));
        let unit =
            [1, 1_000, 1_000_000, 50_000_000, 1_000_000_000, 60_000_000_000, 86_400_000_000_000, 1 << 57];
        let step = step.saturating_mul(unit[usize::from(kind % 8)]);
        self.0 = if kind >= 224 { self.0.saturating_sub(step) } else { self.0.saturating_add(step) };
        UnixNanos::from_nanos(self.0)
    }
}

const ROLES: [Role; 6] =
    [Role::Unknown, Role::Loopback, Role::Underlay, Role::Bridge, Role::Overlay, Role::PodVeth];

fn devices(pipeline: &mut Pipeline, told: &mut Told) {
    for (index, role) in (1..).zip(ROLES) {
        let interface = Interface { index, name: format!("dev{index}").into(), role };
        let input = Input::Interface(InterfaceId(index), interface);
        pipeline.take(&input, &CLUSTER, &mut |output| told.take(&output));
    }
}

fn frame(script: &mut Script<'_>, at: UnixNanos) -> Input {
    let directions = [Direction::Inbound, Direction::Outbound, Direction::Unknown];
    let interface = InterfaceId(u32::from(script.u8()) % 7);
    let direction = script.pick(&directions).unwrap_or(Direction::Unknown);
    let link = script.pick(&[LinkType::RAW, LinkType::ETHERNET, LinkType::RAW]).unwrap_or(LinkType::RAW);
    let built = if script.u8().is_multiple_of(2) { packet(script) } else { script.piece().to_vec() };
    let original_len = u32::try_from(built.len()).unwrap_or(u32::MAX);
    let link = if built.first().is_some_and(|byte| byte >> 4 == 4) { LinkType::RAW } else { link };
    let mut batch = Batch::with_capacity(built.len());
    batch.push(&Frame { at, interface, direction, link, original_len, bytes: &built });
    Input::Frames(batch)
}

/// An IPv4 packet of few ends, so that packets meet: TCP or UDP with numbers from the script.
fn packet(script: &mut Script<'_>) -> Vec<u8> {
    let tuple = script.tuple();
    let (std::net::IpAddr::V4(source), std::net::IpAddr::V4(destination)) =
        (tuple.source.ip(), tuple.destination.ip())
    else {
        return script.piece().to_vec();
    };
    let mut transport = [tuple.source.port().to_be_bytes(), tuple.destination.port().to_be_bytes()].concat();
    match tuple.protocol.0 {
        6 => {
            transport.extend(u32::from(script.u8()).to_be_bytes());
            transport.extend(u32::from(script.u8()).to_be_bytes());
            transport.extend([0x50, script.u8(), 0xff, script.u8(), 0, 0, 0, 0]);
            transport.extend(script.piece());
        }
        17 => {
            let payload = script.piece();
            let len = u16::try_from(payload.len() + 8).unwrap_or(u16::MAX);
            transport.extend(len.to_be_bytes());
            transport.extend([0, 0]);
            transport.extend(payload);
        }
        _ => transport = script.piece().to_vec(),
    }
    let len = u16::try_from(transport.len() + 20).unwrap_or(u16::MAX).to_be_bytes();
    let fragment = if script.u8() > 240 { script.u16() } else { 0 }.to_be_bytes();
    let id = [0, script.u8()];
    let mut packet =
        vec![0x45, 0, len[0], len[1], id[0], id[1], fragment[0], fragment[1], 64, tuple.protocol.0, 0, 0];
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(transport);
    packet
}

fn testimony(script: &mut Script<'_>, at: UnixNanos) -> Input {
    let (original, mut reply) = (script.tuple(), script.tuple());
    reply.protocol = original.protocol;
    let kind = script.u8();
    let phase = script.pick(&[Phase::Opening, Phase::Open, Phase::Over]).unwrap_or(Phase::Open);
    let entry = ConntrackEntry { at, original, reply, zone: u16::from(kind % 3), phase };
    Input::Testimony(if kind.is_multiple_of(2) {
        Testimony::Tracked(entry)
    } else {
        Testimony::Untracked(entry)
    })
}

fn logged(script: &mut Script<'_>, at: UnixNanos) -> Input {
    let prefix: Arc<str> = String::from_utf8_lossy(script.piece()).into();
    let [in_ifindex, out_ifindex, in_port_ifindex, out_port_ifindex] =
        [script.u8(), script.u8(), script.u8(), script.u8()].map(|index| u32::from(index % 7));
    let group = script.u16();
    let packet = packet(script);
    Input::Testimony(Testimony::Logged(LoggedPacket {
        at,
        prefix,
        group,
        in_ifindex,
        out_ifindex,
        in_port_ifindex,
        out_port_ifindex,
        packet,
    }))
}

fn dropped(script: &mut Script<'_>, at: UnixNanos) -> Input {
    let reasons = ["NETFILTER_DROP", "NO_SOCKET", "SOCKET_RCVBUFF", "NEIGH_FAILED"];
    let reason = script.pick(&reasons).unwrap_or("OF_ANOTHER_KERNEL").into();
    let [device, host] = [script.u8(), script.u8()]
        .map(|index| Device { ifindex: u32::from(index % 7), name: format!("dev{}", index % 7).into() });
    let owner = if script.u8().is_multiple_of(2) { Owner::Node } else { Owner::Pod(host) };
    let site = DropSite { owner, device: (device.ifindex != 0).then_some(device) };
    Input::Testimony(Testimony::Dropped(DroppedPacket { at, reason, site, packet: packet(script) }))
}

fn loss(script: &mut Script<'_>) -> Input {
    Input::Lost(Loss { kernel: script.u32().into(), queue: script.u64() >> 8 })
}
