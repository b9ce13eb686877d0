/* SPDX-License-Identifier: MIT */
/* How long the driver takes. */
#include "tests/gpu/probe.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define MOST_TIMES 20000
#define MOST_THREADS 64
#define LIST_ROOM 1024

/* ---- Start and end --------------------------------------------------------------------------- */

/* start ROUNDS: each a whole life of the driver's connection. */
int probe_start_and_end(struct probe *probe)
{
    static const char *const names[] = {"nvmlInit_v2", "handle", "first memory query",
                                        "nvmlShutdown"};
    static double times[4][1000];
    long rounds = probe_number(probe, 0, 1);
    rounds = rounds < 1000 ? rounds : 1000;
    for (long i = 0; i < rounds; i++) {
        struct nvml_memory_v2 memory = {.version = NVML_MEMORY_V2};
        double at[5] = {probe_now_us()};
        int code = CALL(nvmlInit_v2);
        at[1] = probe_now_us();
        code = code ? code : CALL(nvmlDeviceGetHandleByPciBusId_v2, probe->pci, &probe->device);
        at[2] = probe_now_us();
        code = code ? code : CALL(nvmlDeviceGetMemoryInfo_v2, probe->device, &memory);
        at[3] = probe_now_us();
        code = code ? code : CALL(nvmlShutdown);
        at[4] = probe_now_us();
        if (code) {
            probe_die("a start failed");
        }
        for (int j = 0; j < 4; j++) {
            times[j][i] = at[j + 1] - at[j];
        }
    }
    for (int j = 0; j < 4; j++) {
        (void)printf("{\"what\":\"%s\",\"first_us\":%.1f,", names[j], times[j][0]);
        probe_print_times(times[j], (int)rounds);
        (void)printf("}\n");
    }
    return 0;
}

/* ---- Each call ------------------------------------------------------------------------------- */

static unsigned char list[LIST_ROOM * sizeof(struct nvml_process_32)];

union answer {
    struct nvml_memory_v1 v1;
    struct nvml_memory_v2 v2;
    struct nvml_pci pci;
    struct nvml_utilization utilization;
    struct nvml_temperature_v1 temperature;
    struct nvml_process_detail_list details;
    nvml_device device;
    uint32_t numbers[2];
    char text[NVML_NAME_SIZE];
};

/* The ways in which these functions take their arguments. */
enum shape {
    DEVICE_ANSWER,
    DEVICE_TWO_NUMBERS,
    DEVICE_TEXT,
    DEVICE_LIST,
    DEVICE_SENSOR,
    ANSWER,
    TEXT,
    INDEX,
    PCI,
    PID
};

/* Every function that vram calls in a pass, and those that it could. */
static const struct timed {
    const char *name;
    enum shape shape;
    uint32_t version; /* the first word of the structure */
} calls[] = {
    {"nvmlDeviceGetMemoryInfo_v2", DEVICE_ANSWER, NVML_MEMORY_V2},
    {"nvmlDeviceGetMemoryInfo", DEVICE_ANSWER, 0},
    {"nvmlDeviceGetComputeRunningProcesses_v3", DEVICE_LIST, 0},
    {"nvmlDeviceGetGraphicsRunningProcesses_v3", DEVICE_LIST, 0},
    {"nvmlDeviceGetMPSComputeRunningProcesses_v3", DEVICE_LIST, 0},
    {"nvmlDeviceGetRunningProcessDetailList", DEVICE_ANSWER, NVML_PROCESS_DETAIL_LIST_V1},
    {"nvmlDeviceGetMigMode", DEVICE_TWO_NUMBERS, 0},
    {"nvmlDeviceGetMaxMigDeviceCount", DEVICE_ANSWER, 0},
    {"nvmlDeviceGetTemperatureV", DEVICE_ANSWER, NVML_TEMPERATURE_V1},
    {"nvmlDeviceGetTemperature", DEVICE_SENSOR, 0},
    {"nvmlDeviceGetUtilizationRates", DEVICE_ANSWER, 0},
    {"nvmlDeviceGetPowerUsage", DEVICE_ANSWER, 0},
    {"nvmlDeviceGetUUID", DEVICE_TEXT, 0},
    {"nvmlDeviceGetName", DEVICE_TEXT, 0},
    {"nvmlDeviceGetPciInfo_v3", DEVICE_ANSWER, 0},
    {"nvmlDeviceGetCount_v2", ANSWER, 0},
    {"nvmlDeviceGetHandleByIndex_v2", INDEX, 0},
    {"nvmlDeviceGetHandleByPciBusId_v2", PCI, 0},
    {"nvmlSystemGetDriverVersion", TEXT, 0},
    {"nvmlSystemGetCudaDriverVersion_v2", ANSWER, 0},
    {"nvmlSystemGetProcessName", PID, 0},
};

static int call_once(const struct probe *probe, const struct timed *call, int (*function)())
{
    union answer answer = {.numbers = {call->version}};
    uint32_t count = LIST_ROOM;
    switch (call->shape) {
    case DEVICE_ANSWER:
        if (call->version == NVML_PROCESS_DETAIL_LIST_V1) {
            answer.details =
                (struct nvml_process_detail_list){call->version, 0, LIST_ROOM, (void *)list};
        }
        return function(probe->device, &answer);
    case DEVICE_TWO_NUMBERS:
        return function(probe->device, &answer.numbers[0], &answer.numbers[1]);
    case DEVICE_TEXT:
        return function(probe->device, answer.text, (uint32_t)sizeof(answer.text));
    case DEVICE_LIST:
        return function(probe->device, &count, list);
    case DEVICE_SENSOR:
        return function(probe->device, NVML_SENSOR_GPU, &answer.numbers[0]);
    case ANSWER:
        return function(&answer);
    case TEXT:
        return function(answer.text, (uint32_t)sizeof(answer.text));
    case INDEX:
        return function(0u, &answer.device);
    case PCI:
        return function(probe->pci, &answer.device);
    case PID:
        return function(1u, answer.text, (uint32_t)sizeof(answer.text));
    }
    return NVML_UNKNOWN;
}

/* latency ROUNDS MS: each call so often, at most so long. */
int probe_latency(struct probe *probe)
{
    static double times[MOST_TIMES];
    long rounds = probe_number(probe, 0, 100), ms = probe_number(probe, 1, 200);
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        int (*function)() = probe_function(calls[i].name);
        int code = call_once(probe, &calls[i], function), count = 0;
        double end = probe_now_us() + (double)ms * 1e3;
        while (code == 0 && count < rounds && count < MOST_TIMES && probe_now_us() < end) {
            double start = probe_now_us();
            code = call_once(probe, &calls[i], function);
            times[count++] = probe_now_us() - start;
        }
        (void)printf("{\"call\":\"%s\",\"code\":%d,", calls[i].name, code);
        probe_print_times(times, count);
        (void)printf("}\n");
        (void)fflush(stdout);
    }
    return 0;
}

/* ---- Threads --------------------------------------------------------------------------------- */

struct hammer {
    const struct probe *probe;
    double end;
    uint64_t total;
    int count, failures, torn;
    double times[MOST_TIMES];
};

/* Memory, then the compute list, over and over. */
static void *hammer(void *data)
{
    struct hammer *self = data;
    int (*memory)() = probe_function("nvmlDeviceGetMemoryInfo_v2");
    int (*compute)() = probe_function("nvmlDeviceGetComputeRunningProcesses_v3");
    struct nvml_process_24 *entries = malloc(LIST_ROOM * sizeof(struct nvml_process_32));
    while (entries && probe_now_us() < self->end && self->count < MOST_TIMES) {
        struct nvml_memory_v2 m = {.version = NVML_MEMORY_V2};
        uint32_t count = LIST_ROOM;
        double start = probe_now_us();
        int code = memory(self->probe->device, &m);
        self->torn += code == 0 && m.total != m.reserved + m.free + m.used;
        self->failures += code != 0;
        code = compute(self->probe->device, &count, entries);
        self->failures += code != 0;
        self->times[self->count++] = probe_now_us() - start;
    }
    free(entries);
    return NULL;
}

/* threads N MS: pairs of a memory query and a list, by N threads at once. */
int probe_threads(struct probe *probe)
{
    static struct hammer hammers[MOST_THREADS];
    static double times[MOST_THREADS * MOST_TIMES];
    pthread_t threads[MOST_THREADS];
    long wanted = probe_number(probe, 0, 8), ms = probe_number(probe, 1, 500);
    int started = 0, count = 0, failures = 0, torn = 0;
    double begin = probe_now_us();
    for (; started < wanted && started < MOST_THREADS; started++) {
        hammers[started].probe = probe;
        hammers[started].end = begin + (double)ms * 1e3;
        if (pthread_create(&threads[started], NULL, hammer, &hammers[started]) != 0) {
            break;
        }
    }
    for (int i = 0; i < started; i++) {
        (void)pthread_join(threads[i], NULL);
        failures += hammers[i].failures;
        torn += hammers[i].torn;
        for (int j = 0; j < hammers[i].count; j++) {
            times[count++] = hammers[i].times[j];
        }
    }
    double seconds = (probe_now_us() - begin) / 1e6;
    (void)printf("{\"threads\":%d,\"failures\":%d,\"torn\":%d,\"pairs_per_s\":%.0f,", started,
                 failures, torn, (double)count / seconds);
    probe_print_times(times, count);
    (void)printf("}\n");
    return 0;
}
