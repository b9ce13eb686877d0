/* SPDX-License-Identifier: MIT */
#include "daemon/stream.h"

#include "common/clock.h"
#include "daemon/promises.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define STREAMS_MAX 128
#define UNSENT_MAX 16384              /* what may wait for a reader here, besides one text */
#define PACE_NS ((uint64_t)500000000) /* between figures */
#define FRESH_NS ((uint64_t)1500000000)
#define BEATS_STUCK 4 /* a reader that takes nothing for so many heartbeats is closed */

static const struct timeval beat = {15, 0};

TAILQ_HEAD(stream_list, stream);

struct stream {
    TAILQ_ENTRY(stream) link;
    struct streams *streams;
    struct http_request *request;
    uint64_t missed; /* texts, since it is behind */
    size_t unsent;   /* at the last heartbeat */
    unsigned stuck;  /* heartbeats without any of that having gone */
};

struct streams {
    struct daemon *daemon;
    struct stream_list list;
    size_t count, remote;
    struct event *on_pace, *on_beat;
    uint64_t sent_ns;
    uint64_t begun_ns, epoch; /* of the figures that were sent last */
    char *leases;             /* as they were sent last */

    /* What new readers begin with, made once for all that come meanwhile. */
    struct http_text *standing;
    uint64_t standing_ns, standing_epoch;
};

/* ---- Texts ----------------------------------------------------------------------------------- */

/* "event: KIND", an id, and `data`, which is one line as all JSON is. */
static void add_event(const struct streams *streams, struct buf *buf, const char *kind,
                      const char *data)
{
    buf_format(buf, "id: %" PRIu64 "\nevent: %s\ndata: ", streams->daemon->epoch, kind);
    buf_text(buf, data);
    buf_text(buf, "\n\n");
}

/* Figures with process lists, or without. */
static void add_figures(const struct streams *streams, struct buf *buf,
                        const struct vram_snapshot *snapshot, bool listed)
{
    struct buf json = BUF_INIT;
    if (api_write_snapshot(streams->daemon, snapshot, &json) == 0) {
        add_event(streams, buf, listed ? "snapshot" : "memory", json.data);
    }
    buf_done(&json);
}

/* Empties the buffer. NULL: out of memory. */
static struct http_text *take_text(struct buf *buf)
{
    struct http_text *text =
        buf->failed || !buf->length ? NULL : http_text_new(buf->data, buf->length);
    buf_done(buf);
    return text;
}

static struct http_text *make_text(const struct streams *streams, const char *kind,
                                   const char *data)
{
    struct buf buf = BUF_INIT;
    add_event(streams, &buf, kind, data);
    return take_text(&buf);
}

static struct http_text *make_figures(const struct streams *streams,
                                      const struct vram_snapshot *snapshot, bool listed)
{
    struct buf buf = BUF_INIT;
    add_figures(streams, &buf, snapshot, listed);
    return take_text(&buf);
}

static struct http_text *make_leases(const struct streams *streams)
{
    return streams->leases ? make_text(streams, "leases", streams->leases) : NULL;
}

/* How things stand, which stays the streams' own: figures with the lists that are known, newer figures without, leases. */
static struct http_text *find_standing(struct streams *streams)
{
    const struct daemon *daemon = streams->daemon;
    struct buf buf = BUF_INIT;
    if (streams->standing && streams->standing_ns == daemon->snapshot_begun_ns &&
        streams->standing_epoch == daemon->epoch) {
        return streams->standing;
    }
    if (daemon->listed) {
        add_figures(streams, &buf, daemon->listed, true);
    }
    if (daemon->snapshot && daemon->snapshot != daemon->listed) {
        add_figures(streams, &buf, daemon->snapshot, false);
    }
    if (streams->leases) {
        add_event(streams, &buf, "leases", streams->leases);
    }
    http_text_unref(streams->standing);
    streams->standing = take_text(&buf);
    streams->standing_ns = daemon->snapshot_begun_ns;
    streams->standing_epoch = daemon->epoch;
    return streams->standing;
}

static struct http_text *make_trouble(const struct streams *streams, const char *code, int error,
                                      const char *hint, const char *message)
{
    char *json = http_error_json(code, error, hint, message);
    struct http_text *text = json ? make_text(streams, "trouble", json) : NULL;
    free(json);
    return text;
}

/* ---- To one reader --------------------------------------------------------------------------- */

static void push(struct stream *stream, struct http_text *text)
{
    if (text) {
        http_push(stream->request, text);
        http_text_unref(text);
    }
}

/* How things stand. */
static void push_all(struct stream *stream)
{
    struct streams *streams = stream->streams;
    const struct daemon *daemon = streams->daemon;
    struct http_text *standing = find_standing(streams);
    if (standing) {
        http_push(stream->request, standing);
    }
    if (collector_is_paused(daemon->collector)) {
        push(stream, make_trouble(streams, "paused", ENODEV, "`vram resume` takes it up again",
                                  "vramd has let go of the driver"));
    }
}

/* False: it is behind, and misses this one. Who was, and is no more, is told. */
static bool may_push(struct stream *stream)
{
    struct buf buf = BUF_INIT;
    if (http_unsent(stream->request) > UNSENT_MAX) {
        stream->missed++;
        return false;
    }
    if (stream->missed) {
        buf_format(&buf, "{\"schema\":1,\"missed\":%" PRIu64 "}", stream->missed);
        push(stream, buf.failed ? NULL : make_text(stream->streams, "lag", buf.data));
        buf_done(&buf);
        stream->missed = 0;
        push_all(stream);
    }
    return true;
}

/* Takes the text over. */
static void push_to_all(struct streams *streams, struct http_text *text)
{
    struct stream *stream;
    TAILQ_FOREACH(stream, &streams->list, link)
    {
        if (text && may_push(stream)) {
            http_push(stream->request, text);
        }
    }
    http_text_unref(text);
}

/* ---- To all ---------------------------------------------------------------------------------- */

/* "epoch" is in the list's beginning and changes with every figure. */
static bool same_leases(const char *a, const char *b)
{
    const char *rest_a = a ? strstr(a, "\"leases\":[") : NULL, *rest_b = strstr(b, "\"leases\":[");
    return rest_a && rest_b && strcmp(rest_a, rest_b) == 0;
}

/* Whether they are others than were sent last. */
static bool take_leases(struct streams *streams)
{
    const struct daemon *daemon = streams->daemon;
    char *text = promises_leases(daemon);
    if (!text || same_leases(streams->leases, text)) {
        free(text);
        return false;
    }
    free(streams->leases);
    streams->leases = text;
    streams->standing_epoch = 0; /* which is none */
    return true;
}

static void send_now(struct streams *streams)
{
    const struct daemon *daemon = streams->daemon;
    bool news = daemon->snapshot_begun_ns != streams->begun_ns || daemon->epoch != streams->epoch;
    streams->sent_ns = clock_now_ns();
    if (news && daemon->snapshot) {
        push_to_all(streams, make_figures(streams, daemon->snapshot,
                                          daemon->snapshot_take & VRAM_TAKE_PROCESSES));
    }
    streams->begun_ns = daemon->snapshot_begun_ns;
    streams->epoch = daemon->epoch;
    if (take_leases(streams)) {
        push_to_all(streams, make_leases(streams));
    }
}

/* Sends what has changed, as soon as the pace allows. */
static void stir(struct streams *streams)
{
    uint64_t passed_ns = clock_now_ns() - streams->sent_ns;
    if (passed_ns >= PACE_NS) {
        send_now(streams);
    } else if (!event_pending(streams->on_pace, EV_TIMEOUT, NULL)) {
        struct timeval wait = {0, (suseconds_t)((PACE_NS - passed_ns) / 1000)};
        (void)event_add(streams->on_pace, &wait);
    }
}

static void on_pace(evutil_socket_t none, short what, void *data)
{
    struct streams *streams = data;
    (void)none;
    (void)what;
    if (streams->count > 0) {
        send_now(streams);
    }
}

static bool is_stuck(struct stream *stream)
{
    size_t unsent = http_unsent(stream->request);
    stream->stuck = unsent > 0 && unsent >= stream->unsent ? stream->stuck + 1 : 0;
    stream->unsent = unsent;
    return stream->stuck >= BEATS_STUCK;
}

static void on_beat(evutil_socket_t none, short what, void *data)
{
    static const char comment[] = ":\n\n";
    struct streams *streams = data;
    struct http_text *text = http_text_new(comment, sizeof(comment) - 1);
    struct stream *stream;
    (void)none;
    (void)what;
    TAILQ_FOREACH(stream, &streams->list, link)
    {
        if (is_stuck(stream)) {
            http_drop(stream->request);
        } else if (text && may_push(stream)) {
            http_push(stream->request, text);
        }
    }
    http_text_unref(text);
}

void streams_sampled(struct daemon *daemon, const struct sample *sample)
{
    struct streams *streams = daemon->streams;
    if (!streams_are_open(daemon)) {
        return;
    }
    if (sample->snapshot) {
        stir(streams);
    } else if (sample->error) {
        const struct collector_error *error = sample->error;
        push_to_all(streams, make_trouble(streams, error->code, -sample->result, error->hint,
                                          error->message));
    } else {
        push_to_all(streams, make_trouble(streams, "driver_hung", ETIMEDOUT,
                                          "the last figures are shown; `vram doctor` tells more",
                                          "the driver does not answer"));
    }
}

void streams_changed(struct daemon *daemon)
{
    struct streams *streams = daemon->streams;
    if (!streams_are_open(daemon)) {
        return;
    }
    if (collector_is_paused(daemon->collector)) {
        push_to_all(streams,
                    make_trouble(streams, "paused", ENODEV, "`vram resume` takes it up again",
                                 "vramd has let go of the driver"));
    }
    stir(streams);
}

void streams_event(struct daemon *daemon, const char *json)
{
    if (json && streams_are_open(daemon)) {
        push_to_all(daemon->streams, make_text(daemon->streams, "event", json));
    }
}

/* ---- Readers --------------------------------------------------------------------------------- */

static void on_gone(struct http_request *request, void *data)
{
    struct stream *stream = data;
    struct streams *streams = stream->streams;
    TAILQ_REMOVE(&streams->list, stream, link);
    streams->remote -= http_is_remote(request);
    if (--streams->count == 0) {
        (void)event_del(streams->on_beat);
        free(streams->leases);
        streams->leases = NULL;
        http_text_unref(streams->standing);
        streams->standing = NULL;
    }
    free(stream);
}

static struct stream *add(struct streams *streams, struct http_request *request)
{
    struct stream *stream = calloc(1, sizeof(*stream));
    if (!stream) {
        return NULL;
    }
    stream->streams = streams;
    stream->request = request;
    TAILQ_INSERT_TAIL(&streams->list, stream, link);
    streams->remote += http_is_remote(request);
    if (streams->count++ == 0) {
        (void)event_add(streams->on_beat, &beat);
        (void)take_leases(streams);
    }
    http_on_gone(request, on_gone, stream);
    return stream;
}

static void begin(struct stream *stream)
{
    static const char hello[] = ":\nretry: 2000\n\n";
    struct daemon *daemon = stream->streams->daemon;
    http_set_header(stream->request, "X-Accel-Buffering",
                    "no"); /* a proxy is to hold nothing back */
    http_begin_stream(stream->request, "text/event-stream; charset=utf-8");
    push(stream, http_text_new(hello, sizeof(hello) - 1));
    push_all(stream);
    bool fresh = daemon->snapshot && clock_now_ns() - daemon->snapshot_begun_ns < FRESH_NS;
    if (!fresh && !collector_is_paused(daemon->collector)) {
        collector_ask(daemon->collector, FIGURES_OF_METRICS);
    }
    figures_poll(daemon);
}

void stream_answer(struct daemon *daemon, struct http_request *request)
{
    struct streams *streams = daemon->streams;
    if (streams->count >= STREAMS_MAX) {
        http_set_header(request, "Retry-After", "10");
        http_fail(request, 503, "too_many", EAGAIN, "close a page that is not looked at",
                  "there are %d streams already", STREAMS_MAX);
        return;
    }
    struct stream *stream = add(streams, request);
    if (stream) {
        begin(stream);
    } else {
        http_fail_memory(request);
    }
}

bool streams_are_open(const struct daemon *daemon)
{
    return daemon->streams && daemon->streams->count > 0;
}

size_t streams_remote(const struct daemon *daemon)
{
    return daemon->streams ? daemon->streams->remote : 0;
}

/* ---- Life ------------------------------------------------------------------------------------ */

int streams_init(struct daemon *daemon)
{
    struct streams *streams = calloc(1, sizeof(*streams));
    if (!streams) {
        return -ENOMEM;
    }
    daemon->streams = streams;
    streams->daemon = daemon;
    TAILQ_INIT(&streams->list);
    streams->on_pace = event_new(daemon->base, -1, 0, on_pace, streams);
    streams->on_beat = event_new(daemon->base, -1, EV_PERSIST, on_beat, streams);
    return streams->on_pace && streams->on_beat ? 0 : -ENOMEM;
}

void streams_done(struct daemon *daemon)
{
    struct streams *streams = daemon->streams;
    if (!streams) {
        return;
    }
    if (streams->on_pace) {
        event_free(streams->on_pace);
    }
    if (streams->on_beat) {
        event_free(streams->on_beat);
    }
    free(streams->leases);
    http_text_unref(streams->standing);
    free(streams);
    daemon->streams = NULL;
}
