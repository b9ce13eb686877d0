/* SPDX-License-Identifier: MIT */
#include "sim/reading.h"

#include "common/clock.h"
#include "sim/ask.h"
#include <stdio.h>
#include <string.h>

/* ---- A device ---------------------------------------------------------------------------------- */

/* Used memory, to tell whether two askings are of one moment. */
static uint64_t used_now(struct asker *asker)
{
    bool second = ask_has(asker, FUNCTION_nvmlDeviceGetMemoryInfo_v2);
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
        if (ask_version((enum function)next) <= ask_version((enum function)f)) {
            return false;
        }
        if (ask_has(asker, (enum function)next)) {
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
        struct answer *answer = ask_begin(asker, f, i);
        nvml_device device = NULL;
        if (!ask_has(asker, f)) {
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
    struct answer *answer = ask_begin(asker, f, 0);
    if (ask_has(asker, f)) {
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
    struct answer *answer = ask_begin(asker, f, 0);
    struct nvml_uuid structure = {.version = NVML_UUID_V1, .type = 1};
    nvml_device device = NULL;
    (void)snprintf(structure.text, sizeof(structure.text), "%s", uuid);
    if (ask_has(asker, f)) {
        answer->code =
            CALL(asker, f, (const struct nvml_uuid *, nvml_device *), &structure, &device);
    }
}

static bool find_device(struct asker *asker, enum function f)
{
    struct answer *answer = ask_begin(asker, f, 0);
    nvml_device device = NULL;
    if (!ask_has(asker, f)) {
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
    bool second = ask_has(asker, FUNCTION_nvmlDeviceGetHandleByIndex_v2);
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
    for (uint32_t i = 0; ask_has(asker, f) && i < reading->entry_count; i++) {
        uint32_t pid = reading->entries[i].pid;
        bool known = false;
        for (uint32_t j = 0; j < i && !known; j++) {
            known = reading->entries[j].pid == pid;
        }
        if (known) {
            continue;
        }
        char text[WORLD_PROCESS_NAME_MAX] = "";
        struct answer *answer = ask_begin(asker, f, 0);
        ask_add_number(answer, pid);
        answer->code = CALL(asker, f, (uint32_t, char *, uint32_t), pid, text, sizeof(text));
        if (answer->code == NVML_SUCCESS) {
            ask_add_text(answer, text, sizeof(text) - 1);
        }
    }
}

static void wait_for_events(struct asker *asker, nvml_event_set set)
{
    static const enum function waits[] = {FUNCTION_nvmlEventSetWait, FUNCTION_nvmlEventSetWait_v2};
    for (size_t i = 0; i < ARRAY_LENGTH(waits); i++) {
        struct answer *answer = ask_begin(asker, waits[i], 0);
        struct nvml_event event = {0};
        if (ask_has(asker, waits[i])) {
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
    struct answer *answer = ask_begin(asker, create, 0);
    if (!ask_has(asker, create) || !ask_has(asker, end)) {
        return;
    }
    answer->code = CALL(asker, create, (nvml_event_set *), &set);
    if (answer->code != NVML_SUCCESS) {
        return;
    }
    for (uint32_t i = 0; ask_has(asker, enroll) && i < asker->reading->gpu_count; i++) {
        const struct answer *types =
            reading_find(asker->reading, FUNCTION_nvmlDeviceGetSupportedEventTypes, (int)i, -1, 0);
        if (!devices[i] || !types || !types->count || !types->numbers[0]) {
            continue;
        }
        asker->gpu = (int)i;
        answer = ask_begin(asker, enroll, 0);
        answer->code = CALL(asker, enroll, (nvml_device, uint64_t, nvml_event_set), devices[i],
                            types->numbers[0], set);
        asker->gpu = -1;
    }
    wait_for_events(asker, set);
    answer = ask_begin(asker, end, 0);
    answer->code = CALL(asker, end, (nvml_event_set), set);
}

static bool start(struct asker *asker, enum function f)
{
    struct answer *answer = ask_begin(asker, f, 0);
    if (!ask_has(asker, f)) {
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
    struct answer *answer = starts > 1 ? ask_begin(asker, FUNCTION_nvmlShutdown, 0) : NULL;
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
