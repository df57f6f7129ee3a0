// SPDX-License-Identifier: GPL-2.0-only
/*
 * The account of what is common: searches that found slots, and releases of
 * them, in pools on the list and of devices without a pool of their own.
 *
 * swiotlb_top/accounting/ is the specification. What is here counts the same,
 * and stops before the first record that it does not know.
 */
#include "core.h"

#define LARGEST_UNMAP (1ULL << 40)
#define NO_DIRECTION  4
#define SMALL_BYTES   256

enum tried {
	TRANSLATED,
	BEYOND,
	SMALL,
	WITHIN,
};

/* The first of ascending bounds that a value does not exceed: bisect_left(). */
static u32 bucket(const u64 *bounds, u32 nbounds, u64 value)
{
	u32 low = 0, middle;

	while (low < nbounds) {
		middle = low + (nbounds - low) / 2;
		if (bounds[middle] < value)
			low = middle + 1;
		else
			nbounds = middle;
	}
	return low;
}

static void add_latest(struct latest *latest, u64 value)
{
	latest->values[latest->count++ % LATEST] = value;
}

static struct device_books *device_at(const struct books *books, u64 dev)
{
	u32 i;

	for (i = 0; i < books->ndevices; i++)
		if (books->devices[i].dev == dev)
			return &books->devices[i];
	return NULL;
}

static const struct pool_books *pool_at(const struct books *books, u64 address)
{
	u32 i;

	for (i = 0; i < books->npools; i++)
		if (books->pools[i].address == address)
			return &books->pools[i];
	return NULL;
}

static const struct pool_books *pool_around(const struct books *books, const struct record *r, u64 address)
{
	u32 i;

	for (i = 0; i < books->npools && r->exit_ns - r->duration_ns > books->told_from_ns; i++)
		if (address >= books->pools[i].start &&
		    (address - books->pools[i].start) >> IO_TLB_SHIFT < books->pools[i].nslabs)
			return &books->pools[i];
	return NULL;
}

static void count_tried(struct device_books *device, const struct record *r)
{
	u64 before = r->kind == RECORD_MAP ? 0 : r->address & device->min_align_mask & (IO_TLB_SIZE - 1);
	u64 size = r->size - before;

	if (!device->introduced || !r->address)
		return;
	if (r->align_mask >= PAGE_SIZE - 1)
		device->tried[TRANSLATED]++;
	else if (r->address + size - 1 > device->phys_limit)
		device->tried[BEYOND]++;
	else
		device->tried[size < SMALL_BYTES ? SMALL : WITHIN]++;
}

static bool mapped(struct books *books, const struct record *r, u64 number)
{
	struct device_books *device = device_at(books, r->object);
	bool by_address = r->kind == RECORD_MAP;
	const struct pool_books *pool = by_address ? pool_around(books, r, r->result) : pool_at(books, r->pool);
	u64 padding, asked, data_slot;
	u32 nslots;

	if (!device || !pool || r->address > MAX_PHYS_ADDR || (by_address && !device->introduced))
		return false;
	padding = padding_bytes(books->pads_slots, device->min_align_mask, r);
	asked = asked_bytes(books->rounds_size, padding, r);
	nslots = (asked + IO_TLB_SIZE - 1) >> IO_TLB_SHIFT;
	data_slot = by_address ? (r->result - pool->start) >> IO_TLB_SHIFT : r->result + (padding >> IO_TLB_SHIFT);
	if (padding >= asked || data_slot >= pool->nslabs || pool->live[data_slot].nslots)
		return false;

	pool->live[data_slot] = (struct held){nslots, (u32)number, r->object, r->exit_ns};
	*pool->used_slots += nslots;
	books->used_slots += nslots;
	if (books->used_slots > books->used_hiwater_slots)
		books->used_hiwater_slots = books->used_slots;
	device->sizes[nslots > 1 ? 32 - __builtin_clz(nslots - 1) : 0]++;
	device->asked_slots += nslots;
	device->held_slots += nslots;
	device->mapped_bytes += by_address ? r->size : asked - padding;
	device->maps++;
	device->cells[bucket(books->latency_bounds, books->nlatency_bounds, r->duration_ns)]++;
	device->latency_sum_ns += r->duration_ns;
	add_latest(device->latencies, r->duration_ns);
	count_tried(device, r);
	return true;
}

static bool released(struct books *books, const struct record *r)
{
	struct device_books *device = device_at(books, r->object), *holder;
	const struct pool_books *pool = r->pool ? pool_at(books, r->pool) : pool_around(books, r, r->address);
	struct held *held;
	u64 slot, held_ns;

	if (!device || !pool || r->size > LARGEST_UNMAP || r->exit_ns - r->duration_ns < pool->since_ns ||
	    r->address < pool->start)
		return false;
	slot = (r->address - pool->start) >> IO_TLB_SHIFT;
	if (slot >= pool->nslabs || !pool->live[slot].nslots)
		return false;
	held = &pool->live[slot];
	holder = device_at(books, held->dev);
	if (held->dev && !holder)
		return false;

	*pool->used_slots -= held->nslots;
	books->used_slots -= held->nslots;
	device->unmaps++;
	device->by_direction_bytes[r->flags & FLAG_HAS_DIRECTION ? r->flags & FLAG_DIRECTION_MASK : NO_DIRECTION] +=
		r->size;
	if (held->dev) {
		holder->held_slots -= held->nslots;
		if (held->exit_ns != NOT_OPEN) {
			held_ns = r->exit_ns > held->exit_ns ? r->exit_ns - held->exit_ns : 0;
			holder->holds[bucket(books->hold_bounds, books->nhold_bounds, held_ns)]++;
			if ((s64)held_ns > holder->longest_ns)
				holder->longest_ns = held_ns;
			add_latest(holder->lifetimes, held_ns);
		}
	}
	*held = (struct held){0};
	return true;
}

/* How many records from the first on are counted. */
u64 counted(struct books *books, const struct record *records, u64 count)
{
	const struct record *r;
	u64 i;

	for (i = 0; i < count; i++) {
		r = &records[i];
		if (r->duration_ns == DURATION_UNKNOWN || r->exit_ns < r->duration_ns || r->exit_ns > MAX_TIME_NS ||
		    (r->flags & ~KNOWN_FLAGS))
			break;
		if (r->kind == RECORD_FIND && !(r->result >> 31) && mapped(books, r, i + 1))
			continue;
		if (r->kind == RECORD_MAP && r->result != NOT_MAPPED && mapped(books, r, i + 1))
			continue;
		if (r->kind == RECORD_UNMAP && !(r->flags & FLAG_UNREACHABLE) && released(books, r))
			continue;
		break;
	}
	return i;
}

/* The slots in which mappings begin that were counted here; as many as there are. */
u64 entered(const struct pool_books *pool, u32 *slots)
{
	u64 count = 0;
	u32 slot;

	for (slot = 0; slot < pool->nslabs; slot++)
		if (pool->live[slot].made_by)
			slots[count++] = slot;
	return count;
}
