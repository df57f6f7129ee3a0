// SPDX-License-Identifier: GPL-2.0-only
/*
 * What swiotlb-top puts into the kernel.
 *
 * Two planes. Counters: totals per device, kept here, exact whatever happens
 * to the ring buffer. Events: one struct record a call, while control says
 * MODE_RECORD.
 *
 * The loader decides which hooks there are (swiotlb_top/probes/plan.py) and
 * says so with -D: HOOK_x is the kernel symbol, HOOK_x_FENTRY or HOOK_x_KPROBE
 * how it is probed. Offsets into the kernel's structures, O_struct_member,
 * come from its BTF.
 */
#include "record.h"

/* One look at it decides for both planes, so that they stay in step. */
enum mode {
	MODE_STOP,
	MODE_COUNT,
	MODE_RECORD,
};

struct faults {
	/* Records the ring buffer had no room for. */
	u64 lost_records;
	/* Calls that no device's totals could take. */
	u64 uncounted_calls;
	/* kprobe entries there was no room to remember. */
	u64 lost_calls;
};

struct totals {
	u64 maps;
	u64 map_failures;
	u64 unmaps;
	u64 mapped_bytes;
	u64 unmapped_bytes;
	u64 driver;
};

BPF_ARRAY(control, u64, 1);
BPF_PERCPU_ARRAY(faults, struct faults, 1);
BPF_PERCPU_ARRAY(growths, u64, 1);
BPF_TABLE("percpu_hash", u64, struct totals, devices, MAX_DEVICES);
BPF_RINGBUF_OUTPUT(records, RING_PAGES);

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

static __always_inline struct faults *this_cpu_faults(void)
{
	int zero = 0;

	return faults.lookup(&zero);
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
			f->lost_records++;
	}
	return r;
}

/*
 * Pairing a call's entry with its return.
 *
 * fentry and fexit programs of one call are given the same ctx, the frame of
 * the trampoline on the kernel's stack; so the address names the call, also
 * where an interrupt's call nests in it. The entry time waits in a small array
 * at a place hashed from that address. Another call that hashes to the same
 * place overwrites it, and a torn pair decodes to nonsense: either way the key
 * does not match, and the entry is reported as not seen.
 */
enum scratch_user {
	ENTERED_FIND_SLOTS,
	RETURNED_FIND_SLOTS,
	ENTERED_MAP,
	RETURNED_MAP,
	ENTERED_UNMAP,
	RETURNED_UNMAP,
	ENTERED_ADD_POOL,
	RETURNED_ADD_POOL,
	ENTERED_GROW,
	RETURNED_GROW,
	SCRATCH_USERS,
};

BPF_PERCPU_ARRAY(scratch, u64, SCRATCH_USERS);

/*
 * ctx as a number: the verifier forbids arithmetic on the pointer, but forgets
 * that it was one on the way through a map. Each program has a place of its
 * own, and a program never nests in itself on one CPU.
 */
static __always_inline u64 frame_of(void *ctx, int user)
{
	u64 *place = scratch.lookup(&user);

	if (!place)
		return 0;
	*place = (u64)ctx;
	return *(volatile u64 *)place;
}

struct entry {
	u64 key;
	u64 time;
};

#define ENTRIES	   4096
#define GOLDEN	   0x9E3779B97F4A7C15ULL
#define CPU_BITS   16
#define ENTRY_SLOT(frame) (((frame)*GOLDEN) >> (64 - 12))

BPF_ARRAY(entries, struct entry, ENTRIES);

struct span {
	u64 exit_ns;
	u32 duration_ns;
	u16 cpu;
	u8 flags;
};

static __always_inline void call_enters(u64 frame)
{
	u32 slot = ENTRY_SLOT(frame);
	struct entry *e = entries.lookup(&slot);

	if (e) {
		u64 key = (frame << CPU_BITS) | bpf_get_smp_processor_id();

		e->key = key;
		e->time = bpf_ktime_get_ns() ^ (frame * GOLDEN);
	}
}

static __always_inline void set_duration(struct span *s, u64 entry_ns, u16 cpu)
{
	u64 duration = s->exit_ns - entry_ns;

	if (duration < DURATION_UNKNOWN) {
		s->duration_ns = duration;
		if (cpu != s->cpu)
			s->flags |= FLAG_MIGRATED;
		s->cpu = cpu;
	}
}

static __always_inline void call_returns(u64 frame, struct span *s)
{
	u32 slot = ENTRY_SLOT(frame);
	struct entry *e = entries.lookup(&slot);

	s->exit_ns = bpf_ktime_get_ns();
	s->cpu = bpf_get_smp_processor_id();
	s->duration_ns = DURATION_UNKNOWN;
	s->flags = 0;
	if (e) {
		u64 key = e->key;

		if (key >> CPU_BITS == (frame << CPU_BITS) >> CPU_BITS)
			set_duration(s, e->time ^ (frame * GOLDEN), (u16)key);
	}
}

/* One look at the clock, for hooks that are a point in time. */
static __always_inline void now(struct span *s)
{
	s->exit_ns = bpf_ktime_get_ns();
	s->cpu = bpf_get_smp_processor_id();
	s->duration_ns = 0;
	s->flags = 0;
}

static __always_inline void fill(struct record *r, struct span *s, u8 kind)
{
	r->exit_ns = s->exit_ns;
	r->duration_ns = s->duration_ns;
	r->cpu = s->cpu;
	r->kind = kind;
	r->flags = s->flags;
}

/* ---- arguments, for kprobes: fexit has them itself ----------------------- */

#ifdef ANY_KPROBE
struct call {
	u64 args[6];
};

BPF_HASH(calls, u64, struct call, ENTRIES);

static __always_inline int remember(struct pt_regs *ctx)
{
	struct call c = {
		.args = {PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx), PT_REGS_PARM3(ctx), PT_REGS_PARM4(ctx),
			 PT_REGS_PARM5(ctx), PT_REGS_PARM6(ctx)},
	};
	u64 frame = PT_REGS_SP(ctx);

	if (calls.update(&frame, &c)) {
		struct faults *f = this_cpu_faults();

		if (f)
			f->lost_calls++;
	}
	call_enters(frame);
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

/* Mirrors dma_get_seg_boundary() and dma_get_min_align_mask(). */
static __always_inline void emit_device(u64 dev)
{
	u64 dma_mask = read_u64(dev + O_device_dma_mask);
	u64 parms = read_u64(dev + O_device_dma_parms);
	struct record *r = reserve();

	if (!r)
		return;
	struct span s;

	now(&s);
	fill(r, &s, RECORD_DEVICE);
	r->object = dev;
	r->pool = read_u64(dev + O_device_dma_io_tlb_mem);
	r->address = dma_mask ? read_u64(dma_mask) : 0;
	r->size = read_u64(dev + O_device_bus_dma_limit);
	r->result = parms ? read_u64(parms + O_device_dma_parameters_segment_boundary_mask) : 0;
	if (!r->result)
		r->result = ~0ULL;
	r->align_mask = parms ? read_u32(parms + O_device_dma_parameters_min_align_mask) : 0;
	r->extra = 0;
	records.ringbuf_submit(r, NO_WAKEUP);
}

/* A device's limits are set while its driver binds: another driver, another look. */
static __always_inline struct totals *totals_of(u64 dev, u64 m)
{
	struct totals *t = devices.lookup(&dev);

	if (!t) {
		struct totals zero = {};

		devices.update(&dev, &zero);
		t = devices.lookup(&dev);
		if (!t) {
			struct faults *f = this_cpu_faults();

			if (f)
				f->uncounted_calls++;
			return NULL;
		}
	}
	if (m == MODE_RECORD) {
		u64 driver = read_u64(dev + O_device_driver);

		if (t->driver != (driver | 1)) {
			t->driver = driver | 1;
			emit_device(dev);
		}
	}
	return t;
}

/* ---- map and unmap ---------------------------------------------------- */

static __always_inline void count_map(struct totals *t, u64 bytes, bool failed)
{
	if (!t)
		return;
	if (failed) {
		t->map_failures++;
	} else {
		t->maps++;
		t->mapped_bytes += bytes;
	}
}

#ifdef HOOK_FIND_SLOTS
/*
 * int swiotlb_find_slots(dev, orig_addr, alloc_size, alloc_align_mask, **retpool),
 * where retpool_at is the address of that last argument.
 */
static __always_inline int find_slots_returned(u64 frame, u64 dev, u64 orig_addr, u64 alloc_size, u32 align_mask,
					       u64 retpool_at, int index)
{
	u64 m = mode();

	if (m == MODE_STOP)
		return 0;
	count_map(totals_of(dev, m), alloc_size, index < 0);
	if (m != MODE_RECORD)
		return 0;

	struct record *r = reserve();

	if (!r)
		return 0;
	struct span s;

	call_returns(frame, &s);
	fill(r, &s, RECORD_FIND);
	r->object = dev;
	r->pool = index < 0 ? 0 : read_u64(read_u64(retpool_at));
	r->address = orig_addr;
	r->size = alloc_size;
	r->result = (u64)index;
	r->align_mask = align_mask;
	r->extra = 0;
	records.ringbuf_submit(r, NO_WAKEUP);
	return 0;
}
#endif

#ifdef HOOK_MAP
/* phys_addr_t swiotlb_tbl_map_single(dev, orig_addr, mapping_size, alloc_align_mask, dir, attrs) */
static __always_inline int map_returned(u64 frame, u64 dev, u64 orig_addr, u64 mapping_size, u32 align_mask, u32 dir,
					u64 attrs, u64 tlb_addr)
{
	u64 m = mode();

	if (m == MODE_STOP)
		return 0;
	count_map(totals_of(dev, m), mapping_size, tlb_addr == ~0ULL);
	if (m != MODE_RECORD)
		return 0;

	struct record *r = reserve();

	if (!r)
		return 0;
	struct span s;

	call_returns(frame, &s);
	s.flags |= FLAG_HAS_DIRECTION | (dir & FLAG_DIRECTION_MASK);
	fill(r, &s, RECORD_MAP);
	r->object = dev;
	r->pool = 0;
	r->address = orig_addr;
	r->size = mapping_size;
	r->result = tlb_addr;
	r->align_mask = align_mask;
	r->extra = attrs;
	records.ringbuf_submit(r, NO_WAKEUP);
	return 0;
}
#endif

#ifdef HOOK_UNMAP
/* void __swiotlb_tbl_unmap_single(dev, tlb_addr, mapping_size, dir, attrs, pool) */
static __always_inline int unmap_returned(u64 frame, u64 dev, u64 tlb_addr, u64 mapping_size, u32 dir, u64 attrs,
					  u64 pool)
{
	u64 m = mode();

	if (m == MODE_STOP)
		return 0;

	struct totals *t = totals_of(dev, m);

	if (t) {
		t->unmaps++;
		t->unmapped_bytes += mapping_size;
	}
	if (m != MODE_RECORD)
		return 0;

	struct record *r = reserve();

	if (!r)
		return 0;
	struct span s;

	call_returns(frame, &s);
	s.flags |= FLAG_HAS_DIRECTION | (dir & FLAG_DIRECTION_MASK);
	fill(r, &s, RECORD_UNMAP);
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

/* ---- pools ------------------------------------------------------------- */

#ifdef DYNAMIC
static __always_inline int emit_pool(struct span *s, u8 kind, u64 mem, u64 pool)
{
	if (mode() != MODE_RECORD)
		return 0;

	struct record *r = reserve();

	if (!r)
		return 0;
	fill(r, s, kind);
	r->object = mem;
	r->pool = pool;
	r->address = pool ? read_u64(pool + O_io_tlb_pool_start) : 0;
	r->size = pool ? read_u64(pool + O_io_tlb_pool_nslabs) : 0;
	r->result = 0;
	r->align_mask = pool ? read_u32(pool + O_io_tlb_pool_nareas) : 0;
	r->extra = pool ? read_u32(pool + O_io_tlb_pool_area_nslabs) : 0;
	records.ringbuf_submit(r, NO_WAKEUP);
	return 0;
}

#ifdef HOOK_ALLOC_POOL
static __always_inline int alloc_pool_returned(u64 pool)
{
	struct span s;

	now(&s);
	return emit_pool(&s, RECORD_POOL_ALLOC, 0, pool);
}
#endif

#ifdef HOOK_ADD_POOL
static __always_inline int add_pool_returned(u64 frame, u64 mem, u64 pool)
{
	struct span s;

	call_returns(frame, &s);
	return emit_pool(&s, RECORD_POOL_ADD, mem, pool);
}
#endif

#ifdef HOOK_FREE_POOL
static __always_inline int free_pool_entered(u64 rcu)
{
	struct span s;

	now(&s);
	return emit_pool(&s, RECORD_POOL_FREE, 0, rcu - O_io_tlb_pool_rcu);
}
#endif

#ifdef HOOK_GROW
static __always_inline int grow_returned(u64 frame, u64 work)
{
	u64 mem = work - O_io_tlb_mem_dyn_alloc;
	u64 head = read_u64(mem + O_io_tlb_mem_pools);
	int zero = 0;
	u64 *count = growths.lookup(&zero);
	struct span s;

	if (count && mode() != MODE_STOP)
		(*count)++;
	call_returns(frame, &s);
	if (head == mem + O_io_tlb_mem_pools)
		return emit_pool(&s, RECORD_GROW, mem, 0);
	return emit_pool(&s, RECORD_GROW, mem, head - O_io_tlb_pool_node);
}
#endif
#endif /* DYNAMIC */

#ifdef HOOK_DEVICE_INIT
/* void swiotlb_dev_init(dev): a new device lives at this address. */
static __always_inline int device_init_entered(u64 dev)
{
	devices.delete(&dev);
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
