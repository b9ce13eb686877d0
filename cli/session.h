/* SPDX-License-Identifier: MIT */
/*
 * The machine's GPUs as a command meets them: the handle, a snapshot, and which GPUs are meant.
 * All functions report their failures and return an exit status, 0 to go on.
 */
#ifndef VRAM_CLI_SESSION_H
#define VRAM_CLI_SESSION_H

#include "cli/cli.h"

/* Positions in one snapshot, ascending, each once. */
struct selection {
    size_t *positions;
    size_t count;
};

/* How messages name a GPU: "0", a MIG instance "0:1". Returns `label`. */
#define GPU_LABEL_MAX 32 /* GPU_NAME_LABEL_MAX */
const char *session_gpu_label(const struct vram_gpu *gpu, char label[GPU_LABEL_MAX]);

/* Makes the handle from the options. */
MUST_CHECK int session_open(struct cli *cli);

/* Starts the daemon again where promises of this boot may be alive without one; a note where that fails. */
void session_resume(struct cli *cli);

/* Takes a snapshot and sees to it that there is a GPU in it. */
MUST_CHECK int session_take(struct cli *cli, uint32_t take, struct vram_snapshot **ret_snapshot);

/* The GPU of this UUID; NULL where there is none, or no snapshot. */
const struct vram_gpu *session_find_gpu(const struct vram_snapshot *snapshot, const char *uuid);

/* The GPUs that --gpu names; all without it. */
MUST_CHECK int session_select(struct cli *cli, const struct vram_snapshot *snapshot,
                              struct selection *ret_selection);

/* The GPUs that a program started here could use: --gpu, else what CUDA_VISIBLE_DEVICES leaves.
 * Notes a GPU that was named and that CUDA programs would not see. */
MUST_CHECK int session_candidates(struct cli *cli, const struct vram_snapshot *snapshot,
                                  struct selection *ret_selection);

/* Adds these GPUs as the JSON of `status`, with a newline. */
MUST_CHECK int session_print_json(struct cli *cli, const struct vram_snapshot *snapshot,
                                  const struct selection *selection);

void selection_done(struct selection *selection);
void session_snapshot_done(struct vram_snapshot **snapshot); /* for CLEANUP() */

/* Tells on stderr what the snapshot could not learn about these GPUs, a line each. */
void session_note_problems(struct cli *cli, const struct vram_snapshot *snapshot,
                           const struct selection *selection);
/* Tells on stderr which GPUs CUDA programs see where CUDA_VISIBLE_DEVICES says so. */
void session_note_visible(struct cli *cli, const struct vram_snapshot *snapshot);

#endif
