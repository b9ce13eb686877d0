/* SPDX-License-Identifier: MIT */
/* The ids that container engines give containers, as they stand in the names of cgroups. */
#ifndef VRAM_COMMON_CONTAINER_ID_H
#define VRAM_COMMON_CONTAINER_ID_H

#include <stddef.h>

#define CONTAINER_ID_DIGITS 64 /* of Docker, Podman, containerd's CRI and CRI-O */

/* Of one part of a cgroup's path: where the id of the container begins whose cgroup it is, CONTAINER_ID_DIGITS hexadecimal
 * digits. NULL: it is no container's. */
const char *container_id_in(const char *part, size_t length);

#endif
