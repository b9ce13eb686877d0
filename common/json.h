/* SPDX-License-Identifier: MIT */
/*
 * Writes JSON into a buffer. Commas are put by the writer, so that callers only say what they mean.
 * Any byte string becomes a valid JSON string: control characters are escaped, bytes that are not
 * UTF-8 become U+FFFD.
 */
#ifndef VRAM_COMMON_JSON_H
#define VRAM_COMMON_JSON_H

#include "common/buf.h"
#include <stdint.h>

struct json {
    struct buf *buf;
    bool comma; /* the next value needs one before it */
};

#define JSON_INIT(buffer)                                                                          \
    {                                                                                              \
        (buffer), false                                                                            \
    }

/* jansson, which reads JSON, has functions of these names too: here they are others to the linker, so that a program
 * can have both. A file that uses both includes <jansson.h> first. */
#define json_object json_write_object
#define json_array json_write_array
#define json_null json_write_null

/* `key` is NULL inside an array and at the top; keys are static and need no escaping. */
void json_object(struct json *json, const char *key);
void json_end_object(struct json *json);
void json_array(struct json *json, const char *key);
void json_end_array(struct json *json);
void json_text(struct json *json, const char *key, const char *text); /* NULL: null */
void json_number(struct json *json, const char *key, uint64_t number);
void json_signed(struct json *json, const char *key, int64_t number);
void json_bool(struct json *json, const char *key, bool value);
void json_null(struct json *json, const char *key);
/* A value that is JSON already. */
void json_raw(struct json *json, const char *key, const char *text, size_t length);

#endif
