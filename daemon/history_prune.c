/* SPDX-License-Identifier: MIT */
/* The store: how large its file is, and what is thinned and dropped. */
#include "daemon/history_store_inner.h"

#include <inttypes.h>
#include <stdio.h>

#define CUT_PARTS 400       /* of the time there is, the oldest part goes at once */
#define CUT_PARTS_FEW 20    /* where there is no room left at all */
#define STEPS_AT_ONCE 128   /* processes whose steps are looked at */
#define QUARTERS_AT_ONCE 32 /* of a process, that are thinned */
#define QUARTER_MS 900000
#define PAGES_AT_ONCE "64" /* that are given back */
#define FULL_PERCENT 90    /* of what the file may have, from which on something goes */
#define WAL_BYTES ((uint64_t)2 << 20)

/* ---- Size ------------------------------------------------------------------------------------ */

/* What the file itself may have: what is beside it counts too. */
static uint64_t file_bytes(const struct history_store *store)
{
    return store->max_bytes > 4 * WAL_BYTES ? store->max_bytes - WAL_BYTES
                                            : store->max_bytes / 4 * 3;
}

void history_store_bound(struct history_store *store, uint64_t max_bytes)
{
    char sql[64];
    int64_t page = history_number(store, "PRAGMA page_size", 4096);
    store->max_bytes = max_bytes < HISTORY_LEAST_BYTES ? HISTORY_LEAST_BYTES : max_bytes;
    (void)snprintf(sql, sizeof(sql), "PRAGMA max_page_count = %" PRIu64,
                   file_bytes(store) / (uint64_t)page);
    (void)history_number(store, sql, 0); /* one that is larger already is not cut by this */
}

uint64_t history_store_bytes(struct history_store *store)
{
    int64_t page = history_number(store, "PRAGMA page_size", 0);
    int64_t count = history_number(store, "PRAGMA page_count", 0);
    int64_t free = history_number(store, "PRAGMA freelist_count", 0);
    return (uint64_t)((count - free) * page);
}

int history_run_before(struct history_store *store, const char *sql, int64_t before)
{
    sqlite3_stmt *statement = history_prepare(store, sql);
    if (!statement) {
        return history_fail(store, store->failure);
    }
    (void)sqlite3_bind_int64(statement, 1, before);
    int r = history_next(store, statement);
    (void)sqlite3_finalize(statement);
    return r;
}

static int drop_buckets(struct history_store *store, int seconds, int64_t before_s)
{
    sqlite3_stmt *statement = history_prepare(
        store, "DELETE FROM bucket WHERE tier = ?2 AND gpu IN (SELECT id FROM gpu) AND at < ?1");
    if (!statement) {
        return history_fail(store, store->failure);
    }
    (void)sqlite3_bind_int64(statement, 1, before_s);
    (void)sqlite3_bind_int(statement, 2, seconds);
    int r = history_next(store, statement);
    (void)sqlite3_finalize(statement);
    return r;
}

/* The last step before the time that is kept says what a process has held since. */
static int drop_steps_of(struct history_store *store, int64_t process, int64_t before_ms)
{
    sqlite3_stmt *statement =
        history_prepare(store, "DELETE FROM step WHERE process = ?1 AND at <"
                               " (SELECT max(at) FROM step WHERE process = ?1 AND at < ?2)");
    if (!statement) {
        return history_fail(store, store->failure);
    }
    (void)sqlite3_bind_int64(statement, 1, process);
    (void)sqlite3_bind_int64(statement, 2, before_ms);
    int r = history_next(store, statement);
    (void)sqlite3_finalize(statement);
    return r;
}

/* The steps of a quarter of an hour: two are left, if they are more. */
struct quarter {
    int64_t number, first_ms, last_ms;
    size_t count;
    bool known;
    uint64_t last_bytes;
    double sum; /* up to the last one: bytes times ms */
};

static void add_step(struct quarter *quarter, int64_t at_ms, uint64_t used_bytes)
{
    if (!quarter->count++) {
        quarter->first_ms = at_ms;
        quarter->known = true;
    } else {
        quarter->sum += (double)quarter->last_bytes * (double)(at_ms - quarter->last_ms);
    }
    quarter->last_ms = at_ms;
    quarter->last_bytes = used_bytes;
    quarter->known = quarter->known && used_bytes <= INT64_MAX;
}

static int thin_quarter(struct history_store *store, int64_t process, const struct quarter *quarter)
{
    static const char *const statements[] = {
        "UPDATE step SET used = ?4 WHERE process = ?1 AND at = ?2 AND at < ?3",
        "DELETE FROM step WHERE process = ?1 AND at > ?2 AND at < ?3",
    };
    int r = 0;
    for (size_t i = 0; r >= 0 && i < ARRAY_LENGTH(statements); i++) {
        sqlite3_stmt *statement = history_prepare(store, statements[i]);
        if (!statement) {
            return history_fail(store, store->failure);
        }
        double mean = quarter->sum / (double)(quarter->last_ms - quarter->first_ms);
        (void)sqlite3_bind_int64(statement, 1, process);
        (void)sqlite3_bind_int64(statement, 2, quarter->first_ms);
        (void)sqlite3_bind_int64(statement, 3, quarter->last_ms);
        if (i == 0) {
            (void)sqlite3_bind_int64(statement, 4, (sqlite3_int64)(mean + 0.5));
        }
        r = history_next(store, statement);
        (void)sqlite3_finalize(statement);
    }
    return r;
}

/* Finds quarters with more than two steps, all of them known; those of the last two days, for the others were looked at before. */
static int find_quarters(struct history_store *store, int64_t process, int64_t before_ms,
                         struct quarter quarters[QUARTERS_AT_ONCE], size_t *ret_count)
{
    struct quarter now = {.number = -1};
    sqlite3_stmt *statement =
        history_prepare(store, "SELECT at, used FROM step WHERE process = ?1 AND at >= ?2"
                               " AND at < ?3 ORDER BY at");
    int r = statement ? 1 : history_fail(store, store->failure);
    if (statement) {
        (void)sqlite3_bind_int64(statement, 1, process);
        (void)sqlite3_bind_int64(statement, 2, before_ms - HISTORY_STEPS_KEPT_S * 1000);
        (void)sqlite3_bind_int64(statement, 3, before_ms);
    }
    for (*ret_count = 0; r == 1 && *ret_count < QUARTERS_AT_ONCE;) {
        r = history_next(store, statement);
        int64_t at_ms = r == 1 ? sqlite3_column_int64(statement, 0) : INT64_MAX;
        if (at_ms / QUARTER_MS != now.number) {
            if (now.count > 2 && now.known) {
                quarters[(*ret_count)++] = now;
            }
            now = (struct quarter){.number = at_ms / QUARTER_MS};
        }
        if (r == 1) {
            add_step(&now, at_ms, history_column_bytes(statement, 1));
        }
    }
    (void)sqlite3_finalize(statement);
    return r;
}

/*
 * Of each quarter of an hour two steps are left: the last as it was, for it goes on into the next, and the first, which
 * stands for all before the last with their mean in time. So what a process held, summed up over time, stays what it was.
 */
static int thin_steps_of(struct history_store *store, int64_t process, int64_t before_ms)
{
    struct quarter quarters[QUARTERS_AT_ONCE];
    size_t count;
    int r = find_quarters(store, process, before_ms - before_ms % QUARTER_MS, quarters, &count);
    for (size_t i = 0; r >= 0 && i < count; i++) {
        r = thin_quarter(store, process, &quarters[i]);
    }
    return r;
}

typedef int (*steps_function)(struct history_store *store, int64_t process, int64_t before_ms);

/* Those of some processes, going on where it ended the last time: all of them at once would take as long as the table is. */
static int each_steps(struct history_store *store, steps_function each, int64_t *last,
                      int64_t before_ms, size_t most)
{
    int r = 0;
    sqlite3_stmt *next = history_prepare(store, "SELECT min(process) FROM step WHERE process > ?1");
    if (!next) {
        return history_fail(store, store->failure);
    }
    for (size_t i = 0; r >= 0 && i < most; i++) {
        (void)sqlite3_bind_int64(next, 1, *last);
        r = history_next(store, next);
        bool there = r == 1 && sqlite3_column_type(next, 0) == SQLITE_INTEGER;
        *last = there ? sqlite3_column_int64(next, 0) : 0;
        (void)sqlite3_reset(next);
        if (!there) {
            break; /* from the first one on, the next time */
        }
        r = each(store, *last, before_ms);
    }
    (void)sqlite3_finalize(next);
    return r < 0 ? r : 0;
}

static int drop_changes(struct history_store *store, int64_t before_ms)
{
    return history_run_before(
        store, "DELETE FROM change WHERE gpu IN (SELECT id FROM gpu) AND at < ?1", before_ms);
}

static int drop_coarse(struct history_store *store, int64_t before_ms)
{
    static const char *const statements[] = {
        "DELETE FROM step WHERE process IN (SELECT id FROM process WHERE ended < ?1)",
        "DELETE FROM member WHERE process IN (SELECT id FROM process WHERE ended < ?1)",
        "DELETE FROM process WHERE ended < ?1",
        "DELETE FROM resize WHERE lease IN (SELECT id FROM lease WHERE ended < ?1)",
        "DELETE FROM lease WHERE ended < ?1",
        ("DELETE FROM look AS old WHERE gpu IN (SELECT id FROM gpu) AND at <"
         " (SELECT max(at) FROM look WHERE gpu = old.gpu AND at < ?1)"),
        "DELETE FROM event WHERE at < ?1",
    };
    int r = 0;
    for (size_t i = 0; r >= 0 && i < ARRAY_LENGTH(statements); i++) {
        r = history_run_before(store, statements[i], before_ms);
    }
    return r;
}

static int64_t oldest_ms(struct history_store *store)
{
    return history_number(
        store,
        "SELECT min(at) FROM ("
        "SELECT (SELECT min(at) FROM bucket WHERE tier = t.column1 AND gpu = gpu.id) * 1000 AS at"
        " FROM gpu, (VALUES(10), (60), (900)) AS t"
        " UNION ALL SELECT (SELECT min(at) FROM change WHERE gpu = gpu.id) FROM gpu"
        " UNION ALL SELECT min(at) FROM event UNION ALL SELECT min(ended) FROM process"
        " UNION ALL SELECT min(asked) FROM lease)",
        INT64_MAX);
}

/* The oldest part of all that there is. */
static int cut_oldest(struct history_store *store, int64_t now_ms, bool urgent)
{
    int64_t oldest = oldest_ms(store);
    if (oldest >= now_ms) {
        return 0;
    }
    int64_t before_ms = oldest + (now_ms - oldest) / (urgent ? CUT_PARTS_FEW : CUT_PARTS) + 1000;
    int r = drop_changes(store, before_ms);
    r = r < 0 ? r
              : each_steps(store, drop_steps_of, &store->pruned_process, before_ms,
                           urgent ? SIZE_MAX : STEPS_AT_ONCE);
    for (size_t i = 0; r >= 0 && i < HISTORY_TIERS; i++) {
        r = drop_buckets(store, history_tiers[i].seconds, before_ms / 1000);
    }
    return r < 0 ? r : drop_coarse(store, before_ms);
}

static int drop_old(struct history_store *store, int64_t now_ms)
{
    int r = drop_changes(store, now_ms - HISTORY_CHANGES_KEPT_S * 1000);
    r = r < 0 ? r
              : each_steps(store, thin_steps_of, &store->thinned_process,
                           now_ms - HISTORY_STEPS_KEPT_S * 1000, STEPS_AT_ONCE);
    for (size_t i = 0; r >= 0 && i < HISTORY_TIERS; i++) {
        r = drop_buckets(store, history_tiers[i].seconds, now_ms / 1000 - history_tiers[i].kept_s);
    }
    return r < 0 ? r : drop_coarse(store, now_ms - HISTORY_KEPT_S * 1000);
}

void history_roll_back(struct history_store *store)
{
    if (!sqlite3_get_autocommit(store->db)) {
        (void)sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    }
}

int history_cut(struct history_store *store, int64_t now_ms, enum history_cut cut)
{
    int r = history_run(store, "BEGIN IMMEDIATE");
    r = r < 0 ? r : drop_old(store, now_ms);
    r = r < 0 || cut == HISTORY_CUT_NOTHING ? r
                                            : cut_oldest(store, now_ms, cut == HISTORY_CUT_MUCH);
    r = r < 0 ? r : history_run(store, "COMMIT");
    history_roll_back(store);
    return r < 0 ? r : history_run(store, "PRAGMA incremental_vacuum(" PAGES_AT_ONCE ")");
}

int history_store_prune(struct history_store *store, int64_t now_ms)
{
    bool full = history_store_bytes(store) > file_bytes(store) / 100 * FULL_PERCENT;
    return history_cut(store, now_ms, full ? HISTORY_CUT_SOME : HISTORY_CUT_NOTHING);
}
