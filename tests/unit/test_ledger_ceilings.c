/* SPDX-License-Identifier: MIT */
/* The ledger's ceilings: room kept for programs that never ask. */
#include "tests/unit/ledger_rig.h"
#include "tests/unit/unit.h"

#define OLLAMA 1 /* the number of a ceiling */
#define BIT(number) ((uint64_t)1 << ((number)-1))

static void keep(struct rig *rig, uint32_t number, size_t gpu, uint64_t bytes)
{
    assert_true(rig->ceiling_count < RIG_GPUS);
    rig->ceilings[rig->ceiling_count++] = (struct ledger_ceiling){number, gpu, bytes};
}

/* A process of the ceiling uses so much. */
static void use(struct rig *rig, size_t gpu, uint32_t pid, uint64_t owner, uint64_t bytes)
{
    rig_use(rig, gpu, pid, owner, bytes)->ceiling = OLLAMA;
}

static uint64_t kept(const struct rig *rig)
{
    return ledger_kept(rig->ledger, rig_uuid(0));
}

static void test_ledger_ceilings__are_kept_whether_the_program_runs_or_not(void **state)
{
    struct rig *rig = *state;
    keep(rig, OLLAMA, 0, 18 * GIB);
    const char *much = rig_wait(rig, 10, 5 * GIB + 1), *rest = rig_wait(rig, 11, 5 * GIB);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, much), NOTHING_SAID);
    assert_int_equal(rig_waiter(rig, much).missing_bytes, 1);
    assert_int_equal(rig_verdict(rig, rest), LEDGER_GRANTED);
    assert_int_equal(rig_outstanding(rig), 23 * GIB);
    assert_int_equal(kept(rig), 18 * GIB);
}

static void test_ledger_ceilings__are_filled_by_what_the_program_uses(void **state)
{
    struct rig *rig = *state;
    keep(rig, OLLAMA, 0, 18 * GIB);
    use(rig, 0, 100, 0, 12 * GIB);
    rig_look(rig);
    assert_int_equal(kept(rig), 6 * GIB);
    use(rig, 0, 101, 0, 8 * GIB); /* beyond it nothing is kept, nor owed */
    rig_look(rig);
    assert_int_equal(kept(rig), 0);
    struct ledger_ceiling_share share = ledger_ceiling_at(rig->ledger, 0);
    assert_int_equal(ledger_ceiling_count(rig->ledger), 1);
    assert_int_equal(share.held_bytes, 20 * GIB);
    assert_int_equal(share.outstanding_bytes, 0);
    assert_string_equal(share.uuid, rig_uuid(0));
    (void)rig_use(rig, 0, 100, 0, 0);
    (void)rig_use(rig, 0, 101, 0, 0);
    rig_look(rig);
    assert_int_equal(kept(rig), 18 * GIB); /* the next time it wants it again */
}

static void test_ledger_ceilings__unknown_memory_fills_nothing(void **state)
{
    struct rig *rig = *state;
    keep(rig, OLLAMA, 0, 8 * GIB);
    use(rig, 0, 100, 0, VRAM_UNKNOWN);
    use(rig, 0, 101, 0, (uint64_t)1 << 60); /* a driver's nonsense */
    rig_look(rig);
    assert_int_equal(kept(rig), 8 * GIB);
}

static void test_ledger_ceilings__growing_into_them_is_no_doubt(void **state)
{
    struct rig *rig = *state;
    keep(rig, OLLAMA, 0, 10 * GIB);
    use(rig, 0, 100, 0, GIB);
    rig_look(rig);
    rig_pass(rig, SECOND);
    use(rig, 0, 100, 0, 9 * GIB);
    (void)rig_hold(rig, 10, 13 * GIB);
    rig_pass(rig, SECOND);
    use(rig, 0, 100, 0, 11 * GIB - 1); /* beyond them is */
    const char *id = rig_wait(rig, 11, 1);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), NOTHING_SAID);
    ledger_end(rig->ledger, rig->answers.list[0].id, rig->now_ns);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), NOTHING_SAID);
    assert_int_equal(rig_waiter(rig, id).reason, LEDGER_FOR_QUIET);
    assert_int_equal(rig_waiter(rig, id).pid, 100);
}

static void test_ledger_ceilings__a_lease_of_the_program_comes_out_of_them(void **state)
{
    struct rig *rig = *state;
    keep(rig, OLLAMA, 0, 18 * GIB);
    use(rig, 0, 100, 0, 2 * GIB);
    rig_look(rig);
    struct ledger_request request = rig_request(rig, 100, 14 * GIB);
    const char *id = rig_ask(rig, &request);
    use(rig, 0, 100, 100, 2 * GIB);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), LEDGER_GRANTED);
    assert_int_equal(kept(rig), 2 * GIB); /* 18 - 2 that it used - 14 that it was promised */
    assert_int_equal(rig_outstanding(rig), 16 * GIB);
    use(rig, 0, 100, 100, 16 * GIB);
    rig_look(rig);
    assert_int_equal(rig_outstanding(rig), 2 * GIB);
    assert_int_equal(ledger_ceiling_at(rig->ledger, 0).held_bytes, 16 * GIB);
    ledger_end(rig->ledger, id, rig->now_ns);
    use(rig, 0, 100, 0, 16 * GIB);
    rig_look(rig);
    assert_int_equal(kept(rig), 2 * GIB); /* nothing is kept twice, nor lost */
}

static void test_ledger_ceilings__a_member_makes_its_owner_stand_for_them(void **state)
{
    struct rig *rig = *state;
    keep(rig, OLLAMA, 0, 10 * GIB);
    const char *id = rig_hold(rig, 10, 12 * GIB); /* nobody knows yet for whom that is */
    assert_int_equal(rig_outstanding(rig), 22 * GIB);
    use(rig, 0, 100, 10, GIB);
    rig_look(rig);
    assert_int_equal(rig_outstanding(rig), 11 * GIB);
    assert_int_equal(kept(rig), 0);
    (void)rig_use(rig, 0, 100, 10, 0); /* it may come back */
    rig_look(rig);
    assert_int_equal(rig_outstanding(rig), 12 * GIB);
    ledger_end(rig->ledger, id, rig->now_ns);
    assert_int_equal(kept(rig), 10 * GIB);
}

static void test_ledger_ceilings__an_owner_can_be_said_to_stand_for_them(void **state)
{
    struct rig *rig = *state;
    keep(rig, OLLAMA, 0, 18 * GIB);
    const char *id = rig_wait(rig, 10, 20 * GIB), *other = rig_wait(rig, 11, 6 * GIB);
    ledger_put_under(rig->ledger, 10, BIT(OLLAMA) | BIT(7));
    ledger_put_under(rig->ledger, 99, BIT(OLLAMA)); /* nobody */
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), LEDGER_GRANTED);
    assert_int_equal(rig_verdict(rig, other), NOTHING_SAID);
    assert_int_equal(rig_outstanding(rig), 20 * GIB);
    assert_int_equal(ledger_kept_of(rig->ledger, rig_uuid(0), BIT(OLLAMA)), 0);
    ledger_forget_ceilings(rig->ledger);
    assert_int_equal(rig_outstanding(rig), 20 * GIB);
    rig_look(rig);
    assert_int_equal(kept(rig), 18 * GIB); /* said to nobody any more */
}

static void test_ledger_ceilings__only_where_they_are(void **state)
{
    struct rig *rig = *state;
    rig_gpus(rig, 3);
    rig->gpus[2].pool = rig->gpus[1].pool;
    keep(rig, OLLAMA, 1, 20 * GIB);
    keep(rig, OLLAMA, 2, 20 * GIB); /* the same memory: once */
    keep(rig, 2, 1, GIB);
    keep(rig, 0, 0, GIB); /* no number, and one beyond them */
    keep(rig, LEDGER_CEILINGS + 1, 0, GIB);
    use(rig, 0, 100, 0, 2 * GIB);
    rig_look(rig);
    assert_int_equal(ledger_ceiling_count(rig->ledger), 2);
    assert_int_equal(kept(rig), 0);
    assert_int_equal(ledger_kept(rig->ledger, rig_uuid(1)), 21 * GIB);
    assert_int_equal(ledger_kept(rig->ledger, rig_uuid(2)), 21 * GIB);
    assert_int_equal(ledger_kept_of(rig->ledger, rig_uuid(2), BIT(2)), GIB);
    assert_int_equal(ledger_kept(rig->ledger, "GPU-x"), 0);
    rig_pass(rig,
             SECOND); /* of a process that a ceiling elsewhere is for nothing is known at first */
    const char *id = rig_hold(rig, 10, 4 * GIB);
    assert_int_equal(rig_said(&rig->answers, id)->gpus[0], 0);
}

static void test_ledger_ceilings__squeeze_no_lease(void **state)
{
    struct rig *rig = *state;
    const char *id = rig_hold(rig, 10, 10 * GIB);
    keep(rig, OLLAMA, 0, 20 * GIB); /* configured later than it was promised */
    rig_look(rig);
    assert_int_equal(rig_outstanding(rig), 30 * GIB);
    assert_int_equal(rig_lease(rig, id).state, LEDGER_OK);
    (void)rig_use(rig, 0, 200, 0, 15 * GIB);
    rig_look(rig);
    assert_int_equal(rig_lease(rig, id).state, LEDGER_SQUEEZED);
    assert_int_equal(rig_said(&rig->states, id)->pid, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_ledger_ceilings__are_kept_whether_the_program_runs_or_not),
        WITH_RIG(test_ledger_ceilings__are_filled_by_what_the_program_uses),
        WITH_RIG(test_ledger_ceilings__unknown_memory_fills_nothing),
        WITH_RIG(test_ledger_ceilings__growing_into_them_is_no_doubt),
        WITH_RIG(test_ledger_ceilings__a_lease_of_the_program_comes_out_of_them),
        WITH_RIG(test_ledger_ceilings__a_member_makes_its_owner_stand_for_them),
        WITH_RIG(test_ledger_ceilings__an_owner_can_be_said_to_stand_for_them),
        WITH_RIG(test_ledger_ceilings__only_where_they_are),
        WITH_RIG(test_ledger_ceilings__squeeze_no_lease),
    };
    return cmocka_run_group_tests_name("ledger_ceilings", tests, NULL, NULL);
}
