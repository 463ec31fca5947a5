/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A frame -> the conversation it belongs to. Only what is certain is read here: a frame that this parser and the daemon's
 * decoder could read differently is UNREAD, and goes up whole for the decoder to judge.
 * Numbers of protocols are IANA's.
 */
#ifndef WEIR_PARSE_H
#define WEIR_PARSE_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "weir.h"

/* Headers that begin farther in are not looked for: what is handed up would not hold them. */
#define FAR 640
/* The longest header of a transport. */
#define TRANSPORT 60
/* A packet, and tunnels in it. */
#define DEPTH 4
/* Extension headers of IPv6. */
#define EXTENSIONS 3
/* Chunks of SCTP that may follow the first. */
#define CHUNKS 4

#define ETH_IPV4 0x0800
#define ETH_IPV6 0x86dd
#define ETH_BRIDGED 0x6558

#define PROTO_ICMP 1
#define PROTO_IPIP 4
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_IPV6 41
#define PROTO_GRE 47
#define PROTO_ESP 50
#define PROTO_ICMPV6 58
#define PROTO_SCTP 132

#define PORT_DNS 53
#define PORT_ESP 4500
#define PORT_VXLAN_GPE 4790
#define PORT_MPLS 6635

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* What the parser found. */
enum found {
	UNREAD,			/* for the daemon */
	TUNNEL,			/* a packet in the packet is to be read next */
	COUNTABLE,		/* a conversation's */
};

struct packet {
	struct weir_key key;
	__u32 half;		/* which end sent it */
	__u32 outside;		/* see struct weir_half */
	__u32 reach;		/* where its headers end at the latest */
	__u32 ip_bytes;
	__u32 payload_bytes;
	__u32 sequence;
	__u32 acknowledgement;
	__u16 window;
	__u16 flags;		/* of TCP */
	__u8 message;		/* it carries an application's message that the daemon reads */
	__u8 matter;		/* its transport says more than that data goes on */
	__u8 opaque;		/* it looks like a tunnel that nobody can read */
	__u8 refused;		/* unread: an error about a packet of this conversation */
};

/* Where the next header is, where its packet ends, and what it is. */
struct cursor {
	__u32 at;
	__u32 end;
	__u16 type;
};

struct ethernet {
	__u16 addresses[6];
	__be16 type;
};

struct vlan {
	__be16 tag;
	__be16 type;
};

struct ipv4 {
	__u8 version_words;
	__u8 service;
	__be16 total;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 protocol;
	__be16 checksum;
	__u32 source;
	__u32 destination;
};

struct ipv6 {
	__u8 version;
	__u8 flow[3];
	__be16 payload;
	__u8 next;
	__u8 hops;
	__u32 source[4];
	__u32 destination[4];
};

struct tcp {
	__be16 source;
	__be16 destination;
	__be32 sequence;
	__be32 acknowledgement;
	__u8 words;
	__u8 flags;
	__be16 window;
};

struct udp {
	__be16 source;
	__be16 destination;
	__be16 len;
	__be16 checksum;
};

/* Eight bytes of anything. */
struct words {
	__be32 first;
	__be32 second;
};

extern const volatile struct weir_settings settings;

/* Reads a header: out of the linear part if it is there, else by a helper that looks everywhere. False past the end. */
#define fetch(skb, at, to)							\
({										\
	typeof(*(to)) *_to = (to);						\
	void *_data = (void *)(long)(skb)->data;				\
	void *_end = (void *)(long)(skb)->data_end;				\
	__u32 _at = (at);							\
	bool _read = false;							\
	if (_at <= FAR) {							\
		typeof(_to) _from = _data + _at;				\
		if ((void *)(_from + 1) <= _end) {				\
			*_to = *_from;						\
			_read = true;						\
		} else {							\
			_read = !bpf_skb_load_bytes(skb, _at, _to, sizeof(*_to)); \
		}								\
	}									\
	_read;									\
})

/* Mixes one more word in. */
static __always_inline __u32 mixed(__u32 mix, __u32 word)
{
	mix = (mix ^ word) * 0x9e3779b1;
	return mix ^ (mix >> 15);
}

/* Passes Ethernet and at most two tags. */
static __always_inline bool ethernet(struct __sk_buff *skb, struct cursor *cursor, __u32 *outside)
{
	struct ethernet header;
	struct vlan vlan;

	if (!fetch(skb, cursor->at, &header))
		return false;
	for (int i = 0; i < 6; i += 2)
		*outside = mixed(*outside, header.addresses[i] << 16 | header.addresses[i + 1]);
	cursor->type = bpf_ntohs(header.type);
	cursor->at += sizeof(header);
	for (int tags = 0; tags < 2; tags++) {
		if (cursor->type != 0x8100 && cursor->type != 0x88a8)
			break;
		if (!fetch(skb, cursor->at, &vlan))
			return false;
		*outside = mixed(*outside, bpf_ntohs(vlan.tag) & 0xfff);
		cursor->type = bpf_ntohs(vlan.type);
		cursor->at += sizeof(vlan);
	}
	return cursor->at <= cursor->end;
}

static __always_inline bool named(const volatile __be16 *ports, __be16 one, __be16 other)
{
	for (int i = 0; i < WEIR_PORTS; i++) {
		__be16 port = ports[i];

		if (port && (port == one || port == other))
			return true;
	}
	return false;
}

/* RFC 7348. Without the flag I it is none; with P it is another protocol on the same port. */
static __always_inline enum found vxlan(struct __sk_buff *skb, struct cursor *cursor, __u32 *outside)
{
	struct words header;

	if (!fetch(skb, cursor->at, &header) || (bpf_ntohl(header.first) >> 24 & 0x0c) != 0x08)
		return UNREAD;
	*outside = mixed(*outside, bpf_ntohl(header.second) >> 8);
	cursor->at += sizeof(header);
	return ethernet(skb, cursor, outside) ? TUNNEL : UNREAD;
}

/* RFC 8926. */
static __always_inline enum found geneve(struct __sk_buff *skb, struct cursor *cursor, __u32 *outside)
{
	struct words header;
	__u32 first;

	if (!fetch(skb, cursor->at, &header))
		return UNREAD;
	first = bpf_ntohl(header.first);
	if (first >> 30)
		return UNREAD;
	*outside = mixed(*outside, bpf_ntohl(header.second) >> 8);
	cursor->at += sizeof(header) + (first >> 24 & 0x3f) * 4;
	cursor->type = first & 0xffff;
	if (cursor->type == ETH_BRIDGED)
		return ethernet(skb, cursor, outside) ? TUNNEL : UNREAD;
	return cursor->at <= cursor->end ? TUNNEL : UNREAD;
}

/* RFC 2784 and 2890: version 0 without routes. */
static __always_inline enum found gre(struct __sk_buff *skb, struct cursor *cursor, __u32 *outside)
{
	__be32 word, number;
	__u16 flags;

	if (!fetch(skb, cursor->at, &word))
		return UNREAD;
	flags = bpf_ntohl(word) >> 16;
	cursor->type = bpf_ntohl(word) & 0xffff;
	if (flags & 0x4007)
		return UNREAD;
	cursor->at += 4 + (flags & 0x8000 ? 4 : 0);
	if (flags & 0x2000) {
		if (!fetch(skb, cursor->at, &number))
			return UNREAD;
		*outside = mixed(*outside, bpf_ntohl(number));
		cursor->at += 4;
	}
	cursor->at += flags & 0x1000 ? 4 : 0;
	if (cursor->type == ETH_BRIDGED)
		return ethernet(skb, cursor, outside) ? TUNNEL : UNREAD;
	return cursor->at <= cursor->end ? TUNNEL : UNREAD;
}

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

/* The ends of a packet, before they are put in their order. */
struct ends {
	__u32 source[4];
	__u32 destination[4];
	__be16 source_port;
	__be16 destination_port;
	__u8 protocol;
	__u8 family;
};

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

static __always_inline bool ipv4(struct __sk_buff *skb, struct cursor *cursor, struct packet *packet,
				 struct ends *ends)
{
	__u32 room = cursor->end - cursor->at, len, total;
	struct ipv4 header;

	if (!fetch(skb, cursor->at, &header))
		return false;
	len = (header.version_words & 0x0f) * 4;
	total = bpf_ntohs(header.total);
	/* The field of a super-packet that is too long for it is 0. */
	if (total == 0 || total > room)
		total = room;
	if (header.version_words >> 4 != 4 || len < 20 || total < len || header.fragment & bpf_htons(0x3fff))
		return false;
	ends->source[0] = header.source;
	ends->destination[0] = header.destination;
	ends->protocol = header.protocol;
	ends->family = 4;
	packet->ip_bytes = total;
	cursor->end = cursor->at + total;
	cursor->at += len;
	return true;
}

static __always_inline bool ipv6(struct __sk_buff *skb, struct cursor *cursor, struct packet *packet,
				 struct ends *ends)
{
	__u32 room = cursor->end - cursor->at, total;
	struct ipv6 header;
	__be16 extension;

	if (room < sizeof(header) || !fetch(skb, cursor->at, &header) || header.version >> 4 != 6)
		return false;
	total = bpf_ntohs(header.payload);
	/* A jumbogram, or nothing. */
	if (total == 0 && (header.next == 0 || header.next == 59))
		return false;
	total = total == 0 || total + 40 > room ? room : total + 40;
	__builtin_memcpy(ends->source, header.source, 16);
	__builtin_memcpy(ends->destination, header.destination, 16);
	ends->family = 6;
	packet->ip_bytes = total;
	cursor->end = cursor->at + total;
	cursor->at += sizeof(header);
	for (int i = 0; i < EXTENSIONS; i++) {
		/* Hop-by-hop, routing, destination options: what every other one does to the packet is the daemon's. */
		if (header.next != 0 && header.next != 43 && header.next != 60)
			break;
		if (!fetch(skb, cursor->at, &extension))
			return false;
		header.next = bpf_ntohs(extension) >> 8;
		cursor->at += (bpf_ntohs(extension) & 0xff) * 8 + 8;
		if (cursor->at > cursor->end)
			return false;
	}
	ends->protocol = header.next;
	return true;
}

/* One packet of IP with its transport. Not static, so that the verifier looks at it once, and not at each call anew. */
__noinline int layer(struct __sk_buff *skb, struct cursor *cursor, struct packet *packet, struct ends *ends)
{
	enum found found = UNREAD;

	if (!skb || !cursor || !packet || !ends)
		return UNREAD;
	if (cursor->type == ETH_IPV4 ? ipv4(skb, cursor, packet, ends) :
	    cursor->type == ETH_IPV6 && ipv6(skb, cursor, packet, ends))
		found = transport(skb, cursor, packet, ends);
	return found;
}

/* An order of addresses that is the same for both directions; which one it is does not matter. */
static __always_inline int order(const __u32 *one, const __u32 *other)
{
	for (int i = 0; i < 4; i++) {
		if (one[i] != other[i])
			return one[i] < other[i] ? -1 : 1;
	}
	return 0;
}

static __always_inline void arrange(struct packet *packet, const struct ends *ends)
{
	struct weir_key *key = &packet->key;
	int ordered = order(ends->source, ends->destination);

	if (ordered == 0)
		ordered = (int)ends->source_port - (int)ends->destination_port;
	packet->half = ordered > 0;
	__builtin_memcpy(packet->half ? key->high : key->low, ends->source, 16);
	__builtin_memcpy(packet->half ? key->low : key->high, ends->destination, 16);
	key->low_port = packet->half ? ends->destination_port : ends->source_port;
	key->high_port = packet->half ? ends->source_port : ends->destination_port;
	key->protocol = ends->protocol;
	key->family = ends->family;
}

/* A tunnel's ends belong to what its packets are wrapped in, without the ports: those are a hash of what is inside. */
static __always_inline void wrap(struct packet *packet, struct ends *ends)
{
	packet->outside = mixed(packet->outside, ends->protocol);
	for (int i = 0; i < 4; i++)
		packet->outside = mixed(mixed(packet->outside, ends->source[i]), ends->destination[i]);
	packet->key.tunnelled = 1;
	packet->message = 0;
	packet->payload_bytes = 0;
	__builtin_memset(ends, 0, sizeof(*ends));
}

/* The innermost packet's conversation. */
static __always_inline enum found parse(struct __sk_buff *skb, struct packet *packet, __u32 link)
{
	struct cursor cursor = { .end = skb->len };
	struct ends ends = {};

	packet->key.ifindex = skb->ifindex;
	if (skb->vlan_present)
		packet->outside = mixed(packet->outside, skb->vlan_tci & 0xfff);
	if (link == WEIR_RAW)
		cursor.type = bpf_ntohs(skb->protocol);
	else if (!ethernet(skb, &cursor, &packet->outside))
		return UNREAD;
	for (int depth = 0; depth < DEPTH; depth++) {
		enum found found = layer(skb, &cursor, packet, &ends);

		if (found == COUNTABLE || packet->refused)
			arrange(packet, &ends);
		packet->reach = cursor.at + TRANSPORT;
		if (found != TUNNEL)
			return found;
		wrap(packet, &ends);
	}
	return UNREAD;
}

#endif
