/* SPDX-License-Identifier: MIT */
/* Owners that are members of others' leases: whose memory fills whose promise. */
#include "tests/unit/ledger_rig.h"
#include "tests/unit/unit.h"

#include <errno.h>

/* Owner 11 is a member of 10 and asks for itself. */
static const char *hold_nested(struct rig *rig, uint64_t used_before)
{
    rig_hold(rig, 10, 10 * GIB);
    rig->holders[11] = 10;
    if (used_before) {
        rig_use(rig, 0, 11, 11, used_before)->outer = 10;
        rig_look(rig);
        assert_int_equal(rig_outstanding(rig), 10 * GIB - used_before);
    }
    return rig_hold(rig, 11, 4 * GIB);
}

static void test_nests__a_nested_owner_begins_at_nothing(void **state)
{
    struct rig *rig = *state;
    hold_nested(rig, 3 * GIB);
    assert_int_equal(rig->recorded_base, 0);
    assert_int_equal(rig_outstanding(rig) + 3 * GIB,
                     14 * GIB); /* both have what they were promised */
    assert_int_equal(ledger_outstanding_of(rig->ledger, rig_uuid(0), 11), 11 * GIB);
    assert_int_equal(ledger_outstanding_of(rig->ledger, rig_uuid(0), 10), 10 * GIB);
}

static void test_nests__what_a_nested_owner_uses_beyond_its_own_counts_outside(void **state)
{
    struct rig *rig = *state;
    hold_nested(rig, 0);
    rig_use(rig, 0, 11, 11, 6 * GIB)->outer = 10;
    rig_use(rig, 0, 10, 10, GIB);
    rig_look(rig);
    assert_int_equal(rig_outstanding(rig), 7 * GIB);
    assert_int_equal(ledger_outstanding_of(rig->ledger, rig_uuid(0), 11), 7 * GIB);
}

static void test_nests__nests_within_nests_spill_outwards(void **state)
{
    struct rig *rig = *state;
    hold_nested(rig, 0);
    rig->holders[12] = 11;
    rig_hold(rig, 12, 2 * GIB);
    rig_use(rig, 0, 12, 12, 7 * GIB)->outer = 11; /* 2 of its own, 4 of 11's, 1 of 10's */
    rig_look(rig);
    assert_int_equal(rig_outstanding(rig), 9 * GIB);
}

static const char *hold_on(struct rig *rig, uint64_t owner, size_t gpu, uint64_t size_bytes)
{
    const char *const candidates[] = {rig_uuid(gpu)};
    struct ledger_request request = rig_request(rig, owner, size_bytes);
    request.candidates = candidates;
    request.candidate_count = 1;
    const char *id = rig_ask(rig, &request);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), LEDGER_GRANTED);
    return id;
}

/* Owner 12 is a member of 11, and that one of 10; the one in the middle holds on the other GPU only. */
static void hold_across(struct rig *rig, const char **ret_middle, const char **ret_inner)
{
    rig_gpus(rig, 2);
    (void)hold_on(rig, 10, 0, 10 * GIB);
    rig->holders[11] = 10;
    *ret_middle = hold_on(rig, 11, 1, GIB);
    rig_use(rig, 0, 12, 12, 7 * GIB)->outer = 11;
    rig_look(rig);
    assert_int_equal(rig_outstanding(rig), 3 * GIB); /* it counts for 10 already */
    rig->holders[12] = 11;
    *ret_inner = hold_on(rig, 12, 0, 4 * GIB);
    assert_int_equal(rig->recorded_base, 0);
    assert_int_equal(rig_outstanding(rig), 7 * GIB);
}

static void test_nests__a_nest_spills_past_who_holds_elsewhere(void **state)
{
    struct rig *rig = *state;
    const char *middle, *inner;
    hold_across(rig, &middle, &inner);
    assert_int_equal(ledger_outstanding_of(rig->ledger, rig_uuid(0), 12), 7 * GIB);
    assert_int_equal(ledger_outstanding_of(rig->ledger, rig_uuid(0), 11), 7 * GIB);
    rig_use(rig, 0, 12, 12, 12 * GIB);
    rig_look(rig);
    assert_int_equal(rig_outstanding(rig), 2 * GIB);
}

static void test_nests__who_goes_leaves_its_members_to_its_holder(void **state)
{
    struct rig *rig = *state;
    const char *middle, *inner;
    hold_across(rig, &middle, &inner);
    assert_int_equal(rig_lease(rig, inner).holder, 11);
    unsigned records = rig->records;
    assert_int_equal(ledger_end(rig->ledger, middle, rig->now_ns), 1);
    assert_int_equal(rig->records, records + 1); /* for a restart */
    assert_int_equal(rig_lease(rig, inner).holder, 10);
    rig_look(rig);
    assert_int_equal(rig_outstanding(rig), 7 * GIB);
}

static void test_nests__who_comes_later_may_be_around_others(void **state)
{
    struct rig *rig = *state;
    const char *inner = rig_hold(rig, 11, 4 * GIB);
    rig_use(rig, 0, 11, 11, 7 * GIB);
    rig_use(rig, 0, 10, 10, GIB);
    rig_look(rig);
    rig->holders[11] = 10;
    const char *outer = rig_hold(rig, 10, 5 * GIB);
    assert_int_equal(rig_lease(rig, inner).holder, 10);
    assert_int_equal(rig_lease(rig, outer).gpus[0].base_bytes, 4 * GIB); /* 3 of them beyond 11's */
    assert_int_equal(rig_outstanding(rig), 5 * GIB);
    rig_use(rig, 0, 11, 11, 8 * GIB);
    rig_look(rig);
    assert_int_equal(rig_outstanding(rig), 4 * GIB);
}

/* Before it is written down nobody is anybody's. */
static void test_nests__who_is_not_written_down_is_around_nobody(void **state)
{
    struct rig *rig = *state;
    const char *inner = rig_hold(rig, 11, 4 * GIB);
    rig_use(rig, 0, 11, 11, 7 * GIB);
    rig_look(rig);
    rig->holders[11] = 10;
    rig->record_error = -ENOSPC;
    const char *id = rig_wait(rig, 10, 5 * GIB);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), LEDGER_UNRECORDED);
    assert_int_equal(rig_lease(rig, inner).holder, 0);
    assert_int_equal(rig_outstanding(rig), 0);
    assert_int_equal(rig->ends.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_nests__a_nested_owner_begins_at_nothing),
        WITH_RIG(test_nests__what_a_nested_owner_uses_beyond_its_own_counts_outside),
        WITH_RIG(test_nests__nests_within_nests_spill_outwards),
        WITH_RIG(test_nests__a_nest_spills_past_who_holds_elsewhere),
        WITH_RIG(test_nests__who_goes_leaves_its_members_to_its_holder),
        WITH_RIG(test_nests__who_comes_later_may_be_around_others),
        WITH_RIG(test_nests__who_is_not_written_down_is_around_nobody),
    };
    return cmocka_run_group_tests_name("ledger_nests", tests, NULL, NULL);
}
