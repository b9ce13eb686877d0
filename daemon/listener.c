/* SPDX-License-Identifier: MIT */
#include "daemon/listener.h"

#include "daemon/gate.h"
#include "daemon/log.h"
#include "daemon/page.h"
#include "daemon/stream.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 256
#define WAITING_MAX 16 /* who waits for changes */
#define BACKLOG 64

struct listener {
    struct daemon *daemon;
    struct http_server *http;
    struct gate_address wanted, bound; /* they differ in a port that the kernel chose */
    char token[GATE_TOKEN_MAX];        /* "": none is asked for */
};

/* What is to be, before it is. */
struct plan {
    bool listens;
    struct gate_address address;
    char token[GATE_TOKEN_MAX];
};

/* ---- Requests -------------------------------------------------------------------------------- */

static bool misdirected(struct http_request *request)
{
    http_fail(request, 421, "misdirected", EINVAL,
              "public_host in /etc/vram.conf lists the names of this machine",
              "this machine is not known by the name that was asked for");
    return false;
}

/* Whether no other site's page asks. */
static bool is_of_our_page(const struct daemon *daemon, const struct gate_address *listened,
                           struct http_request *request)
{
    if (gate_knows_site(http_header(request, "Sec-Fetch-Site")) &&
        gate_knows_origin(http_header(request, "Origin"), listened, daemon->config.public_host)) {
        return true;
    }
    http_fail(request, 403, "forbidden", EPERM, NULL, "another site's page asks");
    return false;
}

/* One Host header and no more: of two, something on the way may have believed the other. */
static bool is_for_us(const struct listener *listener, struct http_request *request)
{
    const struct daemon *daemon = listener->daemon;
    if (http_header_count(request, "Host") != 1) {
        http_fail(request, 400, "bad_request", EINVAL, NULL, "one Host header is needed");
        return false;
    }
    if (!gate_knows_host(http_header(request, "Host"), &listener->bound,
                         daemon->config.public_host)) {
        return misdirected(request);
    }
    return is_of_our_page(daemon, &listener->bound, request);
}

static bool may_enter(const struct listener *listener, struct http_request *request)
{
    if (!listener->token[0] || page_is_of(request) ||
        gate_has_token(http_header(request, "Authorization"), listener->token)) {
        return true;
    }
    http_set_header(request, "WWW-Authenticate", "Bearer realm=\"vram\"");
    http_fail(request, 401, "forbidden", EACCES, "send it as `Authorization: Bearer TOKEN`",
              "the token is missing, or another");
    return false;
}

static void handle(struct http_request *request, void *data)
{
    const struct listener *listener = data;
    http_set_header(request, "Content-Security-Policy",
                    "default-src 'none'; frame-ancestors 'none'");
    http_set_header(request, "Cross-Origin-Resource-Policy", "same-origin");
    http_set_header(request, "Referrer-Policy", "no-referrer");
    if (!is_for_us(listener, request) || !may_enter(listener, request)) {
        return;
    }
    if (http_query(request, "after") &&
        http_server_waiting(listener->http) > WAITING_MAX + streams_remote(listener->daemon)) {
        http_set_header(request, "Retry-After", "5");
        http_fail(request, 503, "too_many", EAGAIN, NULL, "too many wait for changes");
        return;
    }
    api_handle_reading(request, listener->daemon);
}

/* `ssh -L 9464:/run/vram/vram.sock` leads browsers here, and with them the pages of others. */
void listener_handle_local(struct http_request *request, void *data)
{
    static const struct gate_address nowhere = {.is_any = true};
    struct daemon *daemon = data;
    const char *host = http_header(request, "Host");
    bool plain = !host || !strpbrk(host, ".["); /* no name that a stranger could own */
    if (!plain && !gate_knows_host(host, &nowhere, daemon->config.public_host)) {
        (void)misdirected(request);
    } else if (is_of_our_page(daemon, &nowhere, request)) {
        api_handle(request, daemon);
    }
}

/* ---- Opening --------------------------------------------------------------------------------- */

/* What is wanted now. A user's own daemon does not take the machine's configuration for its own: it would want the same port. */
static int make_plan(const struct daemon *daemon, struct plan *plan, char *message, size_t size)
{
    const struct daemon_options *options = &daemon->options;
    const struct config *config = &daemon->config;
    char problem[GATE_PROBLEM_MAX];
    bool is_configured = !options->is_private || options->config_is_named;
    const char *text = options->listen ? options->listen : is_configured ? config->listen : "";
    const char *token_file = options->token_file ? options->token_file
                             : is_configured     ? config->token_file
                                                 : "";
    *plan = (struct plan){.listens = text[0]};
    if (!plan->listens) {
        return 0;
    }
    if (gate_parse_address(text, &plan->address) < 0) {
        (void)snprintf(message, size, "%.64s is no address to listen on", text);
        return -EINVAL;
    }
    int r = token_file[0] ? gate_read_token(token_file, plan->token, problem) : 0;
    if (r < 0) {
        (void)snprintf(message, size, "%s", problem);
    } else if (!plan->address.is_loopback && !plan->token[0]) {
        (void)snprintf(message, size,
                       "%s can be reached from other machines, and that takes a token: name a file "
                       "of it with --token-file, or token_file in /etc/vram.conf",
                       plan->address.text);
        r = -EACCES;
    }
    return r;
}

static int open_socket(const struct gate_address *address, int *ret_fd, char *message, size_t size)
{
    int on = 1,
        fd = socket(address->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* Connections of a daemon before this one, which the kernel remembers for a minute, do not keep it out. */
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, (const struct sockaddr *)&address->address, address->size) < 0 ||
        listen(fd, BACKLOG) < 0) {
        int r = -errno;
        (void)snprintf(message, size, "%s cannot be listened on: %s%s", address->text, strerror(-r),
                       r == -EADDRINUSE ? "; another program has it" : "");
        if (fd >= 0) {
            (void)close(fd);
        }
        return r;
    }
    *ret_fd = fd;
    return 0;
}

static int move_to(struct listener *listener, const struct gate_address *address, char *message,
                   size_t size)
{
    int fd = -1;
    int r = open_socket(address, &fd, message, size);
    if (r < 0) {
        return r;
    }
    struct gate_address bound;
    r = gate_address_of(fd, &bound);
    r = r < 0 ? r : http_server_listen(listener->http, fd);
    if (r < 0) {
        (void)close(fd);
        (void)snprintf(message, size, "%s cannot be listened on: %s", address->text, strerror(-r));
        return r;
    }
    listener->wanted = *address;
    listener->bound = bound;
    log_line(LOG_LINE_NOTICE, "for reading on http://%s/", bound.text);
    return 0;
}

static struct listener *listener_new(struct daemon *daemon)
{
    struct listener *listener = calloc(1, sizeof(*listener));
    if (!listener) {
        return NULL;
    }
    listener->daemon = daemon;
    listener->http = http_server_new(daemon->base, CONNECTIONS_MAX, handle, listener);
    if (!listener->http) {
        free(listener);
        return NULL;
    }
    http_server_set_remote(listener->http);
    http_server_count(listener->http, &daemon->http_counts);
    return listener;
}

int listener_open(struct daemon *daemon, char *message, size_t size)
{
    struct plan plan;
    int r = make_plan(daemon, &plan, message, size);
    if (r < 0 || !plan.listens) {
        return r;
    }
    bool is_new = !daemon->listener;
    if (is_new && !(daemon->listener = listener_new(daemon))) {
        (void)snprintf(message, size, "out of memory");
        return -ENOMEM;
    }
    struct listener *listener = daemon->listener;
    bool stays = !is_new && strcmp(listener->wanted.text, plan.address.text) == 0;
    r = stays ? 0 : move_to(listener, &plan.address, message, size);
    if (r == 0) {
        memcpy(listener->token, plan.token, sizeof(plan.token));
    } else if (is_new) {
        listener_close(daemon);
    }
    return r;
}

void listener_reload(struct daemon *daemon)
{
    char message[GATE_PROBLEM_MAX];
    struct plan plan;
    int r = make_plan(daemon, &plan, message, sizeof(message));
    if (r == 0 && plan.listens) {
        r = listener_open(daemon, message, sizeof(message));
    } else if (r == 0 && daemon->listener) {
        log_line(LOG_LINE_NOTICE, "no more for reading on http://%s/",
                 daemon->listener->bound.text);
        listener_close(daemon);
    }
    if (r < 0) {
        log_line(LOG_LINE_ERROR, "%s; what was before goes on", message);
    }
}

/* ---- Life ------------------------------------------------------------------------------------ */

void listener_stop(struct daemon *daemon, const char *json)
{
    if (daemon->listener) {
        http_server_stop(daemon->listener->http);
        http_server_turn_away(daemon->listener->http, 503, json);
    }
}

void listener_close(struct daemon *daemon)
{
    if (daemon->listener) {
        daemon->listener->http = http_server_free(daemon->listener->http);
        explicit_bzero(daemon->listener->token, sizeof(daemon->listener->token));
        free(daemon->listener);
        daemon->listener = NULL;
    }
}

const char *listener_address(const struct daemon *daemon)
{
    return daemon->listener ? daemon->listener->bound.text : NULL;
}

size_t listener_connections(const struct daemon *daemon)
{
    return daemon->listener ? http_server_connections(daemon->listener->http) : 0;
}
