//! Names that Hubble's numbers go by: event types, trace observation points, reserved identities, drop reasons.
//!
//! Facts of the wire and of what people type and read; tables and nothing else.

/// Event type of a trace.
pub const TRACE: i32 = 4;
/// Event type of a drop.
pub const DROP: i32 = 1;
/// Event type of a policy verdict.
pub const POLICY_VERDICT: i32 = 5;
/// Event type of a socket trace.
pub const TRACE_SOCK: i32 = 7;
/// Event type of an application message.
pub const L7: i32 = 129;

/// Event types by name.
pub const EVENT_TYPES: &[(&str, i32)] = &[
    ("drop", DROP),
    ("capture", 3),
    ("trace", TRACE),
    ("policy-verdict", POLICY_VERDICT),
    ("trace-sock", TRACE_SOCK),
    ("l7", L7),
];

/// Trace observation points by their subtype.
const TRACE_POINTS: &[&str] = &[
    "to-endpoint",
    "to-proxy",
    "to-host",
    "to-stack",
    "to-overlay",
    "from-endpoint",
    "from-proxy",
    "from-host",
    "from-stack",
    "from-overlay",
    "from-network",
    "to-network",
    "from-crypto",
    "to-crypto",
];

/// Reserved identities by number.
const RESERVED: &[&str] = &[
    "unknown",
    "host",
    "world",
    "unmanaged",
    "health",
    "init",
    "remote-node",
    "kube-apiserver",
    "ingress",
    "world-ipv4",
    "world-ipv6",
    "encrypted-overlay",
];

/// Number of an event type.
#[must_use]
pub fn event_type(name: &str) -> Option<i32> {
    EVENT_TYPES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// Subtype of a trace by its name.
#[must_use]
pub fn trace_point(name: &str) -> Option<i32> {
    TRACE_POINTS.iter().position(|known| *known == name).and_then(|at| i32::try_from(at).ok())
}

/// Name of a trace's subtype.
#[must_use]
pub fn trace_point_name(sub_type: i32) -> Option<&'static str> {
    TRACE_POINTS.get(usize::try_from(sub_type).ok()?).copied()
}

/// Number of a reserved identity.
#[must_use]
pub fn reserved_identity(name: &str) -> Option<u32> {
    RESERVED.iter().position(|known| *known == name).and_then(|at| u32::try_from(at).ok())
}

/// Name of a reserved identity.
#[must_use]
pub fn reserved_identity_name(number: u32) -> Option<&'static str> {
    RESERVED.get(number as usize).copied()
}

/// How a policy matched, by number.
#[must_use]
pub fn policy_match(number: u32) -> &'static str {
    const NAMES: &[&str] = &["none", "L3-Only", "L3-L4", "L4-Only", "all", "L3-Proto", "Proto-Only"];
    NAMES.get(number as usize).copied().unwrap_or("none")
}

/// What a drop's reason code is called on the screen; differs from the name on the wire.
#[must_use]
pub fn drop_reason(code: i32) -> Option<&'static str> {
    DROP_REASONS.binary_search_by_key(&code, |(known, _)| *known).ok().map(|at| DROP_REASONS[at].1)
}

const DROP_REASONS: &[(i32, &str)] = &[
    (0, "Success"),
    (2, "Invalid packet"),
    (130, "Invalid source mac"),
    (131, "Invalid destination mac"),
    (132, "Invalid source ip"),
    (133, "Policy denied"),
    (134, "Invalid packet"),
    (135, "CT: Truncated or invalid header"),
    (136, "Fragmentation needed"),
    (137, "CT: Unknown L4 protocol"),
    (138, "CT: Can't create entry from packet"),
    (139, "Unsupported L3 protocol"),
    (140, "Missed tail call"),
    (141, "Error writing to packet"),
    (142, "Unknown L4 protocol"),
    (143, "Unknown ICMPv4 code"),
    (144, "Unknown ICMPv4 type"),
    (145, "Unknown ICMPv6 code"),
    (146, "Unknown ICMPv6 type"),
    (147, "Error retrieving tunnel key"),
    (148, "Error retrieving tunnel options"),
    (149, "Invalid Geneve option"),
    (150, "Unknown L3 target address"),
    (151, "Stale or unroutable IP"),
    (152, "No matching local container found"),
    (153, "Error while correcting L3 checksum"),
    (154, "Error while correcting L4 checksum"),
    (155, "CT: Map insertion failed"),
    (156, "Invalid IPv6 extension header"),
    (157, "IP fragmentation not supported"),
    (158, "Service backend not found"),
    (160, "No tunnel/encapsulation endpoint (datapath BUG!)"),
    (161, "NAT 46/64 not enabled"),
    (162, "Reached EDT rate-limiting drop horizon"),
    (163, "Unknown connection tracking state"),
    (164, "Local host is unreachable"),
    (165, "No configuration available to perform policy decision"),
    (166, "Unsupported L2 protocol"),
    (167, "No mapping for NAT masquerade"),
    (168, "Unsupported protocol for NAT masquerade"),
    (169, "FIB lookup failed"),
    (170, "Encapsulation traffic is prohibited"),
    (171, "Invalid identity"),
    (172, "Unknown sender"),
    (173, "NAT not needed"),
    (174, "Is a ClusterIP"),
    (175, "First logical datagram fragment not found"),
    (176, "Forbidden ICMPv6 message"),
    (177, "Denied by LB src range check"),
    (178, "Socket lookup failed"),
    (179, "Socket assign failed"),
    (180, "Proxy redirection not supported for protocol"),
    (181, "Policy denied by denylist"),
    (182, "VLAN traffic disallowed by VLAN filter"),
    (183, "Incorrect VNI from VTEP"),
    (184, "Failed to update or lookup TC buffer"),
    (185, "No SID was found for the IP address"),
    (186, "SRv6 state was removed during tail call"),
    (187, "L3 translation from IPv4 to IPv6 failed (NAT46)"),
    (188, "L3 translation from IPv6 to IPv4 failed (NAT64)"),
    (189, "Authentication required"),
    (190, "No conntrack map found"),
    (191, "No nat map found"),
    (192, "Invalid ClusterID"),
    (193, "Unsupported packet protocol for DSR encapsulation"),
    (194, "No egress gateway found"),
    (195, "Traffic is unencrypted"),
    (196, "TTL exceeded"),
    (197, "No node ID found"),
    (198, "Rate limited"),
    (199, "IGMP handled"),
    (200, "IGMP subscribed"),
    (201, "Multicast handled"),
    (202, "Host datapath not ready"),
    (203, "Endpoint policy program not available"),
    (204, "No Egress IP configured"),
    (205, "Punt to proxy"),
];
