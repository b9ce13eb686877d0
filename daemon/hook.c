/* SPDX-License-Identifier: MIT */
#include "daemon/hook.h"

#include "common/clock.h"
#include "common/text.h"
#include "daemon/history_events.h"
#include "daemon/log.h"
#include "daemon/process.h"
#include "daemon/spawn.h"
#include "include/vram.h"
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND_NS ((uint64_t)1000000000)
#define QUEUE_MAX 64
#define EACH_NS SECOND_NS          /* what one run costs of the credit, which grows with time */
#define CREDIT_NS (60 * SECOND_NS) /* and is this at most */
#define LOGGED_MAX 1024            /* bytes of what a run writes */
#define READ_MAX 65536
#define LINE_MAX 240
#define AGAIN_NS (3600 * SECOND_NS) /* until the same trouble is told again */

enum trouble {
    TROUBLE_START,
    TROUBLE_MISSING,
    TROUBLE_STATUS,
    TROUBLE_SIGNAL,
    TROUBLE_TIME,
    TROUBLE_OUTPUT,
    TROUBLE_MANY,
    TROUBLES,
};

struct entry {
    struct history_event event;
    struct history_gpu gpu; /* id 0: none */
};

struct hook {
    struct event_base *base;
    char command[HOOK_COMMAND_MAX];
    uint32_t kinds;
    uint64_t limit_ns;

    struct entry queue[QUEUE_MAX]; /* a ring */
    size_t first, count;
    uint64_t dropped; /* since the last one that was told */
    uint64_t credit_ns, counted_ns;

    pid_t pid; /* 0: none runs */
    bool timed_out;
    struct process_watch *watch;
    int output; /* -1: nobody reads it */
    struct event *on_output, *on_limit, *on_credit;
    size_t read_bytes, logged_bytes, line_length;
    char line[LINE_MAX];

    uint64_t said_ns[TROUBLES];
    uint64_t results[HOOK_RESULTS];
};

static void run_next(struct hook *hook);

/* ---- Trouble --------------------------------------------------------------------------------- */

static bool may_say(struct hook *hook, enum trouble trouble)
{
    uint64_t now_ns = clock_now_ns();
    bool may = !hook->said_ns[trouble] || now_ns - hook->said_ns[trouble] >= AGAIN_NS;
    if (may) {
        hook->said_ns[trouble] = now_ns;
    }
    return may;
}

static void say_end(struct hook *hook, const siginfo_t *info)
{
    bool exited = info->si_code == CLD_EXITED;
    if (hook->timed_out) {
        if (may_say(hook, TROUBLE_TIME)) {
            log_line(LOG_LINE_WARNING,
                     "on_event: the command did not end within %" PRIu64
                     " ms and was killed: let it "
                     "hand on its work, or raise on_event_timeout",
                     hook->limit_ns / 1000000);
        }
    } else if (exited && (info->si_status == 126 || info->si_status == 127)) {
        if (may_say(hook, TROUBLE_MISSING)) {
            log_line(LOG_LINE_WARNING,
                     "on_event: /bin/sh cannot run `%s` (status %d): is it there, may it be run, "
                     "and is its path absolute?",
                     hook->command, info->si_status);
        }
    } else if (exited && may_say(hook, TROUBLE_STATUS)) {
        log_line(LOG_LINE_WARNING,
                 "on_event: the command ended with status %d: run it by hand with an event on its "
                 "input",
                 info->si_status);
    } else if (!exited && may_say(hook, TROUBLE_SIGNAL)) {
        log_line(LOG_LINE_WARNING, "on_event: the command was ended by signal %d (%s)",
                 info->si_status, strsignal(info->si_status));
    }
}

/* ---- What it writes -------------------------------------------------------------------------- */

static void log_output(struct hook *hook)
{
    char text[LINE_MAX];
    if (hook->line_length) {
        hook->line[hook->line_length] = '\0';
        history_text(text, sizeof(text), hook->line);
        log_line(LOG_LINE_INFO, "on_event: the command says: %s", text);
        hook->line_length = 0;
    }
}

static void take_output(struct hook *hook, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length && hook->logged_bytes < LOGGED_MAX; i++, hook->logged_bytes++) {
        if (bytes[i] == '\n') {
            log_output(hook);
        } else if (bytes[i]) {
            hook->line[hook->line_length++] = bytes[i];
            if (hook->line_length == LINE_MAX - 1) {
                log_output(hook);
            }
        }
    }
}

/* Who writes on after this is told so by SIGPIPE. */
static void close_output(struct hook *hook)
{
    if (hook->output >= 0) {
        log_output(hook);
        event_free(hook->on_output);
        hook->on_output = NULL;
        (void)close(hook->output);
        hook->output = -1;
    }
}

/* What there is, as far as it is wanted. */
static void read_output(struct hook *hook)
{
    char bytes[4096];
    ssize_t n = 0;
    while (hook->output >= 0 && (n = read(hook->output, bytes, sizeof(bytes))) > 0) {
        take_output(hook, bytes, (size_t)n);
        hook->read_bytes += (size_t)n;
        if (hook->read_bytes >= READ_MAX) {
            if (may_say(hook, TROUBLE_OUTPUT)) {
                log_line(LOG_LINE_WARNING,
                         "on_event: the command writes more than %d bytes and is not read any "
                         "longer: send its output elsewhere",
                         READ_MAX);
            }
            close_output(hook);
        }
    }
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        close_output(hook);
    }
}

static void on_output(evutil_socket_t fd, short what, void *data)
{
    (void)fd;
    (void)what;
    read_output(data);
}

/* ---- A run ----------------------------------------------------------------------------------- */

static void kill_group(const struct hook *hook)
{
    (void)kill(-hook->pid, SIGKILL);
    (void)kill(hook->pid, SIGKILL); /* it may not lead a group yet */
}

static void on_limit(evutil_socket_t none, short what, void *data)
{
    struct hook *hook = data;
    (void)none;
    (void)what;
    hook->timed_out = true;
    kill_group(hook);
}

/* The group keeps its number until its leader is waited for: what is left of it is killed before. */
static void on_ended(void *data)
{
    struct hook *hook = data;
    siginfo_t info = {.si_pid = 0};
    kill_group(hook);
    (void)waitid(P_PID, (id_t)hook->pid, &info, WEXITED | WNOHANG);
    read_output(hook);
    close_output(hook);
    (void)event_del(hook->on_limit);
    hook->watch = process_watch_free(hook->watch);
    hook->pid = 0;
    bool well = info.si_code == CLD_EXITED && info.si_status == 0 && !hook->timed_out;
    hook->results[well ? HOOK_DONE : hook->timed_out ? HOOK_TIMED_OUT : HOOK_FAILED]++;
    if (!well) {
        say_end(hook, &info);
    }
    run_next(hook);
}

/* The line that it reads. Its length; negative: out of memory. */
static int write_entry(const struct hook *hook, const struct entry *entry, struct buf *buf)
{
    struct json json = JSON_INIT(buf);
    json_object(&json, NULL);
    json_number(&json, "schema", 1);
    history_event_write(&json, &entry->event, entry->gpu.id ? &entry->gpu : NULL);
    json_number(&json, "dropped", hook->dropped);
    json_end_object(&json);
    buf_text(buf, "\n");
    return buf->failed ? -ENOMEM : (int)buf->length;
}

/* From here on it is seen to until it has ended. */
static int watch(struct hook *hook, int output)
{
    struct timeval limit = {(time_t)(hook->limit_ns / SECOND_NS),
                            (suseconds_t)(hook->limit_ns % SECOND_NS / 1000)};
    int pidfd;
    hook->output = output;
    hook->on_output = event_new(hook->base, output, EV_READ | EV_PERSIST, on_output, hook);
    if (!hook->on_output) {
        return -ENOMEM;
    }
    int r = process_open_child(hook->pid, &pidfd);
    r = r < 0 ? r : process_watch_new(hook->base, pidfd, on_ended, hook, &hook->watch);
    r = r < 0 ? r : event_add(hook->on_output, NULL) < 0 ? -ENOMEM : 0;
    return r < 0 ? r : event_add(hook->on_limit, &limit) < 0 ? -ENOMEM : 0;
}

static int start(struct hook *hook, const struct entry *entry)
{
    static char shell[] = "/bin/sh", option[] = "-c";
    char *arguments[] = {shell, option, hook->command, NULL};
    struct buf buf = BUF_INIT;
    int output = -1, r = write_entry(hook, entry, &buf);
    struct spawn_command command = {.arguments = arguments, .text = buf.data, .length = buf.length};
    r = r < 0 ? r : spawn_command(&command, &hook->pid, &output);
    buf_done(&buf);
    if (r < 0) {
        hook->pid = 0;
        return r;
    }
    hook->timed_out = false;
    hook->read_bytes = hook->logged_bytes = hook->line_length = 0;
    r = watch(hook, output);
    if (r < 0) {
        kill_group(hook);
        (void)waitid(P_PID, (id_t)hook->pid, NULL, WEXITED);
        hook->watch = process_watch_free(hook->watch);
        close_output(hook);
        hook->pid = 0;
    }
    return r;
}

/* Whether one may be run now; else it is tried again when one may. */
static bool take_credit(struct hook *hook)
{
    uint64_t now_ns = clock_now_ns(), grown_ns = hook->credit_ns + (now_ns - hook->counted_ns);
    hook->credit_ns = grown_ns < CREDIT_NS ? grown_ns : CREDIT_NS;
    hook->counted_ns = now_ns;
    if (hook->credit_ns >= EACH_NS) {
        hook->credit_ns -= EACH_NS;
        return true;
    }
    uint64_t wait_us = (EACH_NS - hook->credit_ns) / 1000 + 1;
    struct timeval wait = {(time_t)(wait_us / 1000000), (suseconds_t)(wait_us % 1000000)};
    (void)event_add(hook->on_credit, &wait);
    return false;
}

static void run_next(struct hook *hook)
{
    while (hook->pid == 0 && hook->count > 0 && take_credit(hook)) {
        const struct entry *entry = &hook->queue[hook->first];
        int r = start(hook, entry);
        hook->first = (hook->first + 1) % QUEUE_MAX;
        hook->count--;
        if (r == 0) {
            hook->dropped = 0;
            return;
        }
        hook->results[HOOK_FAILED]++;
        if (may_say(hook, TROUBLE_START)) {
            log_line(LOG_LINE_WARNING, "on_event: the command cannot be started: %s", strerror(-r));
        }
    }
}

static void on_credit(evutil_socket_t none, short what, void *data)
{
    (void)none;
    (void)what;
    run_next(data);
}

/* ---- What is told ---------------------------------------------------------------------------- */

void hook_tell(struct hook *hook, const struct history_event *event, const struct history_gpu *gpu)
{
    if (!hook->command[0] || (hook->kinds && !(hook->kinds >> event->kind & 1))) {
        return;
    }
    if (hook->count == QUEUE_MAX) {
        hook->dropped++;
        hook->results[HOOK_DROPPED]++;
        if (may_say(hook, TROUBLE_MANY)) {
            log_line(LOG_LINE_WARNING,
                     "on_event: more happens than the command is run for: some is left out, and "
                     "counted; name what matters in on_event_kinds");
        }
        return;
    }
    struct entry *entry = &hook->queue[(hook->first + hook->count++) % QUEUE_MAX];
    entry->event = *event;
    entry->gpu = gpu ? *gpu : (struct history_gpu){.id = 0};
    run_next(hook);
}

void hook_configure(struct hook *hook, const struct hook_options *options)
{
    bool is_other = strcmp(hook->command, options->command) != 0;
    if (is_other) {
        memset(hook->said_ns, 0, sizeof(hook->said_ns));
        (void)text_copy(hook->command, sizeof(hook->command), options->command);
    }
    hook->kinds = options->kinds;
    hook->limit_ns = options->limit_ns;
    if (!hook->command[0]) {
        hook->count = 0;
        hook->dropped = 0;
    }
}

const uint64_t *hook_results(const struct hook *hook)
{
    return hook->results;
}

/* ---- Life ------------------------------------------------------------------------------------ */

struct hook *hook_new(struct event_base *base)
{
    struct hook *hook = calloc(1, sizeof(*hook));
    if (!hook) {
        return NULL;
    }
    hook->base = base;
    hook->output = -1;
    hook->credit_ns = CREDIT_NS;
    hook->counted_ns = clock_now_ns();
    hook->on_limit = event_new(base, -1, 0, on_limit, hook);
    hook->on_credit = event_new(base, -1, 0, on_credit, hook);
    return hook->on_limit && hook->on_credit ? hook : hook_free(hook);
}

struct hook *hook_free(struct hook *hook)
{
    if (!hook) {
        return NULL;
    }
    if (hook->pid) {
        kill_group(hook);
        (void)waitid(P_PID, (id_t)hook->pid, NULL, WEXITED | WNOHANG);
        hook->watch = process_watch_free(hook->watch);
    }
    close_output(hook);
    if (hook->on_limit) {
        event_free(hook->on_limit);
    }
    if (hook->on_credit) {
        event_free(hook->on_credit);
    }
    free(hook);
    return NULL;
}
