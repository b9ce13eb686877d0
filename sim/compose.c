/* SPDX-License-Identifier: MIT */
#include "sim/compose_inner.h"

#include "sim/setting.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- Texts ------------------------------------------------------------------------------------- */

static const char *text_in(const struct reading *reading, enum function function, int gpu,
                           int instance)
{
    const struct answer *answer = reading_find(reading, function, gpu, instance, 0);
    return answer && answer->code == NVML_SUCCESS ? answer->text : "";
}

/* ---- Memory ------------------------------------------------------------------------------------ */

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
    uint64_t others = compose_held(composer, gpu, NVML_NO_INSTANCE, NVML_NO_INSTANCE), reserved = 0;
    for (int i = 0; i < WORLD_INSTANCES; i++) {
        uint32_t gi, ci;
        uint64_t figures[3] = {0};
        ret[i] = (struct compose_memory){.known = false};
        if (compose_instance_ids(reading, gpu, i, &gi, &ci)) {
            ret[i] = account(reading, gpu, i, compose_held(composer, gpu, gi, ci), 0);
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
    if (!compose_instance_ids(reading, gpu, instance, &gi, &ci)) {
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
        last = compose_instance_ids(reading, gpu, i, &gi, &ci) ? i : last;
    }
    for (int i = 0; i <= last; i++) {
        if (compose_instance_ids(reading, gpu, i, &gi, &ci)) {
            compose_instance(composer, reading, gpu, i);
        } else {
            buf_format(&composer->text, "mig %d gi=%d total=1M\n", gpu, 255 - i);
        }
    }
    for (int i = 0; i <= last; i++) {
        if (!compose_instance_ids(reading, gpu, i, &gi, &ci)) {
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
    unsigned long major = strtoul(library, NULL, 10);
    size_t length = strspn(version, "0123456789.");
    buf_format(buf, "driver %.*s\n", length ? (int)length : 1, length ? version : "0");
    if (cuda && cuda->count) {
        buf_format(buf, "cuda %u.%u\n", (unsigned)cuda->numbers[0] / 1000,
                   (unsigned)cuda->numbers[0] % 1000 / 10);
    } else if (major > 0 && major < 1000) {
        buf_format(buf, "cuda %lu.0\n", major); /* the library's version begins with it */
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
    int r = compose_collect(composer, reading);
    for (uint32_t i = 0; r == 0 && i < reading->gpu_count; i++) {
        compose_gpu(composer, reading, (int)i);
    }
    for (size_t i = 0; r == 0 && i < composer->process_count; i++) {
        compose_process(composer, &composer->text, "", reading, &composer->processes[i]);
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
            (i < WORLD_INSTANCES && !compose_instance_ids(reading, gpu, i, &gi, &ci))) {
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

int compose_change(struct composer *composer, const struct reading *reading)
{
    struct buf at = BUF_INIT, line = BUF_INIT;
    buf_format(&at, "at +%" PRIu64 "ms ", (reading->taken_ns - composer->began_ns) / 1000000);
    for (uint32_t i = 0; i < reading->gpu_count; i++) {
        change_state(composer, at.data ? at.data : "", (int)i,
                     strcmp(state_in(reading, (int)i), "lost") == 0);
    }
    int r = at.failed ? -ENOMEM : compose_changed_processes(composer, reading, at.data);
    for (uint32_t i = 0; r == 0 && i < reading->gpu_count; i++) {
        if (composer->lost[i] || state_in(reading, (int)i)[0]) {
            continue;
        }
        buf_clear(&line);
        buf_format(&line, "%sgpu %u", at.data, i);
        change_memory(composer, reading, at.data, (int)i);
        if (!line.failed) {
            compose_changed_values(composer, reading, (int)i, line.data);
        }
    }
    r = r < 0 || at.failed || line.failed || composer->changes.failed ? -ENOMEM : 0;
    buf_done(&at);
    buf_done(&line);
    return r;
}
