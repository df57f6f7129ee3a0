/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How each hook is probed: thin shells around the functions of swiotlb_top.c.
 *
 * fentry/fexit programs take their symbol from their name (kfunc__SYMBOL is
 * BCC's word for fentry, kretfunc__SYMBOL for fexit) and find arguments and
 * result in ctx[]. kprobes remember the arguments at entry, under the stack
 * pointer, which names the call as the trampoline's frame does for fentry.
 *
 * Which argument is where differs between kernels: the loader says it with
 * -DHOOK_parameter=PLACE, -1 where this kernel's function has no such parameter,
 * and -DHOOK_RESULT for the result.
 */
#ifndef SWIOTLB_TOP_ATTACH_H
#define SWIOTLB_TOP_ATTACH_H

#define PASTE_(a, b)   a##b
#define PASTE(a, b)    PASTE_(a, b)
#define FENTRY(symbol) int PASTE(kfunc__, symbol)(u64 * ctx)
#define FEXIT(symbol)  int PASTE(kretfunc__, symbol)(u64 * ctx)

/* Opens the body of a fexit program that tells of calls, and of its spare where there are any. */
#define TELLS(symbol) static __always_inline int PASTE(symbol, _tells)(u64 * ctx, enum teller teller)
#ifdef SPARES
#define FEXIT_TELLS(symbol)                               \
	TELLS(symbol);                                    \
	FEXIT(symbol)                                     \
	{                                                 \
		return PASTE(symbol, _tells)(ctx, FIRST); \
	}                                                 \
	int PASTE(spare__, symbol)(u64 * ctx)             \
	{                                                 \
		return PASTE(symbol, _tells)(ctx, SPARE); \
	}                                                 \
	TELLS(symbol)
#else
#define FEXIT_TELLS(symbol)                               \
	TELLS(symbol);                                    \
	FEXIT(symbol)                                     \
	{                                                 \
		return PASTE(symbol, _tells)(ctx, ALONE); \
	}                                                 \
	TELLS(symbol)
#endif

#define ARGUMENT(args, place) ((place) < 0 ? 0 : (args)[(place) < 0 ? 0 : (place)])

/* The bits of an address that padding before the buffer may have to keep. */
#ifdef PAD_SLOTS
#define OFFSET_BITS(align_mask) ((align_mask) | (IO_TLB_SIZE - 1))
#else
#define OFFSET_BITS(align_mask) (IO_TLB_SIZE - 1)
#endif

/* The pool of a search is for records, and to tell who holds its slots. */
#ifdef HOLDINGS
#define WANTS_POOL(c) true
#else
#define WANTS_POOL(c) ((c).mode == MODE_RECORD)
#endif

/*
 * Always attached, though only records want entries: whenever one of a function's
 * programs comes or goes, the kernel runs no fexit program for the calls that are
 * under way then (bpf_tramp_image_put()), and these would not be counted.
 */
#define FENTRY_REMEMBERS(hook)                                     \
	FENTRY(HOOK_##hook)                                        \
	{                                                          \
		return mode() >= MODE_NOTE ? call_enters(ctx) : 0; \
	}
/*
 * Opens a fexit program's body. dev->driver is a plain load, because the
 * verifier knows the type of ctx[0]; for that very reason dev itself is taken
 * as a number with bpf_get_func_arg() (5.17), which is inlined.
 */
#define FEXIT_CONTEXT()                                    \
	struct context c = {.mode = mode(), .frame = ctx}; \
	if (c.mode == MODE_STOP || !is_ours(&c, teller))   \
	return 0
#define DEVICE_NUMBER() \
	u64 dev = 0;    \
	bpf_get_func_arg(ctx, 0, &dev)
#define FEXIT_DEVICE()             \
	DEVICE_NUMBER();           \
	if (c.mode == MODE_RECORD) \
	c.driver = *(u64 *)(ctx[0] + O_device_driver)
/* Mirrors swiotlb_align_offset(). Most addresses have none of these bits, and need no look at the device. */
#define FEXIT_ALIGN_OFFSET(orig_addr, align_mask)                                          \
	if ((orig_addr)&OFFSET_BITS(align_mask)) {                                         \
		u64 parms = *(u64 *)(ctx[0] + O_device_dma_parms);                         \
		c.align_offset = (orig_addr)&OFFSET_BITS(align_mask) &                     \
				 *(u32 *)(parms + O_device_dma_parameters_min_align_mask); \
	}
/* Where no function is told the pool, it is the allocator's only one. */
#define FEXIT_STATIC_POOL() (*(u64 *)(ctx[0] + O_device_dma_io_tlb_mem) + O_mem_defpool)

#ifdef ANY_KPROBE
#define KPROBE(name)	int PASTE(name, _entered)(struct pt_regs * ctx)
#define KRETPROBE(name) int PASTE(name, _exited)(struct pt_regs * ctx)
#define KPROBE_REMEMBERS(name)        \
	KPROBE(name)                  \
	{                             \
		return remember(ctx); \
	}
#define KRETPROBE_CONTEXT()                                                        \
	struct call call;                                                          \
	struct context c = {.mode = mode(), .frame = (void *)RETURNED_FRAME(ctx)}; \
	if (c.mode == MODE_STOP || !is_ours(&c, ALONE) || !recall(ctx, &call))     \
	return 0
#define KRETPROBE_DEVICE()         \
	u64 dev = call.args[0];    \
	if (c.mode == MODE_RECORD) \
	c.driver = read_u64(dev + O_device_driver)
#define KRETPROBE_ALIGN_OFFSET(orig_addr, align_mask)          \
	if ((orig_addr)&OFFSET_BITS(align_mask))               \
	c.align_offset = (orig_addr)&OFFSET_BITS(align_mask) & \
			 read_u32(read_u64(dev + O_device_dma_parms) + O_device_dma_parameters_min_align_mask)
#define KRETPROBE_STATIC_POOL() (read_u64(dev + O_device_dma_io_tlb_mem) + O_mem_defpool)
#endif

#ifdef HOOK_FIND_SLOTS_FENTRY
FENTRY_REMEMBERS(FIND_SLOTS)
FEXIT_TELLS(HOOK_FIND_SLOTS)
{
	int index = ctx[FIND_SLOTS_RESULT];
	u64 pool = 0;

	FEXIT_CONTEXT();
	FEXIT_DEVICE();
	FEXIT_ALIGN_OFFSET(ctx[FIND_SLOTS_orig_addr], ctx[FIND_SLOTS_alloc_align_mask]);
	if (index >= 0 && WANTS_POOL(c)) {
#if FIND_SLOTS_retpool >= 0
		/* The verifier lets no program load retpool, a pointer to a pointer, from ctx. */
		bpf_get_func_arg(ctx, FIND_SLOTS_retpool, &pool);
		pool = load_u64(pool);
#else
		pool = FEXIT_STATIC_POOL();
#endif
	}
	if (index < 0)
		map_failed(ctx, dev);
	return find_slots_returned(&c, dev, ctx[FIND_SLOTS_orig_addr], ctx[FIND_SLOTS_alloc_size],
				   ctx[FIND_SLOTS_alloc_align_mask], pool, index);
}
#endif

#ifdef HOOK_MAP_FENTRY
FENTRY_REMEMBERS(MAP)
FEXIT_TELLS(HOOK_MAP)
{
	FEXIT_CONTEXT();
	FEXIT_DEVICE();
	FEXIT_ALIGN_OFFSET(ctx[MAP_orig_addr], ARGUMENT(ctx, MAP_alloc_align_mask));
	if (ctx[MAP_RESULT] == ~0ULL)
		map_failed(ctx, dev);
	return map_returned(&c, dev, ctx[MAP_orig_addr], ctx[MAP_mapping_size], ARGUMENT(ctx, MAP_alloc_size),
			    ARGUMENT(ctx, MAP_alloc_align_mask), ctx[MAP_dir], ctx[MAP_attrs], ctx[MAP_RESULT]);
}
#endif

#ifdef HOOK_UNMAP_FENTRY
FENTRY(HOOK_UNMAP)
{
#ifdef HOLDINGS
	DEVICE_NUMBER();
	mapping_ends(dev, ctx[UNMAP_tlb_addr]);
#endif
	return mode() >= MODE_NOTE ? call_enters(ctx) : 0;
}
FEXIT_TELLS(HOOK_UNMAP)
{
	u64 pool = 0;

	FEXIT_CONTEXT();
	FEXIT_DEVICE();
#if UNMAP_pool >= 0
	pool = ctx[UNMAP_pool];
#elif !defined(DYNAMIC)
	pool = FEXIT_STATIC_POOL();
#endif
	return unmap_returned(&c, dev, ctx[UNMAP_tlb_addr], ctx[UNMAP_mapping_size], ctx[UNMAP_dir], ctx[UNMAP_attrs],
			      pool);
}
#endif

#ifdef HOOK_FREE_FENTRY
FENTRY_REMEMBERS(FREE)
FEXIT_TELLS(HOOK_FREE)
{
	FEXIT_CONTEXT();
	FEXIT_DEVICE();
	/* It returns whether the page was swiotlb's at all. */
	return (u8)ctx[FREE_RESULT] ? free_returned(&c, dev, 0, 0, ctx[FREE_size]) : 0;
}
#endif

#ifdef HOOK_FREE_FROM_POOL_FENTRY
FENTRY_REMEMBERS(FREE_FROM_POOL)
FEXIT_TELLS(HOOK_FREE_FROM_POOL)
{
	FEXIT_CONTEXT();
	FEXIT_DEVICE();
	return free_returned(&c, dev, ctx[FREE_FROM_POOL_pool], ctx[FREE_FROM_POOL_tlb_addr], 0);
}
#endif

#ifdef HOOK_ALLOC_POOL_FENTRY
FEXIT(HOOK_ALLOC_POOL)
{
	return pool_allocated(ctx[ALLOC_POOL_RESULT]);
}
#endif

#ifdef HOOK_ADD_POOL_FENTRY
FENTRY_REMEMBERS(ADD_POOL)
FEXIT_TELLS(HOOK_ADD_POOL)
{
	FEXIT_CONTEXT();
	return pool_added(&c, ctx[ADD_POOL_mem], ctx[ADD_POOL_pool]);
}
#endif

#ifdef HOOK_FREE_POOL_FENTRY
FENTRY(HOOK_FREE_POOL)
{
	return pool_freed(ctx[0]);
}
#endif

#ifdef HOOK_GROW_FENTRY
FENTRY_REMEMBERS(GROW)
FEXIT_TELLS(HOOK_GROW)
{
	FEXIT_CONTEXT();
	return grow_returned(&c, ctx[GROW_work]);
}
#endif

#ifdef HOOK_DEVICE_INIT_FENTRY
FENTRY(HOOK_DEVICE_INIT)
{
	DEVICE_NUMBER();
	return device_initialised(dev);
}
#endif

#if defined(HOLDINGS) && defined(HOOK_SYNC_DEVICE_FENTRY)
FENTRY(HOOK_SYNC_DEVICE)
{
	DEVICE_NUMBER();
	return mapping_synced(dev, ctx[SYNC_DEVICE_tlb_addr]);
}
#endif

#if defined(HOLDINGS) && defined(HOOK_SYNC_CPU_FENTRY)
FENTRY(HOOK_SYNC_CPU)
{
	DEVICE_NUMBER();
	return mapping_synced(dev, ctx[SYNC_CPU_tlb_addr]);
}
#endif

#ifdef HOOK_FIND_SLOTS_KPROBE
KPROBE_REMEMBERS(find_slots)
KRETPROBE(find_slots)
{
	int index = PT_REGS_RC(ctx);
	u64 pool = 0;

	KRETPROBE_CONTEXT();
	KRETPROBE_DEVICE();
	KRETPROBE_ALIGN_OFFSET(call.args[FIND_SLOTS_orig_addr], call.args[FIND_SLOTS_alloc_align_mask]);
	if (index >= 0 && WANTS_POOL(c)) {
#if FIND_SLOTS_retpool >= 0
		pool = load_u64(call.args[FIND_SLOTS_retpool]);
#else
		pool = KRETPROBE_STATIC_POOL();
#endif
	}
	if (index < 0)
		map_failed(ctx, dev);
	return find_slots_returned(&c, dev, call.args[FIND_SLOTS_orig_addr], call.args[FIND_SLOTS_alloc_size],
				   call.args[FIND_SLOTS_alloc_align_mask], pool, index);
}
#endif

#ifdef HOOK_MAP_KPROBE
KPROBE_REMEMBERS(map)
KRETPROBE(map)
{
	KRETPROBE_CONTEXT();
	KRETPROBE_DEVICE();
	KRETPROBE_ALIGN_OFFSET(call.args[MAP_orig_addr], ARGUMENT(call.args, MAP_alloc_align_mask));
	if (PT_REGS_RC(ctx) == ~0ULL)
		map_failed(ctx, dev);
	return map_returned(&c, dev, call.args[MAP_orig_addr], call.args[MAP_mapping_size],
			    ARGUMENT(call.args, MAP_alloc_size), ARGUMENT(call.args, MAP_alloc_align_mask),
			    call.args[MAP_dir], call.args[MAP_attrs], PT_REGS_RC(ctx));
}
#endif

#ifdef HOOK_UNMAP_KPROBE
KPROBE(unmap)
{
#ifdef HOLDINGS
	mapping_ends(PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx));
#endif
	return remember(ctx);
}
KRETPROBE(unmap)
{
	u64 pool = 0;

	KRETPROBE_CONTEXT();
	KRETPROBE_DEVICE();
#if UNMAP_pool >= 0
	pool = call.args[UNMAP_pool];
#elif !defined(DYNAMIC)
	pool = KRETPROBE_STATIC_POOL();
#endif
	return unmap_returned(&c, dev, call.args[UNMAP_tlb_addr], call.args[UNMAP_mapping_size], call.args[UNMAP_dir],
			      call.args[UNMAP_attrs], pool);
}
#endif

#ifdef HOOK_FREE_KPROBE
KPROBE_REMEMBERS(free)
KRETPROBE(free)
{
	KRETPROBE_CONTEXT();
	KRETPROBE_DEVICE();
	return (u8)PT_REGS_RC(ctx) ? free_returned(&c, dev, 0, 0, call.args[FREE_size]) : 0;
}
#endif

#ifdef HOOK_FREE_FROM_POOL_KPROBE
KPROBE_REMEMBERS(free_from_pool)
KRETPROBE(free_from_pool)
{
	KRETPROBE_CONTEXT();
	KRETPROBE_DEVICE();
	return free_returned(&c, dev, call.args[FREE_FROM_POOL_pool], call.args[FREE_FROM_POOL_tlb_addr], 0);
}
#endif

#ifdef HOOK_ALLOC_POOL_KPROBE
KRETPROBE(alloc_pool)
{
	return pool_allocated(PT_REGS_RC(ctx));
}
#endif

#ifdef HOOK_ADD_POOL_KPROBE
KPROBE_REMEMBERS(add_pool)
KRETPROBE(add_pool)
{
	KRETPROBE_CONTEXT();
	return pool_added(&c, call.args[ADD_POOL_mem], call.args[ADD_POOL_pool]);
}
#endif

#ifdef HOOK_FREE_POOL_KPROBE
KPROBE(free_pool)
{
	return pool_freed(PT_REGS_PARM1(ctx));
}
#endif

#ifdef HOOK_GROW_KPROBE
KPROBE_REMEMBERS(grow)
KRETPROBE(grow)
{
	KRETPROBE_CONTEXT();
	return grow_returned(&c, call.args[GROW_work]);
}
#endif

#ifdef HOOK_DEVICE_INIT_KPROBE
KPROBE(device_init)
{
	return device_initialised(PT_REGS_PARM1(ctx));
}
#endif

#if defined(HOLDINGS) && defined(HOOK_SYNC_DEVICE_KPROBE)
KPROBE(sync_device)
{
	return mapping_synced(PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx));
}
#endif

#if defined(HOLDINGS) && defined(HOOK_SYNC_CPU_KPROBE)
KPROBE(sync_cpu)
{
	return mapping_synced(PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx));
}
#endif

#endif
