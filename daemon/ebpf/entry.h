/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What an entry of the table holds and when it is told. Everything here that changes an entry is called with its lock held;
 * no helper may be called there.
 */
#ifndef WEIR_ENTRY_H
#define WEIR_ENTRY_H

#include "maps.h"
#include "parse.h"

/* What became of a packet. */
enum outcome {
	COUNTED,		/* it is in the entry */
	DUE,			/* the same, and its half is to be told */
	NEWS,			/* its frame is to be handed up; it is not in the entry */
	LAST,			/* the same, and the connection is over */
	GONE,			/* the entry was taken out meanwhile: nothing was done */
};

/* What a packet adds. */
struct packet_size {
	__u32 wire_packets;
	__u32 frame_bytes;
	__u32 ip_bytes;
	__u32 payload_bytes;
};

/* RFC 9293 section 3.4: modulo 2^32. */
static __always_inline bool after(__u32 one, __u32 other)
{
	return (__s32)(other - one) < 0;
}

static __always_inline bool is_same(const struct weir_key *one, const struct weir_key *other)
{
	const __u64 *a = (const __u64 *)one, *b = (const __u64 *)other;
	__u64 differ = 0;

	for (int i = 0; i < (int)(sizeof(*one) / 8); i++)
		differ |= a[i] ^ b[i];
	return !differ;
}

static __always_inline void add(struct weir_counts *counts, const struct packet_size *size, __u64 now)
{
	if (!counts->packets || now < counts->first_ns)
		counts->first_ns = now;
	if (!counts->packets || now > counts->last_ns)
		counts->last_ns = now;
	counts->packets++;
	counts->wire_packets += size->wire_packets;
	counts->frame_bytes += size->frame_bytes;
	counts->ip_bytes += size->ip_bytes;
	counts->payload_bytes += size->payload_bytes;
}

/* Takes out what a half holds. */
static __always_inline void take(struct weir_half *half, struct held *into, __u64 now)
{
	into->counts = half->counts;
	into->progress = half->progress;
	__builtin_memset(&half->counts, 0, sizeof(half->counts));
	half->progress.flags = 0;
	half->told_ns = now;
}

/* Puts back what could not be told. */
static __always_inline void put_back(struct weir_half *half, const struct held *held)
{
	struct weir_counts *counts = &half->counts;

	if (!held->counts.packets)
		return;
	if (!counts->packets || held->counts.first_ns < counts->first_ns)
		counts->first_ns = held->counts.first_ns;
	if (!counts->packets || held->counts.last_ns > counts->last_ns)
		counts->last_ns = held->counts.last_ns;
	counts->packets += held->counts.packets;
	counts->wire_packets += held->counts.wire_packets;
	counts->frame_bytes += held->counts.frame_bytes;
	counts->ip_bytes += held->counts.ip_bytes;
	counts->payload_bytes += held->counts.payload_bytes;
	half->progress.flags |= held->progress.flags;
}

/* A segment that does not simply go on where its half was: sent again, out of order, acknowledging twice, without room. */
static __always_inline bool is_anomaly(const struct weir_half *mine, const struct weir_half *other,
				       const struct packet *packet)
{
	const struct weir_progress *was = &mine->progress;
	bool acknowledged = was->known & WEIR_KNOWS_ACKNOWLEDGEMENT;

	if (packet->payload_bytes && was->known & WEIR_KNOWS_NEXT && packet->sequence != was->next)
		return true;
	if (!(packet->flags & TCP_ACK))
		return false;
	if (packet->window == 0 || (acknowledged && was->window == 0))
		return true;
	return !packet->payload_bytes && acknowledged && packet->acknowledgement == was->acknowledgement &&
	       packet->window == was->window && other->progress.known & WEIR_KNOWS_NEXT &&
	       after(other->progress.next, packet->acknowledgement);
}

/* The ACK that ends the handshake is waited for. */
static __always_inline bool is_opening(const struct weir_entry *entry, const struct packet *packet)
{
	return entry->handshake == ANSWERED && entry->opener == packet->half;
}

static __always_inline bool is_news(const struct weir_entry *entry, const struct weir_half *mine,
				    const struct weir_half *other, const struct packet *packet, __u64 now, __u32 level)
{
	if (!mine->seen || mine->outside != packet->outside || now - mine->last_ns >= settings.pause_ns)
		return true;
	if (packet->matter || (packet->message && level < WEIR_LEVEL_NO_MESSAGES))
		return true;
	if (packet->key.protocol != PROTO_TCP)
		return false;
	if (packet->flags & (TCP_SYN | TCP_FIN | TCP_RST) || (mine->fin && other->fin) || is_opening(entry, packet))
		return true;
	return level < WEIR_LEVEL_NO_ANOMALIES && is_anomaly(mine, other, packet);
}

/* Moves a half's sequence numbers on, as track/tcp/side.rs does. */
static __always_inline void advance(struct weir_half *mine, const struct packet *packet, __u64 now)
{
	struct weir_progress *progress = &mine->progress;
	__u32 len = packet->payload_bytes + !!(packet->flags & TCP_SYN) + !!(packet->flags & TCP_FIN);
	__u32 end = packet->sequence + len;

	if (packet->flags & TCP_RST)
		return;
	if (packet->flags & TCP_ACK) {
		progress->acknowledgement = packet->acknowledgement;
		progress->window = packet->window;
		progress->known |= WEIR_KNOWS_ACKNOWLEDGEMENT;
	}
	if (!(progress->known & WEIR_KNOWS_NEXT) || after(end, progress->next)) {
		progress->next = end;
		if (len)
			progress->next_ns = now;
	}
	progress->known |= WEIR_KNOWS_NEXT;
	if (packet->flags & TCP_FIN)
		mine->fin = 1;
}

static __always_inline void begin_anew(struct weir_half *half)
{
	__builtin_memset(&half->progress, 0, sizeof(half->progress));
	half->seen = 0;
	half->fin = 0;
}

/* A SYN begins the connection anew. */
static __always_inline void shake_hands(struct weir_entry *entry, const struct packet *packet)
{
	bool syn = packet->flags & TCP_SYN, ack = packet->flags & TCP_ACK;

	if (syn && !ack) {
		begin_anew(&entry->half[0]);
		begin_anew(&entry->half[1]);
		entry->handshake = ASKED;
		entry->opener = packet->half;
	} else if (syn && (entry->handshake == NOTHING || (entry->handshake == ASKED && entry->opener != packet->half))) {
		entry->handshake = ANSWERED;
		entry->opener = !packet->half;
		entry->answered = packet->sequence;
	} else if (is_opening(entry, packet) && ack && after(packet->acknowledgement, entry->answered)) {
		entry->handshake = OPEN;
	}
}

/* One packet. What is told by it is in `told`: of both halves with news, else of its own. */
static __always_inline enum outcome pass(struct weir_entry *entry, const struct packet *packet,
					 const struct packet_size *size, __u64 now, __u32 level, struct told *told)
{
	struct weir_half *mine = packet->half ? &entry->half[1] : &entry->half[0];
	struct weir_half *other = packet->half ? &entry->half[0] : &entry->half[1];
	enum outcome outcome = COUNTED;

	if (entry->dead || !is_same(&entry->key, &packet->key))
		return GONE;
	if (is_news(entry, mine, other, packet, now, level)) {
		outcome = NEWS;
		if (packet->key.protocol == PROTO_TCP &&
		    (packet->flags & TCP_RST || (mine->fin && other->fin && !(packet->flags & TCP_FIN))))
			outcome = LAST;
		take(&entry->half[0], &told->half[0], now);
		take(&entry->half[1], &told->half[1], now);
	}
	if (packet->key.protocol == PROTO_TCP) {
		shake_hands(entry, packet);
		advance(mine, packet, now);
	}
	mine->seen = 1;
	mine->last_ns = now;
	mine->outside = packet->outside;
	if (outcome != COUNTED)
		return outcome;
	add(&mine->counts, size, now);
	mine->progress.flags |= packet->flags;
	if (now - mine->told_ns < settings.flush_ns && mine->counts.packets < settings.flush_packets)
		return COUNTED;
	if (packet->half)
		take(&entry->half[1], &told->half[1], now);
	else
		take(&entry->half[0], &told->half[0], now);
	return DUE;
}

#endif
