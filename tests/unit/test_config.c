/* SPDX-License-Identifier: MIT */
/* The daemon's configuration: what it says, and that what it cannot say is told with its place. */
#include "tests/unit/alloc_fail.h"
#include "tests/unit/config_rig.h"
#include "tests/unit/fake_root.h"
#include "tests/unit/unit.h"

#include "common/path.h"
#include "daemon/config.h"
#include "include/vram.h"
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#define SECOND UINT64_C(1000000000)

/* A text that is one. The caller ends it with config_done(). */
static struct config parsed(const char *text)
{
    char problem[CONFIG_PROBLEM_MAX];
    struct config config;
    int r = rig_parse(text, &config, problem);
    assert_string_equal(problem, "");
    assert_int_equal(r, 0);
    return config;
}

static void assert_defaults(const struct config *config)
{
    assert_int_equal(config->margin.bytes, VRAM_DEFAULT_MARGIN_BYTES);
    assert_int_equal(config->margin.millipercent, 0);
    assert_string_equal(config->lease_group, "vram");
    assert_string_equal(config->admin_group, "");
    assert_int_equal(config->max_waiters, 4096);
    assert_int_equal(config->max_leases, 4096);
    assert_int_equal(config->linger_ns, 60 * SECOND);
    assert_int_equal(config->history, CONFIG_HISTORY_AUTO);
    assert_int_equal(config->history_max_bytes, 64 * MIB);
    assert_int_equal(config->gpu_count, 0);
    assert_int_equal(config->ceiling_count, 0);
    assert_int_equal(config->user_count, 0);
    assert_int_equal(config->idle_after_ns, 0);
    assert_int_equal(config->idle_notice_ns, 300 * SECOND);
}

/* ---- What it says ---------------------------------------------------------------------------- */

static void test_config__nothing_is_the_default(void **state)
{
    static const char *const texts[] = {"", "\n\n", "# margin = 2G\n; margin = 2G", "[daemon]",
                                        "\xEF\xBB\xBF[daemon]\n"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        struct config config = parsed(texts[i]);
        assert_defaults(&config);
        config_done(&config);
    }
}

static void test_config__says_everything(void **state)
{
    struct config config = parsed("# first\r\n"
                                  "[daemon]\r\n"
                                  "margin = 1.5g   ; a desktop\r\n"
                                  "  lease_group=gpu-users\r\n"
                                  "\tadmin_group = wheel\r\n"
                                  "max_waiters: 1\r\n"
                                  "max_leases = 65536\r\n"
                                  "listen = [::1]:9464\ntoken_file = /etc/vram.token\n"
                                  "public_host = gpu-box gpu.example.org\n"
                                  "container_user_label = org.example.user\n"
                                  "linger = 250ms\n"
                                  "history = on\n"
                                  "history_max = 1G");
    (void)state;
    assert_int_equal(config.margin.bytes, 3 * GIB / 2);
    assert_string_equal(config.lease_group, "gpu-users");
    assert_string_equal(config.admin_group, "wheel");
    assert_int_equal(config.max_waiters, 1);
    assert_int_equal(config.max_leases, 65536);
    assert_string_equal(config.listen, "[::1]:9464");
    assert_string_equal(config.token_file, "/etc/vram.token");
    assert_string_equal(config.public_host, "gpu-box gpu.example.org");
    assert_string_equal(config.container_user_label, "org.example.user");
    assert_int_equal(config.linger_ns, SECOND / 4);
    assert_int_equal(config.history, CONFIG_HISTORY_ON);
    assert_int_equal(config.history_max_bytes, GIB);
    config_done(&config);
}

static void test_config__groups_may_be_nobody(void **state)
{
    struct config config = parsed("[daemon]\nlease_group =\nadmin_group = ; nobody\nlinger = 0");
    (void)state;
    assert_string_equal(config.lease_group, "");
    assert_string_equal(config.admin_group, "");
    assert_int_equal(config.linger_ns, 0);
    config_done(&config);
}

static void test_config__sections_may_be_taken_up_again(void **state)
{
    struct config config = parsed("[daemon]\nmargin = 7%\n[gpu 0]\nmargin = 0\n[daemon]\n"
                                  "max_leases = 5\n[gpu 1] ; none of its own\n");
    (void)state;
    assert_int_equal(config.margin.bytes, 0);
    assert_int_equal(config.margin.millipercent, 7000);
    assert_int_equal(config.max_leases, 5);
    assert_int_equal(config_margin_for(&config, 0, NULL, NULL).millipercent, 0);
    assert_int_equal(config_margin_for(&config, 1, NULL, NULL).millipercent, 7000);
    config_done(&config);
}

/* ---- Ceilings -------------------------------------------------------------------------------- */

#define CEILING "[ceiling ollama]\nmatch = unit:ollama\nsize = 18G\n"

static void test_config__ceilings_say_what_is_kept_for_whom(void **state)
{
    struct config config =
        parsed(CEILING "[ceiling b]\nsize = 1.5g\nmatch = command:main.py --listen\n"
                       "gpu = 0, GPU-5f2c 0000:41:00.0\n");
    (void)state;
    assert_int_equal(config.ceiling_count, 2);
    const struct config_ceiling *all = &config.ceilings[0], *some = &config.ceilings[1];
    assert_string_equal(all->name, "ollama");
    assert_string_equal(all->match.text, "unit:ollama");
    assert_int_equal(all->size_bytes, 18 * GIB);
    assert_int_equal(all->line, 1);
    assert_true(config_ceiling_is_on(all, 7, NULL, NULL));
    assert_string_equal(some->match.value, "main.py --listen");
    assert_int_equal(some->size_bytes, 3 * GIB / 2);
    assert_true(config_ceiling_is_on(some, 0, "GPU-1", "0000:01:00.0"));
    assert_true(config_ceiling_is_on(some, 1, "GPU-5f2c31a0", NULL));
    assert_true(config_ceiling_is_on(some, 1, "GPU-1", "0000:41:00.0"));
    assert_false(config_ceiling_is_on(some, 1, "GPU-1", "0000:01:00.0"));
    config_done(&config);
}

static void test_config__so_many_ceilings_and_no_more(void **state)
{
    char text[8192], problem[CONFIG_PROBLEM_MAX];
    struct config config = {.max_leases = 77};
    size_t length = 0;
    (void)state;
    for (int i = 0; i <= CONFIG_CEILINGS_MAX; i++) {
        length += (size_t)snprintf(text + length, sizeof(text) - length,
                                   "[ceiling n%d]\nmatch = user:u%d\nsize = 1G\n", i, i);
        int r = rig_parse(text, &config, problem);
        assert_int_equal(r, i < CONFIG_CEILINGS_MAX ? 0 : -EINVAL);
        if (r == 0) {
            config_done(&config);
        }
    }
    assert_string_equal(problem, "x.conf:193: there are more than 64 ceilings");
}

/* ---- Users ----------------------------------------------------------------------------------- */

static void test_config__users_have_limits(void **state)
{
    struct config config = parsed("[users]\nmemory = 24G\nleases = 4\n[user ada]\nmemory = 48G\n"
                                  "waiters = 9\n[user 1002]\ngpus = 2\n[user root]\nleases = 7\n");
    (void)state;
    struct config_limits eve = config_limits_for(&config, 1000, "eve");
    assert_int_equal(eve.bytes, 24 * GIB);
    assert_int_equal(eve.gpus, UINT32_MAX);
    assert_int_equal(eve.leases, 4);
    assert_int_equal(eve.waiters, UINT32_MAX);
    struct config_limits ada = config_limits_for(&config, 1001, "ada");
    assert_int_equal(ada.bytes, 48 * GIB);
    assert_int_equal(ada.leases, 4);
    assert_int_equal(ada.waiters, 9);
    struct config_limits bob = config_limits_for(&config, 1002, "bob");
    assert_int_equal(bob.bytes, 24 * GIB);
    assert_int_equal(bob.gpus, 2);
    struct config_limits root = config_limits_for(&config, 0, "root");
    assert_int_equal(root.bytes, UINT64_MAX); /* [users] does not mean it */
    assert_int_equal(root.leases, 7);
    config_done(&config);
}

/* ---- Margins --------------------------------------------------------------------------------- */

#define UUID "GPU-5f2c31a0-8c1d-4f57-a1b4-7b3f0b9d2e11"
#define MIG_UUID "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f"

static void test_config__gpus_have_margins_of_their_own(void **state)
{
    static const struct {
        const char *selector;
        bool meant;
    } cases[] = {
        {"3", true},
        {"03", true},
        {"4", false},
        {"33", false},
        {UUID, true},
        {"GPU-5f2c", true},
        {"gpu-5F2C31A0", true},
        {"5f2c31", true},
        {UUID "0", false},
        {"GPU-5f2d", false},
        {"MIG-5f2c", false},
        {"0000:41:00.0", true},
        {"00000000:41:00.0", true},
        {"41:00.0", true},
        {"42:00.0", false},
        {"0001:41:00.0", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        char text[128];
        (void)snprintf(text, sizeof(text), "[gpu %s]\nmargin = 2G", cases[i].selector);
        struct config config = parsed(text);
        struct config_margin margin = config_margin_for(&config, 3, UUID, "0000:41:00.0");
        assert_int_equal(margin.bytes, cases[i].meant ? 2 * GIB : GIB);
        config_done(&config);
    }
}

static void test_config__the_last_section_counts(void **state)
{
    struct config config = parsed("[gpu 3]\nmargin = 2G\n[gpu " UUID "]\nmargin = 3G\n"
                                  "[gpu 41:00.0]\nmargin = 4%\n[gpu 5]\nmargin = 5G\n[gpu 3]\n");
    (void)state;
    assert_int_equal(config_margin_for(&config, 3, UUID, "0000:41:00.0").millipercent, 4000);
    assert_int_equal(config_margin_for(&config, 3, UUID, NULL).bytes, 3 * GIB);
    assert_int_equal(config_margin_for(&config, 3, NULL, NULL).bytes, 2 * GIB);
    assert_int_equal(config_margin_for(&config, 2, NULL, NULL).bytes, GIB);
    config_done(&config);
}

static void test_config__instances_have_their_cards_margin(void **state)
{
    struct config config = parsed("[gpu 3]\nmargin = 2G\n[gpu " MIG_UUID "]\nmargin = 100M\n");
    (void)state;
    assert_int_equal(config_margin_for(&config, 3, MIG_UUID, "0000:41:00.0").bytes, 100 * MIB);
    assert_int_equal(config_margin_for(&config, 3, "MIG-00", "0000:41:00.0").bytes, 2 * GIB);
    config_done(&config);
}

static void test_config__margins_in_bytes(void **state)
{
    const struct config_margin bytes = {.bytes = 7}, part = {.millipercent = 2500};
    (void)state;
    assert_int_equal(config_margin_bytes(bytes, 1000), 7);
    assert_int_equal(config_margin_bytes(bytes, VRAM_UNKNOWN), 7);
    assert_int_equal(config_margin_bytes(part, 1000), 25);
    assert_int_equal(config_margin_bytes(part, 1001), 26);
    assert_true(config_margin_bytes(part, VRAM_UNKNOWN) == VRAM_UNKNOWN);
}

/* ---- What it cannot say ---------------------------------------------------------------------- */

static void test_config__mistakes_are_told_with_their_place(void **state)
{
    static const struct {
        const char *text, *problem;
    } cases[] = {
        {"margin = 2G", "x.conf:1: 'margin' stands before any section: [daemon], [gpu SEL], "
                        "[ceiling NAME], [users], [user NAME] or [holder NAME]"},
        {"\n[daemon]\n\nmargn = 2G\nmore = 1",
         "x.conf:4: [daemon] has no setting 'margn': it has margin, lease_group, admin_group, "
         "max_waiters, max_leases, linger"},
        {"[daemon]\nMargin = 2G", "x.conf:2: [daemon] has no setting 'Margin'"},
        {"[daemon]\n= 2G", "x.conf:2: [daemon] has no setting ''"},
        {"[daemon]\nmargin = 2 G",
         "x.conf:2: margin cannot be '2 G': it is a size such as 1024M, or a part such as 5%"},
        {"[daemon]\nmargin =", "x.conf:2: margin cannot be ''"},
        {"[daemon]\nmargin = -1", "x.conf:2: margin cannot be '-1'"},
        {"[daemon]\nmargin = 101%", "x.conf:2: margin cannot be '101%'"},
        {"[daemon]\nmargin = 2G # big", "x.conf:2: margin cannot be '2G # big'"},
        {"[daemon]\nmargin = 1\x1b[31m", "x.conf:2: margin cannot be '1?[31m'"},
        {"[daemon]\nmargin = 1G\nmargin = 1G", "x.conf:3: margin is set in line 2 already"},
        {"[daemon]\nmargin = 1G\n[gpu 0]\n[daemon]\nmargin = 1G",
         "x.conf:5: margin is set in line 2 already"},
        {"[daemon]\nlease_group = a b", "x.conf:2: lease_group cannot be 'a b'"},
        {"[daemon]\nadmin_group = root:wheel", "x.conf:2: admin_group cannot be 'root:wheel'"},
        {"[daemon]\nadmin_group = x23456789012345678901234567890123",
         "x.conf:2: admin_group cannot be"},
        {"[daemon]\nmax_waiters = 0",
         "x.conf:2: max_waiters cannot be '0': it is a number from 1 to 65536"},
        {"[daemon]\nmax_waiters =", "x.conf:2: max_waiters cannot be ''"},
        {"[daemon]\nmax_waiters = 65537", "x.conf:2: max_waiters cannot be '65537'"},
        {"[daemon]\nmax_leases = 4294967297", "x.conf:2: max_leases cannot be '4294967297'"},
        {"[daemon]\nlisten = somewhere",
         "x.conf:2: listen cannot be 'somewhere': it is an address"},
        {"[daemon]\nlisten = 127.0.0.1:65536", "x.conf:2: listen cannot be"},
        {"[daemon]\ntoken_file = token",
         "x.conf:2: token_file cannot be 'token': it is an absolute"},
        {"[daemon]\ncontainer_user_label = a b",
         "x.conf:2: container_user_label cannot be 'a b': it is a label's name such as vram.user"},
        {"[daemon]\npublic_host = a/b", "x.conf:2: public_host cannot be 'a/b'"},
        {"[daemon]\nmax_leases = 1e3", "x.conf:2: max_leases cannot be '1e3'"},
        {"[daemon]\nlinger = soon",
         "x.conf:2: linger cannot be 'soon': it is a duration such as 60s, 5m or 1h"},
        {"[daemons]\n",
         "x.conf:1: there is no section [daemons]: there are [daemon], [gpu SEL], [ceiling NAME], "
         "[users], [user NAME] and [holder NAME]"},
        {"[]", "x.conf:1: there is no section []"},
        {"[gpu]", "x.conf:1: there is no section [gpu]"},
        {"[gpu0]", "x.conf:1: there is no section [gpu0]"},
        {"[daemon", "x.conf:1: '[daemon?' is no section"},
        {"[daemon] margin = 1", "x.conf:1: '[daemon] margin = 1?' is no section"},
        {"[gpu ]",
         "x.conf:1: '' is no GPU: name it by its index, its UUID or the beginning of it, or its "
         "PCI address"},
        {"[gpu all]", "x.conf:1: 'all' is no GPU"},
        {"[gpu 0 1]", "x.conf:1: '0 1' is no GPU"},
        {"[gpu 1:0]", "x.conf:1: '1:0' is no GPU"},
        {"[gpu 5f2c31a05f2c31a05f2c31a05f2c31a05f2c31a05f2c31a0]", "is no GPU"},
        {"[gpu 0]\nlinger = 1s", "x.conf:2: [gpu 0] has no setting 'linger': it has margin"},
        {"[gpu 0]\nmargin = much", "x.conf:2: margin cannot be 'much'"},
        {"[gpu 0]\nmargin = 1\n[gpu 0]\nmargin = 1",
         "x.conf:4: the margin of GPU 0 is set in line 2 already"},
        {"[gpu 0]\nmargin = 1\nmargin = 1", "x.conf:3: the margin of GPU 0 is set in line 2"},
        {"[daemon]\nmargin\n[nonsense]",
         "x.conf:2: this is no section, no setting (NAME = VALUE) and no comment"},
        {"[daemon]\nmargin", "x.conf:2: this is no section"},
        {"[users]\n[daemon]\n[users]", "x.conf:3: there is [users] in line 1 already"},
        {"[users]\nmemory = 1G\nmemory = 1G", "x.conf:3: memory is set in line 2 already"},
        {"[users]\nmemory = half", "x.conf:2: memory cannot be 'half': it is a size such as 48G"},
        {"[users]\ngpus = 0", "x.conf:2: gpus cannot be '0': it is a number from 1 to 65536"},
        {"[users]\nmargin = 1",
         "x.conf:2: [users] has no setting 'margin': it has memory, gpus, leases, waiters"},
        {"[user ]", "x.conf:1: '' is no user: it is a name or a number"},
        {"[user a b]", "x.conf:1: 'a b' is no user"},
        {"[user ada]\n[user ada]", "x.conf:2: user ada has limits in line 1 already"},
        {"[user ada]\nleases = many", "x.conf:2: leases cannot be 'many'"},
        {"[daemon]\nidle_after = never",
         "x.conf:2: idle_after cannot be 'never': it is a duration such as 30m, or 0"},
        {"[ceiling]", "x.conf:1: there is no section [ceiling]"},
        {"[ceiling ]", "x.conf:1: '' is no name: it is 1 to 32 characters without blanks"},
        {"[ceiling a b]", "x.conf:1: 'a b' is no name"},
        {"[ceiling x]\nmatch = unit:x\n[daemon]\n",
         "x.conf:1: [ceiling x] has no size: a ceiling needs match = unit:NAME (or another) and "
         "size = N"},
        {"\n[ceiling x]\nsize = 1G\n", "x.conf:2: [ceiling x] has no match"},
        {CEILING "[ceiling ollama]\n", "x.conf:4: there is a ceiling ollama in line 1 already"},
        {CEILING "size = 2G", "x.conf:4: size is set in line 3 already"},
        {CEILING "margin = 2G",
         "x.conf:4: [ceiling ollama] has no setting 'margin': it has match, size, gpu"},
        {CEILING "gpu = 0 first", "x.conf:4: gpu cannot be '0 first': it is one or more GPUs"},
        {CEILING "gpu =", "x.conf:4: gpu cannot be ''"},
        {CEILING "gpu = 5f2c31a05f2c31a05f2c31a05f2c31a05f2c31a05f2c31a0", "gpu cannot be"},
        {"[ceiling x]\nmatch = ollama",
         "x.conf:2: match cannot be 'ollama': it is unit:NAME, container:ID, user:NAME, name:NAME "
         "or command:TEXT"},
        {"[ceiling x]\nmatch = user:", "x.conf:2: match cannot be 'user:'"},
        {"[ceiling x]\nmatch = pid:1", "x.conf:2: match cannot be 'pid:1'"},
        {"[ceiling x]\nmatch = unit:a b", "x.conf:2: match cannot be 'unit:a b'"},
        {"[ceiling x]\nsize = 0", "x.conf:2: size cannot be '0': it is a size such as 18G"},
        {"[ceiling x]\nsize = 10%", "x.conf:2: size cannot be '10%'"},
        {"[ceiling x]\nsize = 2000T", "x.conf:2: size cannot be '2000T'"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        rig_refuses(cases[i].text, cases[i].problem);
    }
}

static void test_config__lines_are_bounded_and_text(void **state)
{
    char text[512], problem[CONFIG_PROBLEM_MAX];
    struct config config;
    (void)state;
    for (size_t length = 190; length < 300; length++) {
        memset(text, 0, sizeof(text));
        (void)snprintf(text, sizeof(text), "[daemon]\n#%*s\nmargin = 3G", (int)length - 1, "x");
        int r = rig_parse(text, &config, problem);
        if (r == 0) {
            assert_int_equal(config.margin.bytes, 3 * GIB); /* the next line is the next line */
            assert_true(length <= 198);
        } else {
            assert_non_null(strstr(problem, "x.conf:2: the line is longer than 198 bytes"));
            assert_true(length > 198);
        }
    }
    static const char with_nul[] = "[daemon]\nmargin = 3G\0\n";
    assert_int_equal(config_parse("x.conf", with_nul, sizeof(with_nul) - 1, &config, problem),
                     -EINVAL);
    assert_string_equal(problem, "x.conf:2: the line has a NUL byte in it");
}

/* ---- Files ----------------------------------------------------------------------------------- */

static int load(const char *root, const char *path, struct config *config,
                char problem[CONFIG_PROBLEM_MAX])
{
    char joined[512];
    (void)snprintf(joined, sizeof(joined), "%s%s", root, path);
    return config_load(joined, config, problem);
}

static void test_config__files_are_read(void **state)
{
    struct config config = {.max_leases = 77};
    char problem[CONFIG_PROBLEM_MAX], *large = calloc(1, CONFIG_BYTES_MAX + 2);
    const char *root = fake_root_make();
    (void)state;
    assert_non_null(large);
    fake_root_text(root, "/vram.conf", "[daemon]\nmax_leases = 3\n");
    assert_int_equal(load(root, "/vram.conf", &config, problem), 0);
    assert_int_equal(config.max_leases, 3);
    assert_int_equal(load(root, "/missing.conf", &config, problem), -ENOENT);
    assert_non_null(strstr(problem, "/missing.conf cannot be read: No such file"));
    assert_int_equal(load(root, "", &config, problem), -EISDIR);
    char fifo[512];
    (void)snprintf(fifo, sizeof(fifo), "%s/fifo", root);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(config_load(fifo, &config, problem), -EINVAL);
    memset(large, '\n', CONFIG_BYTES_MAX + 1);
    fake_root_text(root, "/large.conf", large);
    assert_int_equal(load(root, "/large.conf", &config, problem), -EFBIG);
    assert_int_equal(config.max_leases, 3); /* what was read before goes on */
    large[CONFIG_BYTES_MAX] = '\0';
    fake_root_text(root, "/large.conf", large);
    assert_int_equal(load(root, "/large.conf", &config, problem), 0);
    assert_int_equal(config_load("/dev/null", &config, problem), 0);
    assert_defaults(&config);
    fake_root_remove(root);
    free(large);
}

/* The example is what holds anyway, and what it shows can be said. */
static void test_config__the_example_is_true(void **state)
{
    char text[8192], problem[CONFIG_PROBLEM_MAX] = "";
    struct config config;
    (void)state;
    assert_int_equal(config_load(VRAM_CONF, &config, problem), 0);
    assert_defaults(&config);
    config_done(&config);
    int length = path_read("", VRAM_CONF, text, sizeof(text));
    assert_in_range(length, 1, sizeof(text) - 2);
    for (int i = 0; i + 1 < length; i++) {
        if (text[i] == '\n' && text[i + 1] == ';') {
            text[i + 1] = ' ';
        }
    }
    assert_int_equal(rig_parse(text, &config, problem), 0);
    assert_int_equal(config.gpu_count, 3);
    assert_int_equal(config_margin_for(&config, 0, NULL, NULL).bytes, 2 * GIB);
    assert_int_equal(config.ceiling_count, 1);
    assert_int_equal(config_limits_for(&config, 1001, "ada").bytes, 48 * GIB);
    assert_int_equal(config_limits_for(&config, 1002, "bob").bytes, 24 * GIB);
    config_done(&config);
    assert_defaults(&config);
}

/* ---- No memory ------------------------------------------------------------------------------- */

static void test_config__without_memory_nothing_changes(void **state)
{
    const char *root = fake_root_make();
    unsigned n = 0;
    bool happened = true;
    (void)state;
    fake_root_text(root, "/vram.conf",
                   "[gpu 0]\nmargin = 1G\n[gpu 1]\nmargin = 1G\n" CEILING "[user ada]\n");
    while (happened) {
        struct config config = {.max_leases = 77};
        char problem[CONFIG_PROBLEM_MAX] = "";
        alloc_fail_at(++n);
        int r = load(root, "/vram.conf", &config, problem);
        happened = alloc_fail_happened();
        alloc_fail_at(0);
        assert_int_equal(r, happened ? -ENOMEM : 0);
        assert_int_equal(config.max_leases, happened ? 77 : 4096);
        assert_int_equal(problem[0] != '\0', happened);
        if (!happened) {
            config_done(&config);
        }
    }
    assert_true(n >= 6);
    fake_root_remove(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_config__nothing_is_the_default),
        TEST(test_config__says_everything),
        TEST(test_config__groups_may_be_nobody),
        TEST(test_config__sections_may_be_taken_up_again),
        TEST(test_config__ceilings_say_what_is_kept_for_whom),
        TEST(test_config__so_many_ceilings_and_no_more),
        TEST(test_config__users_have_limits),
        TEST(test_config__gpus_have_margins_of_their_own),
        TEST(test_config__the_last_section_counts),
        TEST(test_config__instances_have_their_cards_margin),
        TEST(test_config__margins_in_bytes),
        TEST(test_config__mistakes_are_told_with_their_place),
        TEST(test_config__lines_are_bounded_and_text),
        TEST(test_config__files_are_read),
        TEST(test_config__the_example_is_true),
        TEST(test_config__without_memory_nothing_changes),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
