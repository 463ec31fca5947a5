/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What an entry of the table holds, which packets are news to it, and when it is told. Everything here that changes an entry is
 * called with its lock held; no helper may be called there. daemon/tests/properties/kernel.rs has the same rule in Rust and
 * holds what the daemon makes of it against what it makes of every frame.
 */
#ifndef WEIR_ENTRY_H
#define WEIR_ENTRY_H

#include "maps.h"
#include "parse.h"

/* Without a SYN, so many packets are news: one device's are compared with another's to find translations. */
#define COMPARED 8

/* What became of a packet. */
enum outcome {
	COUNTED,		/* it is in the entry */
	DUE,			/* the same, and its half is to be told */
	NEWS,			/* its frame is to be handed up; it is not in the entry */
	FOREIGN,		/* the same, but the entry has nothing to do with it */
};

/* RFC 9293 section 3.4: modulo 2^32. */
static __always_inline bool after(__u32 one, __u32 other)
{
	return (__s32)(other - one) < 0;
}

/* True of an entry that is in the table under the key of that identity. */
static __always_inline bool lives_as(const struct weir_entry *entry, __u64 who)
{
	return !entry->dead && entry->who == who;
}

static __always_inline bool asked(const struct weir_entry *entry, __u32 half)
{
	return entry->asked == half + 1;
}

static __always_inline bool holds(const struct weir_entry *entry)
{
	return entry->half[0].counts.packets || entry->half[1].counts.packets;
}

static __always_inline void add(struct weir_counts *counts, const struct packet *packet, __u64 now)
{
	if (!counts->packets || now < counts->first_ns)
		counts->first_ns = now;
	if (!counts->packets || now > counts->last_ns)
		counts->last_ns = now;
	counts->packets++;
	counts->wire_packets += packet->wire_packets;
	counts->frame_bytes += packet->frame_bytes;
	counts->ip_bytes += packet->ip_bytes;
	counts->payload_bytes += packet->payload_bytes;
}

/* Takes out what a half holds. */
static __always_inline void take(struct weir_half *half, struct held *into, __u64 now)
{
	half->told_ns = now;
	if (!half->counts.packets)
		return;
	into->counts = half->counts;
	into->progress = half->progress;
	into->way = half->way;
	__builtin_memset(&half->counts, 0, sizeof(half->counts));
	half->progress.flags = 0;
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

	if (packet->payload_bytes && (!(was->known & WEIR_KNOWS_NEXT) || packet->sequence != was->next))
		return true;
	if (!(packet->flags & TCP_ACK))
		return false;
	if (packet->window == 0 || mine->full)
		return true;
	return !packet->payload_bytes && was->known & WEIR_KNOWS_ACKNOWLEDGEMENT &&
	       packet->acknowledgement == was->acknowledgement && packet->window == was->window &&
	       other->progress.known & WEIR_KNOWS_NEXT && after(other->progress.next, packet->acknowledgement);
}

/*
 * By what TCP says. The end that asked is listened to until its ACK has ended the handshake. Of an end that has said FIN what comes
 * after the other's FIN is the end; where the other one passes elsewhere (a bridge shows each way in a form of its own), all.
 */
static __always_inline bool speaks_up(const struct weir_entry *entry, const struct weir_half *mine,
				      const struct weir_half *other, const struct packet *packet, __u32 level)
{
	if (packet->flags & (TCP_SYN | TCP_FIN | TCP_RST) || (mine->fin && (other->fin || !other->seen)))
		return true;
	if (asked(entry, packet->half) && (!(entry->marks & WEIR_SPOKE) ||
					   (entry->marks & (WEIR_ANSWERED | WEIR_GREETED)) == WEIR_ANSWERED))
		return true;
	return level < WEIR_LEVEL_NO_ANOMALIES && is_anomaly(mine, other, packet);
}

static __always_inline bool is_news(const struct weir_entry *entry, const struct weir_half *mine,
				    const struct weir_half *other, const struct packet *packet, __u64 now, __u32 level)
{
	__u64 last = entry->last_ns;

	if (!mine->seen || mine->outside != packet->outside || entry->marks & WEIR_OVER || packet->matter)
		return true;
	/* Another CPU's packet may be the later one. */
	if (now > last && now - last >= settings.pause_ns)
		return true;
	if ((!entry->asked && entry->passed < COMPARED) || (packet->opaque && !(entry->marks & WEIR_OPAQUE)))
		return true;
	return packet->key.protocol == PROTO_TCP && speaks_up(entry, mine, other, packet, level);
}

static __always_inline void begin_half(struct weir_half *half)
{
	__builtin_memset(&half->progress, 0, sizeof(half->progress));
	half->seen = half->fin = half->full = 0;
}

/* A SYN that is not the one before, sent again, begins another connection. */
static __always_inline void begin_anew(struct weir_entry *entry, const struct packet *packet)
{
	if ((packet->flags & (TCP_SYN | TCP_ACK)) != TCP_SYN)
		return;
	if (asked(entry, packet->half) && entry->question == packet->sequence)
		return;
	begin_half(&entry->half[0]);
	begin_half(&entry->half[1]);
	entry->asked = entry->passed = entry->marks = 0;
}

/* Moves a half's sequence numbers on. */
static __always_inline void advance(struct weir_half *mine, const struct packet *packet, __u64 now)
{
	struct weir_progress *progress = &mine->progress;
	__u32 len = packet->payload_bytes + !!(packet->flags & TCP_SYN) + !!(packet->flags & TCP_FIN);
	__u32 end = packet->sequence + len;

	if (packet->flags & TCP_FIN)
		mine->fin = 1;
	if (!(progress->known & WEIR_KNOWS_NEXT) || after(end, progress->next)) {
		progress->next = end;
		if (len)
			progress->next_ns = now;
	}
	progress->known |= WEIR_KNOWS_NEXT;
	if (packet->flags & TCP_ACK) {
		progress->acknowledgement = packet->acknowledgement;
		progress->window = packet->window;
		progress->known |= WEIR_KNOWS_ACKNOWLEDGEMENT;
		mine->full = packet->window == 0 && !(packet->flags & (TCP_SYN | TCP_FIN));
	}
}

/* Moves the handshake on. */
static __always_inline void shake_hands(struct weir_entry *entry, const struct packet *packet)
{
	bool syn = packet->flags & TCP_SYN, ack = packet->flags & TCP_ACK;
	bool own = asked(entry, packet->half);

	if (syn && !ack) {
		entry->asked = packet->half + 1;
		entry->question = packet->sequence;
	} else if (syn && entry->asked && !own && !(entry->marks & WEIR_ANSWERED)) {
		entry->marks |= WEIR_ANSWERED;
		entry->answer = packet->sequence;
	} else if (!syn && ack && own) {
		entry->marks |= WEIR_SPOKE;
		if (entry->marks & WEIR_ANSWERED && after(packet->acknowledgement, entry->answer))
			entry->marks |= WEIR_GREETED;
	}
}

static __always_inline void move_on(struct weir_entry *entry, struct weir_half *mine, const struct weir_half *other,
				    const struct packet *packet, __u64 now, __u32 way)
{
	if (packet->opaque)
		entry->marks |= WEIR_OPAQUE;
	if (entry->passed < COMPARED)
		entry->passed++;
	mine->seen = 1;
	mine->way = way;
	mine->outside = packet->outside;
	if (now > entry->last_ns)
		entry->last_ns = now;
	if (packet->key.protocol != PROTO_TCP)
		return;
	if (packet->flags & TCP_RST) {
		entry->marks |= WEIR_OVER;
		return;
	}
	advance(mine, packet, now);
	shake_hands(entry, packet);
	if (mine->fin && other->fin && !(packet->flags & TCP_FIN))
		entry->marks |= WEIR_OVER;
}

/* One packet. What is told by it is in `told`: of both halves with news, else of its own. */
static __always_inline enum outcome pass(struct weir_entry *entry, const struct packet *packet, __u64 now,
					 __u32 level, __u32 way, struct told *told)
{
	struct weir_half *mine = packet->half ? &entry->half[1] : &entry->half[0];
	struct weir_half *other = packet->half ? &entry->half[0] : &entry->half[1];
	bool news;

	/* It was taken out meanwhile; or the device sees the same packets come and go. */
	if (!lives_as(entry, packet->who) || (mine->seen && mine->way != way))
		return FOREIGN;
	news = is_news(entry, mine, other, packet, now, level);
	if (news) {
		take(&entry->half[0], &told->half[0], now);
		take(&entry->half[1], &told->half[1], now);
		if (packet->key.protocol == PROTO_TCP)
			begin_anew(entry, packet);
	}
	move_on(entry, mine, other, packet, now, way);
	if (news)
		return NEWS;
	add(&mine->counts, packet, now);
	mine->progress.flags |= packet->flags;
	/* A flush that another CPU has just made may be the later one. */
	if ((now < mine->told_ns || now - mine->told_ns < settings.flush_ns) &&
	    mine->counts.packets < settings.flush_packets)
		return COUNTED;
	if (packet->half)
		take(&entry->half[1], &told->half[1], now);
	else
		take(&entry->half[0], &told->half[0], now);
	return DUE;
}

#endif
