/* SPDX-License-Identifier: MIT */
/* What the JSON documents of schema 1 have in common. */
#ifndef VRAM_LIB_DOCUMENT_H
#define VRAM_LIB_DOCUMENT_H

#include "common/json.h"
#include "include/vram.h"

/* Adds all fields of `data`, a structure of the kind `object` names, to an object that has begun. */
void document_fields(struct json *json, uint32_t object, const void *data);

/* Adds an answer's object, as in `vram fit --json`. */
void document_fit(struct json *json, const char *key, const struct vram_fit *fit);

/* Hands the text out for free(3) and empties the buffer. 0 or -ENOMEM. */
MUST_CHECK int document_finish(struct buf *buf, char **ret_text);

#endif
