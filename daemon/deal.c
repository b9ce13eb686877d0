/* SPDX-License-Identifier: MIT */
#include "daemon/deal.h"

#include "common/text.h"
#include <errno.h>
#include <search.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct deals {
    size_t count, room;
    struct deal **list; /* in the order in which they came */
    void *by_id;        /* tsearch(3)'s tree of their ids, with which they begin */
};

_Static_assert(offsetof(struct deal, id) == 0, "an id's address is its deal's");

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

struct deals *deals_new(void)
{
    return calloc(1, sizeof(struct deals));
}

static void free_deal(struct deal *deal)
{
    for (size_t i = 0; i < deal->attached_count; i++) {
        free(deal->attached[i].text);
    }
    free(deal->attached);
    for (size_t i = 0; i < deal->request.candidate_count; i++) {
        free(deal->candidates[i]);
    }
    free(deal->candidates);
    free(deal);
}

struct deals *deals_free(struct deals *deals)
{
    if (deals) {
        for (size_t i = 0; i < deals->count; i++) {
            (void)tdelete(deals->list[i]->id, &deals->by_id, compare);
            free_deal(deals->list[i]);
        }
        free(deals->list);
        free(deals);
    }
    return NULL;
}

struct deal *deals_add(struct deals *deals, const char *id)
{
    if (deals->count == deals->room) {
        size_t room = deals->room ? deals->room * 2 : 16;
        struct deal **list = reallocarray(deals->list, room, sizeof(struct deal *));
        if (!list) {
            return NULL;
        }
        deals->list = list;
        deals->room = room;
    }
    struct deal *deal = calloc(1, sizeof(*deal));
    if (!deal) {
        return NULL;
    }
    (void)text_copy(deal->id, sizeof(deal->id), id);
    memcpy(deal->request.id, deal->id, sizeof(deal->id));
    const char *const *place = tsearch(deal->id, &deals->by_id, compare);
    if (!place || *place != deal->id) {
        free_deal(deal);
        return NULL;
    }
    deals->list[deals->count++] = deal;
    return deal;
}

void deals_remove(struct deals *deals, struct deal *deal)
{
    for (size_t i = 0; i < deals->count; i++) {
        if (deals->list[i] == deal) {
            memmove(&deals->list[i], &deals->list[i + 1],
                    (deals->count - i - 1) * sizeof(struct deal *));
            deals->count--;
            (void)tdelete(deal->id, &deals->by_id, compare);
            free_deal(deal);
            return;
        }
    }
}

struct deal *deals_find(const struct deals *deals, const char *id)
{
    struct deal *const *place = tfind(id, &deals->by_id, compare);
    return place ? *place : NULL;
}

size_t deals_count(const struct deals *deals)
{
    return deals->count;
}

struct deal *deals_at(const struct deals *deals, size_t i)
{
    return deals->list[i];
}

int deal_attach(struct deal *deal, const char *text, uint64_t start_time)
{
    for (size_t i = 0; i < deal->attached_count; i++) {
        if (strcmp(deal->attached[i].text, text) == 0 &&
            deal->attached[i].start_time == start_time) {
            return 0;
        }
    }
    char *copy = strdup(text);
    struct deal_member *grown =
        reallocarray(deal->attached, deal->attached_count + 1, sizeof(*grown));
    if (grown) {
        deal->attached = grown;
    }
    if (!copy || !grown) {
        free(copy);
        return -ENOMEM;
    }
    grown[deal->attached_count++] = (struct deal_member){copy, start_time};
    return 0;
}

int deal_add_candidate(struct deal *deal, const char *uuid)
{
    size_t *count = &deal->request.candidate_count;
    char *copy = strdup(uuid);
    char **grown = reallocarray(deal->candidates, *count + 1, sizeof(char *));
    if (grown) {
        deal->candidates = grown;
    }
    if (!copy || !grown) {
        free(copy);
        return -ENOMEM;
    }
    grown[(*count)++] = copy;
    deal->request.candidates = (const char *const *)deal->candidates;
    return 0;
}

static bool is_listed(const char *uuid, const char *const *uuids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(uuids[i], uuid) == 0) {
            return true;
        }
    }
    return false;
}

void deal_restrict(struct deal *deal, const char *const *uuids, size_t count)
{
    size_t *have = &deal->request.candidate_count, kept = 0;
    if (!deal->request.candidates) { /* all: these, then */
        for (size_t i = 0; i < count; i++) {
            if (deal_add_candidate(deal, uuids[i]) < 0) {
                return;
            }
        }
        return;
    }
    for (size_t i = 0; i < *have; i++) {
        kept += is_listed(deal->candidates[i], uuids, count);
    }
    for (size_t i = 0, to = 0; kept > 0 && i < *have; i++) {
        if (is_listed(deal->candidates[i], uuids, count)) {
            deal->candidates[to++] = deal->candidates[i];
        } else {
            free(deal->candidates[i]);
        }
    }
    *have = kept > 0 ? kept : *have;
}

bool deal_is_id(const char *text)
{
    return strlen(text) == LEDGER_ID_MAX - 1 &&
           strspn(text, "0123456789abcdef") == LEDGER_ID_MAX - 1;
}
