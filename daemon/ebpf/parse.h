/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A frame -> the conversation it belongs to. Only what is certain is read here: a frame that this parser and the daemon's
 * decoder could read differently is UNREAD, and goes up whole for the decoder to judge.
 * Numbers of protocols are IANA's.
 */
#ifndef WEIR_PARSE_H
#define WEIR_PARSE_H

#include "transport.h"

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
	packet->who = identity(key);
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
