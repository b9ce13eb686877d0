/* SPDX-License-Identifier: MIT */
/* What a scenario that was composed does not play as it was read, and how long calls took. */
#include "sim/compose.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define DELAY_MIN_NS 20000u /* less than that no sleep of the kernel's can be */

/* ---- Answers ----------------------------------------------------------------------------------- */

static const struct answer *played_for(const struct composer *composer, const struct answer *answer,
                                       const struct reading *played)
{
    if (answer->function != FUNCTION_nvmlSystemGetProcessName) {
        return reading_find(played, (enum function)answer->function, answer->gpu, answer->instance,
                            answer->argument);
    }
    for (uint32_t i = 0; i < played->answer_count; i++) {
        const struct answer *other = &played->answers[i];
        if (other->function == answer->function &&
            other->numbers[0] == compose_pid(composer, (uint32_t)answer->numbers[0])) {
            return other;
        }
    }
    return NULL;
}

/* What is told by something else on purpose. */
static bool is_redacted(const struct composer *composer, enum function function)
{
    bool id = function == FUNCTION_nvmlDeviceGetUUID || function == FUNCTION_nvmlDeviceGetSerial;
    return function == FUNCTION_nvmlSystemGetProcessName || (id && !composer->options.ids);
}

static bool is_alike(const struct composer *composer, const struct answer *answer,
                     const struct answer *played)
{
    enum function function = (enum function)answer->function;
    if (!played || answer->code != played->code || answer->code != NVML_SUCCESS) {
        return played && answer->code == played->code;
    }
    if (is_redacted(composer, function)) {
        return true;
    }
    return answer->count == played->count && strcmp(answer->text, played->text) == 0 &&
           memcmp(answer->numbers, played->numbers, sizeof(answer->numbers)) == 0;
}

/* ---- Lines ------------------------------------------------------------------------------------- */

void compose_function(struct buf *buf, enum function function)
{
    const char *name = function_name(function);
    size_t length = strlen(name);
    bool versioned = length > 3 && name[length - 3] == '_' && name[length - 2] == 'v';
    buf_text(buf, name);
    for (unsigned i = 0; !versioned && i < FUNCTION_COUNT; i++) {
        const char *other = function_name((enum function)i);
        if (strncmp(other, name, length) == 0 && strncmp(other + length, "_v", 2) == 0) {
            buf_text(buf, "_v1");
            return;
        }
    }
}

static void print_fail(struct buf *buf, enum function function, int gpu, nvml_ret code)
{
    struct answer answer = {.code = code == ANSWER_ABSENT ? NVML_FUNCTION_NOT_FOUND : code};
    buf_text(buf, "fail ");
    compose_function(buf, function);
    if (gpu >= 0) {
        buf_format(buf, " gpu=%d", gpu);
    }
    buf_text(buf, " ret=");
    answer_print(buf, &answer);
    buf_text(buf, code == ANSWER_ABSENT ? " # not exported\n" : "\n");
}

static void print_unlike(struct buf *buf, const struct answer *answer, const struct answer *played)
{
    buf_text(buf, "# differs: ");
    buf_text(buf, function_name((enum function)answer->function));
    if (answer->gpu >= 0) {
        buf_format(buf, " gpu=%d", answer->gpu);
    }
    if (answer->instance >= 0) {
        buf_format(buf, " instance=%d", answer->instance);
    }
    if (answer->argument) {
        buf_format(buf, " argument=%u", answer->argument);
    }
    buf_text(buf, ": ");
    answer_print(buf, answer);
    buf_text(buf, "; played: ");
    if (played) {
        answer_print(buf, played);
    } else {
        buf_text(buf, "not asked");
    }
    buf_char(buf, '\n');
}

/* ---- A function --------------------------------------------------------------------------------- */

/* The answers of a function: about one GPU, or all of them (-2). */
struct group {
    bool unlike; /* any is */
    bool same;   /* all have one code, and it is a failure that was not played */
    nvml_ret code;
};

static struct group look(const struct composer *composer, const struct reading *reading,
                         const struct reading *played, enum function function, int gpu)
{
    struct group group = {.same = true};
    bool any = false, failed = false;
    for (uint32_t i = 0; i < reading->answer_count; i++) {
        const struct answer *answer = &reading->answers[i];
        if (answer->function != function || (gpu != -2 && answer->gpu != gpu)) {
            continue;
        }
        const struct answer *other = played_for(composer, answer, played);
        bool absent = other && other->code == ANSWER_ABSENT;
        group.same &= (!any || answer->code == group.code) && !absent;
        group.code = answer->code;
        group.unlike |= !is_alike(composer, answer, other);
        failed |= other && other->code != answer->code;
        any = true;
    }
    group.same &= any && failed && group.code != NVML_SUCCESS;
    return group;
}

static unsigned say_unlike(const struct composer *composer, struct buf *buf,
                           const struct reading *reading, const struct reading *played,
                           enum function function, int gpu)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < reading->answer_count; i++) {
        const struct answer *answer = &reading->answers[i];
        const struct answer *other =
            answer->function == function ? played_for(composer, answer, played) : NULL;
        if (answer->function == function && answer->gpu == gpu &&
            !is_alike(composer, answer, other)) {
            print_unlike(buf, answer, other);
            count++;
        }
    }
    return count;
}

static unsigned compare_function(struct composer *composer, const struct reading *reading,
                                 const struct reading *played, enum function function)
{
    struct buf *buf = &composer->text;
    struct group all = look(composer, reading, played, function, -2);
    unsigned count = 0;
    if (!all.unlike) {
        return 0;
    }
    if (all.same) {
        print_fail(buf, function, -1, all.code);
        return 0;
    }
    for (int gpu = -1; gpu < (int)reading->gpu_count; gpu++) {
        struct group group = look(composer, reading, played, function, gpu);
        if (group.unlike && group.same && gpu >= 0) {
            print_fail(buf, function, gpu, group.code);
        } else if (group.unlike) {
            count += say_unlike(composer, buf, reading, played, function, gpu);
        }
    }
    return count;
}

/* ---- Lists ------------------------------------------------------------------------------------- */

static bool is_played(const struct composer *composer, const struct entry *entry,
                      const struct reading *played)
{
    for (uint32_t i = 0; i < played->entry_count; i++) {
        const struct entry *other = &played->entries[i];
        if (other->function == entry->function && other->gpu == entry->gpu &&
            other->instance == entry->instance && other->argument == entry->argument &&
            other->pid == compose_pid(composer, entry->pid) && other->used == entry->used &&
            other->gpu_instance == entry->gpu_instance &&
            other->compute_instance == entry->compute_instance) {
            return true;
        }
    }
    return false;
}

static unsigned compare_entries(struct composer *composer, const struct reading *reading,
                                const struct reading *played)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < reading->entry_count; i++) {
        const struct entry *entry = &reading->entries[i];
        bool account = entry->function == FUNCTION_nvmlDeviceGetAccountingStats ||
                       entry->function == FUNCTION_nvmlDeviceGetAccountingStats_v2;
        const struct answer *list = reading_find(played, (enum function)entry->function, entry->gpu,
                                                 entry->instance, entry->argument);
        if (account || (list && list->code == ANSWER_ABSENT) ||
            is_played(composer, entry, played)) {
            continue;
        }
        buf_format(&composer->text,
                   "# differs: %s gpu=%d: the entry of pid %u, %" PRIu64 " of instance %u/%u\n",
                   function_name((enum function)entry->function), entry->gpu,
                   compose_pid(composer, entry->pid), entry->used, entry->gpu_instance,
                   entry->compute_instance);
        count++;
    }
    return count;
}

unsigned compose_difference(struct composer *composer, const struct reading *reading,
                            const struct reading *played)
{
    unsigned count = 0;
    for (unsigned f = 0; f < FUNCTION_COUNT; f++) {
        count += compare_function(composer, reading, played, (enum function)f);
    }
    return count + compare_entries(composer, reading, played);
}

/* ---- Latencies --------------------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
    const uint32_t *left = a, *right = b;
    return *left < *right ? -1 : *left > *right;
}

static uint32_t two_digits(uint32_t us)
{
    uint32_t unit = 1;
    while (us / unit >= 100) {
        unit *= 10;
    }
    return (us + unit / 2) / unit * unit;
}

static void compose_latency(struct buf *buf, enum function function,
                            const struct latencies *latencies)
{
    uint32_t sorted[READING_LATENCIES];
    uint32_t count = latencies->count < READING_LATENCIES ? latencies->count : READING_LATENCIES;
    if (!count) {
        return;
    }
    memcpy(sorted, latencies->ns, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), by_number);
    uint32_t half = sorted[count / 2], low = sorted[count / 10], high = sorted[count * 9 / 10];
    uint64_t spread = half ? (uint64_t)(high - low) * 50 / half : 0;
    bool long_enough = half >= DELAY_MIN_NS;
    buf_text(buf, long_enough ? "delay " : "# took ");
    compose_function(buf, function);
    if (long_enough) {
        buf_format(buf, " %uus", two_digits(half / 1000));
    } else {
        buf_format(buf, " %u.%uus", half / 1000, half % 1000 / 100);
    }
    if (spread) {
        buf_format(buf, " jitter=%u%%", spread < 100 ? (unsigned)spread : 100);
    }
    buf_format(buf, "%s%u calls\n", long_enough ? " # " : ", ", latencies->count);
}

void compose_latencies(struct buf *buf, const struct reading *reading)
{
    for (unsigned f = 0; f < FUNCTION_COUNT; f++) {
        compose_latency(buf, (enum function)f, &reading->latencies[f]);
    }
}
