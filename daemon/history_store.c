/* SPDX-License-Identifier: MIT */
/* The store: its file, its schema, its lock, and what becomes of a file that is no good. */
#include "daemon/history_store_inner.h"

#include "common/text.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define ASIDE_MOST 9 /* files of one kind that were set aside; the last one is overwritten */
#define MAGIC "SQLite format 3"

/* auto_vacuum and page_size count before the first table is made only. */
static const char pragmas[] = "PRAGMA auto_vacuum = INCREMENTAL;"
                              "PRAGMA journal_mode = WAL;"
                              "PRAGMA synchronous = NORMAL;"
                              "PRAGMA cache_size = -512;"
                              "PRAGMA journal_size_limit = 2097152;"
                              "PRAGMA wal_autocheckpoint = 256;"
                              "PRAGMA foreign_keys = OFF;"
                              "PRAGMA trusted_schema = OFF;";

/* Who counted for which lease, how large leases were before, and when processes were looked at. */
#define FOR_REPORTS                                                                                \
    "CREATE TABLE member(process INTEGER, at INTEGER, lease TEXT, PRIMARY KEY(process, at))"       \
    " WITHOUT ROWID;"                                                                              \
    "CREATE TABLE resize(lease TEXT, at INTEGER, was INTEGER, PRIMARY KEY(lease, at))"             \
    " WITHOUT ROWID;"                                                                              \
    "CREATE TABLE look(gpu INTEGER, at INTEGER, seen INTEGER, PRIMARY KEY(gpu, at)) WITHOUT "      \
    "ROWID;"

static const char schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE gpu(id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, name TEXT, number INTEGER,"
    " total INTEGER, pci TEXT, mig INTEGER);"
    "CREATE TABLE change(gpu INTEGER, at INTEGER, used INTEGER, free INTEGER,"
    " PRIMARY KEY(gpu, at)) WITHOUT ROWID;"
    "CREATE TABLE bucket(tier INTEGER, gpu INTEGER, at INTEGER, low INTEGER, mean INTEGER,"
    " high INTEGER, free INTEGER, weight INTEGER, PRIMARY KEY(tier, gpu, at)) WITHOUT ROWID;"
    "CREATE TABLE process(id INTEGER PRIMARY KEY, gpu INTEGER, pid INTEGER, start INTEGER,"
    " began INTEGER, ended INTEGER, first INTEGER, last INTEGER, peak INTEGER, name TEXT,"
    " user TEXT, unit TEXT, container TEXT, lease TEXT, early INTEGER);"
    "CREATE INDEX process_began ON process(began);"
    "CREATE INDEX process_ended ON process(ended);"
    "CREATE TABLE step(process INTEGER, at INTEGER, used INTEGER,"
    " PRIMARY KEY(process, at)) WITHOUT ROWID;"
    "CREATE TABLE lease(id TEXT PRIMARY KEY, label TEXT, user TEXT, pid INTEGER, size INTEGER,"
    " gpus TEXT, asked INTEGER, granted INTEGER, ended INTEGER, why TEXT, peak INTEGER,"
    " room INTEGER, total INTEGER, whole INTEGER, steady INTEGER) WITHOUT ROWID;" FOR_REPORTS
    "CREATE INDEX lease_asked ON lease(asked);"
    "CREATE INDEX lease_label ON lease(label);"
    "CREATE TABLE event(id INTEGER PRIMARY KEY, at INTEGER, kind INTEGER, gpu INTEGER,"
    " pid INTEGER, bytes INTEGER, name TEXT, user TEXT, lease TEXT, text TEXT);"
    "CREATE INDEX event_at ON event(at);"
    "PRAGMA application_id = 1987207533;" /* HISTORY_APPLICATION */
    "PRAGMA user_version = 4;"            /* HISTORY_SCHEMA */
    "COMMIT;";

_Static_assert(HISTORY_APPLICATION == 1987207533 && HISTORY_SCHEMA == 4, "as the schema says");

/* What a file of each earlier version lacks of the next one. */
static const char *const upgrades[HISTORY_SCHEMA] = {
    [1] = "ALTER TABLE gpu ADD COLUMN mig INTEGER;",
    [2] = "ALTER TABLE lease ADD COLUMN peak INTEGER;"
          "ALTER TABLE lease ADD COLUMN room INTEGER;"
          "ALTER TABLE lease ADD COLUMN total INTEGER;"
          "ALTER TABLE lease ADD COLUMN whole INTEGER;"
          "ALTER TABLE lease ADD COLUMN steady INTEGER;"
          "CREATE INDEX lease_label ON lease(label);",
    [3] = FOR_REPORTS,
};

/* ---- Failures -------------------------------------------------------------------------------- */

static int errno_of(int failure)
{
    switch (failure & 0xFF) {
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_SCHEMA:
        return -EBADMSG;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    default:
        return -EIO;
    }
}

int history_fail(struct history_store *store, int failure)
{
    store->failure = failure;
    (void)snprintf(store->error, sizeof(store->error), "%s",
                   store->db ? sqlite3_errmsg(store->db) : sqlite3_errstr(failure));
    return errno_of(failure);
}

const char *history_store_error(const struct history_store *store)
{
    return store->error;
}

bool history_store_is_damaged(const struct history_store *store)
{
    return errno_of(store->failure) == -EBADMSG;
}

void history_store_wait(struct history_store *store, int ms)
{
    store->wait_ms = ms;
    (void)sqlite3_busy_timeout(store->db, ms);
}

bool history_store_has_threads(void)
{
    return sqlite3_threadsafe() != 0;
}

const char *history_store_path(const struct history_store *store)
{
    return store->path;
}

/* ---- Statements ------------------------------------------------------------------------------ */

sqlite3_stmt *history_prepare(struct history_store *store, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    int failure = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);
    if (failure != SQLITE_OK) {
        /* The tables were looked at when the file was opened: what is missing by now was damaged. */
        (void)history_fail(store, failure == SQLITE_ERROR ? SQLITE_CORRUPT : failure);
        return NULL;
    }
    return statement;
}

int history_run(struct history_store *store, const char *sql)
{
    int failure = sqlite3_exec(store->db, sql, NULL, NULL, NULL);
    return failure == SQLITE_OK ? 0 : history_fail(store, failure);
}

int history_next(struct history_store *store, sqlite3_stmt *statement)
{
    int failure = statement ? sqlite3_step(statement) : store->failure;
    if (failure == SQLITE_ROW) {
        return 1;
    }
    return failure == SQLITE_DONE ? 0 : history_fail(store, failure);
}

int64_t history_number(struct history_store *store, const char *sql, int64_t otherwise)
{
    sqlite3_stmt *statement = history_prepare(store, sql);
    bool there = statement && history_next(store, statement) == 1 &&
                 sqlite3_column_type(statement, 0) == SQLITE_INTEGER;
    int64_t number = there ? sqlite3_column_int64(statement, 0) : otherwise;
    (void)sqlite3_finalize(statement);
    return number;
}

void history_bind_bytes(sqlite3_stmt *statement, int at, uint64_t bytes)
{
    if (bytes > INT64_MAX) {
        (void)sqlite3_bind_null(statement, at);
    } else {
        (void)sqlite3_bind_int64(statement, at, (sqlite3_int64)bytes);
    }
}

void history_bind_moment(sqlite3_stmt *statement, int at, int64_t ms)
{
    if (ms == HISTORY_RUNNING) {
        (void)sqlite3_bind_null(statement, at);
    } else {
        (void)sqlite3_bind_int64(statement, at, ms);
    }
}

void history_bind_text(sqlite3_stmt *statement, int at, const char *text)
{
    if (text[0]) {
        (void)sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC);
    } else {
        (void)sqlite3_bind_null(statement, at);
    }
}

uint64_t history_column_bytes(sqlite3_stmt *statement, int at)
{
    int64_t value = sqlite3_column_int64(statement, at);
    return sqlite3_column_type(statement, at) != SQLITE_INTEGER || value < 0 ? UINT64_MAX
                                                                             : (uint64_t)value;
}

int64_t history_column_moment(sqlite3_stmt *statement, int at)
{
    return sqlite3_column_type(statement, at) == SQLITE_INTEGER
               ? sqlite3_column_int64(statement, at)
               : HISTORY_RUNNING;
}

/* The file may have been written to by others: what comes out of it is as hostile as what goes in. */
void history_column_text(sqlite3_stmt *statement, int at, char *text, size_t size)
{
    history_text(text, size, (const char *)sqlite3_column_text(statement, at));
}

/* ---- Setting aside --------------------------------------------------------------------------- */

/* "FILE.damaged", or where that is there "FILE.damaged.2" … */
static void name_aside(const char *path, const char *why, char *aside, size_t size)
{
    (void)snprintf(aside, size, "%s.%s", path, why);
    for (int i = 2; i <= ASIDE_MOST && access(aside, F_OK) == 0; i++) {
        (void)snprintf(aside, size, "%s.%s.%d", path, why, i);
    }
}

/* The file, and what SQLite has beside it: the last transactions are there. */
static int rename_all(const char *path, const char *aside)
{
    static const char *const suffixes[] = {"-wal", "-shm"};
    char from[HISTORY_PATH_MAX + 8], to[HISTORY_PATH_MAX + 40];
    if (rename(path, aside) < 0) {
        return -errno;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(suffixes); i++) {
        (void)snprintf(from, sizeof(from), "%s%s", path, suffixes[i]);
        (void)snprintf(to, sizeof(to), "%s%s", aside, suffixes[i]);
        if (rename(from, to) < 0) {
            (void)unlink(from); /* never beside a new file */
        }
    }
    return 0;
}

static int set_aside(const char *path, const char *why, const char *what,
                     char problem[HISTORY_PROBLEM_MAX])
{
    char aside[HISTORY_PATH_MAX + 32];
    name_aside(path, why, aside, sizeof(aside));
    int r = rename_all(path, aside);
    if (r < 0) {
        (void)snprintf(problem, HISTORY_PROBLEM_MAX, "%.200s %s, and cannot be renamed: %s", path,
                       what, strerror(-r));
    } else {
        (void)snprintf(problem, HISTORY_PROBLEM_MAX, "%.200s %s: it is kept as %.230s", path, what,
                       aside);
    }
    return r;
}

static struct history_store *drop(struct history_store *store)
{
    store->sync = history_sync_stop(store->sync);
    if (store->db) {
        (void)sqlite3_close(store->db);
    }
    if (store->lock >= 0) {
        (void)close(store->lock);
    }
    free(store);
    return NULL;
}

void history_store_set_aside(struct history_store *store, char problem[HISTORY_PROBLEM_MAX])
{
    store->sync = history_sync_stop(store->sync);
    (void)sqlite3_close(store->db);
    store->db = NULL;
    (void)set_aside(store->path, "damaged", "is damaged", problem);
    (void)drop(store);
}

/* ---- Opening --------------------------------------------------------------------------------- */

/* Only what is missing is made; the last part is the user's alone. */
static int make_directories(const char *path)
{
    char directory[HISTORY_PATH_MAX];
    (void)text_copy(directory, sizeof(directory), path);
    for (char *slash = strchr(directory + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(directory, 0700) < 0 && errno != EEXIST) {
            return -errno;
        }
        *slash = '/';
    }
    return 0;
}

static int take_lock(struct history_store *store)
{
    char path[HISTORY_PATH_MAX + 8];
    (void)snprintf(path, sizeof(path), "%s.lock", store->path);
    store->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (store->lock < 0) {
        return -errno;
    }
    return flock(store->lock, LOCK_EX | LOCK_NB) < 0 ? -EBUSY : 0;
}

/* Whether the file may be renamed where it is no good: it is SQLite's, or called like one of ours. */
static bool is_ours_to_move(const char *path)
{
    char head[sizeof(MAGIC)] = "";
    const char *dot = strrchr(path, '.');
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t length = fd < 0 ? -1 : read(fd, head, sizeof(head));
    if (fd >= 0) {
        (void)close(fd);
    }
    return (length == (ssize_t)sizeof(head) && memcmp(head, MAGIC, sizeof(MAGIC)) == 0) ||
           (dot && strcmp(dot, ".db") == 0);
}

/* A file that is there, and no file: SQLite would say only that it cannot open it. */
static int look_at(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    return S_ISREG(st.st_mode) ? 0 : -EEXIST;
}

static int open_db(struct history_store *store)
{
    int failure = sqlite3_open_v2(store->path, &store->db,
                                  SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                                      SQLITE_OPEN_PRIVATECACHE,
                                  NULL);
    if (failure != SQLITE_OK) {
        return history_fail(store, failure);
    }
    (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_busy_timeout(store->db, 0);
    (void)sqlite3_extended_result_codes(store->db, 1);
    return 0;
}

/* A step from one version to the next is all of it or nothing: a file is of one of them. */
static int upgrade(struct history_store *store, int64_t version)
{
    int r = version < 1 ? -EBADMSG : 0;
    for (; r == 0 && version < HISTORY_SCHEMA; version++) {
        char sql[768];
        (void)snprintf(sql, sizeof(sql), "BEGIN IMMEDIATE;%sPRAGMA user_version = %d;COMMIT;",
                       upgrades[version], (int)version + 1);
        r = history_run(store, sql);
        if (r < 0 && !sqlite3_get_autocommit(store->db)) {
            (void)sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
        }
    }
    return r;
}

/* Whose file it is, and of which version. 0; -EEXIST: somebody else's; -EPROTO: a newer vram's. */
static int examine(struct history_store *store)
{
    int64_t application = history_number(store, "PRAGMA application_id", -1);
    int64_t version = history_number(store, "PRAGMA user_version", -1);
    int64_t tables = history_number(store, "SELECT count(*) FROM sqlite_schema", -1);
    if (application < 0 || version < 0 || tables < 0) {
        return errno_of(store->failure);
    }
    if (application == 0 && version == 0 && tables == 0) {
        int r = history_run(store, pragmas);
        return r < 0 ? r : history_run(store, schema);
    }
    if (application != HISTORY_APPLICATION) {
        return -EEXIST;
    }
    if (version > HISTORY_SCHEMA) {
        return -EPROTO;
    }
    int r = history_run(store, pragmas);
    return r < 0 ? r : upgrade(store, version);
}

/* Whether every table is there and can be read at its end, where a torn file lacks something. */
static int probe(struct history_store *store)
{
    static const char *const queries[] = {
        "SELECT max(key) FROM meta",
        "SELECT max(id), uuid, name, number, total, pci, mig FROM gpu",
        "SELECT gpu, at, used, free FROM change ORDER BY gpu DESC, at DESC LIMIT 1",
        "SELECT tier, gpu, at, low, mean, high, free, weight FROM bucket"
        " ORDER BY tier DESC, gpu DESC, at DESC LIMIT 1",
        "SELECT " HISTORY_PROCESS_COLUMNS " FROM process ORDER BY id DESC LIMIT 1",
        "SELECT process, at, used FROM step ORDER BY process DESC, at DESC LIMIT 1",
        "SELECT process, at, lease FROM member ORDER BY process DESC, at DESC LIMIT 1",
        "SELECT gpu, at, seen FROM look ORDER BY gpu DESC, at DESC LIMIT 1",
        "SELECT " HISTORY_LEASE_COLUMNS " FROM lease ORDER BY id DESC LIMIT 1",
        "SELECT lease, at, was FROM resize ORDER BY lease DESC, at DESC LIMIT 1",
        "SELECT id, at, kind, gpu, pid, bytes, name, user, lease, text FROM event"
        " ORDER BY id DESC LIMIT 1",
    };
    int r = 0;
    for (size_t i = 0; r >= 0 && i < ARRAY_LENGTH(queries); i++) {
        sqlite3_stmt *statement = history_prepare(store, queries[i]);
        r = statement ? history_next(store, statement) : errno_of(store->failure);
        (void)sqlite3_finalize(statement);
    }
    return r < 0 ? r : 0;
}

static int read_meta(struct history_store *store, const char *boot)
{
    sqlite3_stmt *statement =
        history_prepare(store, "SELECT 1 FROM meta WHERE key = 'boot' AND value = ?1");
    if (!statement) {
        return errno_of(store->failure);
    }
    history_bind_text(statement, 1, boot);
    store->same_boot = history_next(store, statement) == 1;
    (void)sqlite3_finalize(statement);
    store->alive_ms = history_number(store, "SELECT value FROM meta WHERE key = 'alive'", 0);
    statement = history_prepare(store, "INSERT OR REPLACE INTO meta VALUES('boot', ?1)");
    if (!statement) {
        return errno_of(store->failure);
    }
    history_bind_text(statement, 1, boot);
    int r = history_next(store, statement);
    (void)sqlite3_finalize(statement);
    return r;
}

static int open_file(struct history_store *store, const char *boot)
{
    int r = open_db(store);
    r = r < 0 ? r : examine(store);
    r = r < 0 ? r : probe(store);
    return r < 0 ? r : read_meta(store, boot);
}

/* The file as it is; where it is no good, another in its place. */
static int open_or_begin(struct history_store *store, const struct history_store_options *options,
                         char problem[HISTORY_PROBLEM_MAX])
{
    int r = open_file(store, options->boot);
    bool newer = r == -EPROTO;
    if ((r != -EBADMSG && !newer) || !is_ours_to_move(store->path)) {
        return r == -EBADMSG ? -EEXIST : r;
    }
    (void)sqlite3_close(store->db);
    store->db = NULL;
    r = set_aside(store->path, newer ? "newer" : "damaged",
                  newer ? "was written by a newer vram" : "is damaged", problem);
    return r < 0 ? r : open_file(store, options->boot);
}

static void explain(const struct history_store *store, int r, char problem[HISTORY_PROBLEM_MAX])
{
    const char *why = r == -EBUSY       ? "another daemon writes it"
                      : r == -EEXIST    ? "it is something else"
                      : store->error[0] ? store->error
                                        : strerror(-r);
    if (!problem[0]) {
        (void)snprintf(problem, HISTORY_PROBLEM_MAX, "%.200s: %.250s", store->path, why);
    }
}

static int on_commit(void *data, sqlite3 *db, const char *name, int pages)
{
    struct history_store *store = data;
    (void)db;
    (void)name;
    store->log_pages = pages;
    if (pages >= HISTORY_LOG_PAGES) {
        history_sync_poke(store->sync);
    }
    return SQLITE_OK;
}

int history_store_open(const struct history_store_options *options,
                       struct history_store **ret_store, char problem[HISTORY_PROBLEM_MAX])
{
    struct history_store *store = calloc(1, sizeof(*store));
    problem[0] = '\0';
    if (!store) {
        (void)snprintf(problem, HISTORY_PROBLEM_MAX, "out of memory");
        return -ENOMEM;
    }
    store->lock = -1;
    int r = text_copy(store->path, sizeof(store->path), options->path) < strlen(options->path)
                ? -ENAMETOOLONG
                : make_directories(options->path);
    r = r < 0 ? r : look_at(store->path);
    r = r < 0 ? r : take_lock(store);
    mode_t mask = umask(0077);
    r = r < 0 ? r : open_or_begin(store, options, problem);
    (void)umask(mask);
    if (r < 0) {
        explain(store, r, problem);
        (void)drop(store);
        return r;
    }
    history_store_bound(store, options->max_bytes);
    store->sync = history_sync_start(store->path);
    if (store->sync) {
        (void)sqlite3_wal_hook(store->db, on_commit, store); /* instead of SQLite's own */
    }
    *ret_store = store;
    return 0;
}

struct history_store *history_store_close(struct history_store *store)
{
    return store ? drop(store) : NULL;
}
