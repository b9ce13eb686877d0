/* SPDX-License-Identifier: MIT */
/* Leases as JSON, and the way into their list. */
#include "lib/document.h"
#include "lib/lease_list.h"

#include <stdlib.h>
#include <string.h>

const char *lease_verdict_name(uint32_t answer)
{
    return answer == VRAM_FITS ? "granted" : vram_answer_name(answer);
}

static void write_texts(struct json *json, const char *key, const char *const *texts, size_t count)
{
    json_array(json, key);
    for (size_t i = 0; i < count; i++) {
        json_text(json, NULL, texts[i]);
    }
    json_end_array(json);
}

static void write_lease(struct json *json, const char *key, const struct vram_lease *lease)
{
    json_object(json, key);
    document_fields(json, VRAM_OBJECT_LEASE, lease);
    write_texts(json, "gpus", lease->gpus, lease->gpu_count);
    json_array(json, "members");
    for (size_t i = 0; i < lease->member_count; i++) {
        json_number(json, NULL, lease->members[i]);
    }
    json_end_array(json);
    write_texts(json, "attached", lease->attached, lease->attached_count);
    json_end_object(json);
}

/* ---- Verdicts -------------------------------------------------------------------------------- */

struct vram_verdict *vram_verdict_free(struct vram_verdict *verdict)
{
    free(verdict);
    return NULL;
}

int vram_verdict_json(const struct vram_verdict *verdict, char **ret_text)
{
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    json_object(&json, NULL);
    json_number(&json, "schema", 1);
    json_text(&json, "verdict", lease_verdict_name(verdict->answer));
    json_text(&json, "message", verdict->message);
    if (verdict->lease) {
        write_lease(&json, "lease", verdict->lease);
    } else {
        json_null(&json, "lease");
    }
    if (verdict->fit) {
        document_fit(&json, "answer", verdict->fit);
    } else {
        json_null(&json, "answer");
    }
    json_text(&json, "made_room", verdict->made_room);
    json_end_object(&json);
    return document_finish(&buf, ret_text);
}

/* ---- Lists ----------------------------------------------------------------------------------- */

struct vram_lease_list *vram_lease_list_free(struct vram_lease_list *list)
{
    free(list);
    return NULL;
}

uint64_t vram_lease_list_epoch(const struct vram_lease_list *list)
{
    return list->epoch == VRAM_UNKNOWN ? 0 : list->epoch;
}

const struct vram_daemon *vram_lease_list_daemon(const struct vram_lease_list *list)
{
    return &list->daemon;
}

size_t vram_lease_list_count(const struct vram_lease_list *list)
{
    return list->lease_count;
}

const struct vram_lease *vram_lease_list_lease(const struct vram_lease_list *list, size_t position)
{
    return position < list->lease_count ? &list->leases[position] : NULL;
}

const struct vram_lease *vram_lease_list_find(const struct vram_lease_list *list, const char *id)
{
    const struct vram_lease *found = NULL;
    size_t length = strlen(id);
    for (size_t i = 0; i < list->lease_count; i++) {
        const struct vram_lease *lease = &list->leases[i];
        if (strcmp(lease->id, id) == 0) {
            return lease;
        }
        if (strncmp(lease->id, id, length) == 0) {
            if (found) {
                return NULL;
            }
            found = lease;
        }
    }
    return found;
}

size_t vram_lease_list_waiter_count(const struct vram_lease_list *list)
{
    return list->waiter_count;
}

const struct vram_waiter *vram_lease_list_waiter(const struct vram_lease_list *list,
                                                 size_t position)
{
    return position < list->waiter_count ? &list->waiters[position] : NULL;
}

size_t vram_lease_list_ceiling_count(const struct vram_lease_list *list)
{
    return list->ceiling_count;
}

const struct vram_ceiling *vram_lease_list_ceiling(const struct vram_lease_list *list,
                                                   size_t position)
{
    return position < list->ceiling_count ? &list->ceilings[position] : NULL;
}

static void write_objects(struct json *json, const char *key, uint32_t object, const void *first,
                          size_t size, size_t count)
{
    json_array(json, key);
    for (size_t i = 0; i < count; i++) {
        json_object(json, NULL);
        document_fields(json, object, (const char *)first + i * size);
        json_end_object(json);
    }
    json_end_array(json);
}

int vram_lease_list_json(const struct vram_lease_list *list, char **ret_text)
{
    struct buf buf = BUF_INIT;
    struct json json = JSON_INIT(&buf);
    json_object(&json, NULL);
    json_number(&json, "schema", 1);
    json_number(&json, "epoch", vram_lease_list_epoch(list));
    json_object(&json, "daemon");
    document_fields(&json, VRAM_OBJECT_DAEMON, &list->daemon);
    json_end_object(&json);
    json_array(&json, "leases");
    for (size_t i = 0; i < list->lease_count; i++) {
        write_lease(&json, NULL, &list->leases[i]);
    }
    json_end_array(&json);
    write_objects(&json, "waiters", VRAM_OBJECT_WAITER, list->waiters, sizeof(*list->waiters),
                  list->waiter_count);
    write_objects(&json, "ceilings", VRAM_OBJECT_CEILING, list->ceilings, sizeof(*list->ceilings),
                  list->ceiling_count);
    json_end_object(&json);
    return document_finish(&buf, ret_text);
}
