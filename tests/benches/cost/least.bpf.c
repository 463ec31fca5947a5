// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What any program costs that sees every packet, and what any costs that knows the time. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

SEC("classifier/nothing")
int nothing(struct __sk_buff *skb __attribute__((unused)))
{
	return TC_ACT_UNSPEC;
}

SEC("classifier/clock")
int clock(struct __sk_buff *skb __attribute__((unused)))
{
	/* Never true, which the compiler cannot know. */
	return bpf_ktime_get_ns() == 0 ? TC_ACT_OK : TC_ACT_UNSPEC;
}

char least_license[] SEC("license") = "Dual BSD/GPL";
