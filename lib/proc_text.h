/* SPDX-License-Identifier: MIT */
/*
 * Readers of what the kernel writes into /proc/PID: pure functions over text, for any text.
 */
#ifndef VRAM_LIB_PROC_TEXT_H
#define VRAM_LIB_PROC_TEXT_H

#include "common/attr.h"
#include <stddef.h>
#include <stdint.h>

#define PROC_NAME_MAX 64 /* the kernel allows 15 bytes, and 63 for its own workers */

/*
 * /proc/PID/stat: "PID (name) state …". The name may itself hold blanks and brackets, so it ends at
 * the last one. 0 with the name and the start time (field 22, clock ticks after boot); -EINVAL.
 */
MUST_CHECK int proc_stat_parse(const char *text, char name[PROC_NAME_MAX],
                               uint64_t *ret_start_time);

/* /proc/PID/status: the effective user of its line "Uid:". 0 or -EINVAL. */
MUST_CHECK int proc_uid_parse(const char *text, uint32_t *ret_uid);

#define PROC_CONTAINER_MAX 80
#define PROC_UNIT_MAX 128

/*
 * /proc/PID/cgroup: the container's id (64 hex digits of Docker, Podman, containerd and CRI-O; the
 * name of an LXC one) and the systemd unit, each "" where there is none.
 */
void proc_cgroup_parse(const char *text, char container[PROC_CONTAINER_MAX],
                       char unit[PROC_UNIT_MAX]);

/* A command line with its NULs made blanks, in place. Returns its length without the last ones. */
size_t proc_command_join(char *text, size_t length);

#endif
