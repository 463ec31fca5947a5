//! A netlink socket as the readers of the kernel's testimony and of devices use it: subscribe, ask, and read whole messages.
//!
//! An overrun (ENOBUFS: the kernel had messages and no room for them) is a value here, not an error, since every reader
//! must answer it the same way: count it and dump again. Nothing here knows what a message means.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::{Socket, SocketAddr};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv, sockopt};

/// `struct nlmsghdr`.
pub const HEADER: usize = 16;
const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Larger than any datagram the kernel makes: dumps come in 32 KiB, NFLOG in at most 128 KiB.
const DATAGRAM: usize = 128 * 1024;

/// An open netlink socket.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    buffer: Vec<u8>,
}

/// What one read gave.
#[derive(Debug)]
pub enum Received<'a> {
    /// Messages of one datagram.
    Messages(Messages<'a>),
    /// The kernel lost messages for want of room.
    Overrun,
    /// Nothing more for now.
    Nothing,
}

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// The kernel's answer to a request: done, or what was wrong.
    Answer {
        /// As in the request.
        sequence: u32,
        /// None if it was carried out.
        error: Option<Errno>,
    },
    /// A dump is complete.
    Done,
    /// Anything of the subsystem.
    Data {
        /// `nlmsg_type`.
        kind: u16,
        /// The message with its header.
        whole: &'a [u8],
    },
}

impl<'a> Message<'a> {
    /// What stands behind the header of a whole message.
    #[must_use]
    pub fn body(whole: &'a [u8]) -> &'a [u8] {
        whole.get(HEADER..).unwrap_or_default()
    }
}

impl Listener {
    /// Opens a socket of a netlink protocol (`netlink_sys::protocols`) that never blocks, and subscribes it to groups.
    /// The receive buffer is `receive_buffer` bytes where the right to force it is held, else as much as
    /// `net.core.rmem_max` allows.
    ///
    /// # Errors
    /// As the kernel says: `EPERM` for a group that needs CAP_NET_ADMIN, `EPROTONOSUPPORT` for an unknown protocol.
    pub fn open(protocol: isize, groups: &[u32], receive_buffer: usize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        if sockopt::set_socket_recv_buffer_size_force(&socket, receive_buffer).is_err() {
            sockopt::set_socket_recv_buffer_size(&socket, receive_buffer)?;
        }
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_non_blocking(true)?;
        for group in groups {
            socket.add_membership(*group)?;
        }
        Ok(Self { socket, buffer: vec![0; DATAGRAM] })
    }

    /// Sends one message to the kernel.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn send(&self, message: &[u8]) -> io::Result<()> {
        self.socket.send(message, 0).map(drop)
    }

    /// Reads one datagram, if there is one.
    ///
    /// # Errors
    /// As the kernel says, except for what [`Received`] tells.
    pub fn receive(&mut self) -> io::Result<Received<'_>> {
        match recv(&self.socket, &mut self.buffer[..], RecvFlags::TRUNC) {
            Ok((_, length)) if length > DATAGRAM => Ok(Received::Overrun),
            Ok((read, _)) => Ok(Received::Messages(Messages { rest: &self.buffer[..read] })),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Received::Nothing),
            Err(Errno::NOBUFS) => Ok(Received::Overrun),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The messages of one datagram. Ends at the first that does not fit.
#[derive(Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    /// The messages in these bytes.
    #[must_use]
    pub const fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }

    fn split(&mut self) -> Option<(u16, u32, &'a [u8])> {
        let header: &[u8; HEADER] = self.rest.first_chunk()?;
        let length = u32::from_ne_bytes(*header.first_chunk()?) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let sequence = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]);
        let whole = self.rest.get(..length).filter(|whole| whole.len() >= HEADER)?;
        self.rest = self.rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, sequence, whole))
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some((kind, sequence, whole)) = self.split() else {
                self.rest = &[];
                return None;
            };
            let error = error_in(Message::body(whole));
            match kind {
                NLMSG_NOOP => {}
                NLMSG_ERROR => return Some(Message::Answer { sequence, error }),
                // A dump that failed half-way says so in its end.
                NLMSG_DONE if error.is_some() => return Some(Message::Answer { sequence, error }),
                NLMSG_DONE => return Some(Message::Done),
                _ => return Some(Message::Data { kind, whole }),
            }
        }
    }
}

/// The negative error number at the start of an answer. NFLOG's `NLMSG_DONE` has a header of its own there, which is none.
fn error_in(body: &[u8]) -> Option<Errno> {
    let code = i32::from_ne_bytes(*body.first_chunk()?);
    (-4095..0).contains(&code).then(|| Errno::from_raw_os_error(-code))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + body.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn a_datagram_is_its_messages() {
        let datagram = [
            message(0x0100, b"abc"),
            message(NLMSG_NOOP, b""),
            message(NLMSG_ERROR, &(-16_i32).to_ne_bytes()),
            message(NLMSG_ERROR, &0_i32.to_ne_bytes()),
            message(NLMSG_DONE, &0_i32.to_ne_bytes()),
            message(NLMSG_DONE, &[0, 0, 0, 200]),
            message(NLMSG_DONE, &(-4_i32).to_ne_bytes()),
            vec![200, 0, 0, 0],
        ]
        .concat();
        let sequence = u32::from_ne_bytes([7, 0, 0, 0]);
        let messages: Vec<_> = Messages::new(&datagram).collect();
        assert_eq!(
            messages,
            [
                Message::Data { kind: 0x0100, whole: &datagram[..19] },
                Message::Answer { sequence, error: Some(Errno::BUSY) },
                Message::Answer { sequence, error: None },
                Message::Done,
                Message::Done,
                Message::Answer { sequence, error: Some(Errno::INTR) },
            ]
        );
        assert_eq!(Message::body(&datagram[..19]), b"abc");
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic_and_end(bytes: Vec<u8>) {
            prop_assert!(Messages::new(&bytes).count() <= bytes.len());
            for kind in 0..5 {
                let _ = Messages::new(&message(kind, &bytes)).count();
            }
        }
    }
}
