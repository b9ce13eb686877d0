/* SPDX-License-Identifier: MIT */
/*
 * Writes metrics into a buffer, as Prometheus' text format 0.0.4 or OpenMetrics 1.0. Callers say a family and then its
 * samples; what the formats want around them is put by the writer: HELP, TYPE and UNIT once in front of the first sample
 * (a family without one is not mentioned), names without their _total and _info, escapes.
 *
 * Label values are any bytes, of any length: what is no UTF-8 becomes U+FFFD, control characters and those that turn the
 * direction of writing are left out, and what is longer than EXPOSITION_VALUE_MAX is cut.
 */
#ifndef VRAM_COMMON_EXPOSITION_H
#define VRAM_COMMON_EXPOSITION_H

#include "common/buf.h"
#include <stdint.h>

#define EXPOSITION_VALUE_MAX 256 /* bytes of a label's value, before they are escaped */
#define EXPOSITION_UNKNOWN UINT64_MAX

enum exposition_format {
    EXPOSITION_PROMETHEUS = 0,
    EXPOSITION_OPENMETRICS = 1,
};

enum exposition_kind {
    EXPOSITION_GAUGE,
    EXPOSITION_COUNTER, /* its name ends with _total */
    EXPOSITION_INFO,    /* its name ends with _info, and its value is 1 */
};

/* A unit is the end of the name: _bytes, _seconds, _celsius, _ratio. */
struct exposition_family {
    const char *name; /* as its samples have it */
    enum exposition_kind kind;
    const char *help; /* one sentence, without anything to escape */
};

struct exposition_label {
    const char *name, *value; /* value NULL: "" */
};

struct exposition {
    struct buf *buf;
    enum exposition_format format;
    const struct exposition_family *family;
    bool begun; /* the family's first sample is out */
};

#define EXPOSITION_INIT(buffer, text_format)                                                       \
    {                                                                                              \
        (buffer), (text_format), NULL, false                                                       \
    }

/* What follows are samples of this one, which must outlive them. Each family comes once. */
void exposition_begin(struct exposition *out, const struct exposition_family *family);

/* Samples, each with its labels; an unknown value is none. Nanoseconds are written as seconds, percent as a ratio. */
void exposition_number(struct exposition *out, const struct exposition_label *labels, size_t count,
                       uint64_t number);
void exposition_signed(struct exposition *out, const struct exposition_label *labels, size_t count,
                       int64_t number);
void exposition_nanoseconds(struct exposition *out, const struct exposition_label *labels,
                            size_t count, uint64_t ns);
void exposition_percent(struct exposition *out, const struct exposition_label *labels, size_t count,
                        uint64_t percent);

/* What OpenMetrics wants at the end of all. */
void exposition_finish(struct exposition *out);

/* A label's value as the writer would write it, but for the escapes, cut to fit `size` bytes with its NUL: for who must know
 * whether two values will be one. Returns `to`. */
const char *exposition_clean(char *to, size_t size, const char *from);

#endif
