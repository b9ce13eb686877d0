/* SPDX-License-Identifier: MIT */
#include "common/size.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

__extension__ typedef unsigned __int128 wide; /* ISO C has no name for it; both compilers do */

/* Beyond 10^18 a further decimal only says "a little more", which rounding up needs to know. */
#define FRACTION_LIMIT ((uint64_t)1000000000000000000)

/* A decimal number: whole + numerator / denominator, plus a little more when `inexact`. */
struct decimal {
    uint64_t whole, numerator, denominator;
    bool inexact;
    bool overflow;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads digits and decimals; returns what stands behind them, NULL where there is no number. */
static const char *read_decimal(const char *text, struct decimal *ret)
{
    struct decimal d = {.denominator = 1};
    if (!is_digit(*text)) {
        return NULL;
    }
    for (; is_digit(*text); text++) {
        uint64_t digit = (uint64_t)(*text - '0');
        if (d.whole > (UINT64_MAX - digit) / 10) {
            d.overflow = true;
        } else {
            d.whole = d.whole * 10 + digit;
        }
    }
    if (*text == '.') {
        if (!is_digit(*++text)) {
            return NULL;
        }
        for (; is_digit(*text); text++) {
            if (d.denominator < FRACTION_LIMIT) {
                d.numerator = d.numerator * 10 + (uint64_t)(*text - '0');
                d.denominator *= 10;
            } else {
                d.inexact |= *text != '0';
            }
        }
    }
    *ret = d;
    return text;
}

/* d * unit, rounded up; -ERANGE where the result reaches `limit`. */
static int scale(const struct decimal *d, uint64_t unit, uint64_t limit, uint64_t *ret)
{
    wide part = (wide)d->numerator * unit;
    wide up = part / d->denominator + (part % d->denominator || d->inexact ? 1 : 0);
    wide value = (wide)d->whole * unit + up;
    if (d->overflow || value >= limit) {
        return -ERANGE;
    }
    *ret = (uint64_t)value;
    return 0;
}

/* Whether `text` is `word`, which has small letters only. Not strcasecmp(), which follows the
 * program's locale: in Turkish "IB" is not "ib". */
static bool is_word(const char *text, const char *word)
{
    for (; *word; text++, word++) {
        if ((*text | 0x20) != *word) {
            return false;
        }
    }
    return *text == '\0';
}

/* The bytes of a unit ("", B, K, KB, KiB ...), 0 where it is none. */
static uint64_t size_unit(const char *unit)
{
    static const char letters[] = "bkmgt";
    if (*unit == '\0') {
        return MIB;
    }
    char lower = (char)(*unit | 0x20);
    const char *at = strchr(letters, lower);
    if (!at) {
        return 0;
    }
    const char *rest = unit + 1;
    bool known = *rest == '\0' || (lower != 'b' && (is_word(rest, "b") || is_word(rest, "ib")));
    return known ? (uint64_t)1 << (10 * (at - letters)) : 0;
}

static int parse_bytes(const char *text, uint64_t *ret_bytes, bool *ret_bare)
{
    struct decimal d;
    const char *unit = read_decimal(text, &d);
    uint64_t factor = unit ? size_unit(unit) : 0;
    if (!factor) {
        return -EINVAL;
    }
    int r = scale(&d, factor, UINT64_MAX, ret_bytes);
    if (r == 0 && ret_bare) {
        *ret_bare = *unit == '\0';
    }
    return r;
}

int size_parse(const char *text, uint64_t *ret_bytes, bool *ret_bare)
{
    uint64_t bytes;
    bool bare;
    int r = parse_bytes(text, &bytes, &bare);
    if (r < 0) {
        return r;
    }
    if (bytes == 0) {
        return -EINVAL;
    }
    *ret_bytes = bytes;
    if (ret_bare) {
        *ret_bare = bare;
    }
    return 0;
}

int margin_parse(const char *text, uint64_t *ret_bytes, uint32_t *ret_millipercent)
{
    uint64_t bytes = 0, millipercent = 0;
    struct decimal d;
    const char *rest = read_decimal(text, &d);
    if (rest && strcmp(rest, "%") == 0) {
        int r = scale(&d, 1000, UINT64_MAX, &millipercent);
        if (r < 0 || millipercent > 100 * 1000) {
            return -ERANGE;
        }
    } else {
        int r = parse_bytes(text, &bytes, NULL);
        if (r < 0) {
            return r;
        }
    }
    *ret_bytes = bytes;
    *ret_millipercent = (uint32_t)millipercent;
    return 0;
}

uint64_t margin_of(uint64_t total, uint32_t millipercent)
{
    const uint64_t whole = 100 * 1000;
    wide product = (wide)total * (millipercent < whole ? millipercent : whole);
    return (uint64_t)((product + whole - 1) / whole);
}

int duration_parse(const char *text, uint64_t *ret_ns)
{
    static const struct {
        const char *name;
        uint64_t ns;
    } units[] = {
        {"", 1000000000},
        {"ms", 1000000},
        {"s", 1000000000},
        {"m", 60 * 1000000000ull},
        {"h", 3600 * 1000000000ull},
        {"d", 86400 * 1000000000ull},
    };
    struct decimal d;
    const char *unit = read_decimal(text, &d);
    if (!unit) {
        return -EINVAL;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(units); i++) {
        if (is_word(unit, units[i].name)) {
            return scale(&d, units[i].ns, (uint64_t)INT64_MAX + 1, ret_ns);
        }
    }
    return -EINVAL;
}

char *size_format(uint64_t bytes, char text[SIZE_TEXT_MAX])
{
    static const struct {
        const char *name;
        uint64_t bytes;
        bool decimal;
    } units[] = {
        {"B", 1, false},    {"KiB", KIB, false},      {"MiB", MIB, false},
        {"GiB", GIB, true}, {"TiB", GIB << 10, true},
    };
    /* The unit is chosen after rounding: 1023.9 MiB is 1.0 GiB, never "1024 MiB". */
    for (size_t i = 0; i < ARRAY_LENGTH(units); i++) {
        uint64_t unit = units[i].bytes;
        wide tenths = ((wide)bytes * 10 + unit / 2) / unit;
        wide whole = ((wide)bytes + unit / 2) / unit;
        bool last = i + 1 == ARRAY_LENGTH(units);
        if (units[i].decimal && (last || tenths < 10240)) {
            (void)snprintf(text, SIZE_TEXT_MAX, "%" PRIu64 ".%u %s", (uint64_t)(tenths / 10),
                           (unsigned)(tenths % 10), units[i].name);
            break;
        }
        if (!units[i].decimal && whole < 1024) {
            (void)snprintf(text, SIZE_TEXT_MAX, "%" PRIu64 " %s", (uint64_t)whole, units[i].name);
            break;
        }
    }
    return text;
}
