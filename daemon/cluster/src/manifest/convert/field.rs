//! Single fields: read, or found wrong with their path.

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Arc;

use super::wire::ObjectMeta;
use crate::object::{ObjectName, Owner};
use crate::{Protocol, UnixNanos};
use ipnet::IpNet;

/// A field that is not as it must be.
#[derive(Clone, Debug)]
pub(crate) struct FieldError {
    /// Kind and name of the object.
    pub(crate) object: String,
    /// Path of the field.
    pub(crate) field: String,
    /// What is wrong with it.
    pub(crate) why: String,
}

impl FieldError {
    /// In an object that is named further out.
    pub(super) fn at(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self { object: String::new(), field: field.into(), why: why.into() }
    }

    pub(in crate::manifest) fn missing(object: String, field: &str) -> Self {
        Self { object, field: field.into(), why: "is missing; is the file complete?".into() }
    }
}

/// The part of the object that must be there.
pub(super) fn required<T>(part: Option<T>, field: &str) -> Result<T, FieldError> {
    part.ok_or_else(|| FieldError::missing(String::new(), field))
}

/// Name of an object that is in no namespace.
pub(super) fn name(metadata: &ObjectMeta) -> Result<Arc<str>, FieldError> {
    let name = metadata.name.as_deref().filter(|name| !name.is_empty());
    required(name, "metadata.name").map(Arc::from)
}

/// Name of an object in a namespace, which is `default` where none is stated.
pub(super) fn namespaced(metadata: &ObjectMeta) -> Result<ObjectName, FieldError> {
    let namespace = metadata.namespace.as_deref().filter(|namespace| !namespace.is_empty());
    Ok(ObjectName { namespace: namespace.unwrap_or("default").into(), name: name(metadata)? })
}

/// Creation time; the epoch where it is not stated.
pub(super) fn created(metadata: &ObjectMeta) -> Result<UnixNanos, FieldError> {
    let Some(text) = metadata.creation_timestamp.as_deref() else { return Ok(UnixNanos::ZERO) };
    let time: Result<jiff::Timestamp, _> = text.parse();
    let nanos = time.ok().and_then(|time| u64::try_from(time.as_nanosecond()).ok());
    nanos.map(UnixNanos::from_nanos).ok_or_else(|| {
        FieldError::at(
            "metadata.creationTimestamp",
            format!("{text:?} is not a time as 2026-01-02T03:04:05Z"),
        )
    })
}

/// The owner that controls the object; an object has one at most.
pub(super) fn controller(metadata: &ObjectMeta) -> Option<Owner> {
    let mut owners = metadata.owner_references.iter().flatten();
    let owner = owners.find(|owner| owner.controller == Some(true))?;
    Some(Owner { kind: owner.kind.as_str().into(), name: owner.name.as_str().into() })
}

/// An address, IPv4 in IPv6 as IPv4.
pub(super) fn address(text: &str, field: impl Display) -> Result<IpAddr, FieldError> {
    let address: Result<IpAddr, _> = text.parse();
    address
        .map(|address| address.to_canonical())
        .map_err(|_| FieldError::at(field.to_string(), format!("{text:?} is not an IP address")))
}

/// Addresses, as `field[0]` and so on.
pub(super) fn addresses(texts: &[String], field: &str) -> Result<Vec<IpAddr>, FieldError> {
    let indexed = texts.iter().enumerate();
    indexed.map(|(index, text)| address(text, format_args!("{field}[{index}]"))).collect()
}

/// Ranges, as `field[0]` and so on.
pub(super) fn ranges(texts: &[String], field: &str) -> Result<Vec<IpNet>, FieldError> {
    let range = |(index, text): (usize, &String)| {
        let range: Result<IpNet, _> = text.parse();
        range
            .map(|range| range.trunc())
            .map_err(|_| FieldError::at(format!("{field}[{index}]"), format!("{text:?} is not an IP range")))
    };
    texts.iter().enumerate().map(range).collect()
}

/// A port from 1 to 65535.
pub(super) fn port(number: i32, field: impl Display) -> Result<u16, FieldError> {
    u16::try_from(number)
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| FieldError::at(field.to_string(), format!("{number} is not a port from 1 to 65535")))
}

/// TCP where no protocol is stated.
pub(super) fn protocol(text: Option<&str>, field: impl Display) -> Result<Protocol, FieldError> {
    match text {
        None | Some("" | "TCP") => Ok(Protocol::Tcp),
        Some("UDP") => Ok(Protocol::Udp),
        Some("SCTP") => Ok(Protocol::Sctp),
        Some(other) => {
            let why = format!("{other:?} is none of TCP, UDP and SCTP");
            Err(FieldError::at(field.to_string(), why))
        }
    }
}
