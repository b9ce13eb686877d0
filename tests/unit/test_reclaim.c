/* SPDX-License-Identifier: MIT */
/* Who is asked to make room, and what is told of it, through samples that are made up and a clock that is passed in. Leases on
 * offer: whom configured holders are asked with is for tests/daemon/test_room.py. */
#include "daemon/reclaim.h"
#include "tests/unit/make_snapshot.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>

#define SECOND UINT64_C(1000000000)
#define LEASES_MAX 40
#define WAITER "waiter"

/* A desk with leases on offer, on one card. */
struct desk {
    struct reclaim *reclaim;
    struct vram_snapshot *snapshot;
    uint64_t now_ns;
    size_t count;
    char ids[LEASES_MAX][RECLAIM_ID_MAX], names[LEASES_MAX][RECLAIM_NAME_MAX];
    uint64_t held[LEASES_MAX][1];
    struct reclaim_offer offers[LEASES_MAX];
    char asked[1024]; /* whom, in their order: "a b" */
    uint64_t asked_bytes;
    int refuses; /* what asking returns */
    unsigned told;
    uint64_t returned_bytes;
    char text[RECLAIM_TEXT_MAX], note[RECLAIM_TEXT_MAX];
};

static uint64_t promised(void *data, const struct vram_gpu *gpu, const struct vram_process *process)
{
    (void)data;
    (void)gpu;
    (void)process;
    return 0;
}

static int ask(void *data, const char *lease, const struct reclaim_wanted *wanted, const char *id)
{
    struct desk *desk = data;
    size_t length = strlen(desk->asked);
    assert_string_equal(id, WAITER);
    assert_int_equal(wanted->gpu_count, 1);
    assert_memory_equal(wanted->gpus[0], "GPU-0000000", strlen("GPU-0000000"));
    if (desk->refuses == 0) {
        (void)snprintf(desk->asked + length, sizeof(desk->asked) - length, "%s%s",
                       length ? " " : "", lease);
        desk->asked_bytes = wanted->bytes;
    }
    return desk->refuses;
}

static void told(void *data, const struct reclaim_result *result)
{
    struct desk *desk = data;
    assert_non_null(result->lease);
    assert_string_equal(result->id, WAITER);
    desk->told++;
    desk->returned_bytes = result->returned_bytes;
    (void)snprintf(desk->text, sizeof(desk->text), "%s", result->text);
}

static void desk_begin(struct desk *desk)
{
    static const struct reclaim_ops ops = {.promised = promised, .ask = ask, .told = told};
    struct machine *machine = machine_new(NULL);
    *desk = (struct desk){.now_ns = 100 * SECOND};
    (void)machine_card(machine, 24 * GIB, 0, 20 * GIB);
    desk->snapshot = machine_snapshot(machine, VRAM_TAKE_PROCESSES);
    machine_free(machine);
    desk->reclaim = reclaim_new(NULL, &ops, desk);
    assert_non_null(desk->reclaim);
}

static void desk_end(struct desk *desk)
{
    desk->reclaim = reclaim_free(desk->reclaim);
    vram_snapshot_unref(desk->snapshot);
}

static struct reclaim_offer *offer(struct desk *desk, const char *id, uint64_t held_bytes,
                                   uint32_t cost)
{
    size_t i = desk->count++;
    (void)snprintf(desk->ids[i], sizeof(desk->ids[i]), "%s", id);
    (void)snprintf(desk->names[i], sizeof(desk->names[i]), "job %s", id);
    desk->held[i][0] = held_bytes;
    desk->offers[i] = (struct reclaim_offer){
        .id = desk->ids[i],
        .name = desk->names[i],
        .cost = cost,
        .ready = true,
        .held_bytes = desk->held[i],
    };
    return &desk->offers[i];
}

/* A sample, so long after the last one, and whether something is done for who lacks so much. */
static bool serve(struct desk *desk, uint64_t after_ns, uint64_t lacks_bytes)
{
    struct reclaim_lack lack = {0, lacks_bytes};
    struct reclaim_wish wish = {.id = WAITER, .wanted = 1, .lack_count = 1, .lacks = &lack};
    desk->now_ns += after_ns;
    assert_int_equal(
        reclaim_look(desk->reclaim, desk->snapshot, desk->offers, desk->count, desk->now_ns), 0);
    return reclaim_serve(desk->reclaim, &wish, desk->now_ns, desk->note);
}

static void answer(struct desk *desk, const char *id, enum reclaim_answer answer)
{
    reclaim_answer(desk->reclaim, id, answer, desk->now_ns);
}

/* ---- What comes back ------------------------------------------------------------------------- */

static void test_offer__what_is_given_is_told(void **state)
{
    struct desk desk;
    (void)state;
    desk_begin(&desk);
    (void)offer(&desk, "a", 14 * GIB, 10);
    assert_true(serve(&desk, 0, 5 * GIB));
    assert_string_equal(desk.asked, "a");
    assert_int_equal(desk.asked_bytes, 5 * GIB);
    assert_string_equal(desk.note, "job a (14.0 GiB) is asked to give back");
    assert_true(reclaim_is_open(desk.reclaim));
    desk.held[0][0] = 6 * GIB;
    assert_true(serve(&desk, SECOND / 2, 0));
    answer(&desk, "a", RECLAIM_DONE);
    assert_int_equal(desk.told, 0); /* more may come */
    (void)serve(&desk, SECOND / 2, 0);
    assert_int_equal(desk.told, 1);
    assert_int_equal(desk.returned_bytes, 8 * GIB);
    assert_string_equal(desk.text, "asked job a: 8.0 GiB back in 0.5 s");
    assert_false(reclaim_is_open(desk.reclaim));
    assert_true(serve(&desk, 0, 5 * GIB)); /* it has not failed, and is asked for more at once */
    assert_string_equal(desk.asked, "a a");
    desk_end(&desk);
}

static void test_offer__a_grant_ends_it_without_an_answer(void **state)
{
    struct desk desk;
    (void)state;
    desk_begin(&desk);
    (void)offer(&desk, "a", 14 * GIB, 10);
    assert_true(serve(&desk, 0, 5 * GIB));
    reclaim_settle(desk.reclaim, WAITER, desk.now_ns);
    assert_int_equal(desk.told, 0); /* nothing came back from it: another made room */
    desk.held[0][0] = 0;
    (void)serve(&desk, SECOND / 10, 0);
    reclaim_settle(desk.reclaim, WAITER, desk.now_ns);
    assert_string_equal(desk.text, "asked job a: 14.0 GiB back in 0.1 s");
    answer(&desk, "a", RECLAIM_BUSY); /* too late to say anything */
    assert_int_equal(desk.told, 1);
    desk_end(&desk);
}

static void test_offer__done_and_kept_is_nothing(void **state)
{
    struct desk desk;
    (void)state;
    desk_begin(&desk);
    (void)offer(&desk, "a", 14 * GIB, 10);
    for (uint64_t rest = 60; rest <= 240; rest *= 2) { /* longer each time */
        assert_true(serve(&desk, 0, 5 * GIB));
        answer(&desk, "a", RECLAIM_DONE);
        assert_true(serve(&desk, 9 * SECOND, 5 * GIB)); /* it may come yet */
        assert_false(serve(&desk, SECOND, 5 * GIB));
        assert_string_equal(desk.text, "asked job a: nothing came back");
        assert_string_equal(desk.note, "job a (14.0 GiB) gave nothing back when it was asked");
        assert_false(serve(&desk, (rest - 1) * SECOND, 5 * GIB));
        desk.now_ns += SECOND;
    }
    assert_string_equal(desk.asked, "a a a");
    desk_end(&desk);
}

static void test_offer__who_does_not_answer(void **state)
{
    struct desk desk;
    (void)state;
    desk_begin(&desk);
    struct reclaim_offer *one = offer(&desk, "a", 14 * GIB, 10);
    assert_true(serve(&desk, 0, 5 * GIB));
    one->ready = false; /* as it has not come back */
    assert_true(serve(&desk, 9 * SECOND, 5 * GIB));
    assert_false(serve(&desk, SECOND, 5 * GIB));
    assert_string_equal(desk.text, "asked job a: nothing came back (no answer in time)");
    one->ready = true; /* late, but it listens again */
    answer(&desk, "a", RECLAIM_DONE);
    assert_false(serve(&desk, SECOND, 5 * GIB));
    assert_int_equal(desk.told, 1);
    desk_end(&desk);
}

static void test_offer__failures(void **state)
{
    static const struct {
        enum reclaim_answer answer;
        const char *text;
    } cases[] = {
        {RECLAIM_FAILED, "asked job a: nothing came back (it could not)"},
        {RECLAIM_BROKEN, "asked job a: nothing came back (it does not know that it was asked)"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct desk desk;
        desk_begin(&desk);
        (void)offer(&desk, "a", 14 * GIB, 10);
        assert_true(serve(&desk, 0, 5 * GIB));
        answer(&desk, "a", cases[i].answer);
        assert_false(serve(&desk, SECOND, 5 * GIB));
        assert_string_equal(desk.text, cases[i].text);
        desk_end(&desk);
    }
}

static void test_offer__one_that_cannot_be_asked(void **state)
{
    struct desk desk;
    (void)state;
    desk_begin(&desk);
    (void)offer(&desk, "a", 14 * GIB, 10);
    desk.refuses = -ENOENT;
    assert_true(serve(&desk, 0, 5 * GIB));
    assert_false(serve(&desk, SECOND, 5 * GIB));
    assert_string_equal(desk.text, "asked job a: nothing came back (it cannot be asked)");
    desk_end(&desk);
}

/* ---- Busy ------------------------------------------------------------------------------------ */

static void test_offer__busy_is_told_once_and_asked_later(void **state)
{
    struct desk desk;
    (void)state;
    desk_begin(&desk);
    (void)offer(&desk, "a", 14 * GIB, 10);
    for (int i = 0; i < 3; i++) {
        assert_true(serve(&desk, 0, 5 * GIB));
        answer(&desk, "a", RECLAIM_BUSY);
        assert_false(reclaim_is_open(desk.reclaim)); /* others can be asked at once */
        assert_false(serve(&desk, 0, 5 * GIB));
        assert_string_equal(desk.note, "job a (14.0 GiB) is busy");
        assert_string_equal(reclaim_view_at(desk.reclaim, 0, desk.now_ns).state, "busy");
        assert_false(serve(&desk, 5 * SECOND - 1, 5 * GIB));
        desk.now_ns++;
        assert_int_equal(desk.told, 1);
        assert_string_equal(desk.text, "asked job a: nothing came back (it is busy)");
    }
    assert_string_equal(desk.asked, "a a a");
    desk_end(&desk);
}

static void test_offer__another_is_asked_where_one_is_busy(void **state)
{
    struct desk desk;
    (void)state;
    desk_begin(&desk);
    (void)offer(&desk, "a", 14 * GIB, 10);
    (void)offer(&desk, "b", 8 * GIB, 20);
    assert_true(serve(&desk, 0, 5 * GIB));
    assert_string_equal(desk.asked, "a");
    answer(&desk, "a", RECLAIM_BUSY);
    assert_true(serve(&desk, 0, 5 * GIB));
    assert_string_equal(desk.asked, "a b");
    desk_end(&desk);
}

/* ---- Whom ------------------------------------------------------------------------------------ */

static void test_offer__who_does_not_listen_or_has_nothing(void **state)
{
    struct desk desk;
    (void)state;
    desk_begin(&desk);
    offer(&desk, "a", 14 * GIB, 10)->ready = false;
    (void)offer(&desk, "b", 0, 10);
    assert_false(serve(&desk, 0, 5 * GIB));
    assert_string_equal(desk.note, "");
    assert_string_equal(desk.asked, "");
    desk_end(&desk);
}

static void test_offer__several_together(void **state)
{
    struct desk desk;
    (void)state;
    desk_begin(&desk);
    (void)offer(&desk, "a", 6 * GIB, 10);
    (void)offer(&desk, "b", 4 * GIB, 10);
    (void)offer(&desk, "c", 6 * GIB, 20);
    assert_false(serve(&desk, 0, 17 * GIB)); /* all are not enough */
    assert_true(serve(&desk, 0, 9 * GIB));
    assert_string_equal(desk.asked, "a b");
    assert_int_equal(desk.asked_bytes, 4 * GIB);
    desk_end(&desk);
}

/* Every set of so many would be looked at: of the rest those that hold most. */
static void test_offer__of_many_those_that_hold_most(void **state)
{
    struct desk desk;
    (void)state;
    desk_begin(&desk);
    for (unsigned i = 0; i < LEASES_MAX; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "%02u", i);
        (void)offer(&desk, id, (i % 2 ? 100 + i : 200 + i) * (GIB / 256), 10);
    }
    uint64_t most = 0; /* that the 16 largest hold: those of 38, 36, … 8 */
    for (unsigned i = 8; i < LEASES_MAX; i += 2) {
        most += (200 + i) * (GIB / 256);
    }
    assert_false(serve(&desk, 0, most + 1));
    assert_true(serve(&desk, 0, most));
    assert_string_equal(desk.asked, "38 36 34 32 30 28 26 24 22 20 18 16 14 12 10 08");
    desk_end(&desk);
}

static void test_offer__leases_come_and_go_in_any_order(void **state)
{
    struct desk desk;
    (void)state;
    desk_begin(&desk);
    (void)offer(&desk, "a", 4 * GIB, 10);
    (void)offer(&desk, "b", 4 * GIB, 10);
    (void)offer(&desk, "c", 14 * GIB, 10);
    assert_true(serve(&desk, 0, 5 * GIB));
    desk.offers[0] = desk.offers[2]; /* "a" has ended, and "c" is where it was */
    desk.held[2][0] = 0;
    desk.count = 2;
    (void)serve(&desk, SECOND / 2, 0);
    answer(&desk, "c", RECLAIM_DONE);
    (void)serve(&desk, SECOND, 0);
    assert_string_equal(desk.text, "asked job c: 14.0 GiB back in 0.5 s");
    assert_int_equal(reclaim_count(desk.reclaim), 2);
    desk.count = 0;
    assert_false(serve(&desk, 0, 0));
    assert_int_equal(reclaim_count(desk.reclaim), 0);
    desk_end(&desk);
}

static void test_offer__a_reload_leaves_leases_alone(void **state)
{
    static const struct config_holder configured = {
        .name = "ollama", .match = "name:ollama", .busy = HOLDER_BUSY_NEVER, .cost = 10};
    struct desk desk;
    (void)state;
    desk_begin(&desk);
    (void)offer(&desk, "a", 14 * GIB, 10);
    assert_int_equal(reclaim_take(desk.reclaim), 0);
    assert_true(serve(&desk, 0, 5 * GIB));
    assert_int_equal(reclaim_take(desk.reclaim), VRAM_TAKE_PROCESSES);
    assert_int_equal(reclaim_configure(desk.reclaim, &configured, 1), 0);
    assert_int_equal(reclaim_take(desk.reclaim), VRAM_TAKE_PROCESSES | VRAM_TAKE_HEALTH);
    desk.held[0][0] = 0;
    (void)serve(&desk, SECOND, 0);
    reclaim_settle(desk.reclaim, WAITER, desk.now_ns);
    assert_int_equal(desk.told, 1);
    struct reclaim_view first = reclaim_view_at(desk.reclaim, 0, desk.now_ns);
    struct reclaim_view second = reclaim_view_at(desk.reclaim, 1, desk.now_ns);
    assert_string_equal(first.name, "ollama");
    assert_null(first.lease);
    assert_string_equal(second.name, "job a");
    assert_string_equal(second.ask, "lease");
    assert_string_equal(second.lease, "a");
    assert_null(second.match);
    assert_int_equal(reclaim_configure(desk.reclaim, NULL, 0), 0);
    assert_int_equal(reclaim_count(desk.reclaim), 1);
    desk_end(&desk);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_offer__what_is_given_is_told),
        TEST(test_offer__a_grant_ends_it_without_an_answer),
        TEST(test_offer__done_and_kept_is_nothing),
        TEST(test_offer__who_does_not_answer),
        TEST(test_offer__failures),
        TEST(test_offer__one_that_cannot_be_asked),
        TEST(test_offer__busy_is_told_once_and_asked_later),
        TEST(test_offer__another_is_asked_where_one_is_busy),
        TEST(test_offer__who_does_not_listen_or_has_nothing),
        TEST(test_offer__several_together),
        TEST(test_offer__of_many_those_that_hold_most),
        TEST(test_offer__leases_come_and_go_in_any_order),
        TEST(test_offer__a_reload_leaves_leases_alone),
    };
    return cmocka_run_group_tests_name("reclaim", tests, NULL, NULL);
}
