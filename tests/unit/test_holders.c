/* SPDX-License-Identifier: MIT */
/* Holders: what the configuration may say of them, whom to ask, and what programs are asked in their languages. */
#include "daemon/config.h"
#include "daemon/reclaim_dialect.h"
#include "daemon/reclaim_match.h"
#include "daemon/reclaim_plan.h"
#include "tests/unit/config_rig.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>

#define SECOND UINT64_C(1000000000)

/* ---- The configuration ----------------------------------------------------------------------- */

static void test_holders__say_everything(void **state)
{
    char problem[CONFIG_PROBLEM_MAX];
    struct config config;
    (void)state;
    assert_int_equal(
        rig_parse("[holder a]\nmatch = unit:a.service\nask = ollama http://localhost:11434\n"
                  "[holder b-2]\nmatch = name:b  container:0123456789ab\n"
                  "ask = POST http://[::1]/free?x=1\nbody = {\"a\": [1, 2]}\n"
                  "busy = gpu 25%\nidle = 2m\ntimeout = 3s\nagain_after = 5m\ncost = 7\n"
                  "[holder c]\nmatch = user:c\nask = command /bin/free now\n"
                  "busy = command /bin/busy\n",
                  &config, problem),
        0);
    assert_int_equal(config.holder_count, 3);
    const struct config_holder *a = &config.holders[0], *b = &config.holders[1];
    assert_int_equal(a->ask, HOLDER_ASK_OLLAMA);
    assert_string_equal(a->url.host, "127.0.0.1");
    assert_int_equal(a->url.port, 11434);
    assert_string_equal(a->url.path, "");
    assert_int_equal(a->busy, HOLDER_BUSY_OWN);
    assert_int_equal(a->busy_percent, 10);
    assert_int_equal(a->timeout_ns, 10 * SECOND);
    assert_int_equal(a->again_ns, 60 * SECOND);
    assert_int_equal(a->cost, 10);
    assert_string_equal(b->name, "b-2");
    assert_string_equal(b->url.host, "::1");
    assert_int_equal(b->url.port, 80);
    assert_string_equal(b->url.path, "/free?x=1");
    assert_string_equal(b->body, "{\"a\": [1, 2]}");
    assert_int_equal(b->busy, HOLDER_BUSY_GPU);
    assert_int_equal(b->busy_percent, 25);
    assert_int_equal(b->idle_ns, 120 * SECOND);
    assert_int_equal(b->cost, 7);
    assert_int_equal(config.holders[2].ask, HOLDER_ASK_COMMAND);
    assert_string_equal(config.holders[2].command, "/bin/free now");
    assert_string_equal(config.holders[2].busy_command, "/bin/busy");
    config_done(&config);
}

#define GOOD "match = name:a\nask = GET http://127.0.0.1/\n"

static void test_holders__mistakes_are_told_with_their_place(void **state)
{
    static const struct {
        const char *text, *problem;
    } cases[] = {
        {"[holder]", "x.conf:1: there is no section [holder]"},
        {"[holder ]", "x.conf:1: a holder is called by 1 to 32 letters"},
        {"[holder a b]", "x.conf:1: a holder is called by 1 to 32 letters"},
        {"[holder a]\n" GOOD "[holder a]\n", "x.conf:4: there is a holder a in line 1 already"},
        {"[daemon]\n[holder a]\nask = GET http://127.0.0.1/",
         "x.conf:2: [holder a] lacks `match = "},
        {"[holder a]\nmatch = name:a\n", "x.conf:1: [holder a] lacks `ask = "},
        {"[holder a]\n" GOOD "body = x", "x.conf:1: [holder a] has a body"},
        {"[holder a]\nmatch = a", "x.conf:2: match cannot be 'a': it is unit:NAME"},
        {"[holder a]\nmatch = name:", "x.conf:2: match cannot be 'name:'"},
        {"[holder a]\nask = lmstudio http://127.0.0.1/", "x.conf:2: ask cannot be 'lmstudio http"},
        {"[holder a]\nask = ollama http://example.org/", "x.conf:2: ask cannot be"},
        {"[holder a]\nask = ollama https://127.0.0.1/", "x.conf:2: ask cannot be"},
        {"[holder a]\nask = ollama http://127.0.0.1:0", "x.conf:2: ask cannot be"},
        {"[holder a]\nask = ollama http://127.0.0.1:80x", "x.conf:2: ask cannot be"},
        {"[holder a]\nask = ollama http://[127.0.0.1]", "x.conf:2: ask cannot be"},
        {"[holder a]\nask = GET http://127.0.0.1/a b", "x.conf:2: ask cannot be"},
        {"[holder a]\nask = command free", "x.conf:2: ask cannot be 'command free'"},
        {"[holder a]\nask = command /f 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16",
         "x.conf:2: ask cannot be"},
        {"[holder a]\nbusy = gpu 0%", "x.conf:2: busy cannot be 'gpu 0%'"},
        {"[holder a]\nbusy = gpu 101%", "x.conf:2: busy cannot be"},
        {"[holder a]\nbusy = always", "x.conf:2: busy cannot be 'always': it is gpu"},
        {"[holder a]\nbusy = never mind", "x.conf:2: busy cannot be"},
        {"[holder a]\ntimeout = 1ms", "x.conf:2: timeout cannot be '1ms'"},
        {"[holder a]\nagain_after = 2h", "x.conf:2: again_after cannot be '2h'"},
        {"[holder a]\ncost = 0", "x.conf:2: cost cannot be '0'"},
        {"[holder a]\ncost = 1x", "x.conf:2: cost cannot be '1x'"},
        {"[holder a]\ncost = 1\ncost = 1", "x.conf:3: cost of holder a is set already"},
        {"[holder a]\nurl = x", "x.conf:2: [holder a] has no setting 'url': it has match, ask"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        rig_refuses(cases[i].text, cases[i].problem);
    }
}

static void test_holders__there_are_at_most_16(void **state)
{
    char text[4096] = "", problem[CONFIG_PROBLEM_MAX];
    struct config config;
    size_t used = 0;
    (void)state;
    for (int i = 0; i < HOLDERS_MAX; i++) {
        used += (size_t)snprintf(text + used, sizeof(text) - used, "[holder h%d]\n" GOOD, i);
    }
    assert_int_equal(rig_parse(text, &config, problem), 0);
    config_done(&config);
    (void)snprintf(text + used, sizeof(text) - used, "[holder more]\n" GOOD);
    assert_int_equal(rig_parse(text, &config, problem), -EINVAL);
    assert_non_null(strstr(problem, "x.conf:49: there are more than 16 holders"));
}

static void test_match__any_of_several(void **state)
{
    const struct vram_process process = {.name = "python3",
                                         .command = "python3 /opt/ComfyUI/main.py",
                                         .user = "ada",
                                         .unit = "comfy.service",
                                         .container = "0123456789abcdef"};
    static const char *const good[] = {
        "name:python3",       "command:ComfyUI/main.py", "user:ada",
        "unit:comfy.service", "container:0123456789ab",  "name:x  unit:comfy.service"};
    static const char *const bad[] = {"name:python", "command:comfyui", "user:ad",
                                      "unit:other",  "container:123",   "name:ada user:python3"};
    const struct vram_process unknown = {.name = "x"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
        assert_true(reclaim_is_of(good[i], &process));
        assert_false(reclaim_is_of(bad[i], &process));
        assert_false(reclaim_is_of(bad[i], &unknown));
    }
}

/* ---- Whom to ask ----------------------------------------------------------------------------- */

static void test_plan__the_cheapest_set_that_is_enough(void **state)
{
    static const uint64_t a[] = {10, 0}, b[] = {4, 4}, c[] = {6, 0}, d[] = {20, 20};
    const struct reclaim_choice all[] = {{10, a}, {10, b}, {10, c}, {100, d}};
    static const struct {
        struct reclaim_lack lacks[2];
        size_t count;
        uint32_t wanted, set;
    } cases[] = {
        {{{0, 0}}, 1, 1, 0},       /* nothing is lacking */
        {{{0, 5}}, 1, 1, 1u << 2}, /* the smallest that is enough */
        {{{0, 4}}, 1, 1, 1u << 1},
        {{{0, 7}}, 1, 1, 1u << 0},
        {{{0, 14}}, 1, 1, 1u << 0 | 1u << 1}, /* two are cheaper than one at a hundred */
        {{{0, 21}}, 1, 1, 1u << 3 | 1u << 1}, /* of those that are enough with it the smallest */
        {{{0, 41}}, 1, 1, 0},                 /* all are not enough */
        {{{0, 9}, {1, 3}}, 2, 1, 1u << 1},    /* where it is easiest */
        {{{0, 9}, {1, 3}}, 2, 2, 1u << 2 | 1u << 1},
        {{{0, 1}}, 1, 2, 0}, /* there are not so many GPUs */
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        assert_int_equal(
            reclaim_plan(cases[i].lacks, cases[i].count, cases[i].wanted, all, ARRAY_LENGTH(all)),
            cases[i].set);
    }
    assert_int_equal(reclaim_plan(cases[1].lacks, 1, 1, all, 0), 0);
}

/* ---- Languages ------------------------------------------------------------------------------- */

static void test_dialect__ollama_unloads_what_is_next_to_go(void **state)
{
    static const char answer[] =
        "{\"models\": [{\"model\": \"later\", \"size_vram\": 5, \"expires_at\": \"2026-01-02\"},"
        "{\"name\": \"next\", \"size_vram\": 5, \"expires_at\": \"2026-01-01\"},"
        "{\"model\": \"cpu\", \"size_vram\": 0, \"expires_at\": \"2025-01-01\"}, 7]}";
    struct dialect_models models;
    (void)state;
    assert_int_equal(dialect_models(HOLDER_ASK_OLLAMA, answer, 5, &models), 0);
    assert_int_equal(models.count, 1);
    assert_string_equal(models.names[0], "next");
    assert_int_equal(dialect_models(HOLDER_ASK_OLLAMA, answer, 6, &models), 0);
    assert_int_equal(models.count, 2);
    assert_string_equal(models.names[1], "later");
    char *body = dialect_body(HOLDER_ASK_OLLAMA, "a\"b");
    assert_string_equal(body, "{\"model\":\"a\\\"b\",\"keep_alive\":0,\"stream\":false}");
    free(body);
}

/* Go leaves the zeros at a fraction's end away, and the point with them. */
static void test_dialect__ollama_dates_with_and_without_a_fraction(void **state)
{
    static const char answer[] =
        "{\"models\": ["
        "{\"model\": \"3\", \"size_vram\": 1, \"expires_at\": \"2026-01-02T03:04:05.57Z\"},"
        "{\"model\": \"2\", \"size_vram\": 1, \"expires_at\": \"2026-01-02T03:04:05.5Z\"},"
        "{\"model\": \"4\", \"size_vram\": 1, \"expires_at\": \"2318-04-12T23:47:16Z\"},"
        "{\"model\": \"1\", \"size_vram\": 1, \"expires_at\": \"2026-01-02T03:04:05Z\"}]}";
    struct dialect_models models;
    (void)state;
    assert_int_equal(dialect_models(HOLDER_ASK_OLLAMA, answer, UINT64_MAX, &models), 0);
    assert_int_equal(models.count, 4);
    for (size_t i = 0; i < models.count; i++) {
        assert_int_equal(models.names[i][0], '1' + (int)i);
    }
}

/* Every word of server_model_status_to_string(): the process of one that sleeps is there still. */
static void test_dialect__llama_server_unloads_what_has_a_process(void **state)
{
    static const char answer[] =
        "{\"object\": \"list\", \"data\": ["
        "{\"id\": \"a\", \"object\": \"model\", \"status\": {\"value\": \"loaded\", \"args\": []}},"
        "{\"id\": \"b\", \"status\": {\"value\": \"sleeping\"}},"
        "{\"id\": \"c\", \"status\": {\"value\": \"unloaded\", \"exit_code\": 1, \"failed\": "
        "true}},"
        "{\"id\": \"d\", \"status\": {\"value\": \"loading\"}},"
        "{\"id\": \"e\", \"status\": {\"value\": \"downloading\"}},"
        "{\"id\": \"f\", \"status\": {\"value\": \"downloaded\"}},"
        "{\"id\": \"g\", \"status\": {\"value\": \"unknown\"}}, {\"id\": \"h\"}]}";
    struct dialect_models models;
    (void)state;
    assert_int_equal(dialect_models(HOLDER_ASK_LLAMA_SERVER, answer, UINT64_MAX, &models), 0);
    assert_int_equal(models.count, 2);
    assert_string_equal(models.names[1], "b");
    char *body = dialect_body(HOLDER_ASK_LLAMA_SERVER, models.names[0]);
    assert_string_equal(body, "{\"model\":\"a\"}");
    free(body);
}

static void test_dialect__work(void **state)
{
    static const struct {
        uint32_t ask;
        const char *answer;
        int result;
        bool busy;
    } cases[] = {
        {HOLDER_ASK_COMFYUI, "{\"queue_running\": [], \"queue_pending\": []}", 0, false},
        {HOLDER_ASK_COMFYUI, "{\"queue_running\": [[]], \"queue_pending\": []}", 0, true},
        {HOLDER_ASK_COMFYUI, "{\"queue_running\": [], \"queue_pending\": [1]}", 0, true},
        {HOLDER_ASK_COMFYUI, "{\"queue_running\": []}", -EBADMSG, false},
        {HOLDER_ASK_COMFYUI, "[]", -EBADMSG, false},
        {HOLDER_ASK_COMFYUI, "", -EBADMSG, false},
        {HOLDER_ASK_VLLM, "vllm:num_requests_running{a=\"b\"} 0.0\n", 0, false},
        {HOLDER_ASK_VLLM, "# x\nvllm:num_requests_running{} 0.0\nvllm:num_requests_waiting{} 2.0",
         0, true},
        {HOLDER_ASK_VLLM,
         "vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 0.0\n"
         "vllm:num_requests_waiting_by_reason{engine=\"0\",reason=\"deferred\"} 1.0\n",
         0, false}, /* what else begins so is another figure */
        {HOLDER_ASK_VLLM, "up 1\n", -EBADMSG, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        bool busy = false;
        assert_int_equal(dialect_work(cases[i].ask, cases[i].answer, &busy), cases[i].result);
        if (cases[i].result == 0) {
            assert_int_equal(busy, cases[i].busy);
        }
    }
}

static void test_dialect__lists_that_are_none(void **state)
{
    static const char *const answers[] = {"",         "[]",           "{}", "{\"models\": {}}",
                                          "nonsense", "{\"data\": 1}"};
    struct dialect_models models;
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(answers); i++) {
        assert_int_equal(dialect_models(HOLDER_ASK_OLLAMA, answers[i], 1, &models), -EBADMSG);
        assert_int_equal(dialect_models(HOLDER_ASK_LLAMA_SERVER, answers[i], 1, &models), -EBADMSG);
    }
    assert_null(dialect_of(HOLDER_ASK_POST));
    assert_null(dialect_of(HOLDER_ASK_COMMAND));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_holders__say_everything),
        TEST(test_holders__mistakes_are_told_with_their_place),
        TEST(test_holders__there_are_at_most_16),
        TEST(test_match__any_of_several),
        TEST(test_plan__the_cheapest_set_that_is_enough),
        TEST(test_dialect__ollama_unloads_what_is_next_to_go),
        TEST(test_dialect__ollama_dates_with_and_without_a_fraction),
        TEST(test_dialect__llama_server_unloads_what_has_a_process),
        TEST(test_dialect__work),
        TEST(test_dialect__lists_that_are_none),
    };
    return cmocka_run_group_tests_name("holders", tests, NULL, NULL);
}
