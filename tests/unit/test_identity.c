/* SPDX-License-Identifier: MIT */
/* Who a process is: from a made-up /proc, whose processes change between two looks, and from the real one. */
#include "tests/unit/fake_root.h"
#include "tests/unit/unit.h"

#include "lib/identity.h"
#include <inttypes.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define ADA 1000u
#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const char *root;
static struct identities *identities;

static int set_up(void **state)
{
    char passwd[256];
    (void)state;
    root = fake_root_make();
    /* Without the right to give files away, every process here is the tester's. */
    (void)snprintf(passwd, sizeof(passwd),
                   "root:x:0:0::/root:/bin/sh\n%s:x:%u:1::/:\nada:x:1000:1000::/:\n",
                   getuid() ? "tester" : "nobody", getuid() ? getuid() : 65534);
    fake_root_text(root, "/etc/passwd", passwd);
    identities = identities_new(root);
    assert_non_null(identities);
    identities_begin(identities);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    identities_free(identities);
    fake_root_remove(root);
    return 0;
}

static const struct identity *look_up(uint32_t pid, bool with_command)
{
    const struct identity *identity = NULL;
    assert_int_equal(identities_find(identities, pid, with_command, &identity), 0);
    assert_non_null(identity);
    assert_int_equal(identity->pid, pid);
    return identity;
}

static void process_text(uint32_t pid, const char *file, const char *text)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%" PRIu32 "/%s", pid, file);
    fake_root_text(root, path, text);
}

/* Whose a process with the effective user `uid` is, as far as this test can make it so. */
static const char *name_of(uint32_t uid)
{
    return geteuid() ? "tester" : uid == ADA ? "ada" : uid == 0 ? "root" : "4242";
}

/* ---- One look -------------------------------------------------------------------------------- */

static void test_identity__tells_who_a_process_is(void **state)
{
    (void)state;
    fake_root_process(root, 77, "python3", 4711, ADA);
    process_text(77, "cgroup", "0::/system.slice/docker-" ID ".scope/system.slice/comfy.service\n");
    const struct identity *who = look_up(77, false);
    assert_true(who->visible);
    assert_string_equal(who->name, "python3");
    assert_int_equal(who->start_time, 4711);
    assert_string_equal(who->user, name_of(ADA));
    assert_string_equal(who->container, ID);
    assert_string_equal(who->unit, "comfy.service");
    assert_null(who->command);
}

static void test_identity__does_without_what_is_missing(void **state)
{
    (void)state;
    fake_root_process(root, 77, "python3", 4711,
                      4242); /* no such user, no cgroup, no command line */
    const struct identity *who = look_up(77, true);
    assert_true(who->visible);
    assert_string_equal(who->user, name_of(4242));
    assert_string_equal(who->container, "");
    assert_string_equal(who->unit, "");
    assert_null(who->command);
}

static void test_identity__numbers_users_where_there_is_no_passwd(void **state)
{
    char number[16];
    (void)state;
    (void)snprintf(number, sizeof(number), "%u", geteuid() ? getuid() : ADA);
    fake_root_delete(root, "/etc/passwd");
    fake_root_process(root, 77, "x", 1, ADA);
    assert_string_equal(look_up(77, false)->user, number);
}

static void test_identity__survives_a_broken_passwd(void **state)
{
    char text[2048];
    (void)state;
    memset(text, 'x', sizeof(text) - 1); /* one line, longer than any buffer */
    text[sizeof(text) - 1] = '\0';
    static const char odd[] = ":::\n::\n:\n\n+\n+::::::\nshort:x\nnan:x:y:\nada:x:1000:0\n";
    memcpy(text + 1000, odd, sizeof(odd) - 1);
    fake_root_text(root, "/etc/passwd", text);
    fake_root_process(root, 77, "x", 1, ADA);
    const char *user = look_up(77, false)->user;
    assert_true(geteuid() || strcmp(user, "ada") == 0);
}

static void test_identity__tells_users_apart(void **state)
{
    (void)state;
    for (uint32_t pid = 1; pid <= 6; pid++) {
        fake_root_process(root, pid, "x", 1, pid % 2 ? ADA : 0);
    }
    for (uint32_t pid = 1; pid <= 6; pid++) {
        assert_string_equal(look_up(pid, false)->user, name_of(pid % 2 ? ADA : 0));
    }
}

/* As /proc shows it where hidepid or another owner is in the way: the directory stands, its files do not open. */
static void test_identity__shows_no_part_of_what_it_cannot_see(void **state)
{
    (void)state;
    assert_false(look_up(76, true)->visible);
    fake_root_directory(root, "/proc/77");
    process_text(77, "cgroup", "0::/system.slice/ollama.service\n");
    process_text(77, "cmdline", "secret");
    const struct identity *who = look_up(77, true);
    assert_false(who->visible);
    assert_null(who->command);
    fake_root_process(root, 78, "x", 1, ADA);
    process_text(78, "stat", "78 (x");
    assert_false(look_up(78, false)->visible);
    process_text(79, "stat", "");
    assert_false(look_up(79, false)->visible);
}

static void test_identity__reads_the_command_line_when_asked(void **state)
{
    char *text = malloc(100000);
    (void)state;
    assert_non_null(text);
    fake_root_process(root, 77, "python3", 1, ADA);
    fake_root_write(root, "/proc/77/cmdline", "python3\0train.py\0", 17);
    assert_string_equal(look_up(77, true)->command, "python3 train.py");
    fake_root_process(root, 78, "kworker", 1, ADA);
    process_text(78, "cmdline", ""); /* a thread of the kernel's */
    assert_null(look_up(78, true)->command);
    fake_root_process(root, 79, "long", 1, ADA);
    memset(text, 'x', 100000);
    fake_root_write(root, "/proc/79/cmdline", text, 100000);
    assert_int_equal(strlen(look_up(79, true)->command), 65535); /* cut, not refused */
    free(text);
}

static void test_identity__keeps_many_apart(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 300; i++) {
        char name[16];
        uint32_t pid = 1 + i * 7919 % 1000003;
        (void)snprintf(name, sizeof(name), "p%" PRIu32, pid);
        fake_root_process(root, pid, name, pid, ADA);
        assert_int_equal(look_up(pid, false)->start_time, pid);
    }
    for (uint32_t i = 0; i < 300; i++) {
        char name[16];
        uint32_t pid = 1 + i * 7919 % 1000003;
        (void)snprintf(name, sizeof(name), "p%" PRIu32, pid);
        assert_string_equal(look_up(pid, false)->name, name);
    }
}

/* ---- The next look --------------------------------------------------------------------------- */

static void test_identity__looks_once_per_round(void **state)
{
    (void)state;
    fake_root_process(root, 77, "first", 1, ADA);
    assert_string_equal(look_up(77, false)->name, "first");
    fake_root_process(root, 77, "second", 1, ADA);
    assert_string_equal(look_up(77, false)->name, "first");
    identities_begin(identities);
    assert_string_equal(look_up(77, false)->name, "second");
}

static void test_identity__knows_a_reused_pid_by_its_start(void **state)
{
    (void)state;
    fake_root_process(root, 77, "python3", 100, ADA);
    process_text(77, "cgroup", "0::/docker/" ID "\n");
    fake_root_write(root, "/proc/77/cmdline", "python3\0secret", 14);
    (void)look_up(77, true);
    identities_begin(identities);
    fake_root_process(root, 77, "sleep", 200, 0);
    process_text(77, "cgroup", "0::/system.slice/sleep.service\n");
    fake_root_write(root, "/proc/77/cmdline", "sleep", 5);
    const struct identity *who = look_up(77, false);
    assert_string_equal(who->name, "sleep");
    assert_int_equal(who->start_time, 200);
    assert_string_equal(who->user, name_of(0));
    assert_string_equal(who->container, "");
    assert_string_equal(who->unit, "sleep.service");
    assert_null(who->command); /* least of all the other process's */
}

static void test_identity__has_a_command_only_where_it_was_asked_for(void **state)
{
    (void)state;
    fake_root_process(root, 77, "python3", 1, ADA);
    fake_root_write(root, "/proc/77/cmdline", "python3", 7);
    assert_non_null(look_up(77, true)->command);
    identities_begin(identities);
    assert_null(look_up(77, false)->command);
    identities_begin(identities);
    fake_root_write(root, "/proc/77/cmdline", "python3\0b", 9); /* exec keeps the start time */
    assert_string_equal(look_up(77, true)->command, "python3 b");
}

static void test_identity__sees_a_process_go_and_come(void **state)
{
    (void)state;
    fake_root_process(root, 77, "python3", 100, ADA);
    assert_true(look_up(77, false)->visible);
    identities_begin(identities);
    fake_root_delete(root, "/proc/77");
    assert_false(look_up(77, false)->visible);
    identities_begin(identities);
    fake_root_process(root, 77, "other", 300, 0);
    process_text(77, "cgroup", "0::/system.slice/other.service\n");
    const struct identity *who = look_up(77, false);
    assert_true(who->visible);
    assert_string_equal(who->name, "other");
    assert_string_equal(who->user, name_of(0));
    assert_string_equal(who->unit, "other.service");
}

static void test_identity__forgets_who_was_not_asked_for(void **state)
{
    (void)state;
    fake_root_process(root, 77, "a", 1, ADA);
    fake_root_process(root, 78, "b", 1, ADA);
    process_text(77, "cgroup", "0::/a.service\n");
    process_text(78, "cgroup", "0::/a.service\n");
    (void)look_up(77, false);
    (void)look_up(78, false);
    identities_sweep(identities); /* forgets nobody */
    identities_begin(identities);
    (void)look_up(78, false);
    identities_sweep(identities);
    process_text(77, "cgroup", "0::/b.service\n");
    process_text(78, "cgroup", "0::/b.service\n");
    identities_begin(identities);
    assert_string_equal(look_up(77, false)->unit, "b.service"); /* read whole, as a stranger */
    assert_string_equal(look_up(78, false)->unit, "a.service"); /* still known */
}

/* ---- The real /proc -------------------------------------------------------------------------- */

static int set_up_real(void **state)
{
    (void)state;
    identities = identities_new("");
    assert_non_null(identities);
    identities_begin(identities);
    return 0;
}

static int tear_down_real(void **state)
{
    (void)state;
    identities_free(identities);
    return 0;
}

static const char *real_name_of(uid_t uid)
{
    static char number[16];
    const struct passwd *entry = getpwuid(uid);
    (void)snprintf(number, sizeof(number), "%u", uid);
    return entry ? entry->pw_name : number;
}

/* A child that says when it is ready and then waits to be killed. */
static pid_t start_child(bool undumpable, uid_t uid)
{
    int ready[2];
    char byte = 0;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        bool good = prctl(PR_SET_NAME, "a (b) c", 0, 0, 0) == 0;
        good = good && (uid == getuid() || setresuid(uid, uid, uid) == 0);
        good = good && (!undumpable || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0);
        (void)!write(ready[1], good ? "y" : "n", 1);
        for (;;) {
            (void)pause();
        }
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    assert_int_equal(close(ready[0]) | close(ready[1]), 0);
    return child;
}

static void end_child(pid_t child)
{
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void test_identity__knows_a_real_process_until_it_is_gone(void **state)
{
    (void)state;
    pid_t child = start_child(false, getuid());
    const struct identity *who = look_up((uint32_t)child, true);
    assert_true(who->visible);
    assert_string_equal(who->name, "a (b) c");
    assert_string_equal(who->user, real_name_of(getuid()));
    assert_true(who->start_time > 0);
    assert_non_null(who->command);
    end_child(child);
    identities_begin(identities);
    assert_false(look_up((uint32_t)child, true)->visible);
}

/* The kernel shows such a process's files as root's, whoever runs it. */
static void test_identity__knows_whose_an_undumpable_process_is(void **state)
{
    (void)state;
    uid_t uid = getuid() ? getuid() : 65534;
    pid_t child = start_child(true, uid);
    const struct identity *who = look_up((uint32_t)child, true);
    assert_true(who->visible);
    assert_string_equal(who->name, "a (b) c");
    assert_string_equal(who->user, real_name_of(uid));
    end_child(child);
}

int main(void)
{
#define FAKE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
#define REAL(function) cmocka_unit_test_setup_teardown(function, set_up_real, tear_down_real)
    const struct CMUnitTest tests[] = {
        FAKE(test_identity__tells_who_a_process_is),
        FAKE(test_identity__does_without_what_is_missing),
        FAKE(test_identity__numbers_users_where_there_is_no_passwd),
        FAKE(test_identity__survives_a_broken_passwd),
        FAKE(test_identity__tells_users_apart),
        FAKE(test_identity__shows_no_part_of_what_it_cannot_see),
        FAKE(test_identity__reads_the_command_line_when_asked),
        FAKE(test_identity__keeps_many_apart),
        FAKE(test_identity__looks_once_per_round),
        FAKE(test_identity__knows_a_reused_pid_by_its_start),
        FAKE(test_identity__has_a_command_only_where_it_was_asked_for),
        FAKE(test_identity__sees_a_process_go_and_come),
        FAKE(test_identity__forgets_who_was_not_asked_for),
        REAL(test_identity__knows_a_real_process_until_it_is_gone),
        REAL(test_identity__knows_whose_an_undumpable_process_is),
    };
    return cmocka_run_group_tests_name("identity", tests, NULL, NULL);
}
