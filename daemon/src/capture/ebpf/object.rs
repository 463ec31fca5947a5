//! An object of eBPF programs -> programs in the kernel: loaded, verified, its maps made.
//!
//! What the kernel needs and does not have is told in one sentence each, since it is what the user can mend. Which program
//! is attached where is for the callers.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use aya::maps::MapError;
use aya::programs::{ProgramError, SchedClassifier};
use aya::{Ebpf, EbpfLoader};
use rustix::thread::{CapabilitySet, capabilities};
use thiserror::Error;

/// The programs at devices, as the build compiled them.
pub static TCX: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcx.bpf.o"));

/// How they begin (linux/btf.h).
const BTF_MAGIC: u16 = 0xeb9f;
/// Types of the running kernel, for programs that read its structures.
const KERNEL_TYPES: &str = "/sys/kernel/btf/vmlinux";

/// Why eBPF programs cannot be used here.
#[derive(Debug, Error)]
pub enum EbpfError {
    /// Not allowed.
    #[error(
        "eBPF: no permission: {missing} missing; run as root, `setcap cap_bpf,cap_net_admin,cap_perfmon+ep` the binary, or \
         add BPF, NET_ADMIN and PERFMON to securityContext.capabilities"
    )]
    Permission {
        /// The capabilities that are missing, with their verb.
        missing: String,
    },
    /// The kernel does not describe its own types.
    #[error(
        "eBPF: the kernel does not tell its types in {KERNEL_TYPES}: it was built without CONFIG_DEBUG_INFO_BTF, or the file is \
         hidden from here"
    )]
    NoKernelTypes,
    /// The kernel lacks what the programs are made of.
    #[error("eBPF: this kernel is too old for {what} ({error}); 5.14 or newer is needed")]
    TooOld {
        /// The map or program.
        what: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// The verifier did not accept a program.
    #[error(
        "eBPF: the kernel's verifier refused {program}: {reason}; please report it with the kernel's version"
    )]
    Refused {
        /// The program.
        program: String,
        /// The last line of the verifier's log.
        reason: String,
    },
    /// Anything else.
    #[error("eBPF: cannot {operation}: {reason}")]
    Failed {
        /// What was tried.
        operation: String,
        /// What the kernel or the library said.
        reason: String,
    },
}

impl EbpfError {
    /// What could not be done, and why.
    pub fn failed(operation: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Failed { operation: operation.into(), reason: reason.to_string() }
    }
}

/// An error with what caused it: some of aya's name nothing but the call.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut words = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push(error.to_string());
        cause = error.source();
    }
    // A transparent error says what its cause says.
    words.dedup();
    words.join(": ")
}

/// Programs compiled elsewhere.
///
/// # Errors
/// If the file cannot be read.
pub fn read(file: &Path) -> Result<Vec<u8>, EbpfError> {
    std::fs::read(file).map_err(|error| EbpfError::failed(format!("read {}", file.display()), error))
}

/// Makes the maps of an object; `set` says what differs from how it was compiled. Programs are loaded one by one afterwards.
///
/// # Errors
/// [`EbpfError`]
pub fn open<'a>(object: &[u8], set: impl FnOnce(&mut EbpfLoader<'a>)) -> Result<Ebpf, EbpfError> {
    // Asked first: aya finds out once a process what the kernel can, and without a right it finds that it can nothing.
    let missing = missing_capabilities();
    if !missing.is_empty() {
        return Err(EbpfError::Permission { missing });
    }
    if !has_kernel_types() {
        return Err(EbpfError::NoKernelTypes);
    }
    let mut loader = EbpfLoader::new();
    set(&mut loader);
    loader.load(object).map_err(|error| match error {
        aya::EbpfError::MapError(MapError::CreateError { name, io_error })
            if io_error.kind() == io::ErrorKind::InvalidInput =>
        {
            EbpfError::TooOld { what: format!("the map {name}"), error: io_error }
        }
        aya::EbpfError::MapError(MapError::CreateError { name, io_error }) => {
            EbpfError::failed(format!("make the map {name}"), io_error)
        }
        other => EbpfError::failed("open the programs", with_causes(&other)),
    })
}

/// True if the kernel's types are there to be read; a container may have something else in their place.
fn has_kernel_types() -> bool {
    let mut magic = [0; 2];
    let read = File::open(KERNEL_TYPES).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && u16::from_ne_bytes(magic) == BTF_MAGIC
}

/// How often a program is given to the kernel.
const LOADS: usize = 20;

/// Has the kernel verify and load a program for devices.
///
/// # Errors
/// [`EbpfError`]
pub fn classifier<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier, EbpfError> {
    let program =
        ebpf.program_mut(name).ok_or_else(|| EbpfError::failed(format!("find {name}"), "no such program"))?;
    let program: &mut SchedClassifier =
        program.try_into().map_err(|error: ProgramError| EbpfError::failed(format!("use {name}"), error))?;
    match undisturbed(|| program.load()) {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(program),
        Err(error) => Err(refused(name, error)),
    }
}

/// Has the kernel verify a program, again where a signal interrupted it: that says nothing of the program (EAGAIN of `bpf_check`).
///
/// # Errors
/// The last answer.
pub fn undisturbed(load: impl FnMut() -> Result<(), ProgramError>) -> Result<(), ProgramError> {
    again_while(is_interrupted, load)
}

fn is_interrupted(error: &ProgramError) -> bool {
    matches!(error, ProgramError::LoadError { io_error, .. } if io_error.kind() == io::ErrorKind::WouldBlock)
}

fn again_while<E>(interrupted: fn(&E) -> bool, mut load: impl FnMut() -> Result<(), E>) -> Result<(), E> {
    let mut answer = load();
    for _ in 1..LOADS {
        if !answer.as_ref().is_err_and(interrupted) {
            break;
        }
        answer = load();
    }
    answer
}

/// What to say of a program that was not loaded.
#[must_use]
pub fn refused(name: &str, error: ProgramError) -> EbpfError {
    match error {
        ProgramError::LoadError { verifier_log, io_error } => EbpfError::Refused {
            program: name.to_owned(),
            reason: match last_line(&verifier_log.to_string()) {
                Some(line) => format!("{line} ({io_error})"),
                None => io_error.to_string(),
            },
        },
        other => EbpfError::failed(format!("load {name}"), with_causes(&other)),
    }
}

/// The verifier's reason: behind it stand only figures of its work.
fn last_line(log: &str) -> Option<String> {
    const FIGURES: [&str; 3] = ["processed ", "verification time", "stack depth "];
    let said = |line: &&str| !line.is_empty() && !FIGURES.iter().any(|figure| line.starts_with(figure));
    log.lines().map(str::trim).rev().find(said).map(str::to_owned)
}

/// The capabilities that are needed and that this thread does not have, as a sentence's part; empty if it has all.
fn missing_capabilities() -> String {
    const NEEDED: [(CapabilitySet, &str); 3] = [
        (CapabilitySet::BPF, "CAP_BPF"),
        (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
        (CapabilitySet::PERFMON, "CAP_PERFMON"),
    ];
    let held = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let all = held.contains(CapabilitySet::SYS_ADMIN);
    let lacks = |capability: CapabilitySet| {
        // Before capabilities of their own there was one for all.
        !held.contains(capability) && (capability == CapabilitySet::NET_ADMIN || !all)
    };
    let missing: Vec<&str> =
        NEEDED.into_iter().filter(|(capability, _)| lacks(*capability)).map(|(_, name)| name).collect();
    match missing.as_slice() {
        [] => String::new(),
        [one] => format!("{one} is"),
        [others @ .., last] => format!("{} and {last} are", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_that_a_signal_interrupted_is_tried_again_and_no_other() {
        for (answers, asked, last) in [
            (vec![Err("interrupted"), Err("interrupted"), Ok(())], 3, Ok(())),
            (vec![Err("refused"), Ok(())], 1, Err("refused")),
            (vec![Err("interrupted"); 100], LOADS, Err("interrupted")),
        ] {
            let mut loads = 0;
            let loaded = again_while(
                |error| *error == "interrupted",
                || {
                    loads += 1;
                    answers[loads - 1]
                },
            );
            assert_eq!((loads, loaded), (asked, last));
        }
    }

    #[test]
    fn the_verifiers_reason_is_its_last_line_of_substance() {
        let log = "0: (bf) r6 = r1\nR4 invalid zero-sized read: u64=[0,255]\nverification time 13 usec\nstack depth 0\nprocessed 2 insns\n";
        assert_eq!(last_line(log).unwrap(), "R4 invalid zero-sized read: u64=[0,255]");
        assert_eq!(last_line(""), None);
    }
}
