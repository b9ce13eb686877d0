/* SPDX-License-Identifier: MIT */
#include "common/utc.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

static bool is_leap(unsigned year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* The year that day `*day` counted from 1970-01-01 falls in; *day becomes the day of that year. */
static unsigned take_year(uint64_t *day)
{
    unsigned year = 1970;
    for (; *day >= (is_leap(year) ? 366u : 365u); year++) {
        *day -= is_leap(year) ? 366 : 365;
    }
    return year;
}

static unsigned take_month(uint64_t *day, bool leap)
{
    const unsigned lengths[] = {31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned month = 0;
    while (*day >= lengths[month]) {
        *day -= lengths[month++];
    }
    return month + 1;
}

/* By hand, since gmtime_r() reads the machine's time zone first, which a date in UTC does not need. */
const char *utc_format(uint64_t ns, char text[UTC_TEXT_MAX])
{
    uint64_t seconds = ns / 1000000000u, day = seconds / 86400;
    unsigned rest = (unsigned)(seconds % 86400);
    unsigned year = take_year(&day);
    unsigned month = take_month(&day, is_leap(year));
    (void)snprintf(text, UTC_TEXT_MAX, "%04u-%02u-%02uT%02u:%02u:%02u.%06uZ", year, month,
                   (unsigned)day + 1, rest / 3600, rest / 60 % 60, rest % 60,
                   (unsigned)(ns % 1000000000u / 1000));
    return text;
}

/* ---- The other way round --------------------------------------------------------------------- */

/* Exactly `digits` digits and then `end`, which is skipped too. */
static bool take_number(const char **text, unsigned digits, char end, unsigned *ret_number)
{
    unsigned number = 0;
    for (; digits > 0; digits--) {
        char digit = *(*text)++;
        if (digit < '0' || digit > '9') {
            return false;
        }
        number = number * 10 + (unsigned)(digit - '0');
    }
    *ret_number = number;
    return *(*text)++ == end;
}

/* Decimals, cut behind the ninth; the "Z" ends them. */
static bool take_decimals(const char *text, unsigned *ret_ns)
{
    unsigned ns = 0, unit = 100000000;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++, unit /= 10) {
        ns += (unsigned)(*at - '0') * unit;
    }
    *ret_ns = ns;
    return at > text && at[0] == 'Z' && at[1] == '\0';
}

static uint64_t days_until(unsigned year, unsigned month, unsigned day)
{
    static const unsigned before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    uint64_t days = 0;
    for (unsigned past = 1970; past < year; past++) {
        days += is_leap(past) ? 366 : 365;
    }
    return days + before[month - 1] + (month > 2 && is_leap(year)) + day - 1;
}

int utc_parse(const char *text, uint64_t *ret_ns)
{
    unsigned year, month, day, hour, minute, second, ns = 0;
    const char *at = text;
    if (!take_number(&at, 4, '-', &year) || !take_number(&at, 2, '-', &month) ||
        !take_number(&at, 2, 'T', &day) || !take_number(&at, 2, ':', &hour) ||
        !take_number(&at, 2, ':', &minute)) {
        return -EINVAL;
    }
    const char *seconds = at;
    if (!take_number(&at, 2, '.', &second)) {
        at = seconds;
        if (!take_number(&at, 2, 'Z', &second) || *at) {
            return -EINVAL;
        }
    } else if (!take_decimals(at, &ns)) {
        return -EINVAL;
    }
    if (year < 1970 || year > 2500 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 ||
        minute > 59 || second > 60) {
        return -EINVAL;
    }
    uint64_t minutes = (days_until(year, month, day) * 24 + hour) * 60 + minute;
    *ret_ns = (minutes * 60 + second) * 1000000000u + ns;
    return 0;
}
