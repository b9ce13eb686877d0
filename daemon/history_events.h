/* SPDX-License-Identifier: MIT */
/* Events as they are told: to who asks the API, and to the command that is run for each. */
#ifndef VRAM_DAEMON_HISTORY_EVENTS_H
#define VRAM_DAEMON_HISTORY_EVENTS_H

#include "common/json.h"
#include "daemon/history_rows.h"

/* The members of an event, into an object that is open. `gpu` NULL: it is none's. */
void history_event_write(struct json *json, const struct history_event *event,
                         const struct history_gpu *gpu);

/* A list of kinds with commas, as bits; blanks around them do not count, and none is 0. 0; -EINVAL. */
MUST_CHECK int history_kinds_parse(const char *text, uint32_t *ret_kinds);

/* Unknown amounts, moments that have not come and texts that are empty are null. */
void history_write_bytes(struct json *json, const char *key, uint64_t bytes);
void history_write_moment(struct json *json, const char *key, int64_t ms);
void history_write_text(struct json *json, const char *key, const char *text);

#endif
