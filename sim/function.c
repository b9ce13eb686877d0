/* SPDX-License-Identifier: MIT */
#include "sim/function.h"

#include <stdio.h>
#include <string.h>

static const char *const names[FUNCTION_COUNT] = {
#define FUNCTION(name, first) #name,
#define FUNCTION_WITH_HOLE(name, first) #name,
#include "sim/functions.def"
#undef FUNCTION
#undef FUNCTION_WITH_HOLE
};

const char *function_name(enum function function)
{
    return names[function];
}

bool function_set_has(const struct function_set *set, enum function function)
{
    return set->words[function / 64] >> (function % 64) & 1;
}

void function_set_add(struct function_set *set, const struct function_set *others)
{
    for (size_t i = 0; i < ARRAY_LENGTH(set->words); i++) {
        set->words[i] |= others->words[i];
    }
}

/* Where "_v2" begins in a name that ends with it; its end where none does. */
static size_t base_length(const char *name)
{
    size_t length = strlen(name);
    bool versioned = length > 3 && name[length - 3] == '_' && name[length - 2] == 'v' &&
                     name[length - 1] >= '1' && name[length - 1] <= '9';
    return versioned ? length - 3 : length;
}

/* * and ? as in file names. Only the last * is ever retried, so no pattern takes long. */
static bool glob_matches(const char *pattern, const char *text)
{
    const char *star = NULL, *resume = NULL;
    while (*text) {
        if (*pattern == '*') {
            star = pattern++;
            resume = text;
        } else if (*pattern == '?' || *pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star + 1;
            text = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*') {
        pattern++;
    }
    return *pattern == '\0';
}

static bool matches(const char *pattern, const char *name)
{
    size_t base = base_length(name), wanted = base_length(pattern);
    if (strpbrk(pattern, "*?")) {
        return glob_matches(pattern, name);
    }
    if (strcmp(pattern, name) == 0) {
        return true;
    }
    if (wanted != base || strncmp(pattern, name, base) != 0) {
        return false;
    }
    bool first = strcmp(pattern + wanted, "_v1") == 0 && name[base] == '\0';
    return pattern[wanted] == '\0' || first;
}

int function_set_parse(const char *pattern, struct function_set *ret, struct complaint *complaint)
{
    struct function_set set = {{0}};
    bool any = false;
    for (unsigned i = 0; i < FUNCTION_COUNT; i++) {
        if (matches(pattern, names[i])) {
            set.words[i / 64] |= (uint64_t)1 << (i % 64);
            any = true;
        }
    }
    if (!any) {
        return complain(complaint, "no function is called '%.60s'; see functions.def", pattern);
    }
    *ret = set;
    return 0;
}
