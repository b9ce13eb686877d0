/* SPDX-License-Identifier: MIT */
#include "daemon/history_rows.h"
#include "daemon/history_time.h"
#include "tests/fuzz/fuzz.h"

#include "common/utf8.h"
#include <string.h>

#define LAST_MS INT64_C(16725225600000)

/* A text that was made harmless is UTF-8, fits, and stays as it is when it is made harmless again. */
static void look_at_text(const char *text)
{
    char safe[24], again[24];
    history_text(safe, sizeof(safe), text);
    MUST(strlen(safe) < sizeof(safe));
    for (const char *at = safe; *at;) {
        uint32_t c;
        at += utf8_next(at, &c);
        MUST(c != UTF8_INVALID && c >= 0x20 && c != 0x7F);
    }
    history_text(again, sizeof(again), safe);
    MUST(strcmp(safe, again) == 0);
}

/* "FROM TO STEP": moments are within bounds, and a plan covers what was asked in a number of steps that can be told. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size), *save = NULL;
    look_at_text(text);
    const char *words[3] = {strtok_r(text, "\n", &save), strtok_r(NULL, "\n", &save),
                            strtok_r(NULL, "\n", &save)};
    int64_t from_ms = 0, to_ms = 0;
    struct history_window window;
    if (words[0] && history_time_parse(words[0], &from_ms) == 0) {
        MUST(from_ms >= 0 && from_ms <= LAST_MS);
    }
    if (words[1] && history_time_parse(words[1], &to_ms) == 0) {
        MUST(to_ms >= 0 && to_ms <= LAST_MS);
    }
    uint64_t step_s = words[2] ? strtoull(words[2], NULL, 10) : 0;
    if (history_window_plan(from_ms, to_ms, step_s, &window) == 0) {
        MUST(window.count >= 1 && window.count <= HISTORY_POINTS_MAX);
        MUST(window.step_s >= (step_s ? step_s : HISTORY_BUCKET_S));
        MUST(window.from_s <= from_ms / 1000);
        MUST(window.from_s + (int64_t)(window.step_s * window.count) >= to_ms / 1000);
    }
    free(text);
    return 0;
}
