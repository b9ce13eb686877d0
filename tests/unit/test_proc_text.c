/* SPDX-License-Identifier: MIT */
/* What the kernel writes into /proc/PID, and what it never should. */
#include "tests/unit/unit.h"

#include "lib/proc_text.h"
#include <errno.h>
#include <stdio.h>

/* ---- stat ------------------------------------------------------------------------------------ */

#define FIELDS_3_TO_21 " S 1 77 77 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0"
#define REST " 12345678 90 18446744073709551615 1 1 0 0\n"

struct stat_case {
    const char *text, *name;
    uint64_t start_time;
};

static void test_proc_text__reads_stat(void **state)
{
    static const struct stat_case cases[] = {
        {"77 (python3)" FIELDS_3_TO_21 " 4711" REST, "python3", 4711},
        {"77 (python3)" FIELDS_3_TO_21 " 4711", "python3", 4711},
        {"77 (python3)" FIELDS_3_TO_21 " 4711\n", "python3", 4711},
        {"77 (my prog)" FIELDS_3_TO_21 " 1" REST, "my prog", 1},
        {"77 (a) S 1 (b)" FIELDS_3_TO_21 " 2" REST, "a) S 1 (b", 2},
        {"77 ())" FIELDS_3_TO_21 " 3" REST, ")", 3},
        {"77 ()" FIELDS_3_TO_21 " 4" REST, "", 4},
        {"77 ((sd-pam))" FIELDS_3_TO_21 " 5" REST, "(sd-pam)", 5},
        {"77 (a\nb)" FIELDS_3_TO_21 " 6" REST, "a\nb", 6},
        {"77 (\x01\xFF\x7F)" FIELDS_3_TO_21 " 7" REST, "\x01\xFF\x7F", 7},
        {"77 (kworker/u64:3-events_unbound)" FIELDS_3_TO_21 " 0" REST,
         "kworker/u64:3-events_unbound", 0},
        {"77 (x)" FIELDS_3_TO_21 " 18446744073709551615" REST, "x", UINT64_MAX},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        char name[PROC_NAME_MAX];
        uint64_t start_time = 0;
        assert_int_equal(proc_stat_parse(cases[i].text, name, &start_time), 0);
        assert_string_equal(name, cases[i].name);
        assert_int_equal(start_time, cases[i].start_time);
    }
}

static void test_proc_text__cuts_a_long_name(void **state)
{
    char text[512], name[PROC_NAME_MAX], expected[PROC_NAME_MAX];
    uint64_t start_time = 0;
    (void)state;
    for (int length = PROC_NAME_MAX - 2; length <= PROC_NAME_MAX + 1; length++) {
        (void)snprintf(text, sizeof(text), "77 (%0*d)" FIELDS_3_TO_21 " 9" REST, length, 0);
        (void)snprintf(expected, sizeof(expected), "%0*d",
                       length < PROC_NAME_MAX ? length : PROC_NAME_MAX - 1, 0);
        assert_int_equal(proc_stat_parse(text, name, &start_time), 0);
        assert_string_equal(name, expected);
        assert_int_equal(start_time, 9);
    }
}

static void test_proc_text__refuses_a_broken_stat(void **state)
{
    static const char *const texts[] = {
        "",
        "77",
        "77 python3 S 1",
        "77 (python3",
        "77 python3)" FIELDS_3_TO_21 " 1" REST,
        "77 )python3(" FIELDS_3_TO_21 " 1" REST,
        "77 (python3)",
        "77 (python3)" FIELDS_3_TO_21,
        "77 (python3)" FIELDS_3_TO_21 " ",
        "77 (python3)" FIELDS_3_TO_21 " x" REST,
        "77 (python3)" FIELDS_3_TO_21 " -1" REST,
        "77 (python3)" FIELDS_3_TO_21 " 12x" REST,
        "77 (python3)" FIELDS_3_TO_21 "  12" REST,
        "77 (python3)" FIELDS_3_TO_21 " 18446744073709551616" REST,
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        char name[PROC_NAME_MAX] = "untouched";
        uint64_t start_time = 5;
        if (proc_stat_parse(texts[i], name, &start_time) != -EINVAL) {
            fail_msg("accepted: '%s'", texts[i]);
        }
        assert_string_equal(name, "untouched");
        assert_int_equal(start_time, 5);
    }
}

/* Every beginning of a good text: either refused, or the start time's digits were all that was lost. */
static void test_proc_text__survives_stat_cut_anywhere(void **state)
{
    static const char whole[] = "77 (a b) c)" FIELDS_3_TO_21 " 4711" REST;
    (void)state;
    for (size_t length = 0; length < sizeof(whole); length++) {
        char *text = strndup(whole, length), name[PROC_NAME_MAX];
        uint64_t start_time = 0;
        assert_non_null(text);
        size_t needed = strlen("77 (a b) c)" FIELDS_3_TO_21 " 4");
        assert_int_equal(proc_stat_parse(text, name, &start_time), length >= needed ? 0 : -EINVAL);
        free(text);
    }
}

/* ---- status ---------------------------------------------------------------------------------- */

static void test_proc_text__reads_the_effective_user(void **state)
{
    static const struct {
        const char *text;
        int result;
        uint32_t uid;
    } cases[] = {
        {"Name:\tx\nUid:\t1000\t1001\t1002\t1003\nGid:\t0\n", 0, 1001},
        {"Name:\tx\nUid:\t0\t0\t0\t0\n", 0, 0},
        {"Name:\tx\nUid:\t1\t4294967294", 0, 4294967294u},
        {"Name:\tx\nUid: 5 6 7 8\n", 0, 6},
        {"Name:\tUid:\nUid:\t1\t2\t3\t4\n", 0, 2},
        {"Name:\tx\nUid:\t1\t4294967296\t0\t0\n", -EINVAL, 0},
        {"Name:\tx\nUid:\t1\t-1\t0\t0\n", -EINVAL, 0},
        {"Name:\tx\nUid:\t1\t2x\t0\t0\n", -EINVAL, 0},
        {"Name:\tx\nUid:\t1\n2\n", -EINVAL, 0},
        {"Name:\tx\nUid:\t1", -EINVAL, 0},
        {"Name:\tx\nUid:", -EINVAL, 0},
        {"Name:\tx\nGid:\t1\t2\t3\t4\n", -EINVAL, 0},
        {"Uid:\t1\t2\t3\t4\n", -EINVAL, 0}, /* never the first line */
        {"", -EINVAL, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        uint32_t uid = 99;
        if (proc_uid_parse(cases[i].text, &uid) != cases[i].result ||
            uid != (cases[i].result ? 99 : cases[i].uid)) {
            fail_msg("'%s': %u", cases[i].text, uid);
        }
    }
}

/* ---- cgroup ---------------------------------------------------------------------------------- */

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define INNER "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
#define NAME80 "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"

struct cgroup_case {
    const char *text, *container, *unit;
};

static void check_cgroups(const struct cgroup_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char container[PROC_CONTAINER_MAX] = "left over", unit[PROC_UNIT_MAX] = "left over";
        proc_cgroup_parse(cases[i].text, container, unit);
        if (strcmp(container, cases[i].container) != 0 || strcmp(unit, cases[i].unit) != 0) {
            fail_msg("'%s': container '%s', unit '%s'", cases[i].text, container, unit);
        }
    }
}

static void test_proc_text__finds_containers(void **state)
{
    static const struct cgroup_case cases[] = {
        {"0::/system.slice/docker-" ID ".scope\n", ID, ""},
        {"0::/docker/" ID "\n", ID, ""},
        {"12:memory:/docker/" ID "\n11:cpu,cpuacct:/docker/" ID "\n1:name=systemd:/docker/" ID "\n",
         ID, ""},
        {"0::/machine.slice/libpod-" ID ".scope/container\n", ID, ""},
        {"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" ID ".scope\n", ID,
         "user@1000.service"},
        {"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod12_34.slice/"
         "cri-containerd-" ID ".scope\n",
         ID, ""},
        {"0::/kubepods.slice/kubepods-besteffort.slice/crio-" ID ".scope\n", ID, ""},
        {"0::/kubepods/besteffort/pod1234-5678/" ID "\n", ID, ""},
        {"0::/system.slice/containerd.service/kubepods-burstable-pod12.slice:cri-containerd:" ID
         "\n",
         ID, "containerd.service"},
        {"0::/actions_job/" ID "\n", ID, ""},
        {"0::/lxc.payload.web\n", "web", ""},
        {"0::/lxc.payload.web/system.slice/ollama.service\n", "web", "ollama.service"},
        {"0::/docker/" ID "/docker/" INNER "\n", INNER,
         ""}, /* in a container: the inner one is meant */
        {"0::/system.slice/docker-" ID ".scope/system.slice/ollama.service\n", ID,
         "ollama.service"},
        {"0::/docker/" ID, ID, ""}, /* no newline */
    };
    (void)state;
    check_cgroups(cases, ARRAY_LENGTH(cases));
}

static void test_proc_text__takes_no_other_digits_for_a_container(void **state)
{
    static const struct cgroup_case cases[] = {
        {"0::/" ID "0\n", "", ""},
        {"0::/0123456789abcdef\n", "", ""},
        {"0::/x" ID "\n", "", ""},
        {"0::/docker-" ID ".slice\n", "", ""},
        {"0::/docker-" ID "-more.scope\n", "", "docker-" ID "-more.scope"},
        {"0::/lxc.payload.\n", "", ""},
        {"0::/lxc.payload." NAME80 "\n", "",
         ""}, /* too long to be told: better none than half of it */
    };
    (void)state;
    check_cgroups(cases, ARRAY_LENGTH(cases));
}

static void test_proc_text__finds_units(void **state)
{
    static const struct cgroup_case cases[] = {
        {"0::/system.slice/ollama.service\n", "", "ollama.service"},
        {"0::/system.slice/system-comfy.slice/comfy@1.service\n", "", "comfy@1.service"},
        {"0::/user.slice/user-1000.slice/user@1000.service/app.slice/"
         "app-org.kde.konsole-42.scope\n",
         "", "app-org.kde.konsole-42.scope"},
        {"0::/user.slice/user-1000.slice/session-2.scope\n", "", "session-2.scope"},
        {"0::/system.slice/ollama.service/worker\n", "",
         "ollama.service"}, /* a delegated part of it */
        {"0::/init.scope\n", "", "init.scope"},
        {"13:pids:/user.slice/user-1000.slice\n"
         "1:name=systemd:/user.slice/user-1000.slice/session-2.scope\n0::/\n",
         "", "session-2.scope"},
        {"0::/\n", "", ""},
        {"0::/user.slice\n", "", ""},
        {"0::/.service\n", "", ""},
        {"0::/a.service.d\n", "", ""},
    };
    (void)state;
    check_cgroups(cases, ARRAY_LENGTH(cases));
}

static void test_proc_text__finds_nothing_in_garbage(void **state)
{
    static const struct cgroup_case cases[] = {
        {"", "", ""},
        {"\n", "", ""},
        {"\n\n\n", "", ""},
        {":", "", ""},
        {"::", "", ""},
        {":::", "", ""},
        {"a.service\n", "", ""},
        {"0:a.service\n", "", ""},
        {"0::", "", ""},
        {"0:://///\n", "", ""},
        {"\xFF\xFE:\x01:\x02", "", ""},
    };
    (void)state;
    check_cgroups(cases, ARRAY_LENGTH(cases));
}

/* ---- cmdline --------------------------------------------------------------------------------- */

static void test_proc_text__joins_a_command_line(void **state)
{
    static const struct {
        const char *text;
        size_t length;
        const char *joined;
    } cases[] = {
        {"python3\0train.py\0--epochs\0"
         "3\0",
         27, "python3 train.py --epochs 3"},
        {"python3\0", 8, "python3"},
        {"python3", 7, "python3"},
        {"nginx: worker\0\0\0\0\0", 18, "nginx: worker"}, /* a title written over the arguments */
        {"a\0\0b\0", 5, "a  b"},
        {"", 0, ""},
        {"\0\0\0", 3, ""},
        {"\0a\0", 3, " a"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        char text[64];
        memset(text, '#', sizeof(text));
        memcpy(text, cases[i].text, cases[i].length);
        text[cases[i].length] = '\0';
        assert_int_equal(proc_command_join(text, cases[i].length), strlen(cases[i].joined));
        assert_string_equal(text, cases[i].joined);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_proc_text__reads_stat),
        TEST(test_proc_text__cuts_a_long_name),
        TEST(test_proc_text__refuses_a_broken_stat),
        TEST(test_proc_text__survives_stat_cut_anywhere),
        TEST(test_proc_text__reads_the_effective_user),
        TEST(test_proc_text__finds_containers),
        TEST(test_proc_text__takes_no_other_digits_for_a_container),
        TEST(test_proc_text__finds_units),
        TEST(test_proc_text__finds_nothing_in_garbage),
        TEST(test_proc_text__joins_a_command_line),
    };
    return cmocka_run_group_tests_name("proc_text", tests, NULL, NULL);
}
