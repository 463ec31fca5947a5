//! Record types by number and in words (IANA "Domain Name System Parameters", resource record types).

pub(super) const A: u16 = 1;
pub(super) const CNAME: u16 = 5;
pub(super) const AAAA: u16 = 28;

/// A type is added here.
const WORDS: [(u16, &str); 50] = [
    (A, "A"),
    (2, "NS"),
    (CNAME, "CNAME"),
    (6, "SOA"),
    (10, "NULL"),
    (11, "WKS"),
    (12, "PTR"),
    (13, "HINFO"),
    (14, "MINFO"),
    (15, "MX"),
    (16, "TXT"),
    (17, "RP"),
    (18, "AFSDB"),
    (24, "SIG"),
    (25, "KEY"),
    (AAAA, "AAAA"),
    (29, "LOC"),
    (33, "SRV"),
    (35, "NAPTR"),
    (36, "KX"),
    (37, "CERT"),
    (39, "DNAME"),
    (41, "OPT"),
    (42, "APL"),
    (43, "DS"),
    (44, "SSHFP"),
    (45, "IPSECKEY"),
    (46, "RRSIG"),
    (47, "NSEC"),
    (48, "DNSKEY"),
    (50, "NSEC3"),
    (51, "NSEC3PARAM"),
    (52, "TLSA"),
    (53, "SMIMEA"),
    (59, "CDS"),
    (60, "CDNSKEY"),
    (61, "OPENPGPKEY"),
    (62, "CSYNC"),
    (63, "ZONEMD"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (99, "SPF"),
    (249, "TKEY"),
    (250, "TSIG"),
    (251, "IXFR"),
    (252, "AXFR"),
    (253, "MAILB"),
    (255, "ANY"),
    (256, "URI"),
    (257, "CAA"),
];

/// The type's mnemonic; `TYPE` and the number where it has none here (RFC 3597 section 5).
pub(super) fn word(number: u16) -> String {
    match WORDS.binary_search_by_key(&number, |(number, _)| *number) {
        Ok(found) => WORDS.get(found).map_or_else(String::new, |(_, word)| (*word).to_owned()),
        Err(_) => format!("TYPE{number}"),
    }
}
