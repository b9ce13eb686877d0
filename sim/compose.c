/* SPDX-License-Identifier: MIT */
#include "sim/compose.h"

#include "sim/setting.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LINE_LENGTH 150
#define REAL_PID_MAX                                                                               \
    4194304u /* the kernel's; what is above is nobody's on the machine that plays it */
#define FIRST_PID 4194401u

/* ---- Values of GPUs ---------------------------------------------------------------------------- */

/* Where a key's value is told: a number of an answer, unless it is `usual` or the same as the key `as` has. */
struct key_source {
    const char *key;
    enum function function;
    uint8_t argument, number;
    uint64_t usual;
    const char *as;
};

#define F(name) FUNCTION_nvmlDevice##name

static const struct key_source sources[] = {
    {"arch", F(GetArchitecture), 0, 0, WORLD_UNKNOWN, NULL},
    {"brand", F(GetBrand), 0, 0, WORLD_UNKNOWN, NULL},
    {"numa", F(GetNumaNodeId), 0, 0, WORLD_UNKNOWN, NULL},
    {"addressing", F(GetAddressingMode), 0, 0, WORLD_UNKNOWN, NULL},
    {"bar1", F(GetBAR1MemoryInfo), 0, 0, WORLD_UNKNOWN, NULL},
    {"bar1-used", F(GetBAR1MemoryInfo), 0, 2, WORLD_UNKNOWN, NULL},
    {"persistence", F(GetPersistenceMode), 0, 0, 0, NULL},
    {"compute-mode", F(GetComputeMode), 0, 0, 0, NULL},
    {"virtualization", F(GetVirtualizationMode), 0, 0, 0, NULL},
    {"display", F(GetDisplayMode), 0, 0, 0, NULL},
    {"display-active", F(GetDisplayActive), 0, 0, WORLD_UNKNOWN, "display"},
    {"ecc", F(GetEccMode), 0, 0, WORLD_UNKNOWN, NULL},
    {"ecc-pending", F(GetEccMode), 0, 1, WORLD_UNKNOWN, "ecc"},
    {"ecc-corrected", F(GetTotalEccErrors), 0, 0, 0, NULL},
    {"ecc-uncorrected", F(GetTotalEccErrors), 2, 0, 0, NULL},
    {"ecc-corrected-ever", F(GetTotalEccErrors), 1, 0, WORLD_UNKNOWN, "ecc-corrected"},
    {"ecc-uncorrected-ever", F(GetTotalEccErrors), 3, 0, WORLD_UNKNOWN, "ecc-uncorrected"},
    {"remapped-corrected", F(GetRemappedRows), 0, 0, 0, NULL},
    {"remapped-uncorrected", F(GetRemappedRows), 0, 1, 0, NULL},
    {"remapped-pending", F(GetRemappedRows), 0, 2, 0, NULL},
    {"remapped-failed", F(GetRemappedRows), 0, 3, 0, NULL},
    {"recovery", F(GetFieldValues), 2, 1, 0, NULL},
    {"mig", F(GetMigMode), 0, 0, WORLD_UNKNOWN, NULL},
    {"mig-pending", F(GetMigMode), 0, 1, WORLD_UNKNOWN, "mig"},
    {"mig-places", F(GetMaxMigDeviceCount), 0, 0, WORLD_UNKNOWN, NULL},
    {"accounting", F(GetAccountingMode), 0, 0, 0, NULL},
    {"accounting-room", F(GetAccountingBufferSize), 0, 0, 4000, NULL},
    {"event-types", F(GetSupportedEventTypes), 0, 0, WORLD_UNKNOWN, NULL},
    {"power-limit", F(GetEnforcedPowerLimit), 0, 0, WORLD_UNKNOWN, NULL},
    {"power-limit-set", F(GetPowerManagementLimit), 0, 0, WORLD_UNKNOWN, "power-limit"},
    {"power-limit-default", F(GetPowerManagementDefaultLimit), 0, 0, WORLD_UNKNOWN, "power-limit"},
    {"temp-shutdown", F(GetTemperatureThreshold), 0, 0, WORLD_UNKNOWN, NULL},
    {"temp-slowdown", F(GetTemperatureThreshold), 1, 0, WORLD_UNKNOWN, NULL},
    {"memory-temp-max", F(GetTemperatureThreshold), 2, 0, WORLD_UNKNOWN, NULL},
    {"temp-max", F(GetTemperatureThreshold), 3, 0, WORLD_UNKNOWN, NULL},
    {"acoustic-temp-min", F(GetTemperatureThreshold), 4, 0, WORLD_UNKNOWN, NULL},
    {"acoustic-temp", F(GetTemperatureThreshold), 5, 0, WORLD_UNKNOWN, NULL},
    {"acoustic-temp-max", F(GetTemperatureThreshold), 6, 0, WORLD_UNKNOWN, NULL},
    {"gps-temp", F(GetTemperatureThreshold), 7, 0, WORLD_UNKNOWN, NULL},
    {"max-clock", F(GetMaxClockInfo), 0, 0, WORLD_UNKNOWN, NULL},
    {"max-sm-clock", F(GetMaxClockInfo), 1, 0, WORLD_UNKNOWN, NULL},
    {"max-memory-clock", F(GetMaxClockInfo), 2, 0, WORLD_UNKNOWN, NULL},
    {"max-video-clock", F(GetMaxClockInfo), 3, 0, WORLD_UNKNOWN, NULL},
    {"pcie-gen", F(GetCurrPcieLinkGeneration), 0, 0, WORLD_UNKNOWN, NULL},
    {"pcie-width", F(GetCurrPcieLinkWidth), 0, 0, WORLD_UNKNOWN, NULL},
    {"pcie-max-gen", F(GetMaxPcieLinkGeneration), 0, 0, WORLD_UNKNOWN, NULL},
    {"pcie-max-width", F(GetMaxPcieLinkWidth), 0, 0, WORLD_UNKNOWN, NULL},
    {"pcie-tx", F(GetPcieThroughput), 0, 0, WORLD_UNKNOWN, NULL},
    {"pcie-rx", F(GetPcieThroughput), 1, 0, WORLD_UNKNOWN, NULL},
    {"encoder-period", F(GetEncoderUtilization), 0, 1, 167000, NULL},
    {"decoder-period", F(GetDecoderUtilization), 0, 1, 167000, NULL},
    {"memory-temp", F(GetFieldValues), 0, 1, WORLD_UNKNOWN, NULL},
    {"temp", F(GetTemperature), 0, 0, WORLD_UNKNOWN, NULL},
    {"util", F(GetUtilizationRates), 0, 0, WORLD_UNKNOWN, NULL},
    {"memory-util", F(GetUtilizationRates), 0, 1, WORLD_UNKNOWN, NULL},
    {"encoder", F(GetEncoderUtilization), 0, 0, WORLD_UNKNOWN, NULL},
    {"decoder", F(GetDecoderUtilization), 0, 0, WORLD_UNKNOWN, NULL},
    {"power", F(GetPowerUsage), 0, 0, WORLD_UNKNOWN, NULL},
    {"energy", F(GetTotalEnergyConsumption), 0, 0, WORLD_UNKNOWN, NULL},
    {"fan", F(GetFanSpeed), 0, 0, WORLD_UNKNOWN, NULL},
    {"pstate", F(GetPerformanceState), 0, 0, WORLD_UNKNOWN, NULL},
    {"clock", F(GetClockInfo), 0, 0, WORLD_UNKNOWN, NULL},
    {"sm-clock", F(GetClockInfo), 1, 0, WORLD_UNKNOWN, NULL},
    {"memory-clock", F(GetClockInfo), 2, 0, WORLD_UNKNOWN, NULL},
    {"video-clock", F(GetClockInfo), 3, 0, WORLD_UNKNOWN, NULL},
};
_Static_assert(ARRAY_LENGTH(sources) <= COMPOSE_KEYS, "room for every key's value");

/* False: not asked in this reading. */
static bool value_in(const struct reading *reading, int gpu, const struct key_source *source,
                     uint64_t *ret_value)
{
    const struct answer *answer =
        reading_find(reading, source->function, gpu, -1, source->argument);
    if (!answer) {
        return false;
    }
    bool field = source->function == FUNCTION_nvmlDeviceGetFieldValues;
    bool told = answer->code == NVML_SUCCESS && source->number < answer->count &&
                !(field && answer->numbers[0]);
    *ret_value = told ? answer->numbers[source->number] : WORLD_UNKNOWN;
    return true;
}

/* What the key has where the scenario does not say. */
static uint64_t usual_of(const struct composer *composer, int gpu, const struct key_source *source)
{
    for (size_t i = 0; source->as && i < ARRAY_LENGTH(sources); i++) {
        if (strcmp(sources[i].key, source->as) == 0) {
            return composer->values[gpu][i];
        }
    }
    return source->usual;
}

/* Ends a line that is long enough, and begins the next alike. */
static void wrap(struct buf *buf, size_t *start, const char *beginning)
{
    if (buf->length - *start > LINE_LENGTH) {
        buf_char(buf, '\n');
        *start = buf->length;
        buf_text(buf, beginning);
    }
}

/* Takes back a line that says nothing. */
static void end_line(struct buf *buf, size_t start, size_t empty)
{
    if (buf->length == empty && buf->data) {
        buf->length = start;
        buf->data[start] = '\0';
    } else {
        buf_char(buf, '\n');
    }
}

static void compose_values(struct composer *composer, const struct reading *reading, int gpu,
                           const char *beginning)
{
    struct buf *buf = &composer->text;
    size_t start = buf->length;
    buf_text(buf, beginning);
    size_t empty = buf->length;
    for (size_t i = 0; i < ARRAY_LENGTH(sources); i++) {
        uint64_t value = WORLD_UNKNOWN;
        (void)value_in(reading, gpu, &sources[i], &value);
        composer->values[gpu][i] = value;
        if (value != WORLD_UNKNOWN && value != usual_of(composer, gpu, &sources[i])) {
            wrap(buf, &start, beginning);
            (void)gpu_print(buf, sources[i].key, value);
        }
    }
    end_line(buf, start, empty);
}

static void change_values(struct composer *composer, const struct reading *reading, int gpu,
                          const char *beginning)
{
    struct buf *buf = &composer->changes;
    size_t start = buf->length, empty;
    buf_text(buf, beginning);
    empty = buf->length;
    for (size_t i = 0; i < ARRAY_LENGTH(sources); i++) {
        uint64_t value;
        if (!value_in(reading, gpu, &sources[i], &value) || value == composer->values[gpu][i]) {
            continue;
        }
        composer->values[gpu][i] = value;
        wrap(buf, &start, beginning);
        (void)gpu_print(buf, sources[i].key, value);
    }
    end_line(buf, start, empty);
}

/* ---- Texts ------------------------------------------------------------------------------------- */

static const char *text_in(const struct reading *reading, enum function function, int gpu,
                           int instance)
{
    const struct answer *answer = reading_find(reading, function, gpu, instance, 0);
    return answer && answer->code == NVML_SUCCESS ? answer->text : "";
}

/* ---- Instances --------------------------------------------------------------------------------- */

static bool instance_ids(const struct reading *reading, int gpu, int instance,
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
        (void)instance_ids(reading, entry->gpu, entry->instance, &process->gpu_instance,
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

/* Who holds memory in this reading; who did and does not any more has present = false. -ENOMEM. */
static int collect(struct composer *composer, const struct reading *reading)
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

static void print_process(struct composer *composer, struct buf *buf, const char *at,
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

/* ---- Memory ------------------------------------------------------------------------------------ */

/* What the processes there have together. An instance is -1 for all that are in none. */
static uint64_t held(const struct composer *composer, int gpu, uint32_t gpu_instance,
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

/* Total, reserved and used, by the newer call or the older. False: neither tells. */
static bool memory_in(const struct reading *reading, int gpu, int instance, uint64_t figures[3])
{
    const struct answer *second =
        reading_find(reading, FUNCTION_nvmlDeviceGetMemoryInfo_v2, gpu, instance, 0);
    const struct answer *first =
        reading_find(reading, FUNCTION_nvmlDeviceGetMemoryInfo, gpu, instance, 0);
    if (second && second->code == NVML_SUCCESS) {
        figures[0] = second->numbers[0];
        figures[1] = second->numbers[1];
        figures[2] = second->numbers[3];
        return true;
    }
    if (first && first->code == NVML_SUCCESS) {
        figures[0] = first->numbers[0];
        figures[1] = 0;
        figures[2] = first->numbers[2];
        return true;
    }
    return false;
}

/* `others`: what is used there and told elsewhere. */
static struct compose_memory account(const struct reading *reading, int gpu, int instance,
                                     uint64_t others, uint64_t others_reserved)
{
    uint64_t figures[3];
    struct compose_memory memory = {.known = memory_in(reading, gpu, instance, figures)};
    const struct answer *sizes =
        reading_find(reading, FUNCTION_nvmlDeviceGetConfComputeMemSizeInfo, gpu, instance, 0);
    if (!memory.known && sizes && sizes->count == 2) {
        memory.total = sizes->numbers[1] << 10; /* the one figure that is told without a right */
    }
    if (memory.known) {
        memory.total = figures[0];
        memory.reserved = figures[1] > others_reserved ? figures[1] - others_reserved : 0;
        memory.overhead = figures[2] > others ? figures[2] - others : 0;
        memory.shared = others > figures[2] ? others - figures[2] : 0;
    }
    return memory;
}

static void print_memory(struct buf *buf, const struct compose_memory *memory,
                         const struct compose_memory *before)
{
    const struct {
        const char *key;
        uint64_t value, old;
    } sizes[] = {
        {"total", memory->total, before ? before->total : 0},
        {"reserved", memory->reserved, before ? before->reserved : 0},
        {"overhead", memory->overhead, before ? before->overhead : 0},
        {"shared", memory->shared, before ? before->shared : 0},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        if (sizes[i].value != sizes[i].old) {
            buf_format(buf, " %s=", sizes[i].key);
            buf_size(buf, sizes[i].value);
        }
    }
}

/* The memory of each instance, and what of the whole card is none of theirs. */
static void account_gpu(const struct composer *composer, const struct reading *reading, int gpu,
                        struct compose_memory ret[WORLD_INSTANCES + 1])
{
    uint64_t others = held(composer, gpu, NVML_NO_INSTANCE, NVML_NO_INSTANCE), reserved = 0;
    for (int i = 0; i < WORLD_INSTANCES; i++) {
        uint32_t gi, ci;
        uint64_t figures[3] = {0};
        ret[i] = (struct compose_memory){.known = false};
        if (instance_ids(reading, gpu, i, &gi, &ci)) {
            ret[i] = account(reading, gpu, i, held(composer, gpu, gi, ci), 0);
            (void)memory_in(reading, gpu, i, figures);
            others = world_add(others, figures[2]);
            reserved = world_add(reserved, figures[1]);
        }
    }
    ret[WORLD_INSTANCES] = account(reading, gpu, -1, others, reserved);
}

/* ---- MIG --------------------------------------------------------------------------------------- */

static void compose_instance(struct composer *composer, const struct reading *reading, int gpu,
                             int instance)
{
    struct buf *buf = &composer->text;
    const struct answer *attributes =
        reading_find(reading, FUNCTION_nvmlDeviceGetAttributes_v2, gpu, instance, 0);
    struct compose_memory memory = composer->memory[gpu][instance];
    uint32_t gi = 0, ci = 0;
    if (!instance_ids(reading, gpu, instance, &gi, &ci)) {
        return;
    }
    buf_format(buf, "mig %d gi=%u ci=%u name=", gpu, gi, ci);
    buf_quoted(buf, text_in(reading, FUNCTION_nvmlDeviceGetName, gpu, instance),
               WORLD_NAME_MAX - 1);
    if (composer->options.ids) {
        buf_text(buf, " uuid=");
        buf_quoted(buf, text_in(reading, FUNCTION_nvmlDeviceGetUUID, gpu, instance),
                   WORLD_UUID_MAX - 1);
    }
    memory.total = memory.total ? memory.total : 1; /* told by nobody, and needed */
    print_memory(buf, &memory, NULL);
    if (attributes && attributes->code == NVML_SUCCESS) {
        buf_format(buf, " slices=%" PRIu64 " compute-slices=%" PRIu64 " sms=%" PRIu64,
                   attributes->numbers[6], attributes->numbers[7], attributes->numbers[0]);
    }
    buf_char(buf, '\n');
}

/* An instance takes the first free place, so one that is not there holds each place that is not taken. */
static void compose_instances(struct composer *composer, const struct reading *reading, int gpu)
{
    int last = -1;
    uint32_t gi, ci;
    for (int i = 0; i < WORLD_INSTANCES; i++) {
        last = instance_ids(reading, gpu, i, &gi, &ci) ? i : last;
    }
    for (int i = 0; i <= last; i++) {
        if (instance_ids(reading, gpu, i, &gi, &ci)) {
            compose_instance(composer, reading, gpu, i);
        } else {
            buf_format(&composer->text, "mig %d gi=%d total=1M\n", gpu, 255 - i);
        }
    }
    for (int i = 0; i <= last; i++) {
        if (!instance_ids(reading, gpu, i, &gi, &ci)) {
            buf_format(&composer->text, "mig %d gi=%d gone\n", gpu, 255 - i);
        }
    }
}

/* ---- A GPU ------------------------------------------------------------------------------------- */

static void print_address(struct buf *buf, const struct reading *reading, int gpu)
{
    const struct answer *pci = reading_find(reading, FUNCTION_nvmlDeviceGetPciInfo_v3, gpu, -1, 0);
    const struct answer *extended =
        reading_find(reading, FUNCTION_nvmlDeviceGetPciInfoExt, gpu, -1, 0);
    if (!pci || pci->count < 5) {
        pci = reading_find(reading, FUNCTION_nvmlDeviceGetPciInfo_v2, gpu, -1, 0);
    }
    if (!pci || pci->count < 5) {
        return;
    }
    buf_format(buf, " pci=%04x:%02x:%02x.0 pci-id=%04x:%04x", (unsigned)pci->numbers[0],
               (unsigned)pci->numbers[1] & 0xFF, (unsigned)pci->numbers[2] & 0x1F,
               (unsigned)pci->numbers[3] & 0xFFFF, (unsigned)pci->numbers[3] >> 16);
    if (pci->numbers[4]) {
        buf_format(buf, " pci-subsystem=%04x:%04x", (unsigned)pci->numbers[4] & 0xFFFF,
                   (unsigned)pci->numbers[4] >> 16);
    }
    if (extended && extended->count >= 7) {
        buf_format(buf, " pci-class=%02x%02x", (unsigned)extended->numbers[5] & 0xFF,
                   (unsigned)extended->numbers[6] & 0xFF);
    }
}

static void print_identity(struct composer *composer, const struct reading *reading, int gpu)
{
    struct buf *buf = &composer->text;
    const char *name = text_in(reading, FUNCTION_nvmlDeviceGetName, gpu, -1);
    const char *uuid = text_in(reading, FUNCTION_nvmlDeviceGetUUID, gpu, -1);
    const char *serial = text_in(reading, FUNCTION_nvmlDeviceGetSerial, gpu, -1);
    if (name[0]) {
        buf_text(buf, " name=");
        buf_quoted(buf, name, WORLD_NAME_MAX - 1);
    }
    if (uuid[0] && composer->options.ids) {
        buf_text(buf, " uuid=");
        buf_quoted(buf, uuid, WORLD_UUID_MAX - 1);
    }
    if (serial[0] && composer->options.ids) {
        buf_text(buf, " serial=");
        buf_quoted(buf, serial, 31);
    } else if (serial[0]) {
        buf_format(buf, " serial=%013d", gpu);
    }
    print_address(buf, reading, gpu);
}

/* "lost", "denied": why nothing is known of it. */
static const char *state_in(const struct reading *reading, int gpu)
{
    const struct answer *answer =
        reading_find(reading, FUNCTION_nvmlDeviceGetHandleByIndex_v2, gpu, -1, 0);
    if (!answer || answer->code == ANSWER_ABSENT) {
        answer = reading_find(reading, FUNCTION_nvmlDeviceGetHandleByIndex, gpu, -1, 0);
    }
    const struct answer *memory =
        reading_find(reading, FUNCTION_nvmlDeviceGetMemoryInfo, gpu, -1, 0);
    nvml_ret code = answer ? answer->code : NVML_SUCCESS;
    if (code == NVML_SUCCESS && memory && memory->code == NVML_GPU_IS_LOST) {
        code = memory->code;
    }
    return code == NVML_GPU_IS_LOST ? "lost" : code == NVML_NO_PERMISSION ? "denied" : "";
}

static void compose_gpu(struct composer *composer, const struct reading *reading, int gpu)
{
    struct buf *buf = &composer->text;
    struct buf beginning = BUF_INIT;
    const struct answer *minor =
        reading_find(reading, FUNCTION_nvmlDeviceGetMinorNumber, gpu, -1, 0);
    const struct answer *capability =
        reading_find(reading, FUNCTION_nvmlDeviceGetCudaComputeCapability, gpu, -1, 0);
    const char *state = state_in(reading, gpu);
    buf_format(&beginning, "gpu %d", gpu);
    account_gpu(composer, reading, gpu, composer->memory[gpu]);
    const struct compose_memory *memory = &composer->memory[gpu][WORLD_INSTANCES];
    buf_text(buf, beginning.data ? beginning.data : "");
    print_identity(composer, reading, gpu);
    if (memory->total) {
        print_memory(buf, memory, NULL);
    } else {
        buf_text(buf, " memory=unsupported");
    }
    if (minor && minor->count && minor->numbers[0] != (uint64_t)gpu) {
        (void)gpu_print(buf, "minor", minor->numbers[0]);
    }
    if (capability && capability->count == 2 && capability->numbers[1] < 10) {
        (void)gpu_print(buf, "cc", capability->numbers[0] * 10 + capability->numbers[1]);
    }
    buf_char(buf, '\n');
    if (!state[0]) {
        compose_values(composer, reading, gpu, beginning.data ? beginning.data : "");
        compose_instances(composer, reading, gpu);
    } else {
        buf_format(buf, "gpu %d %s\n", gpu, state);
    }
    composer->lost[gpu] = strcmp(state, "lost") == 0;
    buf_done(&beginning);
}

static void compose_heading(struct composer *composer, const struct reading *reading)
{
    struct buf *buf = &composer->text;
    const char *version = text_in(reading, FUNCTION_nvmlSystemGetDriverVersion, -1, -1);
    const struct answer *cuda =
        reading_find(reading, FUNCTION_nvmlSystemGetCudaDriverVersion, -1, -1, 0);
    const char *library = text_in(reading, FUNCTION_nvmlSystemGetNVMLVersion, -1, -1);
    size_t length = strspn(version, "0123456789.");
    buf_format(buf, "driver %.*s\n", length ? (int)length : 1, length ? version : "0");
    if (cuda && cuda->count) {
        buf_format(buf, "cuda %u.%u\n", (unsigned)cuda->numbers[0] / 1000,
                   (unsigned)cuda->numbers[0] % 1000 / 10);
    } else if (atoi(library) > 0 && atoi(library) < 1000) {
        buf_format(buf, "cuda %d.0\n", atoi(library)); /* the library's version begins with it */
    }
    if (reading->entry_size) {
        buf_format(buf, "entry %u\n", reading->entry_size);
    }
}

void composer_done(struct composer *composer)
{
    buf_done(&composer->text);
    buf_done(&composer->changes);
    free(composer->processes);
    *composer = (struct composer){.processes = NULL};
}

int compose_machine(struct composer *composer, const struct reading *reading)
{
    composer->began_ns = reading->taken_ns;
    compose_heading(composer, reading);
    int r = collect(composer, reading);
    for (uint32_t i = 0; r == 0 && i < reading->gpu_count; i++) {
        compose_gpu(composer, reading, (int)i);
    }
    for (size_t i = 0; r == 0 && i < composer->process_count; i++) {
        print_process(composer, &composer->text, "", reading, &composer->processes[i]);
    }
    return r < 0 || composer->text.failed ? -ENOMEM : 0;
}

/* ---- Changes ----------------------------------------------------------------------------------- */

static void change_state(struct composer *composer, const char *at, int gpu, bool lost)
{
    if (lost != composer->lost[gpu]) {
        buf_format(&composer->changes, "%sgpu %d %s\n", at, gpu, lost ? "lost" : "back");
        composer->lost[gpu] = lost;
    }
}

static void change_memory(struct composer *composer, const struct reading *reading, const char *at,
                          int gpu)
{
    struct compose_memory now[WORLD_INSTANCES + 1];
    struct buf *buf = &composer->changes;
    account_gpu(composer, reading, gpu, now);
    for (int i = 0; i <= WORLD_INSTANCES; i++) {
        struct compose_memory *before = &composer->memory[gpu][i];
        uint32_t gi = 0, ci = 0;
        bool same = now[i].total == before->total && now[i].reserved == before->reserved &&
                    now[i].overhead == before->overhead && now[i].shared == before->shared;
        if (!now[i].known || !before->known || same ||
            (i < WORLD_INSTANCES && !instance_ids(reading, gpu, i, &gi, &ci))) {
            continue;
        }
        if (i < WORLD_INSTANCES) {
            buf_format(buf, "%smig %d gi=%u ci=%u", at, gpu, gi, ci);
        } else {
            buf_format(buf, "%sgpu %d", at, gpu);
        }
        print_memory(buf, &now[i], before);
        buf_char(buf, '\n');
        *before = now[i];
    }
}

/* Who went, on which GPU, and who came or changed. */
static int change_processes(struct composer *composer, const struct reading *reading,
                            const char *at)
{
    size_t count = composer->process_count;
    struct compose_process *before = malloc(count * sizeof(*before) + 1);
    int r = before ? 0 : -ENOMEM;
    if (r == 0 && count) {
        memcpy(before, composer->processes, count * sizeof(*before));
    }
    r = r == 0 ? collect(composer, reading) : r;
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
            print_process(composer, &composer->changes, at, reading, now);
        }
    }
    free(before);
    return r;
}

int compose_change(struct composer *composer, const struct reading *reading)
{
    struct buf at = BUF_INIT, line = BUF_INIT;
    buf_format(&at, "at +%" PRIu64 "ms ", (reading->taken_ns - composer->began_ns) / 1000000);
    for (uint32_t i = 0; i < reading->gpu_count; i++) {
        change_state(composer, at.data ? at.data : "", (int)i,
                     strcmp(state_in(reading, (int)i), "lost") == 0);
    }
    int r = at.failed ? -ENOMEM : change_processes(composer, reading, at.data);
    for (uint32_t i = 0; r == 0 && i < reading->gpu_count; i++) {
        if (composer->lost[i] || state_in(reading, (int)i)[0]) {
            continue;
        }
        buf_clear(&line);
        buf_format(&line, "%sgpu %u", at.data, i);
        change_memory(composer, reading, at.data, (int)i);
        if (!line.failed) {
            change_values(composer, reading, (int)i, line.data);
        }
    }
    r = r < 0 || at.failed || line.failed || composer->changes.failed ? -ENOMEM : 0;
    buf_done(&at);
    buf_done(&line);
    return r;
}
