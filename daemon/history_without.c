/* SPDX-License-Identifier: MIT */
/* A daemon that was built without SQLite keeps no history, and says so to who asks for it. */
#include "daemon/history.h"

#include "daemon/log.h"
#include <errno.h>
#include <string.h>

void history_configure(struct daemon *daemon)
{
    const char *option = daemon->options.history;
    if (option ? strcmp(option, "off") != 0 : daemon->config.history == CONFIG_HISTORY_ON) {
        log_line(LOG_LINE_WARNING, "no history is kept: this vramd was built without SQLite");
    }
    if (daemon->config.on_event[0]) {
        log_line(LOG_LINE_WARNING, "on_event: nothing is run: this vramd was built without SQLite");
    }
}

void history_close(struct daemon *daemon)
{
    (void)daemon;
}

void history_sampled(struct daemon *daemon, const struct sample *sample)
{
    (void)daemon;
    (void)sample;
}

bool history_figures(const struct daemon *daemon, struct history_figures *ret_figures)
{
    (void)daemon;
    (void)ret_figures;
    return false;
}

void history_lease_queued(struct daemon *daemon, const struct history_deal *deal)
{
    (void)daemon;
    (void)deal;
}

void history_lease_granted(struct daemon *daemon, const struct history_deal *deal)
{
    (void)daemon;
    (void)deal;
}

void history_lease_ended(struct daemon *daemon, const char *id, const char *why)
{
    (void)daemon;
    (void)id;
    (void)why;
}

void history_lease_broken(struct daemon *daemon, const char *id, bool squeezed, pid_t pid,
                          const char *name)
{
    (void)daemon;
    (void)id;
    (void)squeezed;
    (void)pid;
    (void)name;
}

void history_leases_look(struct daemon *daemon)
{
    (void)daemon;
}

void history_lease_saw(struct daemon *daemon, const char *id, const struct vram_gpu *gpu,
                       uint64_t used_bytes)
{
    (void)daemon;
    (void)id;
    (void)gpu;
    (void)used_bytes;
}

void history_leases_looked(struct daemon *daemon)
{
    (void)daemon;
}

void history_holder_asked(struct daemon *daemon, const char *holder, const char *uuid,
                          uint64_t returned_bytes, const char *text)
{
    (void)daemon;
    (void)holder;
    (void)uuid;
    (void)returned_bytes;
    (void)text;
}

static void fail(struct daemon *daemon, struct http_request *request)
{
    (void)daemon;
    http_fail(request, 503, "no_history", ENODATA, NULL, "this vramd was built without SQLite");
}

void history_get_memory(struct daemon *daemon, struct http_request *request)
{
    fail(daemon, request);
}

void history_get_processes(struct daemon *daemon, struct http_request *request)
{
    fail(daemon, request);
}

void history_get_leases(struct daemon *daemon, struct http_request *request)
{
    fail(daemon, request);
}

void history_get_events(struct daemon *daemon, struct http_request *request)
{
    fail(daemon, request);
}

void history_get_report(struct daemon *daemon, struct http_request *request)
{
    fail(daemon, request);
}

void history_get_needs(struct daemon *daemon, struct http_request *request)
{
    fail(daemon, request);
}

void history_forget_need(struct daemon *daemon, struct http_request *request)
{
    fail(daemon, request);
}
