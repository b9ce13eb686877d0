/* SPDX-License-Identifier: MIT */
/*
 * Process lists. Three lists (compute, graphics, MPS) in up to three generations each, with entries of 16,
 * 24 or 32 bytes depending on the driver, and no way to ask which. The size is inferred from the
 * library's symbols and then seen: the buffer is filled with a pattern before each call, and how far the
 * driver wrote tells how large its entries are.
 */
#include "lib/source/nvml.h"

#include "common/clock.h"
#include "common/path.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 64u
#define LARGEST_CAPACITY 4096u /* a driver stops at 950 processes; more is absurd */
#define TRIES 6
#define SHOWN_NS UINT64_C(5000000000) /* how long a process that /proc shows is not looked for */
#define LARGEST_ENTRY sizeof(struct nvml_process_32)
#define SLACK 64u /* behind the largest possible list, so that an overrun can be seen, not felt */

typedef nvml_ret(*list_function) NVML_LIST;

struct rung {
    list_function call;
    const char *name;
    unsigned entry_size;
};

/* The rung of `list` that remains after the first `skipped`; call is NULL below the last. */
static struct rung find_rung(const struct nvml_api *api, enum nvml_list list, unsigned skipped)
{
    unsigned v3 =
        api->entries_of_32 ? sizeof(struct nvml_process_32) : sizeof(struct nvml_process_24);
    unsigned v2 = sizeof(struct nvml_process_24), v1 = sizeof(struct nvml_process_16);
    const struct rung rungs[NVML_LIST_KINDS][3] = {
        [NVML_LIST_COMPUTE] = {{api->compute_v3, api->names.compute_v3, v3},
                               {api->compute_v2, api->names.compute_v2, v2},
                               {api->compute_v1, api->names.compute_v1, v1}},
        [NVML_LIST_GRAPHICS] = {{api->graphics_v3, api->names.graphics_v3, v3},
                                {api->graphics_v2, api->names.graphics_v2, v2},
                                {api->graphics_v1, api->names.graphics_v1, v1}},
        [NVML_LIST_MPS] = {{api->mps_v3, api->names.mps_v3, v3},
                           {api->mps_v2, api->names.mps_v2, v2},
                           {api->mps_v1, api->names.mps_v1, v1}},
    };
    for (unsigned i = 0; i < 3; i++) {
        if (rungs[list][i].call && skipped-- == 0) {
            return rungs[list][i];
        }
    }
    return (struct rung){0};
}

const char *nvml_list_name(const struct nvml_api *api, enum nvml_list list, unsigned skipped)
{
    return find_rung(api, list, skipped).name;
}

unsigned nvml_entry_size(const unsigned char *buffer, size_t size, uint32_t count)
{
    static const unsigned char fill[] = {NVML_FILL, NVML_FILL, NVML_FILL, NVML_FILL,
                                         NVML_FILL, NVML_FILL, NVML_FILL, NVML_FILL};
    while (size >= sizeof(fill) && memcmp(buffer + size - sizeof(fill), fill, sizeof(fill)) == 0) {
        size -= sizeof(fill);
    }
    while (size && buffer[size - 1] == NVML_FILL) {
        size--;
    }
    if (!count) {
        return 0;
    }
    size_t extent = (size + 7) / 8 * 8;
    size_t entry = extent / count;
    bool known = entry == sizeof(struct nvml_process_16) ||
                 entry == sizeof(struct nvml_process_24) || entry == sizeof(struct nvml_process_32);
    return known && entry * count == extent ? (unsigned)entry : 0;
}

static size_t buffer_size(uint32_t capacity)
{
    return capacity * LARGEST_ENTRY + SLACK;
}

static int make_room(struct nvml_list_state *state, uint32_t capacity)
{
    if (state->capacity >= capacity) {
        return 0;
    }
    unsigned char *buffer = realloc(state->buffer, buffer_size(capacity));
    if (!buffer) {
        return -ENOMEM;
    }
    state->buffer = buffer;
    state->capacity = capacity;
    return 0;
}

/* One more process, or the same one in a second list: its larger figure, both kinds (each list gives a
 * process's whole use of the GPU, so adding would count it twice). */
static int merge(struct source_gpu *gpu, size_t *room, uint32_t pid, uint32_t kind, uint64_t used)
{
    for (size_t i = 0; i < gpu->process_count; i++) {
        struct source_process *process = &gpu->processes[i];
        if (process->pid == pid) {
            process->kind |= kind;
            bool larger = process->used_bytes == VRAM_UNKNOWN || used > process->used_bytes;
            if (used != VRAM_UNKNOWN && larger) {
                process->used_bytes = used;
            }
            return 0;
        }
    }
    if (gpu->process_count == *room) {
        size_t grown = *room ? *room * 2 : 16;
        struct source_process *processes = realloc(gpu->processes, grown * sizeof(*processes));
        if (!processes) {
            return -ENOMEM;
        }
        gpu->processes = processes;
        *room = grown;
    }
    gpu->processes[gpu->process_count++] = (struct source_process){pid, kind, used, NULL};
    return 0;
}

static int take_entries(struct nvml_list_state *state, struct source_gpu *gpu, size_t *room,
                        enum nvml_list list, uint32_t count, unsigned entry_size)
{
    static const uint32_t kinds[] = {VRAM_PROCESS_COMPUTE, VRAM_PROCESS_GRAPHICS, VRAM_PROCESS_MPS};
    bool absurd = false;
    for (uint32_t i = 0; i < count; i++) {
        struct nvml_process_16 entry; /* what all three layouts begin with */
        memcpy(&entry, state->buffer + (size_t)i * entry_size, sizeof(entry));
        uint64_t used = entry.used_bytes;
        if (used != VRAM_UNKNOWN && gpu->total_bytes != VRAM_UNKNOWN && used > gpu->total_bytes) {
            used = VRAM_UNKNOWN; /* WSL says 16 EiB where it means "not available" */
            absurd = true;
        }
        int r = merge(gpu, room, entry.pid, kinds[list], used);
        if (r < 0) {
            return r;
        }
    }
    if (absurd) {
        source_gpu_problem(
            gpu, "processes", "driver_error",
            "the driver gave a process more memory than the GPU has; shown as unknown");
    }
    return 0;
}

/* Calls one rung until its answer fits the buffer. Returns NVML's code, or negative errno. */
static int call_rung(struct nvml_list_state *state, const struct rung *rung, size_t device,
                     nvml_device handle, struct source_watch *watch, uint32_t *ret_count)
{
    uint32_t want = FIRST_CAPACITY;
    nvml_ret code = NVML_INSUFFICIENT_SIZE;
    for (int try = 0; try < TRIES && code == NVML_INSUFFICIENT_SIZE; try++) {
        int r = make_room(state, want);
        if (r < 0) {
            return r;
        }
        memset(state->buffer, NVML_FILL, buffer_size(state->capacity));
        uint32_t count = state->capacity;
        if (!watch_enter(watch, device, rung->name)) {
            return -ECANCELED;
        }
        code = nvml_code(rung->call(handle, &count, state->buffer));
        if (!watch_leave(watch)) {
            return -ECANCELED;
        }
        *ret_count = count;
        /* The count that comes with "insufficient size" may be 0, or outdated by the next call. */
        want = state->capacity * 2;
        if (count < LARGEST_CAPACITY && want < count + 16) {
            want = count + 16;
        }
        if (want > LARGEST_CAPACITY) {
            want = LARGEST_CAPACITY;
        }
    }
    return code;
}

/* Where the bytes contradict the rule they are believed, and the contradiction is told. */
static unsigned decide_entry_size(struct nvml_list_state *state, struct source_gpu *gpu,
                                  const struct rung *rung, uint32_t count)
{
    unsigned seen = nvml_entry_size(state->buffer, buffer_size(state->capacity), count);
    state->entry_size = seen ? seen : rung->entry_size;
    state->entry_size_checked = seen != 0;
    if (seen && seen != rung->entry_size) {
        source_gpu_problem(gpu, "processes", "entry_size",
                           "%s writes entries of %u bytes where %u were expected; read as written",
                           rung->name, seen, rung->entry_size);
    }
    return state->entry_size;
}

/* Reads one of the three lists. 0: read, or the driver has none of this kind; 1: it could not be read;
 * negative errno. */
static int read_list(struct nvml *nvml, struct nvml_gpu *owner, size_t device, nvml_device handle,
                     enum nvml_list list, struct source_gpu *gpu, size_t *room,
                     struct source_watch *watch)
{
    struct nvml_list_state *state = &owner->lists[list];
    uint32_t count = 0;
    for (;;) {
        struct rung rung = find_rung(&nvml->api, list, state->skipped);
        if (!rung.call) {
            return list == NVML_LIST_COMPUTE;
        }
        int code = call_rung(state, &rung, device, handle, watch, &count);
        if (code < 0) {
            return code;
        }
        if (code == NVML_SUCCESS) {
            if (count > state->capacity) {
                source_gpu_problem(
                    gpu, "processes", "driver_error",
                    "%s listed more processes than there was room for; some are missing",
                    rung.name);
                count = state->capacity;
            }
            unsigned size = count ? decide_entry_size(state, gpu, &rung, count) : 0;
            return take_entries(state, gpu, room, list, count, size);
        }
        if (code == NVML_UNINITIALIZED) {
            return -EAGAIN;
        }
        if (code == NVML_FUNCTION_NOT_FOUND || code == NVML_ARGUMENT_VERSION_MISMATCH ||
            code == NVML_DEPRECATED) {
            state->skipped++; /* exported, but this kernel module does not know it */
            continue;
        }
        if (code == NVML_NOT_SUPPORTED && list != NVML_LIST_COMPUTE) {
            return 0;
        }
        source_gpu_problem(gpu, "processes", nvml_return_word(code), "%s failed: %s (%d)",
                           rung.name, nvml_return_text(code), code);
        if (nvml_is_gone(code)) { /* since its memory was read, which therefore means nothing */
            gpu->state = VRAM_GPU_LOST;
            gpu->total_bytes = gpu->used_bytes = gpu->free_bytes = VRAM_UNKNOWN;
            gpu->driver_reserved_bytes = VRAM_UNKNOWN;
        }
        return 1;
    }
}

/* Whether /proc shows it. Lists keep their order, so it is most likely where it was. */
static bool is_shown(const struct nvml *nvml, const struct nvml_shown *before, size_t place,
                     uint32_t pid)
{
    char path[32];
    if (place < before->count && before->pids[place] == pid) {
        return true;
    }
    for (size_t i = 0; i < before->count; i++) {
        if (before->pids[i] == pid) {
            return true;
        }
    }
    (void)snprintf(path, sizeof(path), "/proc/%u", pid);
    return path_exists(nvml->root, path);
}

static int ask_name(const struct nvml *nvml, size_t device, struct source_process *process,
                    struct source_watch *watch)
{
    char name[256] = "";
    if (!watch_enter(watch, device, nvml->api.names.process_name)) {
        return -ECANCELED;
    }
    nvml_ret code = nvml->api.process_name(process->pid, name, sizeof(name));
    if (!watch_leave(watch)) {
        return -ECANCELED;
    }
    name[sizeof(name) - 1] = '\0';
    if (code == NVML_SUCCESS && name[0]) {
        const char *base = strrchr(name, '/');
        process->name = strdup(base && base[1] ? base + 1 : name);
        return process->name ? 0 : -ENOMEM;
    }
    return 0;
}

int nvml_lists_name(struct nvml *nvml, struct nvml_gpu *state, size_t device,
                    struct source_gpu *gpu, struct source_watch *watch)
{
    uint64_t now_ns = clock_now_ns();
    struct nvml_shown *before = &state->shown, shown = {NULL, 0, before->since_ns};
    int r = 0;
    if (!nvml->api.process_name) {
        return 0;
    }
    if (now_ns - before->since_ns > SHOWN_NS) {
        before->count = 0;
        shown.since_ns = now_ns;
    }
    shown.pids = malloc((gpu->process_count + 1) * sizeof(*shown.pids));
    for (size_t i = 0; shown.pids && r == 0 && i < gpu->process_count; i++) {
        uint32_t pid = gpu->processes[i].pid;
        if (!nvml->pids_are_foreign && is_shown(nvml, before, shown.count, pid)) {
            shown.pids[shown.count++] = pid;
        } else {
            r = ask_name(nvml, device, &gpu->processes[i], watch);
        }
    }
    free(before->pids);
    *before = shown;
    return shown.pids ? r : -ENOMEM;
}

int nvml_lists_read(struct nvml *nvml, struct nvml_gpu *state, size_t device, nvml_device handle,
                    struct source_gpu *gpu, struct source_watch *watch)
{
    size_t room = 0;
    for (int list = 0; list < NVML_LIST_KINDS; list++) {
        int r = read_list(nvml, state, device, handle, (enum nvml_list)list, gpu, &room, watch);
        if (r < 0) {
            return r;
        }
        if (list == NVML_LIST_COMPUTE) {
            gpu->processes_known = r == 0;
        }
        if (gpu->state == VRAM_GPU_LOST) {
            return 0;
        }
    }
    gpu->pids_are_foreign = nvml->pids_are_foreign;
    return 0;
}

void nvml_lists_done(struct nvml_gpu *state)
{
    free(state->shown.pids);
    state->shown = (struct nvml_shown){0};
    for (int list = 0; list < NVML_LIST_KINDS; list++) {
        free(state->lists[list].buffer);
        state->lists[list] = (struct nvml_list_state){0};
    }
}
