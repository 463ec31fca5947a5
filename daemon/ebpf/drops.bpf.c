// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Sees every packet that the kernel frees without having used it (tracepoint skb:kfree_skb), and tells of those that were lost
 * in the node's network namespace or in a pod's: reason, device, the packet's beginning. It decides nothing about packets.
 *
 * Every loss is counted, by reason and CPU. Told one by one are as many of each reason as its token bucket gives, so that a flood
 * leaves room for the rest.
 *
 * A pod's namespace is one with a device whose other end is in the node's. Both ends of a veth, and of a netkit, begin their own
 * data with a pointer to the other: that is believed where it leads there and back. The node's own card may be such an end too,
 * where the node is itself a container: those that the daemon knows for no pod's lead nowhere.
 */
#include <stdbool.h>

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "drops.h"
#include "layout.h"

#define IPV4 0x0800
#define IPV6 0x86dd
/* NETDEV_ALIGN */
#define PRIVATE_ALIGN 32
/* SKB_DST_NOREF, in the lowest bit of a pointer to a route */
#define NOREF 1ul
/* Devices of a pod that are looked at. */
#define POD_DEVICES 8

enum skb_drop_reason {
	SKB_NOT_DROPPED_YET,
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct list_head {
	struct list_head *next;
};

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
	struct list_head dev_base_head;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct rtnl_link_ops {
	const char *kind;
};

struct net_device {
	char name[WEIR_DEVICE_NAME];
	int ifindex;
	possible_net_t nd_net;
	struct list_head dev_list;
	const struct rtnl_link_ops *rtnl_link_ops;
};

struct dst_entry {
	struct net_device *dev;
};

struct sock_common {
	possible_net_t skc_net;
};

struct sock {
	struct sock_common __sk_common;
};

struct sk_buff {
	struct net_device *dev;
	struct sock *sk;
	unsigned long _skb_refdst;
	unsigned char *head;
	unsigned int tail;
	int skb_iif;
	__be16 protocol;
	__u16 network_header;
};

struct trace_event_raw_kfree_skb {
	void *skbaddr;
	struct sock *rx_sk;
	enum skb_drop_reason reason;
};

#pragma clang attribute pop

const volatile struct weir_drop_settings weir_drop_settings = {};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} weir_drops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WEIR_REASONS);
	__type(key, __u32);
	__type(value, struct weir_reason);
} weir_reasons SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WEIR_REASONS);
	__type(key, __u32);
	__type(value, struct weir_drop_count);
} weir_drop_counts SEC(".maps");

/* Of all reasons: who reads it knows by one look whether any count has changed. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} weir_drop_sum SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WEIR_UPLINKS);
	__type(key, __u32);
	__type(value, __u8);
} weir_uplinks SEC(".maps");

WEIR_LAYOUT(
	WEIR_FIELD(weir_drop, at_ns), WEIR_FIELD(weir_drop, slot), WEIR_FIELD(weir_drop, ifindex),
	WEIR_FIELD(weir_drop, host_ifindex), WEIR_FIELD(weir_drop, captured), WEIR_FIELD(weir_drop, device),
	WEIR_FIELD(weir_drop, host_device), WEIR_FIELD(weir_drop, bytes), WEIR_WHOLE(weir_drop),
	WEIR_FIELD(weir_reason, counted), WEIR_FIELD(weir_reason, next_ns), WEIR_WHOLE(weir_reason),
	WEIR_FIELD(weir_drop_count, packets), WEIR_FIELD(weir_drop_count, told),
	WEIR_FIELD(weir_drop_count, unread), WEIR_FIELD(weir_drop_count, full), WEIR_WHOLE(weir_drop_count),
	WEIR_FIELD(weir_drop_settings, interval_ns), WEIR_FIELD(weir_drop_settings, burst_ns),
	WEIR_FIELD(weir_drop_settings, node), WEIR_WHOLE(weir_drop_settings)
);

/* Where a packet was. */
struct site {
	struct net *net;
	struct net_device *device;	/* NULL: not known */
	struct net_device *host;	/* NULL: in the node's namespace */
};

static __always_inline __u32 slot_of(__u32 reason)
{
	__u32 subsystem = reason >> 16, number = reason & 0xffff;

	if (number > 255 || subsystem > 7)
		return WEIR_REASON_OTHER;
	return subsystem << 8 | number;
}

static __always_inline bool is_nodes(struct net *net)
{
	return net && BPF_CORE_READ(net, ns.inum) == weir_drop_settings.node;
}

/* True for devices that come in pairs. */
static __always_inline bool is_paired(const struct net_device *device)
{
	static const char veth[8] = "veth", netkit[8] = "netkit";
	const char *kind = BPF_CORE_READ(device, rtnl_link_ops, kind);
	bool is_veth = true, is_netkit = true;
	char name[8] = {};

	if (!kind || bpf_probe_read_kernel_str(name, sizeof(name), kind) < 0)
		return false;
	for (int i = 0; i < 8; i++) {
		is_veth &= name[i] == veth[i];
		is_netkit &= name[i] == netkit[i];
	}
	return is_veth || is_netkit;
}

/* The other end, if this is one: what a device's own data begin with. */
static __always_inline struct net_device *other_end(const struct net_device *device)
{
	__u64 whole = bpf_core_type_size(struct net_device);
	struct net_device *peer = NULL;

	whole = (whole + PRIVATE_ALIGN - 1) & ~(PRIVATE_ALIGN - 1ul);
	bpf_probe_read_kernel(&peer, sizeof(peer), (const void *)device + whole);
	return peer;
}

/* The node's end of a pod's device; NULL if it is none. */
static __always_inline struct net_device *host_of(const struct net_device *device)
{
	struct net_device *peer;
	__u32 ifindex;

	if (!device || !is_paired(device))
		return NULL;
	peer = other_end(device);
	if (!peer || !is_nodes(BPF_CORE_READ(peer, nd_net.net)) || other_end(peer) != device)
		return NULL;
	ifindex = BPF_CORE_READ(peer, ifindex);
	return bpf_map_lookup_elem(&weir_uplinks, &ifindex) ? NULL : peer;
}

/* Looks through a foreign namespace's devices for one that leads to the node. */
static __always_inline struct net_device *host_of_any(struct net *net, struct site *site, int ifindex)
{
	const __u64 link = bpf_core_field_offset(struct net_device, dev_list);
	struct list_head *at = BPF_CORE_READ(net, dev_base_head.next);
	struct net_device *host = NULL;

	for (int i = 0; i < POD_DEVICES; i++) {
		struct net_device *device = (void *)at - link;

		if (!at || at == (void *)net + bpf_core_field_offset(struct net, dev_base_head))
			break;
		if (!host)
			host = host_of(device);
		if (!site->device && ifindex && BPF_CORE_READ(device, ifindex) == ifindex)
			site->device = device;
		at = BPF_CORE_READ(at, next);
	}
	return host;
}

/*
 * A socket's queue uses the device's place in a packet for other things (dev_scratch), and TCP clears it: then the route, or the
 * socket, knows the namespace. A pointer that is none cannot be read, and leads nowhere.
 */
static __always_inline bool locate(struct sk_buff *skb, struct sock *receiver, struct site *site)
{
	struct net_device *device = BPF_CORE_READ(skb, dev);
	struct net *net = BPF_CORE_READ(device, nd_net.net);
	struct sock *sk;

	if (!net) {
		struct dst_entry *route = (void *)(BPF_CORE_READ(skb, _skb_refdst) & ~NOREF);

		device = BPF_CORE_READ(route, dev);
		net = BPF_CORE_READ(device, nd_net.net);
	}
	if (!net) {
		device = NULL;
		sk = receiver ? receiver : BPF_CORE_READ(skb, sk);
		net = BPF_CORE_READ(sk, __sk_common.skc_net.net);
	}
	if (!net)
		return false;
	site->net = net;
	site->device = device;
	site->host = NULL;
	if (is_nodes(net))
		return true;
	site->host = host_of(device);
	if (!site->host)
		site->host = host_of_any(net, site, BPF_CORE_READ(skb, skb_iif));
	return site->host;
}

/* The generic cell rate algorithm: a token bucket in one number, when the next token is due. */
static __always_inline bool may_tell(struct weir_reason *reason, __u64 now)
{
	__u64 next = reason->next_ns;

	for (int i = 0; i < 4; i++) {
		__u64 from = next > now ? next : now;
		__u64 seen;

		if (from - now > weir_drop_settings.burst_ns)
			return false;
		seen = __sync_val_compare_and_swap(&reason->next_ns, next, from + weir_drop_settings.interval_ns);
		if (seen == next)
			return true;
		next = seen;
	}
	return false;
}

/* Where the IP header is, and how much is there from it on; 0: there is none. */
static __always_inline __u32 ip_packet(struct sk_buff *skb, void **packet)
{
	__u32 start = BPF_CORE_READ(skb, network_header), end = BPF_CORE_READ(skb, tail);
	__u16 protocol = bpf_ntohs(BPF_CORE_READ(skb, protocol));
	__u8 first = 0;

	if (end <= start)
		return 0;
	*packet = BPF_CORE_READ(skb, head) + start;
	if (bpf_probe_read_kernel(&first, sizeof(first), *packet))
		return 0;
	if ((protocol != IPV4 || first >> 4 != 4) && (protocol != IPV6 || first >> 4 != 6))
		return 0;
	return end - start;
}

static __always_inline void describe(struct weir_drop *drop, struct sk_buff *skb, const struct site *site)
{
	struct net_device *device = site->device, *host = site->host;

	__builtin_memset(drop->device, 0, sizeof(drop->device));
	__builtin_memset(drop->host_device, 0, sizeof(drop->host_device));
	drop->ifindex = BPF_CORE_READ(skb, skb_iif);
	drop->host_ifindex = 0;
	if (device) {
		drop->ifindex = BPF_CORE_READ(device, ifindex);
		BPF_CORE_READ_STR_INTO(&drop->device, device, name);
	}
	if (host) {
		drop->host_ifindex = BPF_CORE_READ(host, ifindex);
		BPF_CORE_READ_STR_INTO(&drop->host_device, host, name);
	}
}

/* False if there was no room. */
static __always_inline bool tell(struct sk_buff *skb, const struct site *site, void *packet, __u32 len, __u32 slot, __u64 now)
{
	struct weir_drop *drop = bpf_ringbuf_reserve(&weir_drops, sizeof(*drop), 0);

	if (!drop)
		return false;
	drop->at_ns = now;
	drop->slot = slot;
	describe(drop, skb, site);
	if (len > WEIR_DROP_SNAP)
		len = WEIR_DROP_SNAP;
	/* So that compilers leave the bound where the verifier sees it. */
	asm volatile("" : "+r"(len));
	if (len > WEIR_DROP_SNAP)
		len = WEIR_DROP_SNAP;
	drop->captured = len;
	__builtin_memset(drop->bytes, 0, sizeof(drop->bytes));
	bpf_probe_read_kernel(drop->bytes, len, packet);
	bpf_ringbuf_submit(drop, 0);
	return true;
}

static __always_inline void count_and_tell(struct weir_drop_count *count, struct weir_reason *reason, struct sk_buff *skb,
					   const struct site *site, __u32 slot)
{
	__u64 now = bpf_ktime_get_ns();
	void *packet = NULL;
	__u32 len = ip_packet(skb, &packet);

	count->packets++;
	if (!len)
		count->unread++;
	else if (!may_tell(reason, now))
		return;
	else if (tell(skb, site, packet, len, slot, now))
		count->told++;
	else
		count->full++;
}

static __always_inline int dropped(struct sk_buff *skb, __u32 why, struct sock *receiver)
{
	__u32 slot = slot_of(why), only = 0;
	struct weir_reason *reason = bpf_map_lookup_elem(&weir_reasons, &slot);
	struct weir_drop_count *count;
	struct site site;
	__u64 *sum;

	if (!reason || !reason->counted || !locate(skb, receiver, &site))
		return 0;
	count = bpf_map_lookup_elem(&weir_drop_counts, &slot);
	sum = bpf_map_lookup_elem(&weir_drop_sum, &only);
	if (!count || !sum)
		return 0;
	count_and_tell(count, reason, skb, &site, slot);
	(*sum)++;
	return 0;
}

/* Since 6.11 the kernel says which socket did not take it. */
#define SAYS_RECEIVER bpf_core_field_exists(struct trace_event_raw_kfree_skb, rx_sk)

SEC("tp_btf/kfree_skb")
int weir_dropped(__u64 *ctx)
{
	return dropped((struct sk_buff *)ctx[0], ctx[2], SAYS_RECEIVER ? (struct sock *)ctx[3] : NULL);
}

SEC("raw_tp/kfree_skb")
int weir_dropped_raw(struct bpf_raw_tracepoint_args *ctx)
{
	return dropped((struct sk_buff *)ctx->args[0], ctx->args[2], SAYS_RECEIVER ? (struct sock *)ctx->args[3] : NULL);
}

SEC("tracepoint/skb/kfree_skb")
int weir_dropped_event(struct trace_event_raw_kfree_skb *ctx)
{
	return dropped(ctx->skbaddr, ctx->reason, SAYS_RECEIVER ? ctx->rx_sk : NULL);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
