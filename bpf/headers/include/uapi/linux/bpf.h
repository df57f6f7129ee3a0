/* SPDX-License-Identifier: GPL-2.0-only */
/* Named by BCC's prelude; nothing of it is used. */
#ifndef _UAPI_LINUX_BPF_H
#define _UAPI_LINUX_BPF_H
#endif
