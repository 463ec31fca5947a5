// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Somebody else's program at a device: counts every packet, and drops UDP datagrams to one port. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define REFUSED 7007

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

SEC("classifier")
int other(struct __sk_buff *skb)
{
	__u32 only = 0;
	__u64 *count = bpf_map_lookup_elem(&seen, &only);
	__be16 port;

	if (count)
		__sync_fetch_and_add(count, 1);
	/* Behind Ethernet and an IPv4 header without options. */
	if (!bpf_skb_load_bytes(skb, 14 + 20 + 2, &port, sizeof(port)) && port == bpf_htons(REFUSED))
		return TC_ACT_SHOT;
	return TC_ACT_UNSPEC;
}

char other_license[] SEC("license") = "Dual BSD/GPL";
