/* SPDX-License-Identifier: GPL-2.0-only */
/* Named by BCC's copy of uapi/linux/bpf.h; nothing of it is used. */
#ifndef _LINUX_BPF_COMMON_H
#define _LINUX_BPF_COMMON_H
#endif
