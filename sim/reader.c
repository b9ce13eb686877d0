/* SPDX-License-Identifier: MIT */
#include "sim/reader.h"

#include "common/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { POLL_MS = 50 };

struct shared {
    struct complaint complaint;
    struct reading reading;
};

/* ---- The reading process ------------------------------------------------------------------------ */

/* Whoever waits for the end of our output must not wait for a driver. */
static void let_go_of_output(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; null >= 0 && fd <= 2; fd++) {
        (void)dup2(null, fd);
    }
}

_Noreturn static void serve(struct shared *shared, const char *driver, const char *state,
                            int commands, int replies)
{
    struct library library;
    char command;
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGTERM, SIG_IGN);
    let_go_of_output();
    if (state) {
        (void)setenv("VRAM_SIM_STATE_DIR", state, 1);
        (void)unsetenv("VRAM_SIM_STRICT");
    }
    if (strncmp(driver, "sim:", 4) ==
        0) { /* no GPU is lost with it, and its calls may hang for ever */
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    }
    int r = library_load(&library, driver, &shared->complaint);
    char reply = r < 0 ? 'e' : 'l';
    while (write(replies, &reply, 1) == 1 && reply != 'e' && read(commands, &command, 1) == 1) {
        if (command == 'm') {
            reading_take_moving(&library, &shared->reading);
        } else {
            reading_take(&library, &shared->reading);
        }
        reply = 'r';
    }
    _exit(0);
}

/* ---- Who asks it -------------------------------------------------------------------------------- */

/* Waits for a reply. The clock of the timeout begins anew with each call. */
static int wait_for(struct reader *reader, char *ret_reply, const volatile bool *stop)
{
    uint64_t calls = UINT64_MAX, since = clock_now_ns();
    for (;;) {
        struct pollfd poll_fd = {.fd = reader->replies, .events = POLLIN};
        int ready = poll(&poll_fd, 1, POLL_MS);
        if (ready > 0) {
            return read(reader->replies, ret_reply, 1) == 1 ? 0 : -EPIPE;
        }
        if (stop && *stop) {
            return -EINTR;
        }
        uint64_t now = clock_now_ns(), calls_now = atomic_load(&reader->reading->calls);
        since = calls_now == calls ? since : now;
        calls = calls_now;
        if (now - since > reader->timeout_ns) {
            return -ETIMEDOUT;
        }
    }
}

static int spawn(struct reader *reader, struct shared *shared, const char *driver,
                 const char *state)
{
    int commands[2], replies[2];
    if (pipe2(commands, O_CLOEXEC) < 0) {
        return -errno;
    }
    if (pipe2(replies, O_CLOEXEC) < 0) {
        int r = -errno;
        (void)close(commands[0]);
        (void)close(commands[1]);
        return r;
    }
    reader->pid = fork();
    int r = reader->pid < 0 ? -errno : 0;
    if (reader->pid == 0) {
        (void)close(commands[1]);
        (void)close(replies[0]);
        serve(shared, driver, state, commands[0], replies[1]);
    }
    (void)close(commands[0]);
    (void)close(replies[1]);
    reader->commands = commands[1];
    reader->replies = replies[0];
    return r;
}

int reader_start(struct reader *reader, const char *driver, const char *state, uint64_t timeout_ns,
                 struct complaint *complaint)
{
    struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    char reply = 'e';
    if (shared == MAP_FAILED) {
        (void)complain(complaint, "out of memory");
        return -ENOMEM;
    }
    *reader = (struct reader){
        .timeout_ns = timeout_ns, .reading = &shared->reading, .complaint = &shared->complaint};
    atomic_store(&shared->reading.function, -1);
    int r = spawn(reader, shared, driver, state);
    if (r < 0) {
        (void)complain(complaint, "no process can be started: %s", strerror(-r));
        (void)munmap(shared, sizeof(*shared));
        return r;
    }
    r = wait_for(reader, &reply, NULL);
    if (r == 0 && reply == 'e') {
        *complaint = shared->complaint;
        r = -ENOENT;
    } else if (r < 0) {
        (void)complain(complaint, "loading the driver's library %s",
                       r == -EPIPE ? "crashes" : "does not end");
    }
    if (r < 0) {
        reader_end(reader);
    }
    return r;
}

int reader_read(struct reader *reader, bool moving, const volatile bool *stop)
{
    char reply, command = moving ? 'm' : 'f';
    if (write(reader->commands, &command, 1) != 1) {
        return -EPIPE;
    }
    return wait_for(reader, &reply, stop);
}

void reader_end(struct reader *reader)
{
    int status;
    (void)close(reader->commands);
    (void)close(reader->replies);
    /* One that waits for us ends at once. */
    for (int i = 0; i < 100 && waitpid(reader->pid, &status, WNOHANG) == 0; i++) {
        if (atomic_load(&reader->reading->function) >= 0) {
            return; /* in a call: what it writes to must stay */
        }
        (void)poll(NULL, 0, 10);
    }
    (void)munmap((char *)reader->complaint, sizeof(struct shared));
}
