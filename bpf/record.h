/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The one record that crosses the ring buffer. swiotlb_top/records.py unpacks
 * it; a test compiles this file and holds the two layouts together.
 *
 * Every record is RECORD_BYTES long, so that userspace can copy the ring in
 * bulk and stride over it.
 */
#ifndef SWIOTLB_TOP_RECORD_H
#define SWIOTLB_TOP_RECORD_H

enum record_kind {
	/* One swiotlb_find_slots() call: slot index and pool are known. */
	RECORD_FIND = 1,
	/* One swiotlb_tbl_map_single() call, where find_slots is inlined. */
	RECORD_MAP = 2,
	/* One __swiotlb_tbl_unmap_single() call (swiotlb_tbl_unmap_single() up to 6.10). */
	RECORD_UNMAP = 3,
	/* A pool's memory was had, or (pool == 0) could not be had. */
	RECORD_POOL_ALLOC = 4,
	/* add_mem_pool() returned: the pool is on the allocator's list. */
	RECORD_POOL_ADD = 5,
	/* swiotlb_dyn_free(), swiotlb_dyn_free_work(): the pool's memory goes back. */
	RECORD_POOL_FREE = 6,
	/* swiotlb_dyn_alloc() returned; pool is the head of the list then. */
	RECORD_GROW = 7,
	/* A device seen for the first time, or with another driver. */
	RECORD_DEVICE = 8,
	/* swiotlb_free(), swiotlb_free_from_pool(): what swiotlb_alloc() gave comes back. */
	RECORD_FREE = 9,
};

/* flags: bits 0-1 hold enum dma_data_direction where has_direction is set. */
#define FLAG_DIRECTION_MASK 0x03
#define FLAG_HAS_DIRECTION  0x04
/* The entry was not seen on this CPU: the call may have begun on another. */
#define FLAG_MIGRATED 0x08
/* An unmap by which swiotlb_map() gives back what it had, because the device cannot reach it. */
#define FLAG_UNREACHABLE 0x10

/* duration_ns where the entry was not seen (or lasted over four seconds). */
#define DURATION_UNKNOWN 0xffffffffU

/*
 * kind        object  pool  address    size          result      align_mask  extra
 * FIND        dev     pool  orig_addr  alloc_size    slot or -1  alloc mask  0
 * MAP         dev     (a)   orig_addr  mapping_size  tlb or ~0   alloc mask  attrs
 * UNMAP       dev     (b)   tlb_addr   mapping_size  0           0           attrs
 * POOL_ALLOC  mem/0   pool  start      nslabs        0           nareas      area_nslabs
 * POOL_ADD    mem     pool  start      nslabs        0           nareas      area_nslabs
 * POOL_FREE   0       pool  start      nslabs        0           nareas      area_nslabs
 * GROW        mem     head  start      nslabs        0           nareas      area_nslabs
 * DEVICE      dev     mem   dma_mask   bus_limit     boundary    min mask    0
 * FREE        dev     pool  tlb or 0   size or 0     0           0           0
 *
 * (a) alloc_size where the kernel's function has that parameter (up to 6.9), else 0.
 * (b) the pool; 0 where the kernel's function is not told it and there may be several
 *     (dynamic, 6.6 to 6.10): the address tells.
 */
struct record {
	unsigned long long exit_ns;
	unsigned int duration_ns;
	unsigned short cpu;
	unsigned char kind;
	unsigned char flags;
	unsigned long long object;
	unsigned long long pool;
	unsigned long long address;
	unsigned long long size;
	unsigned long long result;
	unsigned int align_mask;
	unsigned int extra;
};

#define RECORD_BYTES 64

#endif
