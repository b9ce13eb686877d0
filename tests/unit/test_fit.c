/* SPDX-License-Identifier: MIT */
/* "Does it fit?" case by case; test_fit_model.c has the rest at random. */
#include "tests/unit/make_snapshot.h"
#include "tests/unit/unit.h"

#include <errno.h>

static struct machine *machine;
static struct vram_snapshot *snapshot;
static struct vram_fit *fit;
static struct vram_fit_request request;

static int set_up(void **state)
{
    (void)state;
    machine = machine_new(NULL);
    request = (struct vram_fit_request)VRAM_FIT_REQUEST_INIT;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fit = vram_fit_free(fit);
    snapshot = vram_snapshot_unref(snapshot);
    machine_free(machine);
    return 0;
}

static void look(void)
{
    (void)vram_snapshot_unref(snapshot);
    snapshot = machine_snapshot(machine, VRAM_TAKE_ALL);
}

/* The answer for `size` and what `request` says beside it. */
static uint32_t ask(uint64_t size)
{
    request.size_bytes = size;
    (void)vram_fit_free(fit);
    fit = NULL;
    if (!snapshot) {
        look();
    }
    assert_int_equal(vram_fit(snapshot, &request, &fit), 0);
    assert_int_equal(fit->size_bytes, size);
    return fit->answer;
}

static int ask_in_vain(uint64_t size)
{
    struct vram_fit *untouched = NULL;
    request.size_bytes = size;
    if (!snapshot) {
        look();
    }
    int r = vram_fit(snapshot, &request, &untouched);
    assert_null(untouched);
    return r;
}

/* A card with this much free, whatever the rest of it does. */
static struct source_gpu *card(uint64_t free)
{
    return machine_card(machine, 24564 * MIB, 400 * MIB, 24164 * MIB - free);
}

/* ---- The arithmetic -------------------------------------------------------------------------- */

static void test_fit__fits_exactly_at_the_boundary(void **state)
{
    (void)state;
    (void)card(20000 * MIB);
    assert_int_equal(ask(18976 * MIB), VRAM_FITS); /* 20000 - 1024 */
    const struct vram_fit_gpu *line = &fit->gpus[0];
    assert_int_equal(line->headroom_bytes, 18976 * MIB);
    assert_int_equal(line->shortfall_bytes, 0);
    assert_true(line->chosen);
    assert_int_equal(ask(18976 * MIB + 1), VRAM_NOT_NOW);
    line = &fit->gpus[0];
    assert_int_equal(line->shortfall_bytes, 1);
    assert_false(line->chosen);
    request.margin_bytes = 0;
    assert_int_equal(ask(20000 * MIB), VRAM_FITS);
    assert_int_equal(ask(20000 * MIB + 1), VRAM_NOT_NOW);
}

static void test_fit__shows_its_arithmetic(void **state)
{
    (void)state;
    (void)card(20000 * MIB);
    request.margin_bytes = 512 * MIB;
    assert_int_equal(ask(22000 * MIB), VRAM_NOT_NOW);
    assert_int_equal(fit->gpu_count, 1);
    assert_int_equal(fit->margin_bytes, 512 * MIB);
    assert_int_equal(fit->waiters, VRAM_UNKNOWN);
    assert_false(fit->promises_counted);
    assert_int_equal(fit->count, 1);
    const struct vram_fit_gpu *line = &fit->gpus[0];
    assert_int_equal(line->position, 0);
    assert_ptr_equal(line->uuid, vram_snapshot_gpu(snapshot, 0)->uuid);
    assert_true(line->usable);
    assert_int_equal(line->free_bytes, 20000 * MIB);
    assert_int_equal(line->outstanding_bytes, VRAM_UNKNOWN);
    assert_int_equal(line->margin_bytes, 512 * MIB);
    assert_true(line->headroom_known);
    assert_int_equal(line->headroom_bytes, 19488 * MIB);
    assert_int_equal(line->shortfall_bytes, 2512 * MIB);
    assert_int_equal(line->capacity_bytes, 24164 * MIB);
}

static void test_fit__never_begins_above_an_empty_card(void **state)
{
    (void)state;
    (void)card(0);
    assert_int_equal(ask(23140 * MIB), VRAM_NOT_NOW); /* 24564 - 400 - 1024 */
    assert_int_equal(ask(23140 * MIB + 1), VRAM_NEVER);
    request.margin_bytes = 0;
    assert_int_equal(ask(24164 * MIB), VRAM_NOT_NOW);
    assert_int_equal(ask(24164 * MIB + 1), VRAM_NEVER);
    assert_int_equal(fit->gpus[0].shortfall_bytes, 24164 * MIB + 1);
}

/* An old driver does not tell its reserve: then only the whole card is certainly too small. */
static void test_fit__says_never_only_where_it_is_certain(void **state)
{
    (void)state;
    struct source_gpu *gpu = card(GIB);
    gpu->driver_reserved_bytes = VRAM_UNKNOWN;
    gpu->used_includes_reserved = true;
    request.margin_bytes = 0;
    assert_int_equal(ask(24564 * MIB), VRAM_NOT_NOW);
    assert_int_equal(fit->gpus[0].capacity_bytes, 24564 * MIB);
    assert_int_equal(ask(24564 * MIB + 1), VRAM_NEVER);
}

static void test_fit__takes_a_part_of_the_total_for_margin(void **state)
{
    (void)state;
    (void)machine_card(machine, 1001, 0, 0);
    request.margin_millipercent = 10000; /* 10 %: 100.1, so 101 */
    assert_int_equal(ask(900), VRAM_FITS);
    assert_int_equal(fit->margin_bytes, 101);
    assert_int_equal(fit->gpus[0].margin_bytes, 101);
    assert_int_equal(ask(901), VRAM_NEVER);
    request.margin_millipercent = 100000;
    assert_int_equal(ask(1), VRAM_NEVER);
    request.margin_millipercent = UINT32_MAX; /* no more than the whole */
    assert_int_equal(ask(1), VRAM_NEVER);
    assert_int_equal(fit->gpus[0].margin_bytes, 1001);
}

static void test_fit__reports_the_largest_margin(void **state)
{
    (void)state;
    (void)machine_card(machine, 1000, 0, 0);
    (void)machine_card(machine, 3000, 0, 0);
    struct source_gpu *third = machine_card(machine, 2000, 0, 0);
    request.margin_millipercent = 50000;
    assert_int_equal(ask(1), VRAM_FITS);
    assert_int_equal(fit->margin_bytes, 1500);
    assert_int_equal(fit->gpus[0].margin_bytes, 500);
    assert_int_equal(fit->gpus[2].margin_bytes, 1000);
    third->total_bytes = VRAM_UNKNOWN;
    look();
    assert_int_equal(ask(1), VRAM_FITS);
    assert_int_equal(fit->margin_bytes, 1500);
    assert_int_equal(fit->gpus[2].margin_bytes, VRAM_UNKNOWN);
    assert_int_equal(fit->gpus[2].answer, VRAM_CANNOT_TELL);
}

static void test_fit__has_a_negative_headroom(void **state)
{
    (void)state;
    (void)card(24 * MIB);
    assert_int_equal(ask(1), VRAM_NOT_NOW);
    assert_int_equal(fit->gpus[0].headroom_bytes, -(int64_t)(1000 * MIB));
    assert_int_equal(fit->gpus[0].shortfall_bytes, 1000 * MIB + 1);
}

static void test_fit__subtracts_promises(void **state)
{
    (void)state;
    (void)card(20000 * MIB);
    look();
    machine_promise(snapshot, 0, 8000 * MIB);
    assert_int_equal(ask(10976 * MIB), VRAM_FITS);
    assert_true(fit->promises_counted);
    assert_int_equal(fit->gpus[0].outstanding_bytes, 8000 * MIB);
    assert_int_equal(fit->gpus[0].headroom_bytes, 10976 * MIB);
    assert_int_equal(ask(10976 * MIB + 1), VRAM_NOT_NOW);
    machine_promise(snapshot, 0, 0);
    assert_int_equal(ask(18976 * MIB), VRAM_FITS);
    assert_true(fit->promises_counted); /* by a daemon that has promised nothing */
    machine_promise(snapshot, 0, 30000 * MIB);
    assert_int_equal(ask(1), VRAM_NOT_NOW);
    assert_int_equal(fit->gpus[0].headroom_bytes, -(int64_t)(11024 * MIB));
}

static void test_fit__does_not_hold_a_promise_against_its_owner(void **state)
{
    (void)state;
    (void)card(20000 * MIB);
    look();
    machine_promise(snapshot, 0, 8000 * MIB);
    machine_own_promise(snapshot, 0, 6000 * MIB);
    assert_int_equal(ask(16976 * MIB), VRAM_FITS);
    assert_int_equal(fit->gpus[0].outstanding_bytes, 8000 * MIB);
    assert_int_equal(fit->gpus[0].own_outstanding_bytes, 6000 * MIB);
    assert_int_equal(fit->gpus[0].headroom_bytes, 16976 * MIB);
    assert_int_equal(ask(16976 * MIB + 1), VRAM_NOT_NOW);
    machine_own_promise(snapshot, 0, 9000 * MIB); /* more than there is: nothing is added to free */
    assert_int_equal(ask(18976 * MIB), VRAM_FITS);
    assert_int_equal(ask(18976 * MIB + 1), VRAM_NOT_NOW);
}

/* Amounts that no card has: whatever is added must not come out small. */
static void test_fit__does_not_wrap(void **state)
{
    const uint64_t most = UINT64_MAX - 1;
    (void)state;
    (void)machine_card(machine, most, 0, 0);
    request.margin_bytes = 0;
    assert_int_equal(ask(most), VRAM_FITS);
    assert_int_equal(fit->gpus[0].headroom_bytes, INT64_MAX); /* as far as a signed number goes */
    request.margin_bytes = 1;
    assert_int_equal(ask(most), VRAM_NEVER);
    request.margin_bytes = most;
    assert_int_equal(ask(1), VRAM_NEVER);
    assert_int_equal(ask(most), VRAM_NEVER);
    machine_promise(snapshot, 0, most);
    request.margin_bytes = 1;
    assert_int_equal(ask(1), VRAM_NOT_NOW);
    request.margin_bytes = most - 1;
    assert_int_equal(ask(1), VRAM_NOT_NOW);
    assert_int_equal(fit->gpus[0].headroom_bytes, -1); /* saturated: as little as can be said */
    request.margin_bytes = 2;
    machine_promise(snapshot, 0, UINT64_MAX / 2);
    assert_int_equal(ask(UINT64_MAX / 2), VRAM_NOT_NOW);
}

static void test_fit__has_no_room_where_the_reserve_is_larger_than_the_card(void **state)
{
    (void)state;
    struct source_gpu *gpu = machine_card(machine, 100, 0, 0);
    gpu->driver_reserved_bytes = 200;
    request.margin_bytes = 0;
    assert_int_equal(ask(1), VRAM_NEVER);
    assert_int_equal(fit->gpus[0].capacity_bytes, 0);
}

/* ---- States ---------------------------------------------------------------------------------- */

static void test_fit__promises_only_where_the_driver_answers(void **state)
{
    static const struct {
        uint32_t state;
        bool usable;
        uint32_t small, large;
    } cases[] = {
        {VRAM_GPU_OK, true, VRAM_FITS, VRAM_NEVER},
        {VRAM_GPU_HUNG, true, VRAM_CANNOT_TELL, VRAM_NEVER},
        {VRAM_GPU_ASLEEP, true, VRAM_CANNOT_TELL, VRAM_NEVER},
        {VRAM_GPU_LOST, false, VRAM_CANNOT_TELL, VRAM_NEVER},
        {VRAM_GPU_DENIED, false, VRAM_CANNOT_TELL, VRAM_NEVER},
    };
    (void)state;
    struct source_gpu *gpu = card(20000 * MIB);
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        gpu->state = cases[i].state;
        look();
        if (!cases[i].usable) {
            assert_int_equal(ask_in_vain(GIB), -ENODEV);
            continue;
        }
        assert_int_equal(ask(GIB), cases[i].small);
        assert_int_equal(fit->gpus[0].headroom_known, cases[i].state == VRAM_GPU_OK);
        assert_int_equal(fit->gpus[0].shortfall_bytes,
                         cases[i].state == VRAM_GPU_OK ? 0 : VRAM_UNKNOWN);
        assert_int_equal(fit->gpus[0].free_bytes, 20000 * MIB); /* shown all the same */
        assert_int_equal(ask(25000 * MIB), cases[i].large);
    }
}

static void test_fit__leaves_lost_and_denied_gpus_out(void **state)
{
    (void)state;
    card(20000 * MIB)->state = VRAM_GPU_LOST;
    (void)card(10000 * MIB);
    card(20000 * MIB)->state = VRAM_GPU_DENIED;
    assert_int_equal(ask(15000 * MIB), VRAM_NOT_NOW);
    assert_int_equal(ask(5000 * MIB), VRAM_FITS);
    assert_int_equal(fit->count, 3);
    assert_false(fit->gpus[0].usable);
    assert_false(fit->gpus[2].usable);
    assert_true(fit->gpus[1].chosen);
    request.gpu_count = 2;
    assert_int_equal(ask(5000 * MIB), VRAM_NEVER); /* however empty, there is only one */
}

static void test_fit__cannot_tell_from_unknown_figures(void **state)
{
    (void)state;
    struct source_gpu *gpu = card(20000 * MIB);
    gpu->free_bytes = VRAM_UNKNOWN;
    assert_int_equal(ask(GIB), VRAM_CANNOT_TELL);
    assert_false(fit->gpus[0].headroom_known);
    assert_int_equal(fit->gpus[0].shortfall_bytes, VRAM_UNKNOWN);
    assert_int_equal(ask(25000 * MIB), VRAM_NEVER);
    gpu->total_bytes = VRAM_UNKNOWN;
    look();
    assert_int_equal(ask(25000 * MIB), VRAM_CANNOT_TELL);
    assert_int_equal(fit->gpus[0].capacity_bytes, VRAM_UNKNOWN);
    gpu->free_bytes = 20000 * MIB; /* free alone is enough to say that it fits, or not now */
    look();
    assert_int_equal(ask(GIB), VRAM_FITS);
    assert_int_equal(ask(25000 * MIB), VRAM_NOT_NOW);
}

/* ---- Several GPUs ---------------------------------------------------------------------------- */

static void test_fit__chooses_the_fullest_that_has_room(void **state)
{
    (void)state;
    (void)card(20000 * MIB);
    (void)card(9000 * MIB);
    (void)card(12000 * MIB);
    (void)card(9000 * MIB);
    assert_int_equal(ask(10000 * MIB), VRAM_FITS);
    assert_true(fit->gpus[2].chosen);
    assert_int_equal(ask(8000 * MIB - 24 * MIB), VRAM_FITS);
    assert_true(fit->gpus[1].chosen); /* of two that are alike, the first */
    assert_false(fit->gpus[3].chosen);
    assert_int_equal(fit->gpus[1].answer, VRAM_FITS);
    assert_int_equal(ask(15000 * MIB), VRAM_FITS);
    assert_true(fit->gpus[0].chosen);
    assert_int_equal(fit->gpus[1].answer, VRAM_NOT_NOW); /* each has its own answer */
}

static void test_fit__asks_for_several_gpus(void **state)
{
    (void)state;
    (void)card(20000 * MIB);
    (void)card(9000 * MIB);
    (void)card(12000 * MIB);
    request.gpu_count = 2;
    assert_int_equal(ask(10000 * MIB), VRAM_FITS);
    assert_true(fit->gpus[0].chosen && fit->gpus[2].chosen && !fit->gpus[1].chosen);
    assert_int_equal(ask(15000 * MIB), VRAM_NOT_NOW);
    assert_false(fit->gpus[0].chosen); /* all or none */
    request.gpu_count = 3;
    assert_int_equal(ask(7000 * MIB), VRAM_FITS);
    assert_int_equal(ask(10000 * MIB), VRAM_NOT_NOW);
    request.gpu_count = 4;
    assert_int_equal(ask(MIB), VRAM_NEVER);
    request.gpu_count = UINT32_MAX;
    assert_int_equal(ask(MIB), VRAM_NEVER);
}

static void test_fit__asks_unknown_gpus_only_where_they_decide(void **state)
{
    (void)state;
    (void)card(20000 * MIB);
    (void)card(1000 * MIB);
    card(20000 * MIB)->free_bytes = VRAM_UNKNOWN;
    assert_int_equal(ask(GIB), VRAM_FITS);
    request.gpu_count = 2;
    assert_int_equal(ask(GIB), VRAM_CANNOT_TELL);
    request.gpu_count = 3;
    assert_int_equal(ask(GIB), VRAM_NOT_NOW); /* the second is full in any case */
    request.gpu_count = 1;
    assert_int_equal(ask(20000 * MIB), VRAM_CANNOT_TELL);
}

static void test_fit__says_never_where_all_are_too_small(void **state)
{
    (void)state;
    (void)machine_card(machine, 8 * GIB, 0, 0);
    (void)machine_card(machine, 24 * GIB, 0, 24 * GIB);
    assert_int_equal(ask(20 * GIB), VRAM_NOT_NOW);
    assert_int_equal(fit->gpus[0].answer, VRAM_NEVER);
    assert_int_equal(ask(24 * GIB), VRAM_NEVER);
    request.gpu_count = 2;
    assert_int_equal(ask(20 * GIB), VRAM_NEVER);
}

static void test_fit__counts_a_shared_memory_once(void **state)
{
    (void)state;
    (void)machine_card(machine, 80 * GIB, 0, 0);
    (void)machine_instance(machine, 1, 0, 40 * GIB, 0);
    (void)machine_instance(machine, 1, 1, 40 * GIB, 0); /* shares the first one's */
    (void)machine_instance(machine, 2, 0, 20 * GIB, 0);
    request.gpu_count = 2;
    assert_int_equal(ask(10 * GIB), VRAM_FITS);
    assert_true(fit->gpus[2].chosen);
    assert_true(fit->gpus[0].chosen != fit->gpus[1].chosen);
    assert_int_equal(ask(30 * GIB), VRAM_NEVER);
    request.gpu_count = 3;
    assert_int_equal(ask(GIB), VRAM_NEVER);
}

/* Two instances of one memory are asked one after the other: the second may find it fuller. */
static void test_fit__counts_a_shared_memory_once_whatever_its_instances_say(void **state)
{
    (void)state;
    (void)machine_card(machine, 80 * GIB, 0, 0);
    (void)machine_instance(machine, 1, 0, 40 * GIB, 10 * GIB);
    (void)machine_instance(machine, 1, 1, 40 * GIB, 20 * GIB);
    request.gpu_count = 2;
    assert_int_equal(ask(25 * GIB), VRAM_NEVER);
}

static void test_fit__keeps_to_the_candidates(void **state)
{
    static const size_t candidates[] = {2, 0};
    static const size_t twice[] = {1, 1};
    (void)state;
    (void)card(20000 * MIB);
    (void)card(22000 * MIB);
    (void)card(21000 * MIB);
    request.candidates = candidates;
    request.candidate_count = ARRAY_LENGTH(candidates);
    assert_int_equal(ask(20500 * MIB), VRAM_NOT_NOW);
    assert_int_equal(fit->count, 2);
    assert_int_equal(fit->gpus[0].position, 2);
    assert_int_equal(fit->gpus[1].position, 0);
    request.candidate_count = 0;
    assert_int_equal(ask_in_vain(GIB), -ENODEV);
    request.candidates = twice;
    request.candidate_count = 2;
    assert_int_equal(ask(GIB), VRAM_FITS);
    request.gpu_count = 2;
    assert_int_equal(ask(GIB), VRAM_NEVER); /* one GPU named twice is one */
}

/* ---- Requests -------------------------------------------------------------------------------- */

static void test_fit__refuses_what_is_no_request(void **state)
{
    static const size_t beyond[] = {0, 1};
    (void)state;
    assert_int_equal(ask_in_vain(GIB), -ENODEV); /* no GPU at all */
    (void)card(20000 * MIB);
    look();
    assert_int_equal(ask_in_vain(0), -EINVAL);
    assert_int_equal(ask_in_vain(VRAM_UNKNOWN), -EINVAL);
    request.gpu_count = 0;
    assert_int_equal(ask_in_vain(GIB), -EINVAL);
    request.gpu_count = 1;
    request.margin_bytes = VRAM_UNKNOWN;
    assert_int_equal(ask_in_vain(GIB), -EINVAL);
    request.margin_bytes = 0;
    request.candidates = beyond;
    request.candidate_count = 2;
    assert_int_equal(ask_in_vain(GIB), -EINVAL);
    request.candidate_count = 1;
    assert_int_equal(ask(GIB), VRAM_FITS);
    request.size = 0;
    assert_int_equal(ask_in_vain(GIB), -EINVAL);
    request.size = sizeof(request.size) - 1;
    assert_int_equal(ask_in_vain(GIB), -EINVAL);
}

/* From a program built against an older or a newer header. The older one's structure is an exact allocation, so that
 * a read behind it is seen by the sanitizers and valgrind. */
static void test_fit__reads_requests_of_other_versions(void **state)
{
    size_t size = offsetof(struct vram_fit_request, margin_bytes);
    struct vram_fit_request *old = malloc(size);
    (void)state;
    (void)card(20000 * MIB);
    look();
    assert_non_null(old);
    memcpy(old, &(struct vram_fit_request){.size = size, .size_bytes = GIB}, size);
    assert_int_equal(vram_fit(snapshot, old, &fit), 0);
    free(old);
    assert_int_equal(fit->answer, VRAM_FITS);
    assert_int_equal(fit->gpu_count, 1);
    assert_int_equal(fit->margin_bytes, VRAM_DEFAULT_MARGIN_BYTES);
    request.size = sizeof(request) + 64;
    assert_int_equal(ask(GIB), VRAM_FITS);
}

int main(void)
{
#define MADE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        MADE(test_fit__fits_exactly_at_the_boundary),
        MADE(test_fit__shows_its_arithmetic),
        MADE(test_fit__never_begins_above_an_empty_card),
        MADE(test_fit__says_never_only_where_it_is_certain),
        MADE(test_fit__takes_a_part_of_the_total_for_margin),
        MADE(test_fit__reports_the_largest_margin),
        MADE(test_fit__has_a_negative_headroom),
        MADE(test_fit__subtracts_promises),
        MADE(test_fit__does_not_hold_a_promise_against_its_owner),
        MADE(test_fit__does_not_wrap),
        MADE(test_fit__has_no_room_where_the_reserve_is_larger_than_the_card),
        MADE(test_fit__promises_only_where_the_driver_answers),
        MADE(test_fit__leaves_lost_and_denied_gpus_out),
        MADE(test_fit__cannot_tell_from_unknown_figures),
        MADE(test_fit__chooses_the_fullest_that_has_room),
        MADE(test_fit__asks_for_several_gpus),
        MADE(test_fit__asks_unknown_gpus_only_where_they_decide),
        MADE(test_fit__says_never_where_all_are_too_small),
        MADE(test_fit__counts_a_shared_memory_once),
        MADE(test_fit__counts_a_shared_memory_once_whatever_its_instances_say),
        MADE(test_fit__keeps_to_the_candidates),
        MADE(test_fit__refuses_what_is_no_request),
        MADE(test_fit__reads_requests_of_other_versions),
    };
    return cmocka_run_group_tests_name("fit", tests, NULL, NULL);
}
