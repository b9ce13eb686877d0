/* SPDX-License-Identifier: MIT */
#include "sim/reading.h"

#include "common/clock.h"
#include "sim/setting.h"
#include "sim/shape.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_ROOM = 1024, GUARD = 64, FILL = 0xA5 };

/* Who asks, and about what. */
struct asker {
    const struct library *library;
    struct reading *reading;
    nvml_device device;
    int gpu, instance;
    uint64_t call_began;
    nvml_ret call_code;
};

/* ---- One call ---------------------------------------------------------------------------------- */

static struct answer *begin(struct asker *asker, enum function function, unsigned argument)
{
    static struct answer spare;
    struct reading *reading = asker->reading;
    struct answer *answer = &spare;
    if (reading->answer_count < READING_ANSWERS) {
        answer = &reading->answers[reading->answer_count++];
    } else {
        reading->is_full = true;
    }
    memset(answer, 0, sizeof(*answer));
    answer->function = (uint16_t)function;
    answer->gpu = (int16_t)asker->gpu;
    answer->instance = (int8_t)asker->instance;
    answer->argument = (uint8_t)argument;
    answer->code = ANSWER_ABSENT;
    return answer;
}

static void call_begins(struct asker *asker, enum function function)
{
    struct reading *reading = asker->reading;
    atomic_store(&reading->function, (int)function);
    atomic_store(&reading->gpu, asker->gpu);
    atomic_fetch_add(&reading->calls, 1);
    asker->call_began = clock_now_ns();
}

static nvml_ret call_ends(struct asker *asker, enum function function)
{
    uint64_t took = clock_now_ns() - asker->call_began;
    struct latencies *latencies = &asker->reading->latencies[function];
    latencies->ns[latencies->count++ % READING_LATENCIES] =
        took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
    atomic_store(&asker->reading->function, -1);
    atomic_fetch_add(&asker->reading->calls, 1);
    return asker->call_code;
}

/* Calls function `f` as what it is. `types` are the types of its parameters. */
#define CALL(asker, f, types, ...)                                                                 \
    (call_begins(asker, f),                                                                        \
     (asker)->call_code =                                                                          \
         ((nvml_ret(*) types)(uintptr_t)(asker)->library->functions[f])(__VA_ARGS__),              \
     call_ends(asker, f))

static bool has(const struct asker *asker, enum function function)
{
    return asker->library->functions[function] != NULL;
}

/* ---- Values ------------------------------------------------------------------------------------ */

static void add_number(struct answer *answer, uint64_t number)
{
    if (answer->count < READING_NUMBERS) {
        answer->numbers[answer->count++] = number;
    }
}

static void add_text(struct answer *answer, const char *text, size_t size)
{
    size_t used = strlen(answer->text);
    (void)snprintf(answer->text + used, sizeof(answer->text) - used, "%s%.*s", used ? " " : "",
                   (int)size, text);
}

/* Takes a structure apart: u and U are numbers of 4 and 8 bytes, _ is skipped, s and t are texts of 16 and 32 bytes. */
static void decode(struct answer *answer, const char *layout, const unsigned char *bytes)
{
    size_t at = 0;
    for (; *layout; layout++) {
        uint32_t small;
        uint64_t large;
        switch (*layout) {
        case 'u':
            memcpy(&small, bytes + at, sizeof(small));
            add_number(answer, small);
            break;
        case 'U':
            at = (at + 7) / 8 * 8;
            memcpy(&large, bytes + at, sizeof(large));
            add_number(answer, large);
            break;
        case 's':
        case 't':
            add_text(answer, (const char *)bytes + at, *layout == 's' ? 16 : 32);
            break;
        default:
            break;
        }
        at += *layout == 'U' ? 8 : *layout == 's' ? 16 : *layout == 't' ? 32 : 4;
    }
}

/* ---- Functions by their shape ------------------------------------------------------------------- */

static void ask_structure(struct asker *asker, enum function f, const struct shape *shape)
{
    struct answer *answer = begin(asker, f, 0);
    union {
        unsigned char bytes[256];
        uint32_t version;
        uint64_t aligned;
    } out = {{0}};
    if (!has(asker, f)) {
        return;
    }
    out.version = shape->version;
    answer->code = shape->scope == SCOPE_SYSTEM
                       ? CALL(asker, f, (void *), &out)
                       : CALL(asker, f, (nvml_device, void *), asker->device, &out);
    if (answer->code == NVML_SUCCESS) {
        decode(answer, shape->layout, out.bytes);
    }
}

static void ask_text(struct asker *asker, enum function f, const struct shape *shape)
{
    struct answer *answer = begin(asker, f, 0);
    char text[NVML_UUID_SIZE + 1] = "";
    if (!has(asker, f)) {
        return;
    }
    answer->code =
        shape->scope == SCOPE_SYSTEM
            ? CALL(asker, f, (char *, uint32_t), text, NVML_UUID_SIZE)
            : CALL(asker, f, (nvml_device, char *, uint32_t), asker->device, text, NVML_UUID_SIZE);
    if (answer->code == NVML_SUCCESS) {
        add_text(answer, text, sizeof(text) - 1);
    }
}

static void ask_several(struct asker *asker, enum function f, unsigned count)
{
    struct answer *answer = begin(asker, f, 0);
    uint32_t out[4] = {0};
    if (!has(asker, f)) {
        return;
    }
    answer->code =
        count == 2
            ? CALL(asker, f, (nvml_device, uint32_t *, uint32_t *), asker->device, &out[0], &out[1])
            : CALL(asker, f, (nvml_device, uint32_t *, uint32_t *, uint32_t *, uint32_t *),
                   asker->device, &out[0], &out[1], &out[2], &out[3]);
    for (unsigned i = 0; answer->code == NVML_SUCCESS && i < count; i++) {
        add_number(answer, out[i]);
    }
}

static void ask_with_argument(struct asker *asker, enum function f, const struct shape *shape)
{
    for (unsigned i = 0; i < shape->arguments; i++) {
        struct answer *answer = begin(asker, f, i);
        uint32_t small = 0;
        uint64_t large = 0;
        if (!has(asker, f)) {
            continue;
        }
        if (shape->how == HOW_TWO_ARGUMENTS) {
            answer->code = CALL(asker, f, (nvml_device, uint32_t, uint32_t, uint64_t *),
                                asker->device, i / 2, i % 2, &large);
        } else {
            answer->code =
                CALL(asker, f, (nvml_device, uint32_t, uint32_t *), asker->device, i, &small);
        }
        if (answer->code == NVML_SUCCESS) {
            add_number(answer, shape->how == HOW_TWO_ARGUMENTS ? large : small);
        }
    }
}

static void ask_fields(struct asker *asker, enum function f)
{
    static const uint32_t fields[] = {NVML_FIELD_MEMORY_TEMPERATURE, NVML_FIELD_ENERGY,
                                      NVML_FIELD_RECOVERY_ACTION};
    for (unsigned i = 0; i < ARRAY_LENGTH(fields); i++) {
        struct answer *answer = begin(asker, f, i);
        struct nvml_field_value value = {.field = fields[i]};
        if (!has(asker, f)) {
            continue;
        }
        answer->code =
            CALL(asker, f, (nvml_device, int, struct nvml_field_value *), asker->device, 1, &value);
        if (answer->code == NVML_SUCCESS) {
            add_number(answer, (uint32_t)value.code);
            add_number(answer, value.code                           ? 0
                               : value.value_type == NVML_VALUE_U32 ? value.value.u32
                                                                    : value.value.u64);
        }
    }
}

static void ask_parent(struct asker *asker, enum function f)
{
    struct answer *answer = begin(asker, f, 0);
    nvml_device parent = NULL;
    if (has(asker, f)) {
        answer->code = CALL(asker, f, (nvml_device, nvml_device *), asker->device, &parent);
    }
}

/* ---- Lists ------------------------------------------------------------------------------------- */

static void add_entry(struct asker *asker, const struct answer *answer, const struct entry *entry)
{
    struct reading *reading = asker->reading;
    if (reading->entry_count == READING_ENTRIES) {
        reading->is_full = true;
        return;
    }
    struct entry *added = &reading->entries[reading->entry_count++];
    *added = *entry;
    added->function = answer->function;
    added->gpu = answer->gpu;
    added->instance = answer->instance;
    added->argument = answer->argument;
}

/* The version in a function's name: 1 where there is none. */
static unsigned version_of(enum function f)
{
    const char *name = function_name(f);
    size_t length = strlen(name);
    return length > 3 && name[length - 3] == '_' && name[length - 2] == 'v'
               ? (unsigned)(name[length - 1] - '0')
               : 1;
}

/*
 * How large the entries are is seen from how far the driver wrote: what ends an entry, the high bytes of a number or of an
 * instance, is never 0xA5.
 */
static size_t size_of_entries(const struct asker *asker, enum function f,
                              const unsigned char *bytes, size_t room, uint32_t count)
{
    bool large = version_of(f) == 3 && has(asker, FUNCTION_nvmlDeviceGetConfComputeMemSizeInfo) &&
                 !has(asker, FUNCTION_nvmlDeviceGetRunningProcessDetailList);
    size_t size = version_of(f) == 1 ? 16 : large ? 32 : 24;
    while (room && bytes[room - 1] == FILL) {
        room--;
    }
    size_t seen = count ? (room + 7) / 8 * 8 / count : 0;
    if (version_of(f) > 1 && seen != size && (seen == 16 || seen == 24 || seen == 32)) {
        asker->reading->entry_size = (uint32_t)seen;
        return seen;
    }
    return size;
}

static void ask_list(struct asker *asker, enum function f)
{
    static unsigned char bytes[LIST_ROOM * 32 + GUARD];
    struct answer *answer = begin(asker, f, 0);
    uint32_t count = LIST_ROOM;
    if (!has(asker, f)) {
        return;
    }
    memset(bytes, FILL, sizeof(bytes));
    answer->code = CALL(asker, f, (nvml_device, uint32_t *, void *), asker->device, &count, bytes);
    if (answer->code != NVML_SUCCESS || count > LIST_ROOM) {
        return;
    }
    add_number(answer, count);
    size_t size = size_of_entries(asker, f, bytes, sizeof(bytes), count);
    for (uint32_t i = 0; i < count; i++) {
        struct nvml_process_32 process = {.gpu_instance = NVML_NO_INSTANCE,
                                          .compute_instance = NVML_NO_INSTANCE};
        memcpy(&process, bytes + i * size, size);
        add_entry(asker, answer,
                  &(struct entry){.pid = process.pid,
                                  .used = process.used_bytes,
                                  .gpu_instance = process.gpu_instance,
                                  .compute_instance = process.compute_instance});
    }
}

static void ask_details(struct asker *asker, enum function f)
{
    static struct nvml_process_detail details[LIST_ROOM];
    for (unsigned mode = 0; mode < 4; mode++) {
        struct answer *answer = begin(asker, f, mode);
        struct nvml_process_detail_list list = {.version = NVML_PROCESS_DETAIL_LIST_V1,
                                                .mode = mode,
                                                .count = LIST_ROOM,
                                                .entries = details};
        if (!has(asker, f)) {
            continue;
        }
        answer->code =
            CALL(asker, f, (nvml_device, struct nvml_process_detail_list *), asker->device, &list);
        if (answer->code != NVML_SUCCESS || list.count > LIST_ROOM) {
            continue;
        }
        add_number(answer, list.count);
        for (uint32_t i = 0; i < list.count; i++) {
            add_entry(asker, answer,
                      &(struct entry){.pid = details[i].pid,
                                      .used = details[i].used_bytes,
                                      .gpu_instance = details[i].gpu_instance,
                                      .compute_instance = details[i].compute_instance});
        }
    }
}

static void ask_samples(struct asker *asker, enum function f)
{
    static struct nvml_process_utilization samples[LIST_ROOM];
    struct answer *answer = begin(asker, f, 0);
    uint32_t count = LIST_ROOM;
    if (!has(asker, f)) {
        return;
    }
    answer->code = CALL(asker, f, (nvml_device, void *, uint32_t *, uint64_t), asker->device,
                        samples, &count, 0);
    for (uint32_t i = 0; answer->code == NVML_SUCCESS && i < count && i < LIST_ROOM; i++) {
        add_entry(asker, answer, &(struct entry){.pid = samples[i].pid, .used = samples[i].sm});
    }
}

static void ask_samples_v1(struct asker *asker, enum function f)
{
    static struct nvml_process_utilization_v1 samples[LIST_ROOM];
    struct answer *answer = begin(asker, f, 0);
    struct nvml_processes_utilization list = {
        .version = NVML_PROCESSES_UTILIZATION_V1, .count = LIST_ROOM, .samples = samples};
    if (!has(asker, f)) {
        return;
    }
    answer->code = CALL(asker, f, (nvml_device, void *), asker->device, &list);
    for (uint32_t i = 0; answer->code == NVML_SUCCESS && i < list.count && i < LIST_ROOM; i++) {
        add_entry(asker, answer, &(struct entry){.pid = samples[i].pid, .used = samples[i].sm});
    }
}

/* What accounting remembers of each process: the most that it held, and whether it runs. */
static void ask_accounts(struct asker *asker, const uint32_t *pids, uint32_t count)
{
    enum function f = FUNCTION_nvmlDeviceGetAccountingStats;
    enum function f2 = FUNCTION_nvmlDeviceGetAccountingStats_v2;
    for (uint32_t i = 0; i < count; i++) {
        struct nvml_accounting_stats stats = {0};
        struct nvml_accounting_stats_v2 stats_v2 = {.pid = pids[i]};
        struct answer *answer = begin(asker, f, i);
        if (has(asker, f)) {
            answer->code =
                CALL(asker, f, (nvml_device, uint32_t, void *), asker->device, pids[i], &stats);
            add_entry(asker, answer,
                      &(struct entry){.pid = pids[i],
                                      .used = stats.peak_bytes,
                                      .gpu_instance = stats.is_running});
        }
        answer = begin(asker, f2, i);
        if (has(asker, f2)) {
            answer->code = CALL(asker, f2, (nvml_device, void *), asker->device, &stats_v2);
            add_entry(asker, answer,
                      &(struct entry){.pid = pids[i],
                                      .used = stats_v2.peak_bytes,
                                      .gpu_instance = stats_v2.is_running});
        }
    }
}

static void ask_accounted(struct asker *asker, enum function f)
{
    static uint32_t pids[4096];
    struct answer *answer = begin(asker, f, 0);
    uint32_t count = ARRAY_LENGTH(pids);
    if (!has(asker, f)) {
        return;
    }
    answer->code =
        CALL(asker, f, (nvml_device, uint32_t *, uint32_t *), asker->device, &count, pids);
    if (answer->code != NVML_SUCCESS || count > ARRAY_LENGTH(pids)) {
        return;
    }
    add_number(answer, count);
    ask_accounts(asker, pids, count < 200 ? count : 200);
}

/* ---- A device ---------------------------------------------------------------------------------- */

static void ask(struct asker *asker, enum function f)
{
    const struct shape *shape = &shapes[f];
    switch (shape->how) {
    case HOW_STRUCTURE:
        ask_structure(asker, f, shape);
        break;
    case HOW_TEXT:
        ask_text(asker, f, shape);
        break;
    case HOW_PAIR:
    case HOW_FOUR:
        ask_several(asker, f, shape->how == HOW_PAIR ? 2 : 4);
        break;
    case HOW_ARGUMENT:
    case HOW_TWO_ARGUMENTS:
        ask_with_argument(asker, f, shape);
        break;
    case HOW_FIELDS:
        ask_fields(asker, f);
        break;
    case HOW_PARENT:
        ask_parent(asker, f);
        break;
    case HOW_LIST:
        ask_list(asker, f);
        break;
    case HOW_DETAILS:
        ask_details(asker, f);
        break;
    case HOW_SAMPLES:
        ask_samples(asker, f);
        break;
    case HOW_SAMPLES_V1:
        ask_samples_v1(asker, f);
        break;
    case HOW_ACCOUNTED:
        ask_accounted(asker, f);
        break;
    case HOW_OTHER:
        break;
    }
}

/* Used memory, to tell whether two askings are of one moment. */
static uint64_t used_now(struct asker *asker)
{
    bool second = has(asker, FUNCTION_nvmlDeviceGetMemoryInfo_v2);
    enum function f =
        second ? FUNCTION_nvmlDeviceGetMemoryInfo_v2 : FUNCTION_nvmlDeviceGetMemoryInfo;
    uint32_t count = asker->reading->answer_count;
    ask_structure(asker, f, &shapes[f]);
    const struct answer *answer = &asker->reading->answers[asker->reading->answer_count - 1];
    uint64_t used = answer->count ? answer->numbers[second ? 3 : 2] : 0;
    asker->reading->answer_count = count;
    return used;
}

/* The versions of a function stand one behind the other. */
static bool has_newer(const struct asker *asker, unsigned f)
{
    for (unsigned next = f + 1; next < FUNCTION_COUNT; next++) {
        if (version_of((enum function)next) <= version_of((enum function)f)) {
            return false;
        }
        if (has(asker, (enum function)next)) {
            return true;
        }
    }
    return false;
}

static bool is_wanted(enum function f, bool moving, bool counts_memory, bool instance)
{
    const struct shape *shape = &shapes[f];
    bool device = shape->scope == SCOPE_POOL || (shape->scope == SCOPE_DEVICE && !instance);
    return device && shape->counts_memory == counts_memory && (!moving || shape->moves);
}

/* Memory and who has it, until the one was the same before and after the other. */
static void ask_memory(struct asker *asker, bool moving)
{
    struct reading *reading = asker->reading;
    uint32_t answers = reading->answer_count, entries = reading->entry_count;
    for (int i = 0; i < 4; i++) {
        reading->answer_count = answers;
        reading->entry_count = entries;
        uint64_t before = used_now(asker);
        for (unsigned f = 0; f < FUNCTION_COUNT; f++) {
            bool old = moving && shapes[f].how == HOW_LIST && has_newer(asker, f);
            if (!old && is_wanted((enum function)f, moving, true, asker->instance >= 0)) {
                ask(asker, (enum function)f);
            }
        }
        if (used_now(asker) == before) {
            return;
        }
    }
}

static void ask_device(struct asker *asker, bool moving)
{
    ask_memory(asker, moving);
    for (unsigned f = 0; f < FUNCTION_COUNT; f++) {
        if (is_wanted((enum function)f, moving, false, asker->instance >= 0)) {
            ask(asker, (enum function)f);
        }
    }
}

static void ask_instances(struct asker *asker, bool moving)
{
    enum function f = FUNCTION_nvmlDeviceGetMigDeviceHandleByIndex;
    nvml_device whole = asker->device;
    for (unsigned i = 0; i < WORLD_INSTANCES; i++) {
        struct answer *answer = begin(asker, f, i);
        nvml_device device = NULL;
        if (!has(asker, f)) {
            continue;
        }
        answer->code = CALL(asker, f, (nvml_device, uint32_t, nvml_device *), whole, i, &device);
        if (answer->code == NVML_SUCCESS) {
            asker->device = device;
            asker->instance = (int)i;
            ask_device(asker, moving);
            asker->device = whole;
            asker->instance = -1;
        }
    }
}

/* ---- Finding devices ---------------------------------------------------------------------------- */

static const char *text_of(const struct asker *asker, enum function f)
{
    const struct answer *answer = reading_find(asker->reading, f, asker->gpu, -1, 0);
    return answer && answer->code == NVML_SUCCESS ? answer->text : NULL;
}

static void find_by_text(struct asker *asker, enum function f, const char *text)
{
    nvml_device device = NULL;
    if (!text) {
        return;
    }
    struct answer *answer = begin(asker, f, 0);
    if (has(asker, f)) {
        answer->code = CALL(asker, f, (const char *, nvml_device *), text, &device);
    }
}

/* The ways to it that begin at what it says of itself. */
static void find_otherwise(struct asker *asker)
{
    enum function f = FUNCTION_nvmlDeviceGetHandleByUUIDV;
    const char *uuid = text_of(asker, FUNCTION_nvmlDeviceGetUUID);
    const char *pci = text_of(asker, FUNCTION_nvmlDeviceGetPciInfo_v3);
    const char *legacy = text_of(asker, FUNCTION_nvmlDeviceGetPciInfo);
    const char *address = pci ? strchr(pci, ' ') : NULL;
    address = address ? address + 1 : legacy;
    find_by_text(asker, FUNCTION_nvmlDeviceGetHandleByUUID, uuid);
    find_by_text(asker, FUNCTION_nvmlDeviceGetHandleBySerial,
                 text_of(asker, FUNCTION_nvmlDeviceGetSerial));
    find_by_text(asker, FUNCTION_nvmlDeviceGetHandleByPciBusId, address);
    find_by_text(asker, FUNCTION_nvmlDeviceGetHandleByPciBusId_v2, address);
    if (!uuid) {
        return;
    }
    struct answer *answer = begin(asker, f, 0);
    struct nvml_uuid structure = {.version = NVML_UUID_V1, .type = 1};
    nvml_device device = NULL;
    (void)snprintf(structure.text, sizeof(structure.text), "%s", uuid);
    if (has(asker, f)) {
        answer->code =
            CALL(asker, f, (const struct nvml_uuid *, nvml_device *), &structure, &device);
    }
}

static bool find_device(struct asker *asker, enum function f)
{
    struct answer *answer = begin(asker, f, 0);
    nvml_device device = NULL;
    if (!has(asker, f)) {
        return false;
    }
    answer->code = CALL(asker, f, (uint32_t, nvml_device *), (uint32_t)asker->gpu, &device);
    asker->device = answer->code == NVML_SUCCESS ? device : asker->device;
    return true;
}

static void ask_gpu(struct asker *asker, int gpu, bool moving)
{
    asker->gpu = gpu;
    asker->instance = -1;
    asker->device = NULL;
    /* Without a version it leaves out what may not be opened, so that its numbers can be other GPUs'. */
    (void)find_device(asker, FUNCTION_nvmlDeviceGetHandleByIndex);
    bool second = has(asker, FUNCTION_nvmlDeviceGetHandleByIndex_v2);
    asker->device = second ? NULL : asker->device;
    (void)find_device(asker, FUNCTION_nvmlDeviceGetHandleByIndex_v2);
    if (asker->device) {
        ask_device(asker, moving);
        ask_instances(asker, moving);
        if (!moving) {
            find_otherwise(asker);
        }
    }
    asker->gpu = -1;
}

/* ---- The driver as a whole ---------------------------------------------------------------------- */

static void count_gpus(struct asker *asker)
{
    static const enum function functions[] = {FUNCTION_nvmlDeviceGetCount,
                                              FUNCTION_nvmlDeviceGetCount_v2};
    for (size_t i = 0; i < ARRAY_LENGTH(functions); i++) {
        ask(asker, functions[i]);
        const struct answer *answer = &asker->reading->answers[asker->reading->answer_count - 1];
        if (answer->count) {
            uint64_t most = answer->numbers[0] < WORLD_GPUS ? answer->numbers[0] : WORLD_GPUS;
            asker->reading->gpu_count = (uint32_t)most;
        }
    }
}

static void ask_names(struct asker *asker)
{
    enum function f = FUNCTION_nvmlSystemGetProcessName;
    const struct reading *reading = asker->reading;
    for (uint32_t i = 0; has(asker, f) && i < reading->entry_count; i++) {
        uint32_t pid = reading->entries[i].pid;
        bool known = false;
        for (uint32_t j = 0; j < i && !known; j++) {
            known = reading->entries[j].pid == pid;
        }
        if (known) {
            continue;
        }
        char text[WORLD_PROCESS_NAME_MAX] = "";
        struct answer *answer = begin(asker, f, 0);
        add_number(answer, pid);
        answer->code = CALL(asker, f, (uint32_t, char *, uint32_t), pid, text, sizeof(text));
        if (answer->code == NVML_SUCCESS) {
            add_text(answer, text, sizeof(text) - 1);
        }
    }
}

static void wait_for_events(struct asker *asker, nvml_event_set set)
{
    static const enum function waits[] = {FUNCTION_nvmlEventSetWait, FUNCTION_nvmlEventSetWait_v2};
    for (size_t i = 0; i < ARRAY_LENGTH(waits); i++) {
        struct answer *answer = begin(asker, waits[i], 0);
        struct nvml_event event = {0};
        if (has(asker, waits[i])) {
            answer->code = CALL(asker, waits[i], (nvml_event_set, struct nvml_event *, uint32_t),
                                set, &event, 0);
        }
    }
}

/* A set of every event that each GPU can report, which nothing has happened to. */
static void ask_events(struct asker *asker, const nvml_device *devices)
{
    enum function create = FUNCTION_nvmlEventSetCreate, end = FUNCTION_nvmlEventSetFree;
    enum function enroll = FUNCTION_nvmlDeviceRegisterEvents;
    nvml_event_set set = NULL;
    struct answer *answer = begin(asker, create, 0);
    if (!has(asker, create) || !has(asker, end)) {
        return;
    }
    answer->code = CALL(asker, create, (nvml_event_set *), &set);
    if (answer->code != NVML_SUCCESS) {
        return;
    }
    for (uint32_t i = 0; has(asker, enroll) && i < asker->reading->gpu_count; i++) {
        const struct answer *types =
            reading_find(asker->reading, FUNCTION_nvmlDeviceGetSupportedEventTypes, (int)i, -1, 0);
        if (!devices[i] || !types || !types->count || !types->numbers[0]) {
            continue;
        }
        asker->gpu = (int)i;
        answer = begin(asker, enroll, 0);
        answer->code = CALL(asker, enroll, (nvml_device, uint64_t, nvml_event_set), devices[i],
                            types->numbers[0], set);
        asker->gpu = -1;
    }
    wait_for_events(asker, set);
    answer = begin(asker, end, 0);
    answer->code = CALL(asker, end, (nvml_event_set), set);
}

static bool start(struct asker *asker, enum function f)
{
    struct answer *answer = begin(asker, f, 0);
    if (!has(asker, f)) {
        return false;
    }
    answer->code =
        f == FUNCTION_nvmlInitWithFlags ? CALL(asker, f, (uint32_t), 0) : CALL(asker, f, (void), );
    return answer->code == NVML_SUCCESS;
}

/* All three ways to start it; the driver counts them. Each but the first is ended again. */
static bool start_all(struct asker *asker)
{
    static const enum function functions[] = {FUNCTION_nvmlInit_v2, FUNCTION_nvmlInit,
                                              FUNCTION_nvmlInitWithFlags};
    unsigned starts = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(functions); i++) {
        starts += start(asker, functions[i]);
    }
    struct answer *answer = starts > 1 ? begin(asker, FUNCTION_nvmlShutdown, 0) : NULL;
    for (; starts > 1; starts--) {
        answer->code = CALL(asker, FUNCTION_nvmlShutdown, (void), );
    }
    return starts > 0;
}

static void ask_system(struct asker *asker)
{
    for (unsigned f = 0; f < FUNCTION_COUNT; f++) {
        if (shapes[f].scope == SCOPE_SYSTEM && shapes[f].how != HOW_OTHER &&
            f != FUNCTION_nvmlDeviceGetCount && f != FUNCTION_nvmlDeviceGetCount_v2) {
            ask(asker, (enum function)f);
        }
    }
}

static void take(const struct library *library, struct reading *reading, bool moving)
{
    struct asker asker = {.library = library, .reading = reading, .gpu = -1, .instance = -1};
    nvml_device devices[WORLD_GPUS] = {NULL};
    reading->answer_count = reading->entry_count = 0;
    reading->taken_ns = clock_now_ns();
    if (!moving) {
        reading->failed = !start_all(&asker);
        if (reading->failed) {
            reading->start_code = reading->answers[0].code;
            return;
        }
        ask_system(&asker);
        count_gpus(&asker);
    }
    for (uint32_t i = 0; i < reading->gpu_count; i++) {
        ask_gpu(&asker, (int)i, moving);
        devices[i] = asker.device;
    }
    if (!moving) {
        ask_events(&asker, devices);
    }
    ask_names(&asker);
}

void reading_take(const struct library *library, struct reading *reading)
{
    take(library, reading, false);
}

void reading_take_moving(const struct library *library, struct reading *reading)
{
    take(library, reading, true);
}

/* ---- Looking at it ------------------------------------------------------------------------------ */

const struct answer *reading_find(const struct reading *reading, enum function function, int gpu,
                                  int instance, unsigned argument)
{
    for (uint32_t i = 0; i < reading->answer_count; i++) {
        const struct answer *answer = &reading->answers[i];
        if (answer->function == function && answer->gpu == gpu && answer->instance == instance &&
            answer->argument == argument) {
            return answer;
        }
    }
    return NULL;
}

static const char *code_name(nvml_ret code)
{
    switch (code) {
    case ANSWER_ABSENT:
        return "not exported";
#define NVML_CODE(value, name, text)                                                               \
    case value:                                                                                    \
        return #name;
        NVML_RETURNS(NVML_CODE)
#undef NVML_CODE
    default:
        return NULL;
    }
}

void answer_print(struct buf *buf, const struct answer *answer)
{
    const char *name = code_name(answer->code);
    if (name) {
        buf_text(buf, name);
    } else {
        buf_format(buf, "%d", answer->code);
    }
    for (unsigned i = 0; i < answer->count; i++) {
        buf_format(buf, " %" PRIu64, answer->numbers[i]);
    }
    if (answer->text[0]) {
        buf_char(buf, ' ');
        buf_quoted(buf, answer->text, sizeof(answer->text));
    }
}

static int by_list_and_pid(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    long order = (long)left->function - right->function;
    order = order ? order : (long)left->gpu - right->gpu;
    order = order ? order : (long)left->instance - right->instance;
    order = order ? order : (long)left->argument - right->argument;
    order = order ? order : (long)left->pid - right->pid;
    order = order ? order : (long)left->gpu_instance - right->gpu_instance;
    return order < 0 ? -1 : order > 0;
}

static void print_where(struct buf *buf, enum function function, int gpu, int instance,
                        unsigned argument)
{
    buf_text(buf, function_name(function));
    if (gpu >= 0) {
        buf_format(buf, " gpu=%d", gpu);
    }
    if (instance >= 0) {
        buf_format(buf, " instance=%d", instance);
    }
    if (argument) {
        buf_format(buf, " argument=%u", argument);
    }
}

void reading_print(struct buf *buf, const struct reading *reading)
{
    for (uint32_t i = 0; i < reading->answer_count; i++) {
        const struct answer *answer = &reading->answers[i];
        print_where(buf, (enum function)answer->function, answer->gpu, answer->instance,
                    answer->argument);
        buf_text(buf, ": ");
        answer_print(buf, answer);
        buf_char(buf, '\n');
    }
    struct entry *sorted = malloc(reading->entry_count * sizeof(*sorted) + 1);
    if (!sorted) {
        buf->failed = true;
        return;
    }
    memcpy(sorted, reading->entries, reading->entry_count * sizeof(*sorted));
    qsort(sorted, reading->entry_count, sizeof(*sorted), by_list_and_pid);
    for (uint32_t i = 0; i < reading->entry_count; i++) {
        const struct entry *entry = &sorted[i];
        print_where(buf, (enum function)entry->function, entry->gpu, entry->instance,
                    entry->argument);
        buf_format(buf, " pid=%u: %" PRIu64 " %u %u\n", entry->pid, entry->used,
                   entry->gpu_instance, entry->compute_instance);
    }
    free(sorted);
}
