/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the native core and Python share: layout.py has the same structures,
 * and a test holds the two together.
 *
 * All memory is the caller's. No function allocates, keeps a pointer, prints or
 * fails: each returns how many records it has dealt with, and leaves everything
 * from the first one on that it does not know to Python, as it found it.
 */
#ifndef SWIOTLB_TOP_CORE_H
#define SWIOTLB_TOP_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record.h"

#define IO_TLB_SHIFT   11
#define IO_TLB_SIZE    (1ULL << IO_TLB_SHIFT)
#define IO_TLB_SEGSIZE 128
#define PAGE_SIZE      4096ULL
#define KNOWN_FLAGS    (FLAG_DIRECTION_MASK | FLAG_HAS_DIRECTION | FLAG_MIGRATED | FLAG_UNREACHABLE)

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;
__extension__ typedef unsigned __int128 u128;

/* Whose calls they are: a device that has introduced itself. */
struct device {
	u64 dev;
	u64 min_align_mask;
	u64 seg_boundary_mask;
	u64 phys_limit;
};

/* A live mapping, in the slot where its buffer begins; all zero where none does. */
struct mapping {
	u32 nslots;
	u32 pad_slots;
	u64 alloc_size;
	u64 orig_addr;
	u64 dev;
	u64 tlb_addr; /* ADDRESS_UNKNOWN where it is of a snapshot */
	u64 made_by;  /* number of the call, from 1; 0 where it was there before */
};

#define ADDRESS_UNKNOWN (~0ULL)

struct pool {
	u64 address;
	u64 start;
	u64 since_ns;
	u32 nslabs;
	u32 nareas;
	u32 area_nslabs;
	u32 unused;
	u64 *free; /* two a slot set; a bit is a free slot */
	s64 *area_used;
	u32 *area_index;
	u8 *area_searched; /* whether a search found slots there */
	struct mapping *live;
};

/* How a search walks over one pool: Walk of swiotlb_top/allocator/walk.py. */
struct walk {
	u64 period; /* 0: not as it is done here */
	u64 step;
	u64 stride;
	u64 match_mask;
	u64 aligned;
	u64 boundary_slots;
	u64 boundary_shift;
};

/* Searches that walk alike. walks has one for each pool. */
struct walk_class {
	u32 device;
	u32 alloc_align_mask;
	u32 page_or_more;
	u32 no_orig_addr;
	struct walk *walks;
};

enum search_order {
	EACH_POOL_EVERY_AREA,
	EACH_OFFSET_EVERY_POOL,
};

struct allocator {
	struct pool *pools; /* in the order in which they are searched */
	struct device *devices;
	struct walk_class *classes;
	u32 npools;
	u32 ndevices;
	u32 nclasses;
	u32 order;
	u32 default_nareas;
	u32 pads_slots;
	u32 rounds_size;
	u32 unused;
	u64 told_from_ns; /* calls that do not tell their pool do so by address, if they begin after this */
	s64 patience;	  /* how many more areas searches may ask */
	u64 judged;	  /* how many calls were */
};

#define MAX_ALLOC_BYTES (IO_TLB_SEGSIZE * IO_TLB_SIZE)
#define NOT_MAPPED	(~0ULL)

/* Bytes between the first slot and the buffer: Revision.padding_bytes() of swiotlb_top/allocator/revision.py. */
static inline u64 padding_bytes(bool pads_slots, u64 min_align_mask, const struct record *r)
{
	return r->address & min_align_mask & ((pads_slots ? r->align_mask : 0) | (IO_TLB_SIZE - 1));
}

/* What a search was, or by a map must have been, asked for: Revision.request_of(). 0: what is not done here. */
static inline u64 asked_bytes(bool rounds_size, u64 padding, const struct record *r)
{
	u64 mask = r->align_mask, size = r->size;

	if (size > MAX_ALLOC_BYTES)
		return 0;
	if (r->kind != RECORD_MAP)
		return size;
	if (!size || (!rounds_size && r->pool > MAX_ALLOC_BYTES))
		return 0;
	if (rounds_size)
		size = (size + padding + mask) & ~mask;
	else
		size = (r->pool ? r->pool : (size + mask) & ~mask) + padding;
	return size <= MAX_ALLOC_BYTES ? size : 0;
}

/* What the account knows: DeviceAccount and PoolAccount of swiotlb_top/accounting/. */
#define LATEST	      512
#define SIZE_BUCKETS  9
#define HOLD_BUCKETS  10
#define DIRECTIONS    5
#define NOT_OPEN      (~0ULL)
#define MAX_PHYS_ADDR ((1ULL << 52) - 1)
#define MAX_TIME_NS   ((1ULL << 62) - 1)

/* A live mapping, in the slot where its buffer begins; all zero where none does. */
struct held {
	u32 nslots;
	u32 made_by; /* number of the record, from 1; 0 where it was there before */
	u64 dev;     /* 0: not known */
	u64 exit_ns; /* when its map was over; NOT_OPEN where that does not count */
};

struct pool_books {
	u64 address;
	u64 start;
	u64 since_ns;
	u64 nslabs;
	s64 *used_slots;
	struct held *live;
};

/* The latest durations: the last LATEST of so many. */
struct latest {
	u64 count;
	u64 values[LATEST];
};

/* What is added to the account of one device. */
struct device_books {
	u64 dev;
	u64 min_align_mask;
	u64 phys_limit;
	u64 introduced;
	u64 maps;
	u64 unmaps;
	u64 mapped_bytes;
	u64 asked_slots;
	s64 held_slots;
	u64 latency_sum_ns;
	s64 longest_ns;
	u64 by_direction_bytes[DIRECTIONS];
	u64 sizes[SIZE_BUCKETS];
	u64 tried[4];
	u64 holds[HOLD_BUCKETS];
	u64 *cells;
	struct latest *latencies;
	struct latest *lifetimes;
};

struct books {
	struct pool_books *pools;
	struct device_books *devices;
	const u64 *latency_bounds;
	const u64 *hold_bounds;
	u32 npools;
	u32 ndevices;
	u32 nlatency_bounds;
	u32 nhold_bounds;
	u32 pads_slots;
	u32 rounds_size;
	u64 told_from_ns;
	s64 used_slots;
	s64 used_hiwater_slots;
};

u32 sources(void);
u64 lone_runs(const struct record *records, u64 count, u64 shortest, u8 *scratch, u64 *begins, u64 *lengths, u64 most);
u64 resolved(const struct allocator *mem, const struct record *records, u64 count);
u64 judged(struct allocator *mem, const struct record *records, u64 count);
u64 made(const struct pool *pool, u32 *slots);
u64 counted(struct books *books, const struct record *records, u64 count);
u64 entered(const struct pool_books *pool, u32 *slots);

#endif
