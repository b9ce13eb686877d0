/* SPDX-License-Identifier: MIT */
/* A reading as text. */
#include "sim/reading.h"

#include "sim/setting.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

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
