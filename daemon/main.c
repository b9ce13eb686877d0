/* SPDX-License-Identifier: MIT */
/*
 * vramd: the one place where GPU memory is promised. Puts the parts together, runs the loop, and ends in order.
 */
#include "common/clock.h"
#include "common/size.h"
#include "daemon/collector_child.h"
#include "daemon/daemon.h"
#include "daemon/history.h"
#include "daemon/listener.h"
#include "daemon/log.h"
#include "daemon/options.h"
#include "daemon/promises.h"
#include "daemon/ready.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 8192
#define DESCRIPTORS_PER_CONNECTION 4 /* itself, its peer's pidfd, its owner's, one to spare */
#define DEFAULT_CALL_TIMEOUT_NS ((uint64_t)10000000000)
#define SECOND_NS ((uint64_t)1000000000)
#define SYSTEM_SOCKET "/run/vram/vram.sock"

/* What main owns beside the daemon's parts. */
struct program {
    struct daemon daemon;
    struct options options;
    struct endpoint endpoint;
    int listening;
    struct event *on_term, *on_int, *on_hup, *on_second;
};

/* ---- The environment ------------------------------------------------------------------------- */

/* What is opened later must never become one of the three. */
static void guard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0) {
            int opened = open("/dev/null", O_RDWR); /* the lowest free number: this one */
            (void)opened;
        }
    }
}

static void raise_descriptors(void)
{
    struct rlimit limit;
    rlim_t wanted = CONNECTIONS_MAX * DESCRIPTORS_PER_CONNECTION;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < wanted) {
        limit.rlim_max = geteuid() == 0 && limit.rlim_max < wanted ? wanted : limit.rlim_max;
        limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* More connections than there are descriptors for would only fail later. */
static size_t connections_max(void)
{
    struct rlimit limit;
    size_t most = CONNECTIONS_MAX;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        limit.rlim_cur / DESCRIPTORS_PER_CONNECTION < most) {
        most = (size_t)(limit.rlim_cur / DESCRIPTORS_PER_CONNECTION);
    }
    return most;
}

static uint64_t call_timeout_ns(void)
{
    const char *text = getenv("VRAM_CALL_TIMEOUT");
    uint64_t ns;
    return text && duration_parse(text, &ns) == 0 && ns ? ns : DEFAULT_CALL_TIMEOUT_NS;
}

static void on_libevent(int severity, const char *message)
{
    if (severity >= EVENT_LOG_WARN) {
        log_line(severity == EVENT_LOG_ERR ? LOG_LINE_ERROR : LOG_LINE_WARNING, "%s", message);
    }
}

/* ---- The end --------------------------------------------------------------------------------- */

/* Who waits is told to come back, to the next daemon; who may, keeps its turn there. */
static void end(struct program *program, const char *why)
{
    struct daemon *daemon = &program->daemon;
    if (daemon->ending) {
        return;
    }
    daemon->ending = true;
    log_line(LOG_LINE_NOTICE, "%s", why);
    ready_notify("STOPPING=1");
    if (daemon->promises) {
        daemon->promises->ending(daemon->promises_data);
    }
    http_server_stop(daemon->http);
    daemon->grantor =
        grantor_free(daemon->grantor); /* before the place: who takes that may promise at once */
    daemon->place = place_leave(daemon->place);
    char *json = http_error_json("ending", EAGAIN, "try again: another daemon may be starting",
                                 "vramd is ending");
    http_server_turn_away(daemon->http, 503, json ? json : "{}");
    listener_stop(daemon, json ? json : "{}");
    free(json);
}

static void on_signal(evutil_socket_t number, short what, void *data)
{
    char why[64];
    (void)what;
    (void)snprintf(why, sizeof(why), "ending (%s)", strsignal((int)number));
    end(data, why);
}

static void take_config(struct program *program, const struct config *config)
{
    struct daemon *daemon = &program->daemon;
    daemon->config = *config;
    daemon->rights = rights_of(config, daemon->options.is_private);
    daemon->options.linger_ns = program->options.linger_ns   ? program->options.linger_ns
                                : program->options.on_demand ? config->linger_ns
                                                             : 0;
}

/* 0 or an exit status. */
static int configure(struct program *program)
{
    struct config config;
    char problem[CONFIG_PROBLEM_MAX];
    if (config_load(program->options.config, &config, problem) < 0) {
        log_line(LOG_LINE_ERROR, "%s", problem);
        ready_tell(program->options.ready_fd, problem);
        return STATUS_FAILED;
    }
    take_config(program, &config);
    return 0;
}

static void on_hangup(evutil_socket_t number, short what, void *data)
{
    struct program *program = data;
    struct daemon *daemon = &program->daemon;
    struct config config;
    char problem[CONFIG_PROBLEM_MAX];
    (void)number;
    (void)what;
    if (config_load(program->options.config, &config, problem) < 0) {
        log_line(LOG_LINE_ERROR, "%s; what was configured before goes on", problem);
        return;
    }
    config_done(&daemon->config);
    take_config(program, &config);
    containers_configure(daemon->containers, config.container_user_label);
    log_line(LOG_LINE_NOTICE, "the configuration was read again");
    listener_reload(daemon);
    if (daemon->promises) {
        daemon->promises->reload(daemon->promises_data);
    }
    history_configure(daemon);
}

static bool somebody_knocks(const struct program *program)
{
    struct pollfd poll_fd = {.fd = program->listening, .events = POLLIN};
    return poll(&poll_fd, 1, 0) > 0;
}

static bool is_in_use(const struct daemon *daemon)
{
    return http_server_connections(daemon->http) + listener_connections(daemon) > 0 ||
           collector_is_paused(daemon->collector) ||
           (daemon->promises && daemon->promises->is_busy(daemon->promises_data));
}

static void on_second(evutil_socket_t none, short what, void *data)
{
    struct program *program = data;
    struct daemon *daemon = &program->daemon;
    uint64_t now_ns = clock_now_ns();
    (void)none;
    (void)what;
    if (is_in_use(daemon)) {
        daemon->last_use_ns = now_ns;
    }
    /* A client that has connected and is not accepted yet is in use too. */
    if (now_ns - daemon->last_use_ns >= daemon->options.linger_ns && !somebody_knocks(program)) {
        end(program, "ending (not in use)");
    }
}

/* ---- The parts ------------------------------------------------------------------------------- */

static void on_moved(void *data, int fd)
{
    struct program *program = data;
    if (http_server_listen(program->daemon.http, fd) < 0) {
        (void)close(fd);
        log_line(LOG_LINE_ERROR, "out of memory");
        return;
    }
    program->listening = fd;
    if (program->daemon.promises) {
        program->daemon.promises->moved(program->daemon.promises_data);
    }
}

static void on_grantor(void *data)
{
    struct daemon *daemon = data;
    if (daemon->grantor) { /* else it is being made */
        log_line(LOG_LINE_NOTICE, "this daemon promises the machine's memory now");
        if (daemon->promises) {
            daemon->promises->promising_changed(daemon->promises_data);
        }
        daemon_changed(daemon);
    }
}

static int make_parts(struct program *program)
{
    struct daemon *daemon = &program->daemon;
    struct collector_options collector = {.driver = daemon->options.driver,
                                          .call_timeout_ns = daemon->options.call_timeout_ns};
    if (!(daemon->base = event_base_new()) || !(daemon->containers = containers_new("")) ||
        figures_init(daemon) < 0 ||
        !(daemon->collector = collector_new(daemon->base, &collector, figures_sampled, daemon)) ||
        !(daemon->http =
              http_server_new(daemon->base, connections_max(), listener_handle_local, daemon))) {
        return -ENOMEM;
    }
    http_server_count(daemon->http, &daemon->http_counts);
    containers_configure(daemon->containers, daemon->config.container_user_label);
    program->on_term = evsignal_new(daemon->base, SIGTERM, on_signal, program);
    program->on_int = evsignal_new(daemon->base, SIGINT, on_signal, program);
    program->on_hup = evsignal_new(daemon->base, SIGHUP, on_hangup, program);
    program->on_second = event_new(daemon->base, -1, EV_PERSIST, on_second, program);
    struct event *events[] = {program->on_term, program->on_int, program->on_hup};
    for (size_t i = 0; i < ARRAY_LENGTH(events); i++) {
        if (!events[i] || event_add(events[i], NULL) < 0) {
            return -ENOMEM;
        }
    }
    static const struct timeval second = {1, 0};
    return program->on_second &&
                   (daemon->options.linger_ns == 0 || event_add(program->on_second, &second) == 0)
               ? 0
               : -ENOMEM;
}

static int take_place(struct program *program, char *message, size_t size)
{
    struct place_options options = {
        .socket = program->endpoint.socket,
        .lock = program->endpoint.lock,
        .is_private = program->daemon.options.is_private,
        .listening = program->listening,
        .moved = on_moved,
        .data = program,
    };
    struct daemon *daemon = &program->daemon;
    int fd;
    int r = place_take(daemon->base, &options, &daemon->place, &fd, message, size);
    if (r == 0) {
        r = http_server_listen(daemon->http, fd);
        program->listening = fd;
    }
    /* Not before: who is kept out of the place would keep the lock from who is in it. */
    if (r == 0) {
        daemon->grantor = grantor_new(daemon->base, program->endpoint.grantor, on_grantor, daemon);
        r = daemon->grantor ? 0 : -ENOMEM;
    }
    return r;
}

static void free_parts(struct program *program)
{
    struct daemon *daemon = &program->daemon;
    listener_close(daemon);
    daemon->http = http_server_free(daemon->http);
    history_close(daemon);
    promises_close(daemon);
    figures_done(daemon);
    daemon->collector = collector_free(daemon->collector);
    daemon->containers = containers_free(daemon->containers);
    daemon->grantor = grantor_free(daemon->grantor);
    daemon->place = place_leave(daemon->place);
    struct event *events[] = {program->on_term, program->on_int, program->on_hup,
                              program->on_second};
    for (size_t i = 0; i < ARRAY_LENGTH(events); i++) {
        if (events[i]) {
            event_free(events[i]);
        }
    }
    if (daemon->base) {
        event_base_free(daemon->base);
    }
}

/* ---- Where ----------------------------------------------------------------------------------- */

/* What is wrong with where it should be. Returns an exit status. */
static int fail_place(const struct program *program, int r)
{
    const char *driver = program->options.driver ? program->options.driver : getenv("VRAM_DRIVER");
    if (r == -ENOTCONN) {
        log_line(LOG_LINE_ERROR, "VRAM_SOCKET is none; name a socket, or unset it");
    } else if (r == -ENAMETOOLONG) {
        log_line(LOG_LINE_ERROR, "the socket's path is too long");
    } else {
        log_line(LOG_LINE_ERROR, "%s names no driver, or the socket's path is not absolute",
                 driver ? driver : "auto");
    }
    return STATUS_USAGE;
}

/* Where the socket is, and so the files beside it; and which driver is served. 0 or an exit status. */
static int choose_place(struct program *program)
{
    static char given[ENDPOINT_SOCKET_MAX];
    struct endpoint_environment environment = endpoint_environment();
    const char *driver = program->options.driver ? program->options.driver : getenv("VRAM_DRIVER");
    bool is_root = environment.uid == 0;
    driver = driver && driver[0] ? driver : "auto";
    if (program->listening >= 0) {
        if (place_path_of(program->listening, given, sizeof(given)) < 0) {
            return fail_place(program, -EINVAL);
        }
        environment.vram_socket = given;
    } else if (program->options.socket) {
        environment.vram_socket = program->options.socket;
    } else if (is_root && strncmp(driver, "sim:", 4) != 0 &&
               !(environment.vram_socket && environment.vram_socket[0])) {
        environment.vram_socket =
            SYSTEM_SOCKET; /* which clients look for first, and find if it is there */
    }
    int r = endpoint_find(driver, &environment, &program->endpoint);
    if (r < 0) {
        return fail_place(program, r);
    }
    program->daemon.options.is_private =
        program->listening < 0 && !(is_root && program->endpoint.named);
    program->daemon.options.is_system = strcmp(program->endpoint.socket, SYSTEM_SOCKET) == 0;
    program->daemon.options.history = program->options.history;
    program->daemon.options.driver = program->options.driver;
    program->daemon.options.listen = program->options.listen;
    program->daemon.options.token_file = program->options.token_file;
    program->daemon.options.config_is_named = program->options.config != NULL;
    program->daemon.options.endpoint = &program->endpoint;
    return 0;
}

/* ---- The run --------------------------------------------------------------------------------- */

/* Sends what is still to be sent, for a second at most. */
static void send_rest(struct daemon *daemon)
{
    uint64_t until_ns = clock_now_ns() + SECOND_NS;
    struct timeval slice = {0, 10000};
    while (http_server_connections(daemon->http) + listener_connections(daemon) > 0 &&
           clock_now_ns() < until_ns) {
        (void)event_base_loopexit(daemon->base, &slice);
        (void)event_base_dispatch(daemon->base);
    }
}

static int serve(struct program *program)
{
    struct daemon *daemon = &program->daemon;
    char message[512] = "out of memory";
    int r = make_parts(program);
    r = r < 0 ? r : take_place(program, message, sizeof(message));
    r = r < 0 ? r : promises_open(daemon, program->options.forget);
    r = r < 0 ? r : listener_open(daemon, message, sizeof(message));
    if (r < 0) {
        log_line(LOG_LINE_ERROR, "%s", message);
        ready_tell(program->options.ready_fd, message);
        return STATUS_FAILED;
    }
    history_configure(daemon);
    log_line(LOG_LINE_INFO, "serving %s on %s", program->endpoint.driver, program->endpoint.socket);
    ready_tell(program->options.ready_fd, "ready");
    ready_notify("READY=1");
    daemon->last_use_ns = clock_now_ns();
    while (!daemon->ending) {
        (void)event_base_loop(daemon->base, EVLOOP_ONCE);
    }
    send_rest(daemon);
    return STATUS_DONE;
}

int main(int argc, char **argv)
{
    static struct program program = {.listening = -1};
    struct daemon *daemon = &program.daemon;
    struct timespec now;
    guard_descriptors();
    (void)signal(SIGPIPE, SIG_IGN);
    if (argc >= 2 && strcmp(argv[1], "--collector") == 0) {
        return collector_child_run(argv[2]);
    }
    int status = options_parse(argc, argv, &program.options);
    if (status >= 0) {
        return status;
    }
    event_set_log_callback(on_libevent);
    raise_descriptors();
    program.listening = place_given_socket();
    if (program.listening < -1) {
        log_line(LOG_LINE_ERROR, "what the service manager handed over is not one unix socket");
        return STATUS_FAILED;
    }
    status = choose_place(&program);
    if (status != 0) {
        return status;
    }
    (void)clock_gettime(CLOCK_REALTIME, &now);
    daemon->since_ns = (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
    daemon->epoch = daemon->since_ns / 1000; /* no epoch of a daemon before this one */
    status = configure(&program);
    if (status != 0) {
        return status;
    }
    daemon->options.call_timeout_ns = call_timeout_ns();
    status = serve(&program);
    free_parts(&program);
    config_done(&daemon->config);
    return status;
}
