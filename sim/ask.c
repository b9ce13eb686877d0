/* SPDX-License-Identifier: MIT */
#include "sim/ask.h"

#include "common/clock.h"
#include <stdio.h>
#include <string.h>

enum { LIST_ROOM = 1024, GUARD = 64, FILL = 0xA5 };

/* ---- One call ---------------------------------------------------------------------------------- */

struct answer *ask_begin(struct asker *asker, enum function function, unsigned argument)
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

void ask_call_begins(struct asker *asker, enum function function)
{
    struct reading *reading = asker->reading;
    atomic_store(&reading->function, (int)function);
    atomic_store(&reading->gpu, asker->gpu);
    atomic_fetch_add(&reading->calls, 1);
    asker->call_began = clock_now_ns();
}

nvml_ret ask_call_ends(struct asker *asker, enum function function)
{
    uint64_t took = clock_now_ns() - asker->call_began;
    struct latencies *latencies = &asker->reading->latencies[function];
    latencies->ns[latencies->count++ % READING_LATENCIES] =
        took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
    atomic_store(&asker->reading->function, -1);
    atomic_fetch_add(&asker->reading->calls, 1);
    return asker->call_code;
}

bool ask_has(const struct asker *asker, enum function function)
{
    return asker->library->functions[function] != NULL;
}

/* ---- Values ------------------------------------------------------------------------------------ */

void ask_add_number(struct answer *answer, uint64_t number)
{
    if (answer->count < READING_NUMBERS) {
        answer->numbers[answer->count++] = number;
    }
}

void ask_add_text(struct answer *answer, const char *text, size_t size)
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
            ask_add_number(answer, small);
            break;
        case 'U':
            at = (at + 7) / 8 * 8;
            memcpy(&large, bytes + at, sizeof(large));
            ask_add_number(answer, large);
            break;
        case 's':
        case 't':
            ask_add_text(answer, (const char *)bytes + at, *layout == 's' ? 16 : 32);
            break;
        default:
            break;
        }
        at += *layout == 'U' ? 8 : *layout == 's' ? 16 : *layout == 't' ? 32 : 4;
    }
}

/* ---- Functions by their shape ------------------------------------------------------------------- */

void ask_structure(struct asker *asker, enum function f, const struct shape *shape)
{
    struct answer *answer = ask_begin(asker, f, 0);
    union {
        unsigned char bytes[256];
        uint32_t version;
        uint64_t aligned;
    } out = {{0}};
    if (!ask_has(asker, f)) {
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
    struct answer *answer = ask_begin(asker, f, 0);
    char text[NVML_UUID_SIZE + 1] = "";
    if (!ask_has(asker, f)) {
        return;
    }
    answer->code =
        shape->scope == SCOPE_SYSTEM
            ? CALL(asker, f, (char *, uint32_t), text, NVML_UUID_SIZE)
            : CALL(asker, f, (nvml_device, char *, uint32_t), asker->device, text, NVML_UUID_SIZE);
    if (answer->code == NVML_SUCCESS) {
        ask_add_text(answer, text, sizeof(text) - 1);
    }
}

static void ask_several(struct asker *asker, enum function f, unsigned count)
{
    struct answer *answer = ask_begin(asker, f, 0);
    uint32_t out[4] = {0};
    if (!ask_has(asker, f)) {
        return;
    }
    answer->code =
        count == 2
            ? CALL(asker, f, (nvml_device, uint32_t *, uint32_t *), asker->device, &out[0], &out[1])
            : CALL(asker, f, (nvml_device, uint32_t *, uint32_t *, uint32_t *, uint32_t *),
                   asker->device, &out[0], &out[1], &out[2], &out[3]);
    for (unsigned i = 0; answer->code == NVML_SUCCESS && i < count; i++) {
        ask_add_number(answer, out[i]);
    }
}

static void ask_with_argument(struct asker *asker, enum function f, const struct shape *shape)
{
    for (unsigned i = 0; i < shape->arguments; i++) {
        struct answer *answer = ask_begin(asker, f, i);
        uint32_t small = 0;
        uint64_t large = 0;
        if (!ask_has(asker, f)) {
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
            ask_add_number(answer, shape->how == HOW_TWO_ARGUMENTS ? large : small);
        }
    }
}

static void ask_fields(struct asker *asker, enum function f)
{
    static const uint32_t fields[] = {NVML_FIELD_MEMORY_TEMPERATURE, NVML_FIELD_ENERGY,
                                      NVML_FIELD_RECOVERY_ACTION};
    for (unsigned i = 0; i < ARRAY_LENGTH(fields); i++) {
        struct answer *answer = ask_begin(asker, f, i);
        struct nvml_field_value value = {.field = fields[i]};
        if (!ask_has(asker, f)) {
            continue;
        }
        answer->code =
            CALL(asker, f, (nvml_device, int, struct nvml_field_value *), asker->device, 1, &value);
        if (answer->code == NVML_SUCCESS) {
            ask_add_number(answer, (uint32_t)value.code);
            ask_add_number(answer, value.code                           ? 0
                                   : value.value_type == NVML_VALUE_U32 ? value.value.u32
                                                                        : value.value.u64);
        }
    }
}

static void ask_parent(struct asker *asker, enum function f)
{
    struct answer *answer = ask_begin(asker, f, 0);
    nvml_device parent = NULL;
    if (ask_has(asker, f)) {
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

unsigned ask_version(enum function f)
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
    bool large = ask_version(f) == 3 &&
                 ask_has(asker, FUNCTION_nvmlDeviceGetConfComputeMemSizeInfo) &&
                 !ask_has(asker, FUNCTION_nvmlDeviceGetRunningProcessDetailList);
    size_t size = ask_version(f) == 1 ? 16 : large ? 32 : 24;
    while (room && bytes[room - 1] == FILL) {
        room--;
    }
    size_t seen = count ? (room + 7) / 8 * 8 / count : 0;
    if (ask_version(f) > 1 && seen != size && (seen == 16 || seen == 24 || seen == 32)) {
        asker->reading->entry_size = (uint32_t)seen;
        return seen;
    }
    return size;
}

static void ask_list(struct asker *asker, enum function f)
{
    static unsigned char bytes[LIST_ROOM * 32 + GUARD];
    struct answer *answer = ask_begin(asker, f, 0);
    uint32_t count = LIST_ROOM;
    if (!ask_has(asker, f)) {
        return;
    }
    memset(bytes, FILL, sizeof(bytes));
    answer->code = CALL(asker, f, (nvml_device, uint32_t *, void *), asker->device, &count, bytes);
    if (answer->code != NVML_SUCCESS || count > LIST_ROOM) {
        return;
    }
    ask_add_number(answer, count);
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
        struct answer *answer = ask_begin(asker, f, mode);
        struct nvml_process_detail_list list = {.version = NVML_PROCESS_DETAIL_LIST_V1,
                                                .mode = mode,
                                                .count = LIST_ROOM,
                                                .entries = details};
        if (!ask_has(asker, f)) {
            continue;
        }
        answer->code =
            CALL(asker, f, (nvml_device, struct nvml_process_detail_list *), asker->device, &list);
        if (answer->code != NVML_SUCCESS || list.count > LIST_ROOM) {
            continue;
        }
        ask_add_number(answer, list.count);
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
    struct answer *answer = ask_begin(asker, f, 0);
    uint32_t count = LIST_ROOM;
    if (!ask_has(asker, f)) {
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
    struct answer *answer = ask_begin(asker, f, 0);
    struct nvml_processes_utilization list = {
        .version = NVML_PROCESSES_UTILIZATION_V1, .count = LIST_ROOM, .samples = samples};
    if (!ask_has(asker, f)) {
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
        struct answer *answer = ask_begin(asker, f, i);
        if (ask_has(asker, f)) {
            answer->code =
                CALL(asker, f, (nvml_device, uint32_t, void *), asker->device, pids[i], &stats);
            add_entry(asker, answer,
                      &(struct entry){.pid = pids[i],
                                      .used = stats.peak_bytes,
                                      .gpu_instance = stats.is_running});
        }
        answer = ask_begin(asker, f2, i);
        if (ask_has(asker, f2)) {
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
    struct answer *answer = ask_begin(asker, f, 0);
    uint32_t count = ARRAY_LENGTH(pids);
    if (!ask_has(asker, f)) {
        return;
    }
    answer->code =
        CALL(asker, f, (nvml_device, uint32_t *, uint32_t *), asker->device, &count, pids);
    if (answer->code != NVML_SUCCESS || count > ARRAY_LENGTH(pids)) {
        return;
    }
    ask_add_number(answer, count);
    ask_accounts(asker, pids, count < 200 ? count : 200);
}

/* ---- All of them ------------------------------------------------------------------------------- */

void ask(struct asker *asker, enum function f)
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
