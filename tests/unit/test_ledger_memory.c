/* SPDX-License-Identifier: MIT */
/* The ledger where there is no memory, or its table of GPUs is full: what fails is as if it had not been tried. */
#include "tests/unit/alloc_fail.h"
#include "tests/unit/ledger_rig.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>

/* ---- Without memory -------------------------------------------------------------------------- */

/* What must not change where something fails. */
struct account_of_all {
    size_t leases, waiters;
    uint64_t outstanding_bytes[2];
};

static struct account_of_all look_at(const struct rig *rig)
{
    return (struct account_of_all){
        .leases = ledger_lease_count(rig->ledger),
        .waiters = ledger_waiter_count(rig->ledger),
        .outstanding_bytes = {ledger_outstanding(rig->ledger, rig_uuid(0)),
                              ledger_outstanding(rig->ledger, rig_uuid(1))},
    };
}

static void expect_same(const struct account_of_all *before, const struct rig *rig)
{
    struct account_of_all now = look_at(rig);
    assert_int_equal(now.leases, before->leases);
    assert_int_equal(now.waiters, before->waiters);
    assert_int_equal(now.outstanding_bytes[0], before->outstanding_bytes[0]);
    assert_int_equal(now.outstanding_bytes[1], before->outstanding_bytes[1]);
}

/* Two GPUs; owner 10 holds 4 GiB on one of them, 2 of these in use. */
static void open_used(struct rig *rig)
{
    rig_open(rig, 2);
    (void)rig_hold(rig, 10, 4 * GIB);
    rig_use(rig, 0, 10, 10, 2 * GIB);
    rig_look(rig);
}

/* Does something with each of its allocations failing in turn: it must fail as a whole or not at all. */
static void fail_each(struct rig *rig, int (*act)(struct rig *))
{
    unsigned n = 0, failures = 0;
    for (bool happened = true; happened;) {
        open_used(rig);
        struct account_of_all before = look_at(rig);
        alloc_fail_at(++n);
        int r = act(rig);
        happened = alloc_fail_happened();
        alloc_fail_at(0);
        assert_true(r == 0 || happened);
        if (r < 0) {
            assert_int_equal(r, -ENOMEM);
            failures++;
            expect_same(&before, rig);
            assert_int_equal(act(rig), 0);
        }
        rig_look(rig); /* and all goes on */
        rig_close(rig);
    }
    assert_true(failures > 0);
}

static int ask(struct rig *rig)
{
    const char *const candidates[] = {rig_uuid(1)};
    struct ledger_request request = rig_request(rig, 20, GIB);
    request.candidates = candidates;
    request.candidate_count = 1;
    return ledger_ask(rig->ledger, &request, rig->now_ns);
}

static int ask_much(struct rig *rig) /* more than there was room for */
{
    int r = 0;
    for (uint64_t i = 0; r == 0 && i < 40; i++) {
        struct ledger_request request = rig_request(rig, 100 + i, ROOM);
        r = ledger_ask(rig->ledger, &request, rig->now_ns);
        if (r < 0) { /* those before it are taken back, so that it is one action */
            for (uint64_t j = 0; j < i; j++) {
                ledger_owner_ended(rig->ledger, 100 + j, rig->now_ns);
            }
        }
    }
    return r;
}

static int restore_lease(struct rig *rig)
{
    struct ledger_share shares[] = {{.uuid = rig_uuid(0)}, {.uuid = rig_uuid(1)}};
    struct ledger_lease lease = {.id = "restored",
                                 .owner = 20,
                                 .size_bytes = GIB,
                                 .until_ns = LEDGER_NEVER,
                                 .gpu_count = 2,
                                 .gpus = shares};
    return ledger_restore_lease(rig->ledger, &lease);
}

static int restore_waiter(struct rig *rig)
{
    struct ledger_request request = rig_request(rig, 20, GIB);
    return ledger_restore_waiter(rig->ledger, &request, rig->now_ns);
}

static void test_ledger_memory__requests_fail_as_a_whole(void **state)
{
    struct rig rig;
    (void)state;
    fail_each(&rig, ask);
    fail_each(&rig, ask_much);
}

static void test_ledger_memory__restoring_fails_as_a_whole(void **state)
{
    struct rig rig;
    (void)state;
    fail_each(&rig, restore_lease);
    fail_each(&rig, restore_waiter);
}

static int take_sample(struct rig *rig)
{
    const struct ledger_sample sample = {
        .begun_ns = rig->begun_ns,
        .ended_ns = rig->now_ns,
        .gpu_count = rig->gpu_count,
        .use_count = rig->use_count,
        .gpus = rig->gpus,
        .uses = rig->uses,
    };
    return ledger_take(rig->ledger, &sample, rig->now_ns);
}

/* A sample that meets a request for both GPUs: it is granted, refused because it could not be written down, or waits for
 * the next sample. Nothing in between. */
static void test_ledger_memory__a_sample_grants_all_or_nothing(void **state)
{
    struct rig rig;
    unsigned n = 0, refused = 0, waited = 0;
    (void)state;
    for (bool happened = true; happened;) {
        open_used(&rig);
        struct account_of_all before = look_at(&rig);
        struct ledger_request request = rig_request(&rig, 20, 3 * GIB);
        request.gpu_count = 2;
        const char *id = rig_ask(&rig, &request);
        rig_use(&rig, 1, 30, 0, 32 * MIB);
        rig_begin(&rig);
        rig_pass(&rig, MILLISECOND);
        alloc_fail_at(++n);
        int r = take_sample(&rig);
        happened = alloc_fail_happened();
        alloc_fail_at(0);
        assert_true(r == 0 || (happened && r == -ENOMEM));
        int verdict = rig_verdict(&rig, id);
        if (verdict == LEDGER_GRANTED) {
            assert_int_equal(rig_outstanding(&rig), 5 * GIB);
        } else if (verdict == LEDGER_UNRECORDED) {
            /* What was written down already must be said to be over. */
            assert_int_equal(rig_end_of(&rig, id),
                             rig.records > 1 ? LEDGER_RELEASED : NOTHING_SAID);
            expect_same(&before, &rig);
            refused++;
        } else {
            assert_int_equal(verdict, NOTHING_SAID);
            assert_true(happened);
            before.waiters = 1;
            expect_same(&before, &rig);
            rig_look(&rig);
            assert_int_equal(rig_verdict(&rig, id), LEDGER_GRANTED);
            waited++;
        }
        rig_close(&rig);
    }
    assert_true(refused > 0 && waited > 0);
}

/* The GPU of two owners becomes known by another, with each allocation of that failing: their promises go along. */
static void test_ledger_memory__promises_follow_their_memory(void **state)
{
    struct rig rig;
    unsigned n = 0, failures = 0;
    (void)state;
    for (bool happened = true; happened;) {
        rig_open(&rig, 1);
        rig_use(&rig, 0, 10, 10, 3 * GIB); /* so that they have a base */
        rig_use(&rig, 0, 11, 11, 2 * GIB);
        (void)rig_hold(&rig, 10, 4 * GIB);
        (void)rig_hold(&rig, 11, 5 * GIB);
        rig_gpus(&rig, 2);
        rig.gpus[1] = rig.gpus[0];
        rig.gpus[0].uuid = rig_uuid(1); /* a new instance of the same card, listed first */
        rig_begin(&rig);
        rig_pass(&rig, MILLISECOND);
        alloc_fail_at(++n);
        int r = take_sample(&rig);
        happened = alloc_fail_happened();
        alloc_fail_at(0);
        assert_true(r == 0 || happened);
        failures += r < 0;
        assert_int_equal(rig_outstanding(&rig), 9 * GIB);
        rig_look(&rig);
        assert_int_equal(rig_outstanding(&rig), 9 * GIB);
        assert_int_equal(ledger_outstanding(rig.ledger, rig_uuid(1)), 9 * GIB);
        rig_close(&rig);
    }
    assert_true(failures > 2);
}

/* ---- More GPUs than there is room for -------------------------------------------------------- */

static void name_gpu(char name[LEDGER_UUID_MAX], unsigned i)
{
    (void)snprintf(name, LEDGER_UUID_MAX, "GPU-%04u", i);
}

/* All of the table is taken by GPUs of a sample. */
static void fill_table(struct rig *rig)
{
    static char names[LEDGER_GPUS + 8][LEDGER_UUID_MAX];
    static struct ledger_gpu gpus[LEDGER_GPUS + 8];
    for (unsigned i = 0; i < ARRAY_LENGTH(gpus); i++) {
        name_gpu(names[i], i);
        gpus[i] = (struct ledger_gpu){
            .uuid = names[i],
            .pool = i,
            .usable = true,
            .current = true,
            .uses_known = true,
            .total_bytes = CARD,
            .free_bytes = i < LEDGER_GPUS ? GIB : CARD, /* those that nobody knows are the best */
        };
    }
    const struct ledger_use use = {
        .gpu = LEDGER_GPUS + 1, .pid = 5, .age_ns = LEDGER_NEVER, .used_bytes = GIB, .name = ""};
    const struct ledger_sample sample = {
        .begun_ns = rig->now_ns,
        .ended_ns = rig->now_ns,
        .gpu_count = ARRAY_LENGTH(gpus),
        .use_count = 1,
        .gpus = gpus,
        .uses = &use,
    };
    assert_int_equal(ledger_take(rig->ledger, &sample, rig->now_ns), 0);
}

static void test_ledger_memory__gpus_beyond_the_table_are_nobodys(void **state)
{
    struct rig *rig = *state;
    const char *any = rig_wait(rig, 10, 2 * GIB);
    fill_table(rig);
    assert_int_equal(rig_verdict(rig, any), NOTHING_SAID);
    assert_string_equal(rig_waiter(rig, any).uuid, "GPU-0000");
    char name[LEDGER_UUID_MAX];
    name_gpu(name, LEDGER_GPUS + 1);
    const char *const candidates[] = {name};
    struct ledger_request request = rig_request(rig, 11, GIB);
    request.candidates = candidates;
    request.candidate_count = 1;
    const char *named = rig_ask(rig, &request);
    fill_table(rig);
    assert_int_equal(rig_verdict(rig, named), LEDGER_CANNOT_TELL);
    assert_int_equal(ledger_outstanding(rig->ledger, name), 0);
}

static void test_ledger_memory__a_lease_beyond_the_table_is_not_restored(void **state)
{
    struct rig *rig = *state;
    fill_table(rig);
    struct ledger_share share = {.uuid = "GPU-new"};
    struct ledger_lease lease = {.id = "restored",
                                 .owner = 20,
                                 .size_bytes = GIB,
                                 .until_ns = LEDGER_NEVER,
                                 .gpu_count = 1,
                                 .gpus = &share};
    assert_int_equal(ledger_restore_lease(rig->ledger, &lease), -ENOSPC);
    assert_int_equal(ledger_lease_count(rig->ledger), 0);
    assert_false(ledger_knows(rig->ledger, 20));
    share.uuid = "GPU-0003";
    assert_int_equal(ledger_restore_lease(rig->ledger, &lease), 0);
    assert_int_equal(ledger_outstanding(rig->ledger, "GPU-0003"), GIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ledger_memory__requests_fail_as_a_whole),
        TEST(test_ledger_memory__restoring_fails_as_a_whole),
        TEST(test_ledger_memory__a_sample_grants_all_or_nothing),
        TEST(test_ledger_memory__promises_follow_their_memory),
        WITH_RIG(test_ledger_memory__gpus_beyond_the_table_are_nobodys),
        WITH_RIG(test_ledger_memory__a_lease_beyond_the_table_is_not_restored),
    };
    return cmocka_run_group_tests_name("ledger_memory", tests, NULL, NULL);
}
