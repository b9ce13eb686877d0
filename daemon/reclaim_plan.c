/* SPDX-License-Identifier: MIT */
#include "daemon/reclaim_plan.h"

#include <stdbool.h>

/* What a set costs, in the order in which it counts. */
struct price {
    uint64_t cost, count, bytes;
};

static bool is_less(const struct price *a, const struct price *b)
{
    if (a->cost != b->cost) {
        return a->cost < b->cost;
    }
    return a->count != b->count ? a->count < b->count : a->bytes < b->bytes;
}

static bool is_enough(const struct reclaim_lack *lacks, size_t lack_count, uint32_t wanted,
                      const struct reclaim_choice *choices, size_t choice_count, uint32_t set,
                      struct price *ret_price)
{
    uint32_t found = 0;
    *ret_price = (struct price){0};
    for (size_t i = 0; i < choice_count; i++) {
        bool is_in = set & UINT32_C(1) << i;
        ret_price->cost += is_in ? choices[i].cost : 0;
        ret_price->count += is_in;
    }
    for (size_t i = 0; i < lack_count; i++) {
        uint64_t back = 0;
        for (size_t j = 0; j < choice_count; j++) {
            back += set & UINT32_C(1) << j ? choices[j].held_bytes[lacks[i].gpu] : 0;
        }
        ret_price->bytes += back;
        found += back >= lacks[i].missing_bytes;
    }
    return found >= wanted;
}

uint32_t reclaim_plan(const struct reclaim_lack *lacks, size_t lack_count, uint32_t wanted,
                      const struct reclaim_choice *choices, size_t choice_count)
{
    struct price price, best_price = {0};
    uint32_t best = 0, sets = UINT32_C(1) << choice_count;
    if (is_enough(lacks, lack_count, wanted, choices, choice_count, 0, &price)) {
        return 0;
    }
    if (!is_enough(lacks, lack_count, wanted, choices, choice_count, sets - 1, &price)) {
        return 0;
    }
    for (uint32_t set = 1; set < sets; set++) {
        if (is_enough(lacks, lack_count, wanted, choices, choice_count, set, &price) &&
            (!best || is_less(&price, &best_price))) {
            best = set;
            best_price = price;
        }
    }
    return best;
}
