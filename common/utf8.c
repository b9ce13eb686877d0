/* SPDX-License-Identifier: MIT */
#include "common/utf8.h"

size_t utf8_next(const char *text, uint32_t *ret_char)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *byte = (const unsigned char *)text;
    size_t length = byte[0] < 0x80   ? 1
                    : byte[0] < 0xC0 ? 0
                    : byte[0] < 0xE0 ? 2
                    : byte[0] < 0xF0 ? 3
                    : byte[0] < 0xF8 ? 4
                                     : 0;
    uint32_t c = length == 1 ? byte[0]
                 : length    ? (uint32_t)byte[0] & (0x7Fu >> length)
                             : UTF8_INVALID;
    for (size_t i = 1; i < length; i++) {
        if ((byte[i] & 0xC0) != 0x80) { /* the NUL at the end too */
            length = 0;
            break;
        }
        c = c << 6 | (byte[i] & 0x3Fu);
    }
    if (!length || c < smallest[length] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) {
        *ret_char = UTF8_INVALID;
        return 1;
    }
    *ret_char = c;
    return length;
}
