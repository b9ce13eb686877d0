/* SPDX-License-Identifier: MIT */
#include "sim/hold.h"

#include "common/size.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define STEP_NS 10000000L
#define DEVICES_MAX (WORLD_GPUS * WORLD_INSTANCES)

/* What a program that uses CUDA would call a device. */
struct device {
    uint32_t gpu;
    int instance;
};

/* ---- Which device ------------------------------------------------------------------------------ */

static const char *device_uuid(const struct sim *sim, struct device device)
{
    const struct gpu *gpu = &sim->now->gpus[device.gpu];
    return device.instance < 0 ? gpu->uuid : gpu->instances[device.instance].uuid;
}

/* A divided card is used by its instances: the first, unless one is named. */
static struct device whole(const struct sim *sim, uint32_t gpu)
{
    struct device device = {gpu, -1};
    for (int i = 0; device.instance < 0 && i < WORLD_INSTANCES; i++) {
        if (sim->now->gpus[gpu].instances[i].present) {
            device.instance = i;
        }
    }
    return device;
}

static bool is_number(const char *text)
{
    return *text && strspn(text, "0123456789") == strlen(text);
}

/* The device of an index, a UUID, or the beginning of one. */
static bool find_device(const struct sim *sim, const char *text, struct device *ret_device)
{
    if (is_number(text)) {
        unsigned long gpu = strlen(text) < 4 ? strtoul(text, NULL, 10) : WORLD_GPUS;
        if (gpu < sim->now->gpu_count) {
            *ret_device = whole(sim, (uint32_t)gpu);
        }
        return gpu < sim->now->gpu_count;
    }
    size_t length = strlen(text);
    for (uint32_t gpu = 0; length && gpu < sim->now->gpu_count; gpu++) {
        if (strncmp(sim->now->gpus[gpu].uuid, text, length) == 0) {
            *ret_device = whole(sim, gpu);
            return true;
        }
        for (int i = 0; i < WORLD_INSTANCES; i++) {
            const struct instance *instance = &sim->now->gpus[gpu].instances[i];
            if (instance->present && strncmp(instance->uuid, text, length) == 0) {
                *ret_device = (struct device){gpu, i};
                return true;
            }
        }
    }
    return false;
}

/* What CUDA_VISIBLE_DEVICES shows, in its order; as with CUDA the first wrong entry ends the list. */
static size_t visible_devices(const struct sim *sim, struct device devices[DEVICES_MAX])
{
    const char *at = getenv("CUDA_VISIBLE_DEVICES");
    size_t count = 0;
    if (!at) {
        for (uint32_t gpu = 0; gpu < sim->now->gpu_count; gpu++) {
            devices[count++] = whole(sim, gpu);
        }
        return count;
    }
    while (*at && count < DEVICES_MAX) {
        char entry[WORLD_UUID_MAX];
        size_t length = strcspn(at, ",");
        (void)snprintf(entry, sizeof(entry), "%.*s", length < sizeof(entry) ? (int)length : 0, at);
        if (!find_device(sim, entry, &devices[count])) {
            break;
        }
        count++;
        at += length + (at[length] == ',');
    }
    return count;
}

static int choose_device(const struct sim *sim, const char *wanted, struct device *ret_device)
{
    static struct device devices[DEVICES_MAX];
    size_t count = visible_devices(sim, devices);
    const char *which = wanted ? wanted : "0";
    if (!count) {
        (void)fprintf(stderr, "vram-sim: no GPU to hold memory on%s\n",
                      getenv("CUDA_VISIBLE_DEVICES") ? "; CUDA_VISIBLE_DEVICES shows none" : "");
        return -ENODEV;
    }
    if (is_number(which)) {
        unsigned long number = strlen(which) < 4 ? strtoul(which, NULL, 10) : count;
        if (number < count) {
            *ret_device = devices[number];
            return 0;
        }
    } else {
        struct device found;
        bool known = find_device(sim, which, &found), all = !getenv("CUDA_VISIBLE_DEVICES");
        for (size_t i = 0; known && i < count; i++) {
            if (all || (devices[i].gpu == found.gpu && devices[i].instance == found.instance)) {
                *ret_device = found;
                return 0;
            }
        }
    }
    (void)fprintf(stderr, "vram-sim: there is no GPU '%s' among the %zu that are visible\n", which,
                  count);
    return -ENODEV;
}

/* ---- Allocating -------------------------------------------------------------------------------- */

/* Holds `bytes` in all from now on, of which `before` were held already. Alone among all processes from the
 * look at what is free to the taking of it. */
static int take(struct sim *sim, struct device device, int slot, uint64_t before, uint64_t bytes)
{
    const struct gpu *gpu = &sim->now->gpus[device.gpu];
    state_lock(&sim->file);
    (void)sim_refresh(sim);
    uint64_t free_bytes = sim_free(sim, sim->now, device.gpu, device.instance);
    bool unlimited = gpu->numbers[NUMBER_MEMORY_UNSUPPORTED] == 1 && !gpu->memory.total;
    bool fits = unlimited || bytes - before <= free_bytes;
    if (fits) {
        holder_set(sim->file.state, slot, bytes);
    } else {
        atomic_fetch_add(&sim->file.state->out_of_memory, 1);
    }
    state_unlock(&sim->file);
    if (!fits) {
        (void)fprintf(stderr,
                      "vram-sim: out of memory on GPU %u (%s): %" PRIu64 " MiB wanted, %" PRIu64
                      " MiB free\n",
                      device.gpu, device_uuid(sim, device), (bytes - before) / MIB,
                      free_bytes / MIB);
        return -ENOMEM;
    }
    return 0;
}

static void step(void)
{
    struct timespec time = {0, STEP_NS};
    (void)nanosleep(&time, NULL);
}

static uint64_t share(uint64_t size, uint64_t passed, uint64_t ramp)
{
    return passed >= ramp ? size : (uint64_t)((double)size * ((double)passed / (double)ramp));
}

/* Grows with time, so that a clock that jumps makes one large step. Shows itself at once, with nothing. */
static int take_slowly(struct sim *sim, struct device device, int slot, uint64_t size,
                       uint64_t ramp)
{
    uint64_t begin = state_now(sim->file.state), held = 0;
    int r = ramp ? take(sim, device, slot, 0, 0) : 0;
    while (r == 0 && held < size) {
        uint64_t now = state_now(sim->file.state);
        uint64_t due = share(size, now > begin ? now - begin : 0, ramp);
        if (due > held) {
            r = take(sim, device, slot, held, due);
            held = due;
        } else {
            step();
        }
    }
    return r;
}

static int claim(struct sim *sim, struct device device, const struct hold_options *options)
{
    struct holder holder = {.gpu = device.gpu,
                            .instance = device.instance,
                            .kinds = options->kinds,
                            .own_pid = (uint32_t)getpid()};
    const char *name = options->name ? options->name : program_invocation_name;
    (void)snprintf(holder.name, sizeof(holder.name), "%s", name);
    if (options->name) {
        (void)prctl(PR_SET_NAME, options->name); /* what /proc calls it, too */
    }
    state_lock(&sim->file);
    int slot = holder_claim(&sim->file, &holder, sim->now->lag);
    state_unlock(&sim->file);
    if (slot < 0) {
        (void)fprintf(stderr,
                      "vram-sim: %d processes hold memory already, and there is no room for more\n",
                      STATE_SLOTS);
    }
    return slot;
}

/* ---- Holding ----------------------------------------------------------------------------------- */

/* Until `duration` after `begin`. */
static void wait_until_over(const struct sim *sim, uint64_t begin, uint64_t duration)
{
    while (duration == WORLD_NEVER) {
        (void)pause();
    }
    for (;;) {
        uint64_t now = state_now(sim->file.state);
        begin = now < begin ? now : begin; /* the machine was begun anew */
        if (now - begin >= duration) {
            return;
        }
        step();
    }
}

/* A program that opens a GPU wakes it; one that is lost or closed to it fails at once. */
static int open_device(struct sim *sim, struct device device)
{
    const struct gpu *gpu = &sim->now->gpus[device.gpu];
    char line[32];
    struct complaint ignored;
    if (gpu->lost || gpu->denied) {
        (void)fprintf(stderr, "vram-sim: GPU %u is %s\n", device.gpu,
                      gpu->lost ? "lost" : "not open to this process");
        return -ENODEV;
    }
    (void)snprintf(line, sizeof(line), "gpu %u awake", device.gpu);
    return gpu->suspended ? sim_inject(sim, line, &ignored) : 0;
}

int hold(struct sim *sim, const struct hold_options *options)
{
    struct device device;
    if (sim->file.fd < 0) {
        (void)fprintf(
            stderr, "vram-sim: no directory for the state that processes share can be written; set "
                    "VRAM_SIM_STATE_DIR to one of your own\n");
        return 1;
    }
    if (choose_device(sim, options->gpu, &device) < 0 || open_device(sim, device) < 0) {
        return 1;
    }
    int slot = claim(sim, device, options);
    if (slot < 0 || take_slowly(sim, device, slot, options->size, options->ramp) < 0) {
        return 1;
    }
    uint64_t begin = state_now(sim->file.state); /* before anybody is told, and moves the clock */
    (void)printf("holding %" PRIu64 " MiB on GPU %u (%s)\n", options->size / MIB, device.gpu,
                 device_uuid(sim, device));
    (void)fflush(stdout);
    wait_until_over(sim, begin, options->duration);
    return 0;
}
