/* SPDX-License-Identifier: MIT */
#include "daemon/history_steady.h"

#include "include/vram.h"
#include <stdlib.h>
#include <string.h>

/* Each two stretches become one. */
static void widen(struct steady *steady)
{
    for (size_t i = 0; i < STEADY_STRETCHES / 2; i++) {
        uint64_t a = steady->most_bytes[2 * i], b = steady->most_bytes[2 * i + 1];
        steady->most_bytes[i] = a > b ? a : b;
    }
    memset(&steady->most_bytes[STEADY_STRETCHES / 2], 0, sizeof(steady->most_bytes) / 2);
    steady->stretch_ms *= 2;
}

void steady_look(struct steady *steady, uint64_t at_ms, uint64_t bytes)
{
    if (!steady->has_begun) {
        *steady = (struct steady){
            .has_begun = true, .first_ms = at_ms, .last_ms = at_ms, .stretch_ms = 1};
    }
    steady->last_ms = at_ms > steady->last_ms ? at_ms : steady->last_ms;
    uint64_t since_ms = steady->last_ms - steady->first_ms;
    while (since_ms / steady->stretch_ms >= STEADY_STRETCHES) {
        widen(steady);
    }
    uint64_t *most = &steady->most_bytes[since_ms / steady->stretch_ms];
    *most = bytes > *most ? bytes : *most;
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

uint64_t steady_bytes(const struct steady *steady)
{
    uint64_t seen[STEADY_STRETCHES];
    size_t count = 0;
    if (!steady->has_begun) {
        return VRAM_UNKNOWN;
    }
    size_t last = (steady->last_ms - steady->first_ms) / steady->stretch_ms;
    for (size_t i = (last + 1) / 2; i <= last; i++) {
        if (steady->most_bytes[i]) {
            seen[count++] = steady->most_bytes[i];
        }
    }
    qsort(seen, count, sizeof(seen[0]), compare);
    return seen[count / 2]; /* there is one: in the last stretch somebody looked */
}
