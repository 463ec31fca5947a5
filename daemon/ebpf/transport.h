/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Transports: which conversation a packet is of, how far it brings it, and what it says beside. */
#ifndef WEIR_TRANSPORT_H
#define WEIR_TRANSPORT_H

#include "tunnel.h"

/* decode/opaque.rs: WireGuard by the lengths of its messages, on its own ports by the shape of its data; ESP behind NAT. */
static __always_inline bool is_opaque(struct __sk_buff *skb, __u32 at, __u32 len, __be16 source, __be16 destination)
{
	__be32 word;
	__u32 kind;

	if (len < sizeof(word) || !fetch(skb, at, &word))
		return false;
	kind = bpf_ntohl(word) >> 24;
	if (kind >= 1 && kind <= 4 && !(bpf_ntohl(word) & 0xffffff)) {
		if (kind == 4)
			return len >= 32 && len % 16 == 0 && named(settings.wireguard_ports, source, destination);
		return len == (kind == 1 ? 148 : kind == 2 ? 92 : 64);
	}
	return word && len > 8 && (source == bpf_htons(PORT_ESP) || destination == bpf_htons(PORT_ESP));
}

static __always_inline enum found udp(struct __sk_buff *skb, struct cursor *cursor, struct packet *packet,
				      struct ends *ends)
{
	__u32 room = cursor->end - cursor->at, len;
	struct udp header;
	enum found found;

	if (room < sizeof(header) || !fetch(skb, cursor->at, &header))
		return UNREAD;
	ends->source_port = header.source;
	ends->destination_port = header.destination;
	len = bpf_ntohs(header.len);
	if (len == 0)
		len = room;
	if (len < sizeof(header))
		return UNREAD;
	if (len > room)
		len = room;
	packet->payload_bytes = len - sizeof(header);
	packet->message = header.source == bpf_htons(PORT_DNS) || header.destination == bpf_htons(PORT_DNS);
	if (header.source == bpf_htons(PORT_VXLAN_GPE) || header.destination == bpf_htons(PORT_VXLAN_GPE) ||
	    header.destination == bpf_htons(PORT_MPLS))
		return UNREAD;
	cursor->end = cursor->at + len;
	cursor->at += sizeof(header);
	if (named(settings.vxlan_ports, header.source, header.destination))
		found = vxlan(skb, cursor, &packet->outside);
	else if (named(settings.geneve_ports, header.source, header.destination))
		found = geneve(skb, cursor, &packet->outside);
	else
		found = COUNTABLE;
	packet->opaque = found == COUNTABLE &&
			 is_opaque(skb, cursor->at, packet->payload_bytes, header.source, header.destination);
	return found;
}

static __always_inline enum found tcp(struct __sk_buff *skb, struct cursor *cursor, struct packet *packet,
				      struct ends *ends)
{
	__u32 room = cursor->end - cursor->at, len;
	struct tcp header;

	if (room < 20 || !fetch(skb, cursor->at, &header))
		return UNREAD;
	len = (header.words >> 4) * 4;
	if (len < 20 || len > room)
		return UNREAD;
	ends->source_port = header.source;
	ends->destination_port = header.destination;
	packet->payload_bytes = room - len;
	packet->sequence = bpf_ntohl(header.sequence);
	packet->acknowledgement = bpf_ntohl(header.acknowledgement);
	packet->window = bpf_ntohs(header.window);
	packet->flags = (header.words & 1) << 8 | header.flags;
	packet->message = header.source == bpf_htons(PORT_DNS) || header.destination == bpf_htons(PORT_DNS);
	return COUNTABLE;
}

/* RFC 9260: data and its acknowledgement alone go on; every other chunk is a matter for the daemon. */
static __always_inline enum found sctp(struct __sk_buff *skb, struct cursor *cursor, struct packet *packet,
				       struct ends *ends)
{
	__u32 room = cursor->end - cursor->at, at = cursor->at + 12, chunk, len;
	struct words header;

	if (room < 12 || !fetch(skb, cursor->at, &header))
		return UNREAD;
	ends->source_port = bpf_htons(bpf_ntohl(header.first) >> 16);
	ends->destination_port = bpf_htons(bpf_ntohl(header.first) & 0xffff);
	packet->payload_bytes = room - 12;
	packet->matter = 1;
	for (int i = 0; i < CHUNKS; i++) {
		if (at + 4 > cursor->end || !fetch(skb, at, (__be32 *)&chunk))
			return COUNTABLE;
		chunk = bpf_ntohl(chunk);
		len = chunk & 0xffff;
		if ((chunk >> 24 != 0 && chunk >> 24 != 3) || len < 4)
			return COUNTABLE;
		at += (len + 3) & ~3;
		if (at >= cursor->end) {
			packet->matter = 0;
			return COUNTABLE;
		}
	}
	return COUNTABLE;
}

/* The types of ICMP and ICMPv6 that carry an identifier, and those that quote a packet. */
static __always_inline bool has_identifier(__u8 protocol, __u32 type)
{
	return protocol == PROTO_ICMP ? type == 0 || type == 8 || (type >= 13 && type <= 18) : type == 128 || type == 129;
}

static __always_inline bool quotes(__u8 protocol, __u32 type)
{
	return protocol == PROTO_ICMP ? (type >= 3 && type <= 5) || type == 11 || type == 12 : type >= 1 && type <= 4;
}

/* The ends of a quoted packet, if they are easily read: an error may end the conversation that it is about. */
static __always_inline bool quoted(struct __sk_buff *skb, __u32 at, struct ends *ends)
{
	struct words ports;
	struct ipv4 four;
	struct ipv6 six;

	__builtin_memset(ends, 0, sizeof(*ends));
	if (!fetch(skb, at, &four))
		return false;
	if (four.version_words >> 4 == 4) {
		ends->source[0] = four.source;
		ends->destination[0] = four.destination;
		ends->protocol = four.protocol;
		ends->family = 4;
		at += (four.version_words & 0x0f) * 4;
	} else if (four.version_words >> 4 == 6 && fetch(skb, at, &six)) {
		__builtin_memcpy(ends->source, six.source, 16);
		__builtin_memcpy(ends->destination, six.destination, 16);
		ends->protocol = six.next;
		ends->family = 6;
		at += sizeof(six);
	} else {
		return false;
	}
	if (!fetch(skb, at, &ports))
		return false;
	if (ends->protocol == PROTO_ICMP || ends->protocol == PROTO_ICMPV6) {
		if (!has_identifier(ends->protocol, bpf_ntohl(ports.first) >> 24))
			return false;
		ends->source_port = ends->destination_port = bpf_htons(bpf_ntohl(ports.second) >> 16);
		return true;
	}
	ends->source_port = bpf_htons(bpf_ntohl(ports.first) >> 16);
	ends->destination_port = bpf_htons(bpf_ntohl(ports.first) & 0xffff);
	return ends->protocol == PROTO_TCP || ends->protocol == PROTO_UDP || ends->protocol == PROTO_SCTP;
}

/* Requests and replies with an identifier, which takes the place of both ports. Errors and the rest are the daemon's. */
static __always_inline enum found icmp(struct __sk_buff *skb, struct cursor *cursor, struct packet *packet,
				       struct ends *ends)
{
	struct words header;
	__u32 type;

	if (cursor->end - cursor->at < sizeof(header) || !fetch(skb, cursor->at, &header))
		return UNREAD;
	type = bpf_ntohl(header.first) >> 24;
	if (quotes(ends->protocol, type))
		packet->refused = quoted(skb, cursor->at + sizeof(header), ends);
	else if (has_identifier(ends->protocol, type)) {
		ends->source_port = ends->destination_port = bpf_htons(bpf_ntohl(header.second) >> 16);
		return COUNTABLE;
	}
	return UNREAD;
}

/* IP in IP: the version inside must be the one that is announced. */
static __always_inline enum found inside(struct cursor *cursor, __u16 type)
{
	cursor->type = type;
	return TUNNEL;
}

static __always_inline enum found transport(struct __sk_buff *skb, struct cursor *cursor, struct packet *packet,
					    struct ends *ends)
{
	switch (ends->protocol) {
	case PROTO_TCP:
		return tcp(skb, cursor, packet, ends);
	case PROTO_UDP:
		return udp(skb, cursor, packet, ends);
	case PROTO_ICMP:
		return icmp(skb, cursor, packet, ends);
	case PROTO_ICMPV6:
		return icmp(skb, cursor, packet, ends);
	case PROTO_SCTP:
		return sctp(skb, cursor, packet, ends);
	case PROTO_ESP:
		packet->payload_bytes = cursor->end - cursor->at;
		return COUNTABLE;
	case PROTO_IPIP:
		return inside(cursor, ETH_IPV4);
	case PROTO_IPV6:
		return inside(cursor, ETH_IPV6);
	case PROTO_GRE:
		return gre(skb, cursor, &packet->outside);
	default:
		return UNREAD;
	}
}

#endif
