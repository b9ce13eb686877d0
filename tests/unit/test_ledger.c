/* SPDX-License-Identifier: MIT */
/* The ledger's arithmetic: what is outstanding, and whose memory fills whose promise. */
#include "tests/unit/ledger_rig.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>

/* ---- Outstanding ----------------------------------------------------------------------------- */

static void test_ledger__outstanding_is_what_is_still_to_be_allocated(void **state)
{
    struct rig *rig = *state;
    static const uint64_t used_gib[] = {1, 4, 13, 14, 15};
    static const uint64_t left_gib[] = {13, 10, 1, 0, 0};
    const char *id = rig_hold(rig, 10, 14 * GIB);
    assert_int_equal(rig_outstanding(rig), 14 * GIB);
    for (size_t i = 0; i < ARRAY_LENGTH(used_gib); i++) {
        rig_use(rig, 0, 10, 10, used_gib[i] * GIB);
        rig_look(rig);
        struct ledger_lease lease = rig_lease(rig, id);
        assert_int_equal(rig_outstanding(rig), left_gib[i] * GIB);
        assert_int_equal(lease.gpus[0].outstanding_bytes, left_gib[i] * GIB);
        assert_int_equal(lease.gpus[0].held_bytes, (14 - left_gib[i]) * GIB);
    }
}

static void test_ledger__what_descendants_use_fills_it(void **state)
{
    struct rig *rig = *state;
    rig_hold(rig, 10, 14 * GIB);
    rig_use(rig, 0, 10, 10, GIB);
    rig_use(rig, 0, 11, 10, 5 * GIB);
    rig_use(rig, 0, 12, 10, 2 * GIB);
    rig_look(rig);
    assert_int_equal(rig_outstanding(rig), 6 * GIB);
}

static void test_ledger__freed_memory_is_promised_again(void **state)
{
    struct rig *rig = *state;
    rig_hold(rig, 10, 14 * GIB);
    rig_use(rig, 0, 10, 10, 14 * GIB);
    rig_look(rig);
    rig_use(rig, 0, 10, 10, 3 * GIB);
    rig_look(rig);
    assert_int_equal(rig_outstanding(rig), 11 * GIB);
}

/* ---- The three cases in which others promise too much ---------------------------------------- */

static void test_ledger__eight_at_once_get_what_one_can_have(void **state)
{
    struct rig *rig = *state;
    const char *ids[8];
    unsigned granted = 0;
    rig->gpus[0].total_bytes = 20889 * MIB;
    rig->gpus[0].margin_bytes = 0;
    for (unsigned i = 0; i < ARRAY_LENGTH(ids); i++) {
        ids[i] = rig_wait(rig, 10 + i, 12000 * MIB);
    }
    rig_look(rig);
    for (unsigned i = 0; i < ARRAY_LENGTH(ids); i++) {
        granted += rig_verdict(rig, ids[i]) == LEDGER_GRANTED;
    }
    assert_int_equal(granted, 1);
    assert_int_equal(rig_verdict(rig, ids[0]), LEDGER_GRANTED);
}

static void test_ledger__memory_without_a_lease_counts(void **state)
{
    struct rig *rig = *state;
    rig->gpus[0].margin_bytes = 0;
    rig_use(rig, 0, 5, 0, 8 * GIB);
    rig_look(rig);
    rig_pass(rig, SECOND);
    const char *first = rig_hold(rig, 10, 10240 * MIB);
    const char *second = rig_wait(rig, 11, 12288 * MIB);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, second), NOTHING_SAID);
    assert_int_equal(rig_waiter(rig, second).missing_bytes, 6144 * MIB);
    assert_int_equal(rig_lease(rig, first).size_bytes, 10240 * MIB);
}

static void test_ledger__leases_that_nobody_has_used_yet_count(void **state)
{
    struct rig *rig = *state;
    rig->gpus[0].margin_bytes = 0;
    rig_hold(rig, 10, 16000 * MIB);
    for (unsigned i = 11; i < 14; i++) {
        const char *id = rig_wait(rig, i, 16000 * MIB);
        rig_look(rig);
        assert_int_equal(rig_verdict(rig, id), NOTHING_SAID);
    }
    assert_int_equal(rig_outstanding(rig), 16000 * MIB);
}

/* ---- Base ------------------------------------------------------------------------------------ */

static void test_ledger__what_was_used_before_is_no_part_of_it(void **state)
{
    struct rig *rig = *state;
    rig_use(rig, 0, 10, 10, 2 * GIB);
    rig_use(rig, 0, 11, 10, GIB);
    rig_hold(rig, 10, 6 * GIB);
    assert_int_equal(rig->recorded_base, 3 * GIB);
    assert_int_equal(rig_outstanding(rig), 6 * GIB);
    rig_use(rig, 0, 11, 10, 5 * GIB);
    rig_look(rig);
    assert_int_equal(rig_outstanding(rig), 2 * GIB);
}

static void test_ledger__base_is_lowered_with_use(void **state)
{
    struct rig *rig = *state;
    rig_use(rig, 0, 10, 10, 3 * GIB);
    rig_hold(rig, 10, 6 * GIB);
    rig_use(rig, 0, 10, 10, GIB);
    rig_look(rig);
    assert_int_equal(rig_outstanding(rig), 6 * GIB);
    assert_int_equal(rig->base_count, 1);
    assert_int_equal(rig->base, GIB);
    rig_use(rig, 0, 10, 10, 3 * GIB); /* what it takes again is of its promise */
    rig_look(rig);
    assert_int_equal(rig_outstanding(rig), 4 * GIB);
    assert_int_equal(rig->base_count, 1);
}

static void test_ledger__base_stays_where_use_is_unknown(void **state)
{
    struct rig *rig = *state;
    rig_use(rig, 0, 10, 10, 3 * GIB);
    const char *id = rig_hold(rig, 10, 6 * GIB);
    rig_use(rig, 0, 10, 10, VRAM_UNKNOWN);
    rig_look(rig);
    assert_int_equal(rig_lease(rig, id).gpus[0].base_bytes, 3 * GIB);
    assert_int_equal(rig_outstanding(rig), 9 * GIB);
    rig_use(rig, 0, 10, 10, 0);
    rig->gpus[0].uses_known = false; /* the list could not be read */
    rig_look(rig);
    assert_int_equal(rig_lease(rig, id).gpus[0].base_bytes, 3 * GIB);
    assert_int_equal(rig->base_count, 0);
}

/* ---- Several leases of one owner ------------------------------------------------------------- */

static void test_ledger__leases_of_one_owner_are_filled_one_after_the_other(void **state)
{
    struct rig *rig = *state;
    const char *first = rig_hold(rig, 10, 6 * GIB), *second = rig_hold(rig, 10, 4 * GIB);
    assert_int_equal(rig_outstanding(rig), 10 * GIB);
    rig_use(rig, 0, 10, 10, 7 * GIB);
    rig_look(rig);
    assert_int_equal(rig_outstanding(rig), 3 * GIB);
    assert_int_equal(rig_lease(rig, first).gpus[0].held_bytes, 6 * GIB);
    assert_int_equal(rig_lease(rig, second).gpus[0].held_bytes, GIB);
    assert_int_equal(rig_lease(rig, second).gpus[0].outstanding_bytes, 3 * GIB);
    assert_int_equal(ledger_end(rig->ledger, first, rig->now_ns), 1);
    assert_int_equal(rig_outstanding(rig), 0);
    assert_int_equal(rig_lease(rig, second).gpus[0].held_bytes, 4 * GIB);
}

static void test_ledger__the_base_is_of_the_first_grant(void **state)
{
    struct rig *rig = *state;
    rig_hold(rig, 10, 6 * GIB);
    rig_use(rig, 0, 10, 10, 6 * GIB);
    rig_hold(rig, 10, 4 * GIB);
    assert_int_equal(rig->recorded_base, 0);
    assert_int_equal(rig_outstanding(rig), 4 * GIB);
}

/* ---- Nested owners --------------------------------------------------------------------------- */

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

static void test_ledger__a_nested_owner_begins_at_nothing(void **state)
{
    struct rig *rig = *state;
    hold_nested(rig, 3 * GIB);
    assert_int_equal(rig->recorded_base, 0);
    assert_int_equal(rig_outstanding(rig) + 3 * GIB,
                     14 * GIB); /* both have what they were promised */
    assert_int_equal(ledger_outstanding_of(rig->ledger, rig_uuid(0), 11), 11 * GIB);
    assert_int_equal(ledger_outstanding_of(rig->ledger, rig_uuid(0), 10), 10 * GIB);
}

static void test_ledger__what_a_nested_owner_uses_beyond_its_own_counts_outside(void **state)
{
    struct rig *rig = *state;
    hold_nested(rig, 0);
    rig_use(rig, 0, 11, 11, 6 * GIB)->outer = 10;
    rig_use(rig, 0, 10, 10, GIB);
    rig_look(rig);
    assert_int_equal(rig_outstanding(rig), 7 * GIB);
    assert_int_equal(ledger_outstanding_of(rig->ledger, rig_uuid(0), 11), 7 * GIB);
}

static void test_ledger__nests_within_nests_spill_outwards(void **state)
{
    struct rig *rig = *state;
    hold_nested(rig, 0);
    rig->holders[12] = 11;
    rig_hold(rig, 12, 2 * GIB);
    rig_use(rig, 0, 12, 12, 7 * GIB)->outer = 11; /* 2 of its own, 4 of 11's, 1 of 10's */
    rig_look(rig);
    assert_int_equal(rig_outstanding(rig), 9 * GIB);
}

/* ---- Unknown memory, and filled -------------------------------------------------------------- */

static void test_ledger__unknown_memory_counts_in_full(void **state)
{
    struct rig *rig = *state;
    const char *id = rig_hold(rig, 10, 8 * GIB);
    rig_use(rig, 0, 10, 10, VRAM_UNKNOWN);
    rig->hidden_bytes[0] = 8 * GIB;
    rig_look(rig);
    assert_int_equal(rig_outstanding(rig), 8 * GIB);
    assert_int_equal(rig_lease(rig, id).gpus[0].held_bytes, 0);
}

static void test_ledger__filled_is_outstanding_no_more(void **state)
{
    struct rig *rig = *state;
    const char *id = rig_hold(rig, 10, 8 * GIB);
    rig_use(rig, 0, 10, 10, VRAM_UNKNOWN);
    rig_look(rig);
    assert_int_equal(ledger_fill(rig->ledger, id, rig->now_ns), 0);
    assert_int_equal(rig_outstanding(rig), 0);
    assert_int_equal(ledger_fill(rig->ledger, id, rig->now_ns), 0);
    rig_look(rig);
    assert_int_equal(rig_outstanding(rig), 0);
    assert_true(rig_lease(rig, id).filled);
    assert_int_equal(rig_lease(rig, id).state, LEDGER_FILLED);
}

static void test_ledger__filled_gives_back_for_good(void **state)
{
    struct rig *rig = *state;
    const char *id = rig_hold(rig, 10, 8 * GIB);
    rig_use(rig, 0, 10, 10, 5 * GIB);
    rig_look(rig);
    assert_int_equal(ledger_fill(rig->ledger, id, rig->now_ns), 0);
    assert_int_equal(rig->base, 5 * GIB);
    rig_use(rig, 0, 10, 10, 2 * GIB);
    rig_look(rig);
    assert_int_equal(rig_outstanding(rig), 0);
}

static void test_ledger__filled_leaves_the_other_lease_of_its_owner(void **state)
{
    struct rig *rig = *state;
    const char *first = rig_hold(rig, 10, 6 * GIB), *second = rig_hold(rig, 10, 4 * GIB);
    rig_use(rig, 0, 10, 10, 7 * GIB);
    rig_look(rig);
    assert_int_equal(ledger_fill(rig->ledger, first, rig->now_ns), 0);
    assert_int_equal(rig_outstanding(rig), 3 * GIB);
    assert_int_equal(rig_lease(rig, second).gpus[0].held_bytes, GIB);
    assert_int_equal(ledger_end(rig->ledger, first, rig->now_ns), 1);
    assert_int_equal(rig_outstanding(rig), 3 * GIB);
}

static void test_ledger__nonsense_is_unknown(void **state)
{
    struct rig *rig = *state;
    rig_hold(rig, 10, 8 * GIB);
    rig_use(rig, 0, 10, 10, VRAM_UNKNOWN - 1);
    rig_begin(rig);
    rig->gpus[0].free_bytes = 16 * GIB;
    rig_end_sample(rig);
    assert_int_equal(rig_outstanding(rig), 8 * GIB);
}

/* ---- Growing and shrinking ------------------------------------------------------------------- */

static int grow(struct rig *rig, const char *id, uint64_t more_bytes)
{
    struct ledger_request unused = rig_request(rig, 1, 1);
    assert_int_equal(ledger_grow(rig->ledger, id, unused.id, more_bytes, rig->now_ns), 0);
    rig_look(rig);
    return rig_verdict(rig, unused.id);
}

static void test_ledger__a_lease_grows_where_there_is_room(void **state)
{
    struct rig *rig = *state;
    const char *id = rig_hold(rig, 10, 8 * GIB);
    assert_int_equal(grow(rig, id, 15 * GIB), LEDGER_GRANTED);
    assert_int_equal(rig_lease(rig, id).size_bytes, 23 * GIB);
    assert_int_equal(rig_outstanding(rig), 23 * GIB);
    assert_int_equal(grow(rig, id, 1), LEDGER_NOT_NOW); /* at once */
    assert_int_equal(rig_lease(rig, id).size_bytes, 23 * GIB);
    assert_int_equal(ledger_waiter_count(rig->ledger), 0);
}

static void test_ledger__of_a_filled_one_the_new_part_is_outstanding(void **state)
{
    struct rig *rig = *state;
    const char *id = rig_hold(rig, 10, 8 * GIB);
    rig_use(rig, 0, 10, 10, 8 * GIB);
    rig_look(rig);
    assert_int_equal(ledger_fill(rig->ledger, id, rig->now_ns), 0);
    assert_int_equal(grow(rig, id, 2 * GIB), LEDGER_GRANTED);
    assert_false(rig_lease(rig, id).filled);
    assert_int_equal(rig_outstanding(rig), 2 * GIB);
}

static void test_ledger__growth_that_is_not_written_down_changes_nothing(void **state)
{
    struct rig *rig = *state;
    const char *id = rig_hold(rig, 10, 8 * GIB);
    rig_use(rig, 0, 10, 10, 8 * GIB);
    rig_look(rig);
    assert_int_equal(ledger_fill(rig->ledger, id, rig->now_ns), 0);
    rig->record_error = -ENOSPC;
    assert_int_equal(grow(rig, id, 2 * GIB), LEDGER_UNRECORDED);
    assert_int_equal(rig_lease(rig, id).size_bytes, 8 * GIB);
    assert_true(rig_lease(rig, id).filled);
    rig_use(rig, 0, 10, 10, 3 * GIB);
    rig_look(rig);
    assert_int_equal(rig_outstanding(rig), 0);
}

static void test_ledger__less_is_given_back(void **state)
{
    struct rig *rig = *state;
    const char *id = rig_hold(rig, 10, 8 * GIB);
    assert_int_equal(ledger_shrink(rig->ledger, id, 9 * GIB, rig->now_ns), -EINVAL);
    assert_int_equal(ledger_shrink(rig->ledger, id, 0, rig->now_ns), -EINVAL);
    assert_int_equal(ledger_shrink(rig->ledger, "none", GIB, rig->now_ns), -ENOENT);
    assert_int_equal(ledger_shrink(rig->ledger, id, 3 * GIB, rig->now_ns), 0);
    assert_int_equal(rig_outstanding(rig), 3 * GIB);
    rig_use(rig, 0, 10, 10, 3 * GIB);
    rig_look(rig);
    assert_int_equal(rig_outstanding(rig), 0);
}

/* ---- Ids ------------------------------------------------------------------------------------- */

static void test_ledger__ids_are_found_by_their_beginning(void **state)
{
    struct rig *rig = *state;
    static const char *const ids[] = {"a1", "a1b2", "c3d4"};
    for (unsigned i = 0; i < ARRAY_LENGTH(ids); i++) {
        struct ledger_request request = rig_request(rig, 10 + i, GIB);
        (void)snprintf(request.id, sizeof(request.id), "%s", ids[i]);
        rig_ask(rig, &request);
    }
    assert_int_equal(ledger_find_waiter(rig->ledger, "c"), 2);
    rig_look(rig);
    assert_int_equal(ledger_find_waiter(rig->ledger, "c"), -1);
    assert_int_equal(ledger_find_lease(rig->ledger, "c"), 2);
    assert_int_equal(ledger_find_lease(rig->ledger, "a"), -2);
    assert_int_equal(ledger_find_lease(rig->ledger, "a1"), 0); /* a whole one is told apart */
    assert_int_equal(ledger_find_lease(rig->ledger, "a1b"), 1);
    assert_int_equal(ledger_find_lease(rig->ledger, "c3d4e"), -1);
    assert_int_equal(ledger_find_lease(rig->ledger, ""), -1);
}

static void test_ledger__refuses_what_is_no_request(void **state)
{
    struct rig *rig = *state;
    struct ledger_request good = rig_request(rig, 10, GIB), bad;
    rig_ask(rig, &good);
    assert_int_equal(ledger_ask(rig->ledger, &good, rig->now_ns), -EEXIST);
    rig_look(rig);
    assert_int_equal(ledger_ask(rig->ledger, &good, rig->now_ns), -EEXIST); /* now a lease's */
#define REFUSED(change)                                                                            \
    bad = rig_request(rig, 10, GIB);                                                               \
    bad.change;                                                                                    \
    assert_int_equal(ledger_ask(rig->ledger, &bad, rig->now_ns), -EINVAL)
    REFUSED(size_bytes = 0);
    REFUSED(size_bytes = VRAM_UNKNOWN);
    REFUSED(gpu_count = 0);
    REFUSED(owner = 0);
    REFUSED(id[0] = '\0');
    REFUSED(candidates = (const char *const[]){"GPU-0"});
    assert_int_equal(ledger_waiter_count(rig->ledger), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_ledger__outstanding_is_what_is_still_to_be_allocated),
        WITH_RIG(test_ledger__what_descendants_use_fills_it),
        WITH_RIG(test_ledger__freed_memory_is_promised_again),
        WITH_RIG(test_ledger__eight_at_once_get_what_one_can_have),
        WITH_RIG(test_ledger__memory_without_a_lease_counts),
        WITH_RIG(test_ledger__leases_that_nobody_has_used_yet_count),
        WITH_RIG(test_ledger__what_was_used_before_is_no_part_of_it),
        WITH_RIG(test_ledger__base_is_lowered_with_use),
        WITH_RIG(test_ledger__base_stays_where_use_is_unknown),
        WITH_RIG(test_ledger__leases_of_one_owner_are_filled_one_after_the_other),
        WITH_RIG(test_ledger__the_base_is_of_the_first_grant),
        WITH_RIG(test_ledger__a_nested_owner_begins_at_nothing),
        WITH_RIG(test_ledger__what_a_nested_owner_uses_beyond_its_own_counts_outside),
        WITH_RIG(test_ledger__nests_within_nests_spill_outwards),
        WITH_RIG(test_ledger__unknown_memory_counts_in_full),
        WITH_RIG(test_ledger__filled_is_outstanding_no_more),
        WITH_RIG(test_ledger__filled_gives_back_for_good),
        WITH_RIG(test_ledger__filled_leaves_the_other_lease_of_its_owner),
        WITH_RIG(test_ledger__nonsense_is_unknown),
        WITH_RIG(test_ledger__a_lease_grows_where_there_is_room),
        WITH_RIG(test_ledger__of_a_filled_one_the_new_part_is_outstanding),
        WITH_RIG(test_ledger__growth_that_is_not_written_down_changes_nothing),
        WITH_RIG(test_ledger__less_is_given_back),
        WITH_RIG(test_ledger__ids_are_found_by_their_beginning),
        WITH_RIG(test_ledger__refuses_what_is_no_request),
    };
    return cmocka_run_group_tests_name("ledger", tests, NULL, NULL);
}
