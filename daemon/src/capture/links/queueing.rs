//! What traffic control has at a device, from rtnetlink (linux/pkt_sched.h, pkt_cls.h): the queueing discipline where filters
//! hang, and whether others have filters there.
//!
//! At a device's way in there is place for one discipline: `clsact`, which takes filters for both ways, or `ingress`, which
//! takes those for the way in and any other as one of them.

use std::io;

use netlink_packet_core::NlasIterator;

use super::dump;
use super::wire::{dump_request, kind_of, number, text};
use crate::netlink::{HEADER, Message};

const RTM_NEWQDISC: u16 = 36;
const RTM_GETQDISC: u16 = 38;
const RTM_NEWTFILTER: u16 = 44;
const RTM_GETTFILTER: u16 = 46;
/// `struct tcmsg`: family, padding, interface index (i32), handle, parent, info (u32 each).
const TCMSG: usize = 20;
const INDEX: usize = 4;
const PARENT: usize = 12;
const TCA_KIND: u16 = 1;
/// `TC_H_CLSACT`, which is `TC_H_INGRESS` too.
const WAY_IN: u32 = 0xffff_fff1;
/// Filters of `clsact` for what is sent.
const FILTERS_OUT: u32 = 0xffff_fff3;

/// The kind of the discipline at a device's way in, as "clsact"; None if it has none.
///
/// # Errors
/// As the kernel says; no capability is needed.
pub fn discipline_in(index: u32) -> io::Result<Option<String>> {
    let mut found = None;
    dump(&dump_request(RTM_GETQDISC, TCMSG), |whole| {
        if let Some(kind) = parse(whole, RTM_NEWQDISC, index, WAY_IN) {
            found = Some(kind);
        }
    })?;
    Ok(found)
}

/// True if `clsact` has filters for what is sent there.
///
/// # Errors
/// As the kernel says; no capability is needed.
pub fn has_filters_out(index: u32) -> io::Result<bool> {
    let mut request = dump_request(RTM_GETTFILTER, TCMSG);
    request[HEADER + INDEX..][..4].copy_from_slice(&index.to_ne_bytes());
    request[HEADER + PARENT..][..4].copy_from_slice(&FILTERS_OUT.to_ne_bytes());
    let mut any = false;
    dump(&request, |whole| any |= parse(whole, RTM_NEWTFILTER, index, FILTERS_OUT).is_some())?;
    Ok(any)
}

/// The kind of what a message tells of, if it is at this place.
fn parse(whole: &[u8], message: u16, index: u32, parent: u32) -> Option<String> {
    let body = Message::body(whole);
    let is_there = kind_of(whole)? == message
        && number(body.get(INDEX..)?)? == index
        && number(body.get(PARENT..)?)? == parent;
    let mut attributes = NlasIterator::new(body.get(TCMSG..)?).map_while(Result::ok);
    let kind = attributes.find(|attribute| attribute.kind() == TCA_KIND)?;
    is_there.then(|| text(kind.value()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(message: u16, index: u32, parent: u32, kind: &[u8]) -> Vec<u8> {
        let mut bytes = dump_request(message, TCMSG);
        bytes[HEADER + INDEX..][..4].copy_from_slice(&index.to_ne_bytes());
        bytes[HEADER + PARENT..][..4].copy_from_slice(&parent.to_ne_bytes());
        bytes.extend(u16::try_from(4 + kind.len()).unwrap().to_ne_bytes());
        bytes.extend(TCA_KIND.to_ne_bytes());
        bytes.extend(kind);
        bytes
    }

    #[test]
    fn the_kind_is_that_of_the_device_and_place_asked_for() {
        let ingress = message(RTM_NEWQDISC, 7, WAY_IN, b"ingress\0");
        assert_eq!(parse(&ingress, RTM_NEWQDISC, 7, WAY_IN).unwrap(), "ingress");
        assert_eq!(parse(&ingress, RTM_NEWQDISC, 8, WAY_IN), None, "another device's");
        assert_eq!(parse(&ingress, RTM_NEWTFILTER, 7, WAY_IN), None, "no filter");
        let root = message(RTM_NEWQDISC, 7, u32::MAX, b"fq_codel\0");
        assert_eq!(parse(&root, RTM_NEWQDISC, 7, WAY_IN), None, "for what is sent");
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(body: Vec<u8>) {
            let _ = parse(&body, RTM_NEWQDISC, 7, WAY_IN);
            let _ = parse(&message(RTM_NEWQDISC, 7, WAY_IN, &body), RTM_NEWQDISC, 7, WAY_IN);
        }
    }
}
