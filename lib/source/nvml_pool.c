/* SPDX-License-Identifier: MIT */
/* One pool, a whole GPU or a MIG instance: its memory, its processes, its health. */
#include "lib/source/nvml_visit.h"

#include "common/path.h"
#include "common/size.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MOST_ROUNDS_AGAIN 3 /* of a pool whose figures do not stand still */

/* ---- Memory ---------------------------------------------------------------------------------- */

/* The machine's memory, for a GPU that has none of its own. Used is what its processes hold, which
 * sum_unified() adds once they are known. */
static void unified_memory(const char *root, struct source_gpu *gpu)
{
    char text[4096];
    uint64_t total = 0, available = 0;
    gpu->memory_kind = VRAM_MEMORY_UNIFIED;
    if (path_read(root, "/proc/meminfo", text, sizeof(text)) > 0) {
        const char *line = strstr(text, "MemTotal:");
        bool known = line && sscanf(line, "MemTotal: %" SCNu64, &total) == 1;
        line = strstr(text, "MemAvailable:");
        known = known && line && sscanf(line, "MemAvailable: %" SCNu64, &available) == 1;
        if (known && total < UINT64_MAX / KIB && available <= total) {
            gpu->total_bytes = total * KIB;
            gpu->free_bytes = available * KIB;
            return;
        }
    }
    source_gpu_problem(gpu, "memory", "no_meminfo",
                       "this GPU uses the machine's memory, and /proc/meminfo could not be read");
}

static void sum_unified(struct source_gpu *gpu)
{
    if (gpu->memory_kind != VRAM_MEMORY_UNIFIED || !gpu->processes_known) {
        return;
    }
    uint64_t sum = 0;
    for (size_t i = 0; i < gpu->process_count; i++) {
        uint64_t used = gpu->processes[i].used_bytes;
        if (used == VRAM_UNKNOWN || used > UINT64_MAX - 1 - sum) {
            return;
        }
        sum += used;
    }
    gpu->used_bytes = sum;
}

/* Figures that contradict each other come from interposers that fill in half the structure. */
static void check_memory(struct source_gpu *gpu)
{
    uint64_t total = gpu->total_bytes;
    if (gpu->free_bytes > total || gpu->used_bytes > total) {
        source_gpu_problem(gpu, "memory", "driver_error",
                           "the driver says %" PRIu64 " bytes used and %" PRIu64 " free of %" PRIu64
                           "; shown as unknown",
                           gpu->used_bytes, gpu->free_bytes, total);
        gpu->used_bytes = gpu->free_bytes = gpu->driver_reserved_bytes = VRAM_UNKNOWN;
    }
}

static int memory_v2(struct visit *v, nvml_device handle, struct source_gpu *gpu)
{
    struct nvml_memory_v2 memory = {.version = NVML_MEMORY_V2};
    nvml_ret code;
    CALL(code, v->watch, v->device, v->api->names.memory_v2, v->api->memory_v2(handle, &memory));
    if (code == NVML_SUCCESS && memory.total) {
        gpu->total_bytes = memory.total;
        gpu->used_bytes = memory.used;
        gpu->free_bytes = memory.free;
        gpu->driver_reserved_bytes = memory.reserved;
        check_memory(gpu);
    } else if (code == NVML_SUCCESS) {
        code = NVML_NOT_SUPPORTED; /* success with nothing in it: a GPU without memory of its own */
    }
    return code;
}

static int memory_v1(struct visit *v, nvml_device handle, struct source_gpu *gpu)
{
    struct nvml_memory_v1 memory = {0};
    nvml_ret code;
    CALL(code, v->watch, v->device, v->api->names.memory_v1, v->api->memory_v1(handle, &memory));
    if (code == NVML_SUCCESS && memory.total) {
        gpu->total_bytes = memory.total;
        gpu->used_bytes = memory.used;
        gpu->free_bytes = memory.free;
        gpu->used_includes_reserved = true;
        check_memory(gpu);
    } else if (code == NVML_SUCCESS) {
        code = NVML_NOT_SUPPORTED;
    }
    return code;
}

/* The new query, else the old one with another meaning of "used", else, only where the driver says that the
 * GPU has no memory, the machine's. Returns NVML's code of the last call, or negative errno. */
static int read_memory(struct visit *v, nvml_device handle, struct source_gpu *gpu)
{
    int code = NVML_FUNCTION_NOT_FOUND;
    if (v->api->memory_v2 && !v->state->no_memory_v2) {
        code = memory_v2(v, handle, gpu);
        if (code <= NVML_SUCCESS || nvml_is_gone(code) || code == NVML_NO_PERMISSION ||
            code == NVML_UNINITIALIZED || code == NVML_INVALID_ARGUMENT) {
            return code;
        }
        if (code == NVML_FUNCTION_NOT_FOUND || code == NVML_ARGUMENT_VERSION_MISMATCH) {
            v->state->no_memory_v2 = true;
        }
    }
    int newer = code;
    code = memory_v1(v, handle, gpu);
    if (code == NVML_SUCCESS && !nvml_is_absent(newer)) {
        source_gpu_problem(gpu, "memory", nvml_return_word(newer),
                           "%s failed: %s (%d); used includes what the driver reserves",
                           v->api->names.memory_v2, nvml_return_text(newer), newer);
    } else if (code == NVML_NOT_SUPPORTED && gpu->memory_kind != VRAM_MEMORY_MIG) {
        unified_memory(v->nvml->root, gpu);
        return NVML_SUCCESS;
    }
    return code;
}

/* ---- Health ---------------------------------------------------------------------------------- */

static int read_temperature(struct visit *v, struct source_gpu *gpu)
{
    nvml_ret code = NVML_FUNCTION_NOT_FOUND;
    if (v->api->temperature_v) {
        struct nvml_temperature_v1 t = {.version = NVML_TEMPERATURE_V1, .sensor = NVML_SENSOR_GPU};
        CALL(code, v->watch, v->device, v->api->names.temperature_v,
             v->api->temperature_v(v->state->handle, &t));
        if (code == NVML_SUCCESS && t.celsius >= 0) {
            gpu->temperature_c = (uint64_t)t.celsius;
        }
    }
    if (code != NVML_SUCCESS && v->api->temperature) {
        uint32_t celsius = 0;
        CALL(code, v->watch, v->device, v->api->names.temperature,
             v->api->temperature(v->state->handle, NVML_SENSOR_GPU, &celsius));
        if (code == NVML_SUCCESS) {
            gpu->temperature_c = celsius;
        }
    }
    if (code != NVML_SUCCESS && !nvml_is_absent(code)) {
        source_gpu_problem(gpu, "temperature", nvml_return_word(code), "temperature: %s (%d)",
                           nvml_return_text(code), code);
    }
    return 0;
}

static int read_health(struct visit *v, nvml_device handle, struct source_gpu *gpu)
{
    int r = read_temperature(v, gpu);
    if (r < 0 || !v->api->utilization) {
        return r;
    }
    struct nvml_utilization rates = {0};
    nvml_ret code;
    CALL(code, v->watch, v->device, v->api->names.utilization, v->api->utilization(handle, &rates));
    if (code == NVML_SUCCESS && rates.gpu <= 100) {
        gpu->utilization_percent = rates.gpu;
    } else if (code != NVML_SUCCESS && !nvml_is_absent(code)) {
        source_gpu_problem(gpu, "utilization", nvml_return_word(code), "utilization: %s (%d)",
                           nvml_return_text(code), code);
    }
    return 0;
}

/* ---- Pools ----------------------------------------------------------------------------------- */

/* What a code that ends a device's sample makes of it. */
static void end_sample(struct source_gpu *gpu, nvml_ret code)
{
    if (nvml_is_gone(code)) {
        gpu->state = VRAM_GPU_LOST;
    } else if (code == NVML_NO_PERMISSION) {
        gpu->state = VRAM_GPU_DENIED;
    }
    source_gpu_problem(gpu, gpu->state == VRAM_GPU_OK ? "memory" : "device", nvml_return_word(code),
                       "%s (%d)", nvml_return_text(code), code);
}

/* Memory, and the process lists where they are wanted. 0 whatever they answer. */
static int read_figures(struct visit *v, nvml_device handle, struct source_gpu *gpu, bool lists)
{
    int r = read_memory(v, handle, gpu);
    if (r < 0) {
        return r;
    }
    if (r == NVML_UNINITIALIZED) {
        return -EAGAIN;
    }
    if (r == NVML_INVALID_ARGUMENT) {
        return -ESTALE;
    }
    if (r != NVML_SUCCESS) {
        end_sample(gpu, r);
    }
    if (gpu->state != VRAM_GPU_OK || !lists) {
        return 0;
    }
    return nvml_lists_read(v->nvml, v->state, v->device, handle, gpu, v->watch);
}

/* ---- Settling -------------------------------------------------------------------------------- */

/* Everything that read_figures() fills in, as before it. */
static void forget_figures(struct source_gpu *gpu, uint32_t memory_kind)
{
    source_processes_done(gpu);
    gpu->processes_known = gpu->used_includes_reserved = false;
    gpu->memory_kind = memory_kind;
    gpu->total_bytes = gpu->used_bytes = gpu->free_bytes = VRAM_UNKNOWN;
    gpu->driver_reserved_bytes = VRAM_UNKNOWN;
    gpu->listed_bytes = 0;
}

static int settle(struct source_gpu *gpu, const struct source_gpu *later, bool lists)
{
    bool differed = source_memory_settle(gpu, later);
    for (const struct source_problem *p = later->problems; p; p = p->next) {
        source_gpu_problem(gpu, p->what, p->code, "%s", p->message);
    }
    int r = lists && gpu->state == VRAM_GPU_OK ? source_processes_settle(gpu, later) : 0;
    return r < 0 ? r : differed || r > 0;
}

/* Memory, lists, memory, lists, memory. 1: they differed; 0: they did not; negative errno. */
static int read_round(struct visit *v, nvml_device handle, struct source_gpu *gpu)
{
    uint32_t kind = gpu->memory_kind;
    int differed = 0;
    int r = read_figures(v, handle, gpu, true);
    for (int reading = 1; r >= 0 && reading <= 2 && gpu->state == VRAM_GPU_OK; reading++) {
        struct source_gpu later CLEANUP(source_gpu_done);
        bool lists = reading == 1;
        source_gpu_init(&later);
        later.memory_kind = kind;
        later.total_bytes = gpu->total_bytes; /* what absurd amounts are told by */
        r = read_figures(v, handle, &later, lists);
        r = r < 0 ? r : settle(gpu, &later, lists);
        differed |= r > 0;
    }
    return r < 0 ? r : differed;
}

static int read_settled(struct visit *v, nvml_device handle, struct source_gpu *gpu)
{
    uint32_t kind = gpu->memory_kind;
    int r = read_round(v, handle, gpu);
    for (int again = 0; again < MOST_ROUNDS_AGAIN && r > 0 && gpu->state == VRAM_GPU_OK; again++) {
        forget_figures(gpu, kind);
        r = read_round(v, handle, gpu);
    }
    if (r >= 0 && gpu->state == VRAM_GPU_OK) {
        source_settle_free(gpu);
    }
    return r < 0 ? r : 0;
}

/* ---- All of it ------------------------------------------------------------------------------- */

int nvml_pool_read(struct visit *v, nvml_device handle, struct source_gpu *gpu)
{
    bool lists = v->take & VRAM_TAKE_PROCESSES;
    int r = v->take & VRAM_TAKE_SETTLED ? read_settled(v, handle, gpu)
                                        : read_figures(v, handle, gpu, lists);
    if (r < 0 || gpu->state != VRAM_GPU_OK) {
        return r;
    }
    sum_unified(gpu);
    r = lists ? nvml_lists_name(v->nvml, v->state, v->device, gpu, v->watch) : 0;
    return r < 0 || !(v->take & VRAM_TAKE_HEALTH) ? r : read_health(v, handle, gpu);
}
