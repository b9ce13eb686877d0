/* SPDX-License-Identifier: MIT */
/* The store: what is written, and rolled up. */
#include "daemon/history_store_inner.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#define DAY_S ((int64_t)86400)

const struct history_tier history_tiers[HISTORY_TIERS] = {
    {HISTORY_BUCKET_S, 2 * DAY_S}, {60, 30 * DAY_S}, {900, HISTORY_KEPT_S}};

/* ---- Rows ------------------------------------------------------------------------------------ */

/* Runs a statement whose values are bound, and makes it ready for the next row. */
static int put(struct history_store *store, sqlite3_stmt *statement)
{
    int r = history_next(store, statement);
    (void)sqlite3_reset(statement);
    return r;
}

static int write_gpus(struct history_store *store, sqlite3_stmt *to,
                      const struct history_batch *batch)
{
    int r = 0;
    for (size_t i = 0; r >= 0 && i < batch->gpus.count; i++) {
        const struct history_gpu *gpu = &batch->gpus.rows[i];
        (void)sqlite3_bind_int64(to, 1, gpu->id);
        history_bind_text(to, 2, gpu->uuid);
        history_bind_text(to, 3, gpu->name);
        (void)sqlite3_bind_int64(to, 4, gpu->index);
        history_bind_bytes(to, 5, gpu->total_bytes);
        history_bind_text(to, 6, gpu->pci);
        history_bind_bytes(to, 7, gpu->mig_index);
        r = put(store, to);
    }
    return r;
}

static int write_changes(struct history_store *store, sqlite3_stmt *to,
                         const struct history_batch *batch)
{
    int r = 0;
    for (size_t i = 0; r >= 0 && i < batch->changes.count; i++) {
        const struct history_change *change = &batch->changes.rows[i];
        (void)sqlite3_bind_int64(to, 1, change->gpu);
        (void)sqlite3_bind_int64(to, 2, change->at_ms);
        history_bind_bytes(to, 3, change->used_bytes);
        history_bind_bytes(to, 4, change->free_bytes);
        r = put(store, to);
    }
    return r;
}

static int write_buckets(struct history_store *store, sqlite3_stmt *to,
                         const struct history_batch *batch)
{
    int r = 0;
    for (size_t i = 0; r >= 0 && i < batch->buckets.count; i++) {
        const struct history_bucket *bucket = &batch->buckets.rows[i];
        (void)sqlite3_bind_int64(to, 1, bucket->gpu);
        (void)sqlite3_bind_int64(to, 2, bucket->at_s);
        history_bind_bytes(to, 3, bucket->low_bytes);
        history_bind_bytes(to, 4, bucket->mean_bytes);
        history_bind_bytes(to, 5, bucket->high_bytes);
        history_bind_bytes(to, 6, bucket->free_bytes);
        history_bind_bytes(to, 7, bucket->weight_ms);
        r = put(store, to);
    }
    return r;
}

static int write_processes(struct history_store *store, sqlite3_stmt *to,
                           const struct history_batch *batch)
{
    int r = 0;
    for (size_t i = 0; r >= 0 && i < batch->processes.count; i++) {
        const struct history_process *process = &batch->processes.rows[i];
        (void)sqlite3_bind_int64(to, 1, (sqlite3_int64)process->id);
        (void)sqlite3_bind_int64(to, 2, process->gpu);
        (void)sqlite3_bind_int64(to, 3, process->pid);
        history_bind_bytes(to, 4, process->start_time);
        history_bind_moment(to, 5, process->began_ms);
        history_bind_moment(to, 6, process->ended_ms);
        history_bind_bytes(to, 7, process->first_bytes);
        history_bind_bytes(to, 8, process->last_bytes);
        history_bind_bytes(to, 9, process->peak_bytes);
        history_bind_text(to, 10, process->name);
        history_bind_text(to, 11, process->user);
        history_bind_text(to, 12, process->unit);
        history_bind_text(to, 13, process->container);
        history_bind_text(to, 14, process->lease);
        (void)sqlite3_bind_int(to, 15, process->was_running);
        r = put(store, to);
    }
    return r;
}

static int write_steps(struct history_store *store, sqlite3_stmt *to,
                       const struct history_batch *batch)
{
    int r = 0;
    for (size_t i = 0; r >= 0 && i < batch->steps.count; i++) {
        const struct history_step *step = &batch->steps.rows[i];
        (void)sqlite3_bind_int64(to, 1, (sqlite3_int64)step->process);
        (void)sqlite3_bind_int64(to, 2, step->at_ms);
        history_bind_bytes(to, 3, step->used_bytes);
        r = put(store, to);
    }
    return r;
}

/* UUIDs with blanks between them. */
static void join_gpus(const struct history_lease *lease, char *text, size_t size)
{
    size_t length = 0;
    text[0] = '\0';
    for (size_t i = 0; i < lease->gpu_count && i < HISTORY_GPUS_MAX && length < size; i++) {
        length +=
            (size_t)snprintf(text + length, size - length, "%s%s", i ? " " : "", lease->gpus[i]);
    }
}

static int write_members(struct history_store *store, sqlite3_stmt *to,
                         const struct history_batch *batch)
{
    int r = 0;
    for (size_t i = 0; r >= 0 && i < batch->members.count; i++) {
        const struct history_member *member = &batch->members.rows[i];
        (void)sqlite3_bind_int64(to, 1, (sqlite3_int64)member->process);
        (void)sqlite3_bind_int64(to, 2, member->at_ms);
        history_bind_text(to, 3, member->lease);
        r = put(store, to);
    }
    return r;
}

static int write_looks(struct history_store *store, sqlite3_stmt *to,
                       const struct history_batch *batch)
{
    int r = 0;
    for (size_t i = 0; r >= 0 && i < batch->looks.count; i++) {
        const struct history_look *look = &batch->looks.rows[i];
        (void)sqlite3_bind_int64(to, 1, look->gpu);
        (void)sqlite3_bind_int64(to, 2, look->at_ms);
        (void)sqlite3_bind_int(to, 3, look->seen);
        r = put(store, to);
    }
    return r;
}

static int write_resizes(struct history_store *store, sqlite3_stmt *to,
                         const struct history_batch *batch)
{
    int r = 0;
    for (size_t i = 0; r >= 0 && i < batch->resizes.count; i++) {
        const struct history_resize *resize = &batch->resizes.rows[i];
        history_bind_text(to, 1, resize->lease);
        (void)sqlite3_bind_int64(to, 2, resize->at_ms);
        history_bind_bytes(to, 3, resize->was_bytes);
        r = put(store, to);
    }
    return r;
}

static int write_leases(struct history_store *store, sqlite3_stmt *to,
                        const struct history_batch *batch)
{
    char gpus[HISTORY_GPUS_MAX * (HISTORY_UUID_MAX + 1)];
    int r = 0;
    for (size_t i = 0; r >= 0 && i < batch->leases.count; i++) {
        const struct history_lease *lease = &batch->leases.rows[i];
        join_gpus(lease, gpus, sizeof(gpus));
        history_bind_text(to, 1, lease->id);
        history_bind_text(to, 2, lease->label);
        history_bind_text(to, 3, lease->user);
        (void)sqlite3_bind_int64(to, 4, lease->pid);
        history_bind_bytes(to, 5, lease->size_bytes);
        history_bind_text(to, 6, gpus);
        history_bind_moment(to, 7, lease->asked_ms);
        history_bind_moment(to, 8, lease->granted_ms);
        history_bind_moment(to, 9, lease->ended_ms);
        history_bind_text(to, 10, lease->why);
        history_bind_bytes(to, 11, lease->peak_bytes);
        history_bind_bytes(to, 12, lease->room_bytes);
        history_bind_bytes(to, 13, lease->total_bytes);
        (void)sqlite3_bind_int(to, 14, lease->whole);
        history_bind_bytes(to, 15, lease->steady_bytes);
        r = put(store, to);
    }
    return r;
}

static int write_events(struct history_store *store, sqlite3_stmt *to,
                        const struct history_batch *batch)
{
    int r = 0;
    for (size_t i = 0; r >= 0 && i < batch->events.count; i++) {
        const struct history_event *event = &batch->events.rows[i];
        (void)sqlite3_bind_int64(to, 1, event->at_ms);
        (void)sqlite3_bind_int64(to, 2, event->kind);
        (void)sqlite3_bind_int64(to, 3, event->gpu);
        (void)sqlite3_bind_int64(to, 4, event->pid);
        history_bind_bytes(to, 5, event->bytes);
        history_bind_text(to, 6, event->name);
        history_bind_text(to, 7, event->user);
        history_bind_text(to, 8, event->lease);
        history_bind_text(to, 9, event->text);
        r = put(store, to);
    }
    return r;
}

/* ---- Tiers ----------------------------------------------------------------------------------- */

/* Coarser buckets of finer ones. Made again as long as finer ones come; what a finer tier has dropped meanwhile stays in
 * the coarser one's extremes. */
static int roll_up(struct history_store *store, const struct history_batch *batch, size_t tier)
{
    static const char sql[] =
        "INSERT INTO bucket SELECT ?1, gpu, at - at % ?1, min(low),"
        " CAST(total(CAST(mean AS REAL) * weight) / total(weight) AS INTEGER), max(high), "
        "min(free),"
        " sum(weight) FROM bucket WHERE tier = ?2 AND gpu IN (SELECT id FROM gpu)"
        " AND at >= ?3 AND at < ?4 GROUP BY gpu, at - at % ?1"
        " ON CONFLICT DO UPDATE SET low = min(low, excluded.low), mean = excluded.mean,"
        " high = max(high, excluded.high), free = min(free, excluded.free),"
        " weight = max(weight, excluded.weight)";
    int64_t seconds = history_tiers[tier].seconds, from = INT64_MAX, to = INT64_MIN;
    for (size_t i = 0; i < batch->buckets.count; i++) {
        int64_t at = batch->buckets.rows[i].at_s;
        from = at < from ? at : from;
        to = at > to ? at : to;
    }
    if (!batch->buckets.count) {
        return 0;
    }
    sqlite3_stmt *statement = history_prepare(store, sql);
    if (!statement) {
        return history_fail(store, store->failure);
    }
    (void)sqlite3_bind_int64(statement, 1, seconds);
    (void)sqlite3_bind_int64(statement, 2, history_tiers[tier - 1].seconds);
    (void)sqlite3_bind_int64(statement, 3, from - from % seconds);
    (void)sqlite3_bind_int64(statement, 4, to - to % seconds + seconds);
    int r = history_next(store, statement);
    (void)sqlite3_finalize(statement);
    return r;
}

/* ---- The transaction ------------------------------------------------------------------------- */

typedef int (*write_function)(struct history_store *store, sqlite3_stmt *to,
                              const struct history_batch *batch);

/* A process ends once, and what is known of an end stays. */
static const struct {
    write_function write;
    const char *sql;
} writers[] = {
    {write_gpus, "INSERT OR REPLACE INTO gpu VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)"},
    {write_changes, "INSERT OR REPLACE INTO change VALUES(?1, ?2, ?3, ?4)"},
    {write_buckets,
     "INSERT INTO bucket VALUES(10, ?1, ?2, ?3, ?4, ?5, ?6, ?7)"
     " ON CONFLICT DO UPDATE SET low = min(low, excluded.low),"
     " mean = CAST((CAST(mean AS REAL) * weight + CAST(excluded.mean AS REAL) * excluded.weight)"
     " / (weight + excluded.weight) AS INTEGER), high = max(high, excluded.high),"
     " free = min(free, excluded.free), weight = weight + excluded.weight"},
    {write_processes, "INSERT OR REPLACE INTO process(" HISTORY_PROCESS_COLUMNS ")"
                      " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)"},
    {write_steps, "INSERT OR REPLACE INTO step VALUES(?1, ?2, ?3)"},
    {write_members, "INSERT OR REPLACE INTO member VALUES(?1, ?2, ?3)"},
    {write_looks, "INSERT OR REPLACE INTO look VALUES(?1, ?2, ?3)"},
    {write_resizes, "INSERT OR IGNORE INTO resize VALUES(?1, ?2, ?3)"},
    {write_leases, "INSERT OR REPLACE INTO lease(" HISTORY_LEASE_COLUMNS ")"
                   " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)"},
    {write_events, "INSERT INTO event(at, kind, gpu, pid, bytes, name, user, lease, text)"
                   " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"},
};

static int write_rows(struct history_store *store, const struct history_batch *batch)
{
    int r = 0;
    for (size_t i = 0; r >= 0 && i < ARRAY_LENGTH(writers); i++) {
        sqlite3_stmt *statement = history_prepare(store, writers[i].sql);
        r = statement ? writers[i].write(store, statement, batch)
                      : history_fail(store, store->failure);
        (void)sqlite3_finalize(statement);
    }
    for (size_t i = 1; r >= 0 && i < HISTORY_TIERS; i++) {
        r = roll_up(store, batch, i);
    }
    return r;
}

static int write_once(struct history_store *store, const struct history_batch *batch,
                      int64_t now_ms)
{
    int r = history_run(store, "BEGIN IMMEDIATE");
    r = r < 0 ? r : write_rows(store, batch);
    r = r < 0
            ? r
            : history_run_before(store, "INSERT OR REPLACE INTO meta VALUES('alive', ?1)", now_ms);
    r = r < 0 ? r : history_run(store, "COMMIT");
    history_roll_back(store);
    return r;
}

/* A disk that is slower than what is to be written does not make the log grow for ever. 0; -EBUSY. */
static int wait_for_log(const struct history_store *store)
{
    static const struct timespec slice = {0, 1000000};
    bool full = store->sync && store->log_pages >= HISTORY_LOG_PAGES_MOST;
    for (int waited_ms = 0; full && history_sync_is_busy(store->sync); waited_ms++) {
        if (waited_ms >= store->wait_ms) {
            return -EBUSY;
        }
        (void)nanosleep(&slice, NULL);
    }
    return 0;
}

int history_store_write(struct history_store *store, const struct history_batch *batch,
                        int64_t now_ms)
{
    int r = wait_for_log(store);
    r = r < 0 ? r : write_once(store, batch, now_ms);
    if (r == -ENOSPC) { /* of its own bound, or of the disk: what is old makes room in the file */
        r = history_cut(store, now_ms, HISTORY_CUT_MUCH);
        r = r < 0 ? r : write_once(store, batch, now_ms);
    }
    store->alive_ms = r < 0 ? store->alive_ms : now_ms;
    return r < 0 ? r : 0;
}

int history_store_cut(struct history_store *store)
{
    int64_t at = store->alive_ms;
    int r = history_run(store, "BEGIN IMMEDIATE");
    r = r < 0 ? r
              : history_run_before(
                    store, "UPDATE process SET ended = max(began, ?1) WHERE ended IS NULL", at);
    r = r < 0 ? r
              : history_run_before(
                    store,
                    "UPDATE lease SET ended = max(asked, ?1), why = 'while no history was "
                    "kept' WHERE ended IS NULL",
                    at);
    /* Behind the last thing that was seen: what comes next is not to be joined to it. */
    r = r < 0 ? r
              : history_run_before(store,
                                   "INSERT OR IGNORE INTO change SELECT gpu.id,"
                                   " max(?1, (SELECT max(at) FROM change WHERE gpu = gpu.id)) + 1,"
                                   " NULL, NULL FROM gpu WHERE (SELECT used FROM change WHERE"
                                   " gpu = gpu.id ORDER BY at DESC LIMIT 1) IS NOT NULL",
                                   at);
    r = r < 0 ? r
              : history_run_before(store,
                                   "INSERT OR IGNORE INTO look SELECT gpu.id,"
                                   " max(?1, (SELECT max(at) FROM look WHERE gpu = gpu.id)) + 1, 0"
                                   " FROM gpu WHERE (SELECT seen FROM look WHERE gpu = gpu.id"
                                   " ORDER BY at DESC LIMIT 1)",
                                   at);
    r = r < 0 ? r : history_run(store, "COMMIT");
    history_roll_back(store);
    return r < 0 ? r : 0;
}
