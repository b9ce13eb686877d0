/* SPDX-License-Identifier: MIT */
/* Promises in a snapshot: what only a daemon knows, put beside what the driver said. */
#include "lib/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct promising {
    struct snapshot_feed feed; /* first, so that its functions find the rest */
    struct snapshot_view view;
    struct vram_promises promises;
    size_t gpu;
};

static int promise_gpu(struct snapshot_feed *feed, size_t position, struct vram_gpu *ret_gpu)
{
    struct promising *p = (struct promising *)feed;
    p->gpu = position;
    *ret_gpu = p->view.gpus[position];
    if (p->promises.outstanding_bytes) {
        ret_gpu->outstanding_bytes = p->promises.outstanding_bytes[position];
    }
    if (p->promises.own_outstanding_bytes) {
        ret_gpu->own_outstanding_bytes = p->promises.own_outstanding_bytes[position];
    }
    if (p->promises.ceiling_bytes) {
        ret_gpu->ceiling_bytes = p->promises.ceiling_bytes[position];
    }
    if (p->promises.drained) {
        ret_gpu->drained = p->promises.drained[position];
    }
    return 0;
}

static int promise_process(struct snapshot_feed *feed, size_t position,
                           struct vram_process *ret_process)
{
    struct promising *p = (struct promising *)feed;
    const struct vram_promises *promises = &p->promises;
    *ret_process = p->view.gpus[p->gpu].processes[position];
    if (promises->lease) {
        ret_process->lease = promises->lease(promises->data, p->gpu, position);
    }
    const char *user = promises->user ? promises->user(promises->data, p->gpu, position) : NULL;
    ret_process->user = user ? user : ret_process->user;
    if (promises->hide_command && promises->hide_command(promises->data, p->gpu, position)) {
        ret_process->command = NULL;
    }
    return 0;
}

static void promise_problem(struct snapshot_feed *feed, size_t position,
                            struct vram_problem *ret_problem)
{
    *ret_problem = ((struct promising *)feed)->view.problems[position];
}

int vram_snapshot_promise(const struct vram_snapshot *snapshot,
                          const struct vram_promises *promises, struct vram_snapshot **ret_snapshot)
{
    struct promising p = {
        .view = snapshot_view(snapshot),
        .promises = VRAM_PROMISES_INIT,
    };
    if (promises->size < sizeof(promises->size)) {
        return -EINVAL;
    }
    memcpy(&p.promises, promises,
           promises->size < sizeof(p.promises) ? promises->size : sizeof(p.promises));
    p.feed = (struct snapshot_feed){
        .taken_at_ns = p.view.taken_at_ns,
        .waiters = p.promises.waiters,
        .epoch = p.promises.epoch,
        .driver = p.view.driver,
        .gpu_count = p.view.gpu_count,
        .problem_count = p.view.problem_count,
        .gpu = promise_gpu,
        .process = promise_process,
        .problem = promise_problem,
    };
    return snapshot_lay(&p.feed, ret_snapshot);
}
