/* SPDX-License-Identifier: MIT */
#include "daemon/history_report_read.h"

#include "daemon/history_store_inner.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define PIECE_MS (7 * INT64_C(86400000)) /* so much of the time is in memory at once */
#define WAIT_MS 2000                     /* while another connection begins the log anew */

/* What is so of one thing: from the last row before a time to the time's end. */
#define SINCE(table, of, columns)                                                                  \
    "SELECT at, " columns " FROM " table " WHERE " of " = ?1 AND at < ?3 AND at >="                \
    " coalesce((SELECT max(at) FROM " table " WHERE " of " = ?1 AND at <= ?2), ?2) ORDER BY at"

#define LIST(type)                                                                                 \
    struct {                                                                                       \
        struct type *items;                                                                        \
        size_t count, capacity;                                                                    \
    }

struct reading {
    struct history_store *store;
    const struct report_question *question;
    const atomic_bool *stop;
    int64_t from_ms, to_ms; /* of the piece */
    sqlite3_stmt *steps_of, *members_of, *looks_of;
    LIST(history_look) looks;
    LIST(history_lease) leases;
    LIST(history_resize) resizes;
    LIST(tally_process) processes;
    LIST(history_step) steps;
    LIST(history_member) members;
};

/* One more of a list; false: there is no room for it. */
static bool grow(void **items, size_t *count, size_t *capacity, size_t size)
{
    if (*count == *capacity) {
        size_t wanted = *capacity ? *capacity * 2 : 64;
        void *grown = reallocarray(*items, wanted, size);
        if (!grown) {
            return false;
        }
        *items = grown;
        *capacity = wanted;
    }
    (*count)++;
    return true;
}

#define ADD(list, row, r)                                                                          \
    do {                                                                                           \
        void *items_of_list = (list).items;                                                        \
        if (grow(&items_of_list, &(list).count, &(list).capacity, sizeof(*(list).items))) {        \
            (list).items = items_of_list;                                                          \
            (list).items[(list).count - 1] = (row);                                                \
        } else {                                                                                   \
            (r) = -ENOMEM;                                                                         \
        }                                                                                          \
    } while (0)

/* ---- Rows ------------------------------------------------------------------------------------ */

/* Asks for what is so of this one in the piece. */
static void ask_of(const struct reading *reading, sqlite3_stmt *statement, uint64_t of)
{
    (void)sqlite3_reset(statement);
    (void)sqlite3_bind_int64(statement, 1, (sqlite3_int64)of);
    (void)sqlite3_bind_int64(statement, 2, reading->from_ms);
    (void)sqlite3_bind_int64(statement, 3, reading->to_ms);
}

static int read_looks(struct reading *reading)
{
    const struct report_question *question = reading->question;
    int r = 0;
    for (size_t i = 0; r >= 0 && i < question->gpu_count; i++) {
        ask_of(reading, reading->looks_of, question->gpus[i].id);
        while (r >= 0 && (r = history_next(reading->store, reading->looks_of)) == 1) {
            struct history_look look = {
                .gpu = question->gpus[i].id,
                .at_ms = sqlite3_column_int64(reading->looks_of, 0),
                .seen = sqlite3_column_int(reading->looks_of, 1) != 0,
            };
            ADD(reading->looks, look, r);
        }
    }
    return r;
}

static int read_steps(struct reading *reading, uint64_t process)
{
    int r = 0;
    ask_of(reading, reading->steps_of, process);
    while (r >= 0 && (r = history_next(reading->store, reading->steps_of)) == 1) {
        struct history_step step = {
            .process = process,
            .at_ms = sqlite3_column_int64(reading->steps_of, 0),
            .used_bytes = history_column_bytes(reading->steps_of, 1),
        };
        ADD(reading->steps, step, r);
    }
    return r;
}

static int read_members(struct reading *reading, uint64_t process)
{
    int r = 0;
    ask_of(reading, reading->members_of, process);
    while (r >= 0 && (r = history_next(reading->store, reading->members_of)) == 1) {
        struct history_member member = {.process = process,
                                        .at_ms = sqlite3_column_int64(reading->members_of, 0)};
        history_column_text(reading->members_of, 1, member.lease, sizeof(member.lease));
        ADD(reading->members, member, r);
    }
    return r;
}

/* A statement about the piece, to be finalized. */
static sqlite3_stmt *ask(const struct reading *reading, const char *sql)
{
    sqlite3_stmt *statement = history_prepare(reading->store, sql);
    if (statement) {
        (void)sqlite3_bind_int64(statement, 1, reading->from_ms);
        (void)sqlite3_bind_int64(statement, 2, reading->to_ms);
    }
    return statement;
}

static bool is_reported_on(const struct report_question *question, uint32_t gpu)
{
    for (size_t i = 0; i < question->gpu_count; i++) {
        if (question->gpus[i].id == gpu) {
            return true;
        }
    }
    return false;
}

static int read_processes(struct reading *reading)
{
    sqlite3_stmt *statement =
        ask(reading, "SELECT id, gpu, began, ended, user FROM process WHERE began < ?2"
                     " AND (ended IS NULL OR ended >= ?1) ORDER BY id");
    int r = 0;
    while (r >= 0 && (r = history_next(reading->store, statement)) == 1) {
        struct tally_process process = {
            .id = (uint64_t)sqlite3_column_int64(statement, 0),
            .gpu = (uint32_t)sqlite3_column_int64(statement, 1),
            .began_ms = history_column_moment(statement, 2),
            .ended_ms = history_column_moment(statement, 3),
        };
        if (!is_reported_on(reading->question, process.gpu)) {
            continue;
        }
        history_column_text(statement, 4, process.user, sizeof(process.user));
        ADD(reading->processes, process, r);
        r = r < 0 ? r : read_steps(reading, process.id);
        r = r < 0 ? r : read_members(reading, process.id);
        r = r >= 0 && atomic_load(reading->stop) ? -ECANCELED : r;
    }
    (void)sqlite3_finalize(statement);
    return r;
}

static int read_leases(struct reading *reading)
{
    sqlite3_stmt *statement =
        ask(reading, "SELECT " HISTORY_LEASE_COLUMNS " FROM lease WHERE asked < ?2"
                     " AND (ended IS NULL OR ended >= ?1) ORDER BY id");
    int r = 0;
    while (r >= 0 && (r = history_next(reading->store, statement)) == 1) {
        struct history_lease lease;
        history_column_lease(statement, &lease);
        ADD(reading->leases, lease, r);
    }
    (void)sqlite3_finalize(statement);
    return r;
}

static int read_resizes(struct reading *reading)
{
    sqlite3_stmt *statement = ask(reading, "SELECT lease, at, was FROM resize WHERE at >= ?1"
                                           " AND ?2 = ?2 ORDER BY lease, at");
    int r = 0;
    while (r >= 0 && (r = history_next(reading->store, statement)) == 1) {
        struct history_resize resize = {.at_ms = sqlite3_column_int64(statement, 1),
                                        .was_bytes = history_column_bytes(statement, 2)};
        history_column_text(statement, 0, resize.lease, sizeof(resize.lease));
        ADD(reading->resizes, resize, r);
    }
    (void)sqlite3_finalize(statement);
    return r;
}

/* ---- Pieces ---------------------------------------------------------------------------------- */

static int read_piece(struct reading *reading, struct tally *tally, int64_t *seen_ms)
{
    const struct report_question *question = reading->question;
    reading->looks.count = reading->leases.count = reading->resizes.count = 0;
    reading->processes.count = reading->steps.count = reading->members.count = 0;
    int r = read_looks(reading);
    r = r < 0 ? r : read_leases(reading);
    r = r < 0 ? r : read_resizes(reading);
    r = r < 0 ? r : read_processes(reading);
    struct tally_rows rows = {
        question->gpus,           question->gpu_count,    reading->looks.items,
        reading->looks.count,     reading->leases.items,  reading->leases.count,
        reading->resizes.items,   reading->resizes.count, reading->processes.items,
        reading->processes.count, reading->steps.items,   reading->steps.count,
        reading->members.items,   reading->members.count};
    for (size_t i = 0; r >= 0 && i < question->gpu_count; i++) {
        seen_ms[i] += tally_seen_ms(&rows, question->gpus[i].id, reading->from_ms, reading->to_ms);
    }
    return r < 0 ? r
                 : tally_add(tally, reading->from_ms, reading->to_ms,
                             reading->to_ms == question->to_ms, &rows);
}

/* What changes meanwhile is not seen: all pieces are of one moment. */
static int read_all(struct reading *reading, struct tally *tally, int64_t *seen_ms)
{
    struct history_store *store = reading->store;
    int r = history_run(store, "BEGIN");
    reading->steps_of = r < 0 ? NULL : history_prepare(store, SINCE("step", "process", "used"));
    reading->members_of =
        r < 0 ? NULL : history_prepare(store, SINCE("member", "process", "lease"));
    reading->looks_of = r < 0 ? NULL : history_prepare(store, SINCE("look", "gpu", "seen"));
    if (r >= 0 && !(reading->steps_of && reading->members_of && reading->looks_of)) {
        r = history_fail(store, store->failure);
    }
    reading->to_ms = reading->question->from_ms;
    while (r >= 0 && reading->to_ms < reading->question->to_ms) {
        reading->from_ms = reading->to_ms;
        reading->to_ms += PIECE_MS;
        if (reading->to_ms > reading->question->to_ms) {
            reading->to_ms = reading->question->to_ms;
        }
        r = atomic_load(reading->stop) ? -ECANCELED : read_piece(reading, tally, seen_ms);
    }
    (void)sqlite3_finalize(reading->steps_of);
    (void)sqlite3_finalize(reading->members_of);
    (void)sqlite3_finalize(reading->looks_of);
    return r;
}

/* A connection that only reads. Only what is there: a file that was taken away meanwhile is not made anew. */
static int open_reader(const char *path, struct history_store *store)
{
    *store = (struct history_store){.lock = -1};
    int failure = sqlite3_open_v2(
        path, &store->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE,
        NULL);
    if (failure != SQLITE_OK) {
        return history_fail(store, failure);
    }
    (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    history_store_wait(store, WAIT_MS);
    return history_run(store, "PRAGMA trusted_schema = OFF; PRAGMA cache_size = -8192;");
}

int history_report_read(const struct report_question *question, const atomic_bool *stop,
                        struct tally *tally, int64_t *ret_seen_ms, int64_t *ret_since_ms,
                        char problem[HISTORY_PROBLEM_MAX])
{
    struct history_store store;
    struct reading reading = {.store = &store, .question = question, .stop = stop};
    int r = open_reader(question->path, &store);
    *ret_since_ms = r < 0 ? 0 : history_store_since_ms(&store);
    r = r < 0 ? r : read_all(&reading, tally, ret_seen_ms);
    (void)snprintf(problem, HISTORY_PROBLEM_MAX, "%s",
                   store.error[0] ? store.error : "out of memory");
    (void)sqlite3_close(store.db);
    free(reading.looks.items);
    free(reading.leases.items);
    free(reading.resizes.items);
    free(reading.processes.items);
    free(reading.steps.items);
    free(reading.members.items);
    return r;
}
