/* SPDX-License-Identifier: MIT */
/* What the driver writes where, and what it makes of structure versions; modes, which are only read. */
#include "tests/gpu/probe.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ROOM 256
#define FILL_A 0xA5
#define FILL_B 0x5A

static void memory(const struct probe *probe)
{
    struct nvml_memory_v1 v1 = {0};
    struct nvml_memory_v2 v2 = {.version = NVML_MEMORY_V2}, raw = {.version = 2}, again = v2;
    int code_2 = CALL(nvmlDeviceGetMemoryInfo_v2, probe->device, &v2);
    int code_1 = CALL(nvmlDeviceGetMemoryInfo, probe->device, &v1);
    (void)CALL(nvmlDeviceGetMemoryInfo_v2, probe->device, &again);
    int code_raw = CALL(nvmlDeviceGetMemoryInfo_v2, probe->device, &raw);
    (void)printf(
        "{\"what\":\"memory\",\"v1_code\":%d,\"v2_code\":%d,\"raw_2_code\":%d,\"steady\":%s,"
        "\"v1\":[%" PRIu64 ",%" PRIu64 ",%" PRIu64 "],\"v2\":[%" PRIu64 ",%" PRIu64 ",%" PRIu64
        ",%" PRIu64 "]}\n",
        code_1, code_2, code_raw, v2.used == again.used ? "true" : "false", v1.total, v1.free,
        v1.used, v2.total, v2.reserved, v2.free, v2.used);
}

/* How far two calls into differently filled buffers wrote, whatever they wrote. */
static size_t extent(const unsigned char *a, const unsigned char *b, size_t size)
{
    while (size && a[size - 1] == FILL_A && b[size - 1] == FILL_B) {
        size--;
    }
    return size;
}

/* One list, called twice, and what each entry seems to have. */
static void list(const struct probe *probe, const char *name)
{
    static unsigned char a[ROOM * 32 + 64], b[sizeof(a)];
    uint32_t count_a = ROOM, count_b = ROOM;
    int (*function)() = probe_function(name);
    memset(a, FILL_A, sizeof(a));
    memset(b, FILL_B, sizeof(b));
    int code = function(probe->device, &count_a, a);
    (void)function(probe->device, &count_b, b);
    size_t bytes = (extent(a, b, sizeof(a)) + 7) / 8 * 8;
    uint32_t none = 0;
    int code_none = function(probe->device, &none, NULL);
    struct nvml_process_16 first = {0};
    memcpy(&first, a, code == 0 && count_a ? sizeof(first) : 0);
    (void)printf(
        "{\"what\":\"list\",\"call\":\"%s\",\"code\":%d,\"count\":%u,\"steady\":%s,\"bytes\":%zu,"
        "\"empty_code\":%d,\"empty_count\":%u,\"first_pid\":%u,\"first_used\":%" PRIu64 "}\n",
        name, code, count_a, count_a == count_b ? "true" : "false", bytes, code_none, none,
        first.pid, first.used_bytes);
}

static void detail_list(const struct probe *probe, uint32_t mode)
{
    static struct nvml_process_detail entries[ROOM];
    struct nvml_process_detail_list list = {NVML_PROCESS_DETAIL_LIST_V1, mode, ROOM, entries};
    memset(entries, FILL_A, sizeof(entries));
    int code = CALL(nvmlDeviceGetRunningProcessDetailList, probe->device, &list);
    uint64_t sum = 0;
    for (uint32_t i = 0; code == 0 && i < list.count && i < ROOM; i++) {
        sum += entries[i].used_bytes;
    }
    (void)printf("{\"what\":\"details\",\"mode\":%u,\"code\":%d,\"count\":%u,\"used\":%" PRIu64
                 ",\"protected\":%" PRIu64 "}\n",
                 mode, code, code ? 0 : list.count, sum,
                 code == 0 && list.count ? entries[0].protected_bytes : 0);
}

int probe_layouts(struct probe *probe)
{
    static const char *const lists[] = {
        "nvmlDeviceGetComputeRunningProcesses",       "nvmlDeviceGetComputeRunningProcesses_v2",
        "nvmlDeviceGetComputeRunningProcesses_v3",    "nvmlDeviceGetGraphicsRunningProcesses",
        "nvmlDeviceGetGraphicsRunningProcesses_v2",   "nvmlDeviceGetGraphicsRunningProcesses_v3",
        "nvmlDeviceGetMPSComputeRunningProcesses",    "nvmlDeviceGetMPSComputeRunningProcesses_v2",
        "nvmlDeviceGetMPSComputeRunningProcesses_v3",
    };
    memory(probe);
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        list(probe, lists[i]);
    }
    for (uint32_t mode = 0; mode <= 3; mode++) {
        detail_list(probe, mode);
    }
    return 0;
}

/* ---- Modes ----------------------------------------------------------------------------------- */

int probe_modes(struct probe *probe)
{
    static const char *const numbers[] = {
        "nvmlDeviceGetPersistenceMode",    "nvmlDeviceGetComputeMode",
        "nvmlDeviceGetVirtualizationMode", "nvmlDeviceGetAccountingMode",
        "nvmlDeviceGetArchitecture",       "nvmlDeviceGetAccountingBufferSize",
        "nvmlDeviceGetMaxMigDeviceCount",  "nvmlDeviceGetMinorNumber",
        "nvmlDeviceGetNumaNodeId",
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        uint32_t value = 0;
        int code = probe_function(numbers[i])(probe->device, &value);
        (void)printf("{\"call\":\"%s\",\"code\":%d,\"value\":%u}\n", numbers[i], code, value);
    }
    uint32_t current = 0, pending = 0;
    int code = CALL(nvmlDeviceGetMigMode, probe->device, &current, &pending);
    (void)printf("{\"call\":\"nvmlDeviceGetMigMode\",\"code\":%d,\"value\":%u}\n", code, current);
    struct nvml_addressing_mode addressing = {.version = NVML_ADDRESSING_MODE_V1};
    code = CALL(nvmlDeviceGetAddressingMode, probe->device, &addressing);
    (void)printf("{\"call\":\"nvmlDeviceGetAddressingMode\",\"code\":%d,\"value\":%u}\n", code,
                 addressing.value);
    struct nvml_bar1 bar1 = {0};
    code = CALL(nvmlDeviceGetBAR1MemoryInfo, probe->device, &bar1);
    (void)printf("{\"call\":\"nvmlDeviceGetBAR1MemoryInfo\",\"code\":%d,\"value\":%" PRIu64 "}\n",
                 code, bar1.total);
    struct nvml_confidential_state state = {0};
    code = CALL(nvmlSystemGetConfComputeState, &state);
    (void)printf("{\"call\":\"nvmlSystemGetConfComputeState\",\"code\":%d,\"value\":%u}\n", code,
                 state.feature);
    uint32_t count = 0;
    code = CALL(nvmlDeviceGetAccountingPids, probe->device, &count, NULL);
    (void)printf("{\"call\":\"nvmlDeviceGetAccountingPids\",\"code\":%d,\"value\":%u}\n", code,
                 count);
    uint64_t types = 0;
    code = CALL(nvmlDeviceGetSupportedEventTypes, probe->device, &types);
    (void)printf("{\"call\":\"nvmlDeviceGetSupportedEventTypes\",\"code\":%d,\"value\":%" PRIu64
                 "}\n",
                 code, types);
    return 0;
}
