/* SPDX-License-Identifier: MIT */
/*
 * The CUDA driver's part on a simulated GPU, so that cuda.c and all that follows it run where there is none. A
 * context takes CONTEXT bytes, a managed allocation the memory of nobody; what does not fit is refused. The machine
 * is that of VRAM_SIM. On the first GPU alone: nothing here reads CUDA_VISIBLE_DEVICES.
 */
#include "sim/sim.h"
#include "tests/gpu/cuda_abi.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define CONTEXT ((uint64_t)300 << 20)
#define NOT_INITIALIZED 3
#define INVALID_VALUE 1
#define MOST 256

#define EXPORT __attribute__((visibility("default")))
#define DECLARE(name, parameters) EXPORT int name parameters;
CUDA_FUNCTIONS(DECLARE)
#undef DECLARE

static struct sim sim;
static int slot = -1;
static uint64_t held;
static uint64_t sizes[MOST];
static size_t count;

static int take(uint64_t more)
{
    state_lock(&sim.file);
    (void)sim_refresh(&sim);
    bool fits = more <= sim_free(&sim, sim.now, 0, -1);
    if (fits) {
        held += more;
        holder_set(sim.file.state, slot, held);
    }
    state_unlock(&sim.file);
    return fits ? 0 : CUDA_OUT_OF_MEMORY;
}

static int allocate(cuda_pointer *pointer, size_t size)
{
    if (slot < 0 || count == MOST) {
        return slot < 0 ? NOT_INITIALIZED : CUDA_OUT_OF_MEMORY;
    }
    int code = take(size);
    if (code == 0) {
        sizes[count++] = size;
        *pointer = count;
    }
    return code;
}

int cuInit(unsigned flags)
{
    struct complaint complaint;
    const char *spec = getenv("VRAM_SIM");
    (void)flags;
    if (!spec || sim_open(&sim, spec, &complaint) < 0) {
        (void)fprintf(stderr, "cuda_sim: %s\n",
                      spec ? complaint.text : "VRAM_SIM names no machine");
        return NOT_INITIALIZED;
    }
    return 0;
}

int cuDeviceGet(int *device, int ordinal)
{
    *device = ordinal;
    return 0;
}

int cuCtxCreate_v2(cuda_context *context, unsigned flags, int device)
{
    struct holder holder = {.instance = -1, .kinds = KIND_COMPUTE, .own_pid = (uint32_t)getpid()};
    (void)flags, (void)device;
    if (!sim.file.state) {
        return NOT_INITIALIZED;
    }
    (void)snprintf(holder.name, sizeof(holder.name), "cuda");
    state_lock(&sim.file);
    slot = holder_claim(&sim.file, &holder, sim.now->lag);
    state_unlock(&sim.file);
    *context = NULL;
    return slot < 0 ? CUDA_OUT_OF_MEMORY : take(CONTEXT);
}

int cuMemGetInfo_v2(size_t *free, size_t *total)
{
    if (slot < 0) {
        return NOT_INITIALIZED;
    }
    (void)sim_refresh(&sim);
    *free = sim_free(&sim, sim.now, 0, -1);
    *total = sim.now->gpus[0].memory.total;
    return 0;
}

int cuMemAlloc_v2(cuda_pointer *pointer, size_t size)
{
    return allocate(pointer, size);
}

/* A scenario can say how much is managed, in one figure; that figure is this program's to move. */
int cuMemAllocManaged(cuda_pointer *pointer, size_t size, unsigned flags)
{
    char line[64];
    struct complaint complaint;
    (void)pointer, (void)flags;
    (void)snprintf(line, sizeof(line), "gpu 0 managed=%zuB", size);
    *pointer = 0;
    return sim_inject(&sim, line, &complaint) < 0 ? INVALID_VALUE : 0;
}

int cuMemAllocAsync(cuda_pointer *pointer, size_t size, cuda_stream stream)
{
    (void)stream;
    return allocate(pointer, size);
}

int cuMemFree_v2(cuda_pointer pointer)
{
    char line[] = "gpu 0 managed=0B";
    struct complaint complaint;
    if (!pointer) {
        return sim_inject(&sim, line, &complaint) < 0 ? INVALID_VALUE : 0;
    }
    if (pointer != count) {
        return INVALID_VALUE;
    }
    state_lock(&sim.file);
    held -= sizes[--count];
    holder_set(sim.file.state, slot, held);
    state_unlock(&sim.file);
    return 0;
}

int cuMemFreeAsync(cuda_pointer pointer, cuda_stream stream)
{
    (void)stream;
    return cuMemFree_v2(pointer);
}

int cuMemsetD8_v2(cuda_pointer pointer, unsigned char value, size_t size)
{
    (void)pointer, (void)value, (void)size;
    return 0;
}

int cuStreamSynchronize(cuda_stream stream)
{
    (void)stream;
    return 0;
}

/* Takes a moment, so that who works in a loop leaves the machine to others. */
int cuCtxSynchronize(void)
{
    struct timespec moment = {0, 1000000};
    (void)nanosleep(&moment, NULL);
    return 0;
}

int cuGetErrorName(int code, const char **name)
{
    *name = code == CUDA_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_UNKNOWN";
    return 0;
}
