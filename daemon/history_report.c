/* SPDX-License-Identifier: MIT */
/*
 * The route /v1/report (docs/api.md). What it takes to read the rows of a long time the loop does not have: each report is
 * made in a thread, one after the other, and the loop answers with it when it is told that it is done.
 */
#include "daemon/history_asking.h"

#include "common/size.h"
#include "daemon/history_events.h"
#include "daemon/history_report_read.h"
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define USUAL_MS (7 * 24 * ASKING_HOUR_MS)
#define WAITING_MOST 16 /* reports at once; who asks for more is told to come again */

/* One that is being made, or waits for its turn. */
struct report {
    struct report *next;
    struct history_reports *reports;
    struct http_request *request; /* the loop's; NULL: nobody waits for it any more */
    enum tally_by by;
    size_t limit;
    struct report_question question;
    struct history_gpu gpus[ASKING_GPUS_MOST];
    int64_t seen_ms[ASKING_GPUS_MOST];
    pthread_t thread;
    bool has_thread;
    atomic_bool stop;
    /* The thread's, and the loop's once it has ended. */
    int result;
    char *text, problem[HISTORY_PROBLEM_MAX];
};

struct history_reports {
    struct report *first; /* is being made */
    int done;             /* an eventfd */
    struct event *on_done;
};

static const char *const by_names[] = {"user", "label", "gpu"};

/* ---- As JSON --------------------------------------------------------------------------------- */

/* A number with decimals, whatever the locale writes them with. */
static void write_decimal(struct json *json, const char *key, double number, int decimals)
{
    char text[48];
    uint64_t unit = 1;
    for (int i = 0; i < decimals; i++) {
        unit *= 10;
    }
    uint64_t units = (uint64_t)(number * (double)unit + 0.5);
    int length = snprintf(text, sizeof(text), "%" PRIu64 ".%0*" PRIu64, units / unit, decimals,
                          units % unit);
    json_raw(json, key, text, (size_t)length);
}

static void write_amount(struct json *json, const char *key, double amount)
{
    write_decimal(json, key, amount / ((double)GIB * (double)ASKING_HOUR_MS), 6);
}

static void write_hours(struct json *json, const char *key, double ms)
{
    write_decimal(json, key, ms / (double)ASKING_HOUR_MS, 6);
}

static void write_wait(struct json *json, const char *key, const struct tally_sum *sum, double ms)
{
    if (sum->waited) {
        write_decimal(json, key, ms / 1000, 3);
    } else {
        json_null(json, key);
    }
}

static void write_sum(struct json *json, const struct tally_sum *sum)
{
    write_amount(json, "leased_gib_hours", sum->leased);
    write_amount(json, "held_gib_hours", sum->held);
    write_amount(json, "idle_gib_hours", sum->idle);
    write_amount(json, "unleased_gib_hours", sum->unleased);
    write_hours(json, "unknown_held_hours", sum->unknown_held_ms);
    write_hours(json, "unknown_idle_hours", sum->unknown_idle_ms);
    json_number(json, "granted", sum->granted);
    json_number(json, "waited", sum->waited);
    write_wait(json, "wait_mean_s", sum,
               (double)sum->waited_ms / (double)(sum->waited + !sum->waited));
    write_wait(json, "wait_median_s", sum, (double)sum->median_ms);
    write_wait(json, "wait_longest_s", sum, (double)sum->longest_ms);
    json_number(json, "gave_up", sum->gave_up);
    json_number(json, "waiting", sum->waiting);
}

static void write_gpu(struct json *json, const struct history_gpu *gpu)
{
    json_text(json, "gpu", gpu->uuid);
    json_number(json, "gpu_index", gpu->index);
    history_write_bytes(json, "gpu_mig_index", gpu->mig_index);
}

static void write_row(struct json *json, const struct report *report, const struct tally_row *row)
{
    json_object(json, NULL);
    for (size_t i = 0; report->by == TALLY_BY_GPU && i < report->question.gpu_count; i++) {
        if (strcmp(report->gpus[i].uuid, row->name) == 0) {
            write_gpu(json, &report->gpus[i]);
        }
    }
    if (report->by == TALLY_BY_LABEL) {
        history_write_text(json, "label", row->name);
        json_bool(json, "has_lease", row->kind != TALLY_UNLEASED);
    } else if (report->by == TALLY_BY_USER) {
        history_write_text(json, "user", row->name);
    }
    write_sum(json, &row->sum);
    json_end_object(json);
}

static void write_rows(struct json *json, const struct report *report, struct tally *tally)
{
    size_t count;
    const struct tally_row *rows = tally_rows(tally, &count);
    json_array(json, "rows");
    for (size_t i = 1; i < count && i <= report->limit; i++) {
        write_row(json, report, &rows[i]);
    }
    json_end_array(json);
    json_number(json, "left_out", count - 1 > report->limit ? count - 1 - report->limit : 0);
    json_object(json, "total");
    write_sum(json, &rows[0].sum);
    json_end_object(json);
}

static void write_seen(struct json *json, const struct report *report)
{
    json_array(json, "gpus");
    for (size_t i = 0; i < report->question.gpu_count; i++) {
        const struct history_gpu *gpu = &report->gpus[i];
        json_object(json, NULL);
        write_gpu(json, gpu);
        history_write_text(json, "name", gpu->name);
        history_write_bytes(json, "total_bytes", gpu->total_bytes);
        write_hours(json, "seen_hours", (double)report->seen_ms[i]);
        json_end_object(json);
    }
    json_end_array(json);
}

static char *write_report(const struct report *report, int64_t since_ms, struct tally *tally)
{
    const struct report_question *question = &report->question;
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    json_object(&json, NULL);
    json_number(&json, "schema", 1);
    history_write_moment(&json, "since", since_ms > 0 ? since_ms : HISTORY_RUNNING);
    history_write_moment(&json, "from", question->from_ms);
    history_write_moment(&json, "to", question->to_ms);
    write_hours(&json, "hours", (double)(question->to_ms - question->from_ms));
    json_text(&json, "by", by_names[report->by]);
    write_rows(&json, report, tally);
    write_seen(&json, report);
    json_end_object(&json);
    return buf_steal(&buf, NULL);
}

/* ---- The thread ------------------------------------------------------------------------------ */

static void make(struct report *report)
{
    int64_t since_ms;
    struct tally *tally = tally_new(report->by);
    report->result = -ENOMEM;
    if (tally) {
        report->result = history_report_read(&report->question, &report->stop, tally,
                                             report->seen_ms, &since_ms, report->problem);
    }
    if (report->result >= 0) {
        report->text = write_report(report, since_ms, tally);
        report->result = report->text ? 0 : -ENOMEM;
    }
    (void)tally_free(tally);
}

static void *work(void *data)
{
    struct report *report = data;
    uint64_t one = 1;
    make(report);
    (void)!write(report->reports->done, &one, sizeof(one));
    return NULL;
}

/* Signals are the loop's. */
static bool start_thread(struct report *report)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int r =
        history_store_has_threads() ? pthread_create(&report->thread, NULL, work, report) : EAGAIN;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r == 0;
}

/* ---- The loop -------------------------------------------------------------------------------- */

/* Where no thread can be had the loop does it. */
static void start(struct report *report)
{
    report->has_thread = start_thread(report);
    if (!report->has_thread) {
        (void)work(report);
    }
}

static void answer(struct report *report)
{
    struct http_request *request = report->request;
    report->request = NULL;
    if (!request) {
        return;
    }
    if (report->result >= 0) {
        http_answer(request, 200, report->text);
    } else if (report->result == -ENOMEM) {
        http_fail_memory(request);
    } else if (report->result == -ECANCELED) {
        http_fail(request, 503, "ending", EAGAIN, NULL, "the history is being closed");
    } else {
        http_fail(request, 500, "history_failed", EIO, NULL, "the history cannot be read: %s",
                  report->problem);
    }
}

static struct report *report_free(struct report *report)
{
    free(report->text);
    free(report);
    return NULL;
}

/* Takes the first one off once it is made. */
static void end_first(struct history_reports *reports)
{
    struct report *report = reports->first;
    if (report->has_thread) {
        (void)pthread_join(report->thread, NULL);
    }
    reports->first = report->next;
    answer(report);
    (void)report_free(report);
}

static void on_done(evutil_socket_t fd, short what, void *data)
{
    struct history_reports *reports = data;
    uint64_t number;
    (void)what;
    if (read(fd, &number, sizeof(number)) != (ssize_t)sizeof(number)) {
        return;
    }
    end_first(reports);
    while (reports->first && !reports->first->request) { /* who asked for it has gone */
        struct report *report = reports->first;
        reports->first = report->next;
        (void)report_free(report);
    }
    if (reports->first) {
        start(reports->first);
    }
}

static void on_gone(struct http_request *request, void *data)
{
    struct report *report = data;
    (void)request;
    report->request = NULL;
    atomic_store(&report->stop, true);
}

static struct history_reports *reports_new(struct event_base *base)
{
    struct history_reports *reports = calloc(1, sizeof(*reports));
    if (!reports) {
        return NULL;
    }
    reports->done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (reports->done >= 0) {
        reports->on_done = event_new(base, reports->done, EV_READ | EV_PERSIST, on_done, reports);
    }
    if (!reports->on_done || event_add(reports->on_done, NULL) < 0) {
        return history_reports_free(reports);
    }
    return reports;
}

struct history_reports *history_reports_free(struct history_reports *reports)
{
    for (struct report *report = reports ? reports->first : NULL; report; report = report->next) {
        atomic_store(&report->stop, true);
        if (report != reports->first) { /* is not begun */
            report->result = -ECANCELED;
        }
    }
    while (reports && reports->first) {
        end_first(reports);
    }
    if (reports && reports->on_done) {
        event_free(reports->on_done);
    }
    if (reports && reports->done >= 0) {
        (void)close(reports->done);
    }
    free(reports);
    return NULL;
}

/* Behind those that wait. False: they are too many. */
static bool put_last(struct history_reports *reports, struct report *report)
{
    struct report **last = &reports->first;
    for (size_t i = 0; *last; i++, last = &(*last)->next) {
        if (i + 1 >= WAITING_MOST) {
            return false;
        }
    }
    *last = report;
    if (reports->first == report) {
        start(report);
    }
    return true;
}

/* ---- What is asked --------------------------------------------------------------------------- */

static bool read_by(struct http_request *request, enum tally_by *ret_by)
{
    const char *text = http_query(request, "by");
    for (size_t i = 0; i < ARRAY_LENGTH(by_names); i++) {
        if (strcmp(text ? text : by_names[0], by_names[i]) == 0) {
            *ret_by = (enum tally_by)i;
            return true;
        }
    }
    asking_fail_parameter(request, "by", "is user, label or gpu");
    return false;
}

static int compare_gpus(const void *a, const void *b)
{
    const struct history_gpu *left = a, *right = b;
    return (left->id > right->id) - (left->id < right->id);
}

/* NULL: it was answered. */
static struct report *report_new(const struct asking *asking, enum tally_by by)
{
    int64_t now_ms = history_wall_ms();
    const struct history_question *question = &asking->question;
    if (question->from_ms >= now_ms) {
        asking_fail_parameter(asking->request, "from", "has not been yet");
        return NULL;
    }
    struct report *report = calloc(1, sizeof(*report));
    if (!report) {
        http_fail_memory(asking->request);
        return NULL;
    }
    report->by = by;
    report->limit = question->limit;
    report->question.from_ms = question->from_ms;
    report->question.to_ms = question->to_ms < now_ms ? question->to_ms : now_ms;
    report->question.gpus = report->gpus;
    (void)snprintf(report->question.path, sizeof(report->question.path), "%s",
                   history_store_path(asking->history->store));
    for (size_t i = 0; i < asking->gpu_count; i++) {
        if (asking_is_chosen(asking, asking->gpus[i].id)) {
            report->gpus[report->question.gpu_count++] = asking->gpus[i];
        }
    }
    qsort(report->gpus, report->question.gpu_count, sizeof(*report->gpus), compare_gpus);
    return report;
}

void history_get_report(struct daemon *daemon, struct http_request *request)
{
    enum tally_by by;
    struct asking *asking = read_by(request, &by) ? asking_begin(daemon, request, USUAL_MS) : NULL;
    struct report *report = asking ? report_new(asking, by) : NULL;
    struct history *history = daemon->history;
    (void)(asking ? asking_free(asking) : NULL);
    if (!report) {
        return;
    }
    if (!history->reports) {
        history->reports = reports_new(daemon->base);
    }
    report->reports = history->reports;
    report->request = request;
    http_on_gone(request, on_gone, report);
    if (!history->reports) {
        http_fail_memory(request);
        (void)report_free(report);
    } else if (!put_last(history->reports, report)) {
        http_fail(request, 503, "busy", EAGAIN, "try again in a while",
                  "too many reports are being made");
        (void)report_free(report);
    }
}
