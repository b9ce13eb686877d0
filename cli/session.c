/* SPDX-License-Identifier: MIT */
#include "cli/session.h"

#include "cli/text.h"
#include "common/gpu_name.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *session_gpu_label(const struct vram_gpu *gpu, char label[GPU_LABEL_MAX])
{
    return gpu_name_label(gpu->index, gpu->mig_index, label);
}

int session_open(struct cli *cli)
{
    struct vram_options options = VRAM_OPTIONS_INIT;
    options.driver = arguments_value(&cli->arguments, "driver");
    options.flags = arguments_has(&cli->arguments, "wake") ? VRAM_OPEN_WAKE : 0;
    int r = vram_open(&cli->vram, &options);
    return r < 0 ? cli_fail_library(cli, r) : 0;
}

void session_resume(struct cli *cli)
{
    if (vram_daemon_start(cli->vram, VRAM_START_IF_PROMISED) < 0) {
        cli_note(cli, "leases may stand whose daemon cannot be had: %s", vram_error(cli->vram));
    }
}

static int fail_without_gpu(struct cli *cli)
{
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    char hint[320], quoted[TEXT_QUOTED_MAX];
    (void)snprintf(
        hint, sizeof(hint),
        "a container must be started with its GPUs (--gpus all); `vram doctor` tells more%s%s",
        visible ? "\nonly CUDA programs are concerned by CUDA_VISIBLE_DEVICES=" : "",
        visible ? text_quote(visible, quoted) : "");
    return cli_fail(cli, STATUS_NO_GPU, "no_gpu", hint,
                    "no GPU found: the driver works and knows none");
}

int session_take(struct cli *cli, uint32_t take, struct vram_snapshot **ret_snapshot)
{
    struct vram_snapshot *snapshot;
    int r = vram_snapshot_take(cli->vram, take, &snapshot);
    if (r < 0) {
        return cli_fail_library(cli, r);
    }
    if (vram_snapshot_gpu_count(snapshot) == 0) {
        (void)vram_snapshot_unref(snapshot);
        return fail_without_gpu(cli);
    }
    *ret_snapshot = snapshot;
    return 0;
}

int session_print_json(struct cli *cli, const struct vram_snapshot *snapshot,
                       const struct selection *selection)
{
    char *text;
    if (vram_snapshot_json(snapshot, selection->positions, selection->count, &text) < 0) {
        return cli_fail_memory(cli);
    }
    buf_text(&cli->out, text);
    buf_char(&cli->out, '\n');
    free(text);
    return STATUS_YES;
}

void session_snapshot_done(struct vram_snapshot **snapshot)
{
    *snapshot = vram_snapshot_unref(*snapshot);
}

void selection_done(struct selection *selection)
{
    free(selection->positions);
    *selection = (struct selection){0};
}

const struct vram_gpu *session_find_gpu(const struct vram_snapshot *snapshot, const char *uuid)
{
    for (size_t i = 0; snapshot && i < vram_snapshot_gpu_count(snapshot); i++) {
        const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, i);
        if (gpu->uuid && strcmp(gpu->uuid, uuid) == 0) {
            return gpu;
        }
    }
    return NULL;
}

/* ---- --gpu ----------------------------------------------------------------------------------- */

/* "0 GPU-5f2c31aa, 1 GPU-91b04c7e" of the GPUs that there are, as far as they go into a line. */
static void list_gpus(const struct vram_snapshot *snapshot, char *text, size_t size)
{
    size_t length = 0;
    for (size_t i = 0; i < vram_snapshot_gpu_count(snapshot); i++) {
        const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, i);
        char label[GPU_LABEL_MAX];
        int n = snprintf(text + length, size - length, "%s%s %.12s", i ? ", " : "",
                         session_gpu_label(gpu, label), gpu->uuid ? gpu->uuid : "");
        if (n < 0 || (size_t)n >= size - length) {
            break;
        }
        length += (size_t)n;
    }
}

static int fail_selector(struct cli *cli, const struct vram_snapshot *snapshot,
                         const char *selector, int result)
{
    char gpus[160], hint[256], quoted[TEXT_QUOTED_MAX];
    list_gpus(snapshot, gpus, sizeof(gpus));
    (void)snprintf(hint, sizeof(hint), "there are: %s", gpus);
    (void)text_quote(selector, quoted);
    if (result == -ENOTUNIQ) {
        return cli_fail(cli, STATUS_USAGE, "ambiguous_gpu", hint,
                        "%s begins the UUIDs of several GPUs; write more of it", quoted);
    }
    if (result == -EINVAL) {
        return cli_fail(cli, STATUS_USAGE, "bad_gpu", hint,
                        "%s is not a GPU; write an index, a UUID or a PCI address", quoted);
    }
    return cli_fail(cli, STATUS_USAGE, "unknown_gpu", hint, "there is no GPU %s", quoted);
}

static int compare_positions(const void *a, const void *b)
{
    size_t left = *(const size_t *)a, right = *(const size_t *)b;
    return (left > right) - (left < right);
}

/* Makes the positions ascending and unique. */
static void tidy(struct selection *selection)
{
    size_t kept = 0;
    qsort(selection->positions, selection->count, sizeof(size_t), compare_positions);
    for (size_t i = 0; i < selection->count; i++) {
        if (kept == 0 || selection->positions[i] != selection->positions[kept - 1]) {
            selection->positions[kept++] = selection->positions[i];
        }
    }
    selection->count = kept;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

int session_select(struct cli *cli, const struct vram_snapshot *snapshot,
                   struct selection *ret_selection)
{
    size_t gpu_count = vram_snapshot_gpu_count(snapshot), at = 0;
    /* Twice the room: those already chosen, and those that one more selector names. */
    struct selection selection = {calloc(2 * gpu_count, sizeof(size_t)), 0};
    if (!selection.positions) {
        return cli_fail_memory(cli);
    }
    const char *selector = arguments_next(&cli->arguments, "gpu", &at);
    for (size_t i = 0; !selector && i < gpu_count; i++) {
        selection.positions[selection.count++] = i;
    }
    for (; selector; selector = arguments_next(&cli->arguments, "gpu", &at)) {
        int found =
            vram_select(snapshot, selector, selection.positions + selection.count, gpu_count);
        if (found < 0) {
            selection_done(&selection);
            return fail_selector(cli, snapshot, selector, found);
        }
        selection.count += smaller((size_t)found, gpu_count);
        tidy(&selection);
    }
    *ret_selection = selection;
    return 0;
}

/* ---- CUDA_VISIBLE_DEVICES -------------------------------------------------------------------- */

static const char *visible_value(void)
{
    return getenv("CUDA_VISIBLE_DEVICES");
}

/* As vram_select_visible() with the environment's variables: a count, -EXDEV or -ENOMEM. */
static int select_visible(const struct vram_snapshot *snapshot, struct selection *ret_selection)
{
    size_t gpu_count = vram_snapshot_gpu_count(snapshot);
    size_t *positions = calloc(gpu_count, sizeof(*positions));
    if (!positions) {
        return -ENOMEM;
    }
    int found = vram_select_visible(snapshot, visible_value(), getenv("CUDA_DEVICE_ORDER"),
                                    positions, gpu_count);
    if (found < 0) {
        free(positions);
        return found;
    }
    *ret_selection = (struct selection){positions, smaller((size_t)found, gpu_count)};
    return found;
}

static bool contains(const struct selection *selection, size_t position)
{
    for (size_t i = 0; i < selection->count; i++) {
        if (selection->positions[i] == position) {
            return true;
        }
    }
    return false;
}

/* Tells of GPUs that were named and that a CUDA program started here would not see. */
static void note_hidden(struct cli *cli, const struct vram_snapshot *snapshot,
                        const struct selection *selection)
{
    struct selection visible CLEANUP(selection_done) = {0};
    if (!visible_value() || select_visible(snapshot, &visible) < 0) {
        return;
    }
    for (size_t i = 0; i < selection->count; i++) {
        if (!contains(&visible, selection->positions[i])) {
            char label[GPU_LABEL_MAX], quoted[TEXT_QUOTED_MAX];
            const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, selection->positions[i]);
            cli_note(cli, "CUDA_VISIBLE_DEVICES=%s hides GPU %s from CUDA programs started here",
                     text_quote(visible_value(), quoted), session_gpu_label(gpu, label));
        }
    }
}

static int fail_order(struct cli *cli)
{
    char quoted[TEXT_QUOTED_MAX];
    return cli_fail(
        cli, STATUS_USAGE, "ambiguous_order",
        "CUDA counts faster GPUs first, the driver by address\nset CUDA_DEVICE_ORDER=PCI_BUS_ID, "
        "or write UUIDs, or use --gpu",
        "CUDA_VISIBLE_DEVICES=%s counts GPUs of different models: which is meant is not certain",
        text_quote(visible_value(), quoted));
}

int session_candidates(struct cli *cli, const struct vram_snapshot *snapshot,
                       struct selection *ret_selection)
{
    if (arguments_has(&cli->arguments, "gpu")) {
        int status = session_select(cli, snapshot, ret_selection);
        if (status == 0) {
            note_hidden(cli, snapshot, ret_selection);
        }
        return status;
    }
    struct selection visible = {0};
    int found = select_visible(snapshot, &visible);
    if (found > 0) {
        tidy(&visible);
        *ret_selection = visible;
        return 0;
    }
    selection_done(&visible);
    if (found == -EXDEV) {
        return fail_order(cli);
    }
    if (found < 0) {
        return cli_fail_memory(cli);
    }
    char quoted[TEXT_QUOTED_MAX];
    return cli_fail(cli, STATUS_NO_GPU, "no_gpu", "unset it, or name GPUs with --gpu",
                    "CUDA_VISIBLE_DEVICES=%s hides every GPU from programs started here",
                    text_quote(visible_value(), quoted));
}

/* ---- Notes ----------------------------------------------------------------------------------- */

void session_note_visible(struct cli *cli, const struct vram_snapshot *snapshot)
{
    struct selection visible CLEANUP(selection_done) = {0};
    struct buf text CLEANUP(buf_done) = BUF_INIT;
    char quoted[TEXT_QUOTED_MAX];
    const char *value = visible_value();
    if (!value) {
        return;
    }
    (void)text_quote(value, quoted);
    int found = select_visible(snapshot, &visible);
    if (found == -EXDEV) {
        cli_note(cli,
                 "CUDA_VISIBLE_DEVICES=%s counts GPUs in CUDA's order, which need not be this "
                 "one; CUDA_DEVICE_ORDER=PCI_BUS_ID makes them the same",
                 quoted);
        return;
    }
    for (size_t i = 0; i < visible.count; i++) {
        char label[GPU_LABEL_MAX];
        buf_format(&text, "%s%s",
                   i                   ? ", "
                   : visible.count > 1 ? "s "
                                       : " ",
                   session_gpu_label(vram_snapshot_gpu(snapshot, visible.positions[i]), label));
    }
    if (found >= 0 && !text.failed) {
        cli_note(cli, "CUDA_VISIBLE_DEVICES=%s: CUDA programs started here see %s%s", quoted,
                 visible.count ? "GPU" : "no GPU", visible.count ? text.data : "");
    }
}

/* Whether a problem is about one of these GPUs, and which. A problem of the driver is about all. */
static const struct vram_gpu *find_gpu(const struct vram_snapshot *snapshot,
                                       const struct selection *selection, const char *name)
{
    for (size_t i = 0; i < selection->count; i++) {
        const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, selection->positions[i]);
        char index[GPU_LABEL_MAX];
        (void)snprintf(index, sizeof(index), "%" PRIu32, gpu->index);
        if ((gpu->uuid && strcmp(gpu->uuid, name) == 0) ||
            (!gpu->uuid && strcmp(index, name) == 0)) {
            return gpu;
        }
    }
    return NULL;
}

void session_note_problems(struct cli *cli, const struct vram_snapshot *snapshot,
                           const struct selection *selection)
{
    for (size_t i = 0; i < vram_snapshot_problem_count(snapshot); i++) {
        const struct vram_problem *problem = vram_snapshot_problem(snapshot, i);
        const struct vram_gpu *gpu =
            problem->gpu ? find_gpu(snapshot, selection, problem->gpu) : NULL;
        char label[GPU_LABEL_MAX];
        if (gpu) {
            cli_note(cli, "GPU %s: %s", session_gpu_label(gpu, label), problem->message);
        } else if (!problem->gpu) {
            cli_note(cli, "%s", problem->message);
        }
    }
}
