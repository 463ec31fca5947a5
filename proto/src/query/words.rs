//! The words of enumerated fields. They are the names of the wire's own enums, in lower case with dashes and without the
//! enum's prefix, so that a new value needs no second list; what people say besides stands beside them.

use crate::flow::{DropReason, IpVersion, TraceObservationPoint, TrafficDirection, Verdict};
use crate::weir::v1::{
    CloseReason, ClosedBy, ConnectionState, Incomplete, NatSource, Observation, PolicyRuling, Reason, Role,
    TcpMeasure,
};

/// The words of one field and the numbers they stand for.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// Words beside the wire's names; for printing, the first of a number wins over its name.
    extra: &'static [(&'static str, u64)],
    /// Name of a number on the wire.
    named: fn(u64) -> Option<&'static str>,
    /// The highest number that has a name.
    highest: u64,
    /// Numbers without a word may be asked for too.
    open: bool,
    /// 0 is a value like others, and not the lack of one.
    pub(super) zero_counts: bool,
}

impl Words {
    /// All words with their numbers, each number's preferred word first.
    pub fn all(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        let extra = self.extra.iter().map(|(word, number)| ((*word).to_owned(), *number));
        let named = (0..=self.highest).filter_map(|number| Some((shown((self.named)(number)?), number)));
        extra.chain(named)
    }

    /// The number of a word, or of a number where numbers are taken. Case does not matter, nor dash or underscore.
    #[must_use]
    pub fn number(&self, text: &str) -> Option<u64> {
        let wanted = shown(text);
        let word = self.all().find(|(word, _)| *word == wanted).map(|(_, number)| number);
        word.or_else(|| text.parse().ok().filter(|number| self.open && u32::try_from(*number).is_ok()))
    }

    /// The preferred word of a number; the number where it has none.
    #[must_use]
    pub fn word(&self, number: u64) -> String {
        self.all().find(|(_, known)| *known == number).map_or_else(|| number.to_string(), |(word, _)| word)
    }
}

fn shown(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// Words of an enum of the wire: its prefix, its highest number.
macro_rules! of_enum {
    ($kind:ty, $prefix:literal, $highest:literal, $extra:expr) => {
        Words {
            extra: $extra,
            named: |number| {
                let value = <$kind>::try_from(i32::try_from(number).ok()?).ok()?;
                Some(value.as_str_name().trim_start_matches($prefix))
            },
            highest: $highest,
            open: false,
            zero_counts: false,
        }
    };
}

/// Words of numbers that no enum of the wire lists.
const fn list(extra: &'static [(&'static str, u64)], open: bool, zero_counts: bool) -> Words {
    Words { extra, named: |_| None, highest: 0, open, zero_counts }
}

/// The number that stands for "dropped by a policy", beside the wire's verdicts.
pub(super) const DENIED: u64 = 1000;

pub(super) const VERDICT: Words = of_enum!(
    Verdict,
    "",
    7,
    &[("ok", 1), ("forwarded", 1), ("denied", DENIED), ("dropped", 2), ("unknown", 0)]
);
pub(super) const DROP_REASON: Words = of_enum!(DropReason, "", 255, &[]);
pub(super) const DIRECTION: Words =
    of_enum!(TrafficDirection, "TRAFFIC_DIRECTION_", 2, &[("in", 1), ("out", 2)]);
pub(super) const POINT: Words = of_enum!(TraceObservationPoint, "", 101, &[]);
pub(super) const IP_VERSION: Words = of_enum!(IpVersion, "", 2, &[("4", 1), ("6", 2), ("none", 0)]);
pub(super) const STATE: Words = of_enum!(ConnectionState, "CONNECTION_STATE_", 64, &[("open", 2)]);
pub(super) const RECORD: Words = of_enum!(Reason, "REASON_", 64, &[]);
pub(super) const NAT: Words = of_enum!(NatSource, "NAT_SOURCE_", 64, &[]);
pub(super) const ROLE: Words = of_enum!(Role, "ROLE_", 64, &[]);
pub(super) const EVIDENCE: Words = of_enum!(Observation, "OBSERVATION_", 64, &[]);
pub(super) const RULING: Words = of_enum!(PolicyRuling, "POLICY_RULING_", 64, &[]);
pub(super) const INCOMPLETE: Words = of_enum!(Incomplete, "INCOMPLETE_", 64, &[]);
pub(super) const CLOSED_BY: Words = of_enum!(ClosedBy, "CLOSED_BY_", 64, &[]);
pub(super) const CLOSE_REASON: Words = of_enum!(CloseReason, "CLOSE_REASON_", 64, &[]);
pub(super) const MEASURE: Words = of_enum!(TcpMeasure, "TCP_MEASURE_", 64, &[]);
/// Event types of Hubble's records.
pub(super) const EVENT: Words = list(
    &[
        ("drop", 1),
        ("agent", 2),
        ("capture", 3),
        ("trace", 4),
        ("policy-verdict", 5),
        ("trace-sock", 7),
        ("l7", 129),
    ],
    true,
    false,
);
/// Reserved identities, as Hubble numbers them.
pub(super) const IDENTITY: Words = list(
    &[
        ("unknown", 0),
        ("host", 1),
        ("world", 2),
        ("unmanaged", 3),
        ("health", 4),
        ("init", 5),
        ("remote-node", 6),
        ("kube-apiserver", 7),
        ("ingress", 8),
        ("world-ipv4", 9),
        ("world-ipv6", 10),
    ],
    true,
    false,
);
/// Response codes (IANA "DNS RCODEs").
pub(super) const RCODE: Words = list(
    &[
        ("noerror", 0),
        ("formerr", 1),
        ("servfail", 2),
        ("nxdomain", 3),
        ("notimp", 4),
        ("refused", 5),
        ("yxdomain", 6),
        ("yxrrset", 7),
        ("nxrrset", 8),
        ("notauth", 9),
        ("notzone", 10),
    ],
    true,
    true,
);
/// In the order of the filters' own list of protocols.
pub(super) const PROTOCOL: Words = list(
    &[
        ("icmp", 0),
        ("icmpv4", 1),
        ("icmpv6", 2),
        ("tcp", 3),
        ("udp", 4),
        ("sctp", 5),
        ("vrrp", 6),
        ("igmp", 7),
        ("dns", 8),
        ("http", 9),
        ("kafka", 10),
    ],
    false,
    true,
);
/// By the bit in the header (RFC 9293 section 3.1, RFC 3168 section 6.1, RFC 3540 section 9).
pub(super) const TCP_FLAG: Words = list(
    &[
        ("fin", 0),
        ("syn", 1),
        ("rst", 2),
        ("psh", 3),
        ("ack", 4),
        ("urg", 5),
        ("ece", 6),
        ("cwr", 7),
        ("ns", 8),
    ],
    false,
    true,
);
