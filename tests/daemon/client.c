/* SPDX-License-Identifier: MIT */
/*
 * A program with the library in it, for the storm: asks for a lease, holds simulated memory, and leaves in one of the ways
 * that programs leave.
 *
 *     client MODE VRAM_SIM SIZE TIME
 *
 *     fork    a child asks, with the handle that its parent had used, and becomes the holder
 *     grow    asks for half, then for more, and holds what it was granted
 *     heir    a child holds; the owner ends as soon as it does
 *     again   a child holds, and another after it; then the owner gives the lease back
 */
#include "include/vram.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *sim, *time_text;

static int fail(const struct vram *vram, const char *what)
{
    fprintf(stderr, "client: %s: %s\n", what, vram_error(vram));
    return EXIT_FAILURE;
}

static void become_holder(uint64_t bytes)
{
    char size[32];
    (void)snprintf(size, sizeof(size), "%" PRIu64 "B", bytes);
    (void)execl(sim, "vram-sim", "hold", size, "--for", time_text, (char *)NULL);
    perror("client: exec");
    _exit(127);
}

static void tell(void *data, uint64_t position, const char *waits_for)
{
    (void)data;
    fprintf(stderr, "client: waiting, number %" PRIu64 " in line: %s\n", position, waits_for);
}

/* 0; else an exit status. */
static int acquire(struct vram *vram, uint64_t bytes, char id[17])
{
    struct vram_lease_request request = VRAM_LEASE_REQUEST_INIT;
    struct vram_verdict *verdict = NULL;
    request.size_bytes = bytes;
    request.margin_bytes = 0;
    request.timeout_ms = VRAM_UNKNOWN;
    request.progress = tell;
    if (vram_daemon_start(vram, 0) < 0) {
        return fail(vram, "start");
    }
    int r = vram_lease_acquire(vram, &request, &verdict);
    if (r == 0) {
        (void)snprintf(id, 17, "%s", verdict->lease->id);
    }
    (void)vram_verdict_free(verdict);
    return r < 0 ? fail(vram, "acquire") : r;
}

static int status_of(pid_t child)
{
    int status;
    if (child < 0 || waitpid(child, &status, 0) < 0) {
        return EXIT_FAILURE;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* A child that holds; with `until_it_holds` only so long waited for, and its status is not its end's. */
static int hold_in_child(uint64_t bytes, bool until_it_holds)
{
    char line[256];
    int ends[2];
    if (pipe(ends) < 0) {
        return EXIT_FAILURE;
    }
    pid_t child = fork();
    if (child == 0) {
        if (until_it_holds) {
            (void)dup2(ends[1], STDOUT_FILENO);
        }
        (void)close(ends[0]);
        (void)close(ends[1]);
        become_holder(bytes);
    }
    (void)close(ends[1]);
    ssize_t n = until_it_holds ? read(ends[0], line, sizeof(line)) : 0;
    (void)close(ends[0]);
    if (n > 0) {
        (void)!write(STDOUT_FILENO, line, (size_t)n);
    }
    return until_it_holds ? (n > 0 ? EXIT_SUCCESS : EXIT_FAILURE) : status_of(child);
}

static int mode_fork(struct vram *vram, uint64_t bytes)
{
    struct vram_snapshot *snapshot;
    char id[17];
    if (vram_snapshot_take(vram, 0, &snapshot) < 0) {
        return fail(vram, "snapshot");
    }
    (void)vram_snapshot_unref(snapshot);
    pid_t child = fork();
    if (child == 0) {
        int status = acquire(vram, bytes, id);
        if (status != 0) {
            _exit(status);
        }
        become_holder(bytes);
    }
    return status_of(child);
}

/* A lease outlives its daemon, and calls about it start none by themselves. */
static bool is_back(struct vram *vram, int result)
{
    return (result == -ENOTCONN || result == -ECONNREFUSED) && vram_daemon_start(vram, 0) >= 0;
}

static int mode_grow(struct vram *vram, uint64_t bytes)
{
    char id[17];
    int status = acquire(vram, bytes / 2, id);
    if (status != 0) {
        return status;
    }
    do {
        status = vram_lease_resize(vram, id, bytes, NULL);
    } while (is_back(vram, status));
    if (status < 0) {
        return fail(vram, "resize");
    }
    become_holder(status == VRAM_FITS ? bytes : bytes / 2);
    return EXIT_FAILURE;
}

static int mode_heir(struct vram *vram, uint64_t bytes)
{
    char id[17];
    int status = acquire(vram, bytes, id);
    return status != 0 ? status : hold_in_child(bytes, true);
}

static int mode_again(struct vram *vram, uint64_t bytes)
{
    char id[17];
    int status = acquire(vram, bytes, id);
    for (int i = 0; i < 2 && status == 0; i++) {
        status = hold_in_child(bytes, false);
    }
    int r = 0;
    do {
        r = status == 0 ? vram_lease_end(vram, id) : 0;
    } while (is_back(vram, r));
    return r < 0 ? fail(vram, id) : status;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(struct vram *vram, uint64_t bytes);
    } modes[] = {
        {"fork", mode_fork}, {"grow", mode_grow}, {"heir", mode_heir}, {"again", mode_again}};
    struct vram *vram;
    uint64_t bytes;
    if (argc != 5 || vram_size_parse(argv[3], &bytes) < 0 || vram_open(&vram, NULL) < 0) {
        fprintf(stderr, "usage: client MODE VRAM_SIM SIZE TIME\n");
        return 2;
    }
    sim = argv[2];
    time_text = argv[4];
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(argv[1], modes[i].name) == 0) {
            int status = modes[i].run(vram, bytes);
            (void)vram_close(vram);
            return status;
        }
    }
    return 2;
}
