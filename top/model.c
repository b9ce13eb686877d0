/* SPDX-License-Identifier: MIT */
#include "top/model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MEANT_MAX = 64 }; /* GPUs that one selector names */

/* ---- What was ------------------------------------------------------------------------------- */

static struct trail *find_trail(const struct model *model, const char *uuid)
{
    for (size_t i = 0; i < model->trail_count; i++) {
        if (strcmp(model->trails[i].uuid, uuid) == 0) {
            return &model->trails[i];
        }
    }
    return NULL;
}

const struct trail *model_trail(const struct model *model, const char *uuid)
{
    return find_trail(model, uuid);
}

uint16_t trail_part(const struct trail *trail, size_t ago)
{
    bool there = trail && ago < trail->count && ago < TRAIL_LENGTH;
    return there ? trail->parts[(trail->count - 1 - ago) % TRAIL_LENGTH] : TRAIL_UNKNOWN;
}

static struct trail *meet_trail(struct model *model, const char *uuid)
{
    struct trail *trail = find_trail(model, uuid);
    if (!trail) {
        struct trail *grown =
            reallocarray(model->trails, model->trail_count + 1, sizeof(*model->trails));
        if (!grown) {
            return NULL;
        }
        model->trails = grown;
        trail = &grown[model->trail_count++];
        *trail = (struct trail){0};
        (void)snprintf(trail->uuid, sizeof(trail->uuid), "%s", uuid);
    }
    return trail;
}

static void put_part(struct trail *trail, uint64_t used_bytes, uint64_t total_bytes)
{
    bool known = used_bytes != VRAM_UNKNOWN && total_bytes != VRAM_UNKNOWN && total_bytes > 0;
    double part = known ? (double)used_bytes / (double)total_bytes * 1000 : 0;
    trail->parts[trail->count++ % TRAIL_LENGTH] =
        known ? (uint16_t)(part > 1000 ? 1000 : part + 0.5) : TRAIL_UNKNOWN;
}

static int follow_gpu(struct model *model, const struct vram_gpu *gpu)
{
    struct trail *trail = meet_trail(model, gpu->uuid);
    if (!trail) {
        return -ENOMEM;
    }
    put_part(trail, gpu->state == VRAM_GPU_OK ? gpu->used_bytes : VRAM_UNKNOWN, gpu->total_bytes);
    return 0;
}

static struct peak *find_peak(const struct model *model, const char *uuid, uint32_t pid,
                              uint64_t start_time)
{
    for (size_t i = 0; i < model->peak_count; i++) {
        struct peak *peak = &model->peaks[i];
        if (peak->pid == pid && peak->start_time == start_time && strcmp(peak->uuid, uuid) == 0) {
            return peak;
        }
    }
    return NULL;
}

static int raise_peak(struct model *model, const char *uuid, const struct peak *to)
{
    struct peak *peak = find_peak(model, uuid, to->pid, to->start_time);
    if (!peak) {
        if (model->peak_count == model->peak_room) {
            size_t room = model->peak_room ? 2 * model->peak_room : 64;
            struct peak *grown = reallocarray(model->peaks, room, sizeof(*grown));
            if (!grown) {
                return -ENOMEM;
            }
            model->peaks = grown;
            model->peak_room = room;
        }
        peak = &model->peaks[model->peak_count++];
        *peak = (struct peak){.pid = to->pid, .start_time = to->start_time};
        (void)snprintf(peak->uuid, sizeof(peak->uuid), "%s", uuid);
    }
    peak->seen = to->seen;
    peak->bytes = to->bytes > peak->bytes ? to->bytes : peak->bytes;
    return 0;
}

static int follow_process(struct model *model, const struct vram_gpu *gpu,
                          const struct vram_process *process)
{
    struct peak now = {.pid = process->pid,
                       .start_time = process->start_time,
                       .bytes = process->used_bytes,
                       .seen = true};
    return process->used_bytes == VRAM_UNKNOWN ? 0 : raise_peak(model, gpu->uuid, &now);
}

/* ---- What a daemon remembers ------------------------------------------------------------------ */

/* A column for each period before the present one, the oldest first. Steps are never longer than a period, and may be of a
 * second where that is a part of one. */
static void remember_gpu(struct trail *trail, const struct past *past, const struct past_gpu *gpu,
                         uint64_t period_ns)
{
    uint64_t step_ns = past->step_s * UINT64_C(1000000000);
    for (size_t ago = TRAIL_LENGTH - 1; ago >= 1; ago--) {
        uint64_t back_ns = ago * period_ns;
        uint64_t steps = back_ns / step_ns + (back_ns % step_ns != 0);
        bool there = steps <= past->step_count;
        put_part(trail, there ? gpu->max[past->step_count - steps] : VRAM_UNKNOWN,
                 gpu->total_bytes);
    }
}

/* Goes in front of what is seen from now on. */
static int remember(struct model *model)
{
    const struct past *memory = &model->findings.memory, *processes = &model->findings.processes;
    int r = 0;
    for (size_t i = 0; memory->gpus && i < memory->count; i++) {
        const struct past_gpu *gpu = &memory->gpus[i];
        struct trail *trail = gpu->uuid ? meet_trail(model, gpu->uuid) : NULL;
        if (trail && trail->count == 0) {
            remember_gpu(trail, memory, gpu, model->period_ns);
        }
    }
    for (size_t i = 0; processes->processes && r == 0 && i < processes->count; i++) {
        const struct past_process *process = &processes->processes[i];
        struct peak peak = {.pid = (uint32_t)process->pid,
                            .start_time = process->start_time,
                            .bytes = process->peak_bytes};
        if (process->gpu && process->ended_ms == PAST_NEVER &&
            process->peak_bytes != VRAM_UNKNOWN) {
            r = raise_peak(model, process->gpu, &peak);
        }
    }
    return r;
}

/* Nobody asks for the peaks of who has ended. */
static void drop_peaks(struct model *model)
{
    size_t kept = 0;
    for (size_t i = 0; i < model->peak_count; i++) {
        if (model->peaks[i].seen) {
            model->peaks[kept++] = model->peaks[i];
        }
    }
    model->peak_count = kept;
}

static int follow(struct model *model)
{
    int r = remember(model);
    for (size_t i = 0; i < model->peak_count; i++) {
        model->peaks[i].seen = false;
    }
    for (size_t i = 0; r == 0 && i < model->gpu_count; i++) {
        const struct vram_gpu *gpu = model_gpu(model, i);
        r = follow_gpu(model, gpu);
        for (size_t j = 0; r == 0 && j < gpu->process_count; j++) {
            r = follow_process(model, gpu, &gpu->processes[j]);
        }
    }
    drop_peaks(model);
    return r;
}

/* ---- GPUs ----------------------------------------------------------------------------------- */

const struct vram_gpu *model_gpu(const struct model *model, size_t place)
{
    return vram_snapshot_gpu(model->findings.snapshot, model->gpus[place]);
}

static bool is_selected(const struct model *model, size_t position)
{
    for (size_t i = 0; model->selectors[i]; i++) {
        size_t found[MEANT_MAX];
        int n = vram_select(model->findings.snapshot, model->selectors[i], found, MEANT_MAX);
        for (int j = 0; j < n && j < MEANT_MAX; j++) {
            if (found[j] == position) {
                return true;
            }
        }
    }
    return false;
}

static int select_gpus(struct model *model)
{
    const struct vram_snapshot *snapshot = model->findings.snapshot;
    size_t count = snapshot ? vram_snapshot_gpu_count(snapshot) : 0;
    bool all = !model->selectors || !model->selectors[0];
    free(model->gpus);
    model->gpu_count = 0;
    model->gpus = calloc(count + 1, sizeof(*model->gpus));
    if (!model->gpus) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        if (all || is_selected(model, i)) {
            model->gpus[model->gpu_count++] = i;
        }
    }
    return 0;
}

/* ---- Rows ----------------------------------------------------------------------------------- */

static bool contains(const char *text, const char *part)
{
    size_t length = strlen(part);
    for (; text && *text; text++) {
        if (strncasecmp(text, part, length) == 0) {
            return true;
        }
    }
    return false;
}

static bool matches(const struct model *model, const struct vram_process *process)
{
    char pid[16];
    const char *filter = model->filter;
    (void)snprintf(pid, sizeof(pid), "%u", process->pid);
    return !filter[0] || contains(process->name, filter) || contains(process->command, filter) ||
           contains(process->user, filter) || contains(process->unit, filter) ||
           contains(process->container, filter) || contains(process->lease, filter) ||
           contains(pid, filter);
}

/* Larger first, unknown last. */
static int compare_bytes(uint64_t a, uint64_t b)
{
    bool a_known = a != VRAM_UNKNOWN, b_known = b != VRAM_UNKNOWN;
    return a_known != b_known ? (a_known ? -1 : 1) : (a < b) - (a > b);
}

static int compare_rows(const struct row *a, const struct row *b, enum sort sort)
{
    switch (sort) {
    case SORT_MEMORY:
        return compare_bytes(a->process->used_bytes, b->process->used_bytes);
    case SORT_PEAK:
        return compare_bytes(a->peak_bytes, b->peak_bytes);
    case SORT_NAME:
        return strcasecmp(a->process->name, b->process->name);
    case SORT_PID:
        return (a->process->pid > b->process->pid) - (a->process->pid < b->process->pid);
    default:
        return 0;
    }
}

/* What is equal stays in the snapshot's order: by GPU, the largest first. Few rows, and mostly in order already. */
static void sort_rows(struct model *model)
{
    for (size_t i = 1; model->sort != SORT_GPU && i < model->row_count; i++) {
        struct row row = model->rows[i];
        size_t j = i;
        for (; j > 0 && compare_rows(&model->rows[j - 1], &row, model->sort) > 0; j--) {
            model->rows[j] = model->rows[j - 1];
        }
        model->rows[j] = row;
    }
}

static int add_row(struct model *model, const struct vram_gpu *gpu,
                   const struct vram_process *process)
{
    if (model->row_count == model->row_room) {
        size_t room = model->row_room ? 2 * model->row_room : 64;
        struct row *grown = reallocarray(model->rows, room, sizeof(*grown));
        if (!grown) {
            return -ENOMEM;
        }
        model->rows = grown;
        model->row_room = room;
    }
    const struct peak *peak = find_peak(model, gpu->uuid, process->pid, process->start_time);
    model->rows[model->row_count++] = (struct row){gpu, process, peak ? peak->bytes : VRAM_UNKNOWN};
    return 0;
}

static void keep_within(struct place *place, size_t count)
{
    place->cursor = place->cursor < count ? place->cursor : count ? count - 1 : 0;
}

/* Whoever was chosen is chosen still, wherever it stands now. */
static void find_chosen(struct model *model)
{
    struct place *processes = &model->places[PANE_PROCESSES], *leases = &model->places[PANE_LEASES];
    for (size_t i = 0; i < model->row_count; i++) {
        if (model->rows[i].process->pid == model->chosen_pid &&
            strcmp(model->rows[i].gpu->uuid, model->chosen_uuid) == 0) {
            processes->cursor = i;
        }
    }
    for (size_t i = 0; i < model_lease_count(model); i++) {
        const struct vram_lease *lease = vram_lease_list_lease(model->findings.leases, i);
        if (strcmp(lease->id, model->chosen_lease) == 0) {
            leases->cursor = i;
        }
    }
    keep_within(processes, model->row_count);
    keep_within(leases, model_lease_count(model));
}

static void remember_chosen(struct model *model)
{
    size_t at = model->places[PANE_PROCESSES].cursor;
    const struct vram_lease *lease = model_chosen_lease(model);
    model->chosen_pid = at < model->row_count ? model->rows[at].process->pid : 0;
    (void)snprintf(model->chosen_uuid, sizeof(model->chosen_uuid), "%s",
                   at < model->row_count ? model->rows[at].gpu->uuid : "");
    (void)snprintf(model->chosen_lease, sizeof(model->chosen_lease), "%s", lease ? lease->id : "");
}

int model_arrange(struct model *model)
{
    int r = 0;
    model->row_count = 0;
    for (size_t i = 0; r == 0 && i < model->gpu_count; i++) {
        const struct vram_gpu *gpu = model_gpu(model, i);
        bool shown = model->only == UINT32_MAX || model->only == i;
        for (size_t j = 0; shown && r == 0 && j < gpu->process_count; j++) {
            r = matches(model, &gpu->processes[j]) ? add_row(model, gpu, &gpu->processes[j]) : 0;
        }
    }
    sort_rows(model);
    find_chosen(model);
    remember_chosen(model);
    return r;
}

int model_take(struct model *model, struct findings *findings)
{
    model->row_count = 0; /* they point into what goes now */
    findings_done(&model->findings);
    model->findings = *findings;
    *findings = (struct findings){0};
    int r = select_gpus(model);
    if (r < 0) {
        return r;
    }
    if (model->only != UINT32_MAX && model->only >= model->gpu_count) {
        model->only = UINT32_MAX;
    }
    int followed = follow(model);
    r = model_arrange(model);
    return followed < 0 ? followed : r;
}

void model_done(struct model *model)
{
    findings_done(&model->findings);
    free(model->gpus);
    free(model->rows);
    free(model->trails);
    free(model->peaks);
}

/* ---- Leases, and the cursor ------------------------------------------------------------------- */

size_t model_lease_count(const struct model *model)
{
    return model->findings.leases ? vram_lease_list_count(model->findings.leases) : 0;
}

size_t model_waiter_count(const struct model *model)
{
    return model->findings.leases ? vram_lease_list_waiter_count(model->findings.leases) : 0;
}

const struct vram_lease *model_chosen_lease(const struct model *model)
{
    size_t at = model->places[PANE_LEASES].cursor;
    return at < model_lease_count(model) ? vram_lease_list_lease(model->findings.leases, at) : NULL;
}

void model_move(struct model *model, long rows)
{
    struct place *place = &model->places[model->pane];
    size_t count = model->pane == PANE_LEASES ? model_lease_count(model) : model->row_count;
    size_t step = (size_t)(rows < 0 ? -rows : rows);
    if (rows < 0) {
        place->cursor = place->cursor > step ? place->cursor - step : 0;
    } else {
        place->cursor += step;
    }
    keep_within(place, count);
    remember_chosen(model);
}

/* ---- Lines ---------------------------------------------------------------------------------- */

enum { TITLE_AND_FOOTER = 2, GPU_LINES_MAX = 5, PROCESSES_MIN = 4 };

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

struct layout layout_make(size_t height, size_t gpus, size_t processes, size_t leases,
                          size_t waiters)
{
    struct layout layout = {.gpu_lines = 1};
    size_t left = height > TITLE_AND_FOOTER ? height - TITLE_AND_FOOTER : 0;
    /* Every GPU has a line, if there are lines for that; the processes have a few rows in any case. */
    size_t least = PROCESSES_MIN < left ? PROCESSES_MIN : left;
    layout.gpus = smaller(gpus, left - least);
    left -= layout.gpus;
    size_t promised = leases + waiters;
    if (promised > 0 && left > least + 2) {
        size_t room = smaller(left - least - 1, left / 3 + 1);
        layout.leases = smaller(leases, room - smaller(waiters, room / 2));
        layout.waiters = smaller(waiters, room - layout.leases);
        left -= layout.leases + layout.waiters + 1;
    }
    layout.processes = left > 1 ? left - 1 : 0;
    /* What the processes do not need shows how it came to this. */
    while (layout.gpus == gpus && gpus > 0 && layout.gpu_lines < GPU_LINES_MAX &&
           layout.processes >= smaller(processes, height / 3) + gpus) {
        layout.gpu_lines++;
        layout.processes -= gpus;
    }
    return layout;
}
