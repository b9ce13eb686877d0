/* SPDX-License-Identifier: MIT */
/* What was found about a moment, told. */
#ifndef VRAM_CLI_WHY_TELL_H
#define VRAM_CLI_WHY_TELL_H

#include "cli/past.h"

struct why {
    int64_t now_ms, at_ms, from_ms, to_ms;
    uint64_t step_s; /* of the memory: the step that the moment is in, and the one before */
    struct past memory;
    struct past grown, ended; /* processes: up to the moment; of the whole time around it */
    struct past leases, events;
};

/* Whether anything is known of it at that moment. */
bool why_gpu_is_known(const struct why *why, const struct past_gpu *gpu);

void why_print_text(struct cli *cli, const struct why *why);
void why_print_json(struct buf *out, const struct why *why);

#endif
