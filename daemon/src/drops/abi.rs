//! What the program and the daemon share, as `daemon/ebpf/drops.h` has it: records, counts, settings.
//!
//! Records are read field by field at their offsets, values are rows of 64-bit numbers. The test at the end holds both against
//! what the compiler of the C side noted in the object. What the numbers mean is said there.

/// Slots of reasons.
pub(super) const REASONS: u32 = 2048;
/// The slot of reasons that have none of their own.
pub(super) const OTHER: u32 = REASONS - 1;

/// `struct weir_reason`: counted, and when the next may be told of.
pub(super) type Reason = [u64; 2];
/// `struct weir_drop_settings`: interval, burst, inode of the node's namespace.
pub(super) type Fixed = [u64; 3];

/// `struct weir_drop_count`, of all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Packets given up.
    pub(super) packets: u64,
    /// Those that were told of.
    pub(super) told: u64,
    /// Those without an IP header that could be read.
    pub(super) unread: u64,
    /// Those that found no room in the ring.
    pub(super) full: u64,
}

/// `struct weir_drop_count` of one CPU.
pub(super) type CountOfCpu = [u64; 4];

impl Count {
    pub(super) fn sum<'a>(cpus: impl IntoIterator<Item = &'a CountOfCpu>) -> Self {
        let add = |sum: Self, [packets, told, unread, full]: &CountOfCpu| Self {
            packets: sum.packets + packets,
            told: sum.told + told,
            unread: sum.unread + unread,
            full: sum.full + full,
        };
        cpus.into_iter().fold(Self::default(), add)
    }
}

const NAME: usize = 16;
const SNAP: usize = 128;

// Offsets in `struct weir_drop`.
const AT_NS: usize = 0;
const SLOT: usize = 8;
const IFINDEX: usize = 12;
const HOST_IFINDEX: usize = 16;
const CAPTURED: usize = 20;
const DEVICE: usize = 24;
const HOST_DEVICE: usize = DEVICE + NAME;
const BYTES: usize = HOST_DEVICE + NAME;

/// `struct weir_drop`, where it lies in the ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    /// CLOCK_MONOTONIC.
    pub(super) at_ns: u64,
    pub(super) slot: u32,
    pub(super) ifindex: u32,
    pub(super) host_ifindex: u32,
    /// Up to its first 0.
    pub(super) device: &'a [u8],
    pub(super) host_device: &'a [u8],
    /// From the IP header on.
    pub(super) packet: &'a [u8],
}

impl<'a> Record<'a> {
    /// None if it is shorter than a record is.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let number = |at: usize| Some(u32::from_ne_bytes(*bytes.get(at..).and_then(<[u8]>::first_chunk)?));
        let name = |at: usize| {
            let name = bytes.get(at..at + NAME)?;
            name.split(|byte| *byte == 0).next()
        };
        let captured = number(CAPTURED)? as usize;
        Some(Self {
            at_ns: u64::from_ne_bytes(*bytes.get(AT_NS..).and_then(<[u8]>::first_chunk)?),
            slot: number(SLOT)?,
            ifindex: number(IFINDEX)?,
            host_ifindex: number(HOST_IFINDEX)?,
            device: name(DEVICE)?,
            host_device: name(HOST_DEVICE)?,
            packet: bytes.get(BYTES..BYTES + SNAP)?.get(..captured)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use object::{Object, ObjectSection};

    use super::*;
    use crate::drops::program::DROPS;

    /// Names, offsets and sizes that the C side notes.
    fn layout() -> BTreeMap<String, (usize, usize)> {
        let file = object::File::parse(DROPS).unwrap();
        let data = file.section_by_name(".weir.layout").unwrap().data().unwrap().to_vec();
        let number = |bytes: &[u8]| u32::from_ne_bytes(bytes.try_into().unwrap()) as usize;
        data.chunks_exact(48)
            .map(|field| {
                let name = field[..40].split(|byte| *byte == 0).next().unwrap();
                let name = String::from_utf8(name.to_vec()).unwrap();
                (name, (number(&field[40..44]), number(&field[44..])))
            })
            .collect()
    }

    #[test]
    fn it_is_what_the_programs_have() {
        let mut ours = BTreeMap::new();
        let mut add = |name: &str, offset: usize, size: usize| {
            ours.insert(name.to_owned(), (offset, size));
        };
        for (name, offset, size) in [
            ("at_ns", AT_NS, 8),
            ("slot", SLOT, 4),
            ("ifindex", IFINDEX, 4),
            ("host_ifindex", HOST_IFINDEX, 4),
            ("captured", CAPTURED, 4),
            ("device", DEVICE, NAME),
            ("host_device", HOST_DEVICE, NAME),
            ("bytes", BYTES, SNAP),
        ] {
            add(&format!("weir_drop.{name}"), offset, size);
        }
        for (whole, fields) in [
            ("weir_reason", &["counted", "next_ns"][..]),
            ("weir_drop_count", &["packets", "told", "unread", "full"]),
            ("weir_drop_settings", &["interval_ns", "burst_ns", "node"]),
        ] {
            for (place, field) in fields.iter().enumerate() {
                add(&format!("{whole}.{field}"), 8 * place, 8);
            }
        }
        add("weir_drop", 0, BYTES + SNAP);
        add("weir_reason", 0, size_of::<Reason>());
        add("weir_drop_count", 0, size_of::<CountOfCpu>());
        add("weir_drop_settings", 0, size_of::<Fixed>());
        assert_eq!(ours, layout());
    }

    #[test]
    fn a_record_is_read_or_is_none() {
        let mut bytes = vec![0; BYTES + SNAP];
        bytes[AT_NS] = 7;
        bytes[CAPTURED..CAPTURED + 4].copy_from_slice(&3_u32.to_ne_bytes());
        bytes[DEVICE..DEVICE + 4].copy_from_slice(b"eth0");
        bytes[BYTES] = 0x45;
        let record = Record::read(&bytes).unwrap();
        assert_eq!(
            (record.device, record.host_device, record.packet),
            (&b"eth0"[..], &[][..], &[0x45, 0, 0][..])
        );
        assert!(Record::read(&bytes[..BYTES + SNAP - 1]).is_none());
        bytes[CAPTURED] = 129;
        assert!(Record::read(&bytes).is_none());
    }
}
