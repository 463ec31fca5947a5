/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Link headers, and tunnels' headers that lead to a packet in the packet. */
#ifndef WEIR_TUNNEL_H
#define WEIR_TUNNEL_H

#include "read.h"

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

#endif
