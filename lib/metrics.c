/* SPDX-License-Identifier: MIT */
#include "lib/metrics.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_SECOND 1000000000u

/* ---- Rows ------------------------------------------------------------------------------------ */

static bool is_same(const struct vram_gpu *a, const struct vram_gpu *b)
{
    return a->index == b->index && a->mig_index == b->mig_index &&
           (a->uuid && b->uuid ? strcmp(a->uuid, b->uuid) == 0 : a->uuid == b->uuid);
}

/* Where a GPU's processes are: most often in the same snapshot, and else at the same place. */
static const struct vram_gpu *find_listed(const struct vram_gpu *gpu, size_t position,
                                          const struct vram_snapshot *processes)
{
    const struct vram_gpu *there = vram_snapshot_gpu(processes, position);
    for (size_t i = 0; !(there && is_same(there, gpu)); i++) {
        there = vram_snapshot_gpu(processes, i);
        if (!there) {
            return NULL;
        }
    }
    return there;
}

static void fill_row(struct metrics_row *row, const struct vram_gpu *gpu)
{
    char pci[METRICS_NAME_MAX];
    row->gpu = gpu;
    (void)gpu_name_label(gpu->index, gpu->mig_index, row->label);
    (void)exposition_clean(pci, sizeof(pci), gpu->pci ? gpu->pci : "");
    (void)exposition_clean(row->uuid, sizeof(row->uuid), gpu->uuid ? gpu->uuid : pci);
}

/* One for each GPU; NULL: out of memory. */
static struct metrics_row *make_rows(const struct vram_snapshot *snapshot,
                                     const struct vram_metrics_options *options)
{
    size_t count = vram_snapshot_gpu_count(snapshot);
    const struct vram_snapshot *processes = options->processes ? options->processes : snapshot;
    struct metrics_row *rows = calloc(count + 1, sizeof(*rows));
    for (size_t i = 0; rows && i < count; i++) {
        struct metrics_row *row = &rows[i];
        const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, i);
        fill_row(row, gpu);
        row->margin_bytes =
            options->margin_bytes ? options->margin_bytes[i] : VRAM_DEFAULT_MARGIN_BYTES;
        row->up = !options->stale && (gpu->state == VRAM_GPU_OK || gpu->state == VRAM_GPU_ASLEEP);
        row->listed = row->up ? find_listed(gpu, i, processes) : NULL;
        for (size_t j = 0; j < i; j++) {
            row->shares = row->shares || rows[j].gpu->pool == gpu->pool;
            row->is_duplicate = row->is_duplicate || (strcmp(rows[j].label, row->label) == 0 &&
                                                      strcmp(rows[j].uuid, row->uuid) == 0);
        }
    }
    return rows;
}

/* ---- Families of one figure ------------------------------------------------------------------ */

static uint64_t total_of(const struct metrics_row *row)
{
    return row->gpu->total_bytes;
}

static uint64_t used_of(const struct metrics_row *row)
{
    return row->gpu->used_bytes;
}

static uint64_t free_of(const struct metrics_row *row)
{
    return row->gpu->free_bytes;
}

static uint64_t reserved_of(const struct metrics_row *row)
{
    return row->gpu->driver_reserved_bytes;
}

static uint64_t unattributed_of(const struct metrics_row *row)
{
    return row->listed ? row->listed->unattributed_bytes : VRAM_UNKNOWN;
}

static uint64_t outstanding_of(const struct metrics_row *row)
{
    return row->gpu->outstanding_bytes;
}

static uint64_t kept_of(const struct metrics_row *row)
{
    return row->gpu->ceiling_bytes;
}

static uint64_t margin_of_row(const struct metrics_row *row)
{
    return row->margin_bytes;
}

/* Of the memory, which a GPU that cannot be believed and one that shares another's do not tell. */
static const struct {
    struct exposition_family family;
    uint64_t (*value)(const struct metrics_row *row);
} figures[] = {
    {{"vram_total_bytes", EXPOSITION_GAUGE, "Memory of the GPU: used, free and driver reserved."},
     total_of},
    {{"vram_used_bytes", EXPOSITION_GAUGE, "Memory allocated by processes, or for them."}, used_of},
    {{"vram_free_bytes", EXPOSITION_GAUGE, "Memory that is not allocated."}, free_of},
    {{"vram_driver_reserved_bytes", EXPOSITION_GAUGE, "Memory kept by driver or firmware."},
     reserved_of},
    {{"vram_unattributed_bytes", EXPOSITION_GAUGE, "Used memory that no visible process holds."},
     unattributed_of},
    {{"vram_outstanding_bytes", EXPOSITION_GAUGE,
      "Memory promised by leases and not yet allocated."},
     outstanding_of},
    {{"vram_ceiling_bytes", EXPOSITION_GAUGE,
      "Memory kept for programs that never ask, a part of what is outstanding."},
     kept_of},
    {{"vram_margin_bytes", EXPOSITION_GAUGE, "Memory that must stay free besides."}, margin_of_row},
};

#define DEVICE_LABELS(row)                                                                         \
    {"gpu", (row)->label},                                                                         \
    {                                                                                              \
        "uuid", (row)->uuid                                                                        \
    }

static void write_figures(struct exposition *out, const struct metrics_row *rows, size_t count)
{
    for (size_t i = 0; i < ARRAY_LENGTH(figures); i++) {
        exposition_begin(out, &figures[i].family);
        for (size_t j = 0; j < count; j++) {
            const struct metrics_row *row = &rows[j];
            const struct exposition_label labels[] = {DEVICE_LABELS(row)};
            if (row->up && !row->shares && !row->is_duplicate) {
                exposition_number(out, labels, ARRAY_LENGTH(labels), figures[i].value(row));
            }
        }
    }
}

/* free - outstanding - margin; where nobody promises nothing is outstanding. */
static void write_headroom(struct exposition *out, const struct metrics_row *rows, size_t count)
{
    static const struct exposition_family family = {
        "vram_headroom_bytes", EXPOSITION_GAUGE,
        "What a new program can have: free less outstanding less margin."};
    exposition_begin(out, &family);
    for (size_t i = 0; i < count; i++) {
        const struct metrics_row *row = &rows[i];
        const struct exposition_label labels[] = {DEVICE_LABELS(row)};
        uint64_t outstanding = row->gpu->outstanding_bytes;
        uint64_t taken = outstanding == VRAM_UNKNOWN ? 0 : outstanding;
        bool known = row->gpu->free_bytes <= INT64_MAX && taken <= INT64_MAX / 2 &&
                     row->margin_bytes <= INT64_MAX / 2;
        if (row->up && !row->shares && !row->is_duplicate && known) {
            exposition_signed(out, labels, ARRAY_LENGTH(labels),
                              (int64_t)row->gpu->free_bytes - (int64_t)(taken + row->margin_bytes));
        }
    }
}

/* ---- The device ------------------------------------------------------------------------------ */

static void write_info(struct exposition *out, const struct vram_snapshot *snapshot,
                       const struct metrics_row *rows, size_t count)
{
    static const struct exposition_family family = {
        "vram_device_info", EXPOSITION_INFO, "What does not change of a GPU, or a MIG instance."};
    const struct vram_driver *driver = vram_snapshot_driver(snapshot);
    exposition_begin(out, &family);
    for (size_t i = 0; i < count; i++) {
        const struct vram_gpu *gpu = rows[i].gpu;
        const struct exposition_label labels[] = {
            DEVICE_LABELS(&rows[i]),
            {"model", gpu->name},
            {"memory_kind", vram_memory_kind_name(gpu->memory_kind)},
            {"backend", driver->kind},
            {"driver_version", driver->version},
            {"pci_bus_id", gpu->pci},
            {"parent_uuid", gpu->parent_uuid},
        };
        if (!rows[i].is_duplicate) {
            exposition_number(out, labels, ARRAY_LENGTH(labels), 1);
        }
    }
}

static void write_up(struct exposition *out, const struct metrics_row *rows, size_t count)
{
    static const struct exposition_family family = {
        "vram_device_up", EXPOSITION_GAUGE,
        "Whether the GPU's figures can be had: 0 has no memory series."};
    exposition_begin(out, &family);
    for (size_t i = 0; i < count; i++) {
        const struct exposition_label labels[] = {DEVICE_LABELS(&rows[i])};
        if (!rows[i].is_duplicate) {
            exposition_number(out, labels, ARRAY_LENGTH(labels), rows[i].up);
        }
    }
}

/* Of each GPU exactly one is 1. */
static void write_states(struct exposition *out, const struct metrics_row *rows, size_t count)
{
    static const struct exposition_family family = {
        "vram_device_state", EXPOSITION_GAUGE,
        "The state of the GPU; asleep is suspended, and not woken to be asked."};
    static const uint32_t states[] = {VRAM_GPU_OK, VRAM_GPU_ASLEEP, VRAM_GPU_LOST, VRAM_GPU_DENIED,
                                      VRAM_GPU_HUNG};
    exposition_begin(out, &family);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; !rows[i].is_duplicate && j < ARRAY_LENGTH(states); j++) {
            const struct exposition_label labels[] = {DEVICE_LABELS(&rows[i]),
                                                      {"state", vram_gpu_state_name(states[j])}};
            exposition_number(out, labels, ARRAY_LENGTH(labels), rows[i].gpu->state == states[j]);
        }
    }
}

static void write_health(struct exposition *out, const struct metrics_row *rows, size_t count)
{
    static const struct exposition_family
        temperature = {"vram_temperature_celsius", EXPOSITION_GAUGE, "Temperature of the GPU."},
        utilization = {"vram_gpu_utilization_ratio", EXPOSITION_GAUGE,
                       "Share of the time in which a kernel ran; not how full the memory is."};
    exposition_begin(out, &temperature);
    for (size_t i = 0; i < count; i++) {
        const struct exposition_label labels[] = {DEVICE_LABELS(&rows[i]), {"sensor", "gpu"}};
        if (rows[i].up && !rows[i].is_duplicate) {
            exposition_number(out, labels, ARRAY_LENGTH(labels), rows[i].gpu->temperature_c);
        }
    }
    exposition_begin(out, &utilization);
    for (size_t i = 0; i < count; i++) {
        const struct exposition_label labels[] = {DEVICE_LABELS(&rows[i])};
        if (rows[i].up && !rows[i].is_duplicate) {
            exposition_percent(out, labels, ARRAY_LENGTH(labels), rows[i].gpu->utilization_percent);
        }
    }
}

static void write_build(struct exposition *out)
{
    static const struct exposition_family family = {"vram_build_info", EXPOSITION_INFO,
                                                    "The program that tells all this."};
    const struct exposition_label labels[] = {{"version", vram_version()},
                                              {"compiler", __VERSION__}};
    exposition_begin(out, &family);
    exposition_number(out, labels, ARRAY_LENGTH(labels), 1);
}

/* ---- All of it ------------------------------------------------------------------------------- */

int metrics_of_snapshot(struct exposition *out, const struct vram_snapshot *snapshot,
                        const struct vram_metrics_options *options,
                        const struct metrics_clock *clock)
{
    size_t count = snapshot ? vram_snapshot_gpu_count(snapshot) : 0;
    write_build(out);
    if (!snapshot) {
        return 0;
    }
    struct metrics_row *rows = make_rows(snapshot, options);
    if (!rows) {
        return -ENOMEM;
    }
    write_info(out, snapshot, rows, count);
    write_up(out, rows, count);
    if (!options->stale) {
        write_states(out, rows, count);
    }
    write_figures(out, rows, count);
    write_headroom(out, rows, count);
    write_health(out, rows, count);
    int r = metrics_write_processes(out, rows, count, clock);
    free(rows);
    return r;
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static struct metrics_clock read_clock(void)
{
    long ticks = sysconf(_SC_CLK_TCK);
    uint64_t since_boot_ns = clock_ns(CLOCK_BOOTTIME);
    uint64_t ticks_per_second = ticks > 0 && ticks <= (long)NS_PER_SECOND ? (uint64_t)ticks : 100;
    return (struct metrics_clock){
        .boot_ns = clock_ns(CLOCK_REALTIME) - since_boot_ns,
        .now_ticks = since_boot_ns / (NS_PER_SECOND / ticks_per_second),
        .ticks_per_second = ticks_per_second,
    };
}

int vram_snapshot_metrics(const struct vram_snapshot *snapshot,
                          const struct vram_metrics_options *options, char **ret_text)
{
    struct vram_metrics_options chosen = VRAM_METRICS_OPTIONS_INIT;
    struct metrics_clock clock = read_clock();
    struct buf buf = BUF_INIT;
    if (options) {
        if (options->size < sizeof(options->size)) {
            return -EINVAL;
        }
        memcpy(&chosen, options, options->size < sizeof(chosen) ? options->size : sizeof(chosen));
    }
    if (chosen.format > VRAM_METRICS_OPENMETRICS) {
        return -EINVAL;
    }
    struct exposition out =
        EXPOSITION_INIT(&buf, chosen.format == VRAM_METRICS_OPENMETRICS ? EXPOSITION_OPENMETRICS
                                                                        : EXPOSITION_PROMETHEUS);
    int r = metrics_of_snapshot(&out, snapshot, &chosen, &clock);
    if (!chosen.part) {
        exposition_finish(&out);
    }
    char *text = buf_steal(&buf, NULL);
    if (r < 0 || !text) {
        free(text);
        return -ENOMEM;
    }
    *ret_text = text;
    return 0;
}
