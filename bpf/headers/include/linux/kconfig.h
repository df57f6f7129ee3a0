/* SPDX-License-Identifier: GPL-2.0-only */
/* Which of the kernel's options BCC's own prelude asks about. */
#ifndef __LINUX_KCONFIG_H
#define __LINUX_KCONFIG_H
#define CONFIG_BPF_SYSCALL 1
#endif
