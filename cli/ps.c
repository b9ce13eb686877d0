/* SPDX-License-Identifier: MIT */
/* vram ps: the processes that hold GPU memory, largest first. */
#include "cli/command.h"

#include "cli/fields.h"
#include "cli/figures.h"
#include "cli/processes.h"
#include "cli/session.h"
#include "cli/text.h"
#include "common/utc.h"
#include <stdlib.h>
#include <string.h>

/* What was found, over all GPUs asked about. */
struct list {
    struct holding *holdings;
    size_t count;
    bool complete;               /* every GPU told its processes */
    uint64_t unattributed_bytes; /* what none of those that can be seen holds */
};

static void list_done(struct list *list)
{
    free(list->holdings);
}

static bool contains(const char *text, const char *pattern)
{
    return text && strcasestr(text, pattern);
}

static const char *label_of(const struct vram_process *process,
                            const struct vram_lease_list *leases)
{
    const struct vram_lease *lease =
        leases && process->lease ? vram_lease_list_find(leases, process->lease) : NULL;
    return lease ? lease->label : NULL;
}

static bool is_match(const struct vram_process *process, const char *pattern,
                     const struct vram_lease_list *leases)
{
    return !pattern || contains(label_of(process, leases), pattern) ||
           contains(process->name, pattern) || contains(process->command, pattern) ||
           contains(process->container, pattern) || contains(process->unit, pattern) ||
           contains(process->lease, pattern);
}

/* Largest first, unknown amounts last; equals by GPU and pid, so that the order stands still. */
static int compare(const void *a, const void *b)
{
    const struct holding *left = a, *right = b;
    bool left_known = left->process->used_bytes != VRAM_UNKNOWN;
    bool right_known = right->process->used_bytes != VRAM_UNKNOWN;
    if (left_known != right_known) {
        return left_known ? -1 : 1;
    }
    if (left->process->used_bytes != right->process->used_bytes) {
        return left->process->used_bytes > right->process->used_bytes ? -1 : 1;
    }
    if (left->gpu != right->gpu) {
        return left->gpu < right->gpu ? -1 : 1; /* both stand in one array of the snapshot */
    }
    return (left->process->pid > right->process->pid) - (left->process->pid < right->process->pid);
}

/* Labels are known to the daemon alone; without one no process has a lease. */
static struct vram_lease_list *take_leases(struct cli *cli, const struct vram_snapshot *snapshot,
                                           const char *pattern)
{
    struct vram_lease_list *leases = NULL;
    if (pattern && vram_snapshot_waiters(snapshot) != VRAM_UNKNOWN &&
        vram_leases(cli->vram, 0, 0, &leases) < 0) {
        cli_note(cli, "the labels of leases are not searched: %s", vram_error(cli->vram));
    }
    return leases;
}

static int find(struct cli *cli, const struct vram_snapshot *snapshot,
                const struct selection *selection, struct list *ret_list)
{
    const char *pattern = cli->arguments.word_count > 0 ? cli->arguments.words[0] : NULL;
    struct list list = {.complete = true};
    size_t total = 1; /* an empty list is not a failed allocation */
    for (size_t i = 0; i < selection->count; i++) {
        total += vram_snapshot_gpu(snapshot, selection->positions[i])->process_count;
    }
    list.holdings = calloc(total, sizeof(*list.holdings));
    if (!list.holdings) {
        return cli_fail_memory(cli);
    }
    struct vram_lease_list *leases = take_leases(cli, snapshot, pattern);
    for (size_t i = 0; i < selection->count; i++) {
        const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, selection->positions[i]);
        /* A sleeping GPU has no processes; those of a lost or denied one nobody can tell. */
        bool should_tell = gpu->state == VRAM_GPU_OK || gpu->state == VRAM_GPU_HUNG;
        list.complete = list.complete && (gpu->processes_known || !should_tell);
        list.unattributed_bytes +=
            gpu->unattributed_bytes != VRAM_UNKNOWN ? gpu->unattributed_bytes : 0;
        for (size_t j = 0; j < gpu->process_count; j++) {
            if (is_match(&gpu->processes[j], pattern, leases)) {
                list.holdings[list.count++] = (struct holding){gpu, &gpu->processes[j]};
            }
        }
    }
    (void)vram_lease_list_free(leases);
    qsort(list.holdings, list.count, sizeof(*list.holdings), compare);
    *ret_list = list;
    return 0;
}

static void print_json(struct buf *out, const struct vram_snapshot *snapshot,
                       const struct list *list)
{
    char time[UTC_TEXT_MAX];
    struct json json = JSON_INIT(out);
    json_object(&json, NULL);
    json_number(&json, "schema", 1);
    json_text(&json, "taken_at", utc_format(vram_snapshot_taken_at_ns(snapshot), time));
    json_array(&json, "processes");
    for (size_t i = 0; i < list->count; i++) {
        json_object(&json, NULL);
        fields_json(&json, VRAM_OBJECT_PROCESS, list->holdings[i].process);
        json_text(&json, "gpu", list->holdings[i].gpu->uuid);
        json_number(&json, "gpu_index", list->holdings[i].gpu->index);
        json_end_object(&json);
    }
    json_end_array(&json);
    json_end_object(&json);
    buf_char(out, '\n');
}

static void print_csv(struct buf *out, const struct list *list)
{
    fields_csv_header(out, VRAM_OBJECT_PROCESS);
    buf_text(out, ",gpu,gpu_index\n");
    for (size_t i = 0; i < list->count; i++) {
        fields_csv(out, VRAM_OBJECT_PROCESS, list->holdings[i].process);
        buf_char(out, ',');
        fields_csv_text(out, list->holdings[i].gpu->uuid);
        buf_format(out, ",%u\n", (unsigned)list->holdings[i].gpu->index);
    }
}

static void print(struct cli *cli, const struct vram_snapshot *snapshot, const struct list *list)
{
    if (cli->format == FORMAT_JSON) {
        print_json(&cli->out, snapshot, list);
    } else if (cli->format == FORMAT_CSV) {
        print_csv(&cli->out, list);
    } else if (list->count > 0) {
        processes_print(&cli->out, cli_screen(cli), list->holdings, list->count,
                        PROCESSES_GPU | PROCESSES_COMMAND, 0);
    }
}

/* A driver lists to a PID namespace its own processes only, and counts what the others hold. */
static int say_none(struct cli *cli, const struct list *list)
{
    char quoted[TEXT_QUOTED_MAX], amount[FIGURE_MAX];
    const char *doubt = list->complete ? "" : ", as far as the driver tells";
    if (cli->arguments.word_count > 0) {
        cli_note(cli, "no process that holds GPU memory matches %s%s",
                 text_quote(cli->arguments.words[0], quoted), doubt);
    } else if (list->unattributed_bytes) {
        cli_note(cli, "no process that can be seen here holds GPU memory%s; %s are used by others",
                 doubt, figure_bytes(cli_screen(cli), list->unattributed_bytes, amount));
    } else {
        cli_note(cli, "no process holds GPU memory%s", doubt);
    }
    return list->complete ? STATUS_NO : STATUS_UNKNOWN;
}

static int run(struct cli *cli)
{
    struct vram_snapshot *snapshot CLEANUP(session_snapshot_done) = NULL;
    struct selection selection CLEANUP(selection_done) = {0};
    struct list list CLEANUP(list_done) = {0};
    int status = session_open(cli);
    if (status == 0) {
        status = session_take(cli, VRAM_TAKE_PROCESSES | VRAM_TAKE_COMMANDS, &snapshot);
    }
    if (status == 0) {
        status = session_select(cli, snapshot, &selection);
    }
    if (status == 0) {
        status = find(cli, snapshot, &selection, &list);
    }
    if (status != 0) {
        return status;
    }
    session_note_problems(cli, snapshot, &selection);
    print(cli, snapshot, &list);
    return list.count > 0 ? STATUS_YES : say_none(cli, &list);
}

static const uint32_t objects[] = {VRAM_OBJECT_PROCESS};

const struct command command_ps = {
    .name = "ps",
    .summary = "processes that hold GPU memory, largest first",
    .arguments = "[PATTERN]",
    .description =
        "Lists the processes that hold GPU memory, largest first, or those whose name, "
        "command line, container, unit, lease or its label contains PATTERN, in any case. A "
        "process is shown by what tells most: the script rather than the interpreter "
        "that runs it, and its directory where many scripts are called so "
        "(ComfyUI/main.py).",
    .json = "one object: schema, taken_at and processes, each with gpu (its UUID) and gpu_index",
    .csv = "one row for each process; its last columns are gpu and gpu_index",
    .objects = objects,
    .object_count = ARRAY_LENGTH(objects),
    .statuses = "012346",
    .examples = "vram ps\tall of them\n"
                "vram ps python\tthose with python in their command line\n"
                "vram ps comfy && echo running\tis it there?\n",
    .words_max = 1,
    .run = run,
};
