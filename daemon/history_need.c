/* SPDX-License-Identifier: MIT */
#include "daemon/history_need.h"

#include "common/size.h"
#include "include/vram.h"
#include <stdio.h>

#define LEAST_ON_TOP (128 * MIB)
#define STARVED_ON_TOP (512 * MIB) /* or a fifth: what one that was out of memory lacked at least */
#define PERCENT_OF_ONE 15
#define PERCENT_OF_SEVERAL 3
#define CARD_PERCENT 85   /* who holds so much of a card took what there was */
#define SPREAD_PERCENT 10 /* runs that differ by more … */
#define FOLLOWS_PERCENT 5 /* … and have all held the same part of what was free, to within this */

static uint64_t percent_of(uint64_t bytes, uint32_t percent)
{
    return bytes / 100 * percent + bytes % 100 * percent / 100;
}

static uint64_t asks_for(const struct need_run *run)
{
    uint64_t fifth = percent_of(run->peak_bytes, 20);
    return run->whole ? run->peak_bytes
                      : run->peak_bytes + (fifth > STARVED_ON_TOP ? fifth : STARVED_ON_TOP);
}

/* Whether what it holds follows what is free: as many percent of it each time, though there was more or less of it. */
static bool follows_room(const struct need_run *runs, size_t count)
{
    uint64_t least = UINT64_MAX, most = 0, part_least = UINT64_MAX, part_most = 0;
    size_t whole = 0;
    for (size_t i = 0; i < count; i++) {
        const struct need_run *run = &runs[i];
        if (!run->whole || run->room_bytes == VRAM_UNKNOWN || run->room_bytes < 100) {
            continue;
        }
        uint64_t part = run->peak_bytes / (run->room_bytes / 100);
        whole++;
        least = run->peak_bytes < least ? run->peak_bytes : least;
        most = run->peak_bytes > most ? run->peak_bytes : most;
        part_least = part < part_least ? part : part_least;
        part_most = part > part_most ? part : part_most;
    }
    return whole >= 2 && most - least > percent_of(most, SPREAD_PERCENT) &&
           part_most - part_least <= FOLLOWS_PERCENT;
}

static bool fills_card(const struct need_run *run)
{
    return run->whole && run->total_bytes != VRAM_UNKNOWN &&
           run->peak_bytes >= percent_of(run->total_bytes, CARD_PERCENT);
}

/* Of amounts that may be unknown. */
static uint64_t more(uint64_t a, uint64_t b)
{
    return a == VRAM_UNKNOWN || (b != VRAM_UNKNOWN && b > a) ? b : a;
}

struct need need_of(const struct need_run *runs, size_t count)
{
    struct need need = {.steady_bytes = VRAM_UNKNOWN};
    uint64_t most = 0;
    bool elastic = count > 0 && (fills_card(&runs[0]) || follows_room(runs, count));
    for (size_t i = 0; i < count; i++) {
        uint64_t bytes = asks_for(&runs[i]);
        need.runs += runs[i].whole;
        need.steady_bytes =
            more(need.steady_bytes, runs[i].whole ? runs[i].steady_bytes : VRAM_UNKNOWN);
        if (bytes > most) {
            most = bytes;
            need.peak_bytes = runs[i].peak_bytes;
            need.starved = !runs[i].whole;
        }
    }
    need.verdict = !count ? NEED_UNKNOWN : elastic ? NEED_ELASTIC : NEED_KNOWN;
    need.percent = need.runs >= 2 ? PERCENT_OF_SEVERAL : PERCENT_OF_ONE;
    uint64_t on_top = percent_of(most, need.percent);
    need.bytes = most + (on_top > LEAST_ON_TOP ? on_top : LEAST_ON_TOP);
    return need;
}

void need_say(const struct need *need, const char *label, char *text, size_t size)
{
    char bytes[SIZE_TEXT_MAX], peak[SIZE_TEXT_MAX], runs[32] = "one run";
    (void)size_format(need->bytes, bytes);
    (void)size_format(need->peak_bytes, peak);
    if (need->runs > 1) {
        (void)snprintf(runs, sizeof(runs), "%zu runs", need->runs);
    }
    if (need->verdict == NEED_UNKNOWN) {
        (void)snprintf(text, size, "nothing is known of what %s needs", label);
    } else if (need->verdict == NEED_ELASTIC) {
        (void)snprintf(text, size,
                       "%s takes what it finds, %s the last time: there is no telling "
                       "what it needs",
                       label, peak);
    } else if (need->starved) {
        (void)snprintf(text, size, "%s needs %s: more than the %s with which it ran out of memory",
                       label, bytes, peak);
    } else {
        (void)snprintf(text, size, "%s needs %s: %s, the most of %s, and %u %%", label, bytes, peak,
                       runs, need->percent);
    }
}
