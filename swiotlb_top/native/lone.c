// SPDX-License-Identifier: GPL-2.0-only
/*
 * The judge of what is common: calls that overlap no other, in pools on the
 * list, when the kernel did what the reference does.
 *
 * swiotlb_top/verify/ is the specification. What is here says "the same" or
 * nothing: it stops before the first call that it does not know, or that the
 * reference would do otherwise, and Python judges that one.
 */
#include "core.h"

#define ASSUMED_DURATION_NS 30000000ULL
#define CAN_MIGRATE_NS	    1000000U
#define LARGEST_PADDING	    0xffff
#define NOT_FOUND	    (-1)

/* Of which sources this was built: Python takes no core that was built of others. */
u32 sources(void)
{
	return SOURCES_CRC;
}

static u64 entry_ns(const struct record *r)
{
	u64 took_ns = r->duration_ns == DURATION_UNKNOWN ? ASSUMED_DURATION_NS : r->duration_ns;

	return r->exit_ns > took_ns ? r->exit_ns - took_ns : 0;
}

/* Whether a record alone shows nothing that is rare, or not known here. Larger sizes might wrap around. */
static bool is_plain(const struct record *r)
{
	if (r->exit_ns < r->duration_ns || (r->flags & ~KNOWN_FLAGS))
		return false;
	if (r->kind == RECORD_UNMAP)
		return r->duration_ns != DURATION_UNKNOWN && !(r->flags & FLAG_UNREACHABLE);
	if (r->duration_ns >= CAN_MIGRATE_NS || (r->flags & FLAG_MIGRATED) || !r->size || r->size > MAX_ALLOC_BYTES)
		return false;
	return r->kind == RECORD_FIND ? !(r->result >> 31) : r->kind == RECORD_MAP && r->result != NOT_MAPPED;
}

/*
 * Find the runs of plain calls each of which begins after all before it are
 * over, and is over before any behind it begins.
 */
u64 lone_runs(const struct record *records, u64 count, u64 shortest, u8 *scratch, u64 *begins, u64 *lengths, u64 most)
{
	u64 earliest_ns = ~0ULL, latest_ns = 0, runs = 0, length = 0, i;

	for (i = count; i-- > 0;) {
		scratch[i] = records[i].exit_ns < earliest_ns;
		if (entry_ns(&records[i]) < earliest_ns)
			earliest_ns = entry_ns(&records[i]);
	}
	for (i = 0; i <= count && runs < most; i++) {
		if (i < count && scratch[i] && latest_ns < entry_ns(&records[i]) && is_plain(&records[i])) {
			length++;
		} else {
			if (length && length >= shortest) {
				begins[runs] = i - length;
				lengths[runs++] = length;
			}
			length = 0;
		}
		if (i < count && records[i].exit_ns > latest_ns)
			latest_ns = records[i].exit_ns;
	}
	return runs;
}

static const struct device *device_at(const struct allocator *mem, u64 dev)
{
	u32 i;

	for (i = 0; i < mem->ndevices; i++)
		if (mem->devices[i].dev == dev)
			return &mem->devices[i];
	return NULL;
}

static struct pool *pool_at(const struct allocator *mem, u64 address)
{
	u32 i;

	for (i = 0; i < mem->npools; i++)
		if (mem->pools[i].address == address)
			return &mem->pools[i];
	return NULL;
}

static struct pool *pool_around(const struct allocator *mem, u64 address)
{
	u32 i;

	for (i = 0; i < mem->npools; i++)
		if (address >= mem->pools[i].start &&
		    (address - mem->pools[i].start) >> IO_TLB_SHIFT < mem->pools[i].nslabs)
			return &mem->pools[i];
	return NULL;
}

/* The pool that a record is of, if that is certain. */
static struct pool *pool_of(const struct allocator *mem, const struct record *r)
{
	struct pool *pool;

	if (r->kind == RECORD_FIND || (r->kind == RECORD_UNMAP && r->pool))
		pool = pool_at(mem, r->pool);
	else if (entry_ns(r) > mem->told_from_ns)
		pool = pool_around(mem, r->kind == RECORD_MAP ? r->result : r->address);
	else
		return NULL;
	return pool && (r->kind == RECORD_FIND || pool->since_ns <= entry_ns(r)) ? pool : NULL;
}

/* How many records from the first on are of devices and pools that are known. */
u64 resolved(const struct allocator *mem, const struct record *records, u64 count)
{
	u64 i;

	for (i = 0; i < count; i++)
		if (!is_plain(&records[i]) || !pool_of(mem, &records[i]) || !device_at(mem, records[i].object))
			break;
	return i;
}

static u128 ones(u32 nslots)
{
	return nslots < IO_TLB_SEGSIZE ? ((u128)1 << nslots) - 1 : ~(u128)0;
}

static u128 free_of(const struct pool *pool, u64 slot_set)
{
	return pool->free[2 * slot_set] | (u128)pool->free[2 * slot_set + 1] << 64;
}

static void set_free(struct pool *pool, u64 slot_set, u128 free)
{
	pool->free[2 * slot_set] = (u64)free;
	pool->free[2 * slot_set + 1] = (u64)(free >> 64);
}

static u32 lowest(u128 bits)
{
	return (u64)bits ? (u32)__builtin_ctzll((u64)bits) : 64 + (u32)__builtin_ctzll((u64)(bits >> 64));
}

/* Every step-th slot of a set, from the first on. */
static u128 every(u64 step)
{
	u128 bits = 1;

	for (; step < IO_TLB_SEGSIZE; step *= 2)
		bits |= bits << step;
	return bits;
}

static bool spans_boundary(const struct walk *walk, u64 slot, u32 nslots)
{
	return walk->boundary_slots &&
	       ((walk->boundary_shift + slot) & (walk->boundary_slots - 1)) + nslots > walk->boundary_slots;
}

/* The first of begin, begin + step, ... before end that starts a free run. */
static s64 first_fit(const struct pool *pool, s64 begin, s64 end, u32 nslots, const struct walk *walk)
{
	u32 offset = begin % IO_TLB_SEGSIZE, run, shift;
	u128 starts, in_step = every(walk->step);
	s64 slot_set, slot;

	if (begin >= end || (walk->boundary_slots && walk->boundary_slots < nslots))
		return NOT_FOUND;
	for (slot_set = begin / IO_TLB_SEGSIZE; slot_set * IO_TLB_SEGSIZE < end; slot_set++) {
		starts = free_of(pool, slot_set);
		for (run = 1; run < nslots; run += shift) {
			shift = run < nslots - run ? run : nslots - run;
			starts &= starts >> shift;
		}
		starts = starts >> offset & in_step;
		for (; starts; starts &= starts - 1) {
			slot = slot_set * IO_TLB_SEGSIZE + offset + lowest(starts);
			if (slot >= end)
				return NOT_FOUND;
			if (!spans_boundary(walk, slot, nslots))
				return slot;
		}
		offset = begin % walk->step;
	}
	return NOT_FOUND;
}

/* swiotlb_search_pool_area(): the slot that it would take. */
static s64 search_area(const struct pool *pool, u32 area, u32 nslots, u64 orig_addr, const struct walk *walk)
{
	s64 base = (s64)area * pool->area_nslabs, end = base + pool->area_nslabs, index = pool->area_index[area];
	u64 aligned = walk->aligned + ((orig_addr & walk->match_mask) >> IO_TLB_SHIFT);
	s64 begin = base + index, last, overshoot = 0, slot;

	if (nslots > pool->area_nslabs - pool->area_used[area])
		return NOT_FOUND;
	begin += (aligned - begin) & (walk->period - 1);
	slot = first_fit(pool, begin, end, nslots, walk);
	if (slot >= 0 || !index)
		return slot;
	/*
	 * The last step before the wrap is a whole stride and may overshoot the
	 * area's end. It counts in slots_checked, so that the search ends that
	 * much before it comes round.
	 */
	if (begin < end) {
		last = begin + (end - 1 - begin) / (s64)walk->step * (s64)walk->step;
		overshoot = last + (s64)walk->stride > end ? last + (s64)walk->stride - end : 0;
	}
	begin = base + (s64)((aligned - base) & (walk->period - 1));
	return first_fit(pool, begin, base + index - overshoot, nslots, walk);
}

/*
 * swiotlb_find_slots(): the pool and slot that it would take, or false where it
 * finds none, or asks more areas than it may.
 */
static bool find_slots(struct allocator *mem, const struct record *r, u32 nslots, const struct walk *walks, u32 *found,
		       s64 *slot)
{
	bool by_pool = mem->order == EACH_POOL_EVERY_AREA;
	u32 nouter = by_pool ? mem->npools : mem->default_nareas;
	u32 outer, inner, at, area;
	const struct pool *pool;

	for (outer = 0; outer < nouter; outer++) {
		for (inner = 0; inner < (by_pool ? mem->pools[outer].nareas : mem->npools); inner++) {
			at = by_pool ? outer : inner;
			pool = &mem->pools[at];
			if (!by_pool && outer >= pool->nareas)
				continue;
			area = by_pool ? ((r->cpu & (pool->nareas - 1)) + inner) % pool->nareas
				       : (r->cpu + outer) & (pool->nareas - 1);
			if (!walks[at].period)
				return false;
			*slot = search_area(pool, area, nslots, r->address, &walks[at]);
			*found = at;
			if (*slot >= 0)
				return true;
			if (--mem->patience < 0)
				return false;
		}
	}
	return false;
}

static const struct walk *walks_of(const struct allocator *mem, const struct record *r, u64 asked)
{
	const struct walk_class *class;
	u32 i;

	for (i = 0; i < mem->nclasses; i++) {
		class = &mem->classes[i];
		if (class->alloc_align_mask == r->align_mask && class->page_or_more == (asked >= PAGE_SIZE) &&
		    class->no_orig_addr == !r->address && mem->devices[class->device].dev == r->object)
			return class->walks;
	}
	return NULL;
}

/* Whether slots and buffer lie where safety wants them, wherever the search went. */
static bool is_well_placed(const struct allocator *mem, const struct device *device, const struct record *r, u64 first,
			   u64 end)
{
	u64 kept = device->min_align_mask;

	if (!mem->pads_slots)
		kept &= ~(u64)r->align_mask | (IO_TLB_SIZE - 1);
	else if (first & r->align_mask)
		return false;
	if (r->address && ((first + padding_bytes(mem->pads_slots, device->min_align_mask, r)) ^ r->address) & kept)
		return false;
	return !((first ^ (end - 1)) & ~device->seg_boundary_mask);
}

static bool found_the_same(struct allocator *mem, const struct record *r, u64 number)
{
	const struct device *device = device_at(mem, r->object);
	u32 at, area, index, nslots, pad_slots;
	u64 asked, first, offset;
	const struct walk *walks;
	struct pool *pool;
	s64 slot;

	if (!device)
		return false;
	offset = padding_bytes(mem->pads_slots, device->min_align_mask, r);
	asked = asked_bytes(mem->rounds_size, offset, r);
	walks = walks_of(mem, r, asked);
	nslots = (asked + IO_TLB_SIZE - 1) >> IO_TLB_SHIFT;
	pad_slots = offset >> IO_TLB_SHIFT;
	if (!asked || !walks || pad_slots >= nslots || !find_slots(mem, r, nslots, walks, &at, &slot))
		return false;
	pool = &mem->pools[at];
	first = pool->start + ((u64)slot << IO_TLB_SHIFT);
	if (r->kind == RECORD_MAP ? r->result != first + offset : pool->address != r->pool || (u64)slot != r->result)
		return false;
	if (pool->live[slot + pad_slots].nslots ||
	    !is_well_placed(mem, device, r, first, first + ((u64)nslots << IO_TLB_SHIFT)))
		return false;

	area = slot / pool->area_nslabs;
	set_free(pool, slot / IO_TLB_SEGSIZE,
		 free_of(pool, slot / IO_TLB_SEGSIZE) ^ ones(nslots) << slot % IO_TLB_SEGSIZE);
	pool->area_used[area] += nslots;
	index = slot % pool->area_nslabs + nslots;
	pool->area_index[area] = index < pool->area_nslabs ? index : 0;
	pool->area_searched[area] = 1;
	pool->live[slot + pad_slots] = (struct mapping){
		nslots, pad_slots, asked, r->address, r->object, first + offset, number,
	};
	return true;
}

/* Whether as many bytes are unmapped as were mapped: Release of swiotlb_top/verify/operations/release.py. */
static bool size_fits(const struct mapping *mapping, const struct device *device, const struct record *r)
{
	u64 pad_bytes = (u64)mapping->pad_slots << IO_TLB_SHIFT;
	u64 offset = r->address & device->min_align_mask & (IO_TLB_SIZE - 1);
	s64 mapped = mapping->alloc_size - pad_bytes - (mapping->dev ? offset : 0);
	s64 more = mapped - (s64)r->size;

	if (mapping->alloc_size > MAX_ALLOC_BYTES || r->size > MAX_ALLOC_BYTES)
		return false;
	if (mapping->alloc_size == r->size && !device->min_align_mask && !pad_bytes)
		return true;
	if (!more)
		return true;
	return more > 0 && more <= LARGEST_PADDING && mapped > 0 &&
	       (!(mapped % (s64)PAGE_SIZE) || !((pad_bytes + offset + mapped) % PAGE_SIZE));
}

static bool released_the_same(struct allocator *mem, const struct record *r)
{
	const struct device *device = device_at(mem, r->object);
	struct pool *pool = pool_of(mem, r);
	struct mapping *mapping;
	u64 data_slot, slot;

	if (!device || !pool || r->address < pool->start)
		return false;
	data_slot = (r->address - pool->start) >> IO_TLB_SHIFT;
	if (data_slot >= pool->nslabs)
		return false;
	mapping = &pool->live[data_slot];
	if (!mapping->nslots || (mapping->tlb_addr != r->address && mapping->tlb_addr != ADDRESS_UNKNOWN) ||
	    !size_fits(mapping, device, r))
		return false;

	slot = data_slot - mapping->pad_slots;
	set_free(pool, slot / IO_TLB_SEGSIZE,
		 free_of(pool, slot / IO_TLB_SEGSIZE) | ones(mapping->nslots) << slot % IO_TLB_SEGSIZE);
	pool->area_used[slot / pool->area_nslabs] -= mapping->nslots;
	*mapping = (struct mapping){0};
	return true;
}

/* How many calls from the first on the reference would do alike. */
u64 judged(struct allocator *mem, const struct record *records, u64 count)
{
	s64 patience;
	u64 i;

	for (i = 0; i < count && is_plain(&records[i]); i++, mem->judged++) {
		patience = mem->patience;
		if (records[i].kind == RECORD_UNMAP ? released_the_same(mem, &records[i])
						    : found_the_same(mem, &records[i], mem->judged + 1))
			continue;
		mem->patience = patience;
		break;
	}
	return i;
}

/* The slots in which mappings begin that were made here; as many as there are. */
u64 made(const struct pool *pool, u32 *slots)
{
	u64 count = 0;
	u32 slot;

	for (slot = 0; slot < pool->nslabs; slot++)
		if (pool->live[slot].made_by)
			slots[count++] = slot;
	return count;
}
