/* SPDX-License-Identifier: MIT */
/* How promises end, are passed on, and are broken. */
#include "tests/unit/ledger_rig.h"
#include "tests/unit/unit.h"

#include <errno.h>

/* ---- Heirs ----------------------------------------------------------------------------------- */

static void test_ledger_ends__without_heirs_it_ends_with_its_owner(void **state)
{
    struct rig *rig = *state;
    const char *id = rig_hold(rig, 10, 8 * GIB);
    rig_use(rig, 0, 10, 10, 8 * GIB); /* itself is no heir, though its memory is listed still */
    rig_look(rig);
    ledger_owner_ended(rig->ledger, 10, rig->now_ns);
    assert_true(ledger_wants_sample(rig->ledger));
    rig_look(rig);
    assert_int_equal(rig_end_of(rig, id), LEDGER_OWNER_GONE);
    assert_int_equal(rig_outstanding(rig), 0);
    assert_false(ledger_wants_sample(rig->ledger));
    assert_false(ledger_knows(rig->ledger, 10));
}

static void test_ledger_ends__a_member_with_memory_inherits(void **state)
{
    struct rig *rig = *state;
    const char *id = rig_hold(rig, 10, 8 * GIB);
    rig_use(rig, 0, 11, 10, 2 * GIB);
    rig_look(rig);
    ledger_owner_ended(rig->ledger, 10, rig->now_ns);
    rig_look(rig);
    assert_int_equal(rig_end_of(rig, id), NOTHING_SAID);
    assert_int_equal(rig_lease(rig, id).state, LEDGER_INHERITED);
    assert_int_equal(rig_outstanding(rig), 6 * GIB);
    rig_use(rig, 0, 11, 10, 0);
    rig_look(rig);
    assert_int_equal(rig_end_of(rig, id), LEDGER_OWNER_GONE);
}

static void test_ledger_ends__a_sample_of_before_the_death_tells_nothing(void **state)
{
    struct rig *rig = *state;
    const char *id = rig_hold(rig, 10, 8 * GIB);
    rig_begin(rig);
    rig_pass(rig, MILLISECOND);
    ledger_owner_ended(rig->ledger, 10, rig->now_ns);
    rig_end_sample(rig);
    assert_int_equal(rig_end_of(rig, id), NOTHING_SAID);
    rig_look(rig);
    assert_int_equal(rig_end_of(rig, id), LEDGER_OWNER_GONE);
}

static void test_ledger_ends__it_is_inherited_gpu_by_gpu(void **state)
{
    struct rig *rig = *state;
    rig_gpus(rig, 2);
    struct ledger_request request = rig_request(rig, 10, 8 * GIB);
    request.gpu_count = 2;
    const char *id = rig_ask(rig, &request);
    rig_look(rig);
    assert_int_equal(rig_lease(rig, id).gpu_count, 2);
    rig_use(rig, 1, 11, 10, 2 * GIB);
    rig_look(rig);
    unsigned records = rig->records;
    ledger_owner_ended(rig->ledger, 10, rig->now_ns);
    rig_look(rig);
    struct ledger_lease lease = rig_lease(rig, id);
    assert_int_equal(lease.gpu_count, 1);
    assert_string_equal(lease.gpus[0].uuid, rig_uuid(1));
    assert_int_equal(rig->records, records + 1);
    assert_int_equal(ledger_outstanding(rig->ledger, rig_uuid(0)), 0);
    assert_int_equal(ledger_outstanding(rig->ledger, rig_uuid(1)), 6 * GIB);
}

static void test_ledger_ends__heirs_that_no_list_can_show_are_awaited_for_10_seconds(void **state)
{
    struct rig *rig = *state;
    const char *id = rig_hold(rig, 10, 8 * GIB);
    rig->gpus[0].uses_known = false;
    ledger_owner_ended(rig->ledger, 10, rig->now_ns);
    rig_pass(rig, 9 * SECOND);
    rig_look(rig);
    assert_int_equal(rig_end_of(rig, id), NOTHING_SAID);
    rig_pass(rig, SECOND);
    rig_look(rig);
    assert_int_equal(rig_end_of(rig, id), LEDGER_OWNER_GONE);
}

/* ---- Ends ------------------------------------------------------------------------------------ */

static void test_ledger_ends__it_ends_at_its_time_and_memory_stays_counted(void **state)
{
    struct rig *rig = *state;
    struct ledger_request request = rig_request(rig, 10, 14 * GIB);
    request.lasts_ns = 5 * SECOND;
    const char *id = rig_ask(rig, &request);
    rig_look(rig);
    uint64_t until_ns = rig->now_ns + 5 * SECOND;
    rig_use(rig, 0, 10, 10, 14 * GIB);
    rig_look(rig);
    assert_int_equal(ledger_next_ns(rig->ledger), until_ns);
    ledger_tick(rig->ledger, until_ns - 1);
    assert_int_equal(rig_end_of(rig, id), NOTHING_SAID);
    ledger_tick(rig->ledger, until_ns);
    assert_int_equal(rig_end_of(rig, id), LEDGER_EXPIRED);
    assert_int_equal(ledger_next_ns(rig->ledger), LEDGER_NEVER);
    rig->now_ns = until_ns;
    const char *next = rig_wait(rig, 11, 10 * GIB);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, next), NOTHING_SAID);
}

static void test_ledger_ends__an_end_can_be_set_and_taken_away(void **state)
{
    struct rig *rig = *state;
    const char *id = rig_hold(rig, 10, GIB);
    assert_int_equal(ledger_until(rig->ledger, "none", 1, rig->now_ns), -ENOENT);
    assert_int_equal(ledger_until(rig->ledger, id, rig->now_ns + SECOND, rig->now_ns), 0);
    assert_int_equal(ledger_until(rig->ledger, id, LEDGER_NEVER, rig->now_ns), 0);
    ledger_tick(rig->ledger, rig->now_ns + 1000 * SECOND);
    assert_int_equal(rig_end_of(rig, id), NOTHING_SAID);
}

static void test_ledger_ends__end_tells_leases_and_requests_apart(void **state)
{
    struct rig *rig = *state;
    const char *lease = rig_hold(rig, 10, 20 * GIB), *request = rig_wait(rig, 11, 20 * GIB);
    assert_int_equal(ledger_end(rig->ledger, request, rig->now_ns), 0);
    assert_int_equal(ledger_end(rig->ledger, request, rig->now_ns), -ENOENT);
    assert_int_equal(rig_verdict(rig, request), NOTHING_SAID); /* it is not answered */
    assert_int_equal(ledger_end(rig->ledger, lease, rig->now_ns), 1);
    assert_int_equal(rig_end_of(rig, lease), LEDGER_RELEASED);
    assert_int_equal(ledger_end(rig->ledger, lease, rig->now_ns), -ENOENT);
}

/* Ends, or lowers, a promise in the middle of a sample; a waiter for it must be granted by the next sample only. */
static void lower_in_the_middle(struct rig *rig, int (*lower)(struct rig *, const char *))
{
    const char *id = rig_hold(rig, 10, 20 * GIB);
    rig_use(rig, 0, 10, 10, GIB);
    rig_look(rig);
    const char *waiter = rig_wait(rig, 11, 18 * GIB);
    rig_begin(rig);
    rig_pass(rig, MILLISECOND);
    assert_true(lower(rig, id) >= 0);
    rig_end_sample(rig);
    assert_int_equal(rig_outstanding(rig), 0);
    assert_int_equal(rig_verdict(rig, waiter), NOTHING_SAID);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, waiter), LEDGER_GRANTED);
}

static int lower_by_end(struct rig *rig, const char *id)
{
    return ledger_end(rig->ledger, id, rig->now_ns);
}

static int lower_by_shrinking(struct rig *rig, const char *id)
{
    return ledger_shrink(rig->ledger, id, GIB, rig->now_ns);
}

static int lower_by_filling(struct rig *rig, const char *id)
{
    return ledger_fill(rig->ledger, id, rig->now_ns);
}

static int lower_by_expiry(struct rig *rig, const char *id)
{
    return ledger_until(rig->ledger, id, rig->now_ns, rig->now_ns);
}

static void test_ledger_ends__a_promise_lowered_under_a_sample_is_not_given_away_by_it(void **state)
{
    struct rig *rig = *state;
    int (*const ways[])(struct rig *, const char *) = {lower_by_end, lower_by_shrinking,
                                                       lower_by_filling, lower_by_expiry};
    for (size_t i = 0; i < ARRAY_LENGTH(ways); i++) {
        rig_close(rig);
        rig_open(rig, 1);
        lower_in_the_middle(rig, ways[i]);
    }
}

static void test_ledger_ends__a_lowered_base_is_given_away_by_the_next_sample_only(void **state)
{
    struct rig *rig = *state;
    rig_use(rig, 0, 10, 10, 10 * GIB);
    rig_hold(rig, 10, 5 * GIB);
    const char *waiter = rig_wait(rig, 11, 9 * GIB);
    rig_use(rig, 0, 10, 10, 8 * GIB);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, waiter), NOTHING_SAID);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, waiter), LEDGER_GRANTED);
}

/* ---- Broken promises ------------------------------------------------------------------------- */

static void test_ledger_ends__over_its_promise(void **state)
{
    struct rig *rig = *state;
    const char *id = rig_hold(rig, 10, 8 * GIB);
    rig_use(rig, 0, 10, 10, 8 * GIB + 1);
    rig_look(rig);
    assert_int_equal(rig_lease(rig, id).state, LEDGER_OVER);
    assert_int_equal(rig->states.count, 1);
    rig_look(rig);
    assert_int_equal(rig->states.count, 1); /* told once */
    rig_use(rig, 0, 10, 10, 8 * GIB);
    rig_look(rig);
    assert_int_equal(rig_said(&rig->states, id)->verdict, LEDGER_OK);
}

static void test_ledger_ends__squeezed_by_who_grows(void **state)
{
    struct rig *rig = *state;
    const char *id = rig_hold(rig, 10, 20 * GIB);
    rig_use(rig, 0, 5, 0, 3 * GIB)->name = "old";
    rig_look(rig);
    rig_pass(rig, SECOND);
    rig_look(rig);
    rig_use(rig, 0, 6, 0, 2 * GIB)->name = "culprit";
    rig_look(rig);
    const struct said *said = rig_said(&rig->states, id);
    assert_non_null(said);
    assert_int_equal(said->verdict, LEDGER_SQUEEZED);
    assert_int_equal(said->pid, 6);
    assert_string_equal(said->name, "culprit");
    rig_use(rig, 0, 6, 0, 0);
    rig_look(rig);
    assert_int_equal(rig_lease(rig, id).state, LEDGER_OK);
}

static void test_ledger_ends__squeezed_by_the_largest_where_nobody_grows(void **state)
{
    struct rig *rig = *state;
    const char *id = rig_hold(rig, 10, 12 * GIB);
    rig_use(rig, 0, 5, 0, 3 * GIB);
    rig_use(rig, 0, 6, 0, 8 * GIB);
    rig_look(rig);
    rig_pass(rig, SECOND);
    rig_look(rig);
    rig->hidden_bytes[0] = 2 * GIB; /* which the lists do not show */
    rig_look(rig);
    assert_int_equal(rig_said(&rig->states, id)->pid, 6);
}

static void test_ledger_ends__squeezed_by_nobody_who_can_be_named(void **state)
{
    struct rig *rig = *state;
    const char *id = rig_hold(rig, 10, 20 * GIB);
    rig->hidden_bytes[0] = 5 * GIB;
    rig_look(rig);
    assert_int_equal(rig_said(&rig->states, id)->verdict, LEDGER_SQUEEZED);
    assert_int_equal(rig_said(&rig->states, id)->pid, 0);
}

static void test_ledger_ends__who_has_it_all_is_not_squeezed(void **state)
{
    struct rig *rig = *state;
    const char *id = rig_hold(rig, 10, 20 * GIB);
    rig_use(rig, 0, 10, 10, 20 * GIB);
    rig_use(rig, 0, 5, 0, 4 * GIB);
    rig_look(rig);
    assert_int_equal(rig_lease(rig, id).state, LEDGER_OK);
}

static void test_ledger__a_look_leaves_others_as_they_are(void **state)
{
    struct rig *rig = *state;
    rig_gpus(rig, 2);
    const char *first = rig_hold(rig, 10, 20 * GIB), *second = rig_hold(rig, 11, 21 * GIB);
    struct ledger_lease one = rig_lease(rig, first), other = rig_lease(rig, second);
    assert_string_not_equal(one.gpus[0].uuid, other.gpus[0].uuid);
    assert_int_equal(one.gpus[0].outstanding_bytes, 20 * GIB);
    assert_int_equal(other.gpus[0].outstanding_bytes, 21 * GIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_ledger_ends__without_heirs_it_ends_with_its_owner),
        WITH_RIG(test_ledger_ends__a_member_with_memory_inherits),
        WITH_RIG(test_ledger_ends__a_sample_of_before_the_death_tells_nothing),
        WITH_RIG(test_ledger_ends__it_is_inherited_gpu_by_gpu),
        WITH_RIG(test_ledger_ends__heirs_that_no_list_can_show_are_awaited_for_10_seconds),
        WITH_RIG(test_ledger_ends__it_ends_at_its_time_and_memory_stays_counted),
        WITH_RIG(test_ledger_ends__an_end_can_be_set_and_taken_away),
        WITH_RIG(test_ledger_ends__end_tells_leases_and_requests_apart),
        WITH_RIG(test_ledger_ends__a_promise_lowered_under_a_sample_is_not_given_away_by_it),
        WITH_RIG(test_ledger_ends__a_lowered_base_is_given_away_by_the_next_sample_only),
        WITH_RIG(test_ledger_ends__over_its_promise),
        WITH_RIG(test_ledger_ends__squeezed_by_who_grows),
        WITH_RIG(test_ledger_ends__squeezed_by_the_largest_where_nobody_grows),
        WITH_RIG(test_ledger_ends__squeezed_by_nobody_who_can_be_named),
        WITH_RIG(test_ledger_ends__who_has_it_all_is_not_squeezed),
        WITH_RIG(test_ledger__a_look_leaves_others_as_they_are),
    };
    return cmocka_run_group_tests_name("ledger_ends", tests, NULL, NULL);
}
