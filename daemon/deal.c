/* SPDX-License-Identifier: MIT */
#include "daemon/deal.h"

#include "common/text.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct deals {
    size_t count, room;
    struct deal **list;
};

struct deals *deals_new(void)
{
    return calloc(1, sizeof(struct deals));
}

static void free_texts(char **texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(texts[i]);
    }
    free(texts);
}

static void free_deal(struct deal *deal)
{
    free_texts(deal->attached, deal->attached_count);
    free_texts(deal->candidates, deal->request.candidate_count);
    free(deal);
}

struct deals *deals_free(struct deals *deals)
{
    if (deals) {
        for (size_t i = 0; i < deals->count; i++) {
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
    if (deal) {
        (void)text_copy(deal->id, sizeof(deal->id), id);
        memcpy(deal->request.id, deal->id, sizeof(deal->id));
        deals->list[deals->count++] = deal;
    }
    return deal;
}

void deals_remove(struct deals *deals, struct deal *deal)
{
    for (size_t i = 0; i < deals->count; i++) {
        if (deals->list[i] == deal) {
            memmove(&deals->list[i], &deals->list[i + 1],
                    (deals->count - i - 1) * sizeof(struct deal *));
            deals->count--;
            free_deal(deal);
            return;
        }
    }
}

struct deal *deals_find(const struct deals *deals, const char *id)
{
    for (size_t i = 0; i < deals->count; i++) {
        if (strcmp(deals->list[i]->id, id) == 0) {
            return deals->list[i];
        }
    }
    return NULL;
}

size_t deals_count(const struct deals *deals)
{
    return deals->count;
}

struct deal *deals_at(const struct deals *deals, size_t i)
{
    return deals->list[i];
}

static int add_text(char ***texts, size_t *count, const char *text)
{
    char *copy = strdup(text);
    char **grown = reallocarray(*texts, *count + 1, sizeof(char *));
    if (grown) {
        *texts = grown;
    }
    if (!copy || !grown) {
        free(copy);
        return -ENOMEM;
    }
    grown[(*count)++] = copy;
    return 0;
}

int deal_attach(struct deal *deal, const char *text)
{
    for (size_t i = 0; i < deal->attached_count; i++) {
        if (strcmp(deal->attached[i], text) == 0) {
            return 0;
        }
    }
    return add_text(&deal->attached, &deal->attached_count, text);
}

int deal_add_candidate(struct deal *deal, const char *uuid)
{
    int r = add_text(&deal->candidates, &deal->request.candidate_count, uuid);
    deal->request.candidates = (const char *const *)deal->candidates;
    return r;
}

bool deal_is_id(const char *text)
{
    return strlen(text) == LEDGER_ID_MAX - 1 &&
           strspn(text, "0123456789abcdef") == LEDGER_ID_MAX - 1;
}
