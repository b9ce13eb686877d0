/* SPDX-License-Identifier: MIT */
/* The ledger's users: whose turn it is, what they may have; drained GPUs; leases that hold nothing. */
#include "tests/unit/ledger_rig.h"
#include "tests/unit/unit.h"

enum { ADA = 1, BOB = 2, EVE = 3 };

/* A request of a user's. */
static const char *ask(struct rig *rig, uint32_t user, uint64_t owner, uint64_t bytes)
{
    rig->user = user;
    return rig_wait(rig, owner, bytes);
}

static const char *hold(struct rig *rig, uint32_t user, uint64_t owner, uint64_t bytes)
{
    rig->user = user;
    return rig_hold(rig, owner, bytes);
}

static void end(struct rig *rig, const char *id)
{
    assert_int_equal(ledger_end(rig->ledger, id, rig->now_ns), 1);
    rig_look(rig);
    rig->answers.count = 0;
}

/* ---- Turns ----------------------------------------------------------------------------------- */

static void test_ledger_turns__who_has_least_comes_first(void **state)
{
    struct rig *rig = *state;
    const char *held = hold(rig, ADA, 10, 10 * GIB), *other = hold(rig, EVE, 11, 13 * GIB);
    const char *of_ada = ask(rig, ADA, 12, 10 * GIB), *of_bob = ask(rig, BOB, 13, 10 * GIB);
    rig_look(rig);
    assert_int_equal(rig_waiter(rig, of_bob).position, 1);
    assert_int_equal(rig_waiter(rig, of_ada).position, 2);
    assert_int_equal(ledger_end(rig->ledger, other, rig->now_ns), 1);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, of_bob), LEDGER_GRANTED);
    assert_int_equal(rig_verdict(rig, of_ada), NOTHING_SAID);
    end(rig, held);
}

static void test_ledger_turns__of_equals_the_one_not_served_longest(void **state)
{
    struct rig *rig = *state;
    const char *held = hold(rig, ADA, 10, 20 * GIB);
    const char *again = ask(rig, ADA, 11, 20 * GIB), *new = ask(rig, BOB, 12, 20 * GIB);
    assert_int_equal(ledger_end(rig->ledger, held, rig->now_ns), 1); /* nobody has anything now */
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, new), LEDGER_GRANTED);
    assert_int_equal(rig_verdict(rig, again), NOTHING_SAID);
}

static void test_ledger_turns__one_user_is_served_in_order(void **state)
{
    struct rig *rig = *state;
    const char *held = hold(rig, ADA, 10, 20 * GIB), *ids[4];
    for (size_t i = 0; i < ARRAY_LENGTH(ids); i++) {
        ids[i] = ask(rig, ADA, 11 + i, 20 * GIB);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(ids); i++) {
        assert_int_equal(ledger_end(rig->ledger, held, rig->now_ns), 1);
        rig_look(rig);
        assert_int_equal(rig_verdict(rig, ids[i]), LEDGER_GRANTED);
        held = ids[i];
    }
}

/* Two hundred of one user's do not keep another's single one waiting for more than one. */
static void test_ledger_turns__a_single_job_waits_for_one_of_two_hundred(void **state)
{
    struct rig *rig = *state;
    const char *held = hold(rig, ADA, 10, 20 * GIB);
    for (uint64_t i = 0; i < 200; i++) {
        (void)ask(rig, ADA, 100 + i, 20 * GIB);
    }
    unsigned waited = 0;
    const char *single = ask(rig, BOB, 20, 20 * GIB);
    while (rig_verdict(rig, single) == NOTHING_SAID && waited < 201) {
        struct ledger_lease lease = ledger_lease_at(rig->ledger, 0);
        char id[LEDGER_ID_MAX];
        memcpy(id, lease.id, sizeof(id));
        rig->ends.count = 0;
        assert_int_equal(ledger_end(rig->ledger, id, rig->now_ns), 1);
        rig->answers.count = 0;
        rig_pass(rig, 60 * SECOND); /* a job lasts a minute */
        rig_look(rig);
        waited++;
    }
    (void)held;
    assert_int_equal(waited, 1);
    assert_int_equal(ledger_waiter_count(rig->ledger), 200);
}

/* Small ones of others do not keep a large one waiting for ever, whoever has more. */
static void test_ledger_turns__nobody_is_starved_by_others(void **state)
{
    struct rig *rig = *state;
    (void)hold(rig, ADA, 10, GIB); /* she has more than those who come and go */
    const char *small = hold(rig, BOB, 11, 4 * GIB);
    const char *large = ask(rig, ADA, 12, 20 * GIB);
    rig_look(rig);
    unsigned passed = 0;
    for (uint64_t owner = 20; owner < 60 && rig_verdict(rig, large) == NOTHING_SAID; owner++) {
        const char *next = ask(rig, BOB + (uint32_t)(owner % 2), owner, 4 * GIB);
        rig_look(rig); /* it fits beside the one that is there, and the large one does not */
        passed += rig_verdict(rig, next) == LEDGER_GRANTED;
        if (rig_verdict(rig, next) == LEDGER_GRANTED) {
            end(rig, small);
            small = next;
        } else {
            assert_int_equal(rig_waiter(rig, next).reason, LEDGER_FOR_TURN);
            assert_int_equal(ledger_end(rig->ledger, small, rig->now_ns), 1);
            rig_look(rig);
        }
    }
    assert_int_equal(rig_verdict(rig, large), LEDGER_GRANTED);
    assert_int_equal(passed, LEDGER_PASSES);
}

/* ---- Limits ---------------------------------------------------------------------------------- */

static void test_ledger_turns__more_than_a_user_may_have_is_refused(void **state)
{
    struct rig *rig = *state;
    rig_gpus(rig, 3);
    rig->limits[ADA] = (struct ledger_limits){12 * GIB, 2, 3};
    struct ledger_request wide = rig_request(rig, 11, GIB), thick = rig_request(rig, 12, 7 * GIB);
    wide.user = thick.user = ADA;
    wide.gpu_count = 3;
    thick.gpu_count = 2;
    const char *much = ask(rig, ADA, 10, 12 * GIB + 1), *on_three = rig_ask(rig, &wide),
               *sum = rig_ask(rig, &thick), *good = ask(rig, ADA, 13, 12 * GIB);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, much), LEDGER_WILL_NEVER);
    assert_int_equal(rig_verdict(rig, on_three), LEDGER_WILL_NEVER);
    assert_int_equal(rig_verdict(rig, sum), LEDGER_WILL_NEVER);
    assert_int_equal(rig_verdict(rig, good), LEDGER_GRANTED);
    rig->limits[BOB].leases = 0;
    const char *none = ask(rig, BOB, 14, GIB);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, none), LEDGER_WILL_NEVER);
}

static void test_ledger_turns__who_has_all_it_may_waits_for_its_own(void **state)
{
    struct rig *rig = *state;
    rig->limits[ADA] = (struct ledger_limits){8 * GIB, 1, 2};
    const char *held = hold(rig, ADA, 10, 6 * GIB);
    const char *more = ask(rig, ADA, 11, 3 * GIB), *other = ask(rig, BOB, 12, 3 * GIB);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, other), LEDGER_GRANTED);
    assert_int_equal(rig_waiter(rig, more).reason, LEDGER_FOR_LIMIT);
    for (uint64_t i = 0; i < 2 * LEDGER_PASSES; i++) { /* it bars nobody for that */
        (void)hold(rig, BOB, 20 + i, MIB);
    }
    struct ledger_tally tally = ledger_tally_of(rig->ledger, ADA);
    assert_int_equal(tally.bytes, 6 * GIB);
    assert_int_equal(tally.gpus, 1);
    assert_int_equal(tally.leases, 1);
    assert_int_equal(tally.waiters, 1);
    assert_int_equal(ledger_end(rig->ledger, held, rig->now_ns), 1);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, more), LEDGER_GRANTED);
    (void)hold(rig, ADA, 13, GIB);
    const char *third = ask(rig, ADA, 14, GIB);
    rig_look(rig);
    assert_int_equal(rig_waiter(rig, third).reason, LEDGER_FOR_LIMIT);
}

static void test_ledger_turns__growth_is_held_to_limits_too(void **state)
{
    struct rig *rig = *state;
    rig->limits[ADA].bytes = 8 * GIB;
    const char *held = hold(rig, ADA, 10, 5 * GIB), *second = hold(rig, ADA, 11, 2 * GIB);
    assert_int_equal(ledger_grow(rig->ledger, held, "0000000000000aaa", 4 * GIB, rig->now_ns), 0);
    assert_int_equal(ledger_grow(rig->ledger, held, "0000000000000bbb", 2 * GIB, rig->now_ns), 0);
    assert_int_equal(ledger_grow(rig->ledger, held, "0000000000000ccc", 1 * GIB, rig->now_ns), 0);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, "0000000000000aaa"), LEDGER_WILL_NEVER);
    assert_int_equal(rig_verdict(rig, "0000000000000bbb"), LEDGER_NOT_NOW);
    assert_int_equal(rig_verdict(rig, "0000000000000ccc"), LEDGER_GRANTED);
    (void)second;
}

static void test_ledger_turns__who_may_have_one_gpu_gets_no_second(void **state)
{
    struct rig *rig = *state;
    rig_gpus(rig, 2);
    rig->limits[ADA].gpus = 1;
    (void)hold(rig, ADA, 10, 20 * GIB);
    const char *small = ask(rig, ADA, 11, 2 * GIB), *large = ask(rig, ADA, 12, 10 * GIB);
    rig_look(rig);
    assert_int_equal(rig_said(&rig->answers, small)->gpus[0], 0);
    assert_int_equal(rig_verdict(rig, large), NOTHING_SAID);
    assert_int_equal(rig_waiter(rig, large).reason, LEDGER_FOR_LIMIT);
}

/* ---- Drained GPUs ---------------------------------------------------------------------------- */

static void test_ledger_turns__nothing_new_is_where_it_is_drained(void **state)
{
    struct rig *rig = *state;
    rig_gpus(rig, 2);
    const char *held = hold(rig, ADA, 10, 5 * GIB);
    int where = rig_said(&rig->answers, held)->gpus[0];
    rig->gpus[where].drained = true;
    const char *on_other = hold(rig, ADA, 11, 5 * GIB);
    assert_int_equal(rig_said(&rig->answers, on_other)->gpus[0], 1 - where);
    struct ledger_request only = rig_request(rig, 12, GIB);
    const char *uuids[] = {rig_uuid((size_t)where)};
    only.candidates = uuids;
    only.candidate_count = 1;
    const char *id = rig_ask(rig, &only);
    assert_int_equal(ledger_grow(rig->ledger, held, "0000000000000aaa", GIB, rig->now_ns), 0);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), NOTHING_SAID);
    assert_int_equal(rig_waiter(rig, id).reason, LEDGER_FOR_DRAIN);
    assert_null(rig_waiter(rig, id).uuid);
    assert_int_equal(rig_verdict(rig, "0000000000000aaa"), LEDGER_NOT_NOW);
    assert_int_equal(rig_lease(rig, held).size_bytes, 5 * GIB); /* what is there stays */
    rig->gpus[where].drained = false;
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), LEDGER_GRANTED);
}

/* ---- Ends that are told before --------------------------------------------------------------- */

static void test_ledger_turns__an_end_is_told_a_minute_before(void **state)
{
    struct rig *rig = *state;
    struct ledger_request request = rig_request(rig, 10, GIB);
    request.lasts_ns = 300 * SECOND;
    const char *id = rig_ask(rig, &request);
    rig_look(rig);
    uint64_t until_ns = rig_lease(rig, id).until_ns;
    assert_int_equal(ledger_next_ns(rig->ledger), until_ns - LEDGER_NOTICE_NS);
    ledger_tick(rig->ledger, until_ns - LEDGER_NOTICE_NS - 1);
    assert_int_equal(rig->notices.count, 0);
    ledger_tick(rig->ledger, until_ns - LEDGER_NOTICE_NS);
    ledger_tick(rig->ledger, until_ns - 1);
    assert_int_equal(rig->notices.count, 1); /* once */
    assert_int_equal(rig_said(&rig->notices, id)->verdict, 0);
    ledger_tick(rig->ledger, until_ns);
    assert_int_equal(rig_end_of(rig, id), LEDGER_EXPIRED);
}

static void test_ledger_turns__what_holds_nothing_is_told_and_ends(void **state)
{
    struct rig *rig = *state;
    const char *used = hold(rig, ADA, 10, 2 * GIB), *idle = hold(rig, ADA, 11, 2 * GIB),
               *late = hold(rig, ADA, 12, 2 * GIB);
    rig_use(rig, 0, 10, 10, GIB);
    ledger_end_idle(rig->ledger, 100 * SECOND, 10 * SECOND);
    rig_look(rig);
    rig_pass(rig, 99 * SECOND);
    rig_look(rig);
    assert_int_equal(rig->notices.count, 0);
    rig_pass(rig, SECOND);
    rig_look(rig);
    assert_int_equal(rig->notices.count, 2);
    assert_int_equal(rig_said(&rig->notices, idle)->verdict, 1);
    rig_use(rig, 0, 12, 12, GIB); /* it is used before its end: that is taken back */
    rig_look(rig);
    assert_int_equal(rig_said(&rig->notices, late)->verdict, 0);
    rig_pass(rig, 10 * SECOND);
    rig_look(rig);
    assert_int_equal(rig_end_of(rig, idle), LEDGER_IDLE);
    assert_int_equal(rig_end_of(rig, used), NOTHING_SAID);
    assert_int_equal(rig_end_of(rig, late), NOTHING_SAID);
}

static void test_ledger_turns__what_cannot_be_known_to_be_idle_is_not(void **state)
{
    struct rig *rig = *state;
    const char *unknown = hold(rig, ADA, 10, 2 * GIB), *filled = hold(rig, ADA, 11, 2 * GIB);
    rig_use(rig, 0, 10, 10, VRAM_UNKNOWN);
    assert_int_equal(ledger_fill(rig->ledger, filled, rig->now_ns), 0);
    ledger_end_idle(rig->ledger, SECOND, SECOND);
    for (int i = 0; i < 5; i++) {
        rig_look(rig);
        rig_pass(rig, 5 * SECOND);
    }
    assert_int_equal(rig->notices.count, 0);
    assert_int_equal(rig_end_of(rig, unknown), NOTHING_SAID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_ledger_turns__who_has_least_comes_first),
        WITH_RIG(test_ledger_turns__of_equals_the_one_not_served_longest),
        WITH_RIG(test_ledger_turns__one_user_is_served_in_order),
        WITH_RIG(test_ledger_turns__a_single_job_waits_for_one_of_two_hundred),
        WITH_RIG(test_ledger_turns__nobody_is_starved_by_others),
        WITH_RIG(test_ledger_turns__more_than_a_user_may_have_is_refused),
        WITH_RIG(test_ledger_turns__who_has_all_it_may_waits_for_its_own),
        WITH_RIG(test_ledger_turns__growth_is_held_to_limits_too),
        WITH_RIG(test_ledger_turns__who_may_have_one_gpu_gets_no_second),
        WITH_RIG(test_ledger_turns__nothing_new_is_where_it_is_drained),
        WITH_RIG(test_ledger_turns__an_end_is_told_a_minute_before),
        WITH_RIG(test_ledger_turns__what_holds_nothing_is_told_and_ends),
        WITH_RIG(test_ledger_turns__what_cannot_be_known_to_be_idle_is_not),
    };
    return cmocka_run_group_tests_name("ledger_turns", tests, NULL, NULL);
}
