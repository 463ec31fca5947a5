//! What of a connection is packed: every field that it may have while it waits.
//!
//! Texts are not: few connections have any, and none for long. Such a one is not packed at all.

use super::{Packed, Packer, Unpacker, packed};
use crate::capture::Detail;
use crate::track::connection::{
    Connection, ConnectionId, Evidence, Gaps, IcmpError, NatSource, Observation, State, Verdict, Way, Witness,
};
use crate::track::emission::Emission;

packed!(struct ConnectionId(_));
packed!(
    enum Way {
        Forward,
        Reverse,
    }
);
packed!(
    enum NatSource {
        Payload,
        Sequence,
        Conntrack,
    }
);
packed!(
    enum State {
        Opening,
        Established,
        Closing,
        Closed,
        Reset,
        Idle,
        Unanswered,
        Rejected,
        Evicted,
    }
);
packed!(
    enum Observation {
        Delivered,
        Answered,
        KernelDrop,
        Logged,
        IcmpUnreachable,
        ResetByEndpoint,
        ResetByNetwork,
        PacketTooBig,
        HopsExceeded,
        Unanswered,
    }
);
packed!(
    enum Verdict {
        Forwarded,
        Dropped,
        Traced,
    }
);
packed!(struct IcmpError { sender, kind, code, mtu, about });
packed!(struct Evidence { observation, at, witness });
packed!(struct Gaps { midstream, truncated, capture_loss, reduced });
packed!(
    enum Detail {
        Full,
        NoPayload,
        NoTiming,
        Sampled,
        CountersOnly,
    }
);
packed!(struct Emission {
    settled, settle_at, told_at, told, told_state, told_verdict, correction, ended, late, merged_into, over_at, due; waiting
});
packed!(struct Connection {
    id, forms, original, backend, nat_source, conntrack, zone, path, measured, aside, state, first_packet, last_packet,
    tcp, evidence, passing, gaps, prints_left, losses, flags_forward, icmp, ethernet, opaque, emission; dns, rules, drops
});

impl Packed for Witness {
    fn pack(&self, to: &mut Packer) {
        match self {
            Self::Time => 0_u8.pack(to),
            Self::Device(interface, direction) => (1_u8, (*interface, *direction)).pack(to),
            Self::Icmp(error) => {
                2_u8.pack(to);
                error.pack(to);
            }
            // One whose rules have names, or whose packets the kernel dropped, is not packed.
            Self::Rule(_) | Self::Kernel(_) => 3_u8.pack(to),
        }
    }

    fn unpack(from: &mut Unpacker<'_>) -> Self {
        match u8::unpack(from) {
            1 => Self::Device(Packed::unpack(from), Packed::unpack(from)),
            2 => Self::Icmp(Packed::unpack(from)),
            _ => Self::Time,
        }
    }
}

impl Connection {
    /// True if all of it can be packed: it has no texts, which few have and none for long.
    pub(in crate::track) fn is_plain(&self) -> bool {
        self.dns.is_none()
            && self.rules.is_empty()
            && self.drops.is_none()
            && self.emission.waiting.is_empty()
    }
}
