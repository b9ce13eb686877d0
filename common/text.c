/* SPDX-License-Identifier: MIT */
#include "common/text.h"

#include <string.h>

size_t text_copy(char *to, size_t size, const char *from)
{
    return text_copy_n(to, size, from, size);
}

size_t text_copy_n(char *to, size_t size, const char *from, size_t length)
{
    size_t copied = strnlen(from, length < size ? length : size - 1);
    memcpy(to, from, copied);
    to[copied] = '\0';
    return copied;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool text_begins(const char *text, const char *prefix, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\0' || lower(text[i]) != lower(prefix[i])) {
            return false;
        }
    }
    return true;
}
