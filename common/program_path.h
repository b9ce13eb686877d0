/* SPDX-License-Identifier: MIT */
/* Where a program of vram's is: where the environment says, else where it was installed, else in PATH. */
#ifndef VRAM_COMMON_PROGRAM_PATH_H
#define VRAM_COMMON_PROGRAM_PATH_H

#include "common/attr.h"
#include <stddef.h>

/* `variable`: the environment variable that names it; NULL: none does. 0 with its path; -ENOENT. Environment variables
 * count for nothing in setuid programs. */
MUST_CHECK int program_path(const char *program, const char *variable, char *path, size_t size);

/* The daemon, vramd; VRAM_DAEMON names another. */
MUST_CHECK int daemon_path(char *path, size_t size);

#endif
