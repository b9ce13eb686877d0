/* SPDX-License-Identifier: MIT */
/* What is known of requests, found by its id. */
#include "daemon/deal.h"
#include "tests/unit/unit.h"

#include <inttypes.h>
#include <stdio.h>

#define MANY 1000

static const char *id_of(size_t i)
{
    static char id[LEDGER_ID_MAX];
    (void)snprintf(id, sizeof(id), "%016" PRIx64, (uint64_t)i * 0x9E3779B97F4A7C15u);
    return id;
}

static void test_deal__found_by_its_whole_id(void **state)
{
    struct deals *deals = deals_new();
    (void)state;
    assert_non_null(deals);
    assert_null(deals_find(deals, "0123456789abcdef"));
    struct deal *deal = deals_add(deals, "0123456789abcdef");
    assert_ptr_equal(deals_find(deals, "0123456789abcdef"), deal);
    assert_null(deals_find(deals, "0123456789abcde"));
    assert_null(deals_find(deals, "0123456789abcdef0"));
    assert_null(deals_find(deals, ""));
    assert_null(deals_add(deals, "0123456789abcdef")); /* there is one */
    assert_int_equal(deals_count(deals), 1);
    assert_ptr_equal(deals_find(deals, "0123456789abcdef"), deal);
    assert_null(deals_free(deals));
}

static void test_deal__many_come_and_go(void **state)
{
    struct deals *deals = deals_new();
    (void)state;
    assert_non_null(deals);
    for (size_t i = 0; i < MANY; i++) {
        assert_non_null(deals_add(deals, id_of(i)));
    }
    for (size_t i = 0; i < MANY; i += 2) {
        deals_remove(deals, deals_find(deals, id_of(i)));
    }
    assert_int_equal(deals_count(deals), MANY / 2);
    for (size_t i = 0; i < MANY; i++) {
        const struct deal *deal = deals_find(deals, id_of(i));
        assert_int_equal(deal != NULL, i % 2);
        if (deal) {
            assert_string_equal(deal->id, id_of(i));
            assert_ptr_equal(deals_at(deals, i / 2), deal); /* as they came */
        }
    }
    assert_null(deals_free(deals));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deal__found_by_its_whole_id),
        cmocka_unit_test(test_deal__many_come_and_go),
    };
    return cmocka_run_group_tests_name("deal", tests, NULL, NULL);
}
