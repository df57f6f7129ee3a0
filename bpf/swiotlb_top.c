// SPDX-License-Identifier: GPL-2.0-only
/*
 * What swiotlb-top puts into the kernel.
 *
 * Two planes. Counters: totals per device, kept here, exact whatever happens
 * to the ring buffer. Events: one struct record a call, while control says
 * MODE_RECORD.
 *
 * The loader decides which hooks there are (swiotlb_top/probes/) and
 * says so with -D: HOOK_x is the kernel symbol, HOOK_x_FENTRY or HOOK_x_KPROBE
 * how it is probed. Offsets into the kernel's structures, O_struct_member,
 * come from its BTF (swiotlb_top/kernel/layout.py).
 *
 * One file, because BCC knows map accesses only in the main one; attach.h holds
 * what touches no map.
 */
#include "record.h"

/* One look at it decides for both planes, so that they stay in step. */
enum mode {
	MODE_STOP,
	MODE_COUNT,
	/* Counts, and notes entries and returns. */
	MODE_NOTE,
	/* Does that, and writes records. */
	MODE_RECORD,
};

struct faults {
	/* Records the ring buffer had no room for. */
	u64 lost_records;
	/* Calls that no device's totals could take. */
	u64 uncounted_calls;
	/* kprobe entries there was no room to remember. */
	u64 lost_calls;
	/* Calls that a spare program told of, see enum teller. */
	u64 spared_calls;
};

#define IO_TLB_SIZE 2048

/* Requests of at most 1, 2, 4, ... 128 slots (IO_TLB_SEGSIZE), and of more. */
#define LARGEST_REQUEST 8
/* The last of enum dma_data_direction */
#define DMA_NONE 3

/*
 * A device's totals in one bank: whole cache lines, so that banks do not share.
 * dev is 0 where the place is free. since_ns is when the place was taken: the
 * earliest of a device's banks tells it from one that lived at its address before.
 */
struct totals {
	u64 dev;
	u64 driver;
	u64 maps;
	u64 map_failures;
	u64 unmaps;
	u64 mapped_bytes;
	/* By enum dma_data_direction; DMA_NONE where there is none, as in swiotlb_free(). */
	u64 unmapped_bytes[4];
	u64 requests[LARGEST_REQUEST + 1];
	/* Slots of all requests. */
	u64 requested_slots;
	u64 since_ns;
	/* The device's place among the holders; 0 where it has none. */
	u32 holder;
	u32 unused;
	/* The most slots that it held, and that all held, as its maps returned here. */
	s64 most_slots;
	s64 most_of_all_slots;
};

/*
 * What was counted of devices that are gone, so that the calls of all together
 * never become fewer. If begun and ended are equal, nothing is on its way here
 * from the table of devices.
 */
struct departed {
	u64 ended;
	u64 maps;
	u64 map_failures;
	u64 unmaps;
	u64 begun;
};

BPF_ARRAY(control, u64, 1);
BPF_ARRAY(departed, struct departed, 1);
BPF_PERCPU_ARRAY(faults, struct faults, 1);
BPF_PERCPU_ARRAY(growths, u64, 1);
/*
 * DEVICE_PLACES in each of DEVICE_BANKS, a power of two. A CPU has a bank to
 * itself, but on machines of so many that some share one. Userspace maps the
 * table and reads without a call.
 */
BPF_F_TABLE("array", u32, struct totals, devices, DEVICE_BANKS *DEVICE_PLACES, BPF_F_MMAPABLE);
/* Places that are taken, or about to be, by which device; those of the holders are behind those of the devices. */
BPF_HASH(claims, u32, u64, (DEVICE_BANKS + 1) * DEVICE_PLACES);
BPF_RINGBUF_OUTPUT(records, RING_PAGES);

/* Multiplying by it spreads addresses over the high bits (Knuth's method). */
#define GOLDEN 0x9E3779B97F4A7C15ULL

/* Do not wake the reader; it looks by itself (BPF_RB_NO_WAKEUP). */
#define NO_WAKEUP 1

static __always_inline u64 read_u64(u64 address)
{
	u64 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), (void *)address);
	return value;
}

static __always_inline u32 read_u32(u64 address)
{
	u32 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), (void *)address);
	return value;
}

#ifdef RDONLY_CAST
/* image.py tells calls of kernel functions, by their BTF ids, from calls of helpers. */
static u64 (*bpf_rdonly_cast)(u64 address, u32 btf_id) = (void *)RDONLY_CAST;
#endif

/*
 * The same for the hot path: bpf_probe_read_kernel() takes 170 instructions. As
 * a slot's orig_addr, which is a number that may be computed with, any word can
 * be loaded, and is 0 where the load faults (bpf_rdonly_cast(), a35b9af4ec2c,
 * 6.2; it costs nothing).
 */
static __always_inline u64 load_u64(u64 address)
{
#ifdef RDONLY_CAST
	return *(u64 *)(bpf_rdonly_cast(address - O_slot_orig_addr, SLOT) + O_slot_orig_addr);
#else
	return read_u64(address);
#endif
}

/* What an interrupt may come between, with a program that adds to the same word. */
#define ADD_AT_ONCE(word, n) __sync_fetch_and_add(&(word), n)

/*
 * Totals: a spare, in an interrupt of its first, adds to the same words, and so
 * does another CPU that shares the bank. Else each word is one program's alone,
 * which the kernel does not start again on a CPU where it runs, and a plain
 * addition costs less time.
 */
#if defined(SPARES) || defined(SHARED_BANKS)
#define ADD(word, n) ADD_AT_ONCE(word, n)
#else
#define ADD(word, n) ((word) += (n))
#endif

static __always_inline struct faults *this_cpu_faults(void)
{
	int zero = 0;

	return faults.lookup(&zero);
}

static __always_inline void count_spared_call(void)
{
	struct faults *f = this_cpu_faults();

	if (f)
		ADD_AT_ONCE(f->spared_calls, 1);
}

static __always_inline u64 mode(void)
{
	int zero = 0;
	u64 *m = control.lookup(&zero);

	return m ? *m : MODE_STOP;
}

static __always_inline struct record *reserve(void)
{
	struct record *r = records.ringbuf_reserve(sizeof(struct record));

	if (!r) {
		struct faults *f = this_cpu_faults();

		if (f)
			ADD_AT_ONCE(f->lost_records, 1);
	}
	return r;
}

/* What a shell of attach.h finds out in its own way; all but mode only to record. */
struct context {
	u64 mode;
	/* Names the call, see call_enters(). */
	void *frame;
	/* 0 where the entry was not seen. */
	u64 entry_ns;
	/* dev->driver */
	u64 driver;
	/* Bytes of padding before the buffer; to count also. */
	u64 align_offset;
};

/*
 * Pairing a call's entry with its return.
 *
 * Calls nest on a CPU (an interrupt's inside a task's), so entry times wait on
 * a short stack there. fentry and fexit programs of one call are given the same
 * ctx, the frame of the trampoline on the kernel's stack (kprobes have the
 * stack pointer): that address names the call. A call that was preempted and
 * returns on another CPU does not find its entry, and says so; what it leaves
 * behind on its first CPU is passed over.
 */
#define NESTING 8

struct pending {
	u64 frame;
	u64 entry_ns;
};

struct nest {
	u64 top;
	struct pending calls[NESTING];
};

BPF_PERCPU_ARRAY(nests, struct nest, 1);

/* Set in entry_ns, see enum teller; 292 years after boot it would be taken for told. */
#define TOLD (1ULL << 63)

/*
 * For userspace to know which calls are under way (swiotlb_top/probes/read/in_flight.py):
 * entries whose place was taken before their call returned here, and returns that
 * found no entry, each where its frame hashes to.
 */
#define CELLS	    4096
#define CELL(frame) (((u64)(frame)*GOLDEN) >> 52)

struct returned {
	u64 frame;
	u64 exit_ns;
};

struct elsewhere {
	struct pending displaced[CELLS];
	struct returned returned[CELLS];
	/* Of displaced, how many took another frame's cell. */
	u64 overwritten;
};

BPF_ARRAY(elsewhere, struct elsewhere, 1);

/*
 * Whether an entry was left behind: its call returned somewhere else. Where the
 * frame is known to be fentry's context the compiler would compute with that.
 */
static __always_inline bool is_over(struct elsewhere *e, struct pending *p)
{
	u64 frame = *(volatile u64 *)&p->frame;
	struct returned *r = &e->returned[CELL(frame)];

	return r->frame == frame && r->exit_ns > (p->entry_ns & ~TOLD);
}

static __always_inline void call_is_displaced(struct pending *p)
{
	int zero = 0;
	struct elsewhere *e = elsewhere.lookup(&zero);

	if (e && !is_over(e, p)) {
		struct pending *cell = &e->displaced[CELL(p->frame)];

		if (cell->frame && cell->frame != p->frame)
			__sync_fetch_and_add(&e->overwritten, 1);
		*cell = *p;
	}
}

/*
 * fentry's frame is its context, a pointer that the verifier lets nobody compute
 * with; read from memory it is a number.
 */
static __always_inline void call_returns_elsewhere(void **framep)
{
	int zero = 0;
	struct elsewhere *e = elsewhere.lookup(&zero);
	u64 frame;

	bpf_probe_read_kernel(&frame, sizeof(frame), framep);
	if (e) {
		struct returned *cell = &e->returned[CELL(frame)];
		u64 now = bpf_ktime_get_ns();

		cell->frame = frame;
		cell->exit_ns = now;
	}
}

static __always_inline int call_enters(void *frame)
{
	int zero = 0;
	struct nest *n = nests.lookup(&zero);

	if (n) {
		u64 now = bpf_ktime_get_ns();
		struct pending *p = &n->calls[n->top & (NESTING - 1)];

		/* First the place, then what stands in it: an interrupt takes the next. */
		n->top++;
		if (p->frame && !(p->entry_ns & TOLD))
			call_is_displaced(p);
		p->entry_ns = now;
		p->frame = (u64)frame;
	}
	return 0;
}

/*
 * Who tells of a call that returns.
 *
 * The kernel skips a tracing program that runs already on this CPU: one call in
 * some 30,000 on a busy machine is an interrupt's that came just then. To record
 * every call there is a spare, a second program behind the first (of a function's
 * programs the last attached runs first: bpf_trampoline_link_prog()). What the
 * first has told it marks; what it was skipped for the spare finds unmarked, and
 * tells. A call whose entry was not seen, or that changed its CPU, is the first's
 * alone; so is counting, which sees no entries.
 */
enum teller {
	ALONE,
	FIRST,
	SPARE,
};

/* Whether this program is to tell of the call; then c has its entry. */
static __always_inline bool is_ours(struct context *c, enum teller teller)
{
	bool otherwise = teller != SPARE;
	int zero = 0;
	struct nest *n;
	struct elsewhere *e;

	/* The one mode that is left in which there are no entries. */
	if (c->mode == MODE_COUNT)
		return otherwise;
	e = elsewhere.lookup(&zero);
	n = nests.lookup(&zero);
	if (!n)
		return otherwise;
#pragma unroll
	for (int depth = 1; depth <= NESTING; depth++) {
		struct pending *p = &n->calls[(n->top - depth) & (NESTING - 1)];

		if (p->frame == (u64)c->frame && (teller != FIRST || !(p->entry_ns & TOLD))) {
			bool told = teller == SPARE && p->entry_ns & TOLD;

			/* An earlier call's, which had this frame: this one's is on another CPU, or as good as. */
			if (e && is_over(e, p)) {
				p->frame = 0;
				break;
			}

			c->entry_ns = p->entry_ns;
			if (teller == FIRST) {
				p->entry_ns |= TOLD;
				return true;
			}
			p->frame = 0;
			n->top -= depth;
			if (teller == SPARE && !told)
				count_spared_call();
			return !told;
		}
	}
	call_returns_elsewhere(&c->frame);
	return otherwise;
}

/* The record of a call that returns now; NULL where the ring buffer is full. */
static __always_inline struct record *record_call(struct context *c, u8 kind, u8 flags)
{
	struct record *r = reserve();
	u64 duration_ns;

	if (!r)
		return NULL;
	r->exit_ns = bpf_ktime_get_ns();
	/* Long, where the entry was not seen. */
	duration_ns = r->exit_ns - c->entry_ns;
	r->duration_ns = duration_ns < DURATION_UNKNOWN ? duration_ns : DURATION_UNKNOWN;
	r->cpu = bpf_get_smp_processor_id();
	r->kind = kind;
	r->flags = c->entry_ns ? flags : flags | FLAG_MIGRATED;
	return r;
}

/* The record of something that is a point in time. */
static __always_inline struct record *record_now(u8 kind)
{
	struct record *r = reserve();

	if (r) {
		r->exit_ns = bpf_ktime_get_ns();
		r->duration_ns = 0;
		r->cpu = bpf_get_smp_processor_id();
		r->kind = kind;
		r->flags = 0;
	}
	return r;
}

/* ---- arguments, for kprobes: fexit has them itself ----------------------- */

#ifdef ANY_KPROBE
struct call {
	u64 args[ARGUMENTS];
};

BPF_HASH(calls, u64, struct call, 4096);

static __always_inline int remember(struct pt_regs *ctx)
{
	struct call c = {
		.args = {PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx), PT_REGS_PARM3(ctx), PT_REGS_PARM4(ctx),
			 PT_REGS_PARM5(ctx), PT_REGS_PARM6(ctx)},
	};
	u64 frame = PT_REGS_SP(ctx);
	bool noting = mode() >= MODE_NOTE;

#if ARGUMENTS > 6
	/* Only a record wants the seventh, which x86-64 leaves above the return address. */
	if (noting)
#ifdef PT_REGS_PARM7
		c.args[6] = PT_REGS_PARM7(ctx);
#else
		c.args[6] = read_u64(frame + RETURN_ADDRESS_BYTES);
#endif
#endif
	if (calls.update(&frame, &c)) {
		struct faults *f = this_cpu_faults();

		if (f)
			ADD_AT_ONCE(f->lost_calls, 1);
	}
	if (noting)
		call_enters((void *)frame);
	return 0;
}

/* Architectures that push the return address have popped it again by then. */
#define RETURNED_FRAME(ctx) (PT_REGS_SP(ctx) - RETURN_ADDRESS_BYTES)

static __always_inline bool recall(struct pt_regs *ctx, struct call *c)
{
	u64 frame = RETURNED_FRAME(ctx);
	struct call *found = calls.lookup(&frame);

	if (!found)
		return false;
	*c = *found;
	calls.delete(&frame);
	return true;
}
#endif /* ANY_KPROBE */

/* ---- devices ---------------------------------------------------------- */

/* A word of a device, or of what it points to; where it cannot be read, all is false. */
static __always_inline u64 read_word(u64 address, bool *all)
{
	u64 value = 0;

	if (bpf_probe_read_kernel(&value, sizeof(value), (void *)address))
		*all = false;
	return value;
}

/*
 * Mirrors dma_get_seg_boundary() and dma_get_min_align_mask(). Limits that
 * cannot be read are not told, and looked at again at the device's next call:
 * its operations are not judged by limits that are not its own.
 */
static __always_inline bool emit_device(u64 dev)
{
	bool all = true;
	u64 dma_mask = read_word(dev + O_device_dma_mask, &all);
	u64 parms = read_word(dev + O_device_dma_parms, &all);
	u64 mem = read_word(dev + O_device_dma_io_tlb_mem, &all);
	u64 bus_limit = read_word(dev + O_device_bus_dma_limit, &all);
	u64 mask = dma_mask ? read_word(dma_mask, &all) : 0;
	u64 boundary = parms ? read_word(parms + O_device_dma_parameters_segment_boundary_mask, &all) : 0;
	u32 min_align_mask = 0;
	struct record *r;

	if (parms && bpf_probe_read_kernel(&min_align_mask, sizeof(min_align_mask),
					   (void *)(parms + O_device_dma_parameters_min_align_mask)))
		all = false;
	if (!all)
		return false;
	r = record_now(RECORD_DEVICE);
	if (!r)
		return false;
	r->object = dev;
	r->pool = mem;
	r->address = mask;
	r->size = bus_limit;
	r->result = boundary ? boundary : ~0ULL;
	r->align_mask = min_align_mask;
	r->extra = 0;
	records.ringbuf_submit(r, NO_WAKEUP);
	return true;
}

/*
 * Open addressing with room for collisions; a hash table's lookup would cost
 * more than all else that counting does. Where an interrupt wants the same
 * free place, claims decides.
 */
#define DEVICE_HASH(dev) (u32)(((dev)*GOLDEN) >> (64 - DEVICE_PLACES_SHIFT))
#define DEVICE_TRIES	 8
/* No kernel pointer, and not the NULL of a device without a driver. */
#define DRIVER_UNSEEN 1

static __always_inline struct totals *totals_elsewhere(u64 dev, u32 first)
{
	u32 hash = DEVICE_HASH(dev);

#pragma unroll
	for (u32 try = 0; try < DEVICE_TRIES; try++) {
		u32 place = first + ((hash + try) & (DEVICE_PLACES - 1));
		struct totals *t = devices.lookup(&place);

		if (!t)
			return NULL;
		if (t->dev == dev)
			return t;
		if (!t->dev && !claims.insert(&place, &dev)) {
			t->driver = DRIVER_UNSEEN;
			t->since_ns = bpf_ktime_get_ns();
			t->dev = dev;
			return t;
		}
	}
	return NULL;
}

/* ---- who holds what ---------------------------------------------------- */

#ifdef HOLDINGS
/*
 * Only for the program that counts for days; of what is recorded an account is
 * kept in userspace.
 *
 * A mapping has a cell, which the address of its buffer's first slot finds: who
 * made it, and of how many slots, until it is released. What is released, or
 * synced, and has no such cell was made before the probes came, and its cell then
 * says whose it is. A call that is missed does not stay: where one is not seen to
 * be released, the next mapping in these slots is, and what was not seen to be
 * made is taken from nobody. Where two mappings in use have the same cell (of
 * different pools, or of one that is larger than the table), the later has it,
 * and the earlier is nobody's.
 *
 * bits 0-9 the holder's place, 10-11 enum cell, 12-23 slots, 24-63 the slot's number
 */
#define HOLDER_MASK	      0x3ffULL
#define CELL_SAYS(word)	      ((word) >> 10 & 3)
#define CELL_SLOTS(word)      ((word) >> 12 & 0xfff)
#define CELL_NUMBER_SHIFT     24
#define NUMBER(address)	      ((address) / IO_TLB_SIZE)
#define OTHER_NUMBER(word, n) (((word) ^ (n) << CELL_NUMBER_SHIFT) >> CELL_NUMBER_SHIFT)

/* Whole slots of padding before a buffer. */
#ifdef PAD_SLOTS
#define PADDING_SLOTS(c) ((c)->align_offset / IO_TLB_SIZE)
#else
#define PADDING_SLOTS(c) 0
#endif

enum cell {
	MADE = 1,
	SYNCED = 2,
	RELEASED = 3,
};

/* A cache line each. The first is of all devices together; it has no dev. */
struct holder {
	u64 dev;
	s64 held_slots;
	/* Tells the device from those that were at its address before. */
	u64 generation;
	u64 unused[5];
};

/*
 * A power of two of cells, by the machine's memory: the loader makes as many, and
 * not MAPPING_CELLS, which is the fewest.
 */
BPF_F_TABLE("array", u32, u64, mappings, MAPPING_CELLS, BPF_F_MMAPABLE);
/* One less than there are cells. */
BPF_ARRAY(mapping_mask, u64, 1);
BPF_F_TABLE("array", u32, struct holder, holders, DEVICE_PLACES + 1, BPF_F_MMAPABLE);

static __always_inline u64 *cell_of(u64 number)
{
	int zero = 0;
	u64 *mask = mapping_mask.lookup(&zero);
	u32 place;

	if (!mask)
		return NULL;
	place = number & *mask;
	return mappings.lookup(&place);
}

/* A device's place, the same on every CPU; 0 where there is no room. */
static __always_inline u32 holder_of(u64 dev)
{
	u32 hash = DEVICE_HASH(dev);

#pragma unroll
	for (u32 try = 0; try < DEVICE_TRIES; try++) {
		u32 place = ((hash + try) & (DEVICE_PLACES - 1)) + 1;
		u32 claim = DEVICE_BANKS * DEVICE_PLACES + place - 1;
		struct holder *h = holders.lookup(&place);
		u64 *whose;

		if (!h)
			return 0;
		if (h->dev == dev)
			return place;
		if (!h->dev) {
			claims.insert(&claim, &dev);
			whose = claims.lookup(&claim);
			if (whose && *whose == dev) {
				h->dev = dev;
				return place;
			}
		}
	}
	return 0;
}

/* By how many slots a device, and all together, hold more; returns how many it holds then. */
static __always_inline s64 holds_more(u32 place, s64 nslots, s64 *of_all)
{
	u32 all = 0;
	s64 held = 0;
	struct holder *h = holders.lookup(&place);

	if (h) {
		ADD_AT_ONCE(h->held_slots, nslots);
		held = *(volatile s64 *)&h->held_slots;
	}
#ifdef OWN_HIWATER
	h = holders.lookup(&all);
	if (h) {
		ADD_AT_ONCE(h->held_slots, nslots);
		*of_all = *(volatile s64 *)&h->held_slots;
	}
#endif
	return held;
}

/* Its buffer begins in this slot; 0 where that is not known, as of what swiotlb_alloc() gave. */
static __always_inline void mapping_made(struct totals *t, u64 number, u64 nslots)
{
	u64 *cell = cell_of(number);
	u32 mine = t->holder;
	s64 held, of_all;
	u64 was;

	if (!cell || !mine || !number)
		return;
	was = *cell;
	if (CELL_SAYS(was) == MADE)
		holds_more(was & HOLDER_MASK, -CELL_SLOTS(was), &of_all);
	*cell = number << CELL_NUMBER_SHIFT | nslots << 12 | MADE << 10 | mine;
	held = holds_more(mine, nslots, &of_all);
	if (held > t->most_slots)
		t->most_slots = held;
#ifdef OWN_HIWATER
	if (of_all > t->most_of_all_slots)
		t->most_of_all_slots = of_all;
#endif
}

/* Before the kernel releases it, so that never more are counted than are in use. */
static __always_inline int mapping_ends(u64 dev, u64 tlb_addr)
{
	u64 number = NUMBER(tlb_addr), was;
	u64 *cell = cell_of(number);
	s64 of_all;

	if (!cell)
		return 0;
	was = *cell;
	if (CELL_SAYS(was) != MADE) {
		*cell = number << CELL_NUMBER_SHIFT | RELEASED << 10 | holder_of(dev);
	} else if (!OTHER_NUMBER(was, number)) {
		*cell = was | RELEASED << 10;
		holds_more(was & HOLDER_MASK, -CELL_SLOTS(was), &of_all);
	}
	return 0;
}

static __always_inline void holder_departs(u32 place)
{
	struct holder *h = holders.lookup(&place);

	if (h && place) {
		h->held_slots = 0;
		h->generation++;
	}
}

#if defined(HOOK_SYNC_DEVICE) || defined(HOOK_SYNC_CPU)
static __always_inline int mapping_synced(u64 dev, u64 tlb_addr)
{
	u64 number = NUMBER(tlb_addr), was;
	u64 *cell = cell_of(number);

	if (!cell)
		return 0;
	was = *cell;
	if (CELL_SAYS(was) != MADE && (!was || OTHER_NUMBER(was, number)))
		*cell = number << CELL_NUMBER_SHIFT | SYNCED << 10 | holder_of(dev);
	return 0;
}
#endif
#endif

/* ---- who asked for what failed ----------------------------------------- */

#ifdef HOLDINGS
/* Addresses in the functions that the kernel was in, the innermost first. */
struct stack {
	u64 addresses[STACK_DEPTH];
};

struct asker {
	u64 dev;
	/* Of its holder; 0 where it has none. */
	u64 generation;
	/* Its key among the stacks; negative where the kernel gives none, or has no room. */
	s64 stack;
};

BPF_F_TABLE("stacktrace", int, struct stack, stacks, STACKS, 0);
BPF_HASH(askers, struct asker, u64, STACKS);

static __always_inline void map_failed(void *ctx, u64 dev)
{
	struct asker who = {.dev = dev, .stack = stacks.get_stackid(ctx, 0)};
	u32 place = holder_of(dev);
	struct holder *h = holders.lookup(&place);
	u64 once = 1, *failures;

	if (h)
		who.generation = h->generation;
	failures = askers.lookup(&who);
	/* Another CPU may be quicker; then it is there. */
	if (!failures && askers.insert(&who, &once))
		failures = askers.lookup(&who);
	if (failures)
		ADD_AT_ONCE(*failures, 1);
}
#else
static __always_inline void map_failed(void *ctx, u64 dev)
{
}
#endif

/* A device's limits are set while its driver binds: another driver, another look. */
static __always_inline struct totals *totals_of(u64 dev, struct context *c)
{
	u32 first = (bpf_get_smp_processor_id() & (DEVICE_BANKS - 1)) * DEVICE_PLACES;
	u32 place = first + DEVICE_HASH(dev);
	struct totals *t = devices.lookup(&place);

	if (!t || t->dev != dev) {
		t = totals_elsewhere(dev, first);
		if (!t) {
			struct faults *f = this_cpu_faults();

			if (f)
				ADD_AT_ONCE(f->uncounted_calls, 1);
			return NULL;
		}
#ifdef HOLDINGS
		if (!t->holder)
			t->holder = holder_of(dev);
#endif
	}
	if (c->mode == MODE_RECORD && t->driver != c->driver && emit_device(dev))
		t->driver = c->driver;
	return t;
}

/* ---- map and unmap ---------------------------------------------------- */

static __always_inline void count_request(struct totals *t, u64 alloc_size, u64 nslots)
{
	ADD(t->requested_slots, nslots);
#pragma unroll
	for (int i = 0; i < LARGEST_REQUEST; i++) {
		if (alloc_size <= IO_TLB_SIZE << i) {
			ADD(t->requests[i], 1);
			return;
		}
	}
	ADD(t->requests[LARGEST_REQUEST], 1);
}

/* number: of the slot in which the mapping's buffer begins, or 0, see mapping_made() */
static __always_inline void count_map(struct totals *t, u64 bytes, u64 alloc_size, bool failed, u64 number)
{
	u64 nslots = (alloc_size + IO_TLB_SIZE - 1) / IO_TLB_SIZE;

	if (!t)
		return;
	count_request(t, alloc_size, nslots);
	if (failed) {
		ADD(t->map_failures, 1);
	} else {
		ADD(t->maps, 1);
		ADD(t->mapped_bytes, bytes);
#ifdef HOLDINGS
		mapping_made(t, number, nslots);
#endif
	}
}

static __always_inline void count_unmap(struct totals *t, u64 bytes, u32 dir)
{
	if (!t)
		return;
	ADD(t->unmaps, 1);
	ADD(t->unmapped_bytes[dir & FLAG_DIRECTION_MASK], bytes);
}

#ifdef DYNAMIC
#ifndef HOOK_ALLOC_POOL
static __always_inline bool is_transient(u64 pool)
{
	bool transient = false;

	bpf_probe_read_kernel(&transient, sizeof(transient), (void *)(pool + O_pool_transient));
	return transient;
}
#endif

static __always_inline int submit_pool(struct record *r, u64 mem, u64 pool)
{
	if (!r)
		return 0;
	r->object = mem;
	r->pool = pool;
	r->address = pool ? read_u64(pool + O_pool_start) : 0;
	r->size = pool ? read_u64(pool + O_pool_nslabs) : 0;
	r->result = 0;
	r->align_mask = pool ? read_u32(pool + O_pool_nareas) : 0;
	r->extra = pool ? read_u32(pool + O_pool_area_nslabs) : 0;
	records.ringbuf_submit(r, NO_WAKEUP);
	return 0;
}
#endif

#ifdef HOOK_FIND_SLOTS
static __always_inline int find_slots_returned(struct context *c, u64 dev, u64 orig_addr, u64 alloc_size,
					       u32 align_mask, u64 pool, s64 index)
{
	struct totals *t = totals_of(dev, c);
	u64 number = 0;

#ifdef HOLDINGS
	/* swiotlb_alloc() asks for slots without a buffer, and no unmap gives them back. */
	if (index >= 0 && orig_addr)
		number = NUMBER(load_u64(pool + O_pool_start)) + index + PADDING_SLOTS(c);
#endif
	count_map(t, alloc_size - c->align_offset, alloc_size, index < 0, number);
	if (c->mode != MODE_RECORD)
		return 0;

#if defined(DYNAMIC) && !defined(HOOK_ALLOC_POOL)
	/* No probe saw it being made. It has one mapping, which is this one. */
	if (index >= 0 && is_transient(pool))
		submit_pool(record_now(RECORD_POOL_ALLOC), 0, pool);
#endif

	struct record *r = record_call(c, RECORD_FIND, 0);

	if (!r)
		return 0;
	r->object = dev;
	r->pool = pool;
	r->address = orig_addr;
	r->size = alloc_size;
	r->result = index;
	r->align_mask = align_mask;
	r->extra = 0;
	records.ringbuf_submit(r, NO_WAKEUP);
	return 0;
}
#endif

#ifdef HOOK_MAP
static __always_inline int map_returned(struct context *c, u64 dev, u64 orig_addr, u64 mapping_size, u64 alloc_size,
					u32 align_mask, u32 dir, u64 attrs, u64 tlb_addr)
{
	/* What swiotlb_find_slots() is asked for: all that the slots must hold. */
	u64 size = c->align_offset;

	if (MAP_alloc_size >= 0)
		size += alloc_size;
	else
		size = (size + mapping_size + align_mask) & ~(u64)align_mask;
	count_map(totals_of(dev, c), mapping_size, size, tlb_addr == ~0ULL, tlb_addr / IO_TLB_SIZE);
	if (c->mode != MODE_RECORD)
		return 0;

	struct record *r = record_call(c, RECORD_MAP, FLAG_HAS_DIRECTION | (dir & FLAG_DIRECTION_MASK));

	if (!r)
		return 0;
	r->object = dev;
	r->pool = alloc_size;
	r->address = orig_addr;
	r->size = mapping_size;
	r->result = tlb_addr;
	r->align_mask = align_mask;
#ifdef MAP_attrs_POINTER
	r->extra = load_u64(attrs);
#else
	r->extra = attrs;
#endif
	records.ringbuf_submit(r, NO_WAKEUP);
	return 0;
}
#endif

#ifdef HOOK_UNMAP
#define DMA_ATTR_SKIP_CPU_SYNC (1UL << 5)
#if defined(HOOK_MAP) && MAP_alloc_align_mask < 0
#define MAP_IS_WHOLE true
#else
#define MAP_IS_WHOLE false
#endif

/*
 * Whether swiotlb_map() gives these slots back, without syncing them, because
 * the device cannot reach them: the map failed. Where the device is given
 * physical addresses - it has no operations of its own, no IOMMU and no
 * offset - no driver was ever given one beyond its reach, to unmap it.
 */
static __always_inline bool is_unreachable(u64 dev, u64 last, u64 attrs)
{
	u64 at, reach, bus_limit;

	/* Where swiotlb_map() itself is probed as the map, its return tells. */
	if (MAP_IS_WHOLE || !(attrs & DMA_ATTR_SKIP_CPU_SYNC))
		return false;
	at = load_u64(dev + O_device_dma_mask);
	if (!at)
		return false;
	reach = load_u64(at);
	bus_limit = load_u64(dev + O_device_bus_dma_limit);
	/* min_not_zero(), as dma_capable() has it */
	if (bus_limit && (!reach || bus_limit < reach))
		reach = bus_limit;
	if (last <= reach)
		return false;
#ifdef O_device_dma_ops
	if (load_u64(dev + O_device_dma_ops))
		return false;
#endif
	return !load_u64(dev + O_device_iommu_group) && !load_u64(dev + O_device_dma_range_map);
}

static __always_inline int unmap_returned(struct context *c, u64 dev, u64 tlb_addr, u64 mapping_size, u32 dir,
					  u64 attrs, u64 pool)
{
	u8 flags = FLAG_HAS_DIRECTION | (dir & FLAG_DIRECTION_MASK);
	struct totals *t = totals_of(dev, c);

	count_unmap(t, mapping_size, dir);
	if (is_unreachable(dev, tlb_addr + mapping_size - 1, attrs)) {
		flags |= FLAG_UNREACHABLE;
		if (t)
			ADD(t->map_failures, 1);
	}
	if (c->mode != MODE_RECORD)
		return 0;

	struct record *r = record_call(c, RECORD_UNMAP, flags);

	if (!r)
		return 0;
	r->object = dev;
	r->pool = pool;
	r->address = tlb_addr;
	r->size = mapping_size;
	r->result = 0;
	r->align_mask = 0;
	r->extra = attrs;
	records.ringbuf_submit(r, NO_WAKEUP);
	return 0;
}
#endif

#if defined(HOOK_FREE) || defined(HOOK_FREE_FROM_POOL)
static __always_inline int free_returned(struct context *c, u64 dev, u64 pool, u64 tlb_addr, u64 size)
{
	struct totals *t = totals_of(dev, c);

	if (t) {
		/* Words that unmap's program adds to as well, perhaps in an interrupt just now. */
		ADD_AT_ONCE(t->unmaps, 1);
		ADD_AT_ONCE(t->unmapped_bytes[DMA_NONE], size);
	}
	if (c->mode != MODE_RECORD)
		return 0;

	struct record *r = record_call(c, RECORD_FREE, 0);

	if (!r)
		return 0;
	r->object = dev;
	r->pool = pool;
	r->address = tlb_addr;
	r->size = size;
	r->result = 0;
	r->align_mask = 0;
	r->extra = 0;
	records.ringbuf_submit(r, NO_WAKEUP);
	return 0;
}
#endif

/* ---- pools ------------------------------------------------------------- */

#ifdef DYNAMIC
#ifdef HOOK_ALLOC_POOL
static __always_inline int pool_allocated(u64 pool)
{
	if (mode() != MODE_RECORD)
		return 0;
	return submit_pool(record_now(RECORD_POOL_ALLOC), 0, pool);
}
#endif

#ifdef HOOK_ADD_POOL
static __always_inline int pool_added(struct context *c, u64 mem, u64 pool)
{
	if (c->mode != MODE_RECORD)
		return 0;
	return submit_pool(record_call(c, RECORD_POOL_ADD, 0), mem, pool);
}
#endif

#ifdef HOOK_FREE_POOL
static __always_inline int pool_freed(u64 head)
{
	if (mode() != MODE_RECORD)
		return 0;
	return submit_pool(record_now(RECORD_POOL_FREE), 0, head - O_pool_free_head);
}
#endif

#ifdef HOOK_GROW
static __always_inline int grow_returned(struct context *c, u64 work)
{
	u64 mem = work - O_mem_dyn_alloc;
	u64 head = read_u64(mem + O_mem_pools);
	int zero = 0;
	u64 *count = growths.lookup(&zero);

	if (count)
		ADD_AT_ONCE(*count, 1);
	if (c->mode != MODE_RECORD)
		return 0;
	return submit_pool(record_call(c, RECORD_GROW, 0), mem, head == mem + O_mem_pools ? 0 : head - O_pool_node);
}
#endif
#endif /* DYNAMIC */

#ifdef HOOK_DEVICE_INIT
/* void swiotlb_dev_init(dev): a new device lives at this address; the old one's totals end. */
static __always_inline int device_initialised(u64 dev)
{
	u32 hash = DEVICE_HASH(dev);
	int only = 0;
	struct departed *gone = departed.lookup(&only);

	if (!gone)
		return 0;
	ADD_AT_ONCE(gone->begun, 1);
	for (u32 at = 0; at < DEVICE_BANKS * DEVICE_TRIES; at++) {
		u32 place = at / DEVICE_TRIES * DEVICE_PLACES + ((hash + at % DEVICE_TRIES) & (DEVICE_PLACES - 1));
		struct totals *t = devices.lookup(&place);

		if (t && t->dev == dev) {
			struct totals zero = {};

			ADD_AT_ONCE(gone->maps, t->maps);
			ADD_AT_ONCE(gone->map_failures, t->map_failures);
			ADD_AT_ONCE(gone->unmaps, t->unmaps);
#ifdef HOLDINGS
			/* Nobody gives back what the old one still held. */
			holder_departs(t->holder);
#endif
			*t = zero;
			claims.delete(&place);
		}
	}
	ADD_AT_ONCE(gone->ended, 1);
	return 0;
}
#endif

#include "attach.h"

/* ---- reading kernel memory --------------------------------------------- */

struct window {
	u64 begin_ns;
	u64 end_ns;
	s64 error;
	u8 head[HEAD_BYTES];
	u8 body[BODY_BYTES];
};

BPF_ARRAY(window, struct window, 1);

/*
 * Run with BPF_PROG_TEST_RUN, never attached: copy ctx[1] bytes at kernel
 * address ctx[0] and ctx[3] bytes at ctx[2] to where userspace can see them.
 * Both in one go, because a pool's areas and slots belong together.
 */
int read_kernel_memory(u64 *ctx)
{
	int zero = 0;
	struct window *w = window.lookup(&zero);
	u64 head = ctx[0], head_bytes = ctx[1], body = ctx[2], body_bytes = ctx[3];

	if (!w)
		return 0;
	if (head_bytes > HEAD_BYTES)
		head_bytes = HEAD_BYTES;
	if (body_bytes > BODY_BYTES)
		body_bytes = BODY_BYTES;
	w->begin_ns = bpf_ktime_get_ns();
	w->error = bpf_probe_read_kernel(w->head, head_bytes, (void *)head);
	if (!w->error && body_bytes)
		w->error = bpf_probe_read_kernel(w->body, body_bytes, (void *)body);
	w->end_ns = bpf_ktime_get_ns();
	return 0;
}
