/* SPDX-License-Identifier: MIT */
#include "common/json.h"

#include "common/utf8.h"
#include <inttypes.h>

/* What stands before every value: the comma and the key. */
static void lead(struct json *json, const char *key)
{
    if (json->comma) {
        buf_char(json->buf, ',');
    }
    if (key) {
        buf_char(json->buf, '"');
        buf_text(json->buf, key);
        buf_text(json->buf, "\":");
    }
    json->comma = true;
}

void json_object(struct json *json, const char *key)
{
    lead(json, key);
    buf_char(json->buf, '{');
    json->comma = false;
}

void json_end_object(struct json *json)
{
    buf_char(json->buf, '}');
    json->comma = true;
}

void json_array(struct json *json, const char *key)
{
    lead(json, key);
    buf_char(json->buf, '[');
    json->comma = false;
}

void json_end_array(struct json *json)
{
    buf_char(json->buf, ']');
    json->comma = true;
}

void json_text(struct json *json, const char *key, const char *text)
{
    if (!text) {
        json_null(json, key);
        return;
    }
    lead(json, key);
    buf_char(json->buf, '"');
    while (*text) {
        uint32_t c;
        size_t length = utf8_next(text, &c);
        if (c == UTF8_INVALID) {
            buf_text(json->buf, "\xEF\xBF\xBD");
        } else if (c == '"' || c == '\\') {
            buf_char(json->buf, '\\');
            buf_char(json->buf, (char)c);
        } else if (c < 0x20 || (c >= 0x7F && c < 0xA0)) {
            /* Beyond what JSON asks for: DEL and the C1 controls steer terminals too. */
            buf_format(json->buf, "\\u%04x", (unsigned)c);
        } else {
            buf_add(json->buf, text, length);
        }
        text += length;
    }
    buf_char(json->buf, '"');
}

void json_number(struct json *json, const char *key, uint64_t number)
{
    lead(json, key);
    buf_format(json->buf, "%" PRIu64, number);
}

void json_signed(struct json *json, const char *key, int64_t number)
{
    lead(json, key);
    buf_format(json->buf, "%" PRId64, number);
}

void json_bool(struct json *json, const char *key, bool value)
{
    lead(json, key);
    buf_text(json->buf, value ? "true" : "false");
}

void json_null(struct json *json, const char *key)
{
    lead(json, key);
    buf_text(json->buf, "null");
}

void json_raw(struct json *json, const char *key, const char *text, size_t length)
{
    lead(json, key);
    buf_add(json->buf, text, length);
}
