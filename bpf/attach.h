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

#define PASTE_(a, b) a##b
#define PASTE(a, b)  PASTE_(a, b)
#define FENTRY(symbol) int PASTE(kfunc__, symbol)(u64 * ctx)
#define FEXIT(symbol)  int PASTE(kretfunc__, symbol)(u64 * ctx)

#define FENTRY_REMEMBERS(hook)   \
	FENTRY(HOOK_##hook)        \
	{                          \
		u64 frame = frame_of(ctx, ENTERED_##hook); \
		call_enters(frame);    \
		return 0;              \
	}

#ifdef ANY_KPROBE
#define KPROBE(name)	int PASTE(name, _entered)(struct pt_regs * ctx)
#define KRETPROBE(name) int PASTE(name, _exited)(struct pt_regs * ctx)
#define KPROBE_REMEMBERS(name)        \
	KPROBE(name)                  \
	{                             \
		return remember(ctx); \
	}
#endif

#ifdef HOOK_FIND_SLOTS_FENTRY
FENTRY_REMEMBERS(FIND_SLOTS)
FEXIT(HOOK_FIND_SLOTS)
{
	/* The verifier lets no program load retpool: a pointer to a pointer. */
	u64 frame = frame_of(ctx, RETURNED_FIND_SLOTS);

	return find_slots_returned(frame, ctx[0], ctx[1], ctx[2], ctx[3], frame + 4 * sizeof(u64), ctx[5]);
}
#endif

#ifdef HOOK_MAP_FENTRY
FENTRY_REMEMBERS(MAP)
FEXIT(HOOK_MAP)
{
	return map_returned(frame_of(ctx, RETURNED_MAP), ctx[0], ctx[1], ctx[2], ctx[3], ctx[4], ctx[5], ctx[6]);
}
#endif

#ifdef HOOK_UNMAP_FENTRY
FENTRY_REMEMBERS(UNMAP)
FEXIT(HOOK_UNMAP)
{
	return unmap_returned(frame_of(ctx, RETURNED_UNMAP), ctx[0], ctx[1], ctx[2], ctx[3], ctx[4], ctx[5]);
}
#endif

#ifdef HOOK_ALLOC_POOL_FENTRY
/* struct io_tlb_pool *swiotlb_alloc_pool(dev, minslabs, nslabs, nareas, phys_limit, gfp) */
FEXIT(HOOK_ALLOC_POOL)
{
	return alloc_pool_returned(ctx[6]);
}
#endif

#ifdef HOOK_ADD_POOL_FENTRY
FENTRY_REMEMBERS(ADD_POOL)
FEXIT(HOOK_ADD_POOL)
{
	return add_pool_returned(frame_of(ctx, RETURNED_ADD_POOL), ctx[0], ctx[1]);
}
#endif

#ifdef HOOK_FREE_POOL_FENTRY
FENTRY(HOOK_FREE_POOL)
{
	return free_pool_entered(ctx[0]);
}
#endif

#ifdef HOOK_GROW_FENTRY
FENTRY_REMEMBERS(GROW)
FEXIT(HOOK_GROW)
{
	return grow_returned(frame_of(ctx, RETURNED_GROW), ctx[0]);
}
#endif

#ifdef HOOK_DEVICE_INIT_FENTRY
FENTRY(HOOK_DEVICE_INIT)
{
	return device_init_entered(ctx[0]);
}
#endif

#ifdef HOOK_FIND_SLOTS_KPROBE
KPROBE_REMEMBERS(find_slots)
KRETPROBE(find_slots)
{
	struct call c;

	if (!recall(ctx, &c))
		return 0;
	return find_slots_returned(RETURNED_FRAME(ctx), c.args[0], c.args[1], c.args[2], c.args[3], (u64)&c.args[4],
				   PT_REGS_RC(ctx));
}
#endif

#ifdef HOOK_MAP_KPROBE
KPROBE_REMEMBERS(map)
KRETPROBE(map)
{
	struct call c;

	if (!recall(ctx, &c))
		return 0;
	return map_returned(RETURNED_FRAME(ctx), c.args[0], c.args[1], c.args[2], c.args[3],
			    c.args[4], c.args[5], PT_REGS_RC(ctx));
}
#endif

#ifdef HOOK_UNMAP_KPROBE
KPROBE_REMEMBERS(unmap)
KRETPROBE(unmap)
{
	struct call c;

	if (!recall(ctx, &c))
		return 0;
	return unmap_returned(RETURNED_FRAME(ctx), c.args[0], c.args[1], c.args[2], c.args[3],
			      c.args[4], c.args[5]);
}
#endif

#ifdef HOOK_ALLOC_POOL_KPROBE
KRETPROBE(alloc_pool)
{
	return alloc_pool_returned(PT_REGS_RC(ctx));
}
#endif

#ifdef HOOK_ADD_POOL_KPROBE
KPROBE_REMEMBERS(add_pool)
KRETPROBE(add_pool)
{
	struct call c;

	if (!recall(ctx, &c))
		return 0;
	return add_pool_returned(RETURNED_FRAME(ctx), c.args[0], c.args[1]);
}
#endif

#ifdef HOOK_FREE_POOL_KPROBE
KPROBE(free_pool)
{
	return free_pool_entered(PT_REGS_PARM1(ctx));
}
#endif

#ifdef HOOK_GROW_KPROBE
KPROBE_REMEMBERS(grow)
KRETPROBE(grow)
{
	struct call c;

	if (!recall(ctx, &c))
		return 0;
	return grow_returned(RETURNED_FRAME(ctx), c.args[0]);
}
#endif

#ifdef HOOK_DEVICE_INIT_KPROBE
KPROBE(device_init)
{
	return device_init_entered(PT_REGS_PARM1(ctx));
}
#endif

#endif
