/* SPDX-License-Identifier: MIT */
/* Which GPUs a person or CUDA_VISIBLE_DEVICES means. */
#include "common/gpu_name.h"
#include "common/text.h"
#include "include/vram.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The positions found so far; counts on where there is no more room. */
struct found {
    size_t *positions;
    size_t capacity, count;
};

static void add(struct found *found, size_t position)
{
    if (found->count < found->capacity) {
        found->positions[found->count] = position;
    }
    found->count++;
}

/* "1": a card, or all instances of a divided one. "1:0": its MIG instance number 0. */
static int by_number(const struct vram_snapshot *snapshot, const char *text, struct found *found)
{
    size_t digits = strcspn(text, ":");
    unsigned long index = strtoul(text, NULL, 10);
    bool instance = text[digits] == ':';
    if (instance && !gpu_name_is_number(text + digits + 1, strlen(text + digits + 1))) {
        return -EINVAL;
    }
    unsigned long number = instance ? strtoul(text + digits + 1, NULL, 10) : 0;
    for (size_t i = 0; i < vram_snapshot_gpu_count(snapshot); i++) {
        const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, i);
        if (gpu->index == index && (!instance || gpu->mig_index == number)) {
            add(found, i);
        }
    }
    return found->count ? 0 : -ENOENT;
}

static int by_pci(const struct vram_snapshot *snapshot, const unsigned wanted[4],
                  struct found *found)
{
    for (size_t i = 0; i < vram_snapshot_gpu_count(snapshot); i++) {
        unsigned address[4];
        const char *pci = vram_snapshot_gpu(snapshot, i)->pci;
        if (pci && gpu_name_parse_pci(pci, address) &&
            memcmp(address, wanted, sizeof(address)) == 0) {
            add(found, i);
        }
    }
    return found->count ? 0 : -ENOENT;
}

static int by_uuid(const struct vram_snapshot *snapshot, const char *text, size_t length,
                   struct found *found)
{
    size_t position = 0, count = 0;
    for (size_t i = 0; i < vram_snapshot_gpu_count(snapshot); i++) {
        const char *uuid = vram_snapshot_gpu(snapshot, i)->uuid;
        if (gpu_name_begins_uuid(text, length, uuid)) {
            position = i;
            count++;
            if (strlen(uuid) ==
                length) { /* named whole: longer ones that begin alike do not matter */
                count = 1;
                break;
            }
        }
    }
    if (count != 1) {
        return count ? -ENOTUNIQ : -ENOENT;
    }
    add(found, position);
    return 0;
}

int vram_select(const struct vram_snapshot *snapshot, const char *selector, size_t *ret_positions,
                size_t capacity)
{
    struct found found = {ret_positions, capacity, 0};
    unsigned address[4];
    int r;
    size_t length = strlen(selector);
    size_t digits = strcspn(selector, ":");
    if (length == 0 || length > 95) {
        return -EINVAL;
    }
    if (gpu_name_parse_pci(selector, address)) {
        r = by_pci(snapshot, address, &found);
    } else if (gpu_name_is_number(selector, digits) &&
               (selector[digits] == '\0' || selector[digits] == ':')) {
        r = by_number(snapshot, selector, &found);
    } else if (gpu_name_is_uuid_like(selector)) {
        r = by_uuid(snapshot, selector, length, &found);
    } else {
        r = -EINVAL;
    }
    return r < 0 ? r : (int)found.count;
}

/* ---- CUDA_VISIBLE_DEVICES -------------------------------------------------------------------- */

/* CUDA numbers GPUs by speed, the driver by bus. The two agree where all are of one model, and where
 * CUDA was told to follow the bus. */
static bool orders_agree(const struct vram_snapshot *snapshot, const char *order)
{
    if (order && strlen(order) == 10 && text_begins(order, "PCI_BUS_ID", 10)) {
        return true;
    }
    const char *first = NULL;
    for (size_t i = 0; i < vram_snapshot_gpu_count(snapshot); i++) {
        const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, i);
        const char *name = gpu->name;
        if (gpu->memory_kind == VRAM_MEMORY_MIG) {
            continue;
        }
        if (!name || (first && strcmp(first, name) != 0)) {
            return vram_snapshot_gpu_count(snapshot) == 1;
        }
        first = name;
    }
    return true;
}

/* An entry of the list: its text and the one GPU that it names. */
struct entry {
    const char *text;
    size_t length;
    size_t position;
};

/* Takes the next entry of `list`, which moves on behind it. 1; 0: the list ends, or its next entry names no
 * GPU, where CUDA stops; -EXDEV. */
static int next_entry(const struct vram_snapshot *snapshot, const char **list, const char *order,
                      struct entry *ret)
{
    const char *text = *list + strspn(*list, " \t");
    size_t length = strcspn(text, ", \t");
    struct entry entry = {text, length, 0};
    struct found one = {&entry.position, 1, 0};
    if (gpu_name_is_number(text, length)) {
        if (!orders_agree(snapshot, order)) {
            return -EXDEV;
        }
        char number[16];
        (void)text_copy_n(number, sizeof(number), text, length);
        if (by_number(snapshot, number, &one) < 0) {
            return 0;
        }
    } else if (length < 5 || (strncmp(text, "GPU-", 4) != 0 && strncmp(text, "MIG-", 4) != 0) ||
               by_uuid(snapshot, text, length, &one) < 0) {
        return 0;
    }
    text += length;
    text += strspn(text, " \t");
    *list = *text == ',' ? text + 1 : "";
    *ret = entry;
    return 1;
}

/* Whether an entry before this one names the same GPU. */
static bool is_named_before(const struct vram_snapshot *snapshot, const char *list,
                            const char *order, const struct entry *entry)
{
    struct entry earlier;
    while (next_entry(snapshot, &list, order, &earlier) > 0 && earlier.text != entry->text) {
        if (earlier.position == entry->position) {
            return true;
        }
    }
    return false;
}

static int walk_visible(const struct vram_snapshot *snapshot, const char *visible,
                        const char *order, struct found *found)
{
    struct entry entry;
    const char *rest = visible;
    int r;
    while ((r = next_entry(snapshot, &rest, order, &entry)) > 0 &&
           !is_named_before(snapshot, visible, order, &entry)) {
        add(found, entry.position); /* CUDA takes a GPU that is named twice for a mistake */
    }
    return r < 0 ? r : (int)found->count;
}

int vram_select_visible(const struct vram_snapshot *snapshot, const char *visible,
                        const char *order, size_t *ret_positions, size_t capacity)
{
    struct found found = {ret_positions, capacity, 0}, none = {NULL, 0, 0};
    if (!visible) {
        for (size_t i = 0; i < vram_snapshot_gpu_count(snapshot); i++) {
            add(&found, i);
        }
        return (int)found.count;
    }
    int r = walk_visible(snapshot, visible, order, &none); /* the array stays as it is on failure */
    return r < 0 ? r : walk_visible(snapshot, visible, order, &found);
}
