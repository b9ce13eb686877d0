/* SPDX-License-Identifier: MIT */
/* What the store's files share. Every value goes to SQLite bound, never as text of a statement. */
#ifndef VRAM_DAEMON_HISTORY_STORE_INNER_H
#define VRAM_DAEMON_HISTORY_STORE_INNER_H

#include "daemon/history_store.h"
#include "daemon/history_sync.h"

#include <sqlite3.h>

#define HISTORY_SCHEMA 4
#define HISTORY_LOG_PAGES 256          /* in the log, from which on it is brought into the file */
#define HISTORY_LOG_PAGES_MOST 512     /* from which on nothing is added until that is done */
#define HISTORY_APPLICATION 0x7672616D /* "vram", in the file's head */

struct history_store {
    sqlite3 *db;
    struct history_sync *sync; /* NULL: SQLite brings its log into the file by itself */
    int log_pages;             /* after the last transaction */
    int wait_ms;
    int64_t thinned_process,
        pruned_process; /* up to these steps were looked at; 0: from the first */
    char path[HISTORY_PATH_MAX];
    int lock;
    uint64_t max_bytes;
    int64_t alive_ms;
    bool same_boot;
    int failure; /* SQLite's, of the last call that failed */
    char error[HISTORY_PROBLEM_MAX];
};

/* The tiers, finest first. */
struct history_tier {
    int seconds;
    int64_t kept_s;
};
#define HISTORY_TIERS 3
extern const struct history_tier history_tiers[HISTORY_TIERS];
#define HISTORY_KEPT_S ((int64_t)2 * 365 * 86400) /* intervals, leases, events */
#define HISTORY_CHANGES_KEPT_S ((int64_t)6 * 3600)
#define HISTORY_STEPS_KEPT_S                                                                       \
    ((int64_t)48 * 3600) /* as they were; then those of a quarter of an hour together */

/* Keeps what went wrong, and returns it as an errno: -ENOSPC, -EBADMSG, -ENOMEM, -EBUSY, -EIO. */
int history_fail(struct history_store *store, int failure);

/* A statement, to be finalized; NULL: it failed. */
sqlite3_stmt *history_prepare(struct history_store *store, const char *sql);
/* Runs statements that answer nothing. 0 or as history_fail(). */
MUST_CHECK int history_run(struct history_store *store, const char *sql);
/* Steps to the next row: 1; 0: none; negative. */
MUST_CHECK int history_next(struct history_store *store, sqlite3_stmt *statement);
/* A number that a query answers; `otherwise` where it answers none. */
int64_t history_number(struct history_store *store, const char *sql, int64_t otherwise);

/* Runs a statement that takes a moment as its only value. */
MUST_CHECK int history_run_before(struct history_store *store, const char *sql, int64_t before);
/* Where a transaction is open: it was nothing. */
void history_roll_back(struct history_store *store);

/* Drops what is too old, and of the rest some, or much. */
enum history_cut { HISTORY_CUT_NOTHING, HISTORY_CUT_SOME, HISTORY_CUT_MUCH };
MUST_CHECK int history_cut(struct history_store *store, int64_t now_ms, enum history_cut cut);

/* Unknown amounts, and ends that have not come, are NULL. */
void history_bind_bytes(sqlite3_stmt *statement, int at, uint64_t bytes);
void history_bind_moment(sqlite3_stmt *statement, int at, int64_t ms);
void history_bind_text(sqlite3_stmt *statement, int at, const char *text); /* "" is NULL */
uint64_t history_column_bytes(sqlite3_stmt *statement, int at);
int64_t history_column_moment(sqlite3_stmt *statement, int at);
void history_column_text(sqlite3_stmt *statement, int at, char *text, size_t size);

/* The columns of a process, and of a lease, as HISTORY_PROCESS_COLUMNS and HISTORY_LEASE_COLUMNS have them. */
#define HISTORY_PROCESS_COLUMNS                                                                    \
    "id, gpu, pid, start, began, ended, first, last, peak, name, user, unit, container, lease, "   \
    "early"
#define HISTORY_PROCESS_COUNT 15
#define HISTORY_LEASE_COLUMNS                                                                      \
    "id, label, user, pid, size, gpus, asked, granted, ended, why, peak, room, total, whole, "     \
    "steady"
void history_column_process(sqlite3_stmt *statement, struct history_process *process);
void history_column_lease(sqlite3_stmt *statement, struct history_lease *lease);

#endif
