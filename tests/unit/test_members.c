/* SPDX-License-Identifier: MIT */
/* Whose a process is: trees that change while they are looked at, in a made-up /proc. */
#include "tests/unit/fake_root.h"
#include "tests/unit/unit.h"

#include "daemon/members.h"
#include "include/vram.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

enum { ADA = 1000, BOB = 1001, A = 11, B = 12, C = 13 };

static const char *root;
static struct members *members;

static int set_up(void **state)
{
    (void)state;
    root = fake_root_make();
    members = members_new(root);
    assert_non_null(members);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    members = members_free(members);
    fake_root_remove(root);
    return 0;
}

static void file(uint32_t pid, const char *name, const void *bytes, size_t length)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%" PRIu32 "/%s", pid, name);
    fake_root_write(root, path, bytes, length);
}

/* A process of Ada's; its start time is ten times its pid unless said otherwise. */
static void process_at(uint32_t pid, uint32_t parent, uint64_t start_time)
{
    char text[256];
    fake_root_process(root, pid, "x", start_time, ADA);
    int length = snprintf(text, sizeof(text),
                          "%" PRIu32 " (a) b) S %" PRIu32
                          " 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 %" PRIu64 " 1 2\n",
                          pid, parent, start_time);
    file(pid, "stat", text, (size_t)length);
}

static void process(uint32_t pid, uint32_t parent)
{
    process_at(pid, parent, (uint64_t)pid * 10);
}

static void end(uint32_t pid)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%" PRIu32, pid);
    fake_root_delete(root, path);
}

static void own(uint64_t key, uint32_t pid, bool prospective)
{
    assert_int_equal(
        members_add_owner(members, key, (pid_t)pid, (uint64_t)pid * 10, ADA, prospective), 0);
}

static struct members_verdict verdict_of(uint32_t pid, const char *container, const char *unit)
{
    struct members_verdict verdict;
    assert_int_equal(
        members_resolve(members, (pid_t)pid, (uint64_t)pid * 10, container, unit, &verdict), 0);
    return verdict;
}

static void expect(uint32_t pid, uint64_t key, uint64_t outer)
{
    struct members_verdict verdict = verdict_of(pid, NULL, NULL);
    assert_int_equal(verdict.key, key);
    assert_int_equal(verdict.outer, outer);
}

/* ---- The tree -------------------------------------------------------------------------------- */

static void test_members__nearest_of_the_tree(void **state)
{
    (void)state;
    process(1, 0);
    process(10, 1);
    process(20, 10);
    process(30, 20);
    process(40, 10);
    expect(30, 0, 0);
    own(A, 10, false);
    expect(10, A, 0);
    expect(30, A, 0);
    expect(40, A, 0);
    expect(1, 0, 0);
    own(B, 20, false);
    expect(30, B, A);
    expect(20, B, A);
    expect(40, A, 0);
    members_remove_owner(members, B);
    expect(30, A, 0);
    members_remove_owner(members, A);
    expect(30, 0, 0);
    members_remove_owner(members, A);
}

static void test_members__the_nearest_holder_beyond(void **state)
{
    (void)state;
    process(10, 1);
    process(20, 10);
    process(30, 20);
    process(40, 30);
    own(A, 10, false);
    own(B, 20, true);
    own(C, 30, true);
    expect(40, C, A);
    expect(20, B, A);
    assert_int_equal(members_set_prospective(members, B, false), 0);
    expect(40, C, B);
    assert_int_equal(members_set_prospective(members, C, false), 0);
    expect(40, C, B);
    assert_int_equal(members_set_prospective(members, A, true), 0);
    assert_int_equal(members_set_prospective(members, B, true), 0);
    expect(40, C, 0);
    assert_int_equal(members_set_prospective(members, 99, true), -ENOENT);
}

static void test_members__stay_when_parents_die(void **state)
{
    (void)state;
    process(10, 1);
    process(20, 10);
    process(30, 20);
    own(A, 10, false);
    expect(30, A, 0);
    end(20);
    process(30, 1); /* now init's */
    members_sweep(members);
    expect(30, A, 0);
    end(10);
    expect(30, A, 0); /* the lease outlives its owner's process */
    process(35, 30);  /* and what is born of a member is one */
    expect(35, A, 0);
}

static void test_members__an_owner_that_asks_late(void **state)
{
    (void)state;
    process(10, 1);
    process(20, 10);
    process(30, 20);
    expect(30, 0, 0); /* seen */
    end(20);
    process(30, 1);
    own(A, 10, false);
    expect(30, A, 0);
}

static void test_members__nearer_ones_outlive_farther_ones(void **state)
{
    (void)state;
    process(10, 1);
    process(20, 10);
    process(30, 20);
    own(A, 10, false);
    own(B, 20, false);
    expect(30, B, A);
    end(20);
    process(30, 10); /* a subreaper's, which is an owner too */
    expect(30, B, A);
    members_remove_owner(members, B);
    expect(30, A, 0);
}

static void test_members__a_pid_is_not_a_process(void **state)
{
    (void)state;
    process(10, 1);
    process(20, 10);
    own(A, 10, false);
    expect(20, A, 0);
    end(10);
    process_at(10, 1, 5000); /* another with its number */
    process_at(500, 10, 5001);
    struct members_verdict verdict;
    assert_int_equal(members_resolve(members, 10, 5000, NULL, NULL, &verdict), 0);
    assert_int_equal(verdict.key, 0);
    assert_int_equal(members_resolve(members, 500, 5001, NULL, NULL, &verdict), 0);
    assert_int_equal(verdict.key, 0);
    expect(20, A, 0);
}

static void test_members__a_parent_younger_than_its_child_is_none(void **state)
{
    (void)state;
    process_at(10, 1, 900); /* got the dead parent's number */
    process(20, 10);
    assert_int_equal(members_add_owner(members, A, 10, 900, ADA, false), 0);
    expect(20, 0, 0);
}

static void test_members__a_circle_ends(void **state)
{
    (void)state;
    process_at(10, 20, 100);
    process_at(20, 10, 100);
    struct members_verdict verdict;
    assert_int_equal(members_resolve(members, 10, 100, NULL, NULL, &verdict), 0);
    assert_int_equal(verdict.key, 0);
    assert_int_equal(members_add_owner(members, A, 20, 100, ADA, true), 0);
    assert_int_equal(members_resolve(members, 10, 100, NULL, NULL, &verdict), 0);
    assert_int_equal(verdict.key, A);
}

static void test_members__what_cannot_be_seen_is_nobodys(void **state)
{
    struct members_verdict verdict = {1, 1};
    (void)state;
    own(A, 10, false); /* has ended already */
    expect(20, 0, 0);
    assert_int_equal(members_resolve(members, 10, VRAM_UNKNOWN, NULL, NULL, &verdict), 0);
    assert_int_equal(verdict.key, 0);
    assert_int_equal(members_resolve(members, 0, 0, NULL, NULL, &verdict), 0);
    assert_int_equal(verdict.key, 0);
    assert_int_equal(members_add_owner(members, B, 0, 0, ADA, false), 0); /* in a container */
    assert_int_equal(members_add_owner(members, B, 0, 0, ADA, false), -EEXIST);
}

/* ---- Leases in environments ------------------------------------------------------------------ */

static void environment(uint32_t pid, const void *bytes, size_t length)
{
    process(pid, 1);
    file(pid, "environ", bytes, length);
}
#define ENVIRONMENT(pid, text) environment(pid, text, sizeof(text) - 1)

static void test_members__by_the_environment_of_the_same_user(void **state)
{
    (void)state;
    assert_int_equal(members_add_owner(members, A, 0, 0, ADA, false), 0);
    assert_int_equal(members_add_owner(members, B, 0, 0, BOB, false), 0);
    assert_int_equal(members_add_lease(members, A, "8f14e45fceea167a"), 0);
    assert_int_equal(members_add_lease(members, B, "bbbbbbbbbbbbbbbb"), 0);
    assert_int_equal(members_add_lease(members, C, "cccccccccccccccc"), -ENOENT);
    assert_int_equal(members_add_lease(members, A, ""), -EINVAL);
    assert_int_equal(members_add_lease(members, A, "../x"), -EINVAL);
    ENVIRONMENT(20, "A=1\0VRAM_LEASE=8f14e45fceea167a\0B=2\0");
    ENVIRONMENT(21, "A=1\0VRAM_LEASE=bbbbbbbbbbbbbbbb\0");
    ENVIRONMENT(22, "XVRAM_LEASE=8f14e45fceea167a\0");
    ENVIRONMENT(23, "VRAM_LEASE=8f14e45fceea167\0");
    ENVIRONMENT(24, "VRAM_LEASE=8f14e45fceea167ab\0");
    ENVIRONMENT(25, "VRAM_LEASE=8f14e45fceea167a"); /* cut */
    ENVIRONMENT(26, "VRAM_LEASE\0VRAM_LEASE=\0VRAM_LEASE=8f14e45fceea167a\0");
    ENVIRONMENT(27, "VRAM_LEASE=0000000000000000000000000000000000000000000000000000\0");
    ENVIRONMENT(28, "");
    expect(20, A, 0);
    for (uint32_t pid = 21; pid <= 28; pid++) {
        expect(pid, 0, 0);
    }
    members_remove_lease(members, "8f14e45fceea167a");
    expect(20, 0, 0);
    assert_int_equal(members_add_lease(members, A, "8f14e45fceea167a"), 0);
    expect(20, A, 0);
    members_remove_owner(members, A);
    expect(20, 0, 0);
}

static void test_members__by_a_long_environment(void **state)
{
    static char bytes[40000];
    (void)state;
    assert_int_equal(members_add_owner(members, A, 0, 0, ADA, false), 0);
    assert_int_equal(members_add_lease(members, A, "8f14e45fceea167a"), 0);
    for (size_t at = 4070; at < 4110; at++) { /* across the end of what is read at once */
        memset(bytes, 'x', sizeof(bytes));
        bytes[at - 1] = '\0';
        memcpy(bytes + at, "VRAM_LEASE=8f14e45fceea167a", 28);
        environment((uint32_t)at, bytes, sizeof(bytes));
        expect((uint32_t)at, A, 0);
    }
}

static void test_members__the_tree_before_the_environment(void **state)
{
    (void)state;
    process(10, 1);
    own(A, 10, false);
    own(B, 15, false);
    assert_int_equal(members_add_lease(members, B, "8f14e45fceea167a"), 0);
    ENVIRONMENT(20, "VRAM_LEASE=8f14e45fceea167a\0");
    process(20, 10);
    expect(20, A, B);
}

/* ---- What is attached ------------------------------------------------------------------------ */

static void cgroups(uint32_t pid, const char *text)
{
    process(pid, 1);
    file(pid, "cgroup", text, strlen(text));
}

static void test_members__by_what_is_attached(void **state)
{
    (void)state;
    cgroups(20, "0::/system.slice/x.service/inner\n");
    cgroups(21, "0::/system.slice/xy.service\n");
    own(A, 10, false);
    own(B, 11, false);
    own(C, 12, false);
    expect(20, 0, 0);
    assert_int_equal(members_attach(members, A, "unit:x"), 0);
    expect(20, A, 0);
    expect(21, 0, 0);
    assert_int_equal(members_attach(members, B, "cgroup:/system.slice"), 0);
    expect(20, B, A);
    expect(21, B, 0);
    assert_int_equal(members_attach(members, C, "cgroup:/system.slice/x.service"), 0);
    expect(20, C, B); /* the longer path, though it came later */
    expect(21, B, 0);
    members_remove_owner(members, C);
    expect(20, B, A);
    members_remove_owner(members, B);
    expect(20, A, 0);
    struct members_verdict verdict = verdict_of(21, ID, NULL);
    assert_int_equal(verdict.key, 0);
    assert_int_equal(members_attach(members, A, "container:0123456789ab"), 0);
    assert_int_equal(verdict_of(21, ID, NULL).key, A);
    assert_int_equal(members_attach(members, A, "pid:21"), -EINVAL);
    assert_int_equal(members_attach(members, A, "x"), -EINVAL);
    assert_int_equal(members_attach(members, 99, "unit:x"), -ENOENT);
}

static void test_members__by_a_pid_that_is_attached(void **state)
{
    (void)state;
    process(10, 1);
    process(20, 1);
    process(30, 20);
    own(A, 10, false);
    assert_int_equal(members_attach_process(members, A, 20, 200), 0);
    assert_int_equal(members_attach_process(members, B, 20, 200), -ENOENT);
    expect(20, A, 0);
    expect(30, A, 0);
    own(B, 20, true); /* its own before what it is attached to */
    expect(30, B, A);
    members_remove_owner(members, A);
    expect(30, B, 0);
    expect(20, B, 0);
}

/* ---- What is remembered ---------------------------------------------------------------------- */

static void sweep_often(void)
{
    for (int i = 0; i < 200; i++) {
        members_sweep(members);
    }
}

static void test_members__the_dead_are_forgotten(void **state)
{
    (void)state;
    process(10, 1);
    process(1, 0);
    own(A, 10, false);
    for (uint32_t pid = 100; pid < 1100; pid++) {
        process(pid, pid == 100 ? 10 : pid - 1);
        expect(pid, A, 0);
    }
    sweep_often();
    assert_int_equal(members_count(members), 1002);
    for (uint32_t pid = 100; pid < 1100; pid += 2) {
        end(pid);
    }
    sweep_often();
    expect(1099, A, 0); /* through ancestors that are dead */
    for (uint32_t pid = 101; pid < 1100; pid += 2) {
        end(pid);
    }
    for (int i = 0; i < 120; i++) { /* each sweep takes off what has no children any more */
        sweep_often();
    }
    assert_int_equal(members_count(members), 2);
    end(10);
    sweep_often();
    assert_int_equal(members_count(members), 2); /* an owner's, as long as it is one */
    members_remove_owner(members, A);
    sweep_often();
    assert_int_equal(members_count(members), 1);
}

static void test_members__a_known_process_costs_no_look(void **state)
{
    (void)state;
    process(10, 1);
    process(20, 10);
    own(A, 10, false);
    expect(20, A, 0);
    end(20);
    end(10);
    own(B, 30, false); /* verdicts are made anew */
    expect(20, A, 0);
}

int main(void)
{
#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    static const struct CMUnitTest tests[] = {
        CASE(test_members__nearest_of_the_tree),
        CASE(test_members__the_nearest_holder_beyond),
        CASE(test_members__stay_when_parents_die),
        CASE(test_members__an_owner_that_asks_late),
        CASE(test_members__nearer_ones_outlive_farther_ones),
        CASE(test_members__a_pid_is_not_a_process),
        CASE(test_members__a_parent_younger_than_its_child_is_none),
        CASE(test_members__a_circle_ends),
        CASE(test_members__what_cannot_be_seen_is_nobodys),
        CASE(test_members__by_the_environment_of_the_same_user),
        CASE(test_members__by_a_long_environment),
        CASE(test_members__the_tree_before_the_environment),
        CASE(test_members__by_what_is_attached),
        CASE(test_members__by_a_pid_that_is_attached),
        CASE(test_members__the_dead_are_forgotten),
        CASE(test_members__a_known_process_costs_no_look),
    };
    return cmocka_run_group_tests_name("members", tests, NULL, NULL);
}
