//! What the programs and the daemon share, as `daemon/ebpf/weir.h` has it: keys, values, records, settings.
//!
//! Plain memory in the machine's byte order. The test at the end holds every field against what the compiler of the C side
//! noted in the object. What the numbers mean is said there.

use aya::Pod;

/// Ports of tunnels that may be named.
pub const PORTS: usize = 8;
/// The longest piece of a frame that is handed up, bytes.
pub const SNAP: usize = 2048;
/// Keys in one order.
pub const TAKEN: usize = 64;

/// `way` of packets that the node received there.
pub const IN: u8 = 0;
/// Of packets that the node sent there.
pub const OUT: u8 = 1;
/// `Head::kind` of a [`FrameHead`].
pub const FRAME: u16 = 1;
/// `Head::kind` of a [`Tally`].
pub const TALLY: u16 = 2;
/// `Head::link` of frames without a link header.
pub const RAW: u8 = 1;
/// `Progress::known`: `next` is.
pub const KNOWS_NEXT: u32 = 1;
/// `Progress::known`: `acknowledgement` and `window` are.
pub const KNOWS_ACKNOWLEDGEMENT: u32 = 2;

/// One conversation on one device.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// One end's address, as on the wire; of IPv4 the first four bytes.
    pub low: [u8; 16],
    /// The other's.
    pub high: [u8; 16],
    /// In the byte order of the network.
    pub low_port: [u8; 2],
    /// See `low_port`.
    pub high_port: [u8; 2],
    /// Device.
    pub ifindex: u32,
    /// Nothing.
    pub reserved: u32,
    /// IP protocol.
    pub protocol: u8,
    /// 4 or 6.
    pub family: u8,
    /// 1: in a tunnel.
    pub tunnelled: u8,
    /// Nothing.
    pub rest: u8,
}

/// Packets of one half since it was last told.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// As the device carried them.
    pub packets: u64,
    /// Those on the wire that these stand for.
    pub wire_packets: u64,
    /// Bytes of whole frames.
    pub frame_bytes: u64,
    /// Bytes from the IP header on.
    pub ip_bytes: u64,
    /// Bytes of transport payload.
    pub payload_bytes: u64,
    /// When the first passed, nanoseconds of CLOCK_MONOTONIC.
    pub first_ns: u64,
    /// When the last passed.
    pub last_ns: u64,
}

/// How far a half of a TCP connection is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The sequence number that follows all that was sent.
    pub next: u32,
    /// The last acknowledgement.
    pub acknowledgement: u32,
    /// The window with it, unscaled.
    pub window: u16,
    /// All flags of the counted packets.
    pub flags: u16,
    /// Which of these are known: `KNOWS_*`.
    pub known: u32,
    /// When a segment with payload, SYN or FIN moved `next` there.
    pub next_ns: u64,
}

/// One half of an entry.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Half {
    /// What it holds.
    pub counts: Counts,
    /// How far it is.
    pub progress: Progress,
    /// When it was last told.
    pub told_ns: u64,
    /// A mix of what that was wrapped in.
    pub outside: u32,
    /// 1: it had a packet.
    pub seen: u8,
    /// Which way that passed the device.
    pub way: u8,
    /// 1: it has said FIN.
    pub fin: u8,
    /// 1: it has no room.
    pub full: u8,
}

/// An entry of the table.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Entry {
    /// The kernel's lock; what is read is never it.
    pub lock: u32,
    /// Sequence number of the SYN of the end that asked.
    pub question: u32,
    /// Its key in one word.
    pub who: u64,
    /// When its last packet passed, counted here or not.
    pub last_ns: u64,
    /// Sequence number of the SYN that answered.
    pub answer: u32,
    /// The half that asked, and 1; 0: none did.
    pub asked: u8,
    /// Packets, as far as they matter.
    pub passed: u8,
    /// What is known: [`OVER`] and others.
    pub marks: u8,
    /// 1: it is taken out.
    pub dead: u8,
    /// Packets of the lower end, and of the higher.
    pub half: [Half; 2],
}

/// A mark: nothing goes on any more.
pub const OVER: u8 = 8;

/// What every record begins with.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Nanoseconds of CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// Device.
    pub ifindex: u32,
    /// [`FRAME`] or [`TALLY`].
    pub kind: u16,
    /// [`IN`] or [`OUT`].
    pub way: u8,
    /// [`RAW`] or Ethernet.
    pub link: u8,
}

/// A frame's record up to the frame's bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// What it is.
    pub head: Head,
    /// Bytes on the device, without a tag that hardware took out.
    pub len: u32,
    /// Bytes that follow.
    pub captured: u16,
    /// 1: hardware took a tag out, which the next two are.
    pub tagged: u16,
    /// Its control information.
    pub tag: u16,
    /// Its Ethernet type, in the byte order of the network.
    pub tag_type: [u8; 2],
    /// Nothing.
    pub reserved: u32,
}

/// Packets that were counted.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// What it is.
    pub head: Head,
    /// Of which conversation.
    pub key: Key,
    /// The packets.
    pub counts: Counts,
    /// Of TCP: how far they came.
    pub progress: Progress,
    /// 0: packets of the lower end.
    pub half: u32,
    /// Nothing.
    pub reserved: u32,
}

/// Sums over all packets, of one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// All that passed.
    pub packets: u64,
    /// Frames handed up.
    pub frames: u64,
    /// Tallies handed up.
    pub tallies: u64,
    /// Frames not handed up for lack of room.
    pub frames_lost: u64,
    /// Tallies not handed up; their entry keeps what it holds.
    pub tallies_kept: u64,
    /// Packets that nothing told of.
    pub uncounted: u64,
    /// Packets whose conversation found no room in the table.
    pub table_full: u64,
    /// Packets that only the decoder can read.
    pub unread: u64,
    /// Packets that were only added up.
    pub untracked: u64,
}

/// Packets that were only added up: of which device, which way.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Device.
    pub ifindex: u32,
    /// [`IN`] or [`OUT`].
    pub way: u32,
}

/// How many.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Packets.
    pub packets: u64,
    /// Bytes of their frames.
    pub frame_bytes: u64,
}

/// What can be changed while the programs run.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// How much is left out.
    pub level: u32,
    /// One new connection in so many is tracked.
    pub sample: u32,
}

/// What is fixed when the programs are loaded.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// A half that carries traffic is told so often, nanoseconds.
    pub flush_ns: u64,
    /// Or after so many packets.
    pub flush_packets: u64,
    /// The first packet after so long is news.
    pub pause_ns: u64,
    /// An entry without a packet for so long is told.
    pub rest_ns: u64,
    /// One that is over, after so long.
    pub over_ns: u64,
    /// And after so long forgotten.
    pub forget_ns: u64,
    /// Bytes of a frame.
    pub snap_news: u32,
    /// Of one that holds a message, or that only the decoder can read.
    pub snap_long: u32,
    /// In the byte order of the network; 0: none.
    pub vxlan_ports: [u16; PORTS],
    /// See `vxlan_ports`.
    pub geneve_ports: [u16; PORTS],
    /// See `vxlan_ports`.
    pub wireguard_ports: [u16; PORTS],
}

/// What the program that takes entries out is given. It is a frame to the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct OrderHead {
    /// Nothing.
    pub ethernet: [u8; 14],
    /// 1: entries are told and forgotten whatever their age.
    pub all: u16,
}

/// Sizes are their own and every bit pattern is a value: the types are of integers alone, without a gap between them.
macro_rules! plain {
    ($($type:ty),+) => {$(
        #[expect(unsafe_code, reason = "aya reads and writes values of maps as memory")]
        // SAFETY: `repr(C)`, integers alone, no padding (the layout test adds sizes up), no reference, no invalid pattern.
        unsafe impl Pod for $type {}
    )+};
}

plain!(Key, Entry, Head, FrameHead, Tally, Totals, Device, Sum, Control, Settings, OrderHead);

/// A value at the beginning of these bytes; None if they are too short.
#[must_use]
pub fn read<T: Pod>(bytes: &[u8]) -> Option<T> {
    if bytes.len() < size_of::<T>() {
        return None;
    }
    #[expect(unsafe_code, reason = "records are memory that the kernel wrote")]
    // SAFETY: so many bytes are there, any alignment is read, and every pattern of a `Pod` is a value.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// A value's memory.
#[must_use]
pub fn bytes_of<T: Pod>(value: &T) -> &[u8] {
    #[expect(unsafe_code, reason = "programs read it as memory")]
    // SAFETY: a `Pod` has no padding and lives as long as the slice.
    unsafe {
        std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>())
    }
}

/// Bytes that a record takes in the ring: its header, and whole words (kernel/bpf/ringbuf.c, BPF_RINGBUF_HDR_SZ).
#[must_use]
pub const fn in_ring(len: usize) -> u64 {
    (len.next_multiple_of(8) + 8) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::mem::offset_of;

    use object::{Object, ObjectSection};

    use super::*;
    use crate::capture::ebpf::object::TCX;

    /// Name, offset and size of what the C compiler laid out.
    fn noted() -> BTreeMap<String, (usize, usize)> {
        let file = object::File::parse(TCX).unwrap();
        let data = file.section_by_name(".weir.layout").unwrap().data().unwrap().to_vec();
        data.chunks_exact(48)
            .map(|field| {
                let name = field[..40].split(|byte| *byte == 0).next().unwrap();
                let number = |at: usize| u32::from_le_bytes(*field[at..].first_chunk().unwrap()) as usize;
                (String::from_utf8(name.to_vec()).unwrap(), (number(40), number(44)))
            })
            .collect()
    }

    macro_rules! layout {
        ($fields:ident, $($name:literal = $type:ident { $($field:ident),* $(,)? })*) => {$(
            $fields.insert($name.to_owned(), (0, size_of::<$type>()));
            $($fields.insert(
                concat!($name, ".", stringify!($field)).to_owned(),
                (offset_of!($type, $field), {
                    fn size<T, F>(_: fn(&T) -> &F) -> usize { size_of::<F>() }
                    size(|value: &$type| &value.$field)
                }),
            );)*
        )*};
    }

    #[test]
    fn both_sides_lay_out_the_same() {
        let mut ours = BTreeMap::new();
        layout! { ours,
            "weir_key" = Key { low, high, low_port, high_port, ifindex, reserved, protocol, family, tunnelled, rest }
            "weir_counts" = Counts {
                packets, wire_packets, frame_bytes, ip_bytes, payload_bytes, first_ns, last_ns,
            }
            "weir_progress" = Progress { next, acknowledgement, window, flags, known, next_ns }
            "weir_half" = Half { counts, progress, told_ns, outside, seen, way, fin, full }
            "weir_entry" = Entry { question, who, last_ns, answer, asked, passed, marks, dead, half }
            "weir_head" = Head { at_ns, ifindex, kind, way, link }
            "weir_frame" = FrameHead { head, len, captured, tagged, tag, tag_type }
            "weir_tally" = Tally { head, key, counts, progress, half }
            "weir_totals" = Totals {
                packets, frames, tallies, frames_lost, tallies_kept, uncounted, table_full, unread, untracked,
            }
            "weir_device" = Device { ifindex, way }
            "weir_sum" = Sum { packets, frame_bytes }
            "weir_control" = Control { level, sample }
            "weir_settings" = Settings {
                flush_ns, flush_packets, pause_ns, rest_ns, over_ns, forget_ns, snap_news, snap_long, vxlan_ports, geneve_ports,
                wireguard_ports,
            }
            "weir_order" = OrderHead { ethernet, all }
        }
        // These end in an array that is read apart.
        ours.insert("weir_frame.bytes".to_owned(), (size_of::<FrameHead>(), SNAP));
        ours.insert("weir_frame".to_owned(), (0, size_of::<FrameHead>() + SNAP));
        ours.insert("weir_order.keys".to_owned(), (size_of::<OrderHead>(), TAKEN * size_of::<Key>()));
        ours.insert("weir_order".to_owned(), (0, size_of::<OrderHead>() + TAKEN * size_of::<Key>()));
        assert_eq!(ours, noted());
    }

    #[test]
    fn a_value_is_its_bytes() {
        let head = Head { at_ns: 7, ifindex: 3, kind: FRAME, way: OUT, link: RAW };
        let bytes = bytes_of(&head);
        assert_eq!(bytes.len(), 16);
        assert_eq!(read::<Head>(bytes), Some(head));
        assert_eq!(read::<Head>(&bytes[..15]), None);
    }
}
