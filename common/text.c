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
