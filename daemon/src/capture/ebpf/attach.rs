//! A device and the programs that hang there: for each way one, where a capture of frames has its tap.
//!
//! What comes in is seen before anybody else judges it. What goes out is seen after all other programs of the same kind, but with
//! tcx (Linux 6.6) before filters of `clsact` and before the device's queueing discipline: what those drop was seen as sent.
//! Of tcx the kernel takes programs off when the daemon ends, however it ends. Before that they are filters of the `clsact`
//! queueing discipline, under a name, handle and priority of their own, by which those that a killed daemon left are found and
//! removed; the discipline itself is left, since others may use it.

use aya::programs::links::LinkOrder;
use aya::programs::tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle};
use aya::programs::{ProgramError, SchedClassifier, TcAttachType, tc};
use aya::util::KernelVersion;

use super::object::with_causes;
use super::programs::{Place, Programs};
use crate::capture::links::{Device, Framing, queueing};
use crate::capture::{Interface, Role};

/// How programs are hung to devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hook {
    /// By tcx where the kernel has it.
    #[default]
    Auto,
    /// By tcx.
    Tcx,
    /// As filters of the clsact queueing discipline.
    Clsact,
}

impl Hook {
    fn is_tcx(self) -> bool {
        match self {
            Self::Auto => {
                KernelVersion::current().is_ok_and(|running| running >= KernelVersion::new(6, 6, 0))
            }
            Self::Tcx => true,
            Self::Clsact => false,
        }
    }
}

/// Of weir's filters, wherever they are.
const HANDLE: TcHandle = TcHandle::new(0, 0x7e12);
/// Before and behind the priorities that others usually have.
const FIRST: u16 = 1;
const LAST: u16 = 0xbfff;

/// Why a device is not watched.
#[derive(Debug)]
pub enum Refusal {
    /// It went before the programs hung there.
    Gone,
    /// What the kernel or the library says.
    Other(String),
}

/// Who else judges what is sent at a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// Somebody before weir: if that one lets a packet pass by its own judgement, weir does not see it.
    pub before: bool,
    /// Somebody behind weir: what that one drops was seen as sent.
    pub behind: bool,
}

/// A device with its programs. They are taken off when this is dropped.
#[derive(Debug)]
pub struct Attached {
    /// As the queue knows it.
    pub interface: Interface,
    /// Who else judges what is sent there.
    pub others: Others,
    _links: Vec<SchedClassifierLink>,
}

impl Attached {
    /// Hangs the programs there. A frame on the loopback goes out and comes in; one sight of it is enough.
    pub fn open(device: &Device, programs: &mut Programs, hook: Hook) -> Result<Self, Refusal> {
        let name = &*device.interface.name;
        let ethernet = has_ethernet(device.framing)?;
        let ways: &[TcAttachType] = match device.interface.role {
            Role::Loopback => &[TcAttachType::Ingress],
            _ => &[TcAttachType::Ingress, TcAttachType::Egress],
        };
        if !hook.is_tcx() {
            prepare_clsact(device, programs)?;
        }
        let filtered = ways.len() > 1 && queueing::has_filters_out(device.interface.index).unwrap_or(false);
        let mut links = Vec::with_capacity(ways.len());
        for way in ways {
            let place = Place { inbound: *way == TcAttachType::Ingress, ethernet };
            let program = programs.at(place).map_err(|error| Refusal::Other(error.to_string()))?;
            links.push(hang(program, name, *way, hook)?);
        }
        let others = if hook.is_tcx() {
            Others { before: ways.len() > 1 && others_go_before(name), behind: filtered }
        } else {
            // Weir's filter has a priority behind those that others usually have.
            Others { before: filtered, behind: false }
        };
        Ok(Self { interface: device.interface.clone(), others, _links: links })
    }
}

/// Which of the programs reads what begins so.
fn has_ethernet(framing: Framing) -> Result<bool, Refusal> {
    match framing {
        Framing::Ethernet => Ok(true),
        Framing::Ip => Ok(false),
        Framing::Other(hardware) => Err(Refusal::Other(format!(
            "its frames begin with a header that the programs cannot read (ARPHRD type {hardware}): `--source pcap` shows them"
        ))),
    }
}

fn hang(
    program: &mut SchedClassifier,
    name: &str,
    way: TcAttachType,
    hook: Hook,
) -> Result<SchedClassifierLink, Refusal> {
    let first = way == TcAttachType::Ingress;
    let options = if hook.is_tcx() {
        TcAttachOptions::TcxOrder(if first { LinkOrder::first() } else { LinkOrder::last() })
    } else {
        let priority = if first { FIRST } else { LAST };
        TcAttachOptions::Netlink(NlOptions { priority, handle: HANDLE, ..NlOptions::default() })
    };
    let id = program.attach_with_options(name, way, options)?;
    Ok(program.take_link(id)?)
}

/// Makes the discipline, if nobody has, and removes what a daemon that was killed left there.
fn prepare_clsact(device: &Device, programs: &Programs) -> Result<(), Refusal> {
    let name = &*device.interface.name;
    match tc::qdisc_add_clsact(name) {
        Ok(()) => return Ok(()),
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => {}
        Err(TcError::AlreadyAttached) => {}
        Err(error) => return Err(ProgramError::from(error).into()),
    }
    let there = queueing::discipline_in(device.interface.index)
        .map_err(|error| Refusal::Other(format!("its queueing disciplines could not be read: {error}")))?;
    // A filter for what is sent would see what is received.
    if let Some(other) = there.filter(|kind| kind != "clsact") {
        return Err(Refusal::Other(format!(
            "it has the queueing discipline `{other}` in the place of `clsact`, which takes programs for both ways: \
             `tc qdisc del dev {name} {other}` if nobody needs it, or `--source pcap`"
        )));
    }
    for way in [TcAttachType::Ingress, TcAttachType::Egress] {
        for program in programs.names() {
            // Mostly there is none.
            let _ = tc::qdisc_detach_program(name, way, program);
        }
    }
    Ok(())
}

/// True if what is sent there passes somebody else's program of tcx before weir's.
fn others_go_before(name: &str) -> bool {
    SchedClassifier::query_tcx(name, TcAttachType::Egress).is_ok_and(|(_, programs)| programs.len() > 1)
}

impl From<ProgramError> for Refusal {
    fn from(error: ProgramError) -> Self {
        let gone = match &error {
            ProgramError::SyscallError(call) => call.io_error.raw_os_error() == Some(libc::ENODEV),
            ProgramError::TcError(TcError::IoError(error)) => error.raw_os_error() == Some(libc::ENODEV),
            ProgramError::TcError(TcError::NetlinkError(error)) => error.raw_os_error() == Some(libc::ENODEV),
            ProgramError::UnknownInterface { .. } => true,
            _ => false,
        };
        if gone { Self::Gone } else { Self::Other(with_causes(&error)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_whose_frames_cannot_be_read_is_refused_with_what_to_do() {
        assert!(has_ethernet(Framing::Ethernet).unwrap());
        assert!(!has_ethernet(Framing::Ip).unwrap());
        let Err(Refusal::Other(sentence)) = has_ethernet(Framing::Other(32)) else { panic!("InfiniBand") };
        assert!(sentence.contains("type 32") && sentence.contains("--source pcap"), "{sentence}");
    }
}
