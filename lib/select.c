/* SPDX-License-Identifier: MIT */
/* Which GPUs a person or CUDA_VISIBLE_DEVICES means. */
#include "include/vram.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

static bool is_number(const char *text, size_t length)
{
    return length > 0 && length <= 9 && strspn(text, "0123456789") >= length;
}

/* "1": a card, or all instances of a divided one. "1:0": its MIG instance number 0. */
static int by_number(const struct vram_snapshot *snapshot, const char *text, struct found *found)
{
    size_t digits = strcspn(text, ":");
    unsigned long index = strtoul(text, NULL, 10);
    bool instance = text[digits] == ':';
    if (instance && !is_number(text + digits + 1, strlen(text + digits + 1))) {
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

/* "0000:01:00.0", and as people shorten it: "01:00.0", "00000000:01:00.0". */
static bool parse_pci(const char *text, unsigned address[4])
{
    char end;
    unsigned domain = 0, bus, device, function;
    if (sscanf(text, "%x:%x:%x.%u%c", &domain, &bus, &device, &function, &end) != 4) {
        domain = 0;
        if (sscanf(text, "%x:%x.%u%c", &bus, &device, &function, &end) != 3) {
            return false;
        }
    }
    address[0] = domain;
    address[1] = bus;
    address[2] = device;
    address[3] = function;
    return true;
}

static int by_pci(const struct vram_snapshot *snapshot, const unsigned wanted[4], struct found *found)
{
    for (size_t i = 0; i < vram_snapshot_gpu_count(snapshot); i++) {
        unsigned address[4];
        const char *pci = vram_snapshot_gpu(snapshot, i)->pci;
        if (pci && parse_pci(pci, address) && memcmp(address, wanted, sizeof(address)) == 0) {
            add(found, i);
        }
    }
    return found->count ? 0 : -ENOENT;
}

/* Whether `uuid` begins with the text; "GPU-" and "MIG-" may be left out. */
static bool has_prefix(const char *uuid, const char *text, size_t length)
{
    if (!uuid) {
        return false;
    }
    bool bare = strncasecmp(uuid, "GPU-", 4) == 0 || strncasecmp(uuid, "MIG-", 4) == 0;
    return strncasecmp(uuid, text, length) == 0 || (bare && strncasecmp(uuid + 4, text, length) == 0);
}

static int by_uuid(const struct vram_snapshot *snapshot, const char *text, size_t length,
                   struct found *found)
{
    for (size_t i = 0; i < vram_snapshot_gpu_count(snapshot); i++) {
        const char *uuid = vram_snapshot_gpu(snapshot, i)->uuid;
        if (has_prefix(uuid, text, length)) {
            if (strlen(uuid) == length) { /* named whole: longer ones that begin alike do not matter */
                found->count = 0;
                add(found, i);
                return 0;
            }
            add(found, i);
        }
    }
    return found->count == 1 ? 0 : found->count ? -ENOTUNIQ : -ENOENT;
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
    if (parse_pci(selector, address)) {
        r = by_pci(snapshot, address, &found);
    } else if (is_number(selector, digits) && (selector[digits] == '\0' || selector[digits] == ':')) {
        r = by_number(snapshot, selector, &found);
    } else if (strspn(selector, "0123456789abcdefABCDEFgpumiGPUMI-/") == length) {
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
    if (order && strcasecmp(order, "PCI_BUS_ID") == 0) {
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

/* One entry of the list. 1: added; 0: it names no GPU, where CUDA stops; -EXDEV. */
static int add_visible(const struct vram_snapshot *snapshot, const char *entry, size_t length,
                       const char *order, struct found *found)
{
    size_t position;
    struct found one = {&position, 1, 0};
    if (is_number(entry, length)) {
        if (!orders_agree(snapshot, order)) {
            return -EXDEV;
        }
        char number[16];
        (void)snprintf(number, sizeof(number), "%.*s", (int)length, entry);
        if (by_number(snapshot, number, &one) < 0) {
            return 0;
        }
    } else if (length < 5 || (strncmp(entry, "GPU-", 4) != 0 && strncmp(entry, "MIG-", 4) != 0) ||
               by_uuid(snapshot, entry, length, &one) < 0) {
        return 0;
    }
    for (size_t i = 0; i < found->count && i < found->capacity; i++) {
        if (found->positions[i] == position) {
            return 0; /* CUDA takes a GPU that is named twice for a mistake */
        }
    }
    add(found, position);
    return 1;
}

int vram_select_visible(const struct vram_snapshot *snapshot, const char *visible, const char *order,
                        size_t *ret_positions, size_t capacity)
{
    struct found found = {ret_positions, capacity, 0};
    if (!visible) {
        for (size_t i = 0; i < vram_snapshot_gpu_count(snapshot); i++) {
            add(&found, i);
        }
        return (int)found.count;
    }
    while (*visible) {
        visible += strspn(visible, " \t");
        size_t length = strcspn(visible, ", \t");
        int r = length ? add_visible(snapshot, visible, length, order, &found) : 0;
        if (r < 0) {
            return r;
        }
        visible += length;
        visible += strspn(visible, " \t");
        if (r == 0 || *visible != ',') {
            break;
        }
        visible++;
    }
    return (int)found.count;
}
