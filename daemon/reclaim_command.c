/* SPDX-License-Identifier: MIT */
#include "daemon/reclaim_command.h"

#include "common/text.h"
#include "daemon/config_holders.h"
#include "daemon/process.h"
#include "daemon/spawn.h"
#include "include/vram.h"
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OUTPUT_MAX ((size_t)65536) /* beyond it nobody listens any more */
#define FAILURE_MAX 64

struct reclaim_command {
    pid_t pid; /* 0: it has been waited for */
    int output;
    size_t read;
    bool overdue;
    struct process_watch *watch;
    struct event *on_output, *on_overdue;
    reclaim_command_function done;
    void *data;
    char said[COMMAND_SAID_MAX];
};

static void close_output(struct reclaim_command *command)
{
    if (command->on_output) {
        event_free(command->on_output);
        command->on_output = NULL;
    }
    if (command->output >= 0) {
        (void)close(command->output);
        command->output = -1;
    }
}

/* What comes out of it is kept as far as its first line goes. */
static void keep(struct reclaim_command *command, const char *text, size_t length)
{
    size_t used = strlen(command->said);
    for (size_t i = 0; i < length && command->read + i < sizeof(command->said) - 1; i++) {
        if (text[i] == '\n') {
            command->read = sizeof(command->said); /* the rest is not kept */
            break;
        }
        command->said[used++] = (char)(text[i] >= ' ' && text[i] <= '~' ? text[i] : '?');
    }
    command->said[used] = '\0';
    command->read += length;
}

static void on_output(evutil_socket_t fd, short what, void *data)
{
    struct reclaim_command *command = data;
    char text[4096];
    (void)what;
    ssize_t length = read(fd, text, sizeof(text));
    if (length > 0) {
        keep(command, text, (size_t)length);
    }
    if (length == 0 || (length < 0 && errno != EAGAIN && errno != EINTR) ||
        command->read > OUTPUT_MAX) {
        close_output(command);
    }
}

static void kill_group(pid_t pid)
{
    (void)kill(-pid, SIGKILL);
    (void)kill(pid, SIGKILL); /* it may not lead a group yet */
}

/* The process is waited for only when it has ended, so that its pid, and its group's number, stay its own. */
static void on_overdue(evutil_socket_t none, short what, void *data)
{
    struct reclaim_command *command = data;
    (void)none;
    (void)what;
    command->overdue = true;
    kill_group(command->pid);
}

static void on_ended(void *data)
{
    struct reclaim_command *command = data;
    siginfo_t info = {.si_pid = 0};
    char failure[FAILURE_MAX] = "";
    int status = -1;
    (void)waitid(P_PID, (id_t)command->pid, &info, WEXITED | WNOHANG);
    command->pid = 0;
    command->watch = process_watch_free(command->watch);
    (void)event_del(command->on_overdue);
    if (command->on_output) { /* what it said last */
        on_output(command->output, EV_READ, command);
    }
    close_output(command);
    if (command->overdue) {
        (void)snprintf(failure, sizeof(failure), "it took too long, and was killed");
    } else if (info.si_code != CLD_EXITED) {
        (void)snprintf(failure, sizeof(failure), "it was ended by signal %d", info.si_status);
    } else if (info.si_status == SPAWN_NOT_EXECUTED) {
        (void)snprintf(failure, sizeof(failure), "there is no such command, or it cannot be run");
    } else {
        status = info.si_status;
    }
    command->done(command->data, status, failure, command->said);
}

/* ---- Starting -------------------------------------------------------------------------------- */

static int start(struct reclaim_command *command, const char *text, const char *const *environment)
{
    char words[HOLDER_WORDS_MAX][HOLDER_TEXT_MAX], *arguments[HOLDER_WORDS_MAX + 1];
    size_t count = 0;
    while (count < HOLDER_WORDS_MAX &&
           config_holder_word(&text, words[count], sizeof(words[count]))) {
        arguments[count] = words[count];
        count++;
    }
    arguments[count] = NULL;
    struct spawn_command asked = {.arguments = arguments, .environment = environment};
    return spawn_command(&asked, &command->pid, &command->output);
}

struct reclaim_command *reclaim_command_new(struct event_base *base, const char *text,
                                            const char *const *environment, uint64_t timeout_ns,
                                            reclaim_command_function done, void *data)
{
    struct timeval limit = {(time_t)(timeout_ns / 1000000000u),
                            (suseconds_t)(timeout_ns % 1000000000u / 1000)};
    struct reclaim_command *command = calloc(1, sizeof(*command));
    int pidfd = -1;
    if (!command) {
        return NULL;
    }
    *command = (struct reclaim_command){.output = -1, .done = done, .data = data};
    if (start(command, text, environment) < 0) {
        command->pid = 0;
        return reclaim_command_free(command);
    }
    command->on_output = event_new(base, command->output, EV_READ | EV_PERSIST, on_output, command);
    command->on_overdue = event_new(base, -1, 0, on_overdue, command);
    bool complete = command->on_output && command->on_overdue &&
                    event_add(command->on_output, NULL) == 0 &&
                    event_add(command->on_overdue, &limit) == 0 &&
                    process_open_child(command->pid, &pidfd) == 0 &&
                    process_watch_new(base, pidfd, on_ended, command, &command->watch) == 0;
    return complete ? command : reclaim_command_free(command);
}

/* At the end, and where the configuration changes. One that the kernel cannot end is not waited for. */
static void end_now(pid_t pid)
{
    static const struct timespec nap = {0, 2000000};
    kill_group(pid);
    for (int i = 0; i < 50 && waitpid(pid, NULL, WNOHANG) == 0; i++) {
        (void)nanosleep(&nap, NULL);
    }
}

struct reclaim_command *reclaim_command_free(struct reclaim_command *command)
{
    if (command) {
        if (command->pid > 0) {
            end_now(command->pid);
        }
        (void)process_watch_free(command->watch);
        close_output(command);
        if (command->on_overdue) {
            event_free(command->on_overdue);
        }
        free(command);
    }
    return NULL;
}
