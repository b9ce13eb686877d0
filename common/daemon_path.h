/* SPDX-License-Identifier: MIT */
/* Where the program vramd is: $VRAM_DAEMON, else where it was installed, else in PATH. */
#ifndef VRAM_COMMON_DAEMON_PATH_H
#define VRAM_COMMON_DAEMON_PATH_H

#include "common/attr.h"
#include <stddef.h>

/* 0 with its path; -ENOENT. Environment variables count for nothing in setuid programs. */
MUST_CHECK int daemon_path(char *path, size_t size);

#endif
