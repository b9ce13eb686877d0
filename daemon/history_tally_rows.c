/* SPDX-License-Identifier: MIT */
/* A tally: its rows, by their names, and what becomes of them in the end. */
#include "daemon/history_tally_inner.h"

#include "common/hash.h"
#include <stdlib.h>
#include <string.h>

void *tally_grow(struct tally *tally, void **items, size_t *count, size_t *capacity, size_t size)
{
    if (*count == *capacity) {
        size_t wanted = *capacity ? *capacity * 2 : 64;
        void *grown = reallocarray(*items, wanted, size);
        if (!grown) {
            tally->failed = true;
            return NULL;
        }
        *items = grown;
        *capacity = wanted;
    }
    return (char *)*items + (*count)++ * size;
}

/* ---- Rows of the tally ---------------------------------------------------------------------- */

static size_t *find_slot(const struct tally *tally, enum tally_kind kind, const char *name)
{
    size_t at = (size_t)(hash_text(name) + kind) % tally->slot_count;
    for (;; at = (at + 1) % tally->slot_count) {
        size_t *slot = &tally->slots[at];
        const struct tally_row *row = *slot ? &tally->rows.items[*slot - 1] : NULL;
        if (!row || (row->kind == kind && strcmp(row->name, name) == 0)) {
            return slot;
        }
    }
}

/* Half of the slots stay free. */
static bool make_slots(struct tally *tally)
{
    if (tally->rows.count * 2 < tally->slot_count) {
        return true;
    }
    size_t count = tally->slot_count ? tally->slot_count * 2 : 64;
    size_t *slots = calloc(count, sizeof(*slots));
    if (!slots) {
        tally->failed = true;
        return false;
    }
    free(tally->slots);
    tally->slots = slots;
    tally->slot_count = count;
    for (size_t i = 0; i < tally->rows.count; i++) {
        const struct tally_row *row = &tally->rows.items[i];
        *find_slot(tally, row->kind, row->name) = i + 1;
    }
    return true;
}

size_t tally_row(struct tally *tally, enum tally_kind kind, const char *name)
{
    kind = kind == TALLY_NAMED && !name[0] ? TALLY_NAMELESS : kind;
    if (!make_slots(tally)) {
        return TALLY_NOWHERE;
    }
    size_t *slot = find_slot(tally, kind, name);
    if (!*slot) {
        struct tally_row *row;
        TALLY_GROW(tally, rows, row);
        if (!row) {
            return TALLY_NOWHERE;
        }
        *row = (struct tally_row){.kind = kind};
        history_text(row->name, sizeof(row->name), name);
        *slot = tally->rows.count;
    }
    return *slot - 1;
}

size_t tally_row_of_lease(struct tally *tally, const struct history_lease *lease, const char *uuid)
{
    const char *name = tally->by == TALLY_BY_USER    ? lease->user
                       : tally->by == TALLY_BY_LABEL ? lease->label
                                                     : uuid;
    return tally_row(tally, TALLY_NAMED, name);
}

size_t tally_row_of_process(struct tally *tally, const struct tally_process *process,
                            const char *uuid)
{
    return tally->by == TALLY_BY_LABEL  ? tally_row(tally, TALLY_UNLEASED, "")
           : tally->by == TALLY_BY_USER ? tally_row(tally, TALLY_NAMED, process->user)
                                        : tally_row(tally, TALLY_NAMED, uuid);
}

void tally_count(struct tally *tally, size_t row, uint64_t waited_ms)
{
    if (row == TALLY_NOWHERE) {
        return;
    }
    struct tally_sum *sum = &tally->rows.items[row].sum;
    sum->granted++;
    if (waited_ms >= TALLY_WAIT_MS) {
        struct tally_wait *wait;
        TALLY_GROW(tally, waits, wait);
        if (wait) {
            *wait = (struct tally_wait){row, waited_ms};
        }
        sum->waited++;
        sum->waited_ms += waited_ms;
        sum->longest_ms = waited_ms > sum->longest_ms ? waited_ms : sum->longest_ms;
    }
}

static int compare_waits(const void *a, const void *b)
{
    const struct tally_wait *left = a, *right = b;
    if (left->row != right->row) {
        return left->row < right->row ? -1 : 1;
    }
    return (left->ms > right->ms) - (left->ms < right->ms);
}

static void find_medians(struct tally *tally)
{
    struct tally_wait *waits = tally->waits.items;
    size_t count = tally->waits.count, next;
    if (count) {
        qsort(waits, count, sizeof(*waits), compare_waits);
    }
    for (size_t i = 0; i < count; i = next) {
        for (next = i + 1; next < count && waits[next].row == waits[i].row;) {
            next++;
        }
        uint64_t low = waits[i + (next - i - 1) / 2].ms, high = waits[i + (next - i) / 2].ms;
        tally->rows.items[waits[i].row].sum.median_ms = low + (high - low) / 2;
    }
}

static int compare_rows(const void *a, const void *b)
{
    const struct tally_row *left = a, *right = b;
    double of_left = left->sum.leased + left->sum.unleased;
    double of_right = right->sum.leased + right->sum.unleased;
    if (of_left != of_right) {
        return of_left > of_right ? -1 : 1;
    }
    return left->kind != right->kind ? (left->kind > right->kind) - (left->kind < right->kind)
                                     : strcmp(left->name, right->name);
}

const struct tally_row *tally_rows(struct tally *tally, size_t *ret_count)
{
    find_medians(tally);
    tally->waits.count = 0;
    qsort(tally->rows.items + 1, tally->rows.count - 1, sizeof(*tally->rows.items), compare_rows);
    *ret_count = tally->rows.count;
    return tally->rows.items;
}

struct tally *tally_new(enum tally_by by)
{
    struct tally *tally = calloc(1, sizeof(*tally));
    if (tally) {
        tally->by = by;
        if (tally_row(tally, TALLY_TOTAL, "") == TALLY_NOWHERE) {
            return tally_free(tally);
        }
    }
    return tally;
}

struct tally *tally_free(struct tally *tally)
{
    if (tally) {
        free(tally->rows.items);
        free(tally->slots);
        free(tally->waits.items);
        free(tally->turns.items);
        free(tally);
    }
    return NULL;
}
