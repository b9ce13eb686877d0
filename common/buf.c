/* SPDX-License-Identifier: MIT */
#include "common/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for `more` bytes and a NUL behind what is there. */
static bool reserve(struct buf *buf, size_t more)
{
    if (buf->failed) {
        return false;
    }
    if (more < buf->capacity - buf->length) {
        return true;
    }
    size_t capacity = buf->capacity ? buf->capacity : 256;
    while (capacity - buf->length <= more) {
        if (capacity > SIZE_MAX / 2) {
            buf->failed = true;
            return false;
        }
        capacity *= 2;
    }
    char *data = realloc(buf->data, capacity);
    if (!data) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

void buf_done(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf)BUF_INIT;
}

void buf_clear(struct buf *buf)
{
    buf->length = 0;
    buf->failed = false;
    if (buf->data) {
        buf->data[0] = '\0';
    }
}

void buf_add(struct buf *buf, const char *bytes, size_t length)
{
    if (reserve(buf, length)) {
        if (length) {
            memcpy(buf->data + buf->length, bytes, length);
        }
        buf->length += length;
        buf->data[buf->length] = '\0';
    }
}

void buf_text(struct buf *buf, const char *text)
{
    buf_add(buf, text, strlen(text));
}

void buf_char(struct buf *buf, char c)
{
    buf_add(buf, &c, 1);
}

void buf_format(struct buf *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0) {
        buf->failed = true;
    } else if (reserve(buf, (size_t)length)) {
        (void)vsnprintf(buf->data + buf->length, (size_t)length + 1, format, again);
        buf->length += (size_t)length;
    }
    va_end(again);
}

char *buf_steal(struct buf *buf, size_t *ret_length)
{
    buf_add(buf, "", 0); /* an empty buffer hands out "", not NULL */
    if (buf->failed) {
        buf_done(buf);
        return NULL;
    }
    char *data = buf->data;
    if (ret_length) {
        *ret_length = buf->length;
    }
    *buf = (struct buf)BUF_INIT;
    return data;
}

void buf_query(struct buf *buf, const char *text)
{
    for (; *text; text++) {
        bool plain = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') ||
                     (*text >= '0' && *text <= '9') || strchr("-._~/", *text);
        if (plain) {
            buf_char(buf, *text);
        } else {
            buf_format(buf, "%%%02X", (unsigned)(unsigned char)*text);
        }
    }
}
