/* SPDX-License-Identifier: MIT */
#include "top/asker.h"

#include "common/clock.h"
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S ((uint64_t)1000000000)

enum { ID_MAX = 20 };

struct asker {
    struct vram *vram;
    uint64_t first_period_ns;
    int fd;
    pthread_mutex_t lock; /* over what follows */
    pthread_cond_t changed;
    uint64_t period_ns;
    bool now;
    char end_id[ID_MAX];
    bool fresh;
    struct findings findings;
};

void findings_done(struct findings *findings)
{
    findings->snapshot = vram_snapshot_unref(findings->snapshot);
    findings->leases = vram_lease_list_free(findings->leases);
    past_done(&findings->memory);
    past_done(&findings->processes);
}

static void tell(struct vram *vram, char text[ASKER_TEXT_MAX])
{
    const char *hint = vram_error_hint(vram);
    (void)snprintf(text, ASKER_TEXT_MAX, "%s%s%s", vram_error(vram), hint && hint[0] ? "; " : "",
                   hint ? hint : "");
    for (char *c = text; *c; c++) { /* hints may have two lines */
        *c = *c == '\n' ? ' ' : *c;
    }
}

static void ask(struct vram *vram, const char *end_id, struct findings *findings)
{
    *findings = (struct findings){0};
    if (end_id[0]) {
        if (vram_lease_end(vram, end_id) < 0) {
            tell(vram, findings->said);
        } else {
            (void)snprintf(findings->said, ASKER_TEXT_MAX, "lease %.8s has ended", end_id);
        }
    }
    if (vram_snapshot_take(vram, VRAM_TAKE_ALL, &findings->snapshot) < 0) {
        findings->snapshot = NULL;
        tell(vram, findings->problem);
    }
    /* Who asks a daemon for figures sees its leases; without one there are none. */
    if (vram_leases(vram, 0, 0, &findings->leases) < 0) {
        findings->leases = NULL;
    }
}

/* How it came to this: of the steps before the present one, and who runs now with what it held at most. Where nobody remembers there
 * is none. */
static void ask_past(struct vram *vram, uint64_t period_ns, struct findings *findings)
{
    char target[PAST_TARGET_MAX];
    uint64_t step_s = period_ns / NS_PER_S ? period_ns / NS_PER_S : 1;
    uint64_t span_s = ASKER_STEPS * period_ns / NS_PER_S;
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    uint64_t now_s = (uint64_t)now.tv_sec;
    (void)snprintf(target, sizeof(target),
                   "/v1/history?from=%" PRIu64 "&to=%" PRIu64 "&step=%" PRIu64,
                   now_s > span_s ? now_s - span_s : 0, now_s, step_s);
    if (past_take_memory(vram, target, &findings->memory) < 0) {
        past_done(&findings->memory);
        return;
    }
    (void)snprintf(target, sizeof(target), "/v1/processes?from=%" PRIu64 "&limit=5000", now_s);
    if (past_take_processes(vram, target, &findings->processes) < 0) {
        past_done(&findings->processes);
    }
}

/* Until the time has come or somebody wants something. Called with the lock held. */
static void rest(struct asker *asker, uint64_t begun_ns)
{
    while (!asker->now && !asker->end_id[0]) {
        uint64_t due_ns = begun_ns + asker->period_ns;
        struct timespec due = {(time_t)(due_ns / NS_PER_S), (long)(due_ns % NS_PER_S)};
        if (clock_now_ns() >= due_ns ||
            pthread_cond_timedwait(&asker->changed, &asker->lock, &due) == ETIMEDOUT) {
            return;
        }
    }
}

static void *work(void *data)
{
    struct asker *asker = data;
    char end_id[ID_MAX] = "";
    for (bool first = true;; first = false) {
        struct findings found;
        uint64_t begun_ns = clock_now_ns(), one = 1;
        ask(asker->vram, end_id, &found);
        if (first && found.leases) { /* a daemon runs */
            ask_past(asker->vram, asker->first_period_ns, &found);
        }
        (void)pthread_mutex_lock(&asker->lock);
        if (!found.said[0]) { /* not taken yet, perhaps */
            memcpy(found.said, asker->findings.said, sizeof(found.said));
        }
        if (!first && asker->fresh) { /* nor this */
            found.memory = asker->findings.memory;
            found.processes = asker->findings.processes;
            asker->findings.memory = asker->findings.processes = (struct past){0};
        }
        findings_done(&asker->findings);
        asker->findings = found;
        asker->fresh = true;
        (void)!write(asker->fd, &one, sizeof(one));
        rest(asker, begun_ns);
        memcpy(end_id, asker->end_id, sizeof(end_id));
        asker->end_id[0] = '\0';
        asker->now = false;
        (void)pthread_mutex_unlock(&asker->lock);
    }
    return NULL;
}

static int start_thread(struct asker *asker)
{
    pthread_t thread;
    sigset_t all, before;
    /* Signals are the terminal's: they are for the thread that draws. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&thread, NULL, work, asker);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r == 0 ? pthread_detach(thread) : r;
}

struct asker *asker_start(struct vram *vram, uint64_t period_ns)
{
    struct asker *asker = calloc(1, sizeof(*asker));
    pthread_condattr_t attributes;
    if (!asker) {
        return NULL;
    }
    asker->vram = vram;
    asker->period_ns = asker->first_period_ns = period_ns;
    asker->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&asker->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    (void)pthread_mutex_init(&asker->lock, NULL);
    int r = asker->fd < 0 ? errno : start_thread(asker);
    if (r != 0) {
        if (asker->fd >= 0) {
            (void)close(asker->fd);
        }
        free(asker);
        errno = r;
        return NULL;
    }
    return asker;
}

int asker_fd(const struct asker *asker)
{
    return asker->fd;
}

bool asker_take(struct asker *asker, struct findings *ret_findings)
{
    uint64_t count;
    (void)!read(asker->fd, &count, sizeof(count));
    (void)pthread_mutex_lock(&asker->lock);
    bool fresh = asker->fresh;
    if (fresh) {
        *ret_findings = asker->findings;
        asker->findings = (struct findings){0};
        asker->fresh = false;
    }
    (void)pthread_mutex_unlock(&asker->lock);
    return fresh;
}

void asker_set_period(struct asker *asker, uint64_t period_ns)
{
    (void)pthread_mutex_lock(&asker->lock);
    asker->period_ns = period_ns;
    asker->now = true;
    (void)pthread_cond_signal(&asker->changed);
    (void)pthread_mutex_unlock(&asker->lock);
}

void asker_end(struct asker *asker, const char *id)
{
    (void)pthread_mutex_lock(&asker->lock);
    (void)snprintf(asker->end_id, sizeof(asker->end_id), "%s", id);
    (void)pthread_cond_signal(&asker->changed);
    (void)pthread_mutex_unlock(&asker->lock);
}
