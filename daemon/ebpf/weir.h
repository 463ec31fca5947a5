/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the programs and the daemon share: the layout of maps' keys and values, of records in the ring, and numbers in them.
 * capture/ebpf/abi.rs has the same in Rust; a test compares both, field by field, by the list at the end.
 * Numbers are in the machine's byte order, addresses and ports in that of the network where it is said so.
 */
#ifndef WEIR_H
#define WEIR_H

#include <linux/types.h>

/* Ports of tunnels that may be named. */
#define WEIR_PORTS 8
/* The longest piece of a frame that is handed up, bytes. */
#define WEIR_SNAP 2048
/* Keys in one run of weir_take. */
#define WEIR_TAKEN 64

/* One conversation on one device: its ends in a fixed order. A tunnel's number and ends may differ by direction. */
struct weir_key {
	__u8 low[16];		/* as on the wire; an IPv4 address is the first four bytes */
	__u8 high[16];
	__be16 low_port;
	__be16 high_port;
	__u32 ifindex;
	__u32 reserved;
	__u8 protocol;
	__u8 family;		/* 4 or 6 */
	__u8 tunnelled;
	__u8 rest;
};

#define WEIR_IN 0
#define WEIR_OUT 1

/* Packets of one half of a conversation, since it was last told. */
struct weir_counts {
	__u64 packets;
	__u64 wire_packets;
	__u64 frame_bytes;
	__u64 ip_bytes;
	__u64 payload_bytes;
	__u64 first_ns;		/* bpf_ktime_get_ns */
	__u64 last_ns;
};

/* How far a half of a TCP connection is. */
struct weir_progress {
	__u32 next;		/* follows all that was sent */
	__u32 acknowledgement;
	__u16 window;		/* as sent, unscaled */
	__u16 flags;		/* all flags of the counted packets */
	__u32 known;		/* WEIR_KNOWS_* */
	__u64 next_ns;		/* when a segment with payload, SYN or FIN moved it there */
};

#define WEIR_KNOWS_NEXT 1
#define WEIR_KNOWS_ACKNOWLEDGEMENT 2

struct weir_half {
	struct weir_counts counts;
	struct weir_progress progress;
	__u64 told_ns;		/* when it was last told */
	__u32 outside;		/* a mix of what that was wrapped in: MAC addresses, tags, tunnels */
	__u8 seen;		/* it had a packet */
	__u8 way;		/* which way that passed the device: WEIR_IN or WEIR_OUT */
	__u8 fin;		/* it has said FIN */
	__u8 full;		/* it has no room */
};

/* What an entry knows of its conversation. */
#define WEIR_ANSWERED 1		/* with a SYN */
#define WEIR_SPOKE 2		/* the end that asked has acknowledged something, */
#define WEIR_GREETED 4		/* namely the answer */
#define WEIR_OVER 8		/* reset, or closed by both and acknowledged: nothing goes on any more */
#define WEIR_OPAQUE 16		/* it is known to wrap what nobody can read */

/* Kinds of records. */
#define WEIR_FRAME 1
#define WEIR_TALLY 2

/* What every record begins with. */
struct weir_head {
	__u64 at_ns;		/* bpf_ktime_get_ns */
	__u32 ifindex;
	__u16 kind;
	__u8 way;		/* WEIR_IN or WEIR_OUT */
	__u8 link;		/* WEIR_ETHERNET or WEIR_RAW */
};

#define WEIR_ETHERNET 0
#define WEIR_RAW 1

/* A frame's beginning. */
struct weir_frame {
	struct weir_head head;
	__u32 len;		/* on the device, without a tag that hardware took out */
	__u16 captured;
	__u16 tagged;		/* 1: tag and tag_type are what hardware took out */
	__u16 tag;
	__be16 tag_type;
	__u32 reserved;
	__u8 bytes[WEIR_SNAP];
};

/* Packets that were counted. */
struct weir_tally {
	struct weir_head head;
	struct weir_key key;
	struct weir_counts counts;
	struct weir_progress progress;
	__u32 half;		/* 0: from the lower end */
	__u32 reserved;
};

/* Sums over all packets, one a CPU. */
struct weir_totals {
	__u64 packets;
	__u64 frames;		/* handed up */
	__u64 tallies;		/* handed up */
	__u64 frames_lost;	/* not handed up for lack of room */
	__u64 tallies_kept;	/* the same; the entry keeps what it holds */
	__u64 uncounted;	/* packets that nothing told of: those of lost frames without a conversation */
	__u64 table_full;	/* packets whose conversation found no room */
	__u64 unread;		/* packets that only the daemon can read */
	__u64 untracked;	/* packets that were only added up */
};

/* Packets that were only added up, by device and way. */
struct weir_device {
	__u32 ifindex;
	__u32 way;
};

struct weir_sum {
	__u64 packets;
	__u64 frame_bytes;
};

/* What can be changed while the programs run. */
struct weir_control {
	__u32 level;		/* WEIR_LEVEL_* */
	__u32 sample;		/* one new connection in so many; 0 and 1: all */
};

#define WEIR_LEVEL_ALL 0
#define WEIR_LEVEL_NO_MESSAGES 1
#define WEIR_LEVEL_NO_ANOMALIES 2
#define WEIR_LEVEL_SAMPLED 3
#define WEIR_LEVEL_TOTALS 4

/* What is fixed when the programs are loaded. */
struct weir_settings {
	__u64 flush_ns;		/* a half that carries traffic is told so often */
	__u64 flush_packets;	/* or after so many packets */
	__u64 pause_ns;		/* the first packet after so long is news */
	__u64 rest_ns;		/* an entry without a packet for so long is told */
	__u64 over_ns;		/* one that is over, after so long */
	__u64 forget_ns;	/* and after so long forgotten */
	__u32 snap_news;	/* bytes of a frame */
	__u32 snap_long;	/* of one that holds a message, or that only the daemon can read */
	__be16 vxlan_ports[WEIR_PORTS];
	__be16 geneve_ports[WEIR_PORTS];
	__be16 wireguard_ports[WEIR_PORTS];
};

/* What weir_take is given, behind the header of an Ethernet frame. */
struct weir_order {
	__u8 ethernet[14];
	__u16 all;		/* 1: told and forgotten whatever their age */
	struct weir_key keys[WEIR_TAKEN];
};

#endif
