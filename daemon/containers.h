/* SPDX-License-Identifier: MIT */
/*
 * Who the user of a process in a container is, where a label of the container tells (`container_user_label`): on a machine
 * for many all containers may be root's. Each container's label is read once. What a user may change or end is a matter
 * of its uid all the same.
 */
#ifndef VRAM_DAEMON_CONTAINERS_H
#define VRAM_DAEMON_CONTAINERS_H

#include "common/attr.h"
#include "daemon/accounts.h"
#include "daemon/peer.h"
#include "include/vram.h"

struct containers;

/* `root` is kept: a prefix of every path that is read, "" for the real machine. NULL: out of memory. */
struct containers *containers_new(const char *root);
struct containers *containers_free(struct containers *containers); /* returns NULL */

/* Which label it is; "": none. What was read is forgotten where it is another than before. */
void containers_configure(struct containers *containers, const char *label);

/* Of a process of that start time. NULL: its own user's. */
const struct account *containers_account(struct containers *containers, pid_t pid,
                                         uint64_t start_time);

/* The number that what who asks has and may have is counted under. `containers` may be NULL. */
uint32_t containers_user(struct containers *containers, const struct peer *peer);

/* The snapshot, with the users that labels name. One reference more; NULL: out of memory. */
struct vram_snapshot *containers_name(struct containers *containers,
                                      struct vram_snapshot *snapshot);

#endif
