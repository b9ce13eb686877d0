/* SPDX-License-Identifier: MIT */
#include "daemon/scrape.h"

#include "common/clock.h"
#include "common/path.h"
#include "daemon/history.h"
#include "daemon/metrics.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define FIRST_WAIT_MS 1000
#define OLD_NS ((uint64_t)15000000000) /* beyond what one driver call may take */

static const char prometheus_type[] = "text/plain; version=0.0.4; charset=utf-8";
static const char open_type[] = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/* ---- The daemon as a process ----------------------------------------------------------------- */

static uint64_t count_descriptors(void)
{
    DIR *directory = path_open_dir("", "/proc/self/fd");
    uint64_t count = 0;
    if (!directory) {
        return VRAM_UNKNOWN;
    }
    for (const struct dirent *entry; (entry = readdir(directory));) {
        count += entry->d_name[0] != '.';
    }
    (void)closedir(directory);
    return count - 1; /* the directory's own */
}

static struct metrics_self look_at_self(const struct daemon *daemon)
{
    struct metrics_self self = {VRAM_UNKNOWN, daemon->since_ns, VRAM_UNKNOWN,
                                VRAM_UNKNOWN, VRAM_UNKNOWN,     VRAM_UNKNOWN};
    struct timespec cpu;
    struct rlimit limit;
    char text[128];
    unsigned long pages, resident;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) == 0) {
        self.cpu_ns = (uint64_t)cpu.tv_sec * 1000000000u + (uint64_t)cpu.tv_nsec;
    }
    if (path_read("", "/proc/self/statm", text, sizeof(text)) > 0 &&
        sscanf(text, "%lu %lu", &pages, &resident) == 2) {
        uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
        self.virtual_bytes = pages * page_bytes;
        self.resident_bytes = resident * page_bytes;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        self.descriptors_max = limit.rlim_cur;
    }
    self.descriptors = count_descriptors();
    return self;
}

/* ---- The text -------------------------------------------------------------------------------- */

/* The figures of GPUs that may be told: of now, or with `stale` those that nobody can renew. NULL: none are known yet. */
static const struct vram_snapshot *choose_figures(const struct daemon *daemon, bool *ret_stale)
{
    uint64_t now_ns = clock_now_ns();
    bool old = now_ns - daemon->healthy_ns > OLD_NS;
    bool tried = now_ns - daemon->metrics_since_ns > OLD_NS;
    *ret_stale = old;
    return daemon->healthy && (!old || tried) ? daemon->healthy : NULL;
}

static int write_gpus(struct daemon *daemon, const struct vram_snapshot *snapshot, bool stale,
                      enum exposition_format format, char **ret_text)
{
    struct vram_promises promises = VRAM_PROMISES_INIT;
    struct vram_metrics_options options = VRAM_METRICS_OPTIONS_INIT;
    size_t count = snapshot ? vram_snapshot_gpu_count(snapshot) : 0;
    uint64_t *margins = calloc(count + 1, sizeof(*margins));
    struct vram_snapshot *promised = NULL;
    int r = margins ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < count; i++) {
        const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, i);
        margins[i] = config_margin_bytes(
            config_margin_for(&daemon->config, gpu->index, gpu->uuid, gpu->pci), gpu->total_bytes);
    }
    if (r == 0 && snapshot) {
        r = daemon->promises
                ? daemon->promises->fill(daemon->promises_data, NULL, snapshot, &promises)
                : 0;
        r = r < 0 ? r : vram_snapshot_promise(snapshot, &promises, &promised);
    }
    if (r == 0) {
        bool listed = clock_now_ns() - daemon->listed_ns <= OLD_NS;
        options.format =
            format == EXPOSITION_OPENMETRICS ? VRAM_METRICS_OPENMETRICS : VRAM_METRICS_PROMETHEUS;
        options.stale = stale;
        options.part = true;
        options.margin_bytes = margins;
        options.processes = listed ? daemon->listed : NULL;
        r = vram_snapshot_metrics(promised, &options, ret_text);
    }
    (void)vram_snapshot_unref(promised);
    free(margins);
    return r;
}

static int write_daemon(struct daemon *daemon, const struct vram_snapshot *snapshot, bool stale,
                        struct exposition *out)
{
    struct history_figures history = {NULL, VRAM_UNKNOWN, VRAM_UNKNOWN};
    (void)!history_figures(daemon, &history);
    const char *reason;
    char message[DAEMON_MESSAGE_MAX];
    struct metrics_facts facts = {
        .snapshot = snapshot,
        .stale = stale,
        .now_ns = clock_now_ns(),
        .peaks = &daemon->peaks,
        .counts = history.counts,
        .commands = daemon->hook ? hook_results(daemon->hook) : NULL,
        .history_bytes = history.bytes,
        .history_since_ns = history.since_ns,
        .backend = strncmp(daemon->options.endpoint->driver, "sim:", 4) == 0 ? "sim" : "nvml",
        .promising = daemon_is_promising(daemon, &reason, message, sizeof(message)),
        .collector = daemon->collected,
        .http = &daemon->http_counts,
        .self = look_at_self(daemon),
    };
    int r = 0;
    facts.collector.running_ns = collector_running_ns(daemon->collector);
    if (daemon->promises) {
        r = daemon->promises->metrics(daemon->promises_data, &facts.leases);
    }
    if (r == 0) {
        metrics_write(out, &facts);
    }
    free(facts.leases.shares);
    return r;
}

static enum exposition_format format_of(const struct http_request *request)
{
    const char *named = http_query(request, "format");
    const char *accepted = http_header(request, "Accept");
    bool open = named ? strcmp(named, "openmetrics") == 0
                      : accepted && strstr(accepted, "application/openmetrics-text");
    return open ? EXPOSITION_OPENMETRICS : EXPOSITION_PROMETHEUS;
}

static void answer(struct daemon *daemon, struct http_request *request)
{
    bool stale, open = format_of(request) == EXPOSITION_OPENMETRICS;
    const struct vram_snapshot *snapshot = choose_figures(daemon, &stale);
    struct buf buf = BUF_INIT;
    struct exposition out = EXPOSITION_INIT(&buf, format_of(request));
    char *gpus = NULL;
    int r = write_gpus(daemon, snapshot, stale, out.format, &gpus);
    if (r == 0) {
        buf_text(&buf, gpus);
        r = write_daemon(daemon, snapshot, stale, &out);
        exposition_finish(&out);
    }
    if (r == 0 && !buf.failed) {
        http_answer_text(request, 200, open ? open_type : prometheus_type, buf.data, buf.length);
    } else {
        http_fail_memory(request);
    }
    free(gpus);
    buf_done(&buf);
}

/* ---- The request ----------------------------------------------------------------------------- */

static void answer_sampled(void *data, struct http_request *request, enum parked_end end,
                           const struct sample *sample)
{
    (void)end;
    (void)sample;
    answer(data, request);
}

/* Whether the figures are about to come, since nobody has kept them until now. */
static bool is_first(const struct daemon *daemon)
{
    uint64_t now_ns = clock_now_ns();
    return now_ns - daemon->metrics_since_ns <= OLD_NS &&
           (!daemon->healthy || now_ns - daemon->healthy_ns > OLD_NS || !daemon->listed ||
            now_ns - daemon->listed_ns > OLD_NS) &&
           !collector_is_paused(daemon->collector);
}

/* Whoever asks for another driver's metrics must not take these for them. */
static bool is_our_driver(const struct daemon *daemon, struct http_request *request)
{
    const char *driver = http_query(request, "driver");
    if (!driver || strcmp(driver, daemon->options.endpoint->driver) == 0) {
        return true;
    }
    http_fail(request, 409, "other_driver", EXDEV, NULL,
              "the daemon serves the driver %s, not the one asked for",
              daemon->options.endpoint->driver);
    return false;
}

void scrape_answer(struct daemon *daemon, struct http_request *request)
{
    struct parked_wish wish = {
        .for_sample = true,
        .take = FIGURES_OF_METRICS,
        .timeout_ms = FIRST_WAIT_MS,
        .answer = answer_sampled,
        .data = daemon,
    };
    if (http_query_number(request, "timeout_ms", &wish.timeout_ms) < 0) {
        http_fail(request, 400, "bad_request", EINVAL, NULL, "timeout_ms is not a number");
        return;
    }
    if (!is_our_driver(daemon, request)) {
        return;
    }
    figures_want(daemon);
    if (is_first(daemon) && wish.timeout_ms && parking_add(daemon->parking, request, &wish) == 0) {
        collector_ask(daemon->collector, wish.take);
    } else {
        answer(daemon, request);
    }
}
