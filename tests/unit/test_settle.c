/* SPDX-License-Identifier: MIT */
/* Several readings made one: what may be promised on. */
#include "common/size.h"
#include "lib/source/source.h"
#include "tests/unit/alloc_fail.h"
#include "tests/unit/unit.h"

#include <errno.h>

#define TOTAL (24 * GIB)
#define RESERVED (400 * MIB)

static struct source_gpu into, later;

static void fill(struct source_gpu *gpu, uint64_t used)
{
    source_gpu_init(gpu);
    gpu->total_bytes = TOTAL;
    gpu->driver_reserved_bytes = RESERVED;
    gpu->used_bytes = used;
    gpu->free_bytes = TOTAL - RESERVED - used;
    gpu->processes_known = true;
}

static int set_up(void **state)
{
    (void)state;
    fill(&into, 2 * GIB);
    fill(&later, 2 * GIB);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    source_gpu_done(&into);
    source_gpu_done(&later);
    return 0;
}

static void add(struct source_gpu *gpu, uint32_t pid, uint64_t used)
{
    size_t size = (gpu->process_count + 1) * sizeof(*gpu->processes);
    gpu->processes = realloc(gpu->processes, size);
    assert_non_null(gpu->processes);
    gpu->processes[gpu->process_count++] =
        (struct source_process){pid, VRAM_PROCESS_COMPUTE, used, NULL};
}

static uint64_t used_by(uint32_t pid)
{
    for (size_t i = 0; i < into.process_count; i++) {
        if (into.processes[i].pid == pid) {
            return into.processes[i].used_bytes;
        }
    }
    fail_msg("there is no process %u", pid);
    return 0;
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static void test_settle__equal_readings_do_not_differ(void **state)
{
    (void)state;
    assert_false(source_memory_settle(&into, &later));
    assert_int_equal(into.free_bytes, TOTAL - RESERVED - 2 * GIB);
    assert_int_equal(into.used_bytes, 2 * GIB);
}

static void test_settle__takes_the_smaller_free_whichever_came_first(void **state)
{
    (void)state;
    source_gpu_done(&later);
    fill(&later, 5 * GIB);
    assert_true(source_memory_settle(&into, &later));
    assert_int_equal(into.free_bytes, TOTAL - RESERVED - 5 * GIB);
    assert_int_equal(into.used_bytes, 5 * GIB);
    source_gpu_done(&later);
    fill(&later, 1 * GIB);
    assert_true(source_memory_settle(&into, &later));
    assert_int_equal(into.free_bytes, TOTAL - RESERVED - 5 * GIB);
    assert_int_equal(into.used_bytes, 5 * GIB);
}

static void test_settle__used_is_what_the_later_reserve_leaves(void **state)
{
    (void)state;
    later.driver_reserved_bytes = RESERVED + 100 * MIB;
    later.free_bytes -= 100 * MIB;
    assert_true(source_memory_settle(&into, &later));
    assert_int_equal(into.driver_reserved_bytes, RESERVED + 100 * MIB);
    assert_int_equal(into.used_bytes, 2 * GIB);
}

static void test_settle__an_inclusive_used_stays_inclusive(void **state)
{
    (void)state;
    into.used_includes_reserved = later.used_includes_reserved = true;
    into.driver_reserved_bytes = later.driver_reserved_bytes = VRAM_UNKNOWN;
    later.free_bytes -= GIB;
    assert_true(source_memory_settle(&into, &later));
    assert_int_equal(into.used_bytes, RESERVED + 3 * GIB);
    assert_int_equal(into.driver_reserved_bytes, VRAM_UNKNOWN);
}

static void test_settle__an_unknown_free_is_unknown(void **state)
{
    (void)state;
    uint64_t free_bytes = later.free_bytes;
    later.free_bytes = VRAM_UNKNOWN;
    assert_true(source_memory_settle(&into, &later));
    assert_int_equal(into.free_bytes, VRAM_UNKNOWN);
    assert_int_equal(into.used_bytes, VRAM_UNKNOWN);
    assert_false(source_memory_settle(&into, &later));
    later.free_bytes = free_bytes;
    assert_true(source_memory_settle(&into, &later));
    assert_int_equal(into.free_bytes, VRAM_UNKNOWN);
}

static void test_settle__another_total_is_no_reading_of_the_same(void **state)
{
    (void)state;
    later.total_bytes = TOTAL / 2;
    assert_true(source_memory_settle(&into, &later));
    assert_int_equal(into.free_bytes, VRAM_UNKNOWN);
}

static void test_settle__contradicting_figures_leave_used_unknown(void **state)
{
    (void)state;
    later.driver_reserved_bytes = TOTAL;
    (void)source_memory_settle(&into, &later);
    assert_int_equal(into.used_bytes, VRAM_UNKNOWN);
}

static void test_settle__a_lost_gpu_stays_lost(void **state)
{
    (void)state;
    later.state = VRAM_GPU_LOST;
    assert_true(source_memory_settle(&into, &later));
    assert_int_equal(into.state, VRAM_GPU_LOST);
    assert_int_equal(into.total_bytes, VRAM_UNKNOWN);
    assert_int_equal(into.free_bytes, VRAM_UNKNOWN);
    assert_int_equal(into.used_bytes, VRAM_UNKNOWN);
}

static void test_settle__unified_memory_is_never_still(void **state)
{
    (void)state;
    into.memory_kind = later.memory_kind = VRAM_MEMORY_UNIFIED;
    into.used_bytes = 77;
    later.free_bytes -= GIB;
    assert_false(source_memory_settle(&into, &later));
    assert_int_equal(into.free_bytes, later.free_bytes);
    assert_int_equal(into.used_bytes, 77);
}

/* ---- Processes ------------------------------------------------------------------------------- */

static void test_settle__each_process_has_its_smaller_figure(void **state)
{
    (void)state;
    add(&into, 1, 3 * GIB);
    add(&into, 2, 1 * GIB);
    add(&later, 2, 2 * GIB);
    add(&later, 1, 2 * GIB);
    assert_int_equal(source_processes_settle(&into, &later), 1);
    assert_int_equal(into.process_count, 2);
    assert_int_equal(used_by(1), 2 * GIB);
    assert_int_equal(used_by(2), 1 * GIB);
}

static void test_settle__equal_lists_do_not_differ(void **state)
{
    (void)state;
    assert_int_equal(source_processes_settle(&into, &later), 0);
    add(&into, 1, GIB);
    add(&into, 2, VRAM_UNKNOWN);
    add(&later, 2, VRAM_UNKNOWN);
    add(&later, 1, GIB);
    assert_int_equal(source_processes_settle(&into, &later), 0);
    assert_int_equal(used_by(1), GIB);
    assert_int_equal(used_by(2), VRAM_UNKNOWN);
}

static void test_settle__who_goes_is_gone_and_who_comes_holds_nothing(void **state)
{
    (void)state;
    add(&into, 1, GIB);
    into.processes[0].name = strdup("gone");
    add(&later, 2, GIB);
    add(&later, 3, VRAM_UNKNOWN);
    later.processes[0].kind = VRAM_PROCESS_GRAPHICS;
    assert_int_equal(source_processes_settle(&into, &later), 1);
    assert_int_equal(into.process_count, 2);
    assert_int_equal(used_by(2), 0);
    assert_int_equal(used_by(3), VRAM_UNKNOWN);
    assert_int_equal(into.processes[0].kind, VRAM_PROCESS_GRAPHICS);
}

static void test_settle__an_unknown_amount_stays_unknown(void **state)
{
    (void)state;
    add(&into, 1, GIB);
    add(&into, 2, VRAM_UNKNOWN);
    add(&later, 1, VRAM_UNKNOWN);
    add(&later, 2, GIB);
    assert_int_equal(source_processes_settle(&into, &later), 1);
    assert_int_equal(used_by(1), VRAM_UNKNOWN);
    assert_int_equal(used_by(2), VRAM_UNKNOWN);
}

static void test_settle__an_unknown_list_is_unknown(void **state)
{
    (void)state;
    add(&into, 1, GIB);
    add(&later, 1, GIB);
    later.processes_known = false;
    assert_int_equal(source_processes_settle(&into, &later), 1);
    assert_false(into.processes_known);
    assert_int_equal(into.process_count, 0);
    assert_int_equal(source_processes_settle(&into, &later), 0);
    later.processes_known = true;
    assert_int_equal(source_processes_settle(&into, &later), 1);
    assert_false(into.processes_known);
}

static void test_settle__says_that_memory_ran_out(void **state)
{
    (void)state;
    add(&later, 1, GIB);
    alloc_fail_at(1);
    assert_int_equal(source_processes_settle(&into, &later), -ENOMEM);
    assert_true(alloc_fail_happened());
    alloc_fail_at(0);
}

int main(void)
{
#define MADE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        MADE(test_settle__equal_readings_do_not_differ),
        MADE(test_settle__takes_the_smaller_free_whichever_came_first),
        MADE(test_settle__used_is_what_the_later_reserve_leaves),
        MADE(test_settle__an_inclusive_used_stays_inclusive),
        MADE(test_settle__an_unknown_free_is_unknown),
        MADE(test_settle__another_total_is_no_reading_of_the_same),
        MADE(test_settle__contradicting_figures_leave_used_unknown),
        MADE(test_settle__a_lost_gpu_stays_lost),
        MADE(test_settle__unified_memory_is_never_still),
        MADE(test_settle__each_process_has_its_smaller_figure),
        MADE(test_settle__equal_lists_do_not_differ),
        MADE(test_settle__who_goes_is_gone_and_who_comes_holds_nothing),
        MADE(test_settle__an_unknown_amount_stays_unknown),
        MADE(test_settle__an_unknown_list_is_unknown),
        MADE(test_settle__says_that_memory_ran_out),
    };
    return cmocka_run_group_tests_name("settle", tests, NULL, NULL);
}
