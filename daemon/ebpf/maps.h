/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The maps of the tcx programs, and what leaves through the ring. Their sizes are the daemon's to set at the start. */
#ifndef WEIR_MAPS_H
#define WEIR_MAPS_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "weir.h"

/*
 * With the key and what the kernel keeps beside it, an entry fills five cache lines of 64 bytes.
 *
 * The kernel copies a new entry's value from its beginning to its end, so that `who` is there before `dead` is 0.
 */
struct weir_entry {
	struct bpf_spin_lock lock;
	__u32 question;		/* sequence number of the SYN of the end that asked */
	__u64 who;		/* identity() of its key */
	__u64 last_ns;		/* its last packet, counted here or not */
	__u32 answer;		/* sequence number of the SYN that answered */
	__u8 asked;		/* the half that asked, and 1; 0: none did */
	__u8 passed;		/* packets, as far as they matter */
	__u8 marks;		/* WEIR_ANSWERED and others */
	__u8 dead;		/* 1: taken out of the table; whoever still holds it must leave it */
	struct weir_half half[2];
};

/* What a half held when it was told. */
struct held {
	struct weir_counts counts;
	struct weir_progress progress;
	__u64 way;
};

struct told {
	struct held half[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct weir_key);
	__type(value, struct weir_entry);
} weir_table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} weir_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct weir_control);
} weir_control SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct weir_totals);
} weir_totals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 2048);
	__type(key, struct weir_device);
	__type(value, struct weir_sum);
} weir_devices SEC(".maps");

/* Too large for the stack. Softirqs are off where packets pass, so a CPU has one user of it at a time. */
struct scratch {
	struct weir_frame frame;
	struct told told;
	__u64 fresh[sizeof(struct weir_entry) / 8];	/* nothing but 0 and `who`: the lock must lie in no other map's value */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} weir_scratch SEC(".maps");

static const __u32 only = 0;

#define COUNT(field)								\
({										\
	struct weir_totals *_totals = bpf_map_lookup_elem(&weir_totals, &only);	\
	if (_totals)								\
		_totals->field++;						\
})

/* Hands up a frame's beginning. 0 if there was no room. */
__noinline int hand_up_frame(struct __sk_buff *skb, __u64 now, __u32 way_and_link, __u32 snap)
{
	struct scratch *scratch = bpf_map_lookup_elem(&weir_scratch, &only);
	struct weir_frame *frame;
	__u32 len = skb->len;

	if (!scratch)
		return 0;
	frame = &scratch->frame;
	frame->head.at_ns = now;
	frame->head.ifindex = skb->ifindex;
	frame->head.kind = WEIR_FRAME;
	frame->head.way = way_and_link & 1;
	frame->head.link = way_and_link >> 1;
	frame->len = len;
	frame->tagged = skb->vlan_present;
	frame->tag = skb->vlan_tci;
	frame->tag_type = skb->vlan_proto;
	if (len > snap)
		len = snap;
	/* So that compilers leave the bound where the verifier sees it. */
	asm volatile("" : "+r"(len));
	if (len == 0 || len > WEIR_SNAP)
		return 0;
	frame->captured = len;
	if (bpf_skb_load_bytes(skb, 0, frame->bytes, len))
		return 0;
	len += __builtin_offsetof(struct weir_frame, bytes);
	if (bpf_ringbuf_output(&weir_ring, frame, len, 0)) {
		COUNT(frames_lost);
		return 0;
	}
	COUNT(frames);
	return 1;
}

/* Hands up what a half held. False if there was no room. */
static __always_inline bool hand_up_tally(const struct weir_key *key, __u32 half, const struct held *held, __u64 now)
{
	struct weir_tally *tally = bpf_ringbuf_reserve(&weir_ring, sizeof(*tally), 0);

	if (!tally) {
		COUNT(tallies_kept);
		return false;
	}
	tally->head.at_ns = now;
	tally->head.ifindex = key->ifindex;
	tally->head.kind = WEIR_TALLY;
	tally->head.way = held->way;
	tally->head.link = 0;
	tally->key = *key;
	tally->counts = held->counts;
	tally->progress = held->progress;
	tally->half = half;
	tally->reserved = 0;
	bpf_ringbuf_submit(tally, 0);
	COUNT(tallies);
	return true;
}

#endif
