/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The machine that the driver's commands play on: its devices, its memory, its files in debugfs, and an end to searches
 * that have none. Included once, after the kernel's C.
 */
#ifndef ORACLE_MACHINE_H
#define ORACLE_MACHINE_H

#define DEVICES 16
#define FILES	16

#ifdef HAVE_POOLS
typedef struct io_tlb_pool Pool;
#define DEFAULT_POOL(mem) (&(mem)->defpool)
#else
typedef struct io_tlb_mem Pool;
#define DEFAULT_POOL(mem) (mem)
#endif

static struct {
	struct device device;
	u64 dma_mask;
} devices[DEVICES];
static struct {
	const char *name;
	void *data;
	const struct file_operations *operations;
} files[FILES];
static int nfiles;
static struct io_tlb_mem untouched;
static struct io_tlb_mem *mem;
static struct reserved_mem reserved;
static phys_addr_t next_pages;
static unsigned long failing_allocations;

/* ---- what the shim asks of the driver ---- */

void oracle_bug(const char *condition)
{
	printf("bug: %s\n", condition);
	fflush(stdout);
	_exit(0);
}

struct page *alloc_pages(gfp_t gfp, unsigned int order)
{
	phys_addr_t address = ALIGN(next_pages, PAGE_SIZE << order);

	if (order > MAX_PAGE_ORDER)
		return NULL;
	if (failing_allocations) {
		failing_allocations--;
		return NULL;
	}
	return pfn_to_page(PFN_DOWN(address));
}

void oracle_file(const char *name, void *data, const struct file_operations *operations)
{
	BUG_ON(nfiles == FILES);
	files[nfiles].name = name;
	files[nfiles].data = data;
	files[nfiles++].operations = operations;
}

/* What is in a file of debugfs, of the allocator made last; -1 if this kernel has no such file. */
static long long counter(const char *name)
{
	u64 value;

	for (int i = nfiles - 1; i >= 0; i--) {
		if (strcmp(files[i].name, name))
			continue;
		if (!files[i].operations)
			return *(unsigned long *)files[i].data;
		files[i].operations->get(files[i].data, &value);
		return value;
	}
	return -1;
}

/* ---- a search that never ends ---- */

static jmp_buf search_given_up;
static long blocks_left = -1;

/* The compiler calls it in every basic block, where the kernel is one whose search can go round for good. */
__attribute__((no_sanitize_coverage)) void __sanitizer_cov_trace_pc(void)
{
	if (blocks_left > 0 && --blocks_left == 0)
		longjmp(search_given_up, 1);
}

/* More than any search takes that ends: one round over all areas, with fewer than ten blocks a slot. */
static long enough_blocks(void)
{
	return 16 * (long)(mem->nslabs + 8 * IO_TLB_SEGSIZE);
}

/* ---- the words of a command ---- */

static char *at;

static unsigned long long number(int base)
{
	return strtoull(at, &at, base);
}
#define HEX	number(16)
#define DECIMAL number(10)

static bool more(void)
{
	while (*at == ' ')
		at++;
	return *at != '\0';
}

static struct device *device(void)
{
	unsigned long long id = DECIMAL;

	BUG_ON(id >= DEVICES || !devices[id].device.dma_io_tlb_mem);
	return &devices[id].device;
}

#endif
