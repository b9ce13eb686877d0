/* SPDX-License-Identifier: MIT */
/* Who had the memory: rows that are written down here, and rows that come by chance against a count of every millisecond. */
#include "daemon/history_tally.h"
#include "include/vram.h"
#include "tests/unit/unit.h"

#include <stdio.h>

#define LONGEST 240 /* ms */
#define MOST 64

/* Rows with room for more. */
struct scene {
    struct history_gpu gpus[2];
    struct history_look looks[MOST];
    struct history_lease leases[MOST];
    struct history_resize resizes[MOST];
    struct tally_process processes[MOST];
    struct history_step steps[MOST];
    struct history_member members[MOST];
    struct tally_rows rows;
};

static void begin(struct scene *scene)
{
    memset(scene, 0, sizeof(*scene));
    scene->rows = (struct tally_rows){.gpus = scene->gpus,
                                      .gpu_count = 2,
                                      .looks = scene->looks,
                                      .leases = scene->leases,
                                      .resizes = scene->resizes,
                                      .processes = scene->processes,
                                      .steps = scene->steps,
                                      .members = scene->members};
    for (uint32_t i = 0; i < 2; i++) {
        scene->gpus[i].id = i + 1;
        (void)snprintf(scene->gpus[i].uuid, sizeof(scene->gpus[i].uuid), "GPU-%u", i);
    }
}

static void look(struct scene *scene, uint32_t gpu, int64_t at_ms, bool seen)
{
    scene->looks[scene->rows.look_count++] = (struct history_look){gpu, at_ms, seen};
}

/* Both GPUs, all along. */
static void look_always(struct scene *scene)
{
    look(scene, 1, -1000, true);
    look(scene, 2, -1000, true);
}

/* `gpus`: a bit for each. */
static struct history_lease *lease(struct scene *scene, const char *id, const char *user,
                                   const char *label, uint64_t size, unsigned gpus,
                                   int64_t granted_ms, int64_t ended_ms)
{
    struct history_lease *added = &scene->leases[scene->rows.lease_count++];
    *added = (struct history_lease){
        .size_bytes = size, .asked_ms = granted_ms, .granted_ms = granted_ms, .ended_ms = ended_ms};
    history_text(added->id, sizeof(added->id), id);
    history_text(added->user, sizeof(added->user), user);
    history_text(added->label, sizeof(added->label), label);
    for (size_t i = 0; i < 2; i++) {
        if (gpus >> i & 1) {
            memcpy(added->gpus[added->gpu_count++], scene->gpus[i].uuid, HISTORY_UUID_MAX);
        }
    }
    return added;
}

static void process(struct scene *scene, uint32_t gpu, const char *user, int64_t began_ms,
                    int64_t ended_ms)
{
    struct tally_process *added = &scene->processes[scene->rows.process_count++];
    *added = (struct tally_process){
        .id = scene->rows.process_count, .gpu = gpu, .began_ms = began_ms, .ended_ms = ended_ms};
    history_text(added->user, sizeof(added->user), user);
}

/* Of the process that was added last. */
static void step(struct scene *scene, int64_t at_ms, uint64_t used)
{
    scene->steps[scene->rows.step_count++] =
        (struct history_step){scene->rows.process_count, at_ms, used};
}

static void member(struct scene *scene, int64_t at_ms, const char *id)
{
    struct history_member *added = &scene->members[scene->rows.member_count++];
    *added = (struct history_member){.process = scene->rows.process_count, .at_ms = at_ms};
    history_text(added->lease, sizeof(added->lease), id);
}

static void resize(struct scene *scene, const char *id, int64_t at_ms, uint64_t was)
{
    struct history_resize *added = &scene->resizes[scene->rows.resize_count++];
    *added = (struct history_resize){.at_ms = at_ms, .was_bytes = was};
    history_text(added->lease, sizeof(added->lease), id);
}

/* A tally of all of it, cut into pieces of `piece_ms`. */
static const struct tally_row *tally(const struct scene *scene, struct tally **tally,
                                     enum tally_by by, int64_t from_ms, int64_t to_ms,
                                     int64_t piece_ms, size_t *ret_count)
{
    *tally = tally_new(by);
    assert_non_null(*tally);
    for (int64_t at_ms = from_ms; at_ms < to_ms; at_ms += piece_ms) {
        int64_t until_ms = at_ms + piece_ms < to_ms ? at_ms + piece_ms : to_ms;
        assert_int_equal(tally_add(*tally, at_ms, until_ms, until_ms == to_ms, &scene->rows), 0);
    }
    return tally_rows(*tally, ret_count);
}

/* Leased, held, idle, unleased. */
static void check(const struct tally_row *row, double leased, double held, double idle,
                  double unleased)
{
    assert_true(row->sum.leased == leased);
    assert_true(row->sum.held == held);
    assert_true(row->sum.idle == idle);
    assert_true(row->sum.unleased == unleased);
}

/* ---- Written down ---------------------------------------------------------------------------- */

static void test_tally__nothing_is_a_total_of_nothing(void **state)
{
    struct scene scene;
    struct tally *all;
    size_t count;
    (void)state;
    begin(&scene);
    const struct tally_row *rows = tally(&scene, &all, TALLY_BY_USER, 0, 100, 100, &count);
    assert_int_equal(count, 1);
    assert_int_equal(rows[0].kind, TALLY_TOTAL);
    check(rows, 0, 0, 0, 0);
    all = tally_free(all);
    rows = tally(&scene, &all, TALLY_BY_GPU, 0, 100, 100, &count);
    assert_int_equal(count, 3); /* GPUs are there, whoever has them */
    all = tally_free(all);
}

static void test_tally__two_processes_of_one_lease_are_idle_only_together(void **state)
{
    struct scene scene;
    struct tally *all;
    size_t count;
    (void)state;
    begin(&scene);
    look_always(&scene);
    lease(&scene, "a", "ada", "train", 10, 1, 10, 90);
    process(&scene, 1, "root", 20, 60); /* a container's: it counts for who leased */
    step(&scene, 20, 4);
    member(&scene, 20, "a");
    process(&scene, 1, "ada", 40, HISTORY_RUNNING);
    step(&scene, 40,
         8); /* 12 together: 2 more than leased, which makes nothing less idle elsewhere */
    member(&scene, 40, "a");
    const struct tally_row *rows = tally(&scene, &all, TALLY_BY_USER, 0, 100, 100, &count);
    assert_int_equal(count, 2);
    assert_string_equal(rows[1].name, "ada");
    /* 10–20: 10, 20–40: 6, 40–60: 0, 60–90: 2; beyond its end it is held without a lease. */
    check(&rows[1], 800, 4 * 40 + 8 * 60, 100 + 120 + 60, 8 * 10);
    assert_int_equal(rows[1].sum.granted, 1);
    all = tally_free(all);
    rows = tally(&scene, &all, TALLY_BY_USER, 30, 50, 20, &count); /* of its middle */
    check(&rows[0], 200, 4 * 20 + 8 * 10, 60, 0);
    assert_int_equal(rows[0].sum.granted, 0);
    all = tally_free(all);
    rows = tally(&scene, &all, TALLY_BY_LABEL, 0, 100, 7, &count);
    assert_int_equal(count, 3);
    assert_string_equal(rows[1].name, "train");
    assert_int_equal(rows[2].kind, TALLY_UNLEASED);
    check(&rows[1], 800, 4 * 40 + 8 * 50, 280, 0);
    check(&rows[2], 0, 80, 0, 80);
    all = tally_free(all);
}

static void test_tally__a_lease_on_two_gpus_is_one_lease(void **state)
{
    struct scene scene;
    struct tally *all;
    size_t count;
    (void)state;
    begin(&scene);
    look_always(&scene);
    lease(&scene, "a", "ada", "", 10, 3, 0, 100)->asked_ms = -5000;
    process(&scene, 2, "ada", 0, 100);
    step(&scene, 0, 10);
    member(&scene, 0, "a");
    const struct tally_row *rows = tally(&scene, &all, TALLY_BY_GPU, 0, 100, 100, &count);
    assert_int_equal(count, 3);
    check(&rows[0], 2000, 1000, 1000, 0);
    check(&rows[1], 1000, 0, 1000, 0);
    check(&rows[2], 1000, 1000, 0, 0);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(rows[i].sum.granted, 1);
        assert_int_equal(rows[i].sum.waited, 1);
        assert_int_equal(rows[i].sum.median_ms, 5000);
    }
    all = tally_free(all);
    scene.rows.gpu_count = 1; /* of the first alone */
    rows = tally(&scene, &all, TALLY_BY_USER, 0, 100, 100, &count);
    check(&rows[0], 1000, 0, 1000, 0);
    all = tally_free(all);
}

/* A lease on one GPU says nothing of what its owner holds on another. */
static void test_tally__what_is_held_elsewhere_is_not_leased(void **state)
{
    struct scene scene;
    struct tally *all;
    size_t count;
    (void)state;
    begin(&scene);
    look_always(&scene);
    lease(&scene, "a", "ada", "", 10, 1, 0, 100);
    process(&scene, 2, "bob", 0, 100);
    step(&scene, 0, 3);
    member(&scene, 0, "a");
    const struct tally_row *rows = tally(&scene, &all, TALLY_BY_USER, 0, 100, 100, &count);
    assert_string_equal(rows[1].name, "ada");
    check(&rows[1], 1000, 0, 1000, 0);
    assert_string_equal(rows[2].name, "bob");
    check(&rows[2], 0, 300, 0, 300);
    all = tally_free(all);
}

static void test_tally__what_nobody_saw_is_neither_held_nor_idle(void **state)
{
    struct scene scene;
    struct tally *all;
    size_t count;
    (void)state;
    begin(&scene);
    look(&scene, 1, 10, true);
    look(&scene, 1, 40, false);
    look(&scene, 1, 70, true);
    lease(&scene, "a", "ada", "", 10, 1, 0, HISTORY_RUNNING);
    process(&scene, 1, "ada", 20, HISTORY_RUNNING);
    step(&scene, 20, 4);
    step(&scene, 80, VRAM_UNKNOWN); /* the driver does not tell */
    step(&scene, 90, 6);
    member(&scene, 20, "a");
    const struct tally_row *rows = tally(&scene, &all, TALLY_BY_USER, 0, 100, 100, &count);
    /* Seen from 10 to 40 and from 70 on; of that, 80 to 90 is not known. */
    check(&rows[1], 1000, 4 * 30 + 6 * 10, 100 + 6 * 20 + 6 * 10 + 4 * 10, 0);
    assert_true(rows[1].sum.unknown_held_ms == 30 + 10);
    assert_true(rows[1].sum.unknown_idle_ms == 10 + 30 + 10);
    assert_int_equal(tally_seen_ms(&scene.rows, 1, 0, 100), 60);
    assert_int_equal(tally_seen_ms(&scene.rows, 2, 0, 100), 0);
    all = tally_free(all);
}

static void test_tally__sizes_change(void **state)
{
    struct scene scene;
    struct tally *all;
    size_t count;
    (void)state;
    begin(&scene);
    look_always(&scene);
    lease(&scene, "a", "ada", "", 1, 1, 10, 90);
    lease(&scene, "b", "ada", "", VRAM_UNKNOWN, 1, 10, 90);
    resize(&scene, "a", 30, 5);
    resize(&scene, "a", 60, 20);
    const struct tally_row *rows = tally(&scene, &all, TALLY_BY_USER, 0, 100, 9, &count);
    check(&rows[1], 5 * 20 + 20 * 30 + 30, 0, 5 * 20 + 20 * 30 + 30, 0);
    assert_true(rows[1].sum.unknown_idle_ms == 80);
    all = tally_free(all);
}

static void test_tally__who_waited_and_who_gave_up(void **state)
{
    static const int64_t waits[] = {0, 999, 1000, 3000, 9000, 2000};
    struct scene scene;
    struct tally *all;
    size_t count;
    char id[2] = "a";
    (void)state;
    begin(&scene);
    for (size_t i = 0; i < ARRAY_LENGTH(waits); i++, id[0]++) {
        lease(&scene, id, i < 5 ? "ada" : "", "", 1, 1, 50, 60)->asked_ms = 50 - waits[i];
    }
    struct history_lease *never = lease(&scene, "x", "ada", "", 1, 0, HISTORY_RUNNING, 70);
    never->asked_ms = 10;
    struct history_lease *waits_on =
        lease(&scene, "y", "ada", "", 1, 0, HISTORY_RUNNING, HISTORY_RUNNING);
    waits_on->asked_ms = 20;
    lease(&scene, "z", "ada", "", 1, 1, 150, 160)->asked_ms = 99; /* granted after it */
    const struct tally_row *rows = tally(&scene, &all, TALLY_BY_USER, 0, 100, 10, &count);
    assert_int_equal(count, 3);
    assert_int_equal(rows[0].sum.granted, 6);
    assert_int_equal(rows[0].sum.waited, 4);
    assert_int_equal(rows[0].sum.median_ms, 2500);
    assert_string_equal(rows[1].name, "ada");
    assert_int_equal(rows[1].sum.granted, 5);
    assert_int_equal(rows[1].sum.waited, 3);
    assert_int_equal(rows[1].sum.waited_ms, 13000);
    assert_int_equal(rows[1].sum.median_ms, 3000);
    assert_int_equal(rows[1].sum.longest_ms, 9000);
    assert_int_equal(rows[1].sum.gave_up, 1);
    assert_int_equal(rows[1].sum.waiting, 2);
    assert_int_equal(rows[2].kind, TALLY_NAMELESS);
    assert_int_equal(rows[2].sum.granted, 1);
    all = tally_free(all);
}

static void test_tally__many_labels(void **state)
{
    struct scene scene;
    struct tally *all = tally_new(TALLY_BY_LABEL);
    char text[16];
    size_t count;
    (void)state;
    for (int i = 0; i < 500; i++) {
        begin(&scene);
        (void)snprintf(text, sizeof(text), "job %d", i % 250);
        lease(&scene, "a", "ada", text, (uint64_t)(1 + i % 250), 1, 0, 10);
        assert_int_equal(tally_add(all, 0, 10, false, &scene.rows), 0);
    }
    const struct tally_row *rows = tally_rows(all, &count);
    assert_int_equal(count, 251);
    assert_true(rows[0].sum.leased == 10.0 * 250 * 251);
    for (size_t i = 1; i < count; i++) {
        assert_true(rows[i].sum.leased == 20.0 * (double)(251 - i));
        assert_int_equal(rows[i].sum.granted, 2);
    }
    all = tally_free(all);
}

/* ---- By chance ------------------------------------------------------------------------------- */

static uint32_t chance_state;

static uint32_t chance(uint32_t below)
{
    chance_state = chance_state * 1664525 + 1013904223;
    return (chance_state >> 8) % below;
}

/* Rising moments. */
static int64_t after(int64_t at_ms)
{
    return at_ms + 1 + chance(60);
}

static void add_chance_leases(struct scene *scene)
{
    static const char *const users[] = {"ada", "bob", ""};
    char id[2] = "a";
    for (uint32_t i = 0; i < 5; i++, id[0]++) {
        bool granted = chance(8) > 0;
        int64_t granted_ms = chance(LONGEST), ended_ms = granted_ms + chance(LONGEST);
        uint64_t size = chance(12) ? 1 + chance(20) : VRAM_UNKNOWN;
        struct history_lease *added =
            lease(scene, id, users[chance(3)], users[chance(3)], size, 1 + chance(3),
                  granted ? granted_ms : HISTORY_RUNNING, chance(3) ? ended_ms : HISTORY_RUNNING);
        added->asked_ms = granted_ms - chance(3000);
        int64_t at_ms = granted_ms;
        for (uint32_t j = chance(3); j > 0; j--) {
            at_ms = after(at_ms);
            resize(scene, id, at_ms, 1 + chance(20));
        }
    }
}

static void add_chance_processes(struct scene *scene)
{
    static const char *const users[] = {"ada", "bob", ""};
    static const char *const ids[] = {"a", "b", "c", "d", "e", "", "gone"};
    for (uint32_t i = 0; i < 8; i++) {
        int64_t began_ms = (int64_t)chance(LONGEST) - 50, ended_ms = began_ms + chance(LONGEST);
        process(scene, 1 + chance(2), users[chance(3)], began_ms,
                chance(4) ? ended_ms : HISTORY_RUNNING);
        int64_t at_ms = began_ms;
        for (uint32_t j = 1 + chance(4); j > 0; j--, at_ms = after(at_ms)) {
            step(scene, at_ms, chance(8) ? chance(15) : VRAM_UNKNOWN);
        }
        at_ms = began_ms;
        for (uint32_t j = chance(4); j > 0; j--, at_ms = after(at_ms)) {
            member(scene, at_ms, ids[chance(7)]);
        }
    }
}

static void add_chance(struct scene *scene)
{
    begin(scene);
    for (uint32_t gpu = 1; gpu <= 2; gpu++) {
        bool seen = true;
        for (int64_t at_ms = (int64_t)chance(60) - 40; at_ms < LONGEST; at_ms = after(at_ms)) {
            look(scene, gpu, at_ms, seen);
            seen = chance(4) ? !seen : seen;
        }
    }
    add_chance_leases(scene);
    add_chance_processes(scene);
}

/* What is so at one moment, each found by going through all rows. */
static bool seen_at(const struct scene *scene, uint32_t gpu, int64_t at_ms)
{
    bool seen = false;
    for (size_t i = 0; i < scene->rows.look_count; i++) {
        const struct history_look *one = &scene->looks[i];
        seen = one->gpu == gpu && one->at_ms <= at_ms ? one->seen : seen;
    }
    return seen;
}

static uint64_t used_at(const struct scene *scene, uint64_t id, int64_t at_ms)
{
    uint64_t used = VRAM_UNKNOWN;
    for (size_t i = 0; i < scene->rows.step_count; i++) {
        const struct history_step *one = &scene->steps[i];
        used = one->process == id && one->at_ms <= at_ms ? one->used_bytes : used;
    }
    return used;
}

static uint64_t size_at(const struct scene *scene, const struct history_lease *of, int64_t at_ms)
{
    for (size_t i = 0; i < scene->rows.resize_count; i++) {
        const struct history_resize *one = &scene->resizes[i];
        if (strcmp(one->lease, of->id) == 0 && at_ms < one->at_ms) {
            return one->was_bytes;
        }
    }
    return of->size_bytes;
}

/* The lease that a process counts for then, of those that stand on its GPU. */
static const struct history_lease *lease_at(const struct scene *scene,
                                            const struct tally_process *of, int64_t at_ms)
{
    const char *id = "", *uuid = scene->gpus[of->gpu - 1].uuid;
    for (size_t i = 0; i < scene->rows.member_count; i++) {
        const struct history_member *one = &scene->members[i];
        id = one->process == of->id && one->at_ms <= at_ms ? one->lease : id;
    }
    for (size_t i = 0; i < scene->rows.lease_count; i++) {
        const struct history_lease *one = &scene->leases[i];
        bool stands = one->granted_ms != HISTORY_RUNNING && one->granted_ms <= at_ms &&
                      (one->ended_ms == HISTORY_RUNNING || one->ended_ms > at_ms);
        for (size_t j = 0; stands && strcmp(one->id, id) == 0 && j < one->gpu_count; j++) {
            if (strcmp(one->gpus[j], uuid) == 0) {
                return one;
            }
        }
    }
    return NULL;
}

static bool runs_at(const struct tally_process *of, int64_t at_ms)
{
    return of->began_ms <= at_ms && (of->ended_ms == HISTORY_RUNNING || of->ended_ms > at_ms);
}

/* A lease on a GPU in this millisecond. */
static void count_place(const struct scene *scene, const struct history_lease *of, uint32_t gpu,
                        int64_t at_ms, struct tally_sum *sum)
{
    uint64_t size = size_at(scene, of, at_ms), held = 0;
    bool known = size != VRAM_UNKNOWN && seen_at(scene, gpu, at_ms);
    for (size_t i = 0; i < scene->rows.process_count; i++) {
        const struct tally_process *one = &scene->processes[i];
        if (one->gpu == gpu && runs_at(one, at_ms) && lease_at(scene, one, at_ms) == of) {
            uint64_t used = used_at(scene, one->id, at_ms);
            known = known && used != VRAM_UNKNOWN;
            held += used;
        }
    }
    sum->leased += size == VRAM_UNKNOWN ? 0 : (double)size;
    sum->unknown_idle_ms += !known;
    sum->idle += known && size > held ? (double)(size - held) : 0;
}

static void count_process(const struct scene *scene, const struct tally_process *of, int64_t at_ms,
                          struct tally_sum *sum)
{
    uint64_t used = used_at(scene, of->id, at_ms);
    if (used == VRAM_UNKNOWN || !seen_at(scene, of->gpu, at_ms)) {
        sum->unknown_held_ms++;
        return;
    }
    sum->held += (double)used;
    sum->unleased += lease_at(scene, of, at_ms) ? 0 : (double)used;
}

/* What one user has in the time; NULL: all. */
static struct tally_sum count_slowly(const struct scene *scene, const char *user, int64_t from_ms,
                                     int64_t to_ms)
{
    struct tally_sum sum = {0};
    for (int64_t at_ms = from_ms; at_ms < to_ms; at_ms++) {
        for (size_t i = 0; i < scene->rows.lease_count; i++) {
            const struct history_lease *one = &scene->leases[i];
            bool stands = one->granted_ms != HISTORY_RUNNING && one->granted_ms <= at_ms &&
                          (one->ended_ms == HISTORY_RUNNING || one->ended_ms > at_ms);
            for (size_t j = 0; stands && j < one->gpu_count; j++) {
                if (!user || strcmp(one->user, user) == 0) {
                    count_place(scene, one, (uint32_t)(one->gpus[j][4] - '0' + 1), at_ms, &sum);
                }
            }
        }
        for (size_t i = 0; i < scene->rows.process_count; i++) {
            const struct tally_process *one = &scene->processes[i];
            const struct history_lease *of = lease_at(scene, one, at_ms);
            if (runs_at(one, at_ms) && (!user || strcmp(of ? of->user : one->user, user) == 0)) {
                count_process(scene, one, at_ms, &sum);
            }
        }
    }
    return sum;
}

static void check_same(const struct tally_sum *sum, const struct tally_sum *slow)
{
    assert_true(sum->leased == slow->leased);
    assert_true(sum->held == slow->held);
    assert_true(sum->idle == slow->idle);
    assert_true(sum->unleased == slow->unleased);
    assert_true(sum->unknown_held_ms == slow->unknown_held_ms);
    assert_true(sum->unknown_idle_ms == slow->unknown_idle_ms);
}

static void test_tally__by_chance_as_if_each_millisecond_were_counted(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 300; seed++) {
        struct scene scene;
        struct tally *all;
        size_t count;
        chance_state = seed;
        add_chance(&scene);
        int64_t from_ms = chance(40), to_ms = LONGEST - (int64_t)chance(40);
        struct tally_sum slow = count_slowly(&scene, NULL, from_ms, to_ms);
        const struct tally_row *rows =
            tally(&scene, &all, TALLY_BY_USER, from_ms, to_ms, 1 + chance(LONGEST), &count);
        check_same(&rows[0].sum, &slow);
        for (size_t i = 1; i < count; i++) {
            slow = count_slowly(&scene, rows[i].name, from_ms, to_ms);
            check_same(&rows[i].sum, &slow);
        }
        all = tally_free(all);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_tally__nothing_is_a_total_of_nothing),
        TEST(test_tally__two_processes_of_one_lease_are_idle_only_together),
        TEST(test_tally__a_lease_on_two_gpus_is_one_lease),
        TEST(test_tally__what_is_held_elsewhere_is_not_leased),
        TEST(test_tally__what_nobody_saw_is_neither_held_nor_idle),
        TEST(test_tally__sizes_change),
        TEST(test_tally__who_waited_and_who_gave_up),
        TEST(test_tally__many_labels),
        TEST(test_tally__by_chance_as_if_each_millisecond_were_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
