/* SPDX-License-Identifier: MIT */
/* The store: what is asked of it. */
#include "daemon/history_store_inner.h"

#include "include/vram.h"
#include <errno.h>
#include <string.h>

/* A change says what holds until the next; one a minute comes where nothing changes. */
#define HOLDS_MS 75000
#define WITHIN "instr(?3, ',' || gpu || ',')"

/* ---- Rows ------------------------------------------------------------------------------------ */

void history_column_process(sqlite3_stmt *statement, struct history_process *process)
{
    *process = (struct history_process){
        .id = (uint64_t)sqlite3_column_int64(statement, 0),
        .gpu = (uint32_t)sqlite3_column_int64(statement, 1),
        .pid = (uint32_t)sqlite3_column_int64(statement, 2),
        .start_time = history_column_bytes(statement, 3),
        .began_ms = history_column_moment(statement, 4),
        .ended_ms = history_column_moment(statement, 5),
        .first_bytes = history_column_bytes(statement, 6),
        .last_bytes = history_column_bytes(statement, 7),
        .peak_bytes = history_column_bytes(statement, 8),
    };
    history_column_text(statement, 9, process->name, sizeof(process->name));
    history_column_text(statement, 10, process->user, sizeof(process->user));
    history_column_text(statement, 11, process->unit, sizeof(process->unit));
    history_column_text(statement, 12, process->container, sizeof(process->container));
    history_column_text(statement, 13, process->lease, sizeof(process->lease));
    process->was_running = sqlite3_column_int(statement, 14) != 0;
}

static void split_gpus(const char *text, struct history_lease *lease)
{
    while (text && *text && lease->gpu_count < HISTORY_GPUS_MAX) {
        size_t length = strcspn(text, " ");
        char *to = lease->gpus[lease->gpu_count];
        if (length > 0 && length < HISTORY_UUID_MAX) {
            memcpy(to, text, length);
            to[length] = '\0';
            lease->gpu_count++;
        }
        text += length + (text[length] == ' ');
    }
}

void history_column_lease(sqlite3_stmt *statement, struct history_lease *lease)
{
    char gpus[HISTORY_GPUS_MAX * (HISTORY_UUID_MAX + 1)];
    *lease = (struct history_lease){
        .pid = (uint32_t)sqlite3_column_int64(statement, 3),
        .size_bytes = history_column_bytes(statement, 4),
        .asked_ms = history_column_moment(statement, 6),
        .granted_ms = history_column_moment(statement, 7),
        .ended_ms = history_column_moment(statement, 8),
        .peak_bytes = history_column_bytes(statement, 10),
        .room_bytes = history_column_bytes(statement, 11),
        .total_bytes = history_column_bytes(statement, 12),
        .whole = sqlite3_column_int(statement, 13) != 0,
        .steady_bytes = history_column_bytes(statement, 14),
    };
    history_column_text(statement, 0, lease->id, sizeof(lease->id));
    history_column_text(statement, 1, lease->label, sizeof(lease->label));
    history_column_text(statement, 2, lease->user, sizeof(lease->user));
    history_column_text(statement, 5, gpus, sizeof(gpus));
    history_column_text(statement, 9, lease->why, sizeof(lease->why));
    split_gpus(gpus, lease);
}

/* ---- What is known from before --------------------------------------------------------------- */

int64_t history_store_alive_ms(const struct history_store *store)
{
    return store->alive_ms;
}

int64_t history_store_since_ms(struct history_store *store)
{
    /* The coarsest tier reaches back furthest, and says it least exactly. */
    int64_t coarse = history_number(store,
                                    "SELECT min(at) * 1000 FROM (SELECT (SELECT min(at) FROM bucket"
                                    " WHERE tier = 900 AND gpu = gpu.id) AS at FROM gpu)",
                                    INT64_MAX);
    int64_t fine = history_number(
        store,
        "SELECT min(at) FROM (SELECT (SELECT min(at) FROM change WHERE gpu = gpu.id) AS at FROM gpu"
        " UNION ALL SELECT min(at) FROM event)",
        INT64_MAX);
    int64_t since =
        fine == INT64_MAX || (coarse != INT64_MAX && coarse < fine - 900000) ? coarse : fine;
    return since == INT64_MAX ? 0 : since;
}

uint64_t history_store_last_process(struct history_store *store)
{
    /* Steps may be of one whose row was never written. */
    int64_t last = history_number(store, "SELECT max(id) FROM process", 0);
    int64_t stepped = history_number(store, "SELECT max(process) FROM step", 0);
    return (uint64_t)(last > stepped ? last : stepped);
}

int history_store_gpus(struct history_store *store, history_gpu_function each, void *data)
{
    sqlite3_stmt *statement = history_prepare(
        store, "SELECT id, uuid, name, number, total, pci, mig FROM gpu ORDER BY number, mig, id");
    int r;
    while ((r = history_next(store, statement)) == 1) {
        struct history_gpu gpu = {
            .id = (uint32_t)sqlite3_column_int64(statement, 0),
            .index = (uint32_t)sqlite3_column_int64(statement, 3),
            .total_bytes = history_column_bytes(statement, 4),
            .mig_index = history_column_bytes(statement, 6),
        };
        history_column_text(statement, 1, gpu.uuid, sizeof(gpu.uuid));
        history_column_text(statement, 2, gpu.name, sizeof(gpu.name));
        history_column_text(statement, 5, gpu.pci, sizeof(gpu.pci));
        each(data, &gpu);
    }
    (void)sqlite3_finalize(statement);
    return r;
}

int history_store_running(struct history_store *store, history_process_function each, void *data)
{
    int r = 0;
    sqlite3_stmt *statement = store->same_boot
                                  ? history_prepare(store, "SELECT " HISTORY_PROCESS_COLUMNS
                                                           " FROM process WHERE ended IS NULL")
                                  : NULL;
    while (store->same_boot && (r = history_next(store, statement)) == 1) {
        struct history_process process;
        history_column_process(statement, &process);
        each(data, &process);
    }
    (void)sqlite3_finalize(statement);
    return r;
}

static int each_lease(struct history_store *store, sqlite3_stmt *statement,
                      history_lease_row_function each, void *data)
{
    int r;
    while ((r = history_next(store, statement)) == 1) {
        struct history_lease lease;
        history_column_lease(statement, &lease);
        each(data, &lease);
    }
    (void)sqlite3_finalize(statement);
    return r;
}

int history_store_standing(struct history_store *store, history_lease_row_function each, void *data)
{
    return each_lease(
        store,
        history_prepare(store, "SELECT " HISTORY_LEASE_COLUMNS " FROM lease WHERE ended IS NULL"),
        each, data);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

/* What was known of a stretch of time goes into the steps that it touches. */
static void add_stretch(struct history_point *points, size_t count, int64_t from_ms,
                        int64_t step_ms, const struct history_change *change, int64_t until_ms)
{
    int64_t end_ms = from_ms + (int64_t)count * step_ms;
    int64_t at_ms = change->at_ms > from_ms ? change->at_ms : from_ms;
    until_ms = until_ms < end_ms ? until_ms : end_ms;
    while (change->used_bytes != VRAM_UNKNOWN && at_ms < until_ms) {
        struct history_point *point = &points[(at_ms - from_ms) / step_ms];
        int64_t next_ms = at_ms + step_ms - (at_ms - from_ms) % step_ms;
        next_ms = next_ms < until_ms ? next_ms : until_ms;
        uint64_t used = change->used_bytes, weight = (uint64_t)(next_ms - at_ms);
        if (!point->weight_ms) {
            *point = (struct history_point){used, used, used, change->free_bytes, weight};
        } else {
            double sum = (double)point->mean_bytes * (double)point->weight_ms +
                         (double)used * (double)weight;
            point->weight_ms += weight;
            point->mean_bytes = (uint64_t)(sum / (double)point->weight_ms + 0.5);
            point->low_bytes = used < point->low_bytes ? used : point->low_bytes;
            point->high_bytes = used > point->high_bytes ? used : point->high_bytes;
            point->free_bytes =
                change->free_bytes < point->free_bytes ? change->free_bytes : point->free_bytes;
        }
        at_ms = next_ms;
    }
}

static int64_t held_until(const struct history_change *change, int64_t next_ms)
{
    return next_ms - change->at_ms > HOLDS_MS ? change->at_ms + HOLDS_MS : next_ms;
}

static int memory_of_changes(struct history_store *store, uint32_t gpu, int64_t from_s,
                             uint64_t step_s, size_t count, struct history_point *points)
{
    int64_t from_ms = from_s * 1000, step_ms = (int64_t)step_s * 1000;
    struct history_change held = {.used_bytes = VRAM_UNKNOWN};
    sqlite3_stmt *statement =
        history_prepare(store, "SELECT at, used, free FROM change WHERE gpu = ?1 AND at >= ?2"
                               " AND at < ?3 ORDER BY at");
    int r = statement ? 0 : history_fail(store, store->failure);
    if (statement) {
        (void)sqlite3_bind_int64(statement, 1, gpu);
        (void)sqlite3_bind_int64(statement, 2, from_ms - HOLDS_MS);
        (void)sqlite3_bind_int64(statement, 3, from_ms + (int64_t)count * step_ms);
    }
    while (statement && (r = history_next(store, statement)) == 1) {
        struct history_change next = {
            .at_ms = sqlite3_column_int64(statement, 0),
            .used_bytes = history_column_bytes(statement, 1),
            .free_bytes = history_column_bytes(statement, 2),
        };
        add_stretch(points, count, from_ms, step_ms, &held, held_until(&held, next.at_ms));
        held = next;
    }
    (void)sqlite3_finalize(statement);
    /* What holds now has been seen a moment ago, and that moment counts. */
    int64_t now_ms = store->alive_ms > held.at_ms ? store->alive_ms : held.at_ms + 1;
    add_stretch(points, count, from_ms, step_ms, &held, held_until(&held, now_ms));
    return r;
}

/* The coarsest tier that is fine enough. */
static const struct history_tier *tier_for(uint64_t step_s)
{
    const struct history_tier *tier = &history_tiers[0];
    for (size_t i = 1; i < HISTORY_TIERS; i++) {
        if ((uint64_t)history_tiers[i].seconds <= step_s) {
            tier = &history_tiers[i];
        }
    }
    return tier;
}

static int memory_of_buckets(struct history_store *store, uint32_t gpu, int64_t from_s,
                             uint64_t step_s, size_t count, struct history_point *points)
{
    static const char sql[] =
        "SELECT (at - ?3) / ?5, min(low),"
        " CAST(total(CAST(mean AS REAL) * weight) / total(weight) AS INTEGER), max(high), "
        "min(free),"
        " sum(weight) FROM bucket WHERE tier = ?1 AND gpu = ?2 AND at >= ?3 AND at < ?4 GROUP BY 1";
    sqlite3_stmt *statement = history_prepare(store, sql);
    int r = statement ? 0 : history_fail(store, store->failure);
    if (statement) {
        (void)sqlite3_bind_int(statement, 1, tier_for(step_s)->seconds);
        (void)sqlite3_bind_int64(statement, 2, gpu);
        (void)sqlite3_bind_int64(statement, 3, from_s);
        (void)sqlite3_bind_int64(statement, 4, from_s + (int64_t)(step_s * count));
        (void)sqlite3_bind_int64(statement, 5, (sqlite3_int64)step_s);
    }
    while (statement && (r = history_next(store, statement)) == 1) {
        uint64_t i = (uint64_t)sqlite3_column_int64(statement, 0);
        if (i < count) {
            points[i] = (struct history_point){
                .low_bytes = history_column_bytes(statement, 1),
                .mean_bytes = history_column_bytes(statement, 2),
                .high_bytes = history_column_bytes(statement, 3),
                .free_bytes = history_column_bytes(statement, 4),
                .weight_ms = (uint64_t)sqlite3_column_int64(statement, 5),
            };
        }
    }
    (void)sqlite3_finalize(statement);
    return r;
}

int history_store_memory(struct history_store *store, uint32_t gpu, int64_t from_s, uint64_t step_s,
                         size_t count, struct history_point *ret_points)
{
    for (size_t i = 0; i < count; i++) {
        ret_points[i] =
            (struct history_point){VRAM_UNKNOWN, VRAM_UNKNOWN, VRAM_UNKNOWN, VRAM_UNKNOWN, 0};
    }
    return step_s < HISTORY_BUCKET_S
               ? memory_of_changes(store, gpu, from_s, step_s, count, ret_points)
               : memory_of_buckets(store, gpu, from_s, step_s, count, ret_points);
}

/* ---- Processes, leases, events --------------------------------------------------------------- */

static sqlite3_stmt *ask(struct history_store *store, const char *sql,
                         const struct history_question *question)
{
    sqlite3_stmt *statement = history_prepare(store, sql);
    if (statement) {
        (void)sqlite3_bind_int64(statement, 1, question->from_ms);
        (void)sqlite3_bind_int64(statement, 2, question->to_ms);
        (void)sqlite3_bind_text(statement, 3, question->gpus, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(statement, 4, (sqlite3_int64)question->limit);
    }
    return statement;
}

static struct history_interval interval_of(sqlite3_stmt *statement,
                                           const struct history_question *question)
{
    struct history_interval interval;
    history_column_process(statement, &interval.process);
    interval.from_bytes = history_column_bytes(statement, HISTORY_PROCESS_COUNT);
    interval.to_bytes = history_column_bytes(statement, HISTORY_PROCESS_COUNT + 1);
    interval.most_bytes = history_column_bytes(statement, HISTORY_PROCESS_COUNT + 2);
    const struct history_process *process = &interval.process;
    if (process->began_ms > question->from_ms) {
        interval.from_bytes = process->was_running ? VRAM_UNKNOWN : 0;
    }
    if (process->ended_ms != HISTORY_RUNNING && process->ended_ms < question->to_ms) {
        interval.to_bytes = 0;
    }
    if (interval.most_bytes == VRAM_UNKNOWN ||
        (interval.from_bytes != VRAM_UNKNOWN && interval.from_bytes > interval.most_bytes)) {
        interval.most_bytes = interval.from_bytes;
    }
    if (process->began_ms >= question->from_ms && process->ended_ms != HISTORY_RUNNING &&
        process->ended_ms <= question->to_ms) {
        interval.most_bytes = process->peak_bytes; /* all of it lies within */
    }
    return interval;
}

int history_store_processes(struct history_store *store, const struct history_question *question,
                            history_interval_function each, void *data)
{
    static const char sql[] =
        "SELECT " HISTORY_PROCESS_COLUMNS ","
        " (SELECT used FROM step WHERE process = id AND at <= ?1 ORDER BY at DESC LIMIT 1),"
        " (SELECT used FROM step WHERE process = id AND at < ?2 ORDER BY at DESC LIMIT 1),"
        " (SELECT max(used) FROM step WHERE process = id AND at >= ?1 AND at < ?2)"
        " FROM process WHERE began < ?2 AND (ended IS NULL OR ended >= ?1)"
        " AND (?3 = '' OR " WITHIN ") ORDER BY peak DESC NULLS LAST, began, id LIMIT ?4";
    sqlite3_stmt *statement = ask(store, sql, question);
    int r;
    while ((r = history_next(store, statement)) == 1) {
        struct history_interval interval = interval_of(statement, question);
        each(data, &interval);
    }
    (void)sqlite3_finalize(statement);
    return r;
}

int history_store_steps(struct history_store *store, uint64_t process, int64_t from_ms,
                        int64_t to_ms, size_t limit, history_step_function each, void *data)
{
    static const char sql[] =
        "SELECT at, used FROM step WHERE process = ?1 AND at < ?3 AND at >= coalesce((SELECT "
        "max(at)"
        " FROM step WHERE process = ?1 AND at <= ?2), ?2) ORDER BY at DESC LIMIT ?4";
    sqlite3_stmt *statement = history_prepare(store, sql);
    int r = statement ? 0 : history_fail(store, store->failure);
    if (statement) {
        (void)sqlite3_bind_int64(statement, 1, (sqlite3_int64)process);
        (void)sqlite3_bind_int64(statement, 2, from_ms);
        (void)sqlite3_bind_int64(statement, 3, to_ms);
        (void)sqlite3_bind_int64(statement, 4, (sqlite3_int64)limit);
    }
    while (statement && (r = history_next(store, statement)) == 1) {
        struct history_step step = {.process = process,
                                    .at_ms = sqlite3_column_int64(statement, 0),
                                    .used_bytes = history_column_bytes(statement, 1)};
        each(data, &step);
    }
    (void)sqlite3_finalize(statement);
    return r;
}

int history_store_leases(struct history_store *store, const struct history_question *question,
                         history_lease_row_function each, void *data)
{
    return each_lease(store,
                      ask(store,
                          "SELECT " HISTORY_LEASE_COLUMNS " FROM lease WHERE asked < ?2"
                          " AND (ended IS NULL OR ended >= ?1) AND ?3 = ?3"
                          " ORDER BY asked, id LIMIT ?4",
                          question),
                      each, data);
}

int history_store_events(struct history_store *store, const struct history_question *question,
                         uint32_t kinds, history_event_function each, void *data)
{
    /* Numbers 13 and 14 are HISTORY_PROCESS_STARTED and HISTORY_PROCESS_ENDED. */
    static const char sql[] =
        "SELECT at, kind, gpu, pid, bytes, name, user, lease, text FROM ("
        "SELECT at, kind, gpu, pid, bytes, name, user, lease, text, id FROM event"
        " WHERE at >= ?1 AND at < ?2 AND (?3 = '' OR gpu = 0 OR " WITHIN ") AND (?5 >> kind) & 1"
        " UNION ALL SELECT began, 13, gpu, pid, first, name, user, NULL, lease, 0 FROM process"
        " WHERE began >= ?1 AND began < ?2 AND NOT early AND (?3 = '' OR " WITHIN
        ") AND (?5 >> 13) & 1"
        " UNION ALL SELECT ended, 14, gpu, pid, peak, name, user, NULL, lease, 0 FROM process"
        " WHERE ended >= ?1 AND ended < ?2 AND (?3 = '' OR " WITHIN ") AND (?5 >> 14) & 1)"
        " ORDER BY at DESC, id DESC LIMIT ?4";
    sqlite3_stmt *statement = ask(store, sql, question);
    int r;
    if (statement) {
        (void)sqlite3_bind_int64(statement, 5, kinds);
    }
    while ((r = history_next(store, statement)) == 1) {
        struct history_event event = {
            .at_ms = sqlite3_column_int64(statement, 0),
            .kind = (uint32_t)sqlite3_column_int64(statement, 1),
            .gpu = (uint32_t)sqlite3_column_int64(statement, 2),
            .pid = (uint32_t)sqlite3_column_int64(statement, 3),
            .bytes = history_column_bytes(statement, 4),
        };
        history_column_text(statement, 5, event.name, sizeof(event.name));
        history_column_text(statement, 6, event.user, sizeof(event.user));
        history_column_text(statement, 7, event.lease, sizeof(event.lease));
        history_column_text(statement, 8, event.text, sizeof(event.text));
        each(data, &event);
    }
    (void)sqlite3_finalize(statement);
    return r;
}
