/* SPDX-License-Identifier: MIT */
/* A directory that stands for the machine's root: what tests put there is what the library sees. */
#ifndef VRAM_TESTS_FAKE_ROOT_H
#define VRAM_TESTS_FAKE_ROOT_H

#include <stddef.h>
#include <stdint.h>

/* An empty root below the temporary directory. Every function here fails the test where it cannot. */
const char *fake_root_make(void);
/* Removes it with all that is in it. */
void fake_root_remove(const char *root);

/* Both make the directories above as well. */
void fake_root_write(const char *root, const char *path, const void *bytes, size_t length);
void fake_root_text(const char *root, const char *path, const char *text);
void fake_root_directory(const char *root, const char *path);
void fake_root_delete(const char *root,
                      const char *path); /* a file, or a directory with all in it */

/* /proc/PID with stat and comm as the kernel writes them, and status with this effective user. */
void fake_root_process(const char *root, uint32_t pid, const char *name, uint64_t start_time,
                       uint32_t uid);

#endif
