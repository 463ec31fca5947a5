// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Counts packets by conversation and device where they enter and leave it, and hands up what is news.
 *
 * Every packet is either in one frame in the ring or in one tally. Nothing here decides what becomes of a packet: programs
 * return TCX_NEXT, and programs before and after them are none of theirs.
 *
 * An entry that is taken out of the table may still be held by another CPU, and its memory be given to another conversation
 * at once. Whoever takes one out marks it dead first, with its lock held; whoever has the lock looks whether the entry is
 * alive and its own.
 */
#include "weir.h"
#include "layout.h"
#include "parse.h"
#include "maps.h"
#include "entry.h"

#define NEXT (-1)		/* TCX_NEXT, and TC_ACT_UNSPEC where filters are chained */
#define NOT_THERE (-2)		/* -ENOENT */

const volatile struct weir_settings settings = {};

WEIR_LAYOUT(
	WEIR_WHOLE(weir_key),
	WEIR_FIELD(weir_key, low),
	WEIR_FIELD(weir_key, high),
	WEIR_FIELD(weir_key, low_port),
	WEIR_FIELD(weir_key, high_port),
	WEIR_FIELD(weir_key, ifindex),
	WEIR_FIELD(weir_key, reserved),
	WEIR_FIELD(weir_key, protocol),
	WEIR_FIELD(weir_key, family),
	WEIR_FIELD(weir_key, tunnelled),
	WEIR_FIELD(weir_key, rest),
	WEIR_WHOLE(weir_counts),
	WEIR_FIELD(weir_counts, packets),
	WEIR_FIELD(weir_counts, wire_packets),
	WEIR_FIELD(weir_counts, frame_bytes),
	WEIR_FIELD(weir_counts, ip_bytes),
	WEIR_FIELD(weir_counts, payload_bytes),
	WEIR_FIELD(weir_counts, first_ns),
	WEIR_FIELD(weir_counts, last_ns),
	WEIR_WHOLE(weir_progress),
	WEIR_FIELD(weir_progress, next),
	WEIR_FIELD(weir_progress, acknowledgement),
	WEIR_FIELD(weir_progress, window),
	WEIR_FIELD(weir_progress, flags),
	WEIR_FIELD(weir_progress, known),
	WEIR_FIELD(weir_progress, next_ns),
	WEIR_WHOLE(weir_half),
	WEIR_FIELD(weir_half, counts),
	WEIR_FIELD(weir_half, progress),
	WEIR_FIELD(weir_half, told_ns),
	WEIR_FIELD(weir_half, outside),
	WEIR_FIELD(weir_half, seen),
	WEIR_FIELD(weir_half, way),
	WEIR_FIELD(weir_half, fin),
	WEIR_FIELD(weir_half, full),
	WEIR_WHOLE(weir_entry),
	WEIR_FIELD(weir_entry, question),
	WEIR_FIELD(weir_entry, who),
	WEIR_FIELD(weir_entry, last_ns),
	WEIR_FIELD(weir_entry, answer),
	WEIR_FIELD(weir_entry, asked),
	WEIR_FIELD(weir_entry, passed),
	WEIR_FIELD(weir_entry, marks),
	WEIR_FIELD(weir_entry, dead),
	WEIR_FIELD(weir_entry, half),
	WEIR_WHOLE(weir_head),
	WEIR_FIELD(weir_head, at_ns),
	WEIR_FIELD(weir_head, ifindex),
	WEIR_FIELD(weir_head, kind),
	WEIR_FIELD(weir_head, way),
	WEIR_FIELD(weir_head, link),
	WEIR_WHOLE(weir_frame),
	WEIR_FIELD(weir_frame, head),
	WEIR_FIELD(weir_frame, len),
	WEIR_FIELD(weir_frame, captured),
	WEIR_FIELD(weir_frame, tagged),
	WEIR_FIELD(weir_frame, tag),
	WEIR_FIELD(weir_frame, tag_type),
	WEIR_FIELD(weir_frame, bytes),
	WEIR_WHOLE(weir_tally),
	WEIR_FIELD(weir_tally, head),
	WEIR_FIELD(weir_tally, key),
	WEIR_FIELD(weir_tally, counts),
	WEIR_FIELD(weir_tally, progress),
	WEIR_FIELD(weir_tally, half),
	WEIR_WHOLE(weir_totals),
	WEIR_FIELD(weir_totals, packets),
	WEIR_FIELD(weir_totals, frames),
	WEIR_FIELD(weir_totals, tallies),
	WEIR_FIELD(weir_totals, frames_lost),
	WEIR_FIELD(weir_totals, tallies_kept),
	WEIR_FIELD(weir_totals, uncounted),
	WEIR_FIELD(weir_totals, table_full),
	WEIR_FIELD(weir_totals, unread),
	WEIR_FIELD(weir_totals, untracked),
	WEIR_WHOLE(weir_device),
	WEIR_FIELD(weir_device, ifindex),
	WEIR_FIELD(weir_device, way),
	WEIR_WHOLE(weir_sum),
	WEIR_FIELD(weir_sum, packets),
	WEIR_FIELD(weir_sum, frame_bytes),
	WEIR_WHOLE(weir_control),
	WEIR_FIELD(weir_control, level),
	WEIR_FIELD(weir_control, sample),
	WEIR_WHOLE(weir_settings),
	WEIR_FIELD(weir_settings, flush_ns),
	WEIR_FIELD(weir_settings, flush_packets),
	WEIR_FIELD(weir_settings, pause_ns),
	WEIR_FIELD(weir_settings, rest_ns),
	WEIR_FIELD(weir_settings, over_ns),
	WEIR_FIELD(weir_settings, forget_ns),
	WEIR_FIELD(weir_settings, snap_news),
	WEIR_FIELD(weir_settings, snap_long),
	WEIR_FIELD(weir_settings, vxlan_ports),
	WEIR_FIELD(weir_settings, geneve_ports),
	WEIR_FIELD(weir_settings, wireguard_ports),
	WEIR_WHOLE(weir_order),
	WEIR_FIELD(weir_order, ethernet),
	WEIR_FIELD(weir_order, all),
	WEIR_FIELD(weir_order, keys)
);

/* A packet that is only added up. */
__noinline int add_up(struct __sk_buff *skb, __u32 way, __u32 frame_bytes)
{
	struct weir_device device = { .ifindex = skb->ifindex, .way = way };
	struct weir_sum first = { 1, frame_bytes };
	struct weir_sum *sum = bpf_map_lookup_elem(&weir_devices, &device);

	COUNT(untracked);
	if (sum) {
		sum->packets++;
		sum->frame_bytes += frame_bytes;
	} else {
		bpf_map_update_elem(&weir_devices, &device, &first, BPF_NOEXIST);
	}
	return 0;
}

/* True if one address is numerically greater than the other. */
static __always_inline bool is_greater(const __u8 *one, const __u8 *other)
{
	const __be32 *a = (const __be32 *)one, *b = (const __be32 *)other;

	for (int i = 0; i < 4; i++) {
		if (a[i] != b[i])
			return bpf_ntohl(a[i]) > bpf_ntohl(b[i]);
	}
	return false;
}

/*
 * The same choice as is_in_sample() in daemon/src/capture/detail.rs: by the end with the greater port, of equal ones the lesser
 * address. So all devices and nodes choose the same connections, before and behind a Service's address.
 */
static __always_inline bool is_chosen(const struct weir_key *key, __u32 sample)
{
	__u32 low = bpf_ntohs(key->low_port), high = bpf_ntohs(key->high_port);
	bool by_low = low > high || (low == high && is_greater(key->high, key->low));
	const __be32 *words = (const __be32 *)(by_low ? key->low : key->high);
	__u32 word = bpf_ntohl(key->family == 4 ? words[0] : words[3]);

	return sample <= 1 || (by_low ? low : high) * 0x9e3779b1 + word * 0x85ebca6b <= (__u32)-1 / sample;
}

static __always_inline struct weir_entry *begin(struct scratch *scratch, const struct weir_key *key, __u64 who)
{
	scratch->fresh[__builtin_offsetof(struct weir_entry, who) / 8] = who;
	/* Another CPU may have been faster, which is as well. */
	bpf_map_update_elem(&weir_table, key, scratch->fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&weir_table, key);
}

/* A call of its own, since inlined it takes of the stack what others need. */
static __noinline __u64 identity_of(const struct weir_key *key)
{
	return identity(key);
}

/* Takes an entry out unless it holds something, or a packet came since. */
__noinline int bury(const struct weir_key *key, __u64 before)
{
	struct weir_entry *entry;
	bool dead = false;
	long deleted;
	__u64 who;

	if (!key)
		return 0;
	who = identity_of(key);
	entry = bpf_map_lookup_elem(&weir_table, key);
	if (!entry)
		return 0;
	bpf_spin_lock(&entry->lock);
	if (lives_as(entry, who) && !holds(entry) && entry->last_ns <= before) {
		entry->dead = 1;
		dead = true;
	}
	bpf_spin_unlock(&entry->lock);
	if (!dead)
		return 0;
	deleted = bpf_map_delete_elem(&weir_table, key);
	/* The kernel refuses where it was interrupted in the same part of the table. Then the entry is there yet, and lives on. */
	if (deleted && deleted != NOT_THERE) {
		bpf_spin_lock(&entry->lock);
		entry->dead = 0;
		bpf_spin_unlock(&entry->lock);
	}
	return 0;
}

/* Puts what could not be handed up back into its entry. */
static __always_inline void keep(const struct weir_key *key, __u64 who, const struct told *told)
{
	struct weir_entry *entry = bpf_map_lookup_elem(&weir_table, key);
	bool kept = false;

	if (entry) {
		bpf_spin_lock(&entry->lock);
		if (lives_as(entry, who)) {
			put_back(&entry->half[0], &told->half[0]);
			put_back(&entry->half[1], &told->half[1]);
			kept = true;
		}
		bpf_spin_unlock(&entry->lock);
	}
	if (!kept) {
		struct weir_totals *totals = bpf_map_lookup_elem(&weir_totals, &only);

		if (totals)
			totals->uncounted += told->half[0].counts.packets + told->half[1].counts.packets;
	}
}

/* Hands up what halves held; what finds no room stays in `told`. False if any does. */
__noinline int tell(const struct weir_key *key, struct told *told, __u64 now)
{
	bool all = true;

	if (!key || !told)
		return 0;
	for (__u32 half = 0; half < 2; half++) {
		struct held *held = &told->half[half];

		if (!held->counts.packets)
			continue;
		if (hand_up_tally(key, half, held, now))
			held->counts.packets = 0;
		else
			all = false;
	}
	return all;
}

/* Tells one entry, if it rests, and forgets it, if it rests for long or is over; `all`: whatever its age. */
__noinline int rest(const struct weir_key *key, __u64 now, __u32 all)
{
	__u64 rested = now;
	bool rests = false, over = false;
	struct told told = {};
	struct weir_entry *entry;

	if (!key)
		return 0;
	entry = bpf_map_lookup_elem(&weir_table, key);
	if (!entry)
		return 0;
	__u64 who = identity_of(key);

	bpf_spin_lock(&entry->lock);
	over = entry->marks & WEIR_OVER;
	if (!all)
		rested -= over ? settings.over_ns : settings.rest_ns;
	if (lives_as(entry, who) && entry->last_ns <= rested) {
		take(&entry->half[0], &told.half[0], now);
		take(&entry->half[1], &told.half[1], now);
		rests = true;
	}
	bpf_spin_unlock(&entry->lock);
	if (!rests)
		return 0;
	if (tell(key, &told, now))
		bury(key, all || over ? rested : now - settings.forget_ns);
	else
		keep(key, who, &told);
	return 0;
}

static __always_inline __u32 wire_packets(const struct __sk_buff *skb, const struct packet *packet)
{
	__u32 segments = skb->gso_segs;

	/* Some devices only tell the size. */
	if (segments == 0 && skb->gso_size)
		segments = (packet->payload_bytes + skb->gso_size - 1) / skb->gso_size;
	return segments ? segments : 1;
}

/* A frame of no entry. */
static __always_inline int hand_up_alone(struct __sk_buff *skb, __u64 now, __u32 way_and_link)
{
	if (!hand_up_frame(skb, now, way_and_link, settings.snap_long))
		COUNT(uncounted);
	return 0;
}

/* A frame that only the daemon can read. If it is an error about a conversation's packet, what comes next there is news. */
static __always_inline int hand_up_unread(struct __sk_buff *skb, const struct packet *packet, __u64 now, __u32 way_and_link)
{
	COUNT(unread);
	if (packet->refused)
		rest(&packet->key, now, 1);
	return hand_up_alone(skb, now, way_and_link);
}

static __always_inline int watch(struct __sk_buff *skb, __u32 way, __u32 link)
{
	struct weir_control *control = bpf_map_lookup_elem(&weir_control, &only);
	__u32 level = control ? control->level : 0, frame_bytes = skb->len + (skb->vlan_present ? 4 : 0);
	__u32 way_and_link = way | link << 1;
	__u64 now = bpf_ktime_get_ns();
	enum outcome outcome = FOREIGN;
	struct packet packet = {};
	struct scratch *scratch = bpf_map_lookup_elem(&weir_scratch, &only);
	struct weir_entry *entry;

	if (!scratch)
		return 0;
	COUNT(packets);
	if (level >= WEIR_LEVEL_TOTALS)
		return add_up(skb, way, frame_bytes);
	if (parse(skb, &packet, link) != COUNTABLE)
		return hand_up_unread(skb, &packet, now, way_and_link);
	/* Each message is news, so that they need no entry. */
	if (packet.message && level < WEIR_LEVEL_NO_MESSAGES)
		return hand_up_alone(skb, now, way_and_link);
	packet.wire_packets = wire_packets(skb, &packet);
	packet.frame_bytes = frame_bytes;
	entry = bpf_map_lookup_elem(&weir_table, &packet.key);
	if (!entry) {
		if (level >= WEIR_LEVEL_SAMPLED && control && !is_chosen(&packet.key, control->sample))
			return add_up(skb, way, frame_bytes);
		entry = begin(scratch, &packet.key, packet.who);
		if (!entry)
			COUNT(table_full);
	}
	scratch->told.half[0].counts.packets = scratch->told.half[1].counts.packets = 0;
	if (entry) {
		bpf_spin_lock(&entry->lock);
		outcome = pass(entry, &packet, now, level, way, &scratch->told);
		bpf_spin_unlock(&entry->lock);
	}
	if (outcome == COUNTED)
		return 0;
	if (outcome == FOREIGN)
		return hand_up_alone(skb, now, way_and_link);
	int all = tell(&packet.key, &scratch->told, now);
	__u32 snap = packet.reach > settings.snap_news ? settings.snap_long : settings.snap_news;

	if (outcome == NEWS && !hand_up_frame(skb, now, way_and_link, snap)) {
		struct held *mine = packet.half ? &scratch->told.half[1] : &scratch->told.half[0];

		if (!mine->counts.packets)
			__builtin_memset(mine, 0, sizeof(*mine));
		add(&mine->counts, &packet, now);
		mine->progress.flags |= packet.flags;
		all = 0;
	}
	if (!all)
		keep(&packet.key, packet.who, &scratch->told);
	return 0;
}

SEC("classifier")
int weir_in(struct __sk_buff *skb)
{
	watch(skb, WEIR_IN, WEIR_ETHERNET);
	return NEXT;
}

SEC("classifier")
int weir_out(struct __sk_buff *skb)
{
	watch(skb, WEIR_OUT, WEIR_ETHERNET);
	return NEXT;
}

SEC("classifier")
int weir_in_raw(struct __sk_buff *skb)
{
	watch(skb, WEIR_IN, WEIR_RAW);
	return NEXT;
}

SEC("classifier")
int weir_out_raw(struct __sk_buff *skb)
{
	watch(skb, WEIR_OUT, WEIR_RAW);
	return NEXT;
}

/* Run by the daemon, with the keys of entries that seemed to rest when it looked the table over. */
SEC("classifier")
int weir_take(struct __sk_buff *skb)
{
	__u64 now = bpf_ktime_get_ns();
	struct weir_key key;
	__u16 all;

	if (bpf_skb_load_bytes(skb, __builtin_offsetof(struct weir_order, all), &all, sizeof(all)))
		return NEXT;
	for (__u32 i = 0; i < WEIR_TAKEN; i++) {
		if (bpf_skb_load_bytes(skb, __builtin_offsetof(struct weir_order, keys) + i * sizeof(key), &key, sizeof(key)))
			break;
		rest(&key, now, all);
	}
	return NEXT;
}

char weir_license[] SEC("license") = "Dual BSD/GPL";
