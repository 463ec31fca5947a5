/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the program that sees drops and the daemon share. drops/abi.rs has the same in Rust; a test compares both.
 * Numbers are in the machine's byte order.
 */
#ifndef WEIR_DROPS_H
#define WEIR_DROPS_H

#include <linux/types.h>

/* Bytes of a packet that are handed up, from its IP header on. */
#define WEIR_DROP_SNAP 128
/* IFNAMSIZ */
#define WEIR_DEVICE_NAME 16

/*
 * Slots of reasons: the core's and those of seven subsystems, 256 numbers each. A reason is the subsystem in its upper half
 * and a number in its lower one (include/net/dropreason.h). What has no place there shares the last slot.
 */
#define WEIR_REASONS 2048
#define WEIR_REASON_OTHER (WEIR_REASONS - 1)

/* Devices of the node that are no pod's. */
#define WEIR_UPLINKS 256

/* A packet that the kernel gave up. */
struct weir_drop {
	__u64 at_ns;		/* bpf_ktime_get_ns */
	__u32 slot;		/* of the reason */
	__u32 ifindex;		/* of the device that had it, in its own namespace; 0: none */
	__u32 host_ifindex;	/* of the node's device that leads to the pod; 0: it was in the node's own namespace */
	__u32 captured;
	char device[WEIR_DEVICE_NAME];		/* empty: not known */
	char host_device[WEIR_DEVICE_NAME];
	__u8 bytes[WEIR_DROP_SNAP];
};

/* What is known of a reason, and when the next packet dropped for it may be told of. */
struct weir_reason {
	__u64 counted;		/* 0: nothing is lost by it */
	__u64 next_ns;
};

/* Packets dropped for one reason, one a CPU. */
struct weir_drop_count {
	__u64 packets;
	__u64 told;
	__u64 unread;		/* without an IP header that could be read */
	__u64 full;		/* not told for lack of room in the ring */
};

/* What is fixed when the program is loaded. */
struct weir_drop_settings {
	__u64 interval_ns;	/* packets of one reason are told of so often */
	__u64 burst_ns;		/* but for as many as fit into this time */
	__u64 node;		/* inode of the node's network namespace */
};

#endif
