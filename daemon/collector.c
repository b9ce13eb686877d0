/* SPDX-License-Identifier: MIT */
#include "daemon/collector.h"

#include "common/clock.h"
#include "daemon/log.h"
#include "daemon/process.h"
#include "daemon/spawn.h"
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND_NS ((uint64_t)1000000000)
#define MOST_LEFT 4 /* with so many that cannot be killed no further child is started */
#define BACK_OFF_MAX_S 30
#define PAUSE_KILL_S 1

/* A child process, from its start until it was waited for. */
struct child {
    struct collector *collector;
    pid_t pid;
    bool left;   /* killed, and nobody waits for it */
    bool killed; /* because it did not end when it was told to */
    struct process_watch *watch;
    struct bufferevent *bev;
    struct child *next; /* of those left */
};

struct collector {
    struct event_base *base;
    struct collector_options options;
    sample_function deliver;
    void *data;
    struct child *child, *left;
    size_t left_count;
    struct event *on_overdue, *on_retry, *on_pause_overdue;
    uint32_t wanted;   /* what the next sample must have; meaningful where is_wanted */
    bool is_wanted;    /* somebody asked since the running sample began */
    bool is_running;   /* the child was asked and has not answered */
    bool has_answered; /* this child, ever */
    uint32_t sequence, running_take;
    uint64_t begun_ns;
    unsigned back_off_s;    /* the last one; 0: none */
    uint64_t not_before_ns; /* no child is started */
    bool paused;
    collector_paused_function on_paused;
    void *paused_data;
};

static void start_or_ask(struct collector *collector);

/* ---- Delivering ------------------------------------------------------------------------------ */

static void deliver(struct collector *collector, struct vram_snapshot *snapshot, int result,
                    const struct collector_error *error)
{
    struct sample sample = {
        .snapshot = snapshot,
        .result = result,
        .error = error,
        .take = collector->running_take,
        .begun_ns = collector->begun_ns,
        .ended_ns = clock_now_ns(),
    };
    collector->is_running = false;
    (void)event_del(collector->on_overdue);
    collector->deliver(collector->data, &sample);
}

static void deliver_error(struct collector *collector, int result, const char *code,
                          const char *message, const char *hint)
{
    struct collector_error error = {{0}, {0}, {0}};
    (void)snprintf(error.code, sizeof(error.code), "%s", code);
    (void)snprintf(error.message, sizeof(error.message), "%s", message);
    (void)snprintf(error.hint, sizeof(error.hint), "%s", hint);
    deliver(collector, NULL, result, &error);
}

/* ---- The child's end ------------------------------------------------------------------------- */

static void child_free(struct child *child)
{
    (void)process_watch_free(child->watch);
    if (child->bev) {
        bufferevent_free(child->bev);
    }
    free(child);
}

static void hang_up(struct child *child)
{
    if (child->bev) {
        bufferevent_free(child->bev);
        child->bev = NULL;
    }
}

static void forget_left(struct collector *collector, struct child *child)
{
    struct child **at = &collector->left;
    while (*at && *at != child) {
        at = &(*at)->next;
    }
    if (*at) {
        *at = child->next;
        collector->left_count--;
    }
}

/* The running child is nobody's any more: it may die when it can. */
static void leave(struct collector *collector, struct child *child)
{
    hang_up(child);
    (void)kill(child->pid, SIGKILL); /* not waited for yet, so the pid is still its own */
    child->left = true;
    child->next = collector->left;
    collector->left = child;
    collector->left_count++;
    collector->child = NULL;
}

static void paused_now(struct collector *collector)
{
    collector_paused_function paused = collector->on_paused;
    collector->on_paused = NULL;
    if (paused) {
        paused(collector->paused_data);
    }
}

/* There is no child: the next is started at once where this one was good, else after a while. */
static void plan_next(struct collector *collector, bool was_good)
{
    unsigned next = collector->back_off_s ? collector->back_off_s * 2 : 1;
    collector->back_off_s = was_good ? 0 : next < BACK_OFF_MAX_S ? next : BACK_OFF_MAX_S;
    collector->not_before_ns = clock_now_ns() + collector->back_off_s * SECOND_NS;
    if (collector->paused) {
        paused_now(collector);
    } else if (collector->is_wanted) {
        start_or_ask(collector);
    }
}

static void describe_end(const siginfo_t *info, char *message, size_t size)
{
    if (info->si_code == CLD_EXITED) {
        (void)snprintf(message, size, "the process that asks the driver ended with status %d",
                       info->si_status);
    } else {
        (void)snprintf(message, size,
                       "the process that asks the driver was ended by signal %d (%s)",
                       info->si_status, strsignal(info->si_status));
    }
}

static void on_child_ended(void *data)
{
    struct child *child = data;
    struct collector *collector = child->collector;
    siginfo_t info = {.si_pid = 0};
    char message[128];
    (void)waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG);
    if (child->left) {
        forget_left(collector, child);
        child_free(child);
        if (collector->is_wanted && !collector->child) {
            start_or_ask(collector);
        }
        return;
    }
    bool was_good = collector->has_answered;
    bool was_running = collector->is_running;
    collector->child = NULL;
    child_free(child);
    if (!collector->paused) {
        describe_end(&info, message, sizeof(message));
        log_line(LOG_LINE_WARNING, "%s", message);
    }
    if (was_running && !was_good && !collector->paused) {
        deliver_error(collector, -EIO, "collector_ended", message,
                      "the driver's library may have ended it; it is started again");
    } else if (was_running) {
        collector->is_running = false;
        collector->is_wanted = !collector->paused; /* the same question again */
        collector->wanted |= collector->running_take;
        (void)event_del(collector->on_overdue);
    }
    plan_next(collector, was_good);
}

/* The child answers nothing, though the library in it has deadlines: it is stopped, or stuck as a whole. */
static void on_overdue(evutil_socket_t none, short what, void *data)
{
    struct collector *collector = data;
    (void)none;
    (void)what;
    if (!collector->child) {
        return;
    }
    log_line(LOG_LINE_WARNING, "the process that asks the driver (%ld) does not answer; killed",
             (long)collector->child->pid);
    leave(collector, collector->child);
    if (collector->is_running) {
        deliver_error(collector, -ETIMEDOUT, "driver_hung", "the driver does not answer",
                      "a call into it has not returned; `vram doctor` says more");
    }
    plan_next(collector, false);
}

/* ---- Asking ---------------------------------------------------------------------------------- */

/* At once, and not with the loop's next turn: whoever asks waits for it. */
static int send_bytes(struct bufferevent *bev, const void *bytes, size_t size)
{
    bool waits = evbuffer_get_length(bufferevent_get_output(bev)) > 0;
    ssize_t sent =
        waits ? 0 : send(bufferevent_getfd(bev), bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    size_t done = sent > 0 ? (size_t)sent : 0;
    return done == size ? 0 : bufferevent_write(bev, (const char *)bytes + done, size - done);
}

static void send_request(struct collector *collector)
{
    struct collector_request request = {
        .sequence = ++collector->sequence,
        .take = collector->wanted,
    };
    uint64_t limit_ns = 3 * (collector->options.call_timeout_ns / 1000) * 1000 + 2 * SECOND_NS;
    struct timeval limit = {(time_t)(limit_ns / SECOND_NS),
                            (suseconds_t)(limit_ns % SECOND_NS / 1000)};
    collector->running_take = collector->wanted;
    collector->wanted = 0;
    collector->is_wanted = false;
    collector->is_running = true;
    collector->begun_ns = clock_now_ns();
    (void)event_add(collector->on_overdue, &limit);
    if (send_bytes(collector->child->bev, &request, sizeof(request)) < 0) {
        on_overdue(-1, 0, collector);
    }
}

/* Takes one whole reply out of the buffer. Returns false where there is none yet. */
static bool take_reply(struct collector *collector, struct evbuffer *input)
{
    struct collector_reply head;
    struct vram_snapshot *snapshot;
    if (evbuffer_copyout(input, &head, sizeof(head)) < (ev_ssize_t)sizeof(head)) {
        return false;
    }
    bool wrong = head.sequence != collector->sequence || !collector->is_running ||
                 head.size > COLLECTOR_REPLY_MAX ||
                 (head.result < 0 && head.size != sizeof(struct collector_error));
    if (!wrong && evbuffer_get_length(input) < sizeof(head) + head.size) {
        return false;
    }
    const unsigned char *bytes =
        wrong ? NULL : evbuffer_pullup(input, (ev_ssize_t)(sizeof(head) + head.size));
    int r = wrong ? -EBADMSG : bytes ? 0 : -ENOMEM;
    if (r == 0 && head.result < 0) {
        struct collector_error error;
        memcpy(&error, bytes + sizeof(head), sizeof(error));
        error.code[sizeof(error.code) - 1] = '\0';
        error.message[sizeof(error.message) - 1] = '\0';
        error.hint[sizeof(error.hint) - 1] = '\0';
        (void)evbuffer_drain(input, sizeof(head) + head.size);
        collector->has_answered = true;
        deliver(collector, NULL, head.result, &error);
        return true;
    }
    r = r == 0 ? vram_snapshot_unpack(bytes + sizeof(head), head.size, &snapshot) : r;
    if (r < 0) {
        on_overdue(-1, 0, collector); /* nothing that follows could be believed */
        return false;
    }
    (void)evbuffer_drain(input, sizeof(head) + head.size);
    collector->has_answered = true;
    collector->back_off_s = 0;
    deliver(collector, snapshot, 0, NULL);
    (void)vram_snapshot_unref(snapshot);
    return true;
}

static void on_reply(struct bufferevent *bev, void *data)
{
    struct child *child = data;
    struct collector *collector = child->collector;
    if (take_reply(collector, bufferevent_get_input(bev)) && collector->is_wanted &&
        !collector->is_running && collector->child == child) {
        send_request(collector);
    }
}

static void on_retry(evutil_socket_t none, short what, void *data)
{
    struct collector *collector = data;
    (void)none;
    (void)what;
    start_or_ask(collector);
}

/* 0 or negative errno. */
static int start_child(struct collector *collector)
{
    int socket, pidfd, r = -ENOMEM;
    struct child *child = calloc(1, sizeof(*child));
    if (!child) {
        return r;
    }
    r = spawn_collector(collector->options.driver, &child->pid, &socket);
    if (r < 0) {
        free(child);
        return r;
    }
    child->collector = collector;
    child->bev = bufferevent_socket_new(collector->base, socket, BEV_OPT_CLOSE_ON_FREE);
    r = child->bev ? process_open(child->pid, VRAM_UNKNOWN, &pidfd) : -ENOMEM;
    if (r == -ESRCH) { /* ended already, and still there to be waited for */
        r = -EIO;
    }
    r = r < 0 ? r : process_watch_new(collector->base, pidfd, on_child_ended, child, &child->watch);
    if (r < 0) {
        (void)kill(child->pid, SIGKILL);
        (void)waitid(P_PID, (id_t)child->pid, NULL, WEXITED);
        child_free(child);
        return r;
    }
    bufferevent_setcb(child->bev, on_reply, NULL, NULL, child);
    (void)bufferevent_enable(child->bev, EV_READ | EV_WRITE);
    collector->child = child;
    collector->has_answered = false;
    return 0;
}

static void start_or_ask(struct collector *collector)
{
    uint64_t now_ns = clock_now_ns();
    if (collector->paused || collector->is_running || !collector->is_wanted) {
        return;
    }
    if (!collector->child && now_ns < collector->not_before_ns) {
        uint64_t wait_us = (collector->not_before_ns - now_ns) / 1000 + 1;
        struct timeval wait = {(time_t)(wait_us / 1000000), (suseconds_t)(wait_us % 1000000)};
        (void)event_add(collector->on_retry, &wait);
        return;
    }
    if (!collector->child && collector->left_count < MOST_LEFT) {
        int r = start_child(collector);
        if (r < 0) {
            log_line(LOG_LINE_ERROR, "the process that asks the driver cannot be started: %s",
                     strerror(-r));
            plan_next(collector, false);
            return;
        }
    }
    if (collector->child) {
        send_request(collector);
    }
}

void collector_ask(struct collector *collector, uint32_t take)
{
    collector->wanted |= take;
    collector->is_wanted = true;
    start_or_ask(collector);
}

void collector_ask_unless_running(struct collector *collector, uint32_t take, uint64_t max_age_ns)
{
    bool serves = collector->is_running && (take & ~collector->running_take) == 0 &&
                  collector_running_ns(collector) <= max_age_ns;
    if (!serves) {
        collector_ask(collector, take);
    }
}

bool collector_is_asked(const struct collector *collector)
{
    return collector->is_wanted || collector->is_running;
}

/* ---- Pause ----------------------------------------------------------------------------------- */

static const struct timeval pause_limit = {PAUSE_KILL_S, 0};

/* It does not end by itself, then not when it is killed. */
static void on_pause_overdue(evutil_socket_t none, short what, void *data)
{
    struct collector *collector = data;
    struct child *child = collector->child;
    (void)none;
    (void)what;
    if (!collector->paused || !child) {
        return;
    }
    if (!child->killed) {
        child->killed = true;
        (void)kill(child->pid, SIGKILL);
        (void)event_add(collector->on_pause_overdue, &pause_limit);
    } else {
        leave(collector, child);
        paused_now(collector);
    }
}

void collector_pause(struct collector *collector, collector_paused_function paused, void *data)
{
    collector->paused = true;
    collector->on_paused = paused;
    collector->paused_data = data;
    collector->is_wanted = false;
    collector->wanted = 0;
    collector->is_running = false;
    (void)event_del(collector->on_overdue);
    (void)event_del(collector->on_retry);
    if (!collector->child) {
        paused_now(collector);
    } else {
        hang_up(collector->child);
        (void)event_add(collector->on_pause_overdue, &pause_limit);
    }
}

void collector_resume(struct collector *collector)
{
    collector->paused = false;
    collector->back_off_s = 0;
    collector->not_before_ns = 0;
    if (collector->child && !collector->child->bev) {
        leave(collector, collector->child); /* it was told to end, and has not yet */
    }
    paused_now(collector);
}

uint64_t collector_running_ns(const struct collector *collector)
{
    return collector->is_running ? clock_now_ns() - collector->begun_ns : 0;
}

bool collector_is_paused(const struct collector *collector)
{
    return collector->paused;
}

size_t collector_left(const struct collector *collector)
{
    return collector->left_count;
}

pid_t collector_pid(const struct collector *collector)
{
    return collector->child ? collector->child->pid : 0;
}

/* ---- Life ------------------------------------------------------------------------------------ */

struct collector *collector_new(struct event_base *base, const struct collector_options *options,
                                sample_function deliver_sample, void *data)
{
    struct collector *collector = calloc(1, sizeof(*collector));
    if (!collector) {
        return NULL;
    }
    collector->base = base;
    collector->options = *options;
    collector->deliver = deliver_sample;
    collector->data = data;
    collector->on_overdue = event_new(base, -1, 0, on_overdue, collector);
    collector->on_retry = event_new(base, -1, 0, on_retry, collector);
    collector->on_pause_overdue = event_new(base, -1, 0, on_pause_overdue, collector);
    return collector->on_overdue && collector->on_retry && collector->on_pause_overdue
               ? collector
               : collector_free(collector);
}

struct collector *collector_free(struct collector *collector)
{
    if (!collector) {
        return NULL;
    }
    if (collector->child) {
        leave(collector, collector->child);
    }
    while (collector->left) {
        struct child *child = collector->left;
        collector->left = child->next;
        child_free(child);
    }
    struct event *events[] = {collector->on_overdue, collector->on_retry,
                              collector->on_pause_overdue};
    for (size_t i = 0; i < ARRAY_LENGTH(events); i++) {
        if (events[i]) {
            event_free(events[i]);
        }
    }
    free(collector);
    return NULL;
}
