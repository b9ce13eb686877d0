/* SPDX-License-Identifier: MIT */
/* What members are named by: texts that anyone may send, against cgroups that others have named. */
#include "tests/unit/unit.h"

#include "daemon/attachment.h"
#include <errno.h>
#include <stdio.h>

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_attachment__knows_four_kinds(void **state)
{
    static const struct {
        const char *text, *value;
        enum attachment_kind kind;
    } cases[] = {
        {"pid:4242", "4242", ATTACHMENT_PID},
        {"pid:2147483647", "2147483647", ATTACHMENT_PID},
        {"cgroup:/a", "/a", ATTACHMENT_CGROUP},
        {"cgroup:/system.slice/x.service/a b", "/system.slice/x.service/a b", ATTACHMENT_CGROUP},
        {"cgroup:/.../..a", "/.../..a", ATTACHMENT_CGROUP},
        {"container:0123456789ab", "0123456789ab", ATTACHMENT_CONTAINER},
        {"container:" ID, ID, ATTACHMENT_CONTAINER},
        {"container:comfy-ui_2.x", "comfy-ui_2.x", ATTACHMENT_CONTAINER},
        {"unit:ollama", "ollama.service", ATTACHMENT_UNIT},
        {"unit:ollama.service", "ollama.service", ATTACHMENT_UNIT},
        {"unit:run-r1.scope", "run-r1.scope", ATTACHMENT_UNIT},
        {"unit:a@b.c", "a@b.c.service", ATTACHMENT_UNIT},
        {"unit:.service.x", NULL, ATTACHMENT_UNIT},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct attachment attachment = {.pid = -1};
        int r = attachment_parse(cases[i].text, &attachment);
        assert_int_equal(r, cases[i].value ? 0 : -EINVAL);
        if (r == 0) {
            assert_int_equal(attachment.kind, cases[i].kind);
            assert_string_equal(attachment.value, cases[i].value);
        }
    }
}

static void test_attachment__refuses_what_says_something_else(void **state)
{
    static const char *const texts[] = {
        "",
        "pid",
        "pid:",
        "pid:0",
        "pid:-1",
        "pid:+1",
        "pid: 1",
        "pid:1 ",
        "pid:01",
        "pid:2147483648",
        "pid:99999999999999999999",
        "PID:1",
        "cgroup:",
        "cgroup:/",
        "cgroup:a",
        "cgroup://a",
        "cgroup:/a/",
        "cgroup:/a//b",
        "cgroup:/a/../b",
        "cgroup:/.",
        "cgroup:/..",
        "container:",
        "container:0123456789a",
        "container:" ID "0",
        "container:-a",
        "container:a/b",
        "container:a b",
        "container:\xc3\xa9z",
        "unit:",
        "unit:a/b",
        "unit:a b",
        "unit:..",
        "unit:\n",
        "docker:0123456789ab",
        "container",
        ":",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        struct attachment attachment = {.pid = -1};
        if (attachment_parse(texts[i], &attachment) != -EINVAL) {
            fail_msg("%s", texts[i]);
        }
        assert_int_equal(attachment.pid, -1); /* untouched */
    }
}

static void test_attachment__has_bounds(void **state)
{
    char text[2 * ATTACHMENT_MAX];
    struct attachment attachment;
    (void)state;
    (void)snprintf(text, sizeof(text), "cgroup:/%0*d", ATTACHMENT_MAX - 2, 1);
    assert_int_equal(attachment_parse(text, &attachment), 0);
    (void)snprintf(text, sizeof(text), "cgroup:/%0*d", ATTACHMENT_MAX - 1, 1);
    assert_int_equal(attachment_parse(text, &attachment), -ENAMETOOLONG);
    (void)snprintf(text, sizeof(text), "unit:%0*d", 255, 1);
    assert_int_equal(attachment_parse(text, &attachment), 0);
    (void)snprintf(text, sizeof(text), "unit:%0*d", 256, 1);
    assert_int_equal(attachment_parse(text, &attachment), -EINVAL);
}

struct match {
    const char *attachment, *cgroups, *container, *unit;
    bool matches;
};

static void test_attachment__matches_whole_parts_alone(void **state)
{
    static const struct match cases[] = {
        {"cgroup:/a/b", "0::/a/b\n", NULL, NULL, true},
        {"cgroup:/a/b", "0::/a/b", NULL, NULL, true},
        {"cgroup:/a/b", "0::/a/b/c\n", NULL, NULL, true},
        {"cgroup:/a/b", "0::/a/bc\n", NULL, NULL, false},
        {"cgroup:/a/b", "0::/a\n", NULL, NULL, false},
        {"cgroup:/a/b", "0::/x/a/b\n", NULL, NULL, false},
        {"cgroup:/a/b", "12:pids:/x\n5:memory:/a/b\n0::/\n", NULL, NULL, true},
        {"cgroup:/a/b", "12:pids:/x\n5:memory:/a/bb\n", NULL, NULL, false},
        {"cgroup:/a/b", "nonsense\n:\n::\n", NULL, NULL, false},
        {"cgroup:/a:b", "0::/a:b\n", NULL, NULL, true},
        {"cgroup:/a", NULL, NULL, NULL, false},
        {"container:0123456789ab", NULL, ID, NULL, true},
        {"container:0123456789AB", NULL, ID, NULL, true},
        {"container:" ID, NULL, ID, NULL, true},
        {"container:0123456789ac", NULL, ID, NULL, false},
        {"container:0123456789ab", NULL, "0123456789ab-and-more", NULL, false},
        {"container:comfy", NULL, "comfy", NULL, true},
        {"container:comfy", NULL, "comfyui", NULL, false},
        {"container:comfy", "0::/comfy\n", NULL, "comfy", false},
        {"unit:a", NULL, NULL, "a.service", true},
        {"unit:a", "0::/system.slice/a.service\n", NULL, NULL, true},
        {"unit:a", "0::/user.slice/user@1.service/a.service/x.scope\n", NULL, "x.scope", true},
        {"unit:a", "0::/system.slice/ba.service\n", NULL, "ba.service", false},
        {"unit:a", "0::/a.service.d\n", NULL, NULL, false},
        {"unit:user.slice", "0::/user.slice/x.scope\n", NULL, "x.scope", true},
        {"pid:1", "0::/1\n", "1", "1", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct attachment attachment;
        assert_int_equal(attachment_parse(cases[i].attachment, &attachment), 0);
        if (attachment_matches(&attachment, cases[i].cgroups, cases[i].container, cases[i].unit) !=
            cases[i].matches) {
            fail_msg("%s and %s", cases[i].attachment, cases[i].cgroups);
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_attachment__knows_four_kinds),
        TEST(test_attachment__refuses_what_says_something_else),
        TEST(test_attachment__has_bounds),
        TEST(test_attachment__matches_whole_parts_alone),
    };
    return cmocka_run_group_tests_name("attachment", tests, NULL, NULL);
}
