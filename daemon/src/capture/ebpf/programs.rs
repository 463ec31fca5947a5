//! The loaded programs and their maps: what the thread reads and runs, and what others look at while it does.
//!
//! Tests give frames to the same programs without a device.

use std::os::fd::{AsFd, BorrowedFd};

use aya::Ebpf;
use aya::maps::{Array, Map, MapData, PerCpuArray, PerCpuHashMap, RingBuf};
use aya::programs::{ProgramError, SchedClassifier, TestRun, TestRunOptions};

use super::Settings;
use super::abi::{self, Control, Device, Key, OrderHead, Sum, Totals};
use super::bpf::Reader;
use super::object::{self, EbpfError};
use crate::capture::{Direction, InterfaceId};

const TABLE: &str = "weir_table";
const RING: &str = "weir_ring";
const TAKE: &str = "weir_take";
/// Half the telling interval must pass between a half's last packet and the look that finds it at rest.
const REST_NS: u64 = 2_000_000_000;
/// What is over makes room for others soon: of it only stragglers come, and those are news with or without an entry.
const OVER_NS: u64 = 500_000_000;
/// As long as the tracker keeps a connection without packets.
const FORGET_NS: u64 = 30_000_000_000;
/// A packet after so long a pause is news, so that the tracker's idle times are those of frames.
const PAUSE_NS: u64 = 10_000_000_000;
const FLUSH_PACKETS: u64 = 1 << 14;
/// Holds every header, the longest options and a tunnel's.
const SNAP_NEWS: u32 = 256;

/// Which of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// For what the node receives.
    pub inbound: bool,
    /// For frames with an Ethernet header.
    pub ethernet: bool,
}

impl Place {
    const ALL: [Self; 4] = [
        Self { inbound: true, ethernet: true },
        Self { inbound: false, ethernet: true },
        Self { inbound: true, ethernet: false },
        Self { inbound: false, ethernet: false },
    ];

    const fn name(self) -> &'static str {
        match (self.inbound, self.ethernet) {
            (true, true) => "weir_in",
            (false, true) => "weir_out",
            (true, false) => "weir_in_raw",
            (false, false) => "weir_out_raw",
        }
    }
}

/// Programs in the kernel, with the ring and the table.
#[derive(Debug)]
pub struct Programs {
    ebpf: Ebpf,
    ring: Ring,
    table: MapData,
    reader: Reader,
}

/// The ring that is read.
struct Ring(RingBuf<MapData>);

impl std::fmt::Debug for Ring {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Ring")
    }
}

/// What can be looked at and changed while the programs run.
pub struct Watched {
    totals: PerCpuArray<MapData, Totals>,
    devices: PerCpuHashMap<MapData, Device, Sum>,
    control: Array<MapData, Control>,
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Watched").field("totals", &self.totals()).finish_non_exhaustive()
    }
}

impl Programs {
    /// Loads all programs of an object.
    ///
    /// # Errors
    /// [`EbpfError`]
    pub fn load(object: &[u8], settings: &Settings) -> Result<(Self, Watched), EbpfError> {
        let fixed = fixed(settings)?;
        let mut ebpf = object::open(object, |loader| {
            loader
                .override_global("settings", abi::bytes_of(&fixed), true)
                .map_max_entries(TABLE, settings.table_entries)
                .map_max_entries(RING, settings.ring_bytes);
        })?;
        for name in Place::ALL.map(Place::name).into_iter().chain([TAKE]) {
            object::classifier(&mut ebpf, name)?;
        }
        let watched = Watched {
            totals: map(&mut ebpf, "weir_totals")?,
            devices: map(&mut ebpf, "weir_devices")?,
            control: map(&mut ebpf, "weir_control")?,
        };
        let ring = Ring(map(&mut ebpf, RING)?);
        let Some(Map::HashMap(table)) = ebpf.take_map(TABLE) else {
            return Err(EbpfError::failed(format!("find {TABLE}"), "no such map"));
        };
        Ok((Self { ebpf, ring, table, reader: Reader::default() }, watched))
    }

    /// The program for a place.
    ///
    /// # Errors
    /// [`EbpfError`]
    pub fn at(&mut self, place: Place) -> Result<&mut SchedClassifier, EbpfError> {
        object::classifier(&mut self.ebpf, place.name())
    }

    /// Names of all programs that hang at devices, as the kernel has them.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        Place::ALL.into_iter().map(Place::name)
    }

    /// Readable once there is something in the ring that was empty.
    #[must_use]
    pub fn ring(&self) -> BorrowedFd<'_> {
        self.ring.0.as_fd()
    }

    /// Takes the oldest record out of the ring, if there is one. False if there is none.
    pub fn next_record(&mut self, each: impl FnOnce(&[u8])) -> bool {
        match self.ring.0.next() {
            Some(record) => {
                each(&record);
                true
            }
            None => false,
        }
    }

    /// Looks the table over: the keys of what `which` chooses, and how many entries there are.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn look_over(&mut self, which: impl Fn(&abi::Entry) -> bool) -> Result<(Vec<Key>, u64), EbpfError> {
        let (mut keys, mut entries) = (Vec::new(), 0);
        self.reader
            .read(self.table.fd().as_fd(), |key, entry| {
                entries += 1;
                if which(entry) {
                    keys.push(*key);
                }
            })
            .map_err(|error| EbpfError::failed("look over the table of connections", error))?;
        Ok((keys, entries))
    }

    /// Has entries told that rest, and forgotten that rest for long; `all`: whatever their age. At most [`abi::TAKEN`] at once.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn take(&self, keys: &[Key], all: bool) -> Result<(), EbpfError> {
        let mut order = abi::bytes_of(&OrderHead { ethernet: [0; 14], all: all.into() }).to_vec();
        for key in keys.iter().take(abi::TAKEN) {
            order.extend_from_slice(abi::bytes_of(key));
        }
        self.run(TAKE, &order)
    }

    /// Gives one frame to the program of a place, as if it had passed the loopback device.
    ///
    /// # Errors
    /// As the kernel says; it takes frames of 14 bytes to about a page.
    pub fn pass(&self, place: Place, frame: &[u8]) -> Result<(), EbpfError> {
        self.run(place.name(), frame)
    }

    fn run(&self, name: &str, frame: &[u8]) -> Result<(), EbpfError> {
        let failed =
            |error: ProgramError| EbpfError::failed(format!("run {name}"), object::with_causes(&error));
        let program = self.ebpf.program(name).ok_or_else(|| failed(ProgramError::NotLoaded))?;
        let program: &SchedClassifier = program.try_into().map_err(failed)?;
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::default() };
        program.test_run(options).map(drop).map_err(failed)
    }
}

impl Watched {
    /// The sums of all CPUs.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        for totals in self.totals.get(&0, 0).iter().flat_map(|values| values.iter()) {
            sum.packets += totals.packets;
            sum.frames += totals.frames;
            sum.tallies += totals.tallies;
            sum.frames_lost += totals.frames_lost;
            sum.tallies_kept += totals.tallies_kept;
            sum.uncounted += totals.uncounted;
            sum.table_full += totals.table_full;
            sum.unread += totals.unread;
            sum.untracked += totals.untracked;
        }
        sum
    }

    /// What was only added up, by device and way.
    #[must_use]
    pub fn untracked(&self) -> Vec<(InterfaceId, Direction, Sum)> {
        let sum = |mut all: Sum, one: &Sum| {
            all.packets += one.packets;
            all.frame_bytes += one.frame_bytes;
            all
        };
        self.devices
            .iter()
            .filter_map(Result::ok)
            .map(|(device, sums)| {
                let way = u8::try_from(device.way).unwrap_or(abi::OUT);
                (InterfaceId(device.ifindex), direction(way), sums.iter().fold(Sum::default(), sum))
            })
            .collect()
    }

    /// Changes what is left out.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn set_control(&mut self, control: Control) -> Result<(), EbpfError> {
        self.control.set(0, control, 0).map_err(|error| EbpfError::failed("change the level", error))
    }
}

/// As the programs call it.
#[must_use]
pub const fn direction(way: u8) -> Direction {
    if way == abi::IN { Direction::Inbound } else { Direction::Outbound }
}

fn map<T: TryFrom<Map>>(ebpf: &mut Ebpf, name: &str) -> Result<T, EbpfError> {
    ebpf.take_map(name)
        .and_then(|map| T::try_from(map).ok())
        .ok_or_else(|| EbpfError::failed(format!("find {name}"), "no such map"))
}

fn fixed(settings: &Settings) -> Result<abi::Settings, EbpfError> {
    let pages = u32::try_from(rustix::param::page_size()).unwrap_or(4096);
    if !settings.ring_bytes.is_power_of_two() || settings.ring_bytes < pages {
        return Err(EbpfError::failed(
            "make the ring",
            format!("{} bytes are no power of two, or less than a page", settings.ring_bytes),
        ));
    }
    Ok(abi::Settings {
        flush_ns: u64::try_from(settings.flush.as_nanos()).unwrap_or(u64::MAX),
        flush_packets: FLUSH_PACKETS,
        pause_ns: PAUSE_NS,
        rest_ns: REST_NS,
        over_ns: OVER_NS,
        forget_ns: FORGET_NS,
        snap_news: SNAP_NEWS,
        snap_long: settings.snap_len.clamp(SNAP_NEWS, abi::SNAP as u32),
        vxlan_ports: ports("VXLAN", &settings.vxlan_ports)?,
        geneve_ports: ports("Geneve", &settings.geneve_ports)?,
        wireguard_ports: ports("WireGuard", &settings.wireguard_ports)?,
    })
}

fn ports(of: &str, ports: &[u16]) -> Result<[u16; abi::PORTS], EbpfError> {
    let mut named = [0; abi::PORTS];
    if ports.len() > named.len() {
        return Err(EbpfError::failed(
            format!("know {} ports of {of}", ports.len()),
            format!("there is room for {}", abi::PORTS),
        ));
    }
    for (place, port) in named.iter_mut().zip(ports) {
        *place = port.to_be();
    }
    Ok(named)
}

/// True of an entry that seems to rest and to hold something or to be over, or to rest for long; `now` in the kernel's nanoseconds.
#[must_use]
pub fn rests(entry: &abi::Entry, now: u64) -> bool {
    let holds = entry.half.iter().any(|half| half.counts.packets > 0);
    let wait = match (entry.marks & abi::OVER != 0, holds) {
        (true, _) => OVER_NS,
        (false, true) => REST_NS,
        (false, false) => FORGET_NS,
    };
    entry.last_ns.saturating_add(wait) < now
}
