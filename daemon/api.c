/* SPDX-License-Identifier: MIT */
/* The API that docs/api.md describes: routes, figures, pause. */
#include "common/clock.h"
#include "common/utc.h"
#include "daemon/daemon.h"
#include "daemon/fit.h"
#include "daemon/history.h"
#include "daemon/listener.h"
#include "daemon/log.h"
#include "daemon/page.h"
#include "daemon/process.h"
#include "daemon/promises.h"
#include "daemon/scrape.h"
#include "daemon/stream.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAUSED_MESSAGE "vramd has let go of the driver"
#define PAUSED_HINT "`vram resume` takes it up again"
#define LATE_MS 1000 /* beyond the time of one driver call */
#define REMOTE_AGE_MS 1000

/* ---- /v1/daemon ------------------------------------------------------------------------------ */

bool daemon_is_promising(const struct daemon *daemon, const char **ret_reason, char *message,
                         size_t size)
{
    const char *sentence = "";
    const char *reason = daemon->promises && daemon->promises->trouble
                             ? daemon->promises->trouble(daemon->promises_data, &sentence)
                             : NULL;
    if (collector_is_paused(daemon->collector)) {
        reason = "paused";
        (void)snprintf(message, size, "%s; %s", PAUSED_MESSAGE, PAUSED_HINT);
    } else if (!grantor_is_ours(daemon->grantor)) {
        pid_t holder = grantor_holder(daemon->grantor);
        char who[64] = "another daemon";
        if (holder > 0) {
            (void)snprintf(who, sizeof(who), "process %ld", (long)holder);
        }
        reason = "other_daemon";
        (void)snprintf(message, size, "%s promises this machine's memory; ask there, or stop it",
                       who);
    } else if (reason) {
        (void)snprintf(message, size, "%s", sentence);
    }
    *ret_reason = reason;
    return reason == NULL;
}

void api_write_daemon(struct daemon *daemon, struct json *json, const char *key)
{
    char message[DAEMON_MESSAGE_MAX] = "", since[UTC_TEXT_MAX];
    const char *reason;
    bool promising = daemon_is_promising(daemon, &reason, message, sizeof(message));
    pid_t collector = collector_pid(daemon->collector);
    json_object(json, key);
    if (!key) {
        json_number(json, "schema", 1);
    }
    json_number(json, "pid", (uint64_t)getpid());
    json_text(json, "version", vram_version());
    json_text(json, "driver", daemon->options.endpoint->driver);
    json_bool(json, "promising", promising);
    json_text(json, "reason", reason);
    json_text(json, "message", reason ? message : NULL);
    json_bool(json, "paused", collector_is_paused(daemon->collector));
    json_text(json, "since", utc_format(daemon->since_ns, since));
    if (daemon->config.margin.bytes || !daemon->config.margin.millipercent) {
        json_number(json, "margin_bytes", daemon->config.margin.bytes);
    } else {
        json_null(json, "margin_bytes"); /* a part of each GPU's total */
    }
    json_text(json, "listen", listener_address(daemon));
    if (collector > 0) {
        json_number(json, "collector_pid", (uint64_t)collector);
    } else {
        json_null(json, "collector_pid");
    }
    json_end_object(json);
}

static void answer_buf(struct http_request *request, struct buf *buf)
{
    char *text = buf_steal(buf, NULL);
    http_answer(request, 200, text);
    free(text);
}

static void get_daemon(struct daemon *daemon, struct http_request *request)
{
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    api_write_daemon(daemon, &json, NULL);
    answer_buf(request, &buf);
}

/* ---- /v1/snapshot ---------------------------------------------------------------------------- */

static bool parse_take(const char *text, uint32_t *ret_take)
{
    static const struct {
        const char *word;
        uint32_t take;
    } words[] = {{"processes", VRAM_TAKE_PROCESSES},
                 {"commands", VRAM_TAKE_COMMANDS | VRAM_TAKE_PROCESSES},
                 {"health", VRAM_TAKE_HEALTH}};
    uint32_t take = 0;
    while (*text) {
        size_t length = strcspn(text, ","), i = 0;
        while (i < ARRAY_LENGTH(words) &&
               (strlen(words[i].word) != length || strncmp(words[i].word, text, length) != 0)) {
            i++;
        }
        if (i == ARRAY_LENGTH(words)) {
            return false;
        }
        take |= words[i].take;
        text += length + (text[length] == ',');
    }
    *ret_take = take;
    return true;
}

static uint32_t wanted_take(const struct http_request *request)
{
    const char *text = http_query(request, "take");
    uint32_t take = VRAM_TAKE_PROCESSES | VRAM_TAKE_HEALTH;
    if (text) {
        (void)parse_take(text, &take); /* looked at when it arrived */
    }
    return take;
}

/* What a sample must have so that its figures and what is promised of them are of one moment. */
static uint32_t needed_take(const struct daemon *daemon, const struct http_request *request)
{
    return wanted_take(request) |
           (daemon->promises ? daemon->promises->take(daemon->promises_data) : 0);
}

/* How a snapshot looks to who asks for it. */
struct view {
    struct daemon *daemon;
    const struct vram_snapshot *snapshot;
    const struct peer *peer; /* NULL: it has ended */
    bool with_commands, sees_all;
};

static const struct vram_process *process_at(const struct view *view, size_t gpu, size_t process)
{
    return &vram_snapshot_gpu(view->snapshot, gpu)->processes[process];
}

static const char *view_lease(void *data, size_t gpu, size_t process)
{
    const struct view *view = data;
    const struct daemon *daemon = view->daemon;
    return daemon->promises->lease(daemon->promises_data, process_at(view, gpu, process));
}

/* Command lines hold secrets: they are told to those who could read them in /proc of a machine that hides them. */
static bool view_hides_command(void *data, size_t gpu, size_t process)
{
    const struct view *view = data;
    const struct vram_process *of = process_at(view, gpu, process);
    struct process_stat stat;
    uid_t uid;
    if (!view->with_commands || !view->peer) {
        return true;
    }
    return !view->sees_all &&
           (!of->visible || process_uid("", (pid_t)of->pid, &uid) < 0 || uid != view->peer->uid ||
            process_stat("", (pid_t)of->pid, &stat) < 0 || stat.start_time != of->start_time);
}

static int promise(struct view *view, struct vram_snapshot **ret_snapshot)
{
    struct daemon *daemon = view->daemon;
    struct vram_promises promises = VRAM_PROMISES_INIT;
    int r = 0;
    if (daemon->promises) {
        r = daemon->promises->fill(daemon->promises_data, view->peer, view->snapshot, &promises);
        promises.lease = view_lease;
    }
    promises.epoch = daemon->epoch;
    promises.hide_command = view_hides_command;
    promises.data = view;
    return r < 0 ? r : vram_snapshot_promise(view->snapshot, &promises, ret_snapshot);
}

/* The library's object with ours in it. */
static void write_snapshot(struct daemon *daemon, const char *text, struct buf *buf)
{
    struct json json = JSON_INIT(buf);
    buf_add(buf, text, strlen(text) - 1); /* all but its closing bracket */
    json.comma = true;
    api_write_daemon(daemon, &json, "daemon");
    buf_char(buf, '}');
}

/* 0 or -ENOMEM. */
static int write_view(struct view *view, struct buf *buf)
{
    struct vram_snapshot *promised;
    char *text;
    int r = promise(view, &promised);
    if (r == 0) {
        r = vram_snapshot_json(promised, NULL, 0, &text);
        (void)vram_snapshot_unref(promised);
    }
    if (r == 0) {
        write_snapshot(view->daemon, text, buf);
        free(text);
        r = buf->failed ? -ENOMEM : 0;
    }
    return r;
}

int api_write_snapshot(struct daemon *daemon, const struct vram_snapshot *snapshot, struct buf *buf)
{
    struct view view = {.daemon = daemon, .snapshot = snapshot};
    return write_view(&view, buf);
}

static void answer_figures(struct daemon *daemon, struct http_request *request,
                           const struct vram_snapshot *snapshot)
{
    struct view view = {
        .daemon = daemon,
        .snapshot = snapshot,
        .with_commands = wanted_take(request) & VRAM_TAKE_COMMANDS,
    };
    struct buf buf = BUF_INIT;
    if (http_peer(request, &view.peer) < 0) {
        view.peer = NULL;
    }
    view.sees_all = view.peer && rights_admin(&daemon->rights, view.peer);
    if (write_view(&view, &buf) < 0) {
        buf.failed = true;
    }
    answer_buf(request, &buf);
}

/* Figures that could not be had anew are better than none, and carry their time; but a driver that does not start has
 * none. */
static void answer_without(struct daemon *daemon, struct http_request *request, int result,
                           const struct collector_error *error)
{
    bool may_return = result == -ETIMEDOUT || result == -EIO;
    if (may_return && daemon->snapshot) {
        answer_figures(daemon, request, daemon->snapshot);
    } else if (error) {
        http_fail(request, 503, error->code, -result, error->hint, "%s", error->message);
    } else {
        http_fail(request, 503, "driver_hung", ETIMEDOUT, NULL,
                  "the driver does not answer, and nothing is known of its GPUs yet");
    }
}

static void answer_sampled(void *data, struct http_request *request, enum parked_end end,
                           const struct sample *sample)
{
    struct daemon *daemon = data;
    if (end != PARKED_SAMPLE) {
        answer_without(daemon, request, -ETIMEDOUT, NULL);
    } else if (sample->snapshot) {
        answer_figures(daemon, request, sample->snapshot);
    } else {
        answer_without(daemon, request, sample->result, sample->error);
    }
}

static void fail_paused(struct http_request *request)
{
    http_fail(request, 503, "paused", ENODEV, PAUSED_HINT, "%s", PAUSED_MESSAGE);
}

static bool are_fresh(const struct daemon *daemon, uint32_t take, uint64_t max_age_ms)
{
    uint64_t age_ns = clock_now_ns() - daemon->snapshot_begun_ns;
    return daemon->snapshot && (take & ~daemon->snapshot_take) == 0 &&
           age_ns / 1000000 <= max_age_ms && max_age_ms > 0;
}

/* Answers with figures that are at most so old. */
static void answer_fresh(struct daemon *daemon, struct http_request *request, uint64_t max_age_ms)
{
    struct parked_wish wish = {
        .for_sample = true,
        .take = needed_take(daemon, request),
        .max_age_ns = max_age_ms < UINT64_MAX / 1000000 ? max_age_ms * 1000000 : UINT64_MAX,
        .timeout_ms = daemon->options.call_timeout_ns / 1000000 + LATE_MS,
        .answer = answer_sampled,
        .data = daemon,
    };
    if (collector_is_paused(daemon->collector)) {
        fail_paused(request);
    } else if (are_fresh(daemon, wish.take, max_age_ms)) {
        answer_figures(daemon, request, daemon->snapshot);
    } else if (parking_add(daemon->parking, request, &wish) < 0) {
        http_fail_memory(request);
    } else {
        collector_ask_unless_running(daemon->collector, wish.take, wish.max_age_ns);
    }
}

/* Another epoch, or the time is over: the figures of now, which are as new as the epoch. */
static void answer_changed(void *data, struct http_request *request, enum parked_end end,
                           const struct sample *sample)
{
    struct daemon *daemon = data;
    (void)end;
    (void)sample;
    if (daemon->snapshot && !collector_is_paused(daemon->collector) &&
        (needed_take(daemon, request) & ~daemon->snapshot_take) == 0) {
        answer_figures(daemon, request, daemon->snapshot);
    } else {
        answer_fresh(daemon, request, 0);
    }
}

static void fail_parameter(struct http_request *request, const char *name, const char *what)
{
    http_fail(request, 400, "bad_request", EINVAL, NULL, "%s %s", name, what);
}

int api_park(struct daemon *daemon, struct http_request *request, parked_function answer)
{
    uint64_t after = 0, timeout_ms = UINT64_MAX;
    if (http_query_number(request, "after", &after) < 0) {
        fail_parameter(request, "after", "is not an epoch");
        return -EINVAL;
    }
    if (http_query_number(request, "timeout_ms", &timeout_ms) < 0) {
        fail_parameter(request, "timeout_ms", "is not a number");
        return -EINVAL;
    }
    if (!http_query(request, "after") || after != daemon->epoch) {
        return 0;
    }
    struct parked_wish wish = {
        .for_epoch = true,
        .after = after,
        .timeout_ms = timeout_ms,
        .answer = answer,
        .data = daemon,
    };
    if (parking_add(daemon->parking, request, &wish) < 0) {
        http_fail_memory(request);
        return -ENOMEM;
    }
    figures_poll(daemon);
    return 1;
}

static void get_snapshot(struct daemon *daemon, struct http_request *request)
{
    uint64_t max_age_ms = 0;
    uint32_t take;
    const char *text = http_query(request, "take");
    if (text && !parse_take(text, &take)) {
        fail_parameter(request, "take", "is a list with commas of processes, commands and health");
    } else if (http_query_number(request, "max_age_ms", &max_age_ms) < 0) {
        fail_parameter(request, "max_age_ms", "is not a number");
    } else if (api_park(daemon, request, answer_changed) == 0) {
        /* Nobody in particular does not drive the driver. */
        bool may_age = http_is_remote(request) && max_age_ms < REMOTE_AGE_MS;
        answer_fresh(daemon, request, may_age ? REMOTE_AGE_MS : max_age_ms);
    }
}

/* ---- Pause ----------------------------------------------------------------------------------- */

/* Who may take the driver from everybody. */
static bool is_admin(const struct daemon *daemon, struct http_request *request)
{
    const struct peer *peer;
    if (http_peer(request, &peer) == 0 && rights_admin(&daemon->rights, peer)) {
        return true;
    }
    http_fail(request, 403, "forbidden", EPERM, "root may, or the user that vramd runs as",
              "only an administrator may do that");
    return false;
}

static void answer_paused(struct daemon *daemon, struct http_request *request)
{
    if (collector_left(daemon->collector) > 0) {
        http_fail(request, 503, "driver_hung", EBUSY,
                  "it is stuck in a call that does not return; the machine must be restarted",
                  "a process that asks the driver cannot be ended");
    } else {
        get_daemon(daemon, request);
    }
}

static void answer_when_let_go(void *data, struct http_request *request, enum parked_end end,
                               const struct sample *sample)
{
    struct daemon *daemon = data;
    struct parked_wish wish = {.for_epoch = true, /* on_paused() makes it another */
                               .after = daemon->epoch,
                               .timeout_ms = UINT64_MAX,
                               .answer = answer_when_let_go,
                               .data = daemon};
    (void)end;
    (void)sample;
    if (collector_pid(daemon->collector) == 0) {
        answer_paused(daemon, request);
    } else if (parking_add(daemon->parking, request, &wish) < 0) {
        http_fail_memory(request);
    }
}

static void promising_changed(struct daemon *daemon)
{
    if (daemon->promises) {
        daemon->promises->promising_changed(daemon->promises_data);
    }
    daemon_changed(daemon);
}

static void on_paused(void *data)
{
    struct daemon *daemon = data;
    log_line(LOG_LINE_NOTICE, "paused: the driver is free of this daemon");
    daemon_changed(daemon);
}

/* Who waits for figures hears at once that there will be none. */
static void turn_away_waiting(struct daemon *daemon)
{
    static const struct collector_error error = {"paused", PAUSED_MESSAGE, PAUSED_HINT};
    struct sample none = {
        .result = -ENODEV, .error = &error, .take = UINT32_MAX, .begun_ns = UINT64_MAX};
    parking_sampled(daemon->parking, &none);
}

static void post_pause(struct daemon *daemon, struct http_request *request)
{
    if (!is_admin(daemon, request)) {
        return;
    }
    if (!collector_is_paused(daemon->collector)) {
        collector_pause(daemon->collector, on_paused, daemon);
        promising_changed(daemon);
        turn_away_waiting(daemon);
    }
    answer_when_let_go(daemon, request, PARKED_EPOCH, NULL);
}

static void post_resume(struct daemon *daemon, struct http_request *request)
{
    if (!is_admin(daemon, request)) {
        return;
    }
    if (collector_is_paused(daemon->collector)) {
        collector_resume(daemon->collector);
        log_line(LOG_LINE_NOTICE, "resumed");
        promising_changed(daemon);
        figures_poll(daemon);
    }
    get_daemon(daemon, request);
}

/* ---- Routes ---------------------------------------------------------------------------------- */

static const struct route {
    const char *method, *path; /* a path that ends with a slash stands for all that begin so */
    void (*handle)(struct daemon *daemon, struct http_request *request);
    bool is_for_reading; /* over TCP too */
} routes[] = {
    {"GET", "/metrics", scrape_answer, true},
    {"GET", "/v1/daemon", get_daemon, true},
    {"GET", "/v1/snapshot", get_snapshot, true},
    {"GET", "/v1/leases", promises_list, true},
    {"GET", "/v1/holders", promises_holders, true},
    {"GET", "/v1/needs", history_get_needs, false},
    {"DELETE", "/v1/needs", history_forget_need, false},
    {"POST", "/v1/pause", post_pause, false},
    {"POST", "/v1/resume", post_resume, false},
    {"POST", "/v1/drain", promises_drain, false},
    {"POST", "/v1/undrain", promises_undrain, false},
    {"POST", "/v1/leases", promises_ask, false},
    {"POST", "/v1/leases/", promises_offer, false},
    {"PATCH", "/v1/leases/", promises_change, false},
    {"DELETE", "/v1/leases/", promises_end, false},
    {"GET", "/v1/history", history_get_memory, true},
    {"GET", "/v1/history/leases", history_get_leases, true},
    {"GET", "/v1/processes", history_get_processes, true},
    {"GET", "/v1/events", history_get_events, true},
    {"GET", "/v1/report", history_get_report, true},
    {"GET", "/v1/fit", fit_answer, true},
    {"GET", "/v1/stream", stream_answer, true},
    {"GET", "/", page_answer, true},
    {"GET", "/web/", page_answer, true},
};

static bool is_route(const struct route *route, const char *path)
{
    size_t length = strlen(route->path);
    return length > 1 && route->path[length - 1] == '/'
               ? strncmp(route->path, path, length) == 0 && path[length]
               : strcmp(route->path, path) == 0;
}

/* The route of a request; NULL: there is none. *ret_exists: there is one of another method. */
static const struct route *find_route(const struct http_request *request, bool *ret_exists)
{
    *ret_exists = false;
    for (size_t i = 0; i < ARRAY_LENGTH(routes); i++) {
        if (is_route(&routes[i], http_path(request))) {
            if (strcmp(routes[i].method, http_method(request)) == 0) {
                return &routes[i];
            }
            *ret_exists = true;
        }
    }
    return NULL;
}

static void handle(struct daemon *daemon, struct http_request *request, bool only_reading)
{
    const char *path = http_path(request);
    bool exists;
    const struct route *route = find_route(request, &exists);
    daemon->last_use_ns = clock_now_ns();
    if (route) {
        http_set_route(request, route->path);
    }
    if (daemon->ending) { /* it had connected before */
        http_fail(request, 503, "ending", EAGAIN, "try again: another daemon may be starting",
                  "vramd is ending");
    } else if (only_reading && strcmp(http_method(request), "GET") != 0) {
        http_set_header(request, "Allow", "GET");
        http_fail(request, 405, "forbidden", EPERM, "the daemon's unix socket is for the rest",
                  "TCP is for reading only");
    } else if (route && (route->is_for_reading || !only_reading)) {
        route->handle(daemon, request);
    } else if (exists) {
        http_fail(request, 405, "bad_request", EINVAL, NULL, "%s is not for %s", path,
                  http_method(request));
    } else {
        http_fail(request, 404, "not_found", ENOENT, "docs/api.md lists what there is",
                  "there is no %s", path);
    }
}

void api_handle(struct http_request *request, void *data)
{
    handle(data, request, false);
}

void api_handle_reading(struct http_request *request, void *data)
{
    handle(data, request, true);
}
