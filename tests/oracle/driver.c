// SPDX-License-Identifier: GPL-2.0-only
/*
 * One kernel's kernel/dma/swiotlb.c, driven by commands on standard input, a line each; one line of answer each.
 *
 *	track YES				whether the high water mark is kept, as swiotlb=...,track_hiwater has it; before init
 *	init NSLABS NAREAS DEFAULT_NAREAS PHYS GROW [LIMIT]
 *						a new machine: its default pool, and the highest address that growth may use
 *	restricted NSLABS PHYS			reserved memory for all devices that follow
 *	dev DEV MIN_ALIGN_MASK SEG_BOUNDARY_MASK DMA_MASK BUS_DMA_LIMIT
 *	pages PHYS FAILS			where the next pages come from, and how many allocations fail before
 *	map DEV CPU ORIG_ADDR SIZE ALIGN_MASK [ALLOC_SIZE]
 *						TLB_ADDR POOL TRANSIENT GREW, or fail GREW, or hang
 *	unmap DEV TLB_ADDR SIZE
 *	alloc DEV CPU SIZE			page PHYS, or none, or hang: swiotlb_alloc()
 *	free DEV PHYS SIZE			swiotlb_free()
 *	work					the growth worker runs
 *	grace					a grace period ends: how many pools are freed
 *	hiwater0				0 is written to io_tlb_used_hiwater
 *	sum					NSLABS USED HIWATER PENDING, and every pool on the list, newest first
 *	transient				NSLABS, and every transient pool: DEV and the pool, newest first
 *	state PHYS				every word of the pool that begins there
 *
 * Addresses and masks are hexadecimal. A pool is START/NSLABS/NAREAS, used:index of each area, and h with a hash over
 * list of every slot. After a bug of the kernel the answers end.
 *
 * What differs between kernels is in HAVE_ macros (tests/oracle/compiled.py).
 */
#include <setjmp.h>
#include <unistd.h>
#include SWIOTLB_C

#include "machine.h"

/* ---- commands ---- */

static void do_track(void)
{
#ifdef HAVE_TRACK_HIWATER
	char option[] = "track_hiwater";

	track_hiwater_enabled = false;
	static_call_update(swiotlb_inc_used, inc_used_and_hiwater_nop);
	static_call_update(swiotlb_dec_used, dec_used_nop);
	if (DECIMAL)
		setup_io_tlb_npages(option);
#endif
	puts("ok");
}

static void do_init(void)
{
	unsigned long nslabs = DECIMAL, nareas = DECIMAL;
	phys_addr_t start;
	bool grows;
	Pool *pool;

	default_nslabs = nslabs;
	default_nareas = DECIMAL;
	start = HEX;
	grows = DECIMAL;
	__builtin_memset(devices, 0, sizeof(devices));
	__builtin_memset(&reserved, 0, sizeof(reserved));
	nfiles = 0;
	oracle_rcu = NULL;
	oracle_work = NULL;
	oracle_growth_failures = 0;
	failing_allocations = 0;
	io_tlb_default_mem = untouched;
	mem = &io_tlb_default_mem;
	pool = DEFAULT_POOL(mem);
	pool->areas = calloc(nareas, sizeof(*pool->areas));
	pool->slots = calloc(nslabs, sizeof(*pool->slots));
#ifdef HAVE_POOLS
	swiotlb_init_io_tlb_pool(pool, start, phys_to_virt(start), nslabs, false, nareas);
	add_mem_pool(mem, pool);
#else
	swiotlb_init_io_tlb_mem(mem, start, nslabs, 0, false, nareas);
#endif
#ifdef CONFIG_SWIOTLB_DYNAMIC
	mem->can_grow = grows;
	mem->phys_limit = more() ? HEX : ~0ull;
#else
	BUG_ON(grows);
#endif
	swiotlb_create_debugfs_files(mem, "swiotlb");
	printf("nslabs %lu nareas %u default_nareas %lu\n", mem->nslabs, pool->nareas, default_nareas);
}

static void do_restricted(void)
{
	struct device any = {0};
	int error;

	reserved.name = "restricted";
	reserved.size = (u64)DECIMAL << IO_TLB_SHIFT;
	reserved.base = HEX;
	error = rmem_swiotlb_device_init(&reserved, &any);
	mem = any.dma_io_tlb_mem;
	printf("restricted %d nslabs %lu nareas %u\n", error, mem->nslabs, DEFAULT_POOL(mem)->nareas);
}

static void do_dev(void)
{
	unsigned long long id = DECIMAL;
	struct device *dev;

	BUG_ON(id >= DEVICES);
	dev = &devices[id].device;
	dev->min_align_mask = HEX;
	dev->seg_boundary_mask = HEX;
	devices[id].dma_mask = HEX;
	dev->dma_mask = &devices[id].dma_mask;
	dev->bus_dma_limit = HEX;
#ifdef HAVE_DEV_INIT
	swiotlb_dev_init(dev);
#else
	dev->dma_io_tlb_mem = &io_tlb_default_mem;
#endif
	if (reserved.priv)
		rmem_swiotlb_device_init(&reserved, dev);
	puts("ok");
}

static void do_pages(void)
{
	next_pages = HEX;
	failing_allocations = DECIMAL;
	puts("ok");
}

static Pool *pool_of(struct device *dev, phys_addr_t address)
{
#ifdef HAVE_POOLS
	return swiotlb_find_pool(dev, address);
#else
	return is_swiotlb_buffer(dev, address) ? dev->dma_io_tlb_mem : NULL;
#endif
}

static bool transient(const Pool *pool)
{
#ifdef CONFIG_SWIOTLB_DYNAMIC
	return pool->transient;
#else
	return false;
#endif
}

static void do_map(void)
{
	struct device *dev = device();
	phys_addr_t orig_addr, tlb_addr;
	size_t size;
	unsigned int align_mask;
	unsigned long attrs __maybe_unused = 0;
	Pool *pool;

	oracle_cpu = DECIMAL;
	orig_addr = HEX;
	size = DECIMAL;
	align_mask = HEX;
	oracle_work = NULL;
	if (setjmp(search_given_up)) {
		puts("hang");
		return;
	}
	blocks_left = enough_blocks();
#if defined(HAVE_ALLOC_SIZE)
	tlb_addr = swiotlb_tbl_map_single(dev, orig_addr, size, more() ? DECIMAL : ALIGN(size, align_mask + 1ul),
					  align_mask, DMA_TO_DEVICE, attrs);
#elif defined(HAVE_ATTRS_POINTER)
	tlb_addr = swiotlb_tbl_map_single(dev, orig_addr, size, align_mask, DMA_TO_DEVICE, &attrs);
#else
	tlb_addr = swiotlb_tbl_map_single(dev, orig_addr, size, align_mask, DMA_TO_DEVICE, attrs);
#endif
	blocks_left = -1;
	if (tlb_addr == (phys_addr_t)DMA_MAPPING_ERROR) {
		printf("fail %d\n", oracle_work != NULL);
		return;
	}
	pool = pool_of(dev, tlb_addr);
	if (!pool)
		oracle_bug("an address in no pool was given out");
	printf("%lx %lx %d %d\n", tlb_addr, pool->start, transient(pool), oracle_work != NULL);
}

static void do_unmap(void)
{
	struct device *dev = device();
	phys_addr_t tlb_addr = HEX;
	size_t size = DECIMAL;

	BUG_ON(!pool_of(dev, tlb_addr));
	swiotlb_tbl_unmap_single(dev, tlb_addr, size, DMA_TO_DEVICE, 0);
	puts("ok");
}

static void do_alloc(void)
{
	struct device *dev = device();
	struct page *page;

	oracle_cpu = DECIMAL;
	if (setjmp(search_given_up)) {
		puts("hang");
		return;
	}
	blocks_left = enough_blocks();
#ifdef HAVE_ALLOC_ATTRS
	page = swiotlb_alloc(dev, DECIMAL, 0);
#else
	page = swiotlb_alloc(dev, DECIMAL);
#endif
	blocks_left = -1;
	if (page)
		printf("page %lx\n", page_to_phys(page));
	else
		puts("none");
}

static void do_free(void)
{
	struct device *dev = device();
	phys_addr_t address = HEX;

	puts(swiotlb_free(dev, pfn_to_page(PFN_DOWN(address)), DECIMAL) ? "ok" : "none");
}

static void do_work(void)
{
#ifdef CONFIG_SWIOTLB_DYNAMIC
	BUG_ON(!mem->dyn_alloc.pending);
	mem->dyn_alloc.pending = false;
	mem->dyn_alloc.function(&mem->dyn_alloc);
#endif
	printf("nslabs %lu warned %lu\n", mem->nslabs, oracle_growth_failures);
}

static void do_grace(void)
{
	struct rcu_head *head = oracle_rcu, *next;
	int freed = 0;

	for (oracle_rcu = NULL; head; head = next, freed++) {
		next = head->next;
		head->function(head);
	}
	printf("freed %d\n", freed);
}

static void do_hiwater0(void)
{
	for (int i = nfiles - 1; i >= 0; i--)
		if (!strcmp(files[i].name, "io_tlb_used_hiwater")) {
			files[i].operations->set(files[i].data, 0);
			break;
		}
	puts("ok");
}

static void print_pool(const Pool *pool)
{
	unsigned int hash = 0;

	for (unsigned long slot = 0; slot < pool->nslabs; slot++)
		hash = hash * 31 + pool->slots[slot].list;
	printf(" %lx/%lu/%u", pool->start, pool->nslabs, pool->nareas);
	for (unsigned int area = 0; area < pool->nareas; area++)
		printf(" %lu:%u", pool->areas[area].used, pool->areas[area].index);
	printf(" h%x", hash);
}

static bool growth_pending(void)
{
#ifdef CONFIG_SWIOTLB_DYNAMIC
	return mem->dyn_alloc.pending;
#else
	return false;
#endif
}

static void do_sum(void)
{
	printf("%lld %lld %lld %d", counter("io_tlb_nslabs"), counter("io_tlb_used"), counter("io_tlb_used_hiwater"),
	       growth_pending());
#ifdef CONFIG_SWIOTLB_DYNAMIC
	Pool *pool;

	list_for_each_entry_rcu(pool, &mem->pools, node) print_pool(pool);
#else
	print_pool(DEFAULT_POOL(mem));
#endif
	putchar('\n');
}

static void do_transient(void)
{
	printf("%lld", counter("io_tlb_transient_nslabs"));
#ifdef CONFIG_SWIOTLB_DYNAMIC
	for (int id = 0; id < DEVICES; id++) {
		Pool *pool;

		if (!devices[id].device.dma_io_tlb_mem)
			continue;
		list_for_each_entry_rcu(pool, &devices[id].device.dma_io_tlb_pools, node)
		{
			printf(" %d", id);
			print_pool(pool);
		}
	}
#endif
	putchar('\n');
}

static const Pool *listed_pool(phys_addr_t start)
{
#ifdef CONFIG_SWIOTLB_DYNAMIC
	Pool *pool;

	list_for_each_entry_rcu(pool, &mem->pools, node) if (pool->start == start) return pool;
#endif
	BUG_ON(DEFAULT_POOL(mem)->start != start);
	return DEFAULT_POOL(mem);
}

static void do_state(void)
{
	const Pool *pool = listed_pool(HEX);

	printf("%lx %lu %u %u", pool->start, pool->nslabs, pool->nareas, pool->area_nslabs);
	for (unsigned int area = 0; area < pool->nareas; area++)
		printf(" %lu %u", pool->areas[area].used, pool->areas[area].index);
	for (unsigned long slot = 0; slot < pool->nslabs; slot++) {
		const struct io_tlb_slot *its = &pool->slots[slot];
#ifdef HAVE_PAD_SLOTS
		unsigned int pad_slots = its->pad_slots;
#else
		unsigned int pad_slots = 0;
#endif
		printf(" %u %lu %lu %u", its->list, its->orig_addr, its->alloc_size, pad_slots);
	}
	putchar('\n');
}

static const struct {
	const char *name;
	void (*run)(void);
} commands[] = {
	/* the most frequent first */
	{"map", do_map},
	{"unmap", do_unmap},
	{"pages", do_pages},
	{"alloc", do_alloc},
	{"free", do_free},
	{"sum", do_sum},
	{"transient", do_transient},
	{"work", do_work},
	{"grace", do_grace},
	{"hiwater0", do_hiwater0},
	{"dev", do_dev},
	{"init", do_init},
	{"restricted", do_restricted},
	{"state", do_state},
	{"track", do_track},
};

static void perform(char *line)
{
	size_t length = strcspn(line, " ");

	at = line + length;
	for (unsigned int i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (strlen(commands[i].name) == length && !strncmp(line, commands[i].name, length)) {
			commands[i].run();
			return;
		}
	oracle_bug("there is no such command");
}

int main(void)
{
	static char line[256];

	untouched = io_tlb_default_mem;
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		perform(line);
	}
	return 0;
}
