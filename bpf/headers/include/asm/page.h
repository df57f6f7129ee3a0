/* SPDX-License-Identifier: GPL-2.0-only */
/* BCC sizes a ring buffer in pages; the loader says how large one is here. */
#ifndef _ASM_PAGE_H
#define _ASM_PAGE_H
#ifndef PAGE_SIZE
#error "the loader must define PAGE_SIZE"
#endif
#endif
