/* SPDX-License-Identifier: MIT */
#include "daemon/history_time.h"

#include "common/utc.h"
#include "daemon/history_rows.h"
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define LAST_MS INT64_C(16725225600000) /* 2500 */
#define OFFSET_LENGTH 6                 /* "+01:00" */

/* ---- Moments --------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int parse_seconds(const char *text, int64_t *ret_ms)
{
    int64_t ms = 0, part = 1000;
    for (; is_digit(*text); text++) {
        ms = ms * 10 + (*text - '0') * 1000;
        if (ms > LAST_MS) {
            return -EINVAL;
        }
    }
    if (*text == '.' && is_digit(text[1])) {
        for (text++; is_digit(*text); text++) {
            part /= 10;
            ms += (*text - '0') * part;
        }
    }
    if (*text) {
        return -EINVAL;
    }
    *ret_ms = ms;
    return 0;
}

/* "+01:00" at the end of a moment, in milliseconds. Returns whether there is one. */
static bool read_offset(const char *text, int64_t *ret_ms)
{
    bool is_one = (text[0] == '+' || text[0] == ' ' || text[0] == '-') && is_digit(text[1]) &&
                  is_digit(text[2]) && text[3] == ':' && is_digit(text[4]) && is_digit(text[5]);
    if (!is_one) {
        return false;
    }
    int64_t hours = (text[1] - '0') * 10 + text[2] - '0';
    int64_t minutes = (text[4] - '0') * 10 + text[5] - '0';
    *ret_ms = (hours * 60 + minutes) * 60000 * (text[0] == '-' ? -1 : 1);
    return hours < 24 && minutes < 60;
}

static int parse_date(const char *text, int64_t *ret_ms)
{
    char utc[64];
    int64_t offset_ms = 0;
    uint64_t ns;
    size_t length = strlen(text);
    if (length >= sizeof(utc) || length <= OFFSET_LENGTH) {
        return -EINVAL;
    }
    memcpy(utc, text, length + 1);
    if (read_offset(text + length - OFFSET_LENGTH, &offset_ms)) {
        utc[length - OFFSET_LENGTH] = 'Z';
        utc[length - OFFSET_LENGTH + 1] = '\0';
    }
    if (utc_parse(utc, &ns) < 0) {
        return -EINVAL;
    }
    int64_t ms = (int64_t)(ns / 1000000) - offset_ms;
    if (ms < 0 || ms > LAST_MS) {
        return -EINVAL;
    }
    *ret_ms = ms;
    return 0;
}

int history_time_parse(const char *text, int64_t *ret_ms)
{
    size_t digits = strspn(text, "0123456789");
    if (digits > 0 && (text[digits] == '\0' || text[digits] == '.')) {
        return parse_seconds(text, ret_ms);
    }
    return parse_date(text, ret_ms);
}

/* ---- Windows --------------------------------------------------------------------------------- */

static uint64_t round_up(uint64_t number, uint64_t unit)
{
    return (number + unit - 1) / unit * unit;
}

/* What buckets of the tier that is used for it add up to. */
static uint64_t fit_step(uint64_t step_s)
{
    return step_s < HISTORY_BUCKET_S ? step_s
           : step_s < 60             ? round_up(step_s, HISTORY_BUCKET_S)
           : step_s < 900            ? round_up(step_s, 60)
                                     : round_up(step_s, 900);
}

static uint64_t usual_step(uint64_t range_s)
{
    static const uint64_t steps[] = {10,   30,   60,    120,   300,   600,   900,    1800,
                                     3600, 7200, 10800, 21600, 43200, 86400, 172800, 345600};
    for (size_t i = 0; i < ARRAY_LENGTH(steps); i++) {
        if (range_s / steps[i] <= HISTORY_POINTS_USUAL) {
            return steps[i];
        }
    }
    return round_up(range_s / HISTORY_POINTS_USUAL + 1, 86400);
}

int history_window_plan(int64_t from_ms, int64_t to_ms, uint64_t step_s,
                        struct history_window *ret_window)
{
    if (from_ms < 0 || to_ms <= from_ms || to_ms > LAST_MS || step_s > LAST_MS / 1000) {
        return -EINVAL;
    }
    uint64_t from_s = (uint64_t)from_ms / 1000, to_s = round_up((uint64_t)to_ms, 1000) / 1000;
    uint64_t step = step_s ? fit_step(step_s) : usual_step(to_s - from_s);
    from_s -= from_s % step;
    uint64_t count = round_up(to_s - from_s, step) / step;
    if (count > HISTORY_POINTS_MAX) {
        return -E2BIG;
    }
    ret_window->from_s = (int64_t)from_s;
    ret_window->step_s = step;
    ret_window->count = (size_t)count;
    return 0;
}
