//! The running kernel's types (BTF) -> the name of each drop reason, by its slot.
//!
//! The numbers differ between kernels, so they are read where the kernel describes itself: `enum skb_drop_reason`, and the enums
//! of the subsystems that have reasons of their own. The format is Documentation/bpf/btf.rst; the libraries that load programs
//! read it too, but none that could be used here shows an enum's values.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::abi::{OTHER, REASONS};

const MAGIC: u16 = 0xeb9f;
/// The core's enum. Those of subsystems end in the same way: `mac80211_drop_reason`.
const CORE: &str = "skb_drop_reason";
const SUBSYSTEMS: &str = "_drop_reason";
/// What the core's names begin with.
const PREFIXES: [&str; 2] = ["SKB_DROP_REASON_", "SKB_"];
/// Bounds and masks among the values.
const NO_REASONS: [&str; 3] = ["MAX", "SUBSYS_MASK", "SUBSYS_NUM"];

/// Names by slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names(BTreeMap<u32, Arc<str>>);

impl Names {
    /// From the contents of `/sys/kernel/btf/vmlinux`. None if that does not tell them.
    pub(super) fn read(types: &[u8]) -> Option<Self> {
        let types = Types::of(types)?;
        let (mut names, mut core) = (BTreeMap::new(), false);
        for (name, values) in types.enums() {
            if !name.ends_with(SUBSYSTEMS) {
                continue;
            }
            core |= name == CORE;
            for (value, name) in values {
                let name = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
                if !name.starts_with("__") && !NO_REASONS.contains(&name) && slot(value) != OTHER {
                    names.insert(slot(value), name.into());
                }
            }
        }
        core.then_some(Self(names))
    }

    /// The name of a slot's reason; by its number where the kernel does not name it, as a module's.
    pub(super) fn of(&self, slot: u32) -> Arc<str> {
        match self.0.get(&slot) {
            Some(name) => Arc::clone(name),
            None if slot == OTHER => "OTHER".into(),
            None => format!("SUBSYSTEM_{}_{}", slot >> 8, slot & 0xff).into(),
        }
    }

    /// All slots that a reason may come in: those of the core are all named.
    pub(super) fn slots(&self) -> impl Iterator<Item = u32> {
        (0..REASONS).filter(|slot| *slot > 0xff || self.0.contains_key(slot))
    }
}

/// As `slot_of` in `drops.bpf.c`.
const fn slot(reason: u32) -> u32 {
    let (subsystem, number) = (reason >> 16, reason & 0xffff);
    if subsystem > 7 || number > 255 { OTHER } else { subsystem << 8 | number }
}

/// The sections of a BTF blob.
struct Types<'a> {
    types: &'a [u8],
    texts: &'a [u8],
}

/// `struct btf_type`, and where what follows it ends.
struct Type<'a> {
    name: &'a str,
    kind: u32,
    members: usize,
}

const ENUM: u32 = 6;

impl<'a> Types<'a> {
    fn of(blob: &'a [u8]) -> Option<Self> {
        let magic = u16::from_ne_bytes(*blob.first_chunk()?);
        let field = |at: usize| number(blob, at).map(|number| number as usize);
        let header = field(4)?;
        let section = |at: usize| {
            let (offset, len) = (header.checked_add(field(at)?)?, field(at + 4)?);
            blob.get(offset..)?.get(..len)
        };
        (magic == MAGIC).then_some(Self { types: section(8)?, texts: section(16)? })
    }

    fn text(&self, offset: u32) -> &'a str {
        let rest = self.texts.get(offset as usize..).unwrap_or_default();
        let text = rest.split(|byte| *byte == 0).next().unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }

    fn type_at(&self, at: usize) -> Option<Type<'a>> {
        let info = number(self.types, at + 4)?;
        let (kind, members) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        Some(Type { name: self.text(number(self.types, at)?), kind, members })
    }

    /// Names of the enums, and of each the values with their names. Ends at the first type of an unknown kind.
    fn enums(&self) -> impl Iterator<Item = (&'a str, Vec<(u32, &'a str)>)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            loop {
                let found = self.type_at(at)?;
                let body = at + HEADER;
                at = body + found.rest()?;
                if found.kind == ENUM {
                    return Some((found.name, self.values(body, found.members)));
                }
            }
        })
    }

    /// `struct btf_enum`: name and value.
    fn values(&self, at: usize, count: usize) -> Vec<(u32, &'a str)> {
        let value = |index: usize| {
            let at = at + 8 * index;
            Some((number(self.types, at + 4)?, self.text(number(self.types, at)?)))
        };
        (0..count).map_while(value).collect()
    }
}

/// `struct btf_type`.
const HEADER: usize = 12;

impl Type<'_> {
    /// Bytes of what follows the header, by kind (include/uapi/linux/btf.h).
    const fn rest(&self) -> Option<usize> {
        Some(match self.kind {
            // Pointers, names for other types, functions, floats.
            2 | 7..=12 | 16 | 18 => 0,
            // Integers, variables, tags on declarations.
            1 | 14 | 17 => 4,
            3 => 12,
            ENUM | 13 => 8 * self.members,
            // Structures, unions, sections, enums of 64 bits.
            4 | 5 | 15 | 19 => 12 * self.members,
            _ => return None,
        })
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A blob of an integer, another enum, and the reasons.
    fn blob() -> Vec<u8> {
        let mut texts = vec![0];
        let mut text = |text: &str| {
            let at = u32::try_from(texts.len()).unwrap();
            texts.extend(text.as_bytes());
            texts.push(0);
            at
        };
        let mut types = Vec::new();
        types.extend([text("int"), 1 << 24, 4, 32]);
        types.extend([text("color"), ENUM << 24 | 1, 4, text("RED"), 0]);
        types.extend([text(CORE), ENUM << 24 | 4, 4]);
        for (name, value) in [
            ("SKB_CONSUMED", 1),
            ("SKB_DROP_REASON_NO_SOCKET", 3),
            ("SKB_DROP_REASON_MAX", 4),
            ("SKB_DROP_REASON_SUBSYS_MASK", 0xffff_0000),
        ] {
            types.extend([text(name), value]);
        }
        types.extend([text("ovs_drop_reason"), ENUM << 24 | 1, 4, text("OVS_DROP_LAST_ACTION"), 2 << 16 | 1]);
        let types: Vec<u8> = types.into_iter().flat_map(u32::to_ne_bytes).collect();
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
        let header = [24, 0, len(&types), len(&types), len(&texts)].into_iter().flat_map(u32::to_ne_bytes);
        let magic = MAGIC.to_ne_bytes().into_iter().chain([1, 0]);
        magic.chain(header).chain(types).chain(texts).collect()
    }

    #[test]
    fn reasons_are_found_by_name() {
        let names = Names::read(&blob()).unwrap();
        assert_eq!(
            [1, 3, 0x201, 0x202, OTHER].map(|slot| names.of(slot).to_string()),
            ["CONSUMED", "NO_SOCKET", "OVS_DROP_LAST_ACTION", "SUBSYSTEM_2_2", "OTHER"]
        );
        assert_eq!(names.slots().take(3).collect::<Vec<_>>(), [1, 3, 0x100]);
    }

    #[test]
    fn this_kernel_names_its_reasons_or_has_no_types() {
        let Ok(types) = std::fs::read("/sys/kernel/btf/vmlinux") else { return };
        let names = Names::read(&types).unwrap();
        let all: Vec<_> = names.slots().map(|slot| names.of(slot)).collect();
        assert!(all.iter().any(|name| &**name == "NETFILTER_DROP"), "{all:?}");
    }

    proptest! {
        #[test]
        fn a_damaged_blob_never_panics(place in 0_usize..400, value: u8, cut in 0_usize..400) {
            let mut blob = blob();
            let place = place % blob.len();
            blob[place] = value;
            let _ = Names::read(&blob);
            blob.truncate(cut);
            let _ = Names::read(&blob);
        }
    }
}
