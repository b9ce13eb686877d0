/* SPDX-License-Identifier: MIT */
#include "daemon/collector_child.h"

#include "common/text.h"
#include "include/vram.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* 1; 0: the daemon has closed its end, or is gone. */
static int read_all(void *bytes, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = read(STDIN_FILENO, (char *)bytes + done, size - done);
        if (n > 0) {
            done += (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            return 0;
        }
    }
    return 1;
}

static int send_all(const void *bytes, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = send(STDIN_FILENO, (const char *)bytes + done, size - done, MSG_NOSIGNAL);
        if (n > 0) {
            done += (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            return 0;
        }
    }
    return 1;
}

static int reply(uint32_t sequence, int result, const void *bytes, size_t size)
{
    struct collector_reply head = {.sequence = sequence, .result = result, .size = size};
    return send_all(&head, sizeof(head)) && send_all(bytes, size);
}

static int reply_error(uint32_t sequence, int result, const struct vram *vram)
{
    struct collector_error error = {{0}, {0}, {0}};
    (void)text_copy(error.code, sizeof(error.code), vram_error_code(vram));
    (void)text_copy(error.message, sizeof(error.message), vram_error(vram));
    (void)text_copy(error.hint, sizeof(error.hint), vram_error_hint(vram));
    return reply(sequence, result, &error, sizeof(error));
}

static int reply_memory(uint32_t sequence)
{
    static const struct collector_error error = {"out_of_memory", "out of memory", ""};
    return reply(sequence, -ENOMEM, &error, sizeof(error));
}

/* The driver as it is asked, waking GPUs or not: one way at a time. */
struct way {
    const char *driver;
    struct vram *vram;
    bool wakes;
};

static int open_way(struct way *way, bool wakes)
{
    struct vram_options options = VRAM_OPTIONS_INIT;
    if (way->vram && way->wakes == wakes) {
        return 0;
    }
    way->vram = vram_close(way->vram);
    options.driver = way->driver;
    options.flags = VRAM_OPEN_DIRECT | (wakes ? VRAM_OPEN_WAKE : 0);
    way->wakes = wakes;
    return vram_open(&way->vram, &options);
}

static int serve(struct way *way, const struct collector_request *request)
{
    struct vram_snapshot *snapshot;
    void *bytes;
    size_t size;
    if (open_way(way, request->take & COLLECTOR_WAKE) < 0) {
        return reply_memory(request->sequence);
    }
    struct vram *vram = way->vram;
    int r = vram_snapshot_take(vram, request->take & ~COLLECTOR_WAKE, &snapshot);
    if (r < 0) {
        return reply_error(request->sequence, r, vram);
    }
    r = vram_snapshot_pack(snapshot, &bytes, &size);
    (void)vram_snapshot_unref(snapshot);
    if (r < 0 || size > COLLECTOR_REPLY_MAX) {
        if (r == 0) {
            free(bytes);
        }
        return reply_memory(request->sequence);
    }
    r = reply(request->sequence, 0, bytes, size);
    free(bytes);
    return r;
}

int collector_child_run(const char *driver)
{
    struct way way = {.driver = driver};
    struct collector_request request;
    (void)prctl(PR_SET_NAME, "vramd-collector");
    (void)signal(SIGINT,
                 SIG_IGN); /* a terminal's, meant for the daemon, which closes the socket then */
    while (read_all(&request, sizeof(request)) && serve(&way, &request)) {
    }
    _exit(
        EXIT_SUCCESS); /* not through the driver's destructors, which may wait for a call that hangs */
}
