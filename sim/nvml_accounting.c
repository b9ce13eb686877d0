/* SPDX-License-Identifier: MIT */
/* Exported functions: accounting, which remembers each process's peak, also after its end. */
#include "sim/answer.h"
#include "sim/session.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* What accounting knows of one process. */
struct record {
    uint32_t pid;
    bool running;
    uint64_t peak, utilization, started, ended;
};

static bool is_on(const struct call *call)
{
    return call_gpu(call)->numbers[NUMBER_ACCOUNTING] == 1;
}

/* Accounting speaks of pids as the processes know themselves. */
static bool record_process(const struct call *call, size_t index, struct record *ret_record)
{
    const struct process *process = &session.sim.now->processes[index];
    if (process->gpu != call->gpu || process->ended <= call_gpu(call)->forgotten) {
        return false;
    }
    *ret_record = (struct record){sim_pid(process), process->ended == WORLD_NEVER,
                                  process->peak,    process->sm_utilization,
                                  process->started, process->ended};
    return true;
}

static bool record_holder(const struct call *call, size_t index, struct record *ret_record)
{
    uint64_t now = session.sim.now->now;
    struct holder holder;
    if (!holder_read(&session.sim.file, index, now, now, 0, &holder) || holder.gpu != call->gpu ||
        holder.died <= call_gpu(call)->forgotten) {
        return false;
    }
    *ret_record = (struct record){holder.own_pid, holder.listed, holder.peak, 0, now, holder.died};
    return true;
}

/* Record number `index` of all that there may be; false where there is none of that number. */
static bool read_record(const struct call *call, size_t index, struct record *ret_record)
{
    size_t processes = session.sim.now->process_count;
    return index < processes ? record_process(call, index, ret_record)
                             : record_holder(call, index - processes, ret_record);
}

static size_t records_room(void)
{
    return session.sim.now->process_count + holders_room(session.sim.file.state);
}

/* Of several that had the pid the last is remembered. */
static nvml_ret find_record(const struct call *call, uint32_t pid, struct record *ret_record)
{
    nvml_ret code = is_on(call) ? NVML_NOT_FOUND : NVML_NOT_SUPPORTED;
    for (size_t i = 0; code != NVML_NOT_SUPPORTED && i < records_room(); i++) {
        struct record record;
        if (read_record(call, i, &record) && record.pid == pid) {
            *ret_record = record;
            code = NVML_SUCCESS;
        }
    }
    return code;
}

static uint64_t start_time_us(const struct record *record)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    uint64_t us = (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
    return us - (session.sim.now->now - record->started) / 1000u;
}

/* 0 while the process runs. */
static uint64_t time_ms(const struct record *record)
{
    return record->running || record->ended < record->started
               ? 0
               : (record->ended - record->started) / 1000000u;
}

static nvml_ret stats(const struct call *call, uint32_t pid,
                      struct nvml_accounting_stats *ret_stats)
{
    struct record record;
    nvml_ret code = ret_stats ? find_record(call, pid, &record) : NVML_INVALID_ARGUMENT;
    if (code == NVML_SUCCESS) {
        *ret_stats = (struct nvml_accounting_stats){.gpu_utilization = (uint32_t)record.utilization,
                                                    .peak_bytes = record.peak,
                                                    .time_ms = time_ms(&record),
                                                    .start_us = start_time_us(&record),
                                                    .is_running = record.running};
    }
    return code;
}

static nvml_ret stats_v2(const struct call *call, struct nvml_accounting_stats_v2 *stats)
{
    struct record record;
    nvml_ret code = stats ? find_record(call, stats->pid, &record) : NVML_INVALID_ARGUMENT;
    if (code == NVML_SUCCESS) {
        *stats = (struct nvml_accounting_stats_v2){.pid = record.pid,
                                                   .is_running = record.running,
                                                   .gpu_utilization = (uint32_t)record.utilization,
                                                   .peak_bytes = record.peak,
                                                   .time_ms = time_ms(&record),
                                                   .start_us = start_time_us(&record)};
    }
    return code;
}

static nvml_ret pids(const struct call *call, uint32_t *count, uint32_t *ret_pids)
{
    uint32_t room, found = 0;
    if (!count || (*count && !ret_pids)) {
        return NVML_INVALID_ARGUMENT;
    }
    if (!is_on(call)) {
        return NVML_NOT_SUPPORTED;
    }
    room = *count;
    call_check_buffer(call, ret_pids, room, sizeof(*ret_pids));
    for (size_t i = 0; i < records_room(); i++) {
        struct record record;
        if (read_record(call, i, &record)) {
            if (found < room) {
                ret_pids[found] = record.pid;
            }
            found++;
        }
    }
    *count = found;
    return found > room ? NVML_INSUFFICIENT_SIZE : NVML_SUCCESS;
}

/* A change of the scenario by who may make one. */
static nvml_ret change(const char *line)
{
    struct complaint ignored;
    if (geteuid() != 0) {
        return NVML_NO_PERMISSION;
    }
    return sim_inject(&session.sim, line, &ignored) < 0 ? NVML_UNKNOWN : NVML_SUCCESS;
}

static nvml_ret set_mode(const struct call *call, uint32_t mode)
{
    char line[48];
    (void)snprintf(line, sizeof(line), "gpu %u accounting=%s", call->gpu, mode ? "on" : "off");
    return mode > 1 ? NVML_INVALID_ARGUMENT : change(line);
}

static nvml_ret clear(const struct call *call)
{
    char line[32];
    (void)snprintf(line, sizeof(line), "forget %u", call->gpu);
    return is_on(call) ? change(line) : NVML_NOT_SUPPORTED;
}

EXPORT(nvmlDeviceGetAccountingMode, nvml_device device, uint32_t *ret_mode)
{
    DEVICE_CALL(nvmlDeviceGetAccountingMode, device,
                answer_number(call_gpu(&call)->numbers[NUMBER_ACCOUNTING], ret_mode));
}

EXPORT(nvmlDeviceSetAccountingMode, nvml_device device, uint32_t mode)
{
    DEVICE_CALL(nvmlDeviceSetAccountingMode, device, set_mode(&call, mode));
}

EXPORT(nvmlDeviceGetAccountingStats, nvml_device device, uint32_t pid,
       struct nvml_accounting_stats *ret_stats)
{
    DEVICE_CALL(nvmlDeviceGetAccountingStats, device, stats(&call, pid, ret_stats));
}

EXPORT(nvmlDeviceGetAccountingStats_v2, nvml_device device, struct nvml_accounting_stats_v2 *stats)
{
    DEVICE_CALL(nvmlDeviceGetAccountingStats_v2, device, stats_v2(&call, stats));
}

EXPORT(nvmlDeviceGetAccountingPids, nvml_device device, uint32_t *count, uint32_t *ret_pids)
{
    DEVICE_CALL(nvmlDeviceGetAccountingPids, device, pids(&call, count, ret_pids));
}

EXPORT(nvmlDeviceGetAccountingBufferSize, nvml_device device, uint32_t *ret_size)
{
    DEVICE_CALL(nvmlDeviceGetAccountingBufferSize, device,
                answer_number(call_gpu(&call)->numbers[NUMBER_ACCOUNTING_ROOM], ret_size));
}

EXPORT(nvmlDeviceClearAccountingPids, nvml_device device)
{
    DEVICE_CALL(nvmlDeviceClearAccountingPids, device, clear(&call));
}
