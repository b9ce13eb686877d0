/* SPDX-License-Identifier: MIT */
#include "daemon/reclaim_ask.h"

#include "common/clock.h"
#include "daemon/reclaim_command.h"
#include "daemon/reclaim_dialect.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_NS ((uint64_t)1000000)

struct reclaim_ask {
    struct event_base *base;
    const struct config_holder *holder;
    uint64_t wanted_bytes, until_ns;
    bool is_inquiry;
    struct reclaim_http *http;
    struct reclaim_command *command;
    struct dialect_models models; /* to be unloaded, one after the other */
    size_t next;
    reclaim_ask_function done;
    void *data;
};

bool reclaim_has_word(const struct config_holder *holder)
{
    const struct dialect *dialect = dialect_of(holder->ask);
    return holder->busy == HOLDER_BUSY_COMMAND ||
           (holder->busy == HOLDER_BUSY_OWN && dialect && dialect->work_path);
}

static void finish(struct reclaim_ask *ask, const char *failure, bool busy)
{
    ask->done(ask->data, failure, busy);
}

/* ---- HTTP ------------------------------------------------------------------------------------ */

static int call(struct reclaim_ask *ask, const char *path, bool is_post, const char *body,
                reclaim_http_function answered)
{
    uint64_t now_ns = clock_now_ns();
    struct reclaim_http_call http = {
        .url = &ask->holder->url,
        .path = path,
        .is_post = is_post,
        .body = body,
        .timeout_ns = ask->until_ns > now_ns + LEAST_NS ? ask->until_ns - now_ns : LEAST_NS,
    };
    ask->http = reclaim_http_free(ask->http);
    ask->http = reclaim_http_new(ask->base, &http, answered, ask);
    return ask->http ? 0 : -1;
}

static void on_answer(void *data, const char *answer, const char *failure)
{
    finish(data, answer ? "" : failure, false);
}

static void on_unloaded(void *data, const char *answer, const char *failure);

static int unload_next(struct reclaim_ask *ask)
{
    const struct dialect *dialect = dialect_of(ask->holder->ask);
    char *body = dialect_body(ask->holder->ask, ask->models.names[ask->next++]);
    int r = body ? call(ask, dialect->path, true, body, on_unloaded) : -1;
    free(body);
    return r;
}

static void on_unloaded(void *data, const char *answer, const char *failure)
{
    struct reclaim_ask *ask = data;
    if (!answer || ask->next == ask->models.count) {
        finish(ask, answer ? "" : failure, false);
    } else if (unload_next(ask) < 0) {
        finish(ask, "out of memory", false);
    }
}

static void on_models(void *data, const char *answer, const char *failure)
{
    struct reclaim_ask *ask = data;
    if (!answer) {
        finish(ask, failure, false);
    } else if (dialect_models(ask->holder->ask, answer, ask->wanted_bytes, &ask->models) < 0) {
        finish(ask, "its list of models cannot be read", false);
    } else if (ask->models.count == 0) {
        finish(ask, "it has no model loaded", false);
    } else if (unload_next(ask) < 0) {
        finish(ask, "out of memory", false);
    }
}

static int ask_over_http(struct reclaim_ask *ask)
{
    const struct config_holder *holder = ask->holder;
    const struct dialect *dialect = dialect_of(holder->ask);
    if (!dialect) {
        bool is_post = holder->ask == HOLDER_ASK_POST;
        return call(ask, NULL, is_post, holder->body[0] ? holder->body : NULL, on_answer);
    }
    if (dialect->list_path) {
        return call(ask, dialect->list_path, false, NULL, on_models);
    }
    return call(ask, dialect->path, dialect->is_post, dialect->body, on_answer);
}

static void on_work(void *data, const char *answer, const char *failure)
{
    struct reclaim_ask *ask = data;
    bool busy = false;
    if (answer && dialect_work(ask->holder->ask, answer, &busy) < 0) {
        answer = NULL;
        failure = "what it says of its work cannot be read";
    }
    finish(ask, answer ? "" : failure, busy);
}

/* ---- Commands -------------------------------------------------------------------------------- */

static void on_command(void *data, int status, const char *failure, const char *said)
{
    struct reclaim_ask *ask = data;
    char text[RECLAIM_FAILURE_MAX];
    (void)snprintf(text, sizeof(text), "%s", failure);
    if (status > (ask->is_inquiry ? 1 : 0)) {
        (void)snprintf(text, sizeof(text), "its command ended with status %d%s%.48s", status,
                       said[0] ? ": " : "", said);
    }
    finish(ask, text, status == 0);
}

/* With commas between; those for which there is room. */
static void write_uuids(const struct reclaim_wanted *wanted, char *text, size_t size)
{
    size_t used = strlen(text);
    for (size_t i = 0; wanted && i < wanted->gpu_count; i++) {
        int length = snprintf(text + used, size - used, "%s%s", i ? "," : "", wanted->gpus[i]);
        if (length < 0 || (size_t)length >= size - used) {
            text[used] = '\0';
            return;
        }
        used += (size_t)length;
    }
}

static int run(struct reclaim_ask *ask, const char *command, const struct reclaim_wanted *of)
{
    char name[HOLDER_NAME_MAX + 16], wanted[48], uuids[1024] = "VRAM_GPUS=";
    (void)snprintf(name, sizeof(name), "VRAM_HOLDER=%s", ask->holder->name);
    (void)snprintf(wanted, sizeof(wanted), "VRAM_WANTED_BYTES=%" PRIu64, ask->wanted_bytes);
    write_uuids(of, uuids, sizeof(uuids));
    const char *const environment[] = {name, wanted, uuids, NULL};
    ask->command = reclaim_command_new(ask->base, command, environment, ask->holder->timeout_ns,
                                       on_command, ask);
    return ask->command ? 0 : -1;
}

/* ---- Both ------------------------------------------------------------------------------------ */

static struct reclaim_ask *make(struct event_base *base, const struct config_holder *holder,
                                reclaim_ask_function done, void *data)
{
    struct reclaim_ask *ask = calloc(1, sizeof(*ask));
    if (ask) {
        ask->base = base;
        ask->holder = holder;
        ask->until_ns = clock_now_ns() + holder->timeout_ns;
        ask->done = done;
        ask->data = data;
    }
    return ask;
}

struct reclaim_ask *reclaim_ask_new(struct event_base *base, const struct config_holder *holder,
                                    const struct reclaim_wanted *wanted, reclaim_ask_function done,
                                    void *data)
{
    struct reclaim_ask *ask = make(base, holder, done, data);
    if (!ask) {
        return NULL;
    }
    ask->wanted_bytes = wanted->bytes;
    int r =
        holder->ask == HOLDER_ASK_COMMAND ? run(ask, holder->command, wanted) : ask_over_http(ask);
    return r < 0 ? reclaim_ask_free(ask) : ask;
}

struct reclaim_ask *reclaim_inquire(struct event_base *base, const struct config_holder *holder,
                                    reclaim_ask_function done, void *data)
{
    struct reclaim_ask *ask = make(base, holder, done, data);
    if (!ask) {
        return NULL;
    }
    ask->is_inquiry = true;
    int r = holder->busy == HOLDER_BUSY_COMMAND
                ? run(ask, holder->busy_command, NULL)
                : call(ask, dialect_of(holder->ask)->work_path, false, NULL, on_work);
    return r < 0 ? reclaim_ask_free(ask) : ask;
}

struct reclaim_ask *reclaim_ask_free(struct reclaim_ask *ask)
{
    if (ask) {
        (void)reclaim_http_free(ask->http);
        (void)reclaim_command_free(ask->command);
        free(ask);
    }
    return NULL;
}
