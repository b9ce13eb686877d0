/* SPDX-License-Identifier: MIT */
/*
 * What one snapshot costs beyond the driver's own calls, in one process: the bare calls, then snapshots whose
 * processes are all known from the one before, then snapshots by a fresh handle, to which all are new.
 *
 *     snapshot LIBRARY ROUNDS      prints: bare_us known_us first_us processes
 */
#include "common/nvml_abi.h"
#include "include/vram.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void *library;
#define CALL(name, ...) ((int (*)())dlsym(library, #name))(__VA_ARGS__)

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof(*values), compare);
    return values[count / 2];
}

/* The calls of one steady pass, looked up before: symbol searches are not the driver's time. Whether a card is divided is
 * asked once a second and not in each. */
static double bare(int rounds, uint32_t gpus)
{
    static double times[100000];
    static unsigned char lists[32 * 1024];
    int (*memory)() = (int (*)())dlsym(library, "nvmlDeviceGetMemoryInfo_v2");
    int (*compute)() = (int (*)())dlsym(library, "nvmlDeviceGetComputeRunningProcesses_v3");
    int (*graphics)() = (int (*)())dlsym(library, "nvmlDeviceGetGraphicsRunningProcesses_v3");
    int (*mps)() = (int (*)())dlsym(library, "nvmlDeviceGetMPSComputeRunningProcesses_v3");
    int (*temperature)() = (int (*)())dlsym(library, "nvmlDeviceGetTemperature");
    int (*utilization)() = (int (*)())dlsym(library, "nvmlDeviceGetUtilizationRates");
    nvml_device devices[64];
    for (uint32_t i = 0; i < gpus; i++) {
        CALL(nvmlDeviceGetHandleByIndex_v2, i, &devices[i]);
    }
    for (int round = 0; round < rounds; round++) {
        double start = now_us();
        for (uint32_t i = 0; i < gpus; i++) {
            struct nvml_memory_v2 m = {.version = NVML_MEMORY_V2};
            struct nvml_utilization u;
            uint32_t count = 1024, celsius;
            memory(devices[i], &m);
            compute(devices[i], &count, lists);
            count = 1024;
            graphics(devices[i], &count, lists);
            count = 1024;
            mps(devices[i], &count, lists);
            temperature(devices[i], 0u, &celsius);
            utilization(devices[i], &u);
        }
        times[round] = now_us() - start;
    }
    return median(times, rounds);
}

static struct vram *open_handle(const char *path)
{
    struct vram_options options = VRAM_OPTIONS_INIT;
    char driver[512];
    struct vram *vram;
    (void)snprintf(driver, sizeof(driver), "nvml:%s", path);
    options.driver = driver;
    if (vram_open(&vram, &options) < 0) {
        exit(4);
    }
    return vram;
}

static size_t take(struct vram *vram, double *ret_us)
{
    struct vram_snapshot *snapshot;
    double start = now_us();
    if (vram_snapshot_take(vram, VRAM_TAKE_PROCESSES | VRAM_TAKE_HEALTH, &snapshot) < 0) {
        fprintf(stderr, "%s\n", vram_error(vram));
        exit(3);
    }
    *ret_us = now_us() - start;
    size_t processes = 0;
    for (size_t i = 0; i < vram_snapshot_gpu_count(snapshot); i++) {
        processes += vram_snapshot_gpu(snapshot, i)->process_count;
    }
    vram_snapshot_unref(snapshot);
    return processes;
}

int main(int argc, char **argv)
{
    static double times[100000];
    int rounds = argc == 3 ? (int)strtol(argv[2], NULL, 10) : 0;
    library = argc == 3 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!library || rounds < 1 || rounds > 100000 || CALL(nvmlInit_v2)) {
        fprintf(stderr, "usage: snapshot LIBRARY ROUNDS\n");
        return 2;
    }
    uint32_t gpus = 0;
    CALL(nvmlDeviceGetCount_v2, &gpus);
    double bare_us = bare(rounds, gpus < 64 ? gpus : 64);

    size_t processes = 0;
    struct vram *vram = open_handle(argv[1]);
    for (int i = -1; i < rounds; i++) { /* the first one opens the driver */
        double us;
        processes = take(vram, &us);
        times[i < 0 ? 0 : i] = us;
    }
    double known_us = median(times, rounds);
    vram_close(vram);

    /* A handle's first snapshot opens the driver and learns the GPUs too; with the driver's own start
     * taken out by the second figure of a machine without processes, what is left is the new processes. */
    int fresh = rounds < 200 ? rounds : 200;
    for (int i = 0; i < fresh; i++) {
        vram = open_handle(argv[1]);
        (void)take(vram, &times[i]);
        vram_close(vram);
    }
    printf("%.1f %.1f %.1f %zu\n", bare_us, known_us, median(times, fresh), processes);
    return 0;
}
