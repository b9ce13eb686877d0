/* SPDX-License-Identifier: MIT */
/*
 * The machine's one grantor lock: an abstract socket's name, which one process can have and which is free at once when
 * that process ends. Who does not have it promises nothing, and says who does.
 */
#ifndef VRAM_DAEMON_GRANTOR_H
#define VRAM_DAEMON_GRANTOR_H

#include "common/attr.h"
#include <stdbool.h>
#include <sys/types.h>

struct event_base;
struct grantor;

typedef void (*grantor_changed_function)(void *data);

/* `name` without the leading NUL; copied. `changed` is called when the lock has become ours. NULL: out of memory. */
struct grantor *grantor_new(struct event_base *base, const char *name,
                            grantor_changed_function changed, void *data);
/* Lets it go. Returns NULL. */
struct grantor *grantor_free(struct grantor *grantor);

bool grantor_is_ours(const struct grantor *grantor);
/* Who has it; 0: it is ours, or it cannot be told. */
pid_t grantor_holder(const struct grantor *grantor);

#endif
