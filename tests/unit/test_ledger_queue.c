/* SPDX-License-Identifier: MIT */
/* The ledger's queue: who is answered what, in which order. */
#include "tests/unit/ledger_rig.h"
#include "tests/unit/unit.h"

/* ---- Answers --------------------------------------------------------------------------------- */

static void test_ledger_queue__fits_to_the_byte(void **state)
{
    struct rig *rig = *state;
    const char *much = rig_wait(rig, 10, ROOM + 1);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, much), LEDGER_WILL_NEVER);
    rig_hold(rig, 10, ROOM - GIB);
    rig_hold(rig, 10, GIB);
    const char *more = rig_wait(rig, 11, 1);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, more), NOTHING_SAID);
    assert_int_equal(rig_waiter(rig, more).missing_bytes, 1);
    assert_int_equal(rig_waiter(rig, more).reason, LEDGER_FOR_ROOM);
    assert_string_equal(rig_waiter(rig, more).uuid, rig_uuid(0));
}

static void test_ledger_queue__who_does_not_wait_is_answered_at_once(void **state)
{
    struct rig *rig = *state;
    rig_hold(rig, 10, 20 * GIB);
    struct ledger_request request = rig_request(rig, 11, 4 * GIB);
    request.waits = false;
    const char *id = rig_ask(rig, &request);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), LEDGER_NOT_NOW);
    assert_int_equal(rig_said(&rig->answers, id)->headroom_bytes, 3 * GIB);
    assert_false(ledger_knows(rig->ledger, 11));
}

static void test_ledger_queue__never_is_said_at_once_on_a_full_card_too(void **state)
{
    struct rig *rig = *state;
    rig_gpus(rig, 2);
    rig->gpus[1].reserved_bytes = GIB;
    rig_hold(rig, 10, 22 * GIB);
    const char *fits_one = rig_wait(rig, 11, 23 * GIB), *fits_none = rig_wait(rig, 12, 24 * GIB);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, fits_one), LEDGER_GRANTED);
    assert_int_equal(rig_verdict(rig, fits_none), LEDGER_WILL_NEVER);
    struct ledger_request both = rig_request(rig, 13, 23 * GIB);
    both.gpu_count = 2;
    const char *id = rig_ask(rig, &both);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), LEDGER_WILL_NEVER);
}

static void test_ledger_queue__unknown_where_figures_are_missing(void **state)
{
    struct rig *rig = *state;
    rig->gpus[0].total_bytes = VRAM_UNKNOWN;
    const char *id = rig_wait(rig, 10, GIB);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), LEDGER_CANNOT_TELL); /* it would not become known */
}

static void test_ledger_queue__waits_where_figures_are_missing_only_for_now(void **state)
{
    struct rig *rig = *state;
    struct ledger_request now = rig_request(rig, 11, GIB);
    now.waits = false;
    rig->gpus[0].current = false;
    const char *id = rig_wait(rig, 10, GIB), *hasty = rig_ask(rig, &now);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, hasty), LEDGER_CANNOT_TELL);
    assert_int_equal(rig_verdict(rig, id), NOTHING_SAID);
    assert_int_equal(rig_waiter(rig, id).reason, LEDGER_FOR_GPU);
    rig->gpus[0].current = true;
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), LEDGER_GRANTED);
}

static void test_ledger_queue__without_a_usable_gpu_nobody_waits(void **state)
{
    struct rig *rig = *state;
    rig->gpus[0].usable = false;
    const char *id = rig_wait(rig, 10, GIB);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), LEDGER_CANNOT_TELL);
}

static void test_ledger_queue__gives_up_at_its_time(void **state)
{
    struct rig *rig = *state;
    rig_hold(rig, 10, 20 * GIB);
    struct ledger_request request = rig_request(rig, 11, 20 * GIB);
    request.deadline_ns = rig->now_ns + SECOND;
    const char *id = rig_ask(rig, &request);
    rig_look(rig);
    assert_int_equal(ledger_next_ns(rig->ledger), request.deadline_ns);
    ledger_tick(rig->ledger, request.deadline_ns - 1);
    assert_int_equal(rig_verdict(rig, id), NOTHING_SAID);
    ledger_tick(rig->ledger, request.deadline_ns);
    assert_int_equal(rig_verdict(rig, id), LEDGER_TIMED_OUT);
    assert_int_equal(ledger_waiter_count(rig->ledger), 0);
}

static void test_ledger_queue__is_answered_by_a_sample_of_after_the_request(void **state)
{
    struct rig *rig = *state;
    rig_begin(rig);
    rig_pass(rig, MILLISECOND);
    const char *id = rig_wait(rig, 10, GIB);
    assert_true(ledger_wants_sample(rig->ledger));
    rig_end_sample(rig);
    assert_int_equal(rig_verdict(rig, id), NOTHING_SAID);
    assert_int_equal(rig_waiter(rig, id).reason, LEDGER_FOR_SAMPLE);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), LEDGER_GRANTED);
    assert_false(ledger_wants_sample(rig->ledger));
}

static void test_ledger_queue__takes_the_margin_of_the_request(void **state)
{
    struct rig *rig = *state;
    struct ledger_request none = rig_request(rig, 10, CARD), part = rig_request(rig, 11, 13 * GIB);
    none.margin_bytes = 0;
    part.margin_millipercent = 50000;
    const char *id = rig_ask(rig, &part);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), LEDGER_WILL_NEVER);
    assert_int_equal(rig_said(&rig->answers, id)->margin_bytes, 12 * GIB);
    id = rig_ask(rig, &none);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), LEDGER_GRANTED);
    assert_int_equal(rig_said(&rig->answers, id)->margin_bytes, 0);
}

/* ---- Order ----------------------------------------------------------------------------------- */

static void test_ledger_queue__first_come_first_served(void **state)
{
    struct rig *rig = *state;
    const char *holder = rig_hold(rig, 10, 20 * GIB);
    const char *first = rig_wait(rig, 11, 12 * GIB), *second = rig_wait(rig, 12, 12 * GIB);
    rig_look(rig);
    assert_int_equal(rig_waiter(rig, first).position, 1);
    assert_int_equal(rig_waiter(rig, second).position, 2);
    assert_int_equal(ledger_end(rig->ledger, holder, rig->now_ns), 1);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, first), LEDGER_GRANTED);
    assert_int_equal(rig_verdict(rig, second), NOTHING_SAID);
    assert_int_equal(rig_waiter(rig, second).position, 1);
}

static void test_ledger_queue__may_pass_one_that_cannot_run_8_times(void **state)
{
    struct rig *rig = *state;
    rig_hold(rig, 10, 12 * GIB);
    const char *head = rig_wait(rig, 11, 20 * GIB), *ids[LEDGER_PASSES + 1];
    for (unsigned i = 0; i < ARRAY_LENGTH(ids); i++) {
        ids[i] = rig_wait(rig, 12 + i, GIB);
    }
    rig_look(rig);
    for (unsigned i = 0; i < LEDGER_PASSES; i++) {
        assert_int_equal(rig_verdict(rig, ids[i]), LEDGER_GRANTED);
    }
    assert_int_equal(rig_verdict(rig, ids[LEDGER_PASSES]), NOTHING_SAID);
    assert_int_equal(rig_waiter(rig, ids[LEDGER_PASSES]).reason, LEDGER_FOR_TURN);
    rig_look(rig); /* and a later sample forgets nothing */
    assert_int_equal(rig_verdict(rig, ids[LEDGER_PASSES]), NOTHING_SAID);
    for (unsigned i = 0; i < LEDGER_PASSES; i++) {
        assert_int_equal(ledger_end(rig->ledger, ids[i], rig->now_ns), 1);
    }
    assert_int_equal(rig_verdict(rig, head), NOTHING_SAID);
    assert_int_equal(ledger_end(rig->ledger, head, rig->now_ns), 0); /* it gives up: all go on */
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, ids[LEDGER_PASSES]), LEDGER_GRANTED);
}

static void test_ledger_queue__who_was_passed_gets_it_at_last(void **state)
{
    struct rig *rig = *state;
    const char *holder = rig_hold(rig, 10, 12 * GIB), *head = rig_wait(rig, 11, 20 * GIB);
    const char *ids[LEDGER_PASSES];
    for (unsigned i = 0; i < LEDGER_PASSES; i++) {
        ids[i] = rig_hold(rig, 12 + i, GIB);
    }
    const char *late = rig_wait(rig, 30, GIB);
    rig_look(rig);
    assert_int_equal(ledger_end(rig->ledger, holder, rig->now_ns), 1);
    rig_look(rig); /* 15 GiB: enough for the last, not for the head */
    assert_int_equal(rig_verdict(rig, late), NOTHING_SAID);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(ledger_end(rig->ledger, ids[i], rig->now_ns), 1);
    }
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, head), LEDGER_GRANTED);
    assert_int_equal(rig_verdict(rig, late), NOTHING_SAID);
}

static const char *wait_for(struct rig *rig, uint64_t owner, uint64_t size_bytes, size_t gpu)
{
    const char *const candidates[] = {rig_uuid(gpu)};
    struct ledger_request request = rig_request(rig, owner, size_bytes);
    request.candidates = candidates;
    request.candidate_count = 1;
    return rig_ask(rig, &request);
}

static void test_ledger_queue__between_other_gpus_there_is_no_order(void **state)
{
    struct rig *rig = *state;
    rig_gpus(rig, 2);
    const char *holder = wait_for(rig, 10, 20 * GIB, 0);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, holder), LEDGER_GRANTED);
    const char *head = wait_for(rig, 11, 20 * GIB, 0);
    for (unsigned i = 0; i < LEDGER_PASSES + 4; i++) {
        const char *id = wait_for(rig, 12 + i, GIB, 1);
        assert_int_equal(rig_waiter(rig, id).position, 1);
        rig_look(rig);
        assert_int_equal(rig_verdict(rig, id), LEDGER_GRANTED);
    }
    const char *near = wait_for(rig, 31, GIB, 0); /* the head was not passed yet */
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, near), LEDGER_GRANTED);
    assert_int_equal(rig_verdict(rig, head), NOTHING_SAID);
}

static void test_ledger_queue__a_position_counts_those_before_for_the_same_gpus(void **state)
{
    struct rig *rig = *state;
    rig_gpus(rig, 2);
    (void)wait_for(rig, 10, 20 * GIB, 0);
    (void)wait_for(rig, 11, 20 * GIB, 1);
    rig_look(rig);
    const char *ids[] = {
        rig_wait(rig, 12, 20 * GIB),    wait_for(rig, 13, 20 * GIB, 0),
        wait_for(rig, 14, 20 * GIB, 1), wait_for(rig, 15, 20 * GIB, 0),
        rig_wait(rig, 16, 20 * GIB),    wait_for(rig, 17, 20 * GIB, 1),
    };
    static const size_t before[] = {1, 2, 2, 3, 5, 4}, after[] = {0, 1, 1, 2, 4, 3};
    for (size_t i = 0; i < ARRAY_LENGTH(ids); i++) { /* and so before they are looked at */
        assert_int_equal(rig_waiter(rig, ids[i]).position, before[i]);
    }
    rig_look(rig);
    for (size_t i = 0; i < ARRAY_LENGTH(ids); i++) {
        assert_int_equal(rig_waiter(rig, ids[i]).position, before[i]);
    }
    assert_int_equal(ledger_end(rig->ledger, ids[0], rig->now_ns), 0);
    for (size_t i = 1; i < ARRAY_LENGTH(ids); i++) {
        assert_int_equal(rig_waiter(rig, ids[i]).position, after[i]);
    }
    const char *const second[] = {rig_uuid(1)};
    ledger_restrict(rig->ledger, ids[4], second, 1);
    assert_int_equal(rig_waiter(rig, ids[4]).position, 2);
    assert_int_equal(rig_waiter(rig, ids[5]).position, 3);
}

static void test_ledger_queue__a_waiter_that_leaves_holds_nobody_up(void **state)
{
    struct rig *rig = *state;
    const char *holder = rig_hold(rig, 10, 20 * GIB);
    const char *first = rig_wait(rig, 11, 20 * GIB), *second = rig_wait(rig, 12, 20 * GIB);
    rig_look(rig);
    ledger_owner_ended(rig->ledger, 11, rig->now_ns); /* with its process */
    assert_int_equal(ledger_find_waiter(rig->ledger, first), -1);
    assert_int_equal(rig_waiter(rig, second).position, 1);
    assert_false(ledger_knows(rig->ledger, 11));
    assert_int_equal(ledger_end(rig->ledger, holder, rig->now_ns), 1);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, second), LEDGER_GRANTED);
    assert_int_equal(rig_verdict(rig, first), NOTHING_SAID);
}

/* ---- Holders --------------------------------------------------------------------------------- */

static void test_ledger_queue__a_holder_never_waits(void **state)
{
    struct rig *rig = *state;
    rig_hold(rig, 10, 20 * GIB);
    const char *other = rig_wait(rig, 11, 20 * GIB), *more = rig_wait(rig, 10, 4 * GIB);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, other), NOTHING_SAID);
    assert_int_equal(rig_verdict(rig, more), LEDGER_NOT_NOW);
    more = rig_wait(rig, 10, 3 * GIB);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, more), LEDGER_GRANTED);
}

static void test_ledger_queue__nor_does_a_member_of_one(void **state)
{
    struct rig *rig = *state;
    rig_hold(rig, 10, 20 * GIB);
    rig->holders[11] = 10;
    const char *id = rig_wait(rig, 11, 4 * GIB);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), LEDGER_NOT_NOW);
}

static void test_ledger_queue__a_holder_elsewhere_waits_like_others(void **state)
{
    struct rig *rig = *state;
    rig_gpus(rig, 2);
    (void)wait_for(rig, 10, 20 * GIB, 0);
    (void)wait_for(rig, 11, 20 * GIB, 1);
    rig_look(rig);
    const char *id = wait_for(rig, 10, 20 * GIB, 1);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), NOTHING_SAID);
}

/* ---- Several GPUs ---------------------------------------------------------------------------- */

static const char *wait_for_several(struct rig *rig, uint64_t owner, uint64_t size_bytes,
                                    uint32_t count)
{
    struct ledger_request request = rig_request(rig, owner, size_bytes);
    request.gpu_count = count;
    return rig_ask(rig, &request);
}

static void test_ledger_queue__the_fullest_that_has_room(void **state)
{
    struct rig *rig = *state;
    rig_gpus(rig, 3);
    rig_use(rig, 0, 5, 0, 4 * GIB);
    rig_use(rig, 1, 6, 0, 16 * GIB);
    rig_look(rig);
    rig_pass(rig, SECOND);
    rig_look(rig);
    const char *small = rig_hold(rig, 10, 6 * GIB), *large = rig_hold(rig, 11, 10 * GIB);
    assert_int_equal(rig_said(&rig->answers, small)->gpus[0], 1);
    assert_int_equal(rig_said(&rig->answers, large)->gpus[0], 0);
}

static void test_ledger_queue__all_gpus_or_none(void **state)
{
    struct rig *rig = *state;
    rig_gpus(rig, 3);
    const char *holders[3];
    for (unsigned i = 0; i < 3; i++) {
        holders[i] = rig_hold(rig, 10 + i, 20 * GIB);
    }
    const char *both = wait_for_several(rig, 20, 10 * GIB, 2);
    assert_int_equal(ledger_end(rig->ledger, holders[0], rig->now_ns), 1);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, both), NOTHING_SAID);
    assert_int_equal(ledger_outstanding(rig->ledger, rig_uuid(0)), 0); /* nothing is kept for it */
    assert_int_equal(ledger_end(rig->ledger, holders[2], rig->now_ns), 1);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, both), LEDGER_GRANTED);
    assert_int_equal(rig_said(&rig->answers, both)->gpu_count, 2);
    assert_int_equal(ledger_outstanding(rig->ledger, rig_uuid(0)), 10 * GIB);
    assert_int_equal(ledger_outstanding(rig->ledger, rig_uuid(1)), 20 * GIB);
    assert_int_equal(ledger_outstanding(rig->ledger, rig_uuid(2)), 10 * GIB);
}

static void test_ledger_queue__several_gpus_are_several_memories(void **state)
{
    struct rig *rig = *state;
    rig_gpus(rig, 3);
    rig->gpus[1].pool = 0;
    const char *three = wait_for_several(rig, 10, GIB, 3), *two = wait_for_several(rig, 11, GIB, 2);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, three), LEDGER_WILL_NEVER);
    assert_int_equal(rig_verdict(rig, two), LEDGER_GRANTED);
    const struct said *said = rig_said(&rig->answers, two);
    assert_true(said->gpus[0] == 2 || said->gpus[1] == 2);
}

static void test_ledger_queue__a_shared_memory_is_promised_once(void **state)
{
    struct rig *rig = *state;
    rig_gpus(rig, 2);
    rig->gpus[1].pool = 0;
    const char *first = wait_for(rig, 10, 14 * GIB, 0);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, first), LEDGER_GRANTED);
    assert_int_equal(ledger_outstanding(rig->ledger, rig_uuid(1)), 14 * GIB);
    const char *second = wait_for(rig, 11, 14 * GIB, 1);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, second), NOTHING_SAID);
    rig_use(rig, 1, 10, 10, 14 * GIB); /* allocated through its other instance: the same memory */
    rig_look(rig);
    assert_int_equal(ledger_outstanding(rig->ledger, rig_uuid(0)), 0);
}

static void test_ledger_queue__instances_that_come_later_join_their_memory(void **state)
{
    struct rig *rig = *state;
    rig_hold(rig, 10, 14 * GIB);
    rig_gpus(rig, 2);
    rig->gpus[1] =
        rig->gpus[0]; /* now listed second, as instances are in the order of their numbers */
    rig->gpus[0].uuid = rig_uuid(1);
    rig_look(rig);
    assert_int_equal(ledger_outstanding(rig->ledger, rig_uuid(0)), 14 * GIB);
    assert_int_equal(ledger_outstanding(rig->ledger, rig_uuid(1)), 14 * GIB);
    const char *id = rig_wait(rig, 11, 14 * GIB);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), NOTHING_SAID);
}

static void test_ledger_queue__is_held_to_what_its_owner_can_open(void **state)
{
    struct rig *rig = *state;
    const char *const second[] = {rig_uuid(1)};
    rig_gpus(rig, 2);
    const char *id = rig_wait(rig, 10, GIB), *none = rig_wait(rig, 11, GIB);
    ledger_restrict(rig->ledger, id, second, 1);
    ledger_restrict(rig->ledger, none, NULL, 0);
    ledger_restrict(rig->ledger, "nobody", second, 1);
    rig_look(rig);
    assert_int_equal(rig_said(&rig->answers, id)->gpus[0], 1);
    assert_int_equal(rig_verdict(rig, none), LEDGER_CANNOT_TELL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_ledger_queue__fits_to_the_byte),
        WITH_RIG(test_ledger_queue__who_does_not_wait_is_answered_at_once),
        WITH_RIG(test_ledger_queue__never_is_said_at_once_on_a_full_card_too),
        WITH_RIG(test_ledger_queue__unknown_where_figures_are_missing),
        WITH_RIG(test_ledger_queue__waits_where_figures_are_missing_only_for_now),
        WITH_RIG(test_ledger_queue__without_a_usable_gpu_nobody_waits),
        WITH_RIG(test_ledger_queue__gives_up_at_its_time),
        WITH_RIG(test_ledger_queue__is_answered_by_a_sample_of_after_the_request),
        WITH_RIG(test_ledger_queue__takes_the_margin_of_the_request),
        WITH_RIG(test_ledger_queue__first_come_first_served),
        WITH_RIG(test_ledger_queue__may_pass_one_that_cannot_run_8_times),
        WITH_RIG(test_ledger_queue__who_was_passed_gets_it_at_last),
        WITH_RIG(test_ledger_queue__between_other_gpus_there_is_no_order),
        WITH_RIG(test_ledger_queue__a_position_counts_those_before_for_the_same_gpus),
        WITH_RIG(test_ledger_queue__a_waiter_that_leaves_holds_nobody_up),
        WITH_RIG(test_ledger_queue__a_holder_never_waits),
        WITH_RIG(test_ledger_queue__nor_does_a_member_of_one),
        WITH_RIG(test_ledger_queue__a_holder_elsewhere_waits_like_others),
        WITH_RIG(test_ledger_queue__the_fullest_that_has_room),
        WITH_RIG(test_ledger_queue__all_gpus_or_none),
        WITH_RIG(test_ledger_queue__several_gpus_are_several_memories),
        WITH_RIG(test_ledger_queue__a_shared_memory_is_promised_once),
        WITH_RIG(test_ledger_queue__instances_that_come_later_join_their_memory),
        WITH_RIG(test_ledger_queue__is_held_to_what_its_owner_can_open),
    };
    return cmocka_run_group_tests_name("ledger_queue", tests, NULL, NULL);
}
