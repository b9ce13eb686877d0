/* SPDX-License-Identifier: MIT */
/* Which directories a socket may be in; the rest of the place is tested from outside. */
#include "tests/unit/unit.h"

#include "daemon/place.h"

static void test_place__judges_directories(void **state)
{
    static const struct {
        uid_t owner;
        mode_t mode;
        bool for_all, for_one; /* whether it is good enough */
    } cases[] = {
        {1000, S_IFDIR | 0700, true, true},   {1000, S_IFDIR | 0755, true, false},
        {1000, S_IFDIR | 0750, true, false},  {1000, S_IFDIR | 0775, false, false},
        {1000, S_IFDIR | 0777, false, false}, {0, S_IFDIR | 0755, true, false},
        {0, S_IFDIR | 01777, true, false},    {0, S_IFDIR | 0777, false, false},
        {1001, S_IFDIR | 0755, false, false}, {1001, S_IFDIR | 0700, false, false},
        {1000, S_IFLNK | 0777, false, false}, {1000, S_IFREG | 0700, false, false},
        {1000, S_IFDIR | 01777, true, false}, {0, S_IFDIR | 0700, true, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct stat directory = {.st_uid = cases[i].owner, .st_mode = cases[i].mode};
        assert_int_equal(place_fault(&directory, 1000, false) == NULL, cases[i].for_all);
        assert_int_equal(place_fault(&directory, 1000, true) == NULL, cases[i].for_one);
    }
    struct stat root_own = {.st_uid = 0, .st_mode = S_IFDIR | 0700};
    assert_null(place_fault(&root_own, 0, true));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {TEST(test_place__judges_directories)};
    return cmocka_run_group_tests_name("place", tests, NULL, NULL);
}
