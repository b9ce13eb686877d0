/* SPDX-License-Identifier: MIT */
#include "tests/unit/json_check.h"

#include "common/attr.h"
#include <string.h>

#define DEEPEST 64
#define MOST_KEYS 128

struct judge {
    const char *at, *end;
    unsigned depth;
};

struct span {
    const char *at;
    size_t length;
};

static _Thread_local size_t stopped_at;

static bool value(struct judge *j);

static void blanks(struct judge *j)
{
    while (j->at < j->end && *j->at && strchr(" \t\r\n", *j->at)) {
        j->at++;
    }
}

static bool take(struct judge *j, char c)
{
    if (j->at == j->end || *j->at != c) {
        return false;
    }
    j->at++;
    return true;
}

static bool take_word(struct judge *j, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(j->end - j->at) < length || memcmp(j->at, word, length) != 0) {
        return false;
    }
    j->at += length;
    return true;
}

static bool take_between(struct judge *j, unsigned char first, unsigned char last)
{
    if (j->at == j->end || (unsigned char)*j->at < first || (unsigned char)*j->at > last) {
        return false;
    }
    j->at++;
    return true;
}

static bool hex_digit(struct judge *j)
{
    return take_between(j, '0', '9') || take_between(j, 'a', 'f') || take_between(j, 'A', 'F');
}

static bool escape(struct judge *j)
{
    if (take(j, 'u')) {
        return hex_digit(j) && hex_digit(j) && hex_digit(j) && hex_digit(j);
    }
    return j->at < j->end && *j->at && strchr("\"\\/bfnrt", *j->at) && j->at++;
}

/* The table of well-formed byte sequences of the Unicode standard, row by row. */
static bool character(struct judge *j)
{
    static const struct {
        unsigned char first, last, low, high, more;
    } rows[] = {
        {0x20, 0x7F, 0, 0, 0},       {0xC2, 0xDF, 0x80, 0xBF, 0}, {0xE0, 0xE0, 0xA0, 0xBF, 1},
        {0xE1, 0xEC, 0x80, 0xBF, 1}, {0xED, 0xED, 0x80, 0x9F, 1}, {0xEE, 0xEF, 0x80, 0xBF, 1},
        {0xF0, 0xF0, 0x90, 0xBF, 2}, {0xF1, 0xF3, 0x80, 0xBF, 2}, {0xF4, 0xF4, 0x80, 0x8F, 2},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        if (!take_between(j, rows[i].first, rows[i].last)) {
            continue;
        }
        bool good = !rows[i].low || take_between(j, rows[i].low, rows[i].high);
        for (unsigned more = 0; good && more < rows[i].more; more++) {
            good = take_between(j, 0x80, 0xBF);
        }
        return good;
    }
    return false;
}

static bool string(struct judge *j)
{
    if (!take(j, '"')) {
        return false;
    }
    while (!take(j, '"')) {
        if (take(j, '\\') ? !escape(j) : !character(j)) {
            return false;
        }
    }
    return true;
}

static bool digits(struct judge *j)
{
    bool any = false;
    while (take_between(j, '0', '9')) {
        any = true;
    }
    return any;
}

static bool number(struct judge *j)
{
    (void)take(j, '-');
    if (!take(j, '0') && !digits(j)) {
        return false;
    }
    if (take(j, '.') && !digits(j)) {
        return false;
    }
    if (take(j, 'e') || take(j, 'E')) {
        (void)(take(j, '+') || take(j, '-'));
        return digits(j);
    }
    return true;
}

static bool is_new(const struct span *keys, size_t count, struct span key)
{
    for (size_t i = 0; i < count; i++) {
        if (keys[i].length == key.length && memcmp(keys[i].at, key.at, key.length) == 0) {
            return false;
        }
    }
    return true;
}

static bool members(struct judge *j)
{
    struct span keys[MOST_KEYS];
    size_t count = 0;
    do {
        blanks(j);
        struct span key = {j->at, 0};
        if (!string(j)) {
            return false;
        }
        key.length = (size_t)(j->at - key.at);
        blanks(j);
        if (count == MOST_KEYS || !is_new(keys, count, key) || !take(j, ':') || !value(j)) {
            return false;
        }
        keys[count++] = key;
    } while (take(j, ','));
    return take(j, '}');
}

static bool elements(struct judge *j)
{
    do {
        if (!value(j)) {
            return false;
        }
    } while (take(j, ','));
    return take(j, ']');
}

static bool nested(struct judge *j, char end, bool (*inside)(struct judge *))
{
    if (j->depth == DEEPEST) {
        return false;
    }
    j->depth++;
    blanks(j);
    bool good = take(j, end) || inside(j);
    j->depth--;
    return good;
}

static bool value(struct judge *j)
{
    blanks(j);
    bool good;
    if (take(j, '{')) {
        good = nested(j, '}', members);
    } else if (take(j, '[')) {
        good = nested(j, ']', elements);
    } else {
        good = take_word(j, "true") || take_word(j, "false") || take_word(j, "null") || string(j) ||
               number(j);
    }
    blanks(j);
    return good;
}

bool json_check(const char *text, size_t length)
{
    struct judge judge = {text, text + length, 0};
    bool good = value(&judge) && judge.at == judge.end;
    stopped_at = (size_t)(judge.at - text);
    return good;
}

size_t json_check_stopped_at(void)
{
    return stopped_at;
}
