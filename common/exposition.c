/* SPDX-License-Identifier: MIT */
#include "common/exposition.h"

#include "common/attr.h"
#include "common/utf8.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_SECOND 1000000000u

/* ---- Texts ----------------------------------------------------------------------------------- */

/* Control characters, and what changes how the text around it is shown: no name needs them. */
static bool is_left_out(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x61C || (c >= 0x200B && c <= 0x200F) ||
           (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF ||
           (c & 0xFFFE) == 0xFFFE;
}

const char *exposition_clean(char *to, size_t size, const char *from)
{
    size_t length = 0;
    while (*from) {
        uint32_t c;
        const char *bytes = from;
        size_t count = utf8_next(from, &c);
        from += count;
        if (c == UTF8_INVALID) {
            bytes = "\xEF\xBF\xBD";
            count = 3;
        } else if (is_left_out(c)) {
            continue;
        }
        if (length + count >= size) {
            break;
        }
        memcpy(to + length, bytes, count);
        length += count;
    }
    to[length] = '\0';
    return to;
}

/* How much of a value can be written as it is: most of most. */
static size_t plain_length(const char *value)
{
    size_t length = 0;
    while (value[length] >= ' ' && value[length] <= '~' && value[length] != '"' &&
           value[length] != '\\') {
        length++;
    }
    return length;
}

static void add_value(struct buf *buf, const char *value)
{
    size_t length = plain_length(value);
    if (!value[length] && length <= EXPOSITION_VALUE_MAX) {
        buf_add(buf, value, length);
        return;
    }
    char clean[EXPOSITION_VALUE_MAX + 1];
    const char *at = exposition_clean(clean, sizeof(clean), value);
    while (*at) {
        size_t plain = strcspn(at, "\\\"");
        buf_add(buf, at, plain);
        at += plain;
        if (*at) {
            buf_char(buf, '\\');
            buf_char(buf, *at++);
        }
    }
}

/* ---- Families -------------------------------------------------------------------------------- */

void exposition_begin(struct exposition *out, const struct exposition_family *family)
{
    out->family = family;
    out->begun = false;
}

static bool ends_with(const char *text, size_t length, const char *end)
{
    size_t end_length = strlen(end);
    return length > end_length && memcmp(text + length - end_length, end, end_length) == 0;
}

/* How long the family's own name is: that of its samples, which OpenMetrics ends otherwise. */
static size_t family_length(const struct exposition *out)
{
    static const char *const ends[] = {
        [EXPOSITION_GAUGE] = "", [EXPOSITION_COUNTER] = "_total", [EXPOSITION_INFO] = "_info"};
    size_t length = strlen(out->family->name);
    const char *end = ends[out->family->kind];
    return out->format == EXPOSITION_OPENMETRICS && ends_with(out->family->name, length, end)
               ? length - strlen(end)
               : length;
}

static const char *type_name(const struct exposition *out)
{
    switch (out->family->kind) {
    case EXPOSITION_COUNTER:
        return "counter";
    case EXPOSITION_INFO:
        return out->format == EXPOSITION_OPENMETRICS ? "info" : "gauge";
    default:
        return "gauge";
    }
}

static void write_head(struct exposition *out)
{
    static const char *const units[] = {"bytes", "seconds", "celsius", "ratio"};
    const char *name = out->family->name;
    int length = (int)family_length(out);
    buf_format(out->buf, "# HELP %.*s %s\n# TYPE %.*s %s\n", length, name, out->family->help,
               length, name, type_name(out));
    for (size_t i = 0; out->format == EXPOSITION_OPENMETRICS && i < ARRAY_LENGTH(units); i++) {
        char end[16];
        (void)snprintf(end, sizeof(end), "_%s", units[i]);
        if (ends_with(name, (size_t)length, end)) {
            buf_format(out->buf, "# UNIT %.*s %s\n", length, name, units[i]);
        }
    }
}

/* ---- Samples --------------------------------------------------------------------------------- */

/* All of a sample but its value. */
static void write_labels(struct exposition *out, const struct exposition_label *labels,
                         size_t count)
{
    if (!out->begun) {
        write_head(out);
        out->begun = true;
    }
    buf_text(out->buf, out->family->name);
    for (size_t i = 0; i < count; i++) {
        buf_char(out->buf, i ? ',' : '{');
        buf_text(out->buf, labels[i].name);
        buf_text(out->buf, "=\"");
        add_value(out->buf, labels[i].value ? labels[i].value : "");
        buf_char(out->buf, '"');
    }
    buf_text(out->buf, count ? "} " : " ");
}

/* A scrape has thousands of them, and printf() is slow. */
static void add_number(struct buf *buf, uint64_t number)
{
    char digits[24];
    size_t at = sizeof(digits);
    digits[--at] = '\n';
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    buf_add(buf, digits + at, sizeof(digits) - at);
}

void exposition_number(struct exposition *out, const struct exposition_label *labels, size_t count,
                       uint64_t number)
{
    if (number != EXPOSITION_UNKNOWN) {
        write_labels(out, labels, count);
        add_number(out->buf, number);
    }
}

void exposition_signed(struct exposition *out, const struct exposition_label *labels, size_t count,
                       int64_t number)
{
    write_labels(out, labels, count);
    buf_format(out->buf, "%" PRId64 "\n", number);
}

/* Not through floating point, whose decimal point is the locale's. */
void exposition_nanoseconds(struct exposition *out, const struct exposition_label *labels,
                            size_t count, uint64_t ns)
{
    if (ns != EXPOSITION_UNKNOWN) {
        write_labels(out, labels, count);
        buf_format(out->buf, "%" PRIu64 ".%09" PRIu64 "\n", ns / NS_PER_SECOND, ns % NS_PER_SECOND);
    }
}

void exposition_percent(struct exposition *out, const struct exposition_label *labels, size_t count,
                        uint64_t percent)
{
    if (percent != EXPOSITION_UNKNOWN) {
        write_labels(out, labels, count);
        buf_format(out->buf, "%" PRIu64 ".%02" PRIu64 "\n", percent / 100, percent % 100);
    }
}

void exposition_finish(struct exposition *out)
{
    if (out->format == EXPOSITION_OPENMETRICS) {
        buf_text(out->buf, "# EOF\n");
    }
}
