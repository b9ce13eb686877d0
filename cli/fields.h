/* SPDX-License-Identifier: MIT */
/*
 * Objects of the library as CSV and JSON, by the library's own table of fields.
 *
 * CSV is quoted as RFC 4180 says, with a newline at the end of a row. Text is made safe as on a
 * terminal (\x1b, \u202e), so that a row is always one line. Cells that begin with = + - or @,
 * which spreadsheets take for formulas, are quoted and otherwise left as they are.
 */
#ifndef VRAM_CLI_FIELDS_H
#define VRAM_CLI_FIELDS_H

#include "common/json.h"
#include "include/vram.h"

/* Adds the keys of an object, separated by commas, without a newline. */
void fields_csv_header(struct buf *out, uint32_t object);
/* Adds its values likewise; unknown ones are empty. */
void fields_csv(struct buf *out, uint32_t object, const void *data);
/* Adds one cell; NULL is an empty one. */
void fields_csv_text(struct buf *out, const char *text);

/* Adds the fields to an object that the caller has begun. */
void fields_json(struct json *json, uint32_t object, const void *data);

/* The value of the field `key`; none where there is no such field. */
struct vram_value fields_value(uint32_t object, const char *key, const void *data);

#endif
