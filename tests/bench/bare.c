/* SPDX-License-Identifier: MIT */
/*
 * The yardstick: the least that a C program can do to print what `vram status --json` prints. The same driver
 * calls with one process listed, printf, no checks. Whatever vram needs beyond this is its own cost.
 */
#include "common/nvml_abi.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>

static void *library;
#define CALL(name, ...) ((int (*)())dlsym(library, #name))(__VA_ARGS__)

static void list(const char *kind, int (*call)(), nvml_device device)
{
    struct nvml_process_24 processes[64];
    uint32_t count = 64;
    if (call && call(device, &count, processes) == 0) {
        for (uint32_t i = 0; i < count; i++) {
            char path[64], name[64] = "";
            (void)snprintf(path, sizeof(path), "/proc/%u/comm", processes[i].pid);
            FILE *file = fopen(path, "r");
            if (!file) {
                CALL(nvmlSystemGetProcessName, processes[i].pid, name, 64u);
            } else if (fgets(name, sizeof(name), file)) {
                fclose(file);
            }
            printf("{\"pid\":%u,\"kind\":\"%s\",\"name\":\"%s\",\"used_bytes\":%" PRIu64 "}",
                   processes[i].pid, kind, name, processes[i].used_bytes);
        }
    }
}

int main(int argc, char **argv)
{
    char version[80], uuid[96], name[96];
    uint32_t gpus = 0, celsius = 0, mig = 0, pending = 0;
    int cuda = 0;
    library = dlopen(argc > 1 ? argv[1] : "libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library || CALL(nvmlInit_v2)) {
        return 3;
    }
    CALL(nvmlSystemGetDriverVersion, version, 80u);
    CALL(nvmlSystemGetCudaDriverVersion_v2, &cuda);
    CALL(nvmlDeviceGetCount_v2, &gpus);
    printf("{\"driver\":\"%s\",\"cuda\":%d,\"gpus\":[", version, cuda);
    for (uint32_t i = 0; i < gpus; i++) {
        nvml_device device;
        struct nvml_pci pci;
        struct nvml_memory_v2 memory = {.version = NVML_MEMORY_V2};
        struct nvml_utilization utilization;
        CALL(nvmlDeviceGetHandleByIndex_v2, i, &device);
        CALL(nvmlDeviceGetUUID, device, uuid, 96u);
        CALL(nvmlDeviceGetName, device, name, 96u);
        CALL(nvmlDeviceGetPciInfo_v3, device, &pci);
        CALL(nvmlDeviceGetMigMode, device, &mig, &pending);
        CALL(nvmlDeviceGetMemoryInfo_v2, device, &memory);
        printf("{\"uuid\":\"%s\",\"name\":\"%s\",\"bus\":%u,\"total\":%" PRIu64 ",\"used\":%" PRIu64
               ",\"free\":%" PRIu64 ",\"reserved\":%" PRIu64 ",\"processes\":[",
               uuid, name, pci.bus, memory.total, memory.used, memory.free, memory.reserved);
        list("C", (int (*)())dlsym(library, "nvmlDeviceGetComputeRunningProcesses_v3"), device);
        list("G", (int (*)())dlsym(library, "nvmlDeviceGetGraphicsRunningProcesses_v3"), device);
        list("M", (int (*)())dlsym(library, "nvmlDeviceGetMPSComputeRunningProcesses_v3"), device);
        CALL(nvmlDeviceGetTemperature, device, NVML_SENSOR_GPU, &celsius);
        CALL(nvmlDeviceGetUtilizationRates, device, &utilization);
        printf("],\"temperature\":%u,\"utilization\":%u}", celsius, utilization.gpu);
    }
    printf("]}\n");
    CALL(nvmlShutdown);
    return 0;
}
