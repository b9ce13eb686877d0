/* SPDX-License-Identifier: MIT */
/* The scenario language: what is refused, with which words, and that nothing breaks its reader. */
#include "sim/scenario.h"
#include "sim/statement.h"
#include "tests/sim/rig.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>

static void check_refused(const char *text, size_t length, const char *expected)
{
    struct scenario scenario;
    struct complaint complaint = {""};
    int r = scenario_parse(text, length, "x.scenario", &scenario, &complaint);
    if (r != -EINVAL || !strstr(complaint.text, expected)) {
        fail_msg("%s\nanswer %d: %s\nexpected: %s", text, r, complaint.text, expected);
    }
}

#define HEAD "driver 550.54.14\n"
#define CARD HEAD "gpu 0 total=8G\n"

static void test_scenario__refuses_what_it_does_not_understand(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } rows[] = {
        {"", "x.scenario:1: nothing in it"},
        {"\n# only this\n", "nothing in it"},
        {"gpu 0 total=8G\n", "x.scenario:1: the first line must be 'driver VERSION'"},
        {"cuda 12.4\ndriver 550\n", "x.scenario:1: the first line"},
        {"driver\n", "is not one version"},
        {"driver five\n", "'five' is not one version"},
        {"driver 550.54.14 cuda 12.4\n", "unknown word 'cuda'"},
        {HEAD "driver 550.54.14\n", "x.scenario:2: driver '550.54.14' is not one version"},
        {HEAD "cuda twelve\n", "write cuda 12.4"},
        {HEAD "cuda 12.45\n", "write cuda 12.4"},
        {HEAD "clock sundial\n", "clock=sundial: known are real, virtual"},
        {HEAD "foo 1\n", "x.scenario:2: unknown word 'foo'; lines begin with gpu"},
        {HEAD "gpu\n", "gpu= is not a number"},
        {HEAD "gpu x\n", "gpu=x is not a number from 0 to 63"},
        {HEAD "gpu 64 total=8G\n", "from 0 to 63"},
        {HEAD "gpu 1 total=8G\n", "GPU 1 comes before GPU 0"},
        {HEAD "gpu 0\n", "GPU 0 has no memory"},
        {HEAD "gpu 0 total=24576\n", "total=24576 has no unit; write 24576M for MiB"},
        {HEAD "gpu 0 total=lots\n", "total=lots is not a size"},
        {HEAD "gpu 0 total=-1G\n", "is not a size"},
        {HEAD "gpu 0 total=99999999999T\n", "is not a size"},
        {HEAD "gpu 0 total=8G temp=hot\n", "temp=hot is not a number from 0 to 250"},
        {HEAD "gpu 0 total=8G temp=251\n", "from 0 to 250"},
        {HEAD "gpu 0 total=8G util=99999999999999999999\n", "from 0 to 100"},
        {HEAD "gpu 0 total=8G pci=nowhere\n", "write it as 0000:01:00.0"},
        {HEAD "gpu 0 total=8G pci=0000:01:20.0\n", "write it as 0000:01:00.0"},
        {HEAD "gpu 0 total=8G mig=maybe\n", "mig=maybe: known are off, on"},
        {HEAD "gpu 0 total=8G asleep\n", "unknown word 'asleep'"},
        {HEAD "gpu 0 total=8G colour=blue\n", "unknown word 'colour='"},
        {HEAD "gpu 0 total=8G name=\n", "name= has 0 bytes"},
        {HEAD "gpu 0 total=8G name=\"open\n", "a quote is not closed"},
        {HEAD "gpu 0 total=8G name=a\x01z\n", "control characters"},
        {CARD "at +2s gpu 1 total=8G\n", "GPU 1 is not defined"},
        {CARD "at soon gpu 0 lost\n", "at: 'soon' is not a time"},
        {CARD "at +2 gpu 0 lost\n", "write it as 250us"},
        {CARD "at\n", "unknown word 'at'"},
        {CARD "proc 0 mem=1G\n", "which process? Write pid=4242"},
        {CARD "proc 1 pid=5 mem=1G\n", "GPU 1 is not defined"},
        {CARD "proc 0 pid=-5 mem=1G\n", "pid=-5 is not a number"},
        {CARD "proc 0 pid=$OTHER mem=1G\n", "is not a number"},
        {CARD "proc 0 pid=5 type=Z\n", "not made of C, G and M"},
        {CARD "proc 0 pid=5 type=\n", "not made of C, G and M"},
        {CARD "proc 0 pid=5 gi=1\n", "has no instance gi=1"},
        {CARD "exit\n", "which process?"},
        {CARD "exit 7\n", "no process 7 runs at that time"},
        {CARD "proc 0 pid=7\nat 2s exit 7\nat 3s exit 7\n", "x.scenario:5: no process 7"},
        {CARD "mig 0 total=1G\n", "which instance?"},
        {CARD "mig 0 gi=1 total=1G\n", "GPU 0 is not divided"},
        {HEAD "gpu 0 total=8G mig=on\nmig 0 gi=1\n", "the instance has no memory"},
        {HEAD "gpu 0 total=8G mig=on\nmig 0 gi=1 gone\n", "has no instance gi=1"},
        {CARD "event 0\n", "which event?"},
        {CARD "event 0 party\n", "unknown event 'party'"},
        {CARD "fail\n", "which function?"},
        {CARD "fail nvmlDance ret=1\n", "no function is called 'nvmlDance'"},
        {CARD "fail nvmlInit_v9 ret=1\n", "no function is called"},
        {CARD "fail nvmlInit\n", "with which code?"},
        {CARD "fail nvmlInit ret=BROKEN\n", "neither a number nor a name"},
        {CARD "fail nvmlInit ret=1 gpu=3\n", "gpu=3: that GPU is not defined"},
        {CARD "fail nvmlInit ret=1 until=release\n", "unknown word 'until='"},
        {CARD "delay nvmlInit\n", "how long?"},
        {CARD "delay nvmlInit 2s jitter=5\n", "is not a percentage"},
        {CARD "delay nvmlInit 2s jitter=101%\n", "from 0 to 100"},
        {CARD "hang nvmlInit until=later\n", "is not a time"},
        {CARD "grow 3\n", "GPU 3 is not defined"},
        {CARD "after nvmlInit call=1\n", "do what?"},
        {CARD "after nvmlInit do gpu 0 lost\n", "after which call?"},
        {CARD "after nvmlInit call=0 do gpu 0 lost\n", "counted from 1"},
        {CARD "after nvmlInit call=1 do dance\n", "unknown word 'dance'"},
        {CARD "after nvmlInit call=1 do at noon gpu 0 lost\n", "is not a time"},
        {CARD "skew sideways 1s\n", "known are none, lists, free"},
        {CARD "skew lists\n", "by how much?"},
        {CARD "strict very\n", "known are off, on"},
        {CARD "strict\n", "strict what?"},
        {CARD "strict on off\n", "unknown word 'off'"},
        {CARD "entry 17\n", "known are auto, 16, 24, 32"},
        {CARD "lag 5\n", "is not a time"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        check_refused(rows[i].text, strlen(rows[i].text), rows[i].expected);
    }
    static const char binary[] = HEAD "gpu 0\0total=8G\n";
    check_refused(binary, sizeof(binary) - 1, "not a text file");
}

/* A text of `head` and `count` times `before`, a number, `after`. The caller frees it. */
static char *repeat(const char *head, const char *before, const char *after, unsigned count)
{
    size_t size = strlen(head) + count * (strlen(before) + strlen(after) + 10) + 1;
    char *text = malloc(size);
    assert_non_null(text);
    size_t length = (size_t)snprintf(text, size, "%s", head);
    for (unsigned i = 0; i < count; i++) {
        length += (size_t)snprintf(text + length, size - length, "%s%u%s", before, i, after);
    }
    return text;
}

static void check_too_much(const char *head, const char *before, const char *after, unsigned count,
                           const char *expected)
{
    char *text = repeat(head, before, after, count);
    check_refused(text, strlen(text), expected);
    free(text);
}

static void test_scenario__has_bounds_and_names_them(void **state)
{
    (void)state;
    check_too_much(CARD, "proc 0 pid=", "\n", 4097, "more than 4096 processes");
    check_too_much(CARD, "fail * ret=1 after=", "\n", 1025, "more than 1024 rules");
    check_too_much(CARD, "gpu 0 temp=1 #", "\n", 8192, "more than 8192 lines");
    check_too_much(HEAD, "#--------------------------------------------------", "\n", 5200,
                   "larger than 256 KiB");
    check_too_much(HEAD "gpu 0 total=8G mig=on\n", "mig 0 total=1G gi=", "\n", 8,
                   "more than 7 MIG instances");
    check_too_much(CARD "gpu 0 ", "temp=", " ", 70, "more than 64 words");
    check_too_much(CARD "gpu 0 name=", "-------", "", 200, "longer than 1024 bytes");
}

static void test_scenario__reads_what_it_describes(void **state)
{
    (void)state;
    static const char text[] =
        "# A comment\n\n  driver 550.54.14   # and another\ncuda 12.4\nclock virtual\r\n"
        "gpu 0 name=\"Card # 1\" total=1.5g reserved=0\n"
        "at +2500ms gpu 0 temp=70\nat 1s gpu 0 temp=60\n";
    struct scenario scenario;
    struct complaint complaint;
    assert_int_equal(scenario_parse(text, sizeof(text) - 1, "x", &scenario, &complaint), 0);
    assert_string_equal(scenario.driver, "550.54.14");
    assert_int_equal(scenario.cuda, 12040);
    assert_true(scenario.virtual_clock);
    assert_int_equal(scenario.line_count, 3);
    assert_int_equal(scenario.lines[1].time, 1000000000);
    assert_int_equal(scenario.lines[1].number, 8);
    assert_int_equal(scenario.lines[2].time, 2500000000);
    struct world *world = world_create();
    assert_non_null(world);
    assert_int_equal(statement_run(world, scenario.lines[0].text, 0, true, false, &complaint), 0);
    assert_string_equal(world->gpus[0].name, "Card # 1");
    assert_int_equal(world->gpus[0].memory.total, 3 * GIB / 2);
    world_destroy(world);
    scenario_done(&scenario);
}

static void test_scenario__leaves_the_world_alone_when_it_refuses(void **state)
{
    (void)state;
    struct complaint complaint;
    struct world *world = world_create();
    assert_non_null(world);
    assert_int_equal(statement_run(world, "gpu 0 total=8G temp=40", 0, true, false, &complaint), 0);
    assert_int_equal(
        statement_run(world, "gpu 0 temp=50 lost colour=red", 0, false, false, &complaint),
        -EINVAL);
    assert_int_equal(world->gpus[0].numbers[NUMBER_TEMPERATURE], 40);
    assert_false(world->gpus[0].lost);
    assert_int_equal(statement_run(world, "proc 0 pid=5 mem=1G", 0, false, true, &complaint),
                     0); /* dry */
    assert_int_equal(world->process_count, 0);
    world_destroy(world);
}

static int is_scenario(const struct dirent *entry)
{
    return strstr(entry->d_name, ".scenario") != NULL;
}

static char *read_file(const char *directory, const char *name, size_t *ret_length)
{
    char path[1024];
    (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "re");
    char *text = malloc(SCENARIO_TEXT_MAX);
    assert_true(file && text);
    *ret_length = fread(text, 1, SCENARIO_TEXT_MAX, file);
    assert_int_equal(fclose(file), 0);
    return text;
}

static uint64_t next_random(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random;
}

/* Every profile with bytes changed, lines joined and pieces swapped: accepted or refused, never worse. */
static void damage(char *text, size_t length, uint64_t *random)
{
    static const char bytes[] = " \t\n=\"#+-.*:09azAZ$\x80\xff";
    for (uint64_t i = next_random(random) % 8 + 1; i > 0; i--) {
        size_t at = next_random(random) % length, from = next_random(random) % length;
        if (next_random(random) % 2) {
            text[at] = bytes[next_random(random) % (sizeof(bytes) - 1)];
        } else {
            size_t most = length - (at > from ? at : from);
            memmove(text + at, text + from, next_random(random) % (most < 40 ? most : 40));
        }
    }
}

static void test_scenario__survives_damage(void **state)
{
    (void)state;
    char directory[512];
    struct dirent **entries;
    uint64_t random = 88172645463325252u;
    (void)snprintf(directory, sizeof(directory), "%s/profiles", getenv("VRAM_SIM_DIR"));
    int count = scandir(directory, &entries, is_scenario, alphasort);
    assert_true(count >= 9);
    for (int i = 0; i < count; i++) {
        size_t length;
        char *text = read_file(directory, entries[i]->d_name, &length);
        char *copy = malloc(length);
        assert_non_null(copy);
        struct scenario scenario;
        struct complaint complaint;
        if (scenario_parse(text, length, entries[i]->d_name, &scenario, &complaint) < 0) {
            fail_msg("%s", complaint.text);
        }
        scenario_done(&scenario);
        for (int round = 0; round < 300; round++) {
            memcpy(copy, text, length);
            damage(copy, length, &random);
            int r = scenario_parse(copy, length, "x", &scenario, &complaint);
            if (r == 0) {
                scenario_done(&scenario);
            } else {
                assert_int_equal(r, -EINVAL);
                assert_true(strlen(complaint.text) > 2);
            }
        }
        free(copy);
        free(text);
        free(entries[i]);
    }
    free(entries);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_scenario__refuses_what_it_does_not_understand),
        TEST(test_scenario__has_bounds_and_names_them),
        TEST(test_scenario__reads_what_it_describes),
        TEST(test_scenario__leaves_the_world_alone_when_it_refuses),
        TEST(test_scenario__survives_damage),
    };
    return cmocka_run_group_tests(tests, rig_group_set_up, rig_group_tear_down);
}
