/* SPDX-License-Identifier: MIT */
/* When the ledger waits although there is room: growth without a lease, and the time after a restart. */
#include "tests/unit/ledger_rig.h"
#include "tests/unit/unit.h"

#include <errno.h>

/* ---- Doubt ----------------------------------------------------------------------------------- */

/* Process 5, which has no lease, is known to have used so much for long. */
static void know_stranger(struct rig *rig, uint64_t bytes)
{
    rig_use(rig, 0, 5, 0, bytes)->name = "stranger";
    rig_look(rig);
    rig_pass(rig, SECOND);
    rig_look(rig);
}

static void test_ledger_doubt__growth_without_a_lease_is_doubt(void **state)
{
    struct rig *rig = *state;
    know_stranger(rig, 2 * GIB);
    const char *calm = rig_wait(rig, 10, GIB);
    rig_use(rig, 0, 5, 0, 2 * GIB + 64 * MIB);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, calm), LEDGER_GRANTED);
    const char *id = rig_wait(rig, 11, GIB);
    rig_use(rig, 0, 5, 0, 2 * GIB + 64 * MIB + 1); /* now more than 64 MiB within 2 s */
    rig_look(rig);
    uint64_t grew_ns = rig->now_ns;
    assert_int_equal(rig_verdict(rig, id), NOTHING_SAID);
    struct ledger_waiter waiter = rig_waiter(rig, id);
    assert_int_equal(waiter.reason, LEDGER_FOR_QUIET);
    assert_int_equal(waiter.pid, 5);
    assert_string_equal(waiter.name, "stranger");
    rig_pass(rig, grew_ns + LEDGER_DOUBT_NS - 3 * MILLISECOND - rig->now_ns);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), NOTHING_SAID);
    rig_pass(rig, 2 * MILLISECOND);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), LEDGER_GRANTED);
}

static void test_ledger_doubt__slow_growth_is_none(void **state)
{
    struct rig *rig = *state;
    know_stranger(rig, 2 * GIB);
    for (unsigned i = 1; i < 8; i++) {
        rig_use(rig, 0, 5, 0, 2 * GIB + i * 60 * MIB);
        rig_pass(rig, LEDGER_DOUBT_NS - 100 * MILLISECOND);
        rig_look(rig);
    }
    rig_hold(rig, 10, GIB);
}

static void test_ledger_doubt__doubt_lasts_10_seconds_at_most(void **state)
{
    struct rig *rig = *state;
    know_stranger(rig, 2 * GIB);
    const char *id = rig_wait(rig, 10, GIB);
    uint64_t begun_ns = rig->now_ns + 2 * MILLISECOND, used = 2 * GIB;
    for (; rig->now_ns < begun_ns + LEDGER_DOUBT_MAX_NS - 300 * MILLISECOND;
         rig_pass(rig, 300 * MILLISECOND)) {
        used += 100 * MIB;
        rig_use(rig, 0, 5, 0, used);
        rig_look(rig);
        assert_int_equal(rig_verdict(rig, id), NOTHING_SAID);
    }
    rig_pass(rig, 300 * MILLISECOND);
    rig_use(rig, 0, 5, 0, used + 100 * MIB);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), LEDGER_GRANTED);
}

static void test_ledger_doubt__all_of_a_new_process_is_growth(void **state)
{
    struct rig *rig = *state;
    rig_look(rig);
    rig_use(rig, 0, 5, 0, 65 * MIB); /* old itself, but its memory was not here just now */
    const char *id = rig_wait(rig, 10, GIB);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), NOTHING_SAID);
    assert_int_equal(rig_waiter(rig, id).pid, 5);
    rig_close(rig);
    rig_open(rig, 1);
    rig_use(rig, 0, 5, 0, 65 * MIB)->age_ns = SECOND; /* seen for the first time, and young */
    id = rig_wait(rig, 10, GIB);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), NOTHING_SAID);
    assert_int_equal(rig_waiter(rig, id).pid, 5);
}

static void test_ledger_doubt__a_process_of_unknown_past_is_watched_for_100_ms(void **state)
{
    struct rig *rig = *state;
    struct ledger_request request = rig_request(rig, 10, GIB);
    request.waits = false; /* even so: the answer is a look away */
    rig_use(rig, 0, 5, 0, 2 * GIB);
    const char *id = rig_ask(rig, &request);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), NOTHING_SAID);
    assert_int_equal(rig_waiter(rig, id).reason, LEDGER_FOR_QUIET);
    rig_pass(rig, LEDGER_PROOF_NS - 3 * MILLISECOND);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), NOTHING_SAID);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), LEDGER_GRANTED);
}

static void test_ledger_doubt__who_asks_or_has_a_lease_may_grow(void **state)
{
    struct rig *rig = *state;
    rig_look(rig);
    const char *holder = rig_hold(rig, 10, 8 * GIB);
    rig_use(rig, 0, 10, 10, 7 * GIB)->age_ns = SECOND;
    const char *id = rig_wait(rig, 11, GIB);
    rig_use(rig, 0, 11, 11, GIB)->age_ns = SECOND;
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), LEDGER_GRANTED);
    assert_int_equal(rig_lease(rig, holder).state, LEDGER_OK);
}

static void test_ledger_doubt__doubt_on_one_gpu_leaves_the_others(void **state)
{
    struct rig *rig = *state;
    rig_gpus(rig, 2);
    know_stranger(rig, 2 * GIB);
    rig_use(rig, 0, 5, 0, 3 * GIB); /* the fuller one, too */
    const char *id = rig_hold(rig, 10, GIB);
    assert_int_equal(rig_said(&rig->answers, id)->gpus[0], 1);
}

/* ---- A restart ------------------------------------------------------------------------------- */

static void restore_lease(struct rig *rig, const char *id, uint64_t owner, uint64_t size_bytes,
                          int64_t base_bytes)
{
    struct ledger_share share = {.uuid = rig_uuid(0), .base_bytes = base_bytes};
    struct ledger_lease lease = {
        .id = id,
        .owner = owner,
        .size_bytes = size_bytes,
        .until_ns = LEDGER_NEVER,
        .gpu_count = 1,
        .gpus = &share,
    };
    assert_int_equal(ledger_restore_lease(rig->ledger, &lease), 0);
    assert_int_equal(ledger_restore_lease(rig->ledger, &lease), -EEXIST);
    lease.id = "another";
    lease.size_bytes = 0;
    assert_int_equal(ledger_restore_lease(rig->ledger, &lease), -EINVAL);
}

static struct ledger_request restore_waiter(struct rig *rig, uint64_t owner, uint64_t size_bytes)
{
    struct ledger_request request = rig_request(rig, owner, size_bytes);
    assert_int_equal(ledger_restore_waiter(rig->ledger, &request, rig->now_ns), 0);
    return request;
}

static void test_ledger_doubt__restored_leases_hold_before_the_first_sample(void **state)
{
    struct rig *rig = *state;
    rig_restart(rig);
    restore_lease(rig, "kept", 10, 14 * GIB, 2 * GIB);
    assert_int_equal(rig_outstanding(rig), 16 * GIB); /* nothing is known of its members yet */
    rig_use(rig, 0, 10, 10, 6 * GIB);
    const char *id = rig_wait(rig, 11, 8 * GIB);
    rig_look(rig);
    assert_int_equal(rig_outstanding(rig), 10 * GIB);
    assert_int_equal(rig_verdict(rig, id), NOTHING_SAID);
}

static void test_ledger_doubt__waiters_have_3_seconds_to_return_to_their_place(void **state)
{
    struct rig *rig = *state;
    rig_restart(rig);
    struct ledger_request first = restore_waiter(rig, 11, 12 * GIB);
    struct ledger_request second = restore_waiter(rig, 12, 12 * GIB);
    assert_true(rig_waiter(rig, first.id).absent);
    assert_int_equal(ledger_next_ns(rig->ledger), rig->now_ns + LEDGER_GRACE_NS);
    assert_false(ledger_wants_sample(rig->ledger));
    rig_pass(rig, SECOND);
    rig_ask(rig, &second);
    const char *late = rig_wait(rig, 13, GIB);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, second.id), NOTHING_SAID);
    assert_int_equal(rig_verdict(rig, late), NOTHING_SAID); /* nobody passes who may return */
    assert_int_equal(rig_waiter(rig, second.id).reason, LEDGER_FOR_RETURN);
    assert_int_equal(rig_waiter(rig, second.id).position, 2);
    rig_ask(rig, &first);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, first.id), LEDGER_GRANTED);
    assert_int_equal(rig_verdict(rig, second.id), NOTHING_SAID);
    assert_int_equal(rig_verdict(rig, late), LEDGER_GRANTED); /* passes one that cannot run */
}

static void test_ledger_doubt__who_does_not_return_in_time_has_lost_its_place(void **state)
{
    struct rig *rig = *state;
    rig_restart(rig);
    struct ledger_request first = restore_waiter(rig, 11, 12 * GIB);
    struct ledger_request second = restore_waiter(rig, 12, 12 * GIB);
    rig_ask(rig, &second);
    rig_pass(rig, LEDGER_GRACE_NS - MILLISECOND);
    ledger_tick(rig->ledger, rig->now_ns);
    assert_true(ledger_find_waiter(rig->ledger, first.id) >= 0);
    rig_pass(rig, MILLISECOND);
    ledger_tick(rig->ledger, rig->now_ns);
    assert_int_equal(ledger_find_waiter(rig->ledger, first.id), -1);
    assert_int_equal(rig_verdict(rig, first.id), NOTHING_SAID);
    assert_int_equal(ledger_next_ns(rig->ledger), LEDGER_NEVER);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, second.id), LEDGER_GRANTED);
    rig_ask(rig, &first); /* later, it is a request like another */
    assert_int_equal(rig_waiter(rig, first.id).position, 1);
}

static void test_ledger_doubt__a_place_is_its_owners(void **state)
{
    struct rig *rig = *state;
    rig_restart(rig);
    struct ledger_request request = restore_waiter(rig, 11, 12 * GIB);
    request.owner = 12;
    assert_int_equal(ledger_ask(rig->ledger, &request, rig->now_ns), -EEXIST);
    assert_true(rig_waiter(rig, request.id).absent);
}

static void test_ledger_doubt__an_absent_one_holds_up_only_its_own_gpus(void **state)
{
    struct rig *rig = *state;
    rig_gpus(rig, 2);
    rig_restart(rig);
    const char *const first[] = {rig_uuid(0)};
    struct ledger_request request = rig_request(rig, 11, GIB);
    request.candidates = first;
    request.candidate_count = 1;
    assert_int_equal(ledger_restore_waiter(rig->ledger, &request, rig->now_ns), 0);
    const char *id = rig_hold(rig, 12, GIB);
    assert_int_equal(rig_said(&rig->answers, id)->gpus[0], 1);
}

static void test_ledger_doubt__what_cannot_be_written_down_is_not_granted(void **state)
{
    struct rig *rig = *state;
    rig->record_error = -ENOSPC;
    const char *id = rig_wait(rig, 10, 14 * GIB);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), LEDGER_UNRECORDED);
    assert_int_equal(ledger_lease_count(rig->ledger), 0);
    assert_int_equal(rig_outstanding(rig), 0);
    assert_false(ledger_knows(rig->ledger, 10));
    rig->record_error = 0;
    rig_hold(rig, 11, 14 * GIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_ledger_doubt__growth_without_a_lease_is_doubt),
        WITH_RIG(test_ledger_doubt__slow_growth_is_none),
        WITH_RIG(test_ledger_doubt__doubt_lasts_10_seconds_at_most),
        WITH_RIG(test_ledger_doubt__all_of_a_new_process_is_growth),
        WITH_RIG(test_ledger_doubt__a_process_of_unknown_past_is_watched_for_100_ms),
        WITH_RIG(test_ledger_doubt__who_asks_or_has_a_lease_may_grow),
        WITH_RIG(test_ledger_doubt__doubt_on_one_gpu_leaves_the_others),
        WITH_RIG(test_ledger_doubt__restored_leases_hold_before_the_first_sample),
        WITH_RIG(test_ledger_doubt__waiters_have_3_seconds_to_return_to_their_place),
        WITH_RIG(test_ledger_doubt__who_does_not_return_in_time_has_lost_its_place),
        WITH_RIG(test_ledger_doubt__a_place_is_its_owners),
        WITH_RIG(test_ledger_doubt__an_absent_one_holds_up_only_its_own_gpus),
        WITH_RIG(test_ledger_doubt__what_cannot_be_written_down_is_not_granted),
    };
    return cmocka_run_group_tests_name("ledger_doubt", tests, NULL, NULL);
}
