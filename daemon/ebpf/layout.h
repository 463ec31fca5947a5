/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Names, offsets and sizes of all shared fields, for the test that compares them with the daemon's. */
#ifndef WEIR_LAYOUT_H
#define WEIR_LAYOUT_H

struct weir_field {
	char name[40];
	__u32 offset;
	__u32 size;
};

#define WEIR_FIELD(type, field) \
	{ #type "." #field, __builtin_offsetof(struct type, field), sizeof(((struct type *)0)->field) }
#define WEIR_WHOLE(type) { #type, 0, sizeof(struct type) }
#define WEIR_LAYOUT(...) \
	const struct weir_field weir_layout[] __attribute__((section(".weir.layout"), used)) = { __VA_ARGS__ }

#endif
