/* SPDX-License-Identifier: MIT */
#include "daemon/history_sync.h"

#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

struct history_sync {
    pthread_t thread;
    char *path;
    pthread_mutex_t lock; /* over what follows */
    pthread_cond_t changed;
    bool poked, working, ending;
};

/*
 * Whoever writes first into a log that is all in the file begins it anew, and waits until its head is on the disk. That is done here
 * too, by a row that says nothing. What fails is tried again at the next poke: the loop hears of it where it matters, when it
 * cannot write.
 */
static void move_log(sqlite3 *db)
{
    int in_log = 0, moved = 0;
    int failure = sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, &in_log, &moved);
    if (failure == SQLITE_OK && in_log > 0 && in_log == moved) {
        (void)sqlite3_exec(db,
                           "INSERT INTO meta VALUES('logs', 1) ON CONFLICT DO UPDATE"
                           " SET value = value + 1",
                           NULL, NULL, NULL);
    }
}

/* Only what is there: a file that has been taken away meanwhile is not made anew. */
static sqlite3 *open_db(const char *path)
{
    sqlite3 *db = NULL;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    if (sqlite3_open_v2(path, &db, flags, NULL) == SQLITE_OK &&
        sqlite3_exec(db, "PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0;", NULL, NULL,
                     NULL) == SQLITE_OK) {
        return db;
    }
    (void)sqlite3_close(db);
    return NULL;
}

/* Whether there is something to do; else it is to end. */
static bool wait_for_poke(struct history_sync *sync)
{
    (void)pthread_mutex_lock(&sync->lock);
    sync->working = false;
    while (!sync->poked && !sync->ending) {
        (void)pthread_cond_wait(&sync->changed, &sync->lock);
    }
    bool go_on = !sync->ending;
    sync->poked = false;
    sync->working = go_on;
    (void)pthread_mutex_unlock(&sync->lock);
    return go_on;
}

static void *work(void *data)
{
    struct history_sync *sync = data;
    sqlite3 *db = NULL;
    while (wait_for_poke(sync)) {
        db = db ? db : open_db(sync->path);
        if (db) {
            move_log(db);
        }
    }
    (void)sqlite3_close(db);
    return NULL;
}

/* Signals are the loop's. */
static int start_thread(struct history_sync *sync)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&sync->thread, NULL, work, sync);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}

static struct history_sync *sync_free(struct history_sync *sync)
{
    (void)pthread_mutex_destroy(&sync->lock);
    (void)pthread_cond_destroy(&sync->changed);
    free(sync->path);
    free(sync);
    return NULL;
}

struct history_sync *history_sync_start(const char *path)
{
    struct history_sync *sync = sqlite3_threadsafe() ? calloc(1, sizeof(*sync)) : NULL;
    if (!sync) {
        return NULL;
    }
    (void)pthread_mutex_init(&sync->lock, NULL);
    (void)pthread_cond_init(&sync->changed, NULL);
    sync->path = strdup(path);
    return sync->path && start_thread(sync) == 0 ? sync : sync_free(sync);
}

void history_sync_poke(struct history_sync *sync)
{
    (void)pthread_mutex_lock(&sync->lock);
    sync->poked = true;
    (void)pthread_cond_signal(&sync->changed);
    (void)pthread_mutex_unlock(&sync->lock);
}

bool history_sync_is_busy(struct history_sync *sync)
{
    (void)pthread_mutex_lock(&sync->lock);
    bool busy = sync->poked || sync->working;
    (void)pthread_mutex_unlock(&sync->lock);
    return busy;
}

struct history_sync *history_sync_stop(struct history_sync *sync)
{
    if (sync) {
        (void)pthread_mutex_lock(&sync->lock);
        sync->ending = true;
        (void)pthread_cond_signal(&sync->changed);
        (void)pthread_mutex_unlock(&sync->lock);
        (void)pthread_join(sync->thread, NULL);
        (void)sync_free(sync);
    }
    return NULL;
}
