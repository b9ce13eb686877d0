/* SPDX-License-Identifier: MIT */
/* How vram top shares out the lines of a screen, and what it remembers of a GPU. */
#include "tests/unit/unit.h"
#include "top/model.h"

static void test_top_model__never_takes_more_lines_than_there_are(void **state)
{
    (void)state;
    for (size_t height = 0; height <= 80; height++) {
        for (size_t gpus = 0; gpus <= 64; gpus = gpus < 9 ? gpus + 1 : gpus * 2) {
            for (size_t leases = 0; leases <= 30; leases += 5) {
                for (size_t waiters = 0; waiters <= 30; waiters += 10) {
                    struct layout layout = layout_make(height, gpus, 40, leases, waiters);
                    bool promised = layout.leases + layout.waiters > 0;
                    size_t taken = layout.gpus * layout.gpu_lines + layout.processes +
                                   (layout.processes > 0) + layout.leases + layout.waiters +
                                   promised + 2;
                    assert_true(taken <= (height < 3 ? 3 : height));
                    assert_true(layout.gpus <= gpus && layout.gpu_lines >= 1);
                    assert_true(layout.leases <= leases && layout.waiters <= waiters);
                }
            }
        }
    }
}

static void test_top_model__everybody_is_on_a_screen_of_60_by_20(void **state)
{
    (void)state;
    struct layout layout = layout_make(20, 8, 10, 2, 1);
    assert_int_equal(layout.gpus, 8);
    assert_int_equal(layout.leases, 2);
    assert_int_equal(layout.waiters, 1);
    assert_true(layout.processes >= 3);
}

static void test_top_model__a_large_screen_has_charts(void **state)
{
    (void)state;
    assert_int_equal(layout_make(60, 8, 10, 0, 0).gpu_lines, 5);
    assert_int_equal(layout_make(24, 1, 2, 0, 0).gpu_lines, 5);
    assert_int_equal(layout_make(20, 8, 10, 0, 0).gpu_lines, 1);
}

static void test_top_model__a_trail_is_a_ring(void **state)
{
    (void)state;
    static struct trail trail;
    assert_int_equal(trail_part(NULL, 0), TRAIL_UNKNOWN);
    assert_int_equal(trail_part(&trail, 0), TRAIL_UNKNOWN);
    for (size_t i = 0; i < TRAIL_LENGTH + 10; i++) {
        trail.parts[trail.count++ % TRAIL_LENGTH] = (uint16_t)i;
    }
    assert_int_equal(trail_part(&trail, 0), TRAIL_LENGTH + 9);
    assert_int_equal(trail_part(&trail, TRAIL_LENGTH - 1), 10);
    assert_int_equal(trail_part(&trail, TRAIL_LENGTH), TRAIL_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_top_model__never_takes_more_lines_than_there_are),
        cmocka_unit_test(test_top_model__everybody_is_on_a_screen_of_60_by_20),
        cmocka_unit_test(test_top_model__a_large_screen_has_charts),
        cmocka_unit_test(test_top_model__a_trail_is_a_ring),
    };
    return cmocka_run_group_tests_name("top_model", tests, NULL, NULL);
}
