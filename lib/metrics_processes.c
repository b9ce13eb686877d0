/* SPDX-License-Identifier: MIT */
/* What processes, users and containers hold, as metrics. Their names are what other users chose. */
#include "lib/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_SECOND 1000000000u

/* A process that is told by itself. */
struct shown {
    const struct vram_process *process;
    const struct metrics_row *row;
    char pid[16];
};

/* What several processes of a GPU hold. */
struct sum {
    char name[METRICS_NAME_MAX];
    uint64_t bytes;
    bool unknown; /* a part of it: then it is no sum */
};

struct sums {
    size_t count;
    struct sum rest, sums[METRICS_SUMS];
};

static bool has_list(const struct metrics_row *row)
{
    return row->listed && row->listed->processes_known && !row->is_duplicate;
}

/* ---- Processes ------------------------------------------------------------------------------- */

/* One that lives so long that a series of its own is worth it; whose age nobody knows counts as old. */
static bool is_worth(const struct vram_process *process, const struct metrics_clock *clock)
{
    uint64_t start = process->start_time;
    bool is_old = start == VRAM_UNKNOWN || start > clock->now_ticks ||
                  (clock->now_ticks - start) / clock->ticks_per_second >= METRICS_PROCESS_AGE_S;
    return is_old && process->used_bytes != VRAM_UNKNOWN &&
           process->used_bytes >= METRICS_PROCESS_BYTES;
}

static bool is_listed(const struct shown *shown, size_t count, uint32_t pid)
{
    for (size_t i = 0; i < count; i++) {
        if (shown[i].process->pid == pid) {
            return true;
        }
    }
    return false;
}

/* Those of one GPU, which come largest first, at most METRICS_PROCESSES of them. Returns how many. */
static size_t choose(const struct metrics_row *row, const struct metrics_clock *clock,
                     struct shown *shown)
{
    size_t count = 0;
    for (size_t i = 0; i < row->listed->process_count && count < METRICS_PROCESSES; i++) {
        const struct vram_process *process = &row->listed->processes[i];
        if (is_worth(process, clock) && !is_listed(shown, count, process->pid)) {
            shown[count] = (struct shown){.process = process, .row = row};
            (void)snprintf(shown[count].pid, sizeof(shown[count].pid), "%" PRIu32, process->pid);
            count++;
        }
    }
    return count;
}

static const char *name_of(const struct vram_process *process, char name[METRICS_NAME_MAX])
{
    return exposition_clean(name, METRICS_NAME_MAX, process->name);
}

/* The rest of a GPU's processes in one sample, if all that are in it are known. */
static void write_rest(struct exposition *out, const struct metrics_row *row,
                       const struct shown *shown, size_t shown_count)
{
    uint64_t known = 0, told = 0;
    bool unknown = false;
    for (size_t i = 0; i < row->listed->process_count; i++) {
        uint64_t used = row->listed->processes[i].used_bytes;
        unknown = unknown || used == VRAM_UNKNOWN;
        known += used == VRAM_UNKNOWN ? 0 : used;
    }
    for (size_t i = 0; i < shown_count; i++) {
        told += shown[i].process->used_bytes;
    }
    if (!unknown && row->listed->process_count > shown_count) {
        const struct exposition_label labels[] = {{"gpu", row->label},
                                                  {"uuid", row->uuid},
                                                  {"pid", ""},
                                                  {"process", METRICS_REST},
                                                  {"user", ""}};
        exposition_number(out, labels, ARRAY_LENGTH(labels), known - told);
    }
}

static void write_used(struct exposition *out, const struct metrics_row *rows, size_t row_count,
                       const struct shown *shown, const size_t *counts)
{
    static const struct exposition_family family = {
        "vram_process_used_bytes", EXPOSITION_GAUGE,
        "Memory of a process; small, young and many ones in one sample, (other)."};
    exposition_begin(out, &family);
    for (size_t i = 0; i < row_count; i++) {
        for (size_t j = 0; j < counts[i]; j++) {
            const struct vram_process *process = shown[j].process;
            char name[METRICS_NAME_MAX];
            const struct exposition_label labels[] = {{"gpu", rows[i].label},
                                                      {"uuid", rows[i].uuid},
                                                      {"pid", shown[j].pid},
                                                      {"process", name_of(process, name)},
                                                      {"user", process->user}};
            exposition_number(out, labels, ARRAY_LENGTH(labels), process->used_bytes);
        }
        if (has_list(&rows[i])) {
            write_rest(out, &rows[i], shown, counts[i]);
        }
        shown += counts[i];
    }
}

static void write_counts(struct exposition *out, const struct metrics_row *rows, size_t row_count,
                         const size_t *counts)
{
    static const struct exposition_family all = {"vram_processes", EXPOSITION_GAUGE,
                                                 "Processes that use the GPU."},
                                          omitted = {"vram_processes_omitted", EXPOSITION_GAUGE,
                                                     "Processes without a series of their own."};
    exposition_begin(out, &all);
    for (size_t i = 0; i < row_count; i++) {
        const struct exposition_label labels[] = {{"gpu", rows[i].label}, {"uuid", rows[i].uuid}};
        if (has_list(&rows[i])) {
            exposition_number(out, labels, ARRAY_LENGTH(labels), rows[i].listed->process_count);
        }
    }
    exposition_begin(out, &omitted);
    for (size_t i = 0; i < row_count; i++) {
        const struct exposition_label labels[] = {{"gpu", rows[i].label}, {"uuid", rows[i].uuid}};
        if (has_list(&rows[i])) {
            exposition_number(out, labels, ARRAY_LENGTH(labels),
                              rows[i].listed->process_count - counts[i]);
        }
    }
}

static int by_pid(const void *a, const void *b)
{
    const struct shown *left = a, *right = b;
    return (left->process->pid > right->process->pid) - (left->process->pid < right->process->pid);
}

/* What is the process's own, whatever GPUs it uses: once for each. Sorts `shown`. */
static void write_identities(struct exposition *out, struct shown *shown, size_t count,
                             const struct metrics_clock *clock)
{
    static const struct exposition_family info = {"vram_process_info", EXPOSITION_INFO,
                                                  "Where a process belongs."},
                                          start = {"vram_process_start_time_seconds",
                                                   EXPOSITION_GAUGE,
                                                   "When a process was started, since 1970."};
    qsort(shown, count, sizeof(*shown), by_pid);
    exposition_begin(out, &info);
    for (size_t i = 0; i < count; i++) {
        const struct vram_process *process = shown[i].process;
        char name[METRICS_NAME_MAX];
        const struct exposition_label labels[] = {{"pid", shown[i].pid},
                                                  {"process", name_of(process, name)},
                                                  {"user", process->user},
                                                  {"container_id", process->container},
                                                  {"unit", process->unit}};
        if (i == 0 || process->pid != shown[i - 1].process->pid) {
            exposition_number(out, labels, ARRAY_LENGTH(labels), 1);
        }
    }
    exposition_begin(out, &start);
    for (size_t i = 0; i < count; i++) {
        const struct vram_process *process = shown[i].process;
        const struct exposition_label labels[] = {{"pid", shown[i].pid}};
        if (process->start_time != VRAM_UNKNOWN &&
            (i == 0 || process->pid != shown[i - 1].process->pid)) {
            exposition_number(out, labels, ARRAY_LENGTH(labels),
                              clock->boot_ns / NS_PER_SECOND +
                                  process->start_time / clock->ticks_per_second);
        }
    }
}

/* ---- Sums ------------------------------------------------------------------------------------ */

static void add_to(struct sums *sums, const char *name, uint64_t bytes)
{
    char clean[METRICS_NAME_MAX];
    struct sum *sum = &sums->rest;
    (void)exposition_clean(clean, sizeof(clean), name);
    if (strcmp(clean, METRICS_REST) != 0) {
        size_t i = 0;
        while (i < sums->count && strcmp(sums->sums[i].name, clean) != 0) {
            i++;
        }
        if (i < METRICS_SUMS) {
            sum = &sums->sums[i];
            if (i == sums->count) {
                *sum = (struct sum){.bytes = 0};
                memcpy(sum->name, clean, sizeof(clean));
                sums->count++;
            }
        }
    }
    memcpy(sums->rest.name, METRICS_REST, sizeof(METRICS_REST));
    sum->unknown = sum->unknown || bytes == VRAM_UNKNOWN;
    sum->bytes += bytes == VRAM_UNKNOWN ? 0 : bytes;
}

static void write_sum(struct exposition *out, const struct metrics_row *row, const char *label,
                      const struct sum *sum)
{
    const struct exposition_label labels[] = {
        {"gpu", row->label}, {"uuid", row->uuid}, {label, sum->name}};
    if (!sum->unknown) {
        exposition_number(out, labels, ARRAY_LENGTH(labels), sum->bytes);
    }
}

/* Per GPU and value of one of the processes' texts, at `offset`; who has none is in no sum. */
static void write_sums(struct exposition *out, const struct metrics_row *rows, size_t row_count,
                       const char *label, size_t offset)
{
    for (size_t i = 0; i < row_count; i++) {
        struct sums sums;
        sums.count = 0;
        sums.rest = (struct sum){.bytes = 0};
        for (size_t j = 0; has_list(&rows[i]) && j < rows[i].listed->process_count; j++) {
            const struct vram_process *process = &rows[i].listed->processes[j];
            const char *name = *(const char *const *)(const void *)((const char *)process + offset);
            if (name && name[0]) {
                add_to(&sums, name, process->used_bytes);
            }
        }
        for (size_t j = 0; j < sums.count; j++) {
            write_sum(out, &rows[i], label, &sums.sums[j]);
        }
        if (sums.rest.bytes) {
            write_sum(out, &rows[i], label, &sums.rest);
        }
    }
}

int metrics_write_processes(struct exposition *out, const struct metrics_row *rows, size_t count,
                            const struct metrics_clock *clock)
{
    static const struct exposition_family users = {"vram_user_used_bytes", EXPOSITION_GAUGE,
                                                   "Memory of a user's processes."},
                                          containers = {"vram_container_used_bytes",
                                                        EXPOSITION_GAUGE,
                                                        "Memory of a container's processes."};
    struct shown *shown = calloc(count * METRICS_PROCESSES + 1, sizeof(*shown));
    size_t *counts = calloc(count + 1, sizeof(*counts)), total = 0;
    if (!shown || !counts) {
        free(shown);
        free(counts);
        return -ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        counts[i] = has_list(&rows[i]) ? choose(&rows[i], clock, shown + total) : 0;
        total += counts[i];
    }
    write_counts(out, rows, count, counts);
    write_used(out, rows, count, shown, counts);
    write_identities(out, shown, total, clock);
    exposition_begin(out, &users);
    write_sums(out, rows, count, "user", offsetof(struct vram_process, user));
    exposition_begin(out, &containers);
    write_sums(out, rows, count, "container_id", offsetof(struct vram_process, container));
    free(shown);
    free(counts);
    return 0;
}
