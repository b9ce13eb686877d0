/* SPDX-License-Identifier: MIT */
/* Processes of readings: who is who, and what they hold. */
#include "sim/compose_inner.h"

#include "sim/setting.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define REAL_PID_MAX                                                                               \
    4194304u /* the kernel's; what is above is nobody's on the machine that plays it */
#define FIRST_PID 4194401u

/* ---- Instances --------------------------------------------------------------------------------- */

bool compose_instance_ids(const struct reading *reading, int gpu, int instance,
                          uint32_t *ret_gpu_instance, uint32_t *ret_compute_instance)
{
    const struct answer *gi =
        reading_find(reading, FUNCTION_nvmlDeviceGetGpuInstanceId, gpu, instance, 0);
    const struct answer *ci =
        reading_find(reading, FUNCTION_nvmlDeviceGetComputeInstanceId, gpu, instance, 0);
    if (!gi || !gi->count) {
        return false;
    }
    *ret_gpu_instance = (uint32_t)gi->numbers[0];
    *ret_compute_instance = ci && ci->count ? (uint32_t)ci->numbers[0] : 0;
    return true;
}

/* ---- Processes --------------------------------------------------------------------------------- */

uint32_t compose_pid(const struct composer *composer, uint32_t pid)
{
    for (size_t i = composer->process_count; i-- > 0;) {
        if (composer->processes[i].pid == pid) {
            return composer->processes[i].told_pid;
        }
    }
    return pid;
}

static bool is_taken(const struct composer *composer, const struct reading *reading,
                     uint32_t told_pid)
{
    for (uint32_t i = 0; i < reading->entry_count; i++) {
        if (reading->entries[i].pid == told_pid) {
            return true;
        }
    }
    for (size_t i = 0; i < composer->process_count; i++) {
        if (composer->processes[i].told_pid == told_pid) {
            return true;
        }
    }
    return false;
}

/* A pid that no process of the machine that plays it can have. One that is such already stays. */
static uint32_t stand_in(struct composer *composer, const struct reading *reading, uint32_t pid)
{
    uint32_t known = compose_pid(composer, pid);
    if (known != pid || pid > REAL_PID_MAX) {
        return known;
    }
    composer->next_pid = composer->next_pid ? composer->next_pid : FIRST_PID;
    while (is_taken(composer, reading, composer->next_pid)) {
        composer->next_pid++;
    }
    return composer->next_pid++;
}

static const char *name_in(const struct reading *reading, uint32_t pid)
{
    for (uint32_t i = 0; i < reading->answer_count; i++) {
        const struct answer *answer = &reading->answers[i];
        if (answer->function == FUNCTION_nvmlSystemGetProcessName && answer->numbers[0] == pid) {
            return answer->code == NVML_SUCCESS ? answer->text : "";
        }
    }
    return "";
}

static uint32_t kind_of(const struct entry *entry)
{
    const char *name = function_name((enum function)entry->function);
    return strstr(name, "Graphics") ? KIND_GRAPHICS : strstr(name, "MPS") ? KIND_MPS : KIND_COMPUTE;
}

static bool is_listed(const struct entry *entry)
{
    return strstr(function_name((enum function)entry->function), "RunningProcesses") != NULL;
}

/* The process of an entry, new where there is none yet. NULL: out of memory. */
static struct compose_process *process_of(struct composer *composer, const struct entry *entry)
{
    for (size_t i = composer->process_count; i-- > 0;) {
        struct compose_process *process = &composer->processes[i];
        if (process->pid == entry->pid && process->gpu == entry->gpu) {
            return process;
        }
    }
    if (composer->process_count == composer->process_room) {
        size_t room = composer->process_room ? composer->process_room * 2 : 64;
        struct compose_process *grown = realloc(composer->processes, room * sizeof(*grown));
        if (!grown) {
            return NULL;
        }
        composer->processes = grown;
        composer->process_room = room;
    }
    struct compose_process *process = &composer->processes[composer->process_count++];
    *process = (struct compose_process){.pid = entry->pid,
                                        .told_pid = entry->pid,
                                        .gpu = entry->gpu,
                                        .gpu_instance = NVML_NO_INSTANCE,
                                        .compute_instance = NVML_NO_INSTANCE};
    return process;
}

/* Entries of one process, from several lists, are about the same memory. */
static void merge(struct compose_process *process, const struct reading *reading,
                  const struct entry *entry, bool *seen)
{
    bool larger = process->used == WORLD_UNKNOWN ||
                  (entry->used != NVML_NOT_AVAILABLE && entry->used > process->used);
    if (!*seen) {
        process->kinds = 0;
    }
    if (!*seen || larger) {
        process->used = entry->used;
    }
    *seen = true;
    process->kinds |= kind_of(entry);
    if (entry->gpu_instance != NVML_NO_INSTANCE) {
        process->gpu_instance = entry->gpu_instance;
        process->compute_instance = entry->compute_instance;
    } else if (entry->instance >= 0) { /* entries of 16 bytes do not say; whose list it is does */
        (void)compose_instance_ids(reading, entry->gpu, entry->instance, &process->gpu_instance,
                                   &process->compute_instance);
    }
}

static int by_pid(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    return left->pid != right->pid ? left->pid < right->pid ? -1 : 1 : left->gpu - right->gpu;
}

static void add_extras(struct composer *composer, const struct reading *reading)
{
    for (uint32_t i = 0; i < reading->entry_count; i++) {
        const struct entry *entry = &reading->entries[i];
        bool sample = entry->function == FUNCTION_nvmlDeviceGetProcessUtilization;
        bool account = entry->function == FUNCTION_nvmlDeviceGetAccountingStats;
        for (size_t j = 0; (sample || account) && j < composer->process_count; j++) {
            struct compose_process *process = &composer->processes[j];
            if (process->pid == entry->pid && process->gpu == entry->gpu) {
                *(sample ? &process->utilization : &process->peak) = entry->used;
            }
        }
    }
}

int compose_collect(struct composer *composer, const struct reading *reading)
{
    bool *seen = calloc(composer->process_count + reading->entry_count + 1, sizeof(*seen));
    struct entry *sorted = calloc(reading->entry_count + 1u, sizeof(*sorted));
    uint32_t count = 0;
    int r = seen && sorted ? 0 : -ENOMEM;
    for (uint32_t i = 0; r == 0 && i < reading->entry_count; i++) {
        if (is_listed(&reading->entries[i])) {
            sorted[count++] = reading->entries[i];
        }
    }
    if (r == 0) {
        qsort(sorted, count, sizeof(*sorted), by_pid);
    }
    for (size_t i = 0; i < composer->process_count; i++) {
        composer->processes[i].present = false;
    }
    for (uint32_t i = 0; r == 0 && i < count; i++) {
        size_t known = composer->process_count;
        struct compose_process *process = process_of(composer, &sorted[i]);
        if (!process) {
            r = -ENOMEM;
            break;
        }
        if (composer->process_count > known) {
            composer->process_count--; /* its pid is not taken yet */
            uint32_t told = stand_in(composer, reading, sorted[i].pid);
            composer->process_count++;
            process->told_pid = told;
        }
        process->present = true;
        merge(process, reading, &sorted[i], &seen[process - composer->processes]);
    }
    if (r == 0) {
        add_extras(composer, reading);
    }
    free(seen);
    free(sorted);
    return r;
}

static void name_process(struct composer *composer, const struct reading *reading,
                         struct compose_process *process)
{
    const char *name = name_in(reading, process->pid);
    if (!name[0]) {
        return;
    }
    if (composer->options.names) {
        (void)strncpy(process->name, name, sizeof(process->name) - 1);
        return;
    }
    for (size_t i = 0; i < composer->process_count; i++) {
        const struct compose_process *other = &composer->processes[i];
        if (other->pid == process->pid && other->name[0] && other->told) {
            memcpy(process->name, other->name, sizeof(process->name));
            return;
        }
    }
    struct buf stand = BUF_INIT;
    buf_format(&stand, "process-%u", ++composer->next_name);
    (void)strncpy(process->name, stand.data ? stand.data : "", sizeof(process->name) - 1);
    buf_done(&stand);
}

void compose_process(struct composer *composer, struct buf *buf, const char *at,
                     const struct reading *reading, struct compose_process *process)
{
    static const struct {
        uint32_t kind;
        char letter;
    } letters[] = {{KIND_COMPUTE, 'C'}, {KIND_GRAPHICS, 'G'}, {KIND_MPS, 'M'}};
    buf_format(buf, "%sproc %d pid=%u", at, process->gpu, process->told_pid);
    if (process->gpu_instance != NVML_NO_INSTANCE) {
        buf_format(buf, " gi=%u", process->gpu_instance);
        if (process->compute_instance != NVML_NO_INSTANCE) {
            buf_format(buf, " ci=%u", process->compute_instance);
        }
    }
    if (!process->told) {
        name_process(composer, reading, process);
    }
    if (!process->told && process->name[0]) {
        buf_text(buf, " name=");
        buf_quoted(buf, process->name, sizeof(process->name));
    }
    buf_text(buf, " mem=");
    if (process->used == NVML_NOT_AVAILABLE) {
        buf_text(buf, "unknown");
    } else {
        buf_size(buf, process->used);
    }
    buf_text(buf, " type=");
    for (size_t i = 0; i < ARRAY_LENGTH(letters); i++) {
        if (process->kinds & letters[i].kind) {
            buf_char(buf, letters[i].letter);
        }
    }
    if (process->utilization && process->utilization <= 1000) {
        buf_format(buf, " util=%" PRIu64, process->utilization);
    }
    if (process->peak && process->used != NVML_NOT_AVAILABLE && process->peak > process->used) {
        buf_text(buf, " peak=");
        buf_size(buf, process->peak);
    }
    buf_char(buf, '\n');
    process->told = true;
}

/* ---- Memory and changes ------------------------------------------------------------------------ */

uint64_t compose_held(const struct composer *composer, int gpu, uint32_t gpu_instance,
                      uint32_t compute_instance)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < composer->process_count; i++) {
        const struct compose_process *process = &composer->processes[i];
        if (process->present && process->gpu == gpu && process->used != NVML_NOT_AVAILABLE &&
            process->gpu_instance == gpu_instance &&
            (gpu_instance == NVML_NO_INSTANCE || process->compute_instance == compute_instance)) {
            sum = world_add(sum, process->used);
        }
    }
    return sum;
}

int compose_changed_processes(struct composer *composer, const struct reading *reading,
                              const char *at)
{
    size_t count = composer->process_count;
    struct compose_process *before = malloc(count * sizeof(*before) + 1);
    int r = before ? 0 : -ENOMEM;
    if (r == 0 && count) {
        memcpy(before, composer->processes, count * sizeof(*before));
    }
    r = r == 0 ? compose_collect(composer, reading) : r;
    for (size_t i = 0; r == 0 && i < composer->process_count; i++) {
        struct compose_process *now = &composer->processes[i];
        const struct compose_process *old = i < count ? &before[i] : NULL;
        if (composer->lost[now->gpu]) {
            now->present = old && old->present; /* nobody could say */
            continue;
        }
        if (old && old->present && !now->present) {
            buf_format(&composer->changes, "%sexit %u gpu=%d\n", at, now->told_pid, now->gpu);
            now->told = false;
        }
        if (now->present &&
            (!old || !old->present || old->used != now->used || old->kinds != now->kinds)) {
            compose_process(composer, &composer->changes, at, reading, now);
        }
    }
    free(before);
    return r;
}
