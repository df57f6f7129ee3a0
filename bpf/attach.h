/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How each hook is probed: thin shells around the functions of swiotlb_top.c.
 *
 * fentry/fexit programs take their symbol from their name (kfunc__SYMBOL is
 * BCC's word for fentry, kretfunc__SYMBOL for fexit) and find arguments and
 * result in ctx[]. kprobes remember the arguments at entry, under the stack
 * pointer, which names the call as the trampoline's frame does for fentry.
 */
#ifndef SWIOTLB_TOP_ATTACH_H
#define SWIOTLB_TOP_ATTACH_H

#define PASTE_(a, b)   a##b
#define PASTE(a, b)    PASTE_(a, b)
#define FENTRY(symbol) int PASTE(kfunc__, symbol)(u64 * ctx)
#define FEXIT(symbol)  int PASTE(kretfunc__, symbol)(u64 * ctx)

/* Attached while records are wanted, and only then: counting needs no entry. */
#define FENTRY_REMEMBERS(hook)           \
	FENTRY(HOOK_##hook)              \
	{                                \
		return call_enters(ctx); \
	}
/*
 * Opens a fexit program's body. dev->driver is a plain load, because the
 * verifier knows the type of ctx[0]; for that very reason dev itself is taken
 * as a number with bpf_get_func_arg() (5.17), which is inlined.
 */
#define FEXIT_CONTEXT()                                    \
	struct context c = {.mode = mode(), .frame = ctx}; \
	if (c.mode == MODE_STOP)                           \
	return 0
#define FEXIT_DEVICE()                  \
	u64 dev = 0;                    \
	bpf_get_func_arg(ctx, 0, &dev); \
	if (c.mode == MODE_RECORD)      \
	c.driver = *(u64 *)(ctx[0] + O_device_driver)

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
	if (c.mode == MODE_STOP || !recall(ctx, &call))                            \
	return 0
#define KRETPROBE_DRIVER()         \
	if (c.mode == MODE_RECORD) \
	c.driver = read_u64(call.args[0] + O_device_driver)
#endif

#ifdef HOOK_FIND_SLOTS_FENTRY
/*
 * *retpool costs a bpf_probe_read_kernel(), 170 instructions; that there is one
 * pool on the list, and no transient one of this device, can be seen with plain
 * loads, as the verifier knows the types on the way.
 */
static __always_inline u64 only_pool(u64 *ctx, u64 dev)
{
#ifdef DYNAMIC
	u64 mem = *(u64 *)(ctx[0] + O_device_dma_io_tlb_mem);
	u64 next = *(u64 *)(mem + O_io_tlb_mem_pools);
	u64 prev = *(u64 *)(mem + O_io_tlb_mem_pools + sizeof(u64));
	u64 transient = *(u64 *)(ctx[0] + O_device_dma_io_tlb_pools);

	if (next != prev || transient != dev + O_device_dma_io_tlb_pools)
		return 0;
	return next - O_io_tlb_pool_node;
#else
	return *(u64 *)(ctx[0] + O_device_dma_io_tlb_mem) + O_io_tlb_mem_defpool;
#endif
}

FENTRY_REMEMBERS(FIND_SLOTS)
FEXIT(HOOK_FIND_SLOTS)
{
	/* The verifier lets no program load retpool, a pointer to a pointer, from ctx. */
	u64 retpool = 0;

	FEXIT_CONTEXT();
	FEXIT_DEVICE();
	if (c.mode == MODE_RECORD) {
		bpf_get_func_arg(ctx, 4, &retpool);
		c.only_pool = only_pool(ctx, dev);
	}
	return find_slots_returned(&c, dev, ctx[1], ctx[2], ctx[3], retpool, ctx[5]);
}
#endif

#ifdef HOOK_MAP_FENTRY
FENTRY_REMEMBERS(MAP)
FEXIT(HOOK_MAP)
{
	FEXIT_CONTEXT();
	FEXIT_DEVICE();
	return map_returned(&c, dev, ctx[1], ctx[2], ctx[3], ctx[4], ctx[5], ctx[6]);
}
#endif

#ifdef HOOK_UNMAP_FENTRY
FENTRY_REMEMBERS(UNMAP)
FEXIT(HOOK_UNMAP)
{
	FEXIT_CONTEXT();
	FEXIT_DEVICE();
	return unmap_returned(&c, dev, ctx[1], ctx[2], ctx[3], ctx[4], ctx[5]);
}
#endif

#ifdef HOOK_ALLOC_POOL_FENTRY
/* struct io_tlb_pool *swiotlb_alloc_pool(dev, minslabs, nslabs, nareas, phys_limit, gfp) */
FEXIT(HOOK_ALLOC_POOL)
{
	return pool_allocated(ctx[6]);
}
#endif

#ifdef HOOK_ADD_POOL_FENTRY
FENTRY_REMEMBERS(ADD_POOL)
FEXIT(HOOK_ADD_POOL)
{
	FEXIT_CONTEXT();
	return pool_added(&c, ctx[0], ctx[1]);
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
FEXIT(HOOK_GROW)
{
	FEXIT_CONTEXT();
	return grow_returned(&c, ctx[0]);
}
#endif

#ifdef HOOK_DEVICE_INIT_FENTRY
FENTRY(HOOK_DEVICE_INIT)
{
	u64 dev = 0;

	bpf_get_func_arg(ctx, 0, &dev);
	return device_initialised(dev);
}
#endif

#ifdef HOOK_FIND_SLOTS_KPROBE
KPROBE_REMEMBERS(find_slots)
KRETPROBE(find_slots)
{
	KRETPROBE_CONTEXT();
	KRETPROBE_DRIVER();
	return find_slots_returned(&c, call.args[0], call.args[1], call.args[2], call.args[3], call.args[4],
				   PT_REGS_RC(ctx));
}
#endif

#ifdef HOOK_MAP_KPROBE
KPROBE_REMEMBERS(map)
KRETPROBE(map)
{
	KRETPROBE_CONTEXT();
	KRETPROBE_DRIVER();
	return map_returned(&c, call.args[0], call.args[1], call.args[2], call.args[3], call.args[4], call.args[5],
			    PT_REGS_RC(ctx));
}
#endif

#ifdef HOOK_UNMAP_KPROBE
KPROBE_REMEMBERS(unmap)
KRETPROBE(unmap)
{
	KRETPROBE_CONTEXT();
	KRETPROBE_DRIVER();
	return unmap_returned(&c, call.args[0], call.args[1], call.args[2], call.args[3], call.args[4], call.args[5]);
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
	return pool_added(&c, call.args[0], call.args[1]);
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
	return grow_returned(&c, call.args[0]);
}
#endif

#ifdef HOOK_DEVICE_INIT_KPROBE
KPROBE(device_init)
{
	return device_initialised(PT_REGS_PARM1(ctx));
}
#endif

#endif
