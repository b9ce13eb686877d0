/* SPDX-License-Identifier: MIT */
#include "cli/fields.h"

#include "cli/text.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void fields_csv_header(struct buf *out, uint32_t object)
{
    size_t count;
    const struct vram_field *fields = vram_fields(object, &count);
    for (size_t i = 0; i < count; i++) {
        buf_format(out, "%s%s", i ? "," : "", fields[i].key);
    }
}

void fields_csv_text(struct buf *out, const char *text)
{
    if (!text) {
        return;
    }
    struct buf safe CLEANUP(buf_done) = BUF_INIT;
    text_safe(&safe, text, true);
    if (safe.failed) {
        out->failed = true;
    } else if (*text && !strpbrk(safe.data, ",\"") && !strchr("=+-@", *text)) {
        buf_text(out, safe.data);
    } else {
        buf_char(out, '"');
        for (const char *c = *text ? safe.data : ""; *c; c++) {
            buf_text(out, *c == '"' ? "\"" : "");
            buf_char(out, *c);
        }
        buf_char(out, '"');
    }
}

static void add_value(struct buf *out, struct vram_value value)
{
    switch (value.type) {
    case VRAM_VALUE_NUMBER:
        buf_format(out, "%" PRIu64, value.number);
        break;
    case VRAM_VALUE_SIGNED:
        buf_format(out, "%" PRId64, value.signed_number);
        break;
    case VRAM_VALUE_TEXT:
        fields_csv_text(out, value.text);
        break;
    case VRAM_VALUE_BOOL:
        buf_text(out, value.truth ? "true" : "false");
        break;
    default:
        break;
    }
}

void fields_csv(struct buf *out, uint32_t object, const void *data)
{
    size_t count;
    (void)vram_fields(object, &count);
    for (size_t i = 0; i < count; i++) {
        buf_text(out, i ? "," : "");
        add_value(out, vram_field_value(object, i, data));
    }
}

void fields_json(struct json *json, uint32_t object, const void *data)
{
    size_t count;
    const struct vram_field *fields = vram_fields(object, &count);
    for (size_t i = 0; i < count; i++) {
        struct vram_value value = vram_field_value(object, i, data);
        switch (value.type) {
        case VRAM_VALUE_NUMBER:
            json_number(json, fields[i].key, value.number);
            break;
        case VRAM_VALUE_SIGNED:
            json_signed(json, fields[i].key, value.signed_number);
            break;
        case VRAM_VALUE_TEXT:
            json_text(json, fields[i].key, value.text);
            break;
        case VRAM_VALUE_BOOL:
            json_bool(json, fields[i].key, value.truth);
            break;
        default:
            json_null(json, fields[i].key);
            break;
        }
    }
}

struct vram_value fields_value(uint32_t object, const char *key, const void *data)
{
    size_t count;
    const struct vram_field *fields = vram_fields(object, &count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(fields[i].key, key) == 0) {
            return vram_field_value(object, i, data);
        }
    }
    return (struct vram_value){.type = VRAM_VALUE_NONE};
}
