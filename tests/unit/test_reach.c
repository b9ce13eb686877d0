/* SPDX-License-Identifier: MIT */
/* Which GPUs a process can open: by the nodes in its own /dev, and their permissions. */
#include "tests/unit/fake_root.h"
#include "tests/unit/unit.h"

#include "daemon/reach.h"
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define PCI "0000:01:00.0"
#define INFORMATION "/proc/driver/nvidia/gpus/" PCI "/information"
#define NODE "/proc/77/root/dev/nvidia3"

static const char *root;

static int set_up(void **state)
{
    (void)state;
    root = fake_root_make();
    fake_root_text(root, INFORMATION, "Model: \t\t Card\nDevice Minor: \t 3\nGPU Excluded:\t No\n");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_root_remove(root);
    return 0;
}

static void be(unsigned uid, unsigned gid, const char *groups)
{
    char status[256];
    (void)snprintf(
        status, sizeof(status),
        "Name:\tpython3\nUid:\t1\t%u\t1\t1\nGid:\t1\t%u\t1\t1\nGroups:\t%s\nNSpid:\t77\n", uid, gid,
        groups);
    fake_root_text(root, "/proc/77/status", status);
}

static void make_node(mode_t mode)
{
    char path[512];
    fake_root_text(root, NODE, "");
    (void)snprintf(path, sizeof(path), "%s%s", root, NODE);
    assert_int_equal(chmod(path, mode), 0);
}

static void test_reach__a_node_that_is_not_there_cannot_be_opened(void **state)
{
    (void)state;
    be(1000, 1000, "");
    fake_root_directory(root, "/proc/77/root/dev");
    assert_false(reach_may_open(root, 77, PCI));
}

static void test_reach__permissions_decide(void **state)
{
    unsigned uid = geteuid() + 1, gid = getegid() + 1;
    char groups[64];
    (void)state;
    be(uid, gid, "");
    make_node(0666);
    assert_true(reach_may_open(root, 77, PCI));
    make_node(0660);
    assert_false(reach_may_open(root, 77, PCI));
    make_node(0664); /* to read is not enough */
    assert_false(reach_may_open(root, 77, PCI));
    make_node(0660);
    be(uid, getegid(), "");
    assert_true(reach_may_open(root, 77, PCI));
    (void)snprintf(groups, sizeof(groups), "4 %u 27", (unsigned)getegid());
    be(uid, gid, groups);
    assert_true(reach_may_open(root, 77, PCI));
    be(uid, gid, "4 27");
    assert_false(reach_may_open(root, 77, PCI));
}

static void test_reach__the_owner_of_a_node_is_judged_by_its_own_bits(void **state)
{
    (void)state;
    if (geteuid() == 0) { /* whose own node it is, and who may open everything */
        be(0, 0, "");
        make_node(0000);
        assert_true(reach_may_open(root, 77, PCI));
        return;
    }
    be(geteuid(), getegid(), "");
    make_node(0066);
    assert_false(reach_may_open(root, 77, PCI));
    make_node(0600);
    assert_true(reach_may_open(root, 77, PCI));
}

static void test_reach__what_cannot_be_told_counts_as_open(void **state)
{
    (void)state;
    assert_true(reach_may_open(root, 77, "0000:02:00.0")); /* the module does not tell its node */
    make_node(0600);
    fake_root_text(root, "/proc/77/status", "Name:\tpython3\n");
    assert_true(reach_may_open(root, 77, PCI)); /* nor the kernel who it is */
    fake_root_text(root, INFORMATION, "Device Minor: \t none\n");
    assert_true(reach_may_open(root, 77, PCI));
}

static void test_reach__who_has_nothing_of_the_driver_is_told_apart(void **state)
{
    (void)state;
    fake_root_directory(root, "/proc/77/root/dev");
    assert_false(reach_has_driver(root, 77));
    fake_root_text(root, "/proc/77/root/dev/nvidiactl", "");
    assert_true(reach_has_driver(root, 77));
}

static void test_reach__a_process_that_cannot_be_seen_may_open_all(void **state)
{
    (void)state;
    make_node(0600);
    assert_true(reach_may_open(root, 0, PCI));
    assert_true(reach_has_driver(root, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_reach__who_has_nothing_of_the_driver_is_told_apart,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reach__a_process_that_cannot_be_seen_may_open_all,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reach__a_node_that_is_not_there_cannot_be_opened,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reach__permissions_decide, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reach__the_owner_of_a_node_is_judged_by_its_own_bits,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reach__what_cannot_be_told_counts_as_open, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests_name("reach", tests, NULL, NULL);
}
