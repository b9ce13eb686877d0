/* SPDX-License-Identifier: MIT */
/*
 * What a daemon sends, made into structures: the document is untrusted, the structures hold.
 *
 * A document is read twice by the same code, once to learn how much room it takes, once into the room; while
 * measuring, what is placed is NULL and nothing is written. A key that is not there is as one that is null:
 * unknown. A value of another type than it has to be makes the whole document bad, which is asked for once.
 */
#ifndef VRAM_LIB_WIRE_H
#define VRAM_LIB_WIRE_H

#include "common/attr.h"
#include "include/vram.h"

#include <jansson.h>

struct wire {
    char *base; /* NULL while measuring */
    size_t used;
    bool bad;
};

/* Room for `size` bytes; NULL while measuring. */
void *wire_place(struct wire *wire, size_t size, size_t alignment);
#define WIRE_ARRAY(wire, type, count)                                                              \
    ((type *)wire_place((wire), (count) * sizeof(type), _Alignof(type)))

/* Values of an object's keys. Texts are copied into the room. */
uint64_t wire_number(struct wire *wire, const json_t *object, const char *key);
bool wire_truth(struct wire *wire, const json_t *object, const char *key);
const char *wire_text(struct wire *wire, const json_t *object, const char *key);
/* One of `count` words, as its number; `count` where it is none of them: a newer daemon has more words. */
uint32_t wire_word(struct wire *wire, const json_t *object, const char *key,
                   const char *(*name)(uint32_t), uint32_t count);
/* NULL: none, which has the size 0 for jansson too. */
const json_t *wire_list(struct wire *wire, const json_t *object, const char *key);
const json_t *wire_object(struct wire *wire, const json_t *object, const char *key);
/* A list of texts, a list of numbers: in the room, with their count. */
const char *const *wire_texts(struct wire *wire, const json_t *object, const char *key,
                              size_t *ret_count);
const uint64_t *wire_numbers(struct wire *wire, const json_t *object, const char *key,
                             size_t *ret_count);
/* A text that is a moment, in nanoseconds since 1970. */
uint64_t wire_moment(struct wire *wire, const json_t *object, const char *key);

/* Reads `document` by `read`, twice. 0 with the room for free(3); -EPROTO: it is bad; -ENOMEM. */
MUST_CHECK int wire_read(const json_t *document, void (*read)(struct wire *, const json_t *),
                         void **ret_room);

#endif
