/* SPDX-License-Identifier: MIT */
#include "common/utc.h"

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
