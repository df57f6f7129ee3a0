/* SPDX-License-Identifier: GPL-2.0-only */
/* Named by BCC's prelude; nothing of it is used. */
#ifndef _LINUX_LOG2_H
#define _LINUX_LOG2_H
#endif
