//! The place of a flow, `(node, run, seq)`, and the `uuid` that carries it.
//!
//! A daemon numbers its flows from 1 in each run of itself, so the place says where a flow belongs in its node's history,
//! and a hole in the numbers is a loss. The uuid is a version 8 one (RFC 9562 section 5.8). Its 122 free bits hold, most
//! significant first, so that uuids of one node sort as its flows do:
//!
//! | bits | what |
//! |-----:|------|
//! |   40 | hash of the node's name: the upper bits of its XXH3-64 |
//! |   42 | start of the run, Unix milliseconds (until the year 2109) |
//! |   40 | seq, the number of the flow in its run |
//!
//! The name itself can't be had back from a uuid. Two nodes whose names share a hash still differ by their runs.

use std::fmt;
use std::str::FromStr;

use uuid::{Uuid, Version};
use xxhash_rust::xxh3::xxh3_64;

use crate::weir;

const NODE_BITS: u32 = 40;
const RUN_BITS: u32 = 42;
const SEQ_BITS: u32 = 40;

/// The largest start of a run that a uuid can carry, in Unix milliseconds.
pub const MAX_RUN: u64 = (1 << RUN_BITS) - 1;

/// The largest number of a flow that a uuid can carry.
pub const MAX_SEQ: u64 = (1 << SEQ_BITS) - 1;

/// The hash that stands for a node's name in a uuid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeHash(u64);

impl NodeHash {
    /// The hash of a name as in `Place.node`.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self(xxh3_64(name.as_bytes()) >> (u64::BITS - NODE_BITS))
    }
}

/// Where a flow stands: node, run of its daemon, number in that run. Orders flows of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    node: NodeHash,
    run: u64,
    seq: u64,
}

/// Why something is no place of a flow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// A start of a run beyond [`MAX_RUN`], as a clock that is far ahead gives.
    #[error("run {0} is no time in Unix milliseconds before the year 2109: is the node's clock right?")]
    Run(u64),
    /// A number beyond [`MAX_SEQ`].
    #[error("seq {0} is beyond {MAX_SEQ}, the last that one run can give out")]
    Seq(u64),
    /// A text that is no uuid of this layout.
    #[error("{0:?} is not the uuid of a flow of weir (version 8, RFC 9562)")]
    Uuid(String),
}

impl Place {
    /// Makes a place of its parts; `run` in Unix milliseconds.
    ///
    /// # Errors
    /// If a part has no room in a uuid.
    pub const fn new(node: NodeHash, run: u64, seq: u64) -> Result<Self, PlaceError> {
        if run > MAX_RUN {
            return Err(PlaceError::Run(run));
        }
        if seq > MAX_SEQ {
            return Err(PlaceError::Seq(seq));
        }
        Ok(Self { node, run, seq })
    }

    /// The node, as far as a uuid tells.
    #[must_use]
    pub const fn node(self) -> NodeHash {
        self.node
    }

    /// Start of the run of the node's daemon, Unix milliseconds.
    #[must_use]
    pub const fn run(self) -> u64 {
        self.run
    }

    /// Number of the flow in its run.
    #[must_use]
    pub const fn seq(self) -> u64 {
        self.seq
    }

    /// The uuid that carries this place.
    #[must_use]
    pub fn uuid(self) -> Uuid {
        let bits = u128::from(self.node.0) << (RUN_BITS + SEQ_BITS)
            | u128::from(self.run) << SEQ_BITS
            | u128::from(self.seq);
        Uuid::new_v8(spread(bits).to_be_bytes())
    }

    /// The place that a uuid carries; nothing if it is not of version 8 and the RFC's variant.
    #[must_use]
    pub fn from_uuid(uuid: Uuid) -> Option<Self> {
        if uuid.get_version() != Some(Version::Custom) || uuid.get_variant() != uuid::Variant::RFC4122 {
            return None;
        }
        let bits = gather(uuid.as_u128());
        let part = |shift: u32, width: u32| u64::try_from(bits >> shift & ((1 << width) - 1)).ok();
        Some(Self {
            node: NodeHash(part(RUN_BITS + SEQ_BITS, NODE_BITS)?),
            run: part(SEQ_BITS, RUN_BITS)?,
            seq: part(0, SEQ_BITS)?,
        })
    }
}

/// As in `Flow.uuid`: lower case, hyphenated.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uuid().as_hyphenated().fmt(f)
    }
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let uuid = Uuid::try_parse(text).ok();
        uuid.and_then(Self::from_uuid).ok_or_else(|| PlaceError::Uuid(text.to_owned()))
    }
}

impl TryFrom<&weir::v1::Place> for Place {
    type Error = PlaceError;

    fn try_from(wire: &weir::v1::Place) -> Result<Self, PlaceError> {
        Self::new(NodeHash::of(&wire.node), wire.run, wire.seq)
    }
}

/// Spreads 122 bits over the fields `custom_a`, `custom_b` and `custom_c`, leaving version and variant free.
const fn spread(bits: u128) -> u128 {
    let a = bits >> 74;
    let b = bits >> 62 & 0xfff;
    let c = bits & ((1 << 62) - 1);
    a << 80 | b << 64 | c
}

/// Takes the 122 bits out again.
const fn gather(uuid: u128) -> u128 {
    let a = uuid >> 80;
    let b = uuid >> 64 & 0xfff;
    let c = uuid & ((1 << 62) - 1);
    a << 74 | b << 62 | c
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_layout_is_fixed() {
        let place = Place::new(NodeHash::of("node-1"), 1_790_000_000_000, 1).unwrap();
        assert_eq!(place.to_string(), "0db09edf-d968-8311-906c-000000000001");
        assert_eq!(place.to_string().parse(), Ok(place));
        let first = Place::new(NodeHash(0), 0, 0).unwrap();
        assert_eq!(first.to_string(), "00000000-0000-8000-8000-000000000000");
        let last = Place::new(NodeHash((1 << NODE_BITS) - 1), MAX_RUN, MAX_SEQ).unwrap();
        assert_eq!(last.to_string(), "ffffffff-ffff-8fff-bfff-ffffffffffff");
    }

    #[test]
    fn refuses_what_has_no_room_and_what_is_no_place() {
        let node = NodeHash::of("n");
        assert_eq!(Place::new(node, MAX_RUN + 1, 1), Err(PlaceError::Run(MAX_RUN + 1)));
        assert_eq!(Place::new(node, 1, MAX_SEQ + 1), Err(PlaceError::Seq(MAX_SEQ + 1)));
        for text in ["", "x", "0ff9bb51-0944-4e0c-9dfb-369bab13dfae", "ffffffff-ffff-8fff-ffff-ffffffffffff"]
        {
            assert_eq!(text.parse::<Place>(), Err(PlaceError::Uuid(text.to_owned())));
        }
    }

    proptest! {
        #[test]
        fn uuid_and_place_are_the_same(name in ".{0,40}", run in 0..=MAX_RUN, seq in 0..=MAX_SEQ) {
            let place = Place::new(NodeHash::of(&name), run, seq).unwrap();
            prop_assert_eq!(place.to_string().parse::<Place>(), Ok(place));
            prop_assert_eq!((place.run(), place.seq()), (run, seq));
            prop_assert_eq!(place.uuid().get_version_num(), 8);
        }

        #[test]
        fn uuids_of_a_node_sort_as_its_flows(a in (0..=MAX_RUN, 0..=MAX_SEQ), b in (0..=MAX_RUN, 0..=MAX_SEQ)) {
            let place = |(run, seq)| Place::new(NodeHash::of("n"), run, seq).unwrap();
            prop_assert_eq!(place(a).uuid().cmp(&place(b).uuid()), a.cmp(&b));
        }
    }
}
