//! Packets as bytes, and the file they are in: libpcap's format, microseconds, as every peer reads it.

use std::io::{self, Write};
use std::net::IpAddr;

use anyhow::{Result, bail};
use etherparse::TcpOptionElement::{self, MaximumSegmentSize};
use etherparse::{
    IpHeaders, Ipv4Extensions, Ipv4Header, Ipv6Extensions, Ipv6Header, PacketBuilder, TcpHeader, ip_number,
};

use crate::traffic::{Flags, Planned, Said, Segment};
use crate::world::Talk;

const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
const BEGINS_S: u64 = 1_700_000_000;
const SNAP_LEN: u32 = 262_144;
const PAYLOAD: [u8; 1460] = [b'w'; 1460];

/// A capture file.
pub struct CaptureFile<W> {
    out: W,
    frame: Vec<u8>,
    /// Packets in it.
    pub packets: u64,
}

impl<W: Write> CaptureFile<W> {
    pub fn new(mut out: W) -> io::Result<Self> {
        for word in [0xa1b2_c3d4, 4 << 16 | 2, 0, 0, SNAP_LEN, 1] {
            out.write_all(&u32::to_le_bytes(word))?;
        }
        Ok(Self { out, frame: Vec::new(), packets: 0 })
    }

    pub fn write(&mut self, talk: &Talk, planned: &Planned) -> Result<()> {
        self.frame.clear();
        frame(talk, planned, self.packets as u16, &mut self.frame)?;
        let micros = planned.at_ns / 1000;
        let (seconds, rest) = (BEGINS_S + micros / 1_000_000, micros % 1_000_000);
        let length = self.frame.len() as u64;
        for word in [seconds, rest, length, length] {
            self.out.write_all(&(word as u32).to_le_bytes())?;
        }
        self.out.write_all(&self.frame)?;
        self.packets += 1;
        Ok(())
    }

    pub fn finish(mut self) -> io::Result<u64> {
        self.out.flush()?;
        Ok(self.packets)
    }
}

fn frame(talk: &Talk, planned: &Planned, id: u16, out: &mut Vec<u8>) -> Result<()> {
    let from_client = match planned.said {
        Said::Tcp(segment) => segment.from_client,
        Said::Dns(_, answer) | Said::Echo(_, answer) => !answer,
    };
    let (from, to) = if from_client { (talk.client, talk.server) } else { (talk.server, talk.client) };
    let builder = PacketBuilder::ethernet2(MACS.0, MACS.1).ip(network(from.0, to.0, id)?);
    match planned.said {
        Said::Tcp(segment) => {
            let header = tcp(talk, segment, (from.1, to.1), planned.at_ns)?;
            builder.tcp_header(header).write(out, &PAYLOAD[..segment.payload_len as usize])?;
        }
        Said::Dns(number, answer) => {
            builder.udp(from.1, to.1).write(out, &dns(talk, number, answer))?;
        }
        Said::Echo(number, false) => {
            builder.icmpv4_echo_request(talk.client.1, number).write(out, &PAYLOAD[..56])?;
        }
        Said::Echo(number, true) => {
            builder.icmpv4_echo_reply(talk.client.1, number).write(out, &PAYLOAD[..56])?;
        }
    }
    Ok(())
}

/// Lengths are set when the packet is written.
fn network(from: IpAddr, to: IpAddr, id: u16) -> Result<IpHeaders> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut header = Ipv4Header::new(0, 63, ip_number::TCP, from.octets(), to.octets())?;
            header.identification = id;
            Ok(IpHeaders::Ipv4(header, Ipv4Extensions::default()))
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let (source, destination) = (from.octets(), to.octets());
            let header = Ipv6Header { hop_limit: 63, source, destination, ..Ipv6Header::default() };
            Ok(IpHeaders::Ipv6(header, Ipv6Extensions::default()))
        }
        _ => bail!("a packet from {from} to {to}"),
    }
}

fn tcp(talk: &Talk, segment: Segment, ports: (u16, u16), at_ns: u64) -> Result<TcpHeader> {
    let sequence = isn(talk, segment.from_client).wrapping_add(segment.sequence);
    let acknowledgment_number = isn(talk, !segment.from_client).wrapping_add(segment.acknowledgement);
    let first = segment.flags == Flags::Syn;
    let mut header = TcpHeader {
        acknowledgment_number: if first { 0 } else { acknowledgment_number },
        syn: matches!(segment.flags, Flags::Syn | Flags::SynAck),
        ack: !first,
        psh: segment.flags == Flags::Push,
        fin: segment.flags == Flags::FinAck,
        rst: segment.flags == Flags::Reset,
        ..TcpHeader::new(ports.0, ports.1, sequence, 64_000)
    };
    let ticks = (at_ns / 1_000_000) as u32;
    let stamp = TcpOptionElement::Timestamp(ticks, if first { 0 } else { ticks });
    if header.syn {
        let sack = TcpOptionElement::SelectiveAcknowledgementPermitted;
        let scale = TcpOptionElement::WindowScale(7);
        header.set_options(&[MaximumSegmentSize(1460), sack, stamp, TcpOptionElement::Noop, scale])?;
    } else {
        header.set_options(&[TcpOptionElement::Noop, TcpOptionElement::Noop, stamp])?;
    }
    Ok(header)
}

/// An initial sequence number that differs from connection to connection.
fn isn(talk: &Talk, client: bool) -> u32 {
    let (address, port) = talk.client;
    let low = match address {
        IpAddr::V4(address) => u32::from(address),
        IpAddr::V6(address) => u128::from(address) as u32,
    };
    (low ^ u32::from(port) << 16 ^ u32::from(client)).wrapping_mul(2_654_435_761)
}

/// RFC 1035: one question, and of the answer one address behind a pointer to its name. IPv4's alone has one.
fn dns(talk: &Talk, number: u16, answer: bool) -> Vec<u8> {
    let kind: u16 = if number == 0 { 1 } else { 28 };
    let answers = u16::from(answer && kind == 1);
    let id = talk.client.1.wrapping_mul(31).wrapping_add(number);
    let flags: u16 = if answer { 0x8580 } else { 0x0100 };
    let mut bytes: Vec<u8> = [id, flags, 1, answers, 0, 0].into_iter().flat_map(u16::to_be_bytes).collect();
    let service = format!("app{}", talk.client.1 % 24);
    for label in [service.as_str(), "team1", "svc", "cluster", "local", ""] {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.extend([kind, 1].into_iter().flat_map(u16::to_be_bytes));
    if answers > 0 {
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 96, 1, (talk.client.1 % 24) as u8]);
    }
    bytes
}
