/* SPDX-License-Identifier: MIT */
/*
 * A growing byte buffer for text that is built piece by piece (JSON, CSV, messages).
 *
 * Failure is sticky: when memory runs out the buffer keeps what it has, further additions do
 * nothing, and `failed` is set. Build everything, then ask once.
 */
#ifndef VRAM_COMMON_BUF_H
#define VRAM_COMMON_BUF_H

#include "common/attr.h"
#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *data; /* NUL-terminated when not NULL */
    size_t length, capacity;
    bool failed;
};

#define BUF_INIT                                                                                   \
    {                                                                                              \
        NULL, 0, 0, false                                                                          \
    }

void buf_done(struct buf *buf);  /* frees; the buffer is empty and usable again */
void buf_clear(struct buf *buf); /* keeps the memory */
void buf_add(struct buf *buf, const char *bytes, size_t length);
void buf_text(struct buf *buf, const char *text);
void buf_char(struct buf *buf, char c);
void buf_format(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);

/* Hands the text out (the caller frees it) and empties the buffer; NULL if an addition failed. */
char *buf_steal(struct buf *buf, size_t *ret_length);

/* Adds a text as a value in a URL's query: what cannot stand there as it is as hexadecimal digits. */
void buf_query(struct buf *buf, const char *text);

#endif
