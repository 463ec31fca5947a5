//! The program at the kernel's tracepoint: loaded, told what it needs to know, attached.
//!
//! A tracepoint can be had in three ways, and kernels differ in which they allow: the first that works is taken. Nothing stays
//! when the program is dropped, however the daemon ends.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;

use aya::maps::{Array, MapData, PerCpuArray, RingBuf};
use aya::programs::{BtfTracePoint, ProgramError, RawTracePoint, TracePoint};
use aya::{Btf, Ebpf};
use thiserror::Error;

use super::abi::{CountOfCpu, Fixed, Reason};
use super::names::Names;
use super::reader::Settings;
use super::uplinks::{self, Uplinks};
use crate::capture::ebpf::object::{self, EbpfError, undisturbed};
use crate::testimony::reason::{Weight, weight};

/// The program, as the build compiled it.
pub(super) static DROPS: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/drops.bpf.o"));

const TYPES: &str = "/sys/kernel/btf/vmlinux";
const NAMESPACE: &str = "/proc/thread-self/ns/net";
const EVENT: &str = "kfree_skb";
const UPLINKS: &str = "weir_uplinks";

/// Why the kernel's drops are not told.
#[derive(Debug, Error)]
pub enum DropsError {
    /// No program can run.
    #[error("kernel drops are not told: {0}")]
    Ebpf(#[from] EbpfError),
    /// The kernel drops without a reason.
    #[error("kernel drops are not told: this kernel gives no reasons for them; 5.17 or newer is needed")]
    NoReasons,
    /// No access to the node's own namespace, or no thread.
    #[error("kernel drops are not told: cannot {operation}: {error}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// What the system says.
        error: io::Error,
    },
}

/// A way to the tracepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By the kernel's own types.
    Types,
    /// With its arguments as bare numbers.
    Raw,
    /// As tracing tools do it, by tracefs.
    Event,
}

/// The attached program and its maps.
pub(super) struct Program {
    /// Detached when dropped.
    pub(super) attached: Ebpf,
    pub(super) descriptor: OwnedFd,
    pub(super) ring: RingBuf<MapData>,
    pub(super) uplinks: (Uplinks, uplinks::Map<MapData>),
    /// What there is to say of them.
    pub(super) notice: Option<&'static str>,
    pub(super) counts: PerCpuArray<MapData, CountOfCpu>,
    /// Of all reasons.
    pub(super) sum: PerCpuArray<MapData, u64>,
    pub(super) names: Names,
    /// The slots of reasons that are counted.
    pub(super) counted: Vec<u32>,
}

impl Program {
    /// Attaches it for the network namespace of this thread.
    pub(super) fn attach(settings: &Settings) -> Result<Self, DropsError> {
        let node = File::open(NAMESPACE)
            .and_then(|namespace| namespace.metadata())
            .map_err(|error| DropsError::Io { operation: "find the network namespace in /proc", error })?
            .ino();
        let fixed: Fixed = settings.fixed(node);
        let ring_bytes = settings.ring_bytes;
        let mut ebpf = object::open(DROPS, |loader| {
            loader
                .override_global("weir_drop_settings", &fixed, true)
                .map_max_entries("weir_drops", ring_bytes);
        })?;
        let types = std::fs::read(TYPES)
            .map_err(|error| DropsError::Io { operation: "read the kernel's types", error })?;
        let names = Names::read(&types).ok_or(DropsError::NoReasons)?;
        let is_lost = |slot: &u32| weight(&names.of(*slot)) != Weight::Nothing;
        let counted: Vec<u32> = names.slots().filter(is_lost).collect();
        tell_reasons(&mut ebpf, &counted)?;
        let mut uplinks = Uplinks::open()
            .map_err(|error| DropsError::Io { operation: "read the node's devices", error })?;
        let map_of_uplinks = ebpf.map_mut(UPLINKS).ok_or_else(|| no_map(UPLINKS))?;
        let mut map_of_uplinks = uplinks::Map::try_from(map_of_uplinks).map_err(failed("use the devices"))?;
        let notice = uplinks.tell(&mut map_of_uplinks).map_err(failed("tell the devices"))?;
        let descriptor = attach_by(&mut ebpf, &settings.ways)?;
        let ring = RingBuf::try_from(map(&mut ebpf, "weir_drops")?).map_err(failed("use the ring"))?;
        let map_of_uplinks =
            uplinks::Map::try_from(map(&mut ebpf, UPLINKS)?).map_err(failed("use the devices"))?;
        let uplinks = (uplinks, map_of_uplinks);
        let counts =
            PerCpuArray::try_from(map(&mut ebpf, "weir_drop_counts")?).map_err(failed("use the counts"))?;
        let sum = PerCpuArray::try_from(map(&mut ebpf, "weir_drop_sum")?).map_err(failed("use their sum"))?;
        Ok(Self { attached: ebpf, descriptor, ring, uplinks, notice, counts, sum, names, counted })
    }
}

fn failed<E: std::fmt::Display>(operation: &'static str) -> impl FnOnce(E) -> EbpfError {
    move |error| EbpfError::failed(operation, error)
}

/// Taken once the programs that use it are loaded: they know it by its descriptor.
fn map(ebpf: &mut Ebpf, name: &str) -> Result<aya::maps::Map, EbpfError> {
    ebpf.take_map(name).ok_or_else(|| no_map(name))
}

fn no_map(name: &str) -> EbpfError {
    EbpfError::failed(format!("find the map {name}"), "no such map")
}

/// Which reasons count, before the first packet is seen.
fn tell_reasons(ebpf: &mut Ebpf, counted: &[u32]) -> Result<(), EbpfError> {
    let map = ebpf.map_mut("weir_reasons").ok_or_else(|| no_map("weir_reasons"))?;
    let mut reasons: Array<_, Reason> = Array::try_from(map).map_err(failed("use the reasons"))?;
    for slot in counted {
        reasons.set(*slot, [1, 0], 0).map_err(failed("tell the reasons"))?;
    }
    Ok(())
}

/// Attaches by the first way that works; the program's descriptor.
fn attach_by(ebpf: &mut Ebpf, ways: &[Way]) -> Result<OwnedFd, EbpfError> {
    let mut first = None;
    for way in ways {
        let attached = match way {
            Way::Types => by_types(ebpf, "weir_dropped"),
            Way::Raw => raw(ebpf, "weir_dropped_raw"),
            Way::Event => by_event(ebpf, "weir_dropped_event"),
        };
        match attached {
            Ok(program) => return Ok(program),
            Err(error) => first = first.or(Some(object::refused("the program at skb:kfree_skb", error))),
        }
    }
    Err(first.unwrap_or_else(|| EbpfError::failed("attach", "no way to the tracepoint is allowed")))
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, ProgramError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    ebpf.program_mut(name).ok_or(ProgramError::UnexpectedProgramType)?.try_into()
}

fn by_types(ebpf: &mut Ebpf, name: &str) -> Result<OwnedFd, ProgramError> {
    let types = Btf::from_sys_fs()?;
    let program: &mut BtfTracePoint = program(ebpf, name)?;
    undisturbed(|| program.load(EVENT, &types))?;
    program.attach()?;
    Ok(program.fd()?.as_fd().try_clone_to_owned()?)
}

fn raw(ebpf: &mut Ebpf, name: &str) -> Result<OwnedFd, ProgramError> {
    let program: &mut RawTracePoint = program(ebpf, name)?;
    undisturbed(|| program.load())?;
    program.attach(EVENT)?;
    Ok(program.fd()?.as_fd().try_clone_to_owned()?)
}

fn by_event(ebpf: &mut Ebpf, name: &str) -> Result<OwnedFd, ProgramError> {
    let program: &mut TracePoint = program(ebpf, name)?;
    undisturbed(|| program.load())?;
    program.attach("skb", EVENT)?;
    Ok(program.fd()?.as_fd().try_clone_to_owned()?)
}

/// How often the kernel did not run a program since it ran on that CPU already, as it tells of the descriptor. 0 where it does
/// not say.
pub(super) fn missed(program: &OwnedFd) -> u64 {
    let told = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd()));
    told.map_or(0, |told| read_missed(&told))
}

fn read_missed(told: &str) -> u64 {
    let count = told.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_missed_is_read_from_the_descriptors_lines() {
        let told = "pos:\t0\nprog_type:\t26\nrun_cnt:\t0\nrecursion_misses:\t12\nverified_insns:\t985\n";
        assert_eq!((read_missed(told), read_missed("pos:\t0\n")), (12, 0));
    }
}
