/* SPDX-License-Identifier: MIT */
/* History: its life, its samples, its writing. */
#include "daemon/history_inner.h"

#include "common/clock.h"
#include "common/path.h"
#include "common/text.h"
#include "daemon/history_events.h"
#include "daemon/hook.h"
#include "daemon/log.h"
#include "daemon/stream.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS ((uint64_t)1000000000)
#define SAMPLE_NS (SECOND_NS * 9 / 10) /* a sample that is younger serves for this second */
#define PROCESSES_NS (SECOND_NS * 9 / 2)
#define WRITE_NS (10 * SECOND_NS)
#define PRUNE_NS (9 * SECOND_NS)
#define RETRY_NS (30 * SECOND_NS)

int64_t history_wall_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- Where ----------------------------------------------------------------------------------- */

/* The machine's own is where systemd says, or where it would; a user's with that user's state. */
static bool find_directory(const struct daemon *daemon, char *path, size_t size)
{
    const char *given = getenv("STATE_DIRECTORY"), *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    int length = -1;
    if (given && given[0] == '/') {
        length = snprintf(path, size, "%.*s", (int)strcspn(given, ":"), given);
    } else if (daemon->options.is_system) {
        length = snprintf(path, size, "/var/lib/vram");
    } else if (state && state[0] == '/') {
        length = snprintf(path, size, "%s/vram", state);
    } else if (home && home[0] == '/') {
        length = snprintf(path, size, "%s/.local/state/vram", home);
    }
    return length > 0 && (size_t)length < size;
}

/* One file for each socket's name: a simulated machine's history is not the machine's. False: none is to be kept. */
static bool find_path(const struct daemon *daemon, char *path, size_t size)
{
    char directory[HISTORY_PATH_MAX];
    const char *option = daemon->options.history, *socket = daemon->options.endpoint->socket;
    const char *name = strrchr(socket, '/') + 1;
    bool on = daemon->config.history == CONFIG_HISTORY_ON ||
              (daemon->config.history == CONFIG_HISTORY_AUTO && daemon->options.is_system);
    if (option && option[0] == '/') {
        return text_copy(path, size, option) == strlen(option);
    }
    if (option ? strcmp(option, "on") != 0 : !on) {
        return false;
    }
    if (!find_directory(daemon, directory, sizeof(directory))) {
        log_line(LOG_LINE_WARNING, "no history is kept: there is no directory for it ($HOME)");
        return false;
    }
    size_t length = strlen(name);
    length -= length > 5 && strcmp(name + length - 5, ".sock") == 0 ? 5 : 0;
    bool plain = length == 4 && strncmp(name, "vram", 4) == 0;
    int written = snprintf(path, size, "%s/history%s%.*s.db", directory, plain ? "" : "-",
                           plain ? 0 : (int)length, name);
    return written > 0 && (size_t)written < size;
}

/* ---- Trouble --------------------------------------------------------------------------------- */

/* The same trouble is told once. */
static void say(struct history *history, const char *what)
{
    if (strcmp(history->said, what) != 0) {
        log_line(LOG_LINE_WARNING, "history: %s", what);
        (void)text_copy(history->said, sizeof(history->said), what);
    }
}

static void say_well(struct history *history)
{
    size_t lost = history_core_batch(history->core)->lost;
    if (history->said[0]) {
        log_line(LOG_LINE_NOTICE, "history: %s is written again", history->path);
        history->said[0] = '\0';
    }
    if (lost) {
        log_line(LOG_LINE_NOTICE, "history: %zu rows were lost meanwhile", lost);
    }
}

/* ---- Opening --------------------------------------------------------------------------------- */

static const char *lease_of(void *data, const struct vram_process *process, const char **ret_name)
{
    const struct history *history = data;
    const struct daemon *daemon = history->daemon;
    const char *id =
        daemon->promises ? daemon->promises->lease(daemon->promises_data, process) : NULL;
    *ret_name = id ? history_lease_name(history, id) : NULL;
    return id;
}

/* What open streams are sent. */
static void stream_event(struct daemon *daemon, const struct history_event *event,
                         const struct history_gpu *gpu)
{
    struct buf buf CLEANUP(buf_done) = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    if (streams_are_open(daemon)) {
        json_object(&json, NULL);
        history_event_write(&json, event, gpu);
        json_end_object(&json);
        streams_event(daemon, buf.failed ? NULL : buf.data);
    }
}

static void on_event(void *data, const struct history_event *event, const struct history_gpu *gpu)
{
    struct history *history = data;
    struct daemon *daemon = history->daemon;
    history_counts_add(&history->counts, event, gpu);
    stream_event(daemon, event, gpu);
    if (daemon->hook && !daemon->ending) {
        hook_tell(daemon->hook, event, gpu);
    }
}

static int begin_core(struct history *history)
{
    history->core = history_core_free(history->core);
    history->core = history_core_new(lease_of, history);
    if (!history->core) {
        return -ENOMEM;
    }
    history_core_listen(history->core, on_event);
    free(history->standing);
    history->standing = NULL;
    history->standing_count = 0;
    return 0;
}

/* What cannot be taken over is as if it had never been seen. */
static void know_gpu(void *data, const struct history_gpu *gpu)
{
    const struct history *history = data;
    (void)!history_core_know_gpu(history->core, gpu);
}

static void know_process(void *data, const struct history_process *process)
{
    const struct history *history = data;
    (void)!history_core_know_process(history->core, process,
                                     history_store_alive_ms(history->store));
}

static void put_event(struct history *history, uint32_t kind, const char *text)
{
    struct history_event event = {.at_ms = history_wall_ms(), .kind = kind, .bytes = VRAM_UNKNOWN};
    history_text(event.text, sizeof(event.text), text);
    history_core_event(history->core, &event);
}

/* What stands already is no news. */
static void meet_leases(struct history *history)
{
    history_core_listen(history->core, NULL);
    history_leases_compare(history);
    history_core_listen(history->core, on_event);
}

/* A core that goes on where the file ends. 0 or negative. */
static int take_over(struct history *history)
{
    struct history_store *store = history->store;
    int r = begin_core(history);
    if (r < 0) {
        return r;
    }
    history_core_know_ids(history->core, history_store_last_process(store));
    r = history_store_gpus(store, know_gpu, history);
    r = r < 0 ? r : history_store_running(store, know_process, history);
    r = r < 0 ? r : history_store_standing(store, history_leases_know, history);
    r = r < 0 ? r : history_store_cut(store);
    if (r >= 0) {
        put_event(history, HISTORY_DAEMON_STARTED, history->daemon->options.endpoint->driver);
        meet_leases(history);
    }
    return r;
}

static void read_boot(char *boot, size_t size)
{
    if (path_read_line("", "/proc/sys/kernel/random/boot_id", boot, size) < 0) {
        boot[0] = '\0';
    }
}

static void open_store(struct history *history)
{
    char boot[64], problem[HISTORY_PROBLEM_MAX];
    read_boot(boot, sizeof(boot));
    struct history_store_options options = {
        .path = history->path,
        .max_bytes = history->daemon->config.history_max_bytes,
        .boot = boot,
        .now_ms = history_wall_ms(),
    };
    history->opened_ns = clock_now_ns();
    int r = history_store_open(&options, &history->store, problem);
    if (problem[0]) {
        say(history, problem);
    }
    if (r >= 0 && take_over(history) < 0) {
        say(history, history_store_error(history->store));
        history->store = history_store_close(history->store);
    } else if (r >= 0) {
        history->said[0] = '\0';
    }
}

/* ---- Writing --------------------------------------------------------------------------------- */

/* For metrics, which read no file. */
static void measure(struct history *history)
{
    int64_t since_ms = history_store_since_ms(history->store);
    history->bytes = history_store_bytes(history->store);
    history->since_ns = since_ms > 0 ? (uint64_t)since_ms * 1000000 : VRAM_UNKNOWN;
}

bool history_figures(const struct daemon *daemon, struct history_figures *ret_figures)
{
    const struct history *history = daemon->history;
    if (history) {
        *ret_figures = (struct history_figures){
            .counts = &history->counts, .bytes = history->bytes, .since_ns = history->since_ns};
    }
    return history;
}

void history_mend(struct history *history)
{
    char problem[HISTORY_PROBLEM_MAX];
    if (!history_store_is_damaged(history->store)) {
        return;
    }
    history_store_set_aside(history->store, problem);
    history->store = NULL;
    say(history, problem);
    open_store(history);
}

/* What is written is not written again, whatever comes of the rest. */
static int write_batch(struct history *history, uint64_t now_ns)
{
    struct history_batch *batch = history_core_batch(history->core);
    int64_t wall_ms = history_wall_ms();
    int r = history_store_write(history->store, batch, wall_ms);
    if (r < 0) {
        return r;
    }
    say_well(history);
    history_batch_clear(batch);
    measure(history);
    if (history->pruned_ns && now_ns - history->pruned_ns < PRUNE_NS) {
        return 0;
    }
    r = history_store_prune(history->store, wall_ms);
    history->pruned_ns = r < 0 ? history->pruned_ns : now_ns;
    return r;
}

bool history_is_ready(struct history *history)
{
    if (history->store) {
        history_store_wait(history->store, HISTORY_PATIENCE_MS);
        (void)history_flush(history);
    }
    if (history->store) {
        history_store_wait(history->store, 0);
    }
    return history->store != NULL;
}

bool history_flush(struct history *history)
{
    char text[HISTORY_PROBLEM_MAX];
    uint64_t now_ns = clock_now_ns();
    history->written_ns = now_ns;
    if (!history->store) {
        if (!history->path[0]) {
            history_batch_clear(history_core_batch(history->core));
        }
        return false;
    }
    history_core_complete(history->core);
    history_leases_put(history);
    int r = write_batch(history, now_ns);
    if (r == -EBUSY) { /* its log is being begun anew: in a second */
        history->written_ns = now_ns - WRITE_NS;
        return false;
    }
    if (r < 0 && history_store_is_damaged(history->store)) {
        history_mend(history);
        return history->store != NULL;
    }
    if (r < 0) {
        (void)snprintf(text, sizeof(text), "%.300s cannot be written: %.150s", history->path,
                       history_store_error(history->store));
        say(history, text);
    }
    return r >= 0;
}

/* ---- Samples --------------------------------------------------------------------------------- */

void history_sampled(struct daemon *daemon, const struct sample *sample)
{
    struct history *history = daemon->history;
    if (!history || !history->core || !sample->snapshot) {
        return;
    }
    history->sampled_ns = clock_now_ns();
    if (sample->take & VRAM_TAKE_PROCESSES) {
        history->processes_ns = history->sampled_ns;
    }
    history_core_begin(history->core, history->sampled_ns, history_wall_ms());
    for (size_t i = 0; i < vram_snapshot_gpu_count(sample->snapshot); i++) {
        history_counts_meet(&history->counts, vram_snapshot_gpu(sample->snapshot, i));
        history_core_gpu(history->core, vram_snapshot_gpu(sample->snapshot, i));
    }
    history_core_end(history->core);
}

/* Has the driver asked, where nobody else has for a second. Sleeping GPUs are left asleep. */
static void ask(struct history *history, uint64_t now_ns)
{
    bool pressed = history_core_is_pressed(history->core);
    /* Who keeps figures each second is not forestalled, which would ask the driver twice as often. */
    uint64_t patience_ns = figures_are_kept(history->daemon) ? SECOND_NS : 0;
    bool processes = pressed || now_ns - history->processes_ns >= PROCESSES_NS + patience_ns;
    if (now_ns - history->sampled_ns >= SAMPLE_NS + patience_ns || (processes && !pressed)) {
        collector_ask(history->daemon->collector, processes ? VRAM_TAKE_PROCESSES : 0);
    }
}

static void on_second(evutil_socket_t none, short what, void *data)
{
    struct history *history = data;
    struct daemon *daemon = history->daemon;
    uint64_t now_ns = clock_now_ns();
    (void)none;
    (void)what;
    if (!history->store && history->path[0] && now_ns - history->opened_ns >= RETRY_NS) {
        open_store(history);
    }
    if (!history->core || !(history->store || daemon->hook) || daemon->ending) {
        return;
    }
    if (collector_is_paused(daemon->collector)) {
        history_core_rest(history->core, history_wall_ms());
    } else if (!collector_is_asked(daemon->collector)) {
        ask(history, now_ns);
    }
    if (now_ns - history->written_ns >= WRITE_NS) {
        (void)history_flush(history);
    }
}

/* ---- Life ------------------------------------------------------------------------------------ */

static struct history *history_free(struct history *history)
{
    if (history) {
        if (history->on_second) {
            event_free(history->on_second);
        }
        history->reports = history_reports_free(history->reports);
        history->store = history_store_close(history->store);
        history->core = history_core_free(history->core);
        history_counts_done(&history->counts);
        free(history->standing);
        free(history);
    }
    return NULL;
}

static struct history *history_new(struct daemon *daemon, const char *path)
{
    static const struct timeval second = {1, 0};
    struct history *history = calloc(1, sizeof(*history));
    if (!history) {
        return NULL;
    }
    history->daemon = daemon;
    history->bytes = history->since_ns = VRAM_UNKNOWN;
    (void)text_copy(history->path, sizeof(history->path), path);
    history->on_second = event_new(daemon->base, -1, EV_PERSIST, on_second, history);
    if (begin_core(history) < 0 || !history->on_second ||
        event_add(history->on_second, &second) < 0) {
        return history_free(history);
    }
    return history;
}

/* Whether a command is run for events. */
static bool configure_hook(struct daemon *daemon)
{
    const struct config *config = &daemon->config;
    struct hook_options options = {.command = config->on_event,
                                   .kinds = config->on_event_kinds,
                                   .limit_ns = config->on_event_timeout_ns};
    if (!daemon->hook && config->on_event[0]) {
        daemon->hook = hook_new(daemon->base);
        if (!daemon->hook) {
            log_line(LOG_LINE_ERROR, "on_event: nothing is run: out of memory");
        }
    }
    if (daemon->hook) {
        hook_configure(daemon->hook, &options);
    }
    return config->on_event[0] && daemon->hook;
}

void history_configure(struct daemon *daemon)
{
    char path[HISTORY_PATH_MAX];
    bool on = find_path(daemon, path, sizeof(path)), told = configure_hook(daemon);
    path[0] = on ? path[0] : '\0';
    if (daemon->history && (!(on || told) || strcmp(path, daemon->history->path) != 0)) {
        history_close(daemon);
    }
    if (!on && !told) {
        return;
    }
    if (daemon->history && daemon->history->store) {
        history_store_bound(daemon->history->store, daemon->config.history_max_bytes);
        return;
    }
    daemon->history = daemon->history ? daemon->history : history_new(daemon, path);
    if (!daemon->history) {
        log_line(LOG_LINE_ERROR, "no history is kept: out of memory");
    } else if (on) {
        open_store(daemon->history);
    } else {
        put_event(daemon->history, HISTORY_DAEMON_STARTED, daemon->options.endpoint->driver);
        meet_leases(daemon->history);
    }
    if (daemon->history && daemon->history->store) {
        log_line(LOG_LINE_INFO, "history is kept in %s", path);
    }
}

void history_close(struct daemon *daemon)
{
    struct history *history = daemon->history;
    if (history && history->store) {
        history_core_rest(history->core, history_wall_ms());
        put_event(history, HISTORY_DAEMON_STOPPED, NULL);
        (void)history_flush(history);
    }
    daemon->history = history_free(history);
    if (daemon->ending) {
        daemon->hook = hook_free(daemon->hook);
    }
}
