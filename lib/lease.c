/* SPDX-License-Identifier: MIT */
/* Leases: asking for them, changing and ending them. */
#include "lib/daemon_call.h"
#include "lib/daemon_error.h"
#include "lib/daemon_start.h"
#include "lib/lease_inner.h"
#include "lib/lease_list.h"
#include "lib/lease_record.h"

#include "common/clock.h"
#include "common/json.h"
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define LONGEST_MS ((uint64_t)1 << 40) /* 34 years */

/* ---- Ids ------------------------------------------------------------------------------------- */

static int choose_id(char id[ID_LENGTH + 1], struct err *err)
{
    uint64_t number;
    if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number)) {
        return err_set(err, -EIO, "no_random", "no random number can be had: %s", strerror(errno));
    }
    (void)snprintf(id, ID_LENGTH + 1, "%016" PRIx64, number);
    return 0;
}

int lease_read_id(const char *text, size_t least, char id[ID_LENGTH + 1], struct err *err)
{
    size_t length = strspn(text, "0123456789abcdefABCDEF");
    if (text[length] || length < least || length > ID_LENGTH) {
        return err_set(err, -EINVAL, "bad_id", "'%.40s' is not the id of a lease", text);
    }
    for (size_t i = 0; i <= length; i++) {
        id[i] = (char)tolower((unsigned char)text[i]);
    }
    return 0;
}

/* A document that cannot be used, or no memory for it. */
static int fail_answer(int result, struct err *err)
{
    return daemon_error_call(result, "the daemon's socket", err);
}

/* ---- Verdicts -------------------------------------------------------------------------------- */

/* The answer of a verdict's document, which is given back. */
static int take_verdict(json_t *document, struct vram_verdict **ret_verdict, struct err *err)
{
    struct vram_verdict *verdict = NULL;
    int r = lease_record_verdict(document, &verdict);
    json_decref(document);
    if (r < 0) {
        return fail_answer(r, err);
    }
    int answer = (int)verdict->answer;
    if (ret_verdict) {
        *ret_verdict = verdict;
    } else {
        (void)vram_verdict_free(verdict);
    }
    return answer;
}

/* ---- Asking ---------------------------------------------------------------------------------- */

/* A request on its way. */
struct asking {
    struct vram *vram;
    const struct vram_lease_request *request;
    char id[ID_LENGTH + 1];
    uint64_t begun_ns;
    struct daemon_again again;
};

static void write_texts(struct json *json, const char *key, const char *const *texts, size_t count)
{
    if (!texts) {
        return;
    }
    json_array(json, key);
    for (size_t i = 0; i < count; i++) {
        json_text(json, NULL, texts[i]);
    }
    json_end_array(json);
}

/* Longer than anybody waits is for ever. */
static void write_duration(struct json *json, const char *key, uint64_t ms)
{
    if (ms > LONGEST_MS) {
        json_null(json, key);
    } else {
        json_number(json, key, ms);
    }
}

static void write_known(struct json *json, const char *key, uint64_t number)
{
    if (number == VRAM_UNKNOWN) {
        json_null(json, key);
    } else {
        json_number(json, key, number);
    }
}

static void write_owner(struct json *json, int64_t pid)
{
    if (pid == VRAM_OWNER_PARENT) {
        json_text(json, "owner", "parent");
    } else if (pid > 0) {
        json_object(json, "owner");
        json_number(json, "pid", (uint64_t)pid);
        json_end_object(json);
    }
}

/* Which driver must be served: the one that was named. */
static void write_driver(struct json *json, struct vram *vram)
{
    struct endpoint place;
    if (strcmp(handle_driver_text(vram), "auto") != 0 &&
        daemon_call_place(vram, &place, NULL) == 0) {
        json_text(json, "driver", place.driver);
    }
}

/* How long it may still wait; at least a moment, so that what comes too late is a time-out and no refusal. */
static uint64_t wait_left_ms(const struct asking *asking)
{
    uint64_t timeout_ms = asking->request->timeout_ms;
    uint64_t passed_ms = (clock_now_ns() - asking->begun_ns) / 1000000;
    if (timeout_ms == 0 || timeout_ms == VRAM_UNKNOWN) {
        return timeout_ms;
    }
    return passed_ms < timeout_ms ? timeout_ms - passed_ms : 1;
}

static char *write_request(const struct asking *asking, uint64_t wait_ms)
{
    const struct vram_lease_request *request = asking->request;
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    json_object(&json, NULL);
    json_text(&json, "id", asking->id);
    json_number(&json, "size_bytes", request->size_bytes);
    json_number(&json, "gpu_count", request->gpu_count);
    if (request->margin_millipercent) {
        json_number(&json, "margin_millipercent", request->margin_millipercent);
    } else {
        write_known(&json, "margin_bytes", request->margin_bytes);
    }
    write_texts(&json, "candidates", request->candidates, request->candidate_count);
    json_text(&json, "label", request->label);
    write_owner(&json, request->owner_pid);
    write_texts(&json, "members", request->members, request->member_count);
    write_duration(&json, "wait_ms", wait_ms);
    if (request->for_ms) {
        write_duration(&json, "for_ms", request->for_ms);
    }
    write_driver(&json, asking->vram);
    json_end_object(&json);
    return buf_steal(&buf, NULL);
}

/* A line of the answer: tells how the request stands, if it is about that. */
static bool hear(void *data, const char *line)
{
    struct asking *asking = data;
    const struct vram_lease_request *request = asking->request;
    json_t *document = json_loads(line, 0, NULL);
    const json_t *waiting = json_object_get(document, "waiting");
    const json_t *position = json_object_get(waiting, "position");
    const char *waits_for = json_string_value(json_object_get(waiting, "waits_for"));
    daemon_again_heard(&asking->again);
    if (request->progress && json_is_integer(position) && json_integer_value(position) > 0) {
        request->progress(request->data, (uint64_t)json_integer_value(position),
                          waits_for ? waits_for : "");
    }
    json_decref(document);
    return true;
}

static int ask_once(struct asking *asking, json_t **ret_document, struct err *err)
{
    uint64_t wait_ms = wait_left_ms(asking), begun_ns = clock_now_ns();
    char *body = write_request(asking, wait_ms);
    if (!body) {
        return err_no_memory(err);
    }
    struct daemon_call call = {
        .method = "POST",
        .target = LEASES,
        .body = body,
        .wait_ms = wait_ms,
        .line = wait_ms ? hear : NULL,
        .data = asking,
    };
    int r = daemon_call_once(asking->vram, &call, ret_document, err);
    free(body);
    if (r == 0 && json_object_get(*ret_document, "waiting")) { /* it ended before its verdict */
        json_decref(*ret_document);
        r = err_set(err, -ECONNRESET, "daemon_gone", "the daemon broke off");
    }
    if (r < 0) {
        daemon_again_lasted(&asking->again, begun_ns);
    }
    return r;
}

static int ask(struct asking *asking, struct vram_verdict **ret_verdict, struct err *err)
{
    json_t *document = NULL;
    int r;
    do {
        r = ask_once(asking, &document, err);
    } while (r < 0 && daemon_again(asking->vram, &asking->again, err));
    return r < 0 ? r : take_verdict(document, ret_verdict, err);
}

/* Sees to what the daemon cannot: what would be read beyond its end, or mean something else. */
static int check(const struct vram_lease_request *request, struct err *err)
{
    if (!request->size_bytes || request->size_bytes > INT64_MAX) {
        return err_set(err, -EINVAL, "bad_request", "a lease of no size, or of an impossible one");
    }
    if (!request->gpu_count) {
        return err_set(err, -EINVAL, "bad_request", "a lease on no GPU");
    }
    if (request->candidates && !request->candidate_count) {
        return err_set(err, -EINVAL, "bad_request", "a lease without a candidate");
    }
    if (request->owner_pid < VRAM_OWNER_PARENT) {
        return err_set(err, -EINVAL, "bad_request", "%" PRId64 " is no process",
                       request->owner_pid);
    }
    return 0;
}

int vram_lease_acquire(struct vram *vram, const struct vram_lease_request *request,
                       struct vram_verdict **ret_verdict)
{
    struct vram_lease_request asked = VRAM_LEASE_REQUEST_INIT;
    struct asking asking = {.vram = vram, .request = &asked, .begun_ns = clock_now_ns()};
    struct err err = {0};
    if (request->size < sizeof(request->size)) {
        return handle_fail_with(vram, -EINVAL, "bad_request", "the request has no size of its own");
    }
    memcpy(&asked, request, request->size < sizeof(asked) ? request->size : sizeof(asked));
    int r = check(&asked, &err);
    if (r == 0) {
        r = asked.id ? lease_read_id(asked.id, ID_LENGTH, asking.id, &err)
                     : choose_id(asking.id, &err);
    }
    if (r == 0) {
        r = ask(&asking, ret_verdict, &err);
    }
    return r < 0 ? handle_fail(vram, &err) : r;
}

/* ---- Changing and ending --------------------------------------------------------------------- */

static int call_lease(struct vram *vram, const char *method, const char *text, const char *body,
                      bool *again, json_t **ret_document, struct err *err)
{
    char id[ID_LENGTH + 1], target[TARGET_MAX];
    int r = lease_read_id(text, ID_BEGINNING, id, err);
    if (r < 0) {
        return r;
    }
    (void)snprintf(target, sizeof(target), LEASES "/%s", id);
    struct daemon_call call = {.method = method, .target = target, .body = body, .again = again};
    return daemon_call(vram, &call, ret_document, err);
}

int vram_lease_end(struct vram *vram, const char *id)
{
    struct err err = {0};
    json_t *document = NULL;
    bool again = false;
    int r = call_lease(vram, "DELETE", id, NULL, &again, &document, &err);
    if (r == -ENOENT && again) {
        return 0; /* the daemon that ended it was killed before it could say so */
    }
    if (r < 0) {
        return handle_fail(vram, &err);
    }
    const char *ended = json_string_value(json_object_get(document, "ended"));
    r = ended && strcmp(ended, "request") == 0;
    json_decref(document);
    return r;
}

/* Sends a change, whose text it frees. */
static int change(struct vram *vram, const char *id, char *body, struct vram_verdict **ret_verdict)
{
    struct err err = {0};
    json_t *document = NULL;
    int r = body ? call_lease(vram, "PATCH", id, body, NULL, &document, &err) : err_no_memory(&err);
    free(body);
    if (r == 0) {
        r = take_verdict(document, ret_verdict, &err);
    }
    return r < 0 ? handle_fail(vram, &err) : r;
}

/* A change that is made or is an error. */
static int change_surely(struct vram *vram, const char *id, struct buf *body)
{
    struct vram_verdict *verdict = NULL;
    int r = change(vram, id, buf_steal(body, NULL), &verdict);
    if (r > 0) {
        r = handle_fail_with(vram, -EIO, "refused", verdict->message);
    }
    (void)vram_verdict_free(verdict);
    return r;
}

int vram_lease_resize(struct vram *vram, const char *id, uint64_t size_bytes,
                      struct vram_verdict **ret_verdict)
{
    struct buf body = BUF_INIT;
    struct json json = JSON_INIT(&body);
    json_object(&json, NULL);
    json_number(&json, "size_bytes", size_bytes);
    json_end_object(&json);
    return change(vram, id, buf_steal(&body, NULL), ret_verdict);
}

int vram_lease_attach(struct vram *vram, const char *id, const char *member)
{
    struct buf body = BUF_INIT;
    struct json json = JSON_INIT(&body);
    json_object(&json, NULL);
    json_array(&json, "attach");
    json_text(&json, NULL, member);
    json_end_array(&json);
    json_end_object(&json);
    return change_surely(vram, id, &body);
}

int vram_lease_filled(struct vram *vram, const char *id)
{
    struct buf body = BUF_INIT;
    struct json json = JSON_INIT(&body);
    json_object(&json, NULL);
    json_bool(&json, "filled", true);
    json_end_object(&json);
    return change_surely(vram, id, &body);
}

int vram_lease_until(struct vram *vram, const char *id, uint64_t for_ms)
{
    struct buf body = BUF_INIT;
    struct json json = JSON_INIT(&body);
    json_object(&json, NULL);
    write_duration(&json, "for_ms", for_ms);
    json_end_object(&json);
    return change_surely(vram, id, &body);
}

/* ---- Listing --------------------------------------------------------------------------------- */

int vram_leases(struct vram *vram, uint64_t after_epoch, uint64_t timeout_ms,
                struct vram_lease_list **ret_list)
{
    char target[96];
    struct err err = {0};
    json_t *document = NULL;
    struct vram_lease_list *list = NULL;
    daemon_call_wait_target(target, sizeof(target), "/v1/leases?", after_epoch, timeout_ms);
    struct daemon_call call = {
        .method = "GET", .target = target, .wait_ms = after_epoch ? timeout_ms : 0};
    int r = daemon_call(vram, &call, &document, &err);
    if (r == 0) {
        r = lease_record_list(document, &list);
        json_decref(document);
        if (r < 0) {
            r = fail_answer(r, &err);
        }
    }
    if (r < 0) {
        return handle_fail(vram, &err);
    }
    *ret_list = list;
    return 0;
}

/* ---- The administrator's orders ------------------------------------------------------------------ */

static int order(struct vram *vram, const char *target, const char *body)
{
    struct err err = {0};
    json_t *document = NULL;
    struct daemon_call call = {.method = "POST", .target = target, .body = body};
    int r = daemon_call(vram, &call, &document, &err);
    json_decref(document);
    return r < 0 ? handle_fail(vram, &err) : 0;
}

int vram_daemon_pause(struct vram *vram)
{
    return order(vram, "/v1/pause", NULL);
}

int vram_daemon_resume(struct vram *vram)
{
    return order(vram, "/v1/resume", NULL);
}

static int order_gpu(struct vram *vram, const char *target, const char *uuid)
{
    struct buf body = BUF_INIT;
    struct json json = JSON_INIT(&body);
    json_object(&json, NULL);
    json_text(&json, "gpu", uuid);
    json_end_object(&json);
    int r = body.failed ? handle_fail_with(vram, -ENOMEM, "out_of_memory", "out of memory")
                        : order(vram, target, body.data);
    buf_done(&body);
    return r;
}

int vram_daemon_drain(struct vram *vram, const char *uuid)
{
    return order_gpu(vram, "/v1/drain", uuid);
}

int vram_daemon_undrain(struct vram *vram, const char *uuid)
{
    return order_gpu(vram, "/v1/undrain", uuid);
}
