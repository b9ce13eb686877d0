/* SPDX-License-Identifier: MIT */
#include "daemon/history_tally_inner.h"

#include "include/vram.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A piece that is being added. A place is a lease on one of its GPUs: HISTORY_GPUS_MAX for each lease, used or not. */
struct piece {
    struct tally *tally;
    int64_t from_ms, to_ms;
    const struct tally_rows *rows;
};

/* ---- Looking up ------------------------------------------------------------------------------ */

static const struct history_gpu *find_gpu(const struct tally_rows *rows, uint32_t id)
{
    for (size_t i = 0; i < rows->gpu_count; i++) {
        if (rows->gpus[i].id == id) {
            return &rows->gpus[i];
        }
    }
    return NULL;
}

static const struct history_gpu *find_uuid(const struct tally_rows *rows, const char *uuid)
{
    for (size_t i = 0; i < rows->gpu_count; i++) {
        if (strcmp(rows->gpus[i].uuid, uuid) == 0) {
            return &rows->gpus[i];
        }
    }
    return NULL;
}

static int compare_lease(const void *key, const void *item)
{
    return strcmp(key, ((const struct history_lease *)item)->id);
}

static const struct history_lease *find_lease(const struct tally_rows *rows, const char *id)
{
    return !id[0] || !rows->lease_count
               ? NULL
               : bsearch(id, rows->leases, rows->lease_count, sizeof(*rows->leases), compare_lease);
}

/* The place of a lease on a GPU; TALLY_NOWHERE: it is on others. */
static size_t find_place(const struct tally_rows *rows, const struct history_lease *lease,
                         const char *uuid)
{
    for (size_t i = 0; lease && i < lease->gpu_count; i++) {
        if (strcmp(lease->gpus[i], uuid) == 0) {
            return (size_t)(lease - rows->leases) * HISTORY_GPUS_MAX + i;
        }
    }
    return TALLY_NOWHERE;
}

/* What has not ended does so after all else. */
static int64_t end_of(int64_t ended_ms)
{
    return ended_ms == HISTORY_RUNNING ? INT64_MAX : ended_ms;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- Looks ----------------------------------------------------------------------------------- */

/* The first of the looks that is of this GPU, and at this moment or later. */
static size_t first_look(const struct tally_rows *rows, uint32_t gpu, int64_t at_ms)
{
    size_t low = 0, high = rows->look_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct history_look *look = &rows->looks[middle];
        if (look->gpu < gpu || (look->gpu == gpu && look->at_ms < at_ms)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* A stretch of time in which a GPU was looked at all along, or was not. It begins at `at_ms`, before `to_ms`. */
struct stretch {
    size_t next;
    bool seen;
    int64_t at_ms, until_ms;
};

static struct stretch stretch_at(const struct tally_rows *rows, uint32_t gpu, int64_t at_ms,
                                 int64_t to_ms)
{
    struct stretch stretch = {.next = first_look(rows, gpu, at_ms + 1), .at_ms = at_ms};
    const struct history_look *before = stretch.next > 0 ? &rows->looks[stretch.next - 1] : NULL;
    const struct history_look *after =
        stretch.next < rows->look_count ? &rows->looks[stretch.next] : NULL;
    stretch.seen = before && before->gpu == gpu && before->seen;
    stretch.until_ms = after && after->gpu == gpu ? sooner(after->at_ms, to_ms) : to_ms;
    return stretch;
}

int64_t tally_seen_ms(const struct tally_rows *rows, uint32_t gpu, int64_t from_ms, int64_t to_ms)
{
    int64_t seen_ms = 0;
    while (from_ms < to_ms) {
        struct stretch stretch = stretch_at(rows, gpu, from_ms, to_ms);
        seen_ms += stretch.seen ? stretch.until_ms - from_ms : 0;
        from_ms = stretch.until_ms;
    }
    return seen_ms;
}

/* ---- Leases ---------------------------------------------------------------------------------- */

static void turn(struct tally *tally, size_t place, int64_t at_ms, int64_t held, int64_t size,
                 int32_t unknown)
{
    struct tally_turn *added;
    TALLY_GROW(tally, turns, added);
    if (added) {
        *added = (struct tally_turn){place, at_ms, held, size, unknown};
    }
}

static size_t first_resize(const struct tally_rows *rows, const char *lease)
{
    size_t low = 0, high = rows->resize_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(rows->resizes[middle].lease, lease) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* So large from here to there. */
static void lease_size(struct piece *piece, size_t place, int64_t from_ms, int64_t to_ms,
                       uint64_t bytes)
{
    bool known = bytes <= INT64_MAX;
    if (from_ms < to_ms) {
        turn(piece->tally, place, from_ms, 0, known ? (int64_t)bytes : 0, !known);
        turn(piece->tally, place, to_ms, 0, known ? -(int64_t)bytes : 0, -!known);
    }
}

/* Its sizes, and when nobody looked, on one of its GPUs. */
static void take_place(struct piece *piece, const struct history_lease *lease, size_t place,
                       const struct history_gpu *gpu)
{
    const struct tally_rows *rows = piece->rows;
    int64_t from_ms = later(lease->granted_ms, piece->from_ms);
    int64_t to_ms = sooner(end_of(lease->ended_ms), piece->to_ms);
    int64_t at_ms = from_ms;
    for (size_t i = first_resize(rows, lease->id);
         i < rows->resize_count && strcmp(rows->resizes[i].lease, lease->id) == 0; i++) {
        int64_t until_ms = sooner(rows->resizes[i].at_ms, to_ms);
        lease_size(piece, place, at_ms, until_ms, rows->resizes[i].was_bytes);
        at_ms = later(at_ms, until_ms);
    }
    lease_size(piece, place, at_ms, to_ms, lease->size_bytes);
    while (from_ms < to_ms) {
        struct stretch stretch = stretch_at(rows, gpu->id, from_ms, to_ms);
        if (!stretch.seen) {
            turn(piece->tally, place, from_ms, 0, 0, 1);
            turn(piece->tally, place, stretch.until_ms, 0, 0, -1);
        }
        from_ms = stretch.until_ms;
    }
}

static bool is_within(const struct piece *piece, int64_t at_ms)
{
    return at_ms != HISTORY_RUNNING && at_ms >= piece->from_ms && at_ms < piece->to_ms;
}

/* Once in each row that it belongs to. */
static void count_lease(struct piece *piece, const struct history_lease *lease, size_t row,
                        bool last)
{
    struct tally *tally = piece->tally;
    int64_t granted_ms = lease->granted_ms;
    bool never = granted_ms == HISTORY_RUNNING;
    if (is_within(piece, granted_ms)) {
        tally_count(tally, row, (uint64_t)later(granted_ms - lease->asked_ms, 0));
    } else if (row != TALLY_NOWHERE && never && is_within(piece, lease->ended_ms)) {
        tally->rows.items[row].sum.gave_up++;
    } else if (row != TALLY_NOWHERE && last && lease->asked_ms < piece->to_ms &&
               (never || granted_ms >= piece->to_ms) && end_of(lease->ended_ms) >= piece->to_ms) {
        tally->rows.items[row].sum.waiting++;
    }
}

static void take_lease(struct piece *piece, const struct history_lease *lease, bool last)
{
    struct tally *tally = piece->tally;
    bool counted = lease->gpu_count == 0; /* on GPUs that are reported on, or on none yet */
    for (size_t i = 0; i < lease->gpu_count; i++) {
        const struct history_gpu *gpu = find_uuid(piece->rows, lease->gpus[i]);
        if (!gpu) {
            continue;
        }
        counted = true;
        if (lease->granted_ms != HISTORY_RUNNING) {
            take_place(piece, lease, find_place(piece->rows, lease, gpu->uuid), gpu);
        }
        if (tally->by == TALLY_BY_GPU) {
            count_lease(piece, lease, tally_row_of_lease(tally, lease, gpu->uuid), last);
        }
    }
    if (counted) {
        count_lease(piece, lease, 0, last);
        if (tally->by != TALLY_BY_GPU) {
            count_lease(piece, lease, tally_row_of_lease(tally, lease, ""), last);
        }
    }
}

/* ---- Processes ------------------------------------------------------------------------------- */

/* A process on its way through the piece. */
struct walk {
    const struct tally_process *process;
    const struct history_gpu *gpu;
    size_t step, step_end, member, member_end; /* what comes next */
    uint64_t bytes;
    const struct history_lease *lease;
};

/* Takes what happens up to `at_ms`; returns when something happens next. */
static int64_t walk_on(const struct piece *piece, struct walk *walk, int64_t at_ms)
{
    const struct tally_rows *rows = piece->rows;
    while (walk->step < walk->step_end && rows->steps[walk->step].at_ms <= at_ms) {
        walk->bytes = rows->steps[walk->step++].used_bytes;
    }
    while (walk->member < walk->member_end && rows->members[walk->member].at_ms <= at_ms) {
        walk->lease = find_lease(rows, rows->members[walk->member++].lease);
    }
    int64_t next_ms = sooner(end_of(walk->process->ended_ms), piece->to_ms);
    if (walk->step < walk->step_end) {
        next_ms = sooner(next_ms, rows->steps[walk->step].at_ms);
    }
    if (walk->member < walk->member_end) {
        next_ms = sooner(next_ms, rows->members[walk->member].at_ms);
    }
    const int64_t of_lease[] = {walk->lease ? walk->lease->granted_ms : 0,
                                walk->lease ? end_of(walk->lease->ended_ms) : 0};
    for (size_t i = 0; i < ARRAY_LENGTH(of_lease); i++) {
        next_ms = of_lease[i] > at_ms ? sooner(next_ms, of_lease[i]) : next_ms;
    }
    return next_ms;
}

/* What it held, all of this time: of the process, and of its lease. */
static void take_stretch(struct piece *piece, const struct walk *walk, int64_t at_ms,
                         int64_t until_ms)
{
    struct tally *tally = piece->tally;
    const struct history_lease *lease = walk->lease;
    bool stands = lease && lease->granted_ms != HISTORY_RUNNING && lease->granted_ms <= at_ms &&
                  end_of(lease->ended_ms) > at_ms;
    size_t place = stands ? find_place(piece->rows, lease, walk->gpu->uuid) : TALLY_NOWHERE;
    size_t row = place != TALLY_NOWHERE
                     ? tally_row_of_lease(tally, lease, walk->gpu->uuid)
                     : tally_row_of_process(tally, walk->process, walk->gpu->uuid);
    bool known = walk->bytes <= INT64_MAX;
    int64_t seen_ms = known ? tally_seen_ms(piece->rows, walk->gpu->id, at_ms, until_ms) : 0;
    double amount = known ? (double)walk->bytes * (double)seen_ms : 0;
    TALLY_TO(tally, row, held, amount);
    TALLY_TO(tally, row, unknown_held_ms, (double)(until_ms - at_ms - seen_ms));
    if (place == TALLY_NOWHERE) {
        TALLY_TO(tally, row, unleased, amount);
    } else {
        turn(tally, place, at_ms, known ? (int64_t)walk->bytes : 0, 0, !known);
        turn(tally, place, until_ms, known ? -(int64_t)walk->bytes : 0, 0, -!known);
    }
}

static void take_processes(struct piece *piece)
{
    const struct tally_rows *rows = piece->rows;
    size_t step = 0, member = 0;
    for (size_t i = 0; i < rows->process_count; i++) {
        const struct tally_process *process = &rows->processes[i];
        struct walk walk = {.process = process, .bytes = VRAM_UNKNOWN};
        while (step < rows->step_count && rows->steps[step].process < process->id) {
            step++;
        }
        while (member < rows->member_count && rows->members[member].process < process->id) {
            member++;
        }
        walk.step = step;
        walk.member = member;
        while (step < rows->step_count && rows->steps[step].process == process->id) {
            step++;
        }
        while (member < rows->member_count && rows->members[member].process == process->id) {
            member++;
        }
        walk.step_end = step;
        walk.member_end = member;
        walk.gpu = find_gpu(rows, process->gpu);
        int64_t at_ms = later(process->began_ms, piece->from_ms);
        int64_t to_ms = sooner(end_of(process->ended_ms), piece->to_ms);
        while (walk.gpu && at_ms < to_ms) {
            int64_t next_ms = walk_on(piece, &walk, at_ms);
            take_stretch(piece, &walk, at_ms, next_ms);
            at_ms = next_ms;
        }
    }
}

/* ---- Leases against processes ---------------------------------------------------------------- */

static int compare_turns(const void *a, const void *b)
{
    const struct tally_turn *left = a, *right = b;
    if (left->place != right->place) {
        return left->place < right->place ? -1 : 1;
    }
    return (left->at_ms > right->at_ms) - (left->at_ms < right->at_ms);
}

/* The turns of one place, in time. */
static void sum_place(struct piece *piece, const struct tally_turn *turns, size_t count)
{
    struct tally *tally = piece->tally;
    const struct history_lease *lease = &piece->rows->leases[turns[0].place / HISTORY_GPUS_MAX];
    size_t row = tally_row_of_lease(tally, lease, lease->gpus[turns[0].place % HISTORY_GPUS_MAX]);
    int64_t held = 0, size = 0, unknown = 0;
    for (size_t i = 0; i + 1 < count; i++) {
        held += turns[i].held;
        size += turns[i].size;
        unknown += turns[i].unknown;
        double passed_ms = (double)(turns[i + 1].at_ms - turns[i].at_ms);
        TALLY_TO(tally, row, leased, (double)size * passed_ms);
        if (unknown) {
            TALLY_TO(tally, row, unknown_idle_ms, passed_ms);
        } else if (size > held) {
            TALLY_TO(tally, row, idle, (double)(size - held) * passed_ms);
        }
    }
}

static void sum_places(struct piece *piece)
{
    struct tally *tally = piece->tally;
    const struct tally_turn *turns = tally->turns.items;
    size_t count = tally->turns.count, next;
    if (count) {
        qsort(tally->turns.items, count, sizeof(*turns), compare_turns);
    }
    for (size_t i = 0; i < count; i = next) {
        for (next = i + 1; next < count && turns[next].place == turns[i].place;) {
            next++;
        }
        sum_place(piece, &turns[i], next - i);
    }
}

/* ---- What is called -------------------------------------------------------------------------- */

int tally_add(struct tally *tally, int64_t from_ms, int64_t to_ms, bool last,
              const struct tally_rows *rows)
{
    struct piece piece = {tally, from_ms, to_ms, rows};
    tally->turns.count = 0;
    for (size_t i = 0; i < rows->gpu_count && tally->by == TALLY_BY_GPU; i++) {
        (void)tally_row(tally, TALLY_NAMED, rows->gpus[i].uuid);
    }
    for (size_t i = 0; i < rows->lease_count; i++) {
        take_lease(&piece, &rows->leases[i], last);
    }
    take_processes(&piece);
    sum_places(&piece);
    return tally->failed ? -ENOMEM : 0;
}
