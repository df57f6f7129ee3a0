/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What bpf/swiotlb_top.c asks of BCC and of the kernel, as plain C, so that its
 * programs run in a test's process: maps are arrays, the kernel's memory is the
 * test's, CPU and clock are the test's to set.
 */
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;

#define __always_inline inline __attribute__((always_inline))

u32 cpu;
/* Called as the clock is read: an interrupt may come there. */
void (*clock_read)(void);
u64 now_ns;
/* Reads at this address fail. */
u64 unreadable;
/* A program's every addition that nothing can come between: where, in order. */
u64 *at_once[64];
u32 at_once_count;

static inline u32 bpf_get_smp_processor_id(void)
{
	return cpu;
}

static inline u64 bpf_ktime_get_ns(void)
{
	now_ns++;
	if (clock_read)
		clock_read();
	return now_ns;
}

static inline int bpf_probe_read_kernel(void *to, u64 size, const void *from)
{
	if ((u64)from == unreadable) {
		memset(to, 0, size);
		return -14;
	}
	memcpy(to, from, size);
	return 0;
}

static inline int bpf_get_func_arg(u64 *ctx, u32 place, u64 *value)
{
	*value = ctx[place];
	return 0;
}

static inline u64 add_at_once(u64 *word, u64 n)
{
	at_once[at_once_count++ % 64] = word;
	return *word += n;
}
#define __sync_fetch_and_add(word, n) add_at_once(word, n)

/* The number of the stack that the test says the kernel is in. */
s64 stack_id;
static s64 get_stackid(void *ctx, u64 flags)
{
	return stack_id;
}
#define ARRAY_MAP(name, leaf, n, at)                                              \
	leaf name##_data[n];                                                      \
	static leaf *name##_lookup(void *key)                                     \
	{                                                                         \
		return *(u32 *)key < (n) ? &name##_data[*(u32 *)key + (at)] : NULL; \
	}                                                                         \
	struct {                                                                  \
		leaf *(*lookup)(void *);                                          \
		s64 (*get_stackid)(void *, u64);                                  \
	} name = {name##_lookup, get_stackid}

#define BPF_ARRAY(name, leaf, n)		     ARRAY_MAP(name, leaf, n, 0)
#define BPF_F_TABLE(kind, key, leaf, name, n, flags) ARRAY_MAP(name, leaf, n, 0)
#define BPF_PERCPU_ARRAY(name, leaf, n)                          \
	leaf name##_data[CPUS];                                  \
	static leaf *name##_lookup(void *key)                    \
	{                                                        \
		return *(u32 *)key ? NULL : &name##_data[cpu];   \
	}                                                        \
	struct {                                                 \
		leaf *(*lookup)(void *);                         \
	} name = {name##_lookup}

#define BPF_HASH(name, key_type, leaf, n)                                          \
	key_type name##_keys[n];                                                   \
	leaf name##_data[n];                                                       \
	u32 name##_used;                                                           \
	static leaf *name##_lookup(key_type *key)                                  \
	{                                                                          \
		for (u32 at = 0; at < name##_used; at++)                           \
			if (!memcmp(&name##_keys[at], key, sizeof(*key)))          \
				return &name##_data[at];                           \
		return NULL;                                                       \
	}                                                                          \
	static int name##_insert(key_type *key, leaf *value)                       \
	{                                                                          \
		if (name##_lookup(key))                                            \
			return -17;                                                \
		if (name##_used == (n))                                            \
			return -7;                                                 \
		name##_keys[name##_used] = *key;                                   \
		name##_data[name##_used++] = *value;                               \
		return 0;                                                          \
	}                                                                          \
	static int name##_delete(key_type *key)                                    \
	{                                                                          \
		leaf *value = name##_lookup(key);                                  \
		if (!value)                                                        \
			return -2;                                                 \
		name##_keys[value - name##_data] = name##_keys[--name##_used];     \
		*value = name##_data[name##_used];                                 \
		return 0;                                                          \
	}                                                                          \
	struct {                                                                   \
		leaf *(*lookup)(key_type *);                                       \
		int (*insert)(key_type *, leaf *);                                 \
		int (*delete)(key_type *);                                         \
	} name = {name##_lookup, name##_insert, name##_delete}

#define RING_RECORDS 256
u8 ring[RING_RECORDS][64];
u32 ring_used;
u32 ring_room = RING_RECORDS;

static void *ring_reserve(u64 size)
{
	return ring_used < ring_room ? ring[ring_used++] : NULL;
}

static void ring_submit(void *record, u64 flags)
{
}

#define BPF_RINGBUF_OUTPUT(name, pages)         \
	struct {                                \
		void *(*ringbuf_reserve)(u64);  \
		void (*ringbuf_submit)(void *, u64); \
	} name = {ring_reserve, ring_submit}
