/* SPDX-License-Identifier: GPL-2.0-only */
/* struct pt_regs as the kernel hands it to kprobe programs. */
#ifndef _ASM_PTRACE_H
#define _ASM_PTRACE_H

#if defined(__x86_64__) || defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx;
	unsigned long r11, r10, r9, r8, ax, cx, dx, si, di;
	unsigned long orig_ax, ip, cs, flags, sp, ss;
};
#elif defined(__aarch64__) || defined(__TARGET_ARCH_arm64)
struct pt_regs {
	unsigned long long regs[31], sp, pc, pstate;
};
#else
struct pt_regs;
#endif

#endif
