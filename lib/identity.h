/* SPDX-License-Identifier: MIT */
/*
 * Who a process is, from /proc: by pid and start time, so that a reused pid is another process. What was
 * read is kept until the process is gone; per snapshot only its start time and name are read again.
 */
#ifndef VRAM_LIB_IDENTITY_H
#define VRAM_LIB_IDENTITY_H

#include "lib/proc_text.h"
#include <stdbool.h>

struct identity {
    uint32_t pid;
    bool visible; /* /proc shows it; else only the pid means anything */
    uint64_t start_time;
    char name[PROC_NAME_MAX];
    char user[64];
    char container[PROC_CONTAINER_MAX];
    char unit[PROC_UNIT_MAX];
    unsigned round; /* of the last look-up, for identities_sweep() */
    char *command;  /* NULL unless asked for; owned */
};

struct identities;

/* `root` must outlive it. NULL: out of memory. Not safe for threads by itself. */
struct identities *identities_new(const char *root);
void identities_free(struct identities *identities);

/* Begins a round of look-ups; identities_sweep() forgets who was not looked up since. */
void identities_begin(struct identities *identities);
void identities_sweep(struct identities *identities);

/*
 * Looks a process up. 0 with the identity, valid until the next sweep or look-up of the same pid; a
 * process that cannot be seen has visible = false. -ENOMEM.
 */
MUST_CHECK int identities_find(struct identities *identities, uint32_t pid, bool with_command,
                               const struct identity **ret_identity);

#endif
