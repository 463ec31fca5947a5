/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What the parsers share: what is looked for in a frame, the headers' layouts, and how one is read. */
#ifndef WEIR_READ_H
#define WEIR_READ_H

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
	__u64 who;		/* identity() of the key */
	__u32 half;		/* which end sent it */
	__u32 outside;		/* see struct weir_half */
	__u32 reach;		/* where its headers end at the latest */
	__u32 wire_packets;
	__u32 frame_bytes;
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

/* The ends of a packet, before they are put in their order. */
struct ends {
	__u32 source[4];
	__u32 destination[4];
	__be16 source_port;
	__be16 destination_port;
	__u8 protocol;
	__u8 family;
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

/*
 * What tells an entry's conversation from that of any other, in one word instead of six: whoever still holds an entry that was
 * given to another in this very moment must know. That two are alike is left to a chance of one in 2^64.
 */
static __always_inline __u64 identity(const struct weir_key *key)
{
	const __u64 *words = (const __u64 *)key;
	__u64 mix = 0;

	for (int i = 0; i < (int)(sizeof(*key) / 8); i++) {
		mix = (mix ^ words[i]) * 0x9e3779b97f4a7c15;
		mix ^= mix >> 32;
	}
	return mix;
}

/* Mixes one more word in. */
static __always_inline __u32 mixed(__u32 mix, __u32 word)
{
	mix = (mix ^ word) * 0x9e3779b1;
	return mix ^ (mix >> 15);
}

#endif
