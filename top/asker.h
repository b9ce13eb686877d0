/* SPDX-License-Identifier: MIT */
/*
 * Asks the driver, or the daemon, in a thread of its own, so that keys are answered while a driver call does not return.
 * One thread uses an asker; its descriptor tells when there is something new.
 */
#ifndef VRAM_TOP_ASKER_H
#define VRAM_TOP_ASKER_H

#include "cli/past.h"
#include "include/vram.h"

#define ASKER_TEXT_MAX 400

/* What was learnt. Whoever takes it owns it: findings_done(). */
struct findings {
    struct vram_snapshot *snapshot; /* NULL: none yet, or the driver does not start */
    struct vram_lease_list *leases; /* NULL: no daemon runs */
    char problem[ASKER_TEXT_MAX];   /* why there is no snapshot; "" where there is one */
    char said[ASKER_TEXT_MAX];      /* what became of asker_end(); "": nothing new */
    /* What a daemon remembers, with the first findings alone; empty where none does. */
    struct past memory, processes;
};

struct asker;

#define ASKER_STEPS 512 /* of `period_ns`, for which the past is asked for */

/* Begins to ask every `period_ns`. NULL: errno tells why. The handle is the asker's from now on. */
struct asker *asker_start(struct vram *vram, uint64_t period_ns);

/* Readable where asker_take() has something. */
int asker_fd(const struct asker *asker);
/* False: nothing new. */
bool asker_take(struct asker *asker, struct findings *ret_findings);
void findings_done(struct findings *findings);

/* Asks now, and from now on so often. */
void asker_set_period(struct asker *asker, uint64_t period_ns);
/* Has the lease of this id ended; what became of it is told by `said`. */
void asker_end(struct asker *asker, const char *id);

#endif
