/* SPDX-License-Identifier: MIT */
#include "cli/moments.h"

#include "cli/text.h"
#include "common/size.h"
#include "common/text.h"
#include "common/utc.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MS_NS 1000000
#define LAST_S INT64_C(16725225600) /* 2500 */

int64_t moment_now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / MS_NS;
}

/* ---- Reading --------------------------------------------------------------------------------- */

static int from_local(struct tm *parts, int64_t *ret_ms)
{
    parts->tm_isdst = -1;
    time_t seconds = mktime(parts);
    if (seconds < 0 || seconds > LAST_S) {
        return -EINVAL;
    }
    *ret_ms = (int64_t)seconds * 1000;
    return 0;
}

/* A text that is all of a format of strptime(). */
static bool is_all(const char *text, const char *format, struct tm *parts)
{
    const char *end = strptime(text, format, parts);
    return end && *end == '\0';
}

static int parse_hour(const char *text, int64_t now_ms, int64_t *ret_ms)
{
    time_t now_s = (time_t)(now_ms / 1000);
    struct tm parts;
    int64_t ms;
    if (!localtime_r(&now_s, &parts)) {
        return -EINVAL;
    }
    parts.tm_sec = 0;
    if (!is_all(text, "%H:%M", &parts) && !is_all(text, "%H:%M:%S", &parts)) {
        return -EINVAL;
    }
    int r = from_local(&parts, &ms);
    if (r == 0 && ms > now_ms) { /* not today yet */
        parts.tm_mday--;
        r = from_local(&parts, &ms);
    }
    if (r == 0) {
        *ret_ms = ms;
    }
    return r;
}

static int parse_date(const char *text, int64_t *ret_ms)
{
    static const char *const formats[] = {"%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S",
                                          "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"};
    uint64_t ns;
    if (utc_parse(text, &ns) == 0) {
        *ret_ms = (int64_t)(ns / MS_NS);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(formats); i++) {
        struct tm parts = {.tm_sec = 0};
        if (is_all(text, formats[i], &parts)) {
            return from_local(&parts, ret_ms);
        }
    }
    return -EINVAL;
}

static int parse_unix(const char *text, int64_t *ret_ms)
{
    int64_t seconds = 0;
    size_t length = strlen(text);
    if (length == 0 || length > 11 || strspn(text, "0123456789") != length) {
        return -EINVAL;
    }
    for (; *text; text++) {
        seconds = seconds * 10 + (*text - '0');
    }
    if (seconds > LAST_S) {
        return -EINVAL;
    }
    *ret_ms = seconds * 1000;
    return 0;
}

/* "2h ago", "2h" or "-2h". */
static int parse_ago(const char *text, uint64_t *ret_ns)
{
    char duration[MOMENT_MAX];
    size_t length = strlen(text);
    bool ago = length > 4 && strcmp(text + length - 4, " ago") == 0;
    if (!ago) {
        return duration_parse(text + (text[0] == '-'), ret_ns);
    }
    if (length - 4 >= sizeof(duration)) {
        return -EINVAL;
    }
    (void)text_copy_n(duration, sizeof(duration), text, length - 4);
    return duration_parse(duration, ret_ns);
}

int moment_parse(const char *text, int64_t now_ms, int64_t *ret_ms)
{
    uint64_t ago_ns = 0;
    if (text[0] == '@') {
        return parse_unix(text + 1, ret_ms);
    }
    if (strcmp(text, "now") == 0 || parse_ago(text, &ago_ns) == 0) {
        int64_t ago_ms = (int64_t)(ago_ns / MS_NS);
        *ret_ms = ago_ms < now_ms ? now_ms - ago_ms : 0;
        return 0;
    }
    return strchr(text, '-') ? parse_date(text, ret_ms) : parse_hour(text, now_ms, ret_ms);
}

int moment_word(struct cli *cli, const char *text, int64_t now_ms, int64_t *ret_ms)
{
    char quoted[TEXT_QUOTED_MAX];
    if (moment_parse(text, now_ms, ret_ms) < 0) {
        return cli_fail(
            cli, STATUS_USAGE, "usage", NULL,
            "%s is no moment; write 03:00, \"2026-11-26 03:00\", 2h (ago), now or @SECONDS",
            text_quote(text, quoted));
    }
    return 0;
}

int moment_option(struct cli *cli, const char *name, int64_t now_ms, int64_t *ret_ms)
{
    const char *text = arguments_value(&cli->arguments, name);
    return text ? moment_word(cli, text, now_ms, ret_ms) : 0;
}

/* ---- Telling --------------------------------------------------------------------------------- */

static bool parts_of(int64_t ms, struct tm *parts)
{
    time_t seconds = (time_t)(ms / 1000);
    return localtime_r(&seconds, parts) != NULL;
}

static const char *write_parts(const struct tm *parts, bool date, bool seconds,
                               char text[MOMENT_MAX])
{
    char day[48] = "", second[16] = "", all[96];
    if (date) {
        (void)snprintf(day, sizeof(day), "%04d-%02d-%02d ", parts->tm_year + 1900,
                       parts->tm_mon + 1, parts->tm_mday);
    }
    if (seconds) {
        (void)snprintf(second, sizeof(second), ":%02d", parts->tm_sec);
    }
    (void)snprintf(all, sizeof(all), "%s%02d:%02d%s", day, parts->tm_hour, parts->tm_min, second);
    (void)text_copy(text, MOMENT_MAX, all);
    return text;
}

const char *moment_text(int64_t ms, char text[MOMENT_MAX])
{
    struct tm parts;
    return parts_of(ms, &parts) ? write_parts(&parts, true, true, text) : "?";
}

const char *moment_short(int64_t ms, int64_t now_ms, bool seconds, char text[MOMENT_MAX])
{
    struct tm parts, today;
    if (!parts_of(ms, &parts) || !parts_of(now_ms, &today)) {
        return "?";
    }
    bool same = parts.tm_year == today.tm_year && parts.tm_yday == today.tm_yday;
    return write_parts(&parts, !same, seconds, text);
}
