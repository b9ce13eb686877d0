/* SPDX-License-Identifier: MIT */
#include "lib/wire.h"

#include "common/utc.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void *wire_place(struct wire *wire, size_t size, size_t alignment)
{
    wire->used = (wire->used + alignment - 1) / alignment * alignment;
    void *at = wire->base ? wire->base + wire->used : NULL;
    wire->used += size;
    return at;
}

/* NULL where there is none; `is_right` says whether it may be what it is. */
static const json_t *value_of(struct wire *wire, const json_t *object, const char *key,
                              bool (*is_right)(const json_t *))
{
    const json_t *value = json_object_get(object, key);
    if (!value || json_is_null(value)) {
        return NULL;
    }
    if (!is_right(value)) {
        wire->bad = true;
        return NULL;
    }
    return value;
}

static bool is_amount(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) >= 0;
}

static bool is_truth(const json_t *value)
{
    return json_is_boolean(value);
}

static bool is_text(const json_t *value)
{
    return json_is_string(value);
}

static bool is_list(const json_t *value)
{
    return json_is_array(value);
}

static bool is_object(const json_t *value)
{
    return json_is_object(value);
}

uint64_t wire_number(struct wire *wire, const json_t *object, const char *key)
{
    const json_t *value = value_of(wire, object, key, is_amount);
    return value ? (uint64_t)json_integer_value(value) : VRAM_UNKNOWN;
}

bool wire_truth(struct wire *wire, const json_t *object, const char *key)
{
    const json_t *value = value_of(wire, object, key, is_truth);
    return json_is_true(value);
}

static const char *place_text(struct wire *wire, const char *text)
{
    size_t size = strlen(text) + 1;
    char *at = wire_place(wire, size, 1);
    return at ? memcpy(at, text, size) : NULL;
}

const char *wire_text(struct wire *wire, const json_t *object, const char *key)
{
    const json_t *value = value_of(wire, object, key, is_text);
    return value ? place_text(wire, json_string_value(value)) : NULL;
}

uint32_t wire_word(struct wire *wire, const json_t *object, const char *key,
                   const char *(*name)(uint32_t), uint32_t count)
{
    const json_t *value = value_of(wire, object, key, is_text);
    uint32_t number = value ? 0 : count;
    while (number < count && strcmp(name(number), json_string_value(value)) != 0) {
        number++;
    }
    return number;
}

const json_t *wire_list(struct wire *wire, const json_t *object, const char *key)
{
    return value_of(wire, object, key, is_list);
}

const json_t *wire_object(struct wire *wire, const json_t *object, const char *key)
{
    return value_of(wire, object, key, is_object);
}

const char *const *wire_texts(struct wire *wire, const json_t *object, const char *key,
                              size_t *ret_count)
{
    const json_t *list = wire_list(wire, object, key);
    size_t count = json_array_size(list);
    const char **texts = WIRE_ARRAY(wire, const char *, count);
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(list, i));
        wire->bad = wire->bad || !text;
        text = place_text(wire, text ? text : "");
        if (texts) {
            texts[i] = text;
        }
    }
    *ret_count = count;
    return texts;
}

const uint64_t *wire_numbers(struct wire *wire, const json_t *object, const char *key,
                             size_t *ret_count)
{
    const json_t *list = wire_list(wire, object, key);
    size_t count = json_array_size(list);
    uint64_t *numbers = WIRE_ARRAY(wire, uint64_t, count);
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_array_get(list, i);
        wire->bad = wire->bad || !is_amount(value);
        if (numbers) {
            numbers[i] = (uint64_t)json_integer_value(value);
        }
    }
    *ret_count = count;
    return numbers;
}

uint64_t wire_moment(struct wire *wire, const json_t *object, const char *key)
{
    const json_t *value = value_of(wire, object, key, is_text);
    uint64_t ns = VRAM_UNKNOWN;
    if (value && utc_parse(json_string_value(value), &ns) < 0) {
        wire->bad = true;
    }
    return ns;
}

int wire_read(const json_t *document, void (*read)(struct wire *, const json_t *), void **ret_room)
{
    struct wire wire = {0};
    read(&wire, document);
    if (wire.bad) {
        return -EPROTO;
    }
    wire.base = calloc(1, wire.used);
    if (!wire.base) {
        return -ENOMEM;
    }
    wire.used = 0;
    read(&wire, document);
    *ret_room = wire.base;
    return 0;
}
