/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What kernel/dma/swiotlb.c needs of the kernel, in userspace and on one CPU. It is included before everything else;
 * the headers that swiotlb.c includes are empty, save two of the kernel's own that define what swiotlb is
 * (tests/oracle/compiled.py).
 *
 * Physical addresses are numbers without memory behind them: nothing is copied, and a struct page is its address.
 * Locks are nothing. Callbacks of RCU and works are queued until the driver runs them.
 */
#ifndef ORACLE_SHIM_H
#define ORACLE_SHIM_H

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#define CONFIG_SWIOTLB		       1
#define CONFIG_SWIOTLB_DEFAULT_SIZE_MB 64
#define CONFIG_DEBUG_FS		       1
#define CONFIG_DMA_RESTRICTED_POOL     1
#define CONFIG_ZONE_DMA		       1
#define CONFIG_ZONE_DMA32	       1
#define CONFIG_DMA_COHERENT_POOL       0
#define IS_ENABLED(option)	       (option)

/* Types and attributes. */
typedef uint64_t u64, phys_addr_t, dma_addr_t;
typedef unsigned int gfp_t;
enum dma_data_direction {
	DMA_BIDIRECTIONAL,
	DMA_TO_DEVICE,
	DMA_FROM_DEVICE,
	DMA_NONE
};
#define __init
#define __initdata
#define __read_mostly
#define __maybe_unused __attribute__((unused))
#define likely(x)      (x)
#define unlikely(x)    (x)
#define EXPORT_SYMBOL_GPL(symbol)
#define early_param(name, function)
#define late_initcall(function)
#define READ_ONCE(x)	     (x)
#define WRITE_ONCE(x, value) ((x) = (value))
#define smp_mb()
#define smp_rmb()

/* Numbers. */
#define PAGE_SHIFT			    12
#define PAGE_SIZE			    (1UL << PAGE_SHIFT)
#define PAGE_MASK			    (~(PAGE_SIZE - 1))
#define MAX_PAGE_ORDER			    10
#define BITS_PER_LONG			    64
#define SZ_1M				    0x100000
#define ARCH_LOW_ADDRESS_LIMIT		    0xffffffffULL
#define INVALID_PHYS_ADDR		    (~(phys_addr_t)0)
#define DMA_MAPPING_ERROR		    (~(dma_addr_t)0)
#define DMA_BIT_MASK(n)			    ((n) == 64 ? ~0ULL : (1ULL << ((n)&63)) - 1)
#define DIV_ROUND_UP(n, d)		    (((n) + (d)-1) / (d))
#define roundup(x, y)			    (((x) + (y)-1) / (y) * (y))
#define rounddown(x, y)			    ((x) / (y) * (y))
#define ALIGN(x, a)			    (((x) + ((__typeof__(x))(a)-1)) & ~((__typeof__(x))(a)-1))
#define PAGE_ALIGN(x)			    ALIGN(x, PAGE_SIZE)
#define PAGE_ALIGNED(x)			    (((x) & (PAGE_SIZE - 1)) == 0)
#define min(a, b)			    ((a) < (b) ? (a) : (b))
#define max(a, b)			    ((a) > (b) ? (a) : (b))
#define min_t(type, a, b)		    min((type)(a), (type)(b))
#define min_not_zero(a, b)		    ((a) == 0 ? (b) : (b) == 0 ? (a) : min(a, b))
#define array_size(size, n)		    ((size_t)(size) * (n))
#define simple_strtoul			    strtoul
#define PFN_DOWN(x)			    ((x) >> PAGE_SHIFT)
#define PFN_UP(x)			    (((x) + PAGE_SIZE - 1) >> PAGE_SHIFT)
#define PHYS_PFN(x)			    PFN_DOWN(x)
#define container_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

static inline bool is_power_of_2(unsigned long n)
{
	return n && !(n & (n - 1));
}

static inline unsigned long roundup_pow_of_two(unsigned long n)
{
	unsigned long power = 1;

	while (power < n)
		power <<= 1;
	return power;
}

static inline int get_order(unsigned long bytes)
{
	int order = 0;

	while ((PAGE_SIZE << order) < bytes)
		order++;
	return order;
}

/* Complaints. A bug ends the driver, and the end of its answers tells where; a warning is nothing. */
void oracle_bug(const char *condition) __attribute__((noreturn));
#define BUG_ON(condition)                       \
	do {                                    \
		if (condition)                  \
			oracle_bug(#condition); \
	} while (0)
#define pr_info(...)
#define pr_err(...)
#define pr_warn(...)
#define pr_warn_once(...)
#define pr_warn_ratelimited(...) (void)oracle_growth_failures++
#define dev_err(dev, ...)
#define dev_warn_once(dev, ...)
#define dev_warn_ratelimited(dev, ...)
#define dev_WARN_ONCE(dev, condition, ...) ((void)(condition))
#define trace_swiotlb_bounced(dev, address, size)
/* Its one use after boot: swiotlb_dyn_alloc() found no memory. */
static unsigned long oracle_growth_failures;

/* Locks. */
typedef struct {
} spinlock_t;
#define __SPIN_LOCK_UNLOCKED(name) \
	{                          \
	}
#define spin_lock_init(lock)
#define spin_lock(lock)
#define spin_unlock(lock)
#define spin_lock_irqsave(lock, flags)	    ((void)((flags) = 0))
#define spin_unlock_irqrestore(lock, flags) ((void)(flags))
#define local_irq_save(flags)		    ((void)((flags) = 0))
#define local_irq_restore(flags)	    ((void)(flags))
#define raw_smp_processor_id()		    oracle_cpu
static int oracle_cpu;
#define num_possible_cpus() 1

typedef struct {
	long value;
} atomic_long_t;
#define atomic_long_read(v)		     ((v)->value)
#define atomic_long_set(v, n)		     ((v)->value = (n))
#define atomic_long_add(n, v)		     ((v)->value += (n))
#define atomic_long_sub(n, v)		     ((v)->value -= (n))
#define atomic_long_add_return(n, v)	     ((v)->value += (n))
#define atomic_long_try_cmpxchg(v, old, new) ((v)->value = (new), true)

#define DEFINE_STATIC_CALL(name, function) static __typeof__(function) *name##_target = function
#define static_call(name)		   name##_target
#define static_call_update(name, function) (name##_target = (function))

/* Lists. */
struct list_head {
	struct list_head *next, *prev;
};
#define LIST_HEAD_INIT(name)     \
	{                        \
		&(name), &(name) \
	}

static inline void INIT_LIST_HEAD(struct list_head *list)
{
	list->next = list->prev = list;
}
#define INIT_LIST_HEAD_RCU INIT_LIST_HEAD

static inline void list_add_rcu(struct list_head *new, struct list_head *head)
{
	new->next = head->next;
	new->prev = head;
	head->next->prev = new;
	head->next = new;
}

static inline void list_del_rcu(struct list_head *entry)
{
	entry->next->prev = entry->prev;
	entry->prev->next = entry->next;
}

#define list_for_each_entry_rcu(entry, head, member)                                                   \
	for (entry = container_of((head)->next, __typeof__(*entry), member); &entry->member != (head); \
	     entry = container_of(entry->member.next, __typeof__(*entry), member))

/* RCU and works: queued here, run by the driver. */
struct rcu_head {
	struct rcu_head *next;
	void (*function)(struct rcu_head *head);
};
struct work_struct {
	void (*function)(struct work_struct *work);
	bool pending;
};
struct rcu_work {
	struct work_struct work;
	struct rcu_head rcu;
};
#define __WORK_INITIALIZER(name, called) \
	{                                \
		.function = (called)     \
	}
#define INIT_RCU_WORK(rcu_work, called) ((rcu_work)->work.function = (called))
#define to_rcu_work(pointer)		container_of(pointer, struct rcu_work, work)
#define rcu_read_lock()
#define rcu_read_unlock()
#define system_wq NULL
static struct rcu_head *oracle_rcu;
static struct work_struct *oracle_work;

static inline void call_rcu(struct rcu_head *head, void (*function)(struct rcu_head *head))
{
	head->function = function;
	head->next = oracle_rcu;
	oracle_rcu = head;
}

static inline void oracle_rcu_work(struct rcu_head *head)
{
	struct rcu_work *rcu_work = container_of(head, struct rcu_work, rcu);

	rcu_work->work.function(&rcu_work->work);
}
#define queue_rcu_work(queue, rcu_work) call_rcu(&(rcu_work)->rcu, oracle_rcu_work)

static inline void schedule_work(struct work_struct *work)
{
	work->pending = true;
	oracle_work = work;
}

/* Memory: bookkeeping is real, bounce buffers are addresses that the driver names. */
struct page;
#define GFP_KERNEL		     1u
#define GFP_NOWAIT		     2u
#define __GFP_NOWARN		     4u
#define __GFP_ZERO		     8u
#define __GFP_DMA		     16u
#define __GFP_DMA32		     32u
#define GFP_ZONEMASK		     (__GFP_DMA | __GFP_DMA32)
#define gfpflags_allow_blocking(gfp) (((gfp)&GFP_KERNEL) != 0)
#define SMP_CACHE_BYTES		     64
#define high_memory		     ((void *)~0UL)
#define phys_to_virt(address)	     ((void *)(uintptr_t)(address))
#define virt_to_phys(pointer)	     ((phys_addr_t)(uintptr_t)(pointer))
#define __pa			     virt_to_phys
#define virt_to_page(pointer)	     ((struct page *)(pointer))
#define page_to_phys(page)	     ((phys_addr_t)(uintptr_t)(page))
#define pfn_to_page(pfn)	     ((struct page *)((uintptr_t)(pfn) << PAGE_SHIFT))
#define PageHighMem(page)	     ((void)(page), false)
#define PhysHighMem(address)	     ((void)(address), false)
#define memset(pointer, byte, bytes) ((void)(pointer))
#define memcpy(to, from, bytes)	     ((void)(to), (void)(from))
#define memcpy_from_page(to, page, offset, bytes)
#define memcpy_to_page(page, offset, from, bytes)
#define kmsan_unpoison_memory(pointer, bytes)
#define memremap(address, bytes, flags) phys_to_virt(address)
#define IS_ERR(pointer)			((uintptr_t)(pointer) >= (uintptr_t)-4095)
#define ERR_PTR(error)			((void *)(intptr_t)(error))
#define kzalloc(bytes, gfp)		calloc(1, bytes)
/*
 * The kernel rounds up to its next size and zeroes that. Where the last slot set is short, swiotlb_release_slots() reads
 * the slot after the last; before 53c87e846e33 the whole rest of the set was used.
 */
#define BEYOND			     128
#define kcalloc(n, bytes, gfp)	     calloc((n) + BEYOND, bytes)
#define kzalloc_obj(object)	     calloc(1, sizeof(object))
#define kzalloc_objs(object, n)	     calloc((n) + BEYOND, sizeof(object))
#define kfree(pointer)		     free(pointer)
#define __get_free_pages(gfp, order) ((unsigned long)calloc(1, PAGE_SIZE << (order)))
#define free_pages(address, order)   free((void *)(address))
#define __free_pages(page, order)
#define memblock_alloc(bytes, align)	 calloc(1, bytes)
#define memblock_alloc_low(bytes, align) calloc(1, bytes)
#define memblock_free(pointer, bytes)
#define memblock_free_late(address, bytes)
#define memblock_phys_free(address, bytes)
#define set_memory_decrypted(address, pages) 0
#define set_memory_encrypted(address, pages) 0
struct page *alloc_pages(gfp_t gfp, unsigned int order);
static const u64 zone_dma_limit = DMA_BIT_MASK(24);
static const unsigned int zone_dma_bits = 24;

/* Devices. */
struct device {
	u64 *dma_mask;
	u64 bus_dma_limit;
	unsigned long seg_boundary_mask;
	unsigned int min_align_mask;
	struct io_tlb_mem *dma_io_tlb_mem;
	struct list_head dma_io_tlb_pools;
	spinlock_t dma_io_tlb_lock;
	bool dma_uses_io_tlb;
};
#define DMA_ATTR_SKIP_CPU_SYNC		      1ul
#define DMA_ATTR_NO_WARN		      2ul
#define DMA_ATTR_CC_SHARED		      4ul
#define __DMA_ATTR_ALLOC_CC_SHARED	      8ul
#define dma_get_seg_boundary(dev)	      ((dev)->seg_boundary_mask)
#define dma_get_min_align_mask(dev)	      ((dev)->min_align_mask)
#define phys_to_dma(dev, address)	      (address)
#define phys_to_dma_encrypted(dev, address)   (address)
#define phys_to_dma_unencrypted(dev, address) (address)
#define dma_capable(...)		      true
#define dma_coherent_ok			      NULL
#define dma_alloc_from_pool(...)	      NULL
#define dma_free_from_pool(...)		      false
#define dma_reset_need_sync(dev)
#define dev_is_dma_coherent(dev) true
#define arch_sync_dma_for_device(address, bytes, direction)
#define arch_sync_dma_flush()
#define force_dma_unencrypted(dev) false
#define cc_platform_has(attribute) false

/* debugfs: the driver reads the counters as a person would. */
struct dentry;
struct file_operations {
	int (*get)(void *data, u64 *value);
	int (*set)(void *data, u64 value);
};
#define DEFINE_DEBUGFS_ATTRIBUTE(name, reads, writes, format) \
	static const struct file_operations name = {.get = (reads), .set = (writes)}
#define debugfs_create_dir(name, parent)			     NULL
#define debugfs_create_ulong(name, mode, directory, value)	     oracle_file(name, value, NULL)
#define debugfs_create_file(name, mode, directory, data, operations) oracle_file(name, data, operations)
void oracle_file(const char *name, void *data, const struct file_operations *operations);

/* Reserved memory. */
struct reserved_mem_ops;
struct reserved_mem {
	const char *name;
	unsigned long fdt_node;
	const struct reserved_mem_ops *ops;
	phys_addr_t base;
	phys_addr_t size;
	void *priv;
};
struct reserved_mem_ops {
	int (*node_init)(unsigned long node, struct reserved_mem *rmem);
	int (*device_init)(struct reserved_mem *rmem, struct device *dev);
	void (*device_release)(struct reserved_mem *rmem, struct device *dev);
};
#define of_get_flat_dt_prop(node, name, size) NULL
#define RESERVEDMEM_OF_DECLARE(name, compatible, init)

#endif
