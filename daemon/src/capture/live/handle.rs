//! One libpcap handle: one device, one way, one ring.
//!
//! libpcap's own kernel filter rejects the first block of frames when it asks for the way, since it repeats the filter in
//! user space where the way is not known. So the way is checked by `pcap_setdirection` (user space, always right), and a
//! filter of our own is put on the socket beside it, so that the ring holds only what will be kept, cut at the snap length.

use std::os::fd::{AsFd, BorrowedFd};

use pcap::{Active, Capture, Linktype, Precision};
use socket2::{SockFilter, SockRef};
use weir_cluster::UnixNanos;

use super::{LiveError, Settings};
use crate::capture::{Direction, Frame, InterfaceId, LinkType};

/// The kernel hands a ring's block over at the latest so many milliseconds after it was begun. Less makes flows no fresher
/// than their settling does, and uses up the blocks of a quiet ring sooner.
pub const RETIRE_MS: i32 = 20;
/// Frames read from one handle before the others have their turn.
const TURN: usize = 4096;
/// `BPF_RET | BPF_K`.
const BPF_RETURN: u16 = 0x06;

/// Why a device is not captured on.
#[derive(Debug)]
pub enum Refusal {
    /// Not allowed.
    Permission,
    /// It went before it could be opened.
    Gone,
    /// What libpcap says.
    Other(String),
}

/// An open handle.
pub struct Handle {
    capture: Capture<Active>,
    direction: Direction,
    link: LinkType,
    dropped: u32,
}

impl Handle {
    /// Opens a device for one way. On the loopback libpcap shows the inbound way alone.
    pub fn open(name: &str, direction: Direction, ring: usize, settings: &Settings) -> Result<Self, Refusal> {
        let ring = i32::try_from(ring).unwrap_or(i32::MAX);
        let snap_len = i32::try_from(settings.snap_len).unwrap_or(i32::MAX);
        let mut capture = Capture::from_device(name)?
            .promisc(false)
            .snaplen(snap_len)
            .timeout(RETIRE_MS)
            .buffer_size(ring)
            .precision(Precision::Nano)
            .open()?
            .setnonblock()?;
        let (way, word) = match direction {
            Direction::Inbound => (pcap::Direction::In, Some("inbound")),
            Direction::Outbound => (pcap::Direction::Out, Some("outbound")),
            Direction::Unknown => (pcap::Direction::InOut, None),
        };
        capture.direction(way)?;
        if let Some(expression) = &settings.filter {
            capture.filter(expression, true)?;
        }
        let link = link_type(capture.get_datalink());
        // On a cooked socket offsets in filters are others than libpcap's compiler writes; user space suffices there.
        if link != LinkType::LINUX_SLL && link != LinkType::LINUX_SLL2 {
            narrow(&capture, word, settings)?;
        }
        Ok(Self { capture, direction, link, dropped: 0 })
    }

    /// Reads what the ring has. Returns the number of frames.
    pub fn read(
        &mut self,
        interface: InterfaceId,
        mut each: impl FnMut(&Frame<'_>),
    ) -> Result<usize, pcap::Error> {
        let (direction, link) = (self.direction, self.link);
        self.capture.dispatch(Some(TURN), |packet| {
            let stamp = packet.header.ts;
            // The precision asked for is nanoseconds: libpcap puts them where microseconds would be.
            let nanos = u32::try_from(stamp.tv_usec).unwrap_or(0);
            each(&Frame {
                at: UnixNanos::from_parts(u64::try_from(stamp.tv_sec).unwrap_or(0), nanos),
                interface,
                direction,
                link,
                original_len: packet.header.len,
                bytes: packet.data,
            });
        })
    }

    /// Frames that the kernel dropped since this was last asked.
    pub fn newly_dropped(&mut self) -> u64 {
        let Ok(stat) = self.capture.stats() else {
            return 0;
        };
        let new = stat.dropped.wrapping_sub(self.dropped);
        self.dropped = stat.dropped;
        u64::from(new)
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.capture.as_fd()
    }
}

/// True if the filter can be used at all; a device of another kind may still refuse it.
pub fn check_filter(expression: &str) -> Result<(), LiveError> {
    let refused = |error: pcap::Error| LiveError::Filter {
        expression: expression.to_owned(),
        reason: error.to_string(),
    };
    let ethernet = Capture::dead(Linktype::ETHERNET).map_err(refused)?;
    ethernet.compile(expression, true).map_err(refused)?;
    Ok(())
}

/// Puts the filter that asks for the way, and the user's, on the socket.
fn narrow(capture: &Capture<Active>, word: Option<&str>, settings: &Settings) -> Result<(), Refusal> {
    let expression = match (word, &settings.filter) {
        (Some(word), Some(filter)) => format!("{word} and ({filter})"),
        (Some(word), None) => word.to_owned(),
        (None, filter) => filter.clone().unwrap_or_default(),
    };
    let program = capture.compile(&expression, true)?;
    let instructions: Option<Vec<SockFilter>> = program
        .get_instructions()
        .iter()
        .map(|instruction| socket_filter(&instruction.to_string(), settings.snap_len))
        .collect();
    let instructions =
        instructions.ok_or_else(|| Refusal::Other("libpcap's filter program cannot be read".into()))?;
    SockRef::from(capture)
        .attach_filter(&instructions)
        .map_err(|error| Refusal::Other(format!("the kernel refused the filter: {error}")))
}

/// An instruction as the `pcap` crate prints it, "code jt jf k", which is the only way it gives one away. What accepts a
/// frame accepts no more of it than the snap length.
fn socket_filter(printed: &str, snap_len: u32) -> Option<SockFilter> {
    let mut fields = printed.split(' ');
    let code: u16 = fields.next()?.parse().ok()?;
    let (true_jump, false_jump) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let operand: u32 = fields.next()?.parse().ok()?;
    let operand = if code == BPF_RETURN { operand.min(snap_len) } else { operand };
    Some(SockFilter::new(code, true_jump, false_jump, operand))
}

/// Of a DLT_ number as libpcap has it at run time; raw IP's differs from the number in files.
fn link_type(datalink: Linktype) -> LinkType {
    const DLT_RAW: i32 = 12;
    match datalink.0 {
        DLT_RAW => LinkType::RAW,
        other => LinkType(u16::try_from(other).unwrap_or(u16::MAX)),
    }
}

impl From<pcap::Error> for Refusal {
    /// libpcap gives sentences; these are told apart by their words, in English in every version.
    fn from(error: pcap::Error) -> Self {
        let text = error.to_string();
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if says(&["permission", "Operation not permitted", "CAP_NET_RAW"]) {
            Self::Permission
        } else if says(&["No such device", "does not exist", "disappeared", "went down", "is not up"]) {
            Self::Gone
        } else {
            Self::Other(text)
        }
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Handle")
            .field("direction", &self.direction)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_is_named_with_the_reason() {
        let error = check_filter("tcp prot 80").unwrap_err().to_string();
        assert!(error.starts_with("capture filter \"tcp prot 80\": "), "{error}");
        assert!(error.contains("syntax error"), "{error}");
        assert!(check_filter("tcp port 80 or udp").is_ok());
    }

    #[test]
    fn raw_ip_has_another_number_in_files() {
        assert_eq!(link_type(Linktype(12)), LinkType::RAW);
        assert_eq!(link_type(Linktype(1)), LinkType::ETHERNET);
    }

    #[test]
    fn instructions_are_read_back_as_printed() {
        assert!(socket_filter("40 0 0 4294963204", 768).is_some());
        assert!(socket_filter("6 0 0 262144", 768).is_some());
        assert!(socket_filter("6 0", 768).is_none());
    }
}
