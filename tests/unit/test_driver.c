/* SPDX-License-Identifier: MIT */
/* Which driver is meant by a name, on a made-up installation of the simulated one. */
#include "tests/unit/fake_root.h"
#include "tests/unit/unit.h"

#include "lib/driver.h"
#include "lib/source/source.h"
#include <errno.h>
#include <stdio.h>

static const char *root;

static int set_up(void **state)
{
    static const char *const generations[] = {"r390",    "r470", "r510", "r535_54",
                                              "r535_98", "r550", "r610"};
    (void)state;
    root = fake_root_make();
    for (size_t i = 0; i < ARRAY_LENGTH(generations); i++) {
        char path[64];
        (void)snprintf(path, sizeof(path), "/%s/libnvidia-ml.so.1", generations[i]);
        fake_root_text(root, path, "");
    }
    fake_root_text(root, "/r550.p/libnvidia-ml.so.1", ""); /* the build's own directory */
    fake_root_text(root, "/r9999", "no directory");
    fake_root_text(root, "/rubbish/x", "");
    fake_root_text(root, "/profiles/card.scenario", "# a card\n\n  driver 550.54.14\ngpu 0\n");
    return setenv("VRAM_SIM_DIR", root, 1);
}

static int tear_down(void **state)
{
    (void)state;
    fake_root_remove(root);
    return unsetenv("VRAM_SIM_DIR");
}

/* What `text` means. Its library is given without the directory, NULL where there is none. */
static void expect_driver(const char *text, const char *library, const char *simulation)
{
    struct driver driver = {0};
    struct err err = {0};
    if (driver_parse(&driver, text, &err) != 0) {
        fail_msg("'%s': %s", text, err.message);
    }
    assert_ptr_equal(driver.ops, &nvml_source);
    size_t prefix = simulation ? strlen(root) : 0;
    if (library) {
        assert_non_null(driver.path);
        assert_string_equal(driver.path + prefix, library);
    } else {
        assert_null(driver.path);
    }
    if (simulation) {
        assert_string_equal(driver.simulation, simulation);
    } else {
        assert_null(driver.simulation);
    }
    driver_done(&driver);
    assert_null(driver.path);
}

static void expect_error(const char *text, int result, const char *code)
{
    struct driver driver = {.path = "untouched"};
    struct err err = {0};
    int r = driver_parse(&driver, text, &err);
    if (r != result || strcmp(err.code, code) != 0) {
        fail_msg("'%.80s': %d, %s: %s", text, r, err.code, err.message);
    }
    assert_string_equal(driver.path, "untouched");
    assert_int_equal(err.result, result);
    assert_true(err.message[0]);
}

static void test_driver__the_real_one(void **state)
{
    (void)state;
    expect_driver("auto", NULL, NULL);
    expect_driver("nvml", NULL, NULL);
    expect_driver("nvml:/opt/lib/libnvidia-ml.so.1", "/opt/lib/libnvidia-ml.so.1", NULL);
    expect_driver("nvml:relative.so", "relative.so", NULL);
}

static void test_driver__no_name_of_one(void **state)
{
    static const char *const texts[] = {"",    " ",        "nvml:",      "NVML", "nvml ",
                                        "sim", "Sim:card", "simulation", "amd"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        expect_error(texts[i], -EINVAL, "bad_driver");
    }
    expect_error("sim:", -EINVAL, "bad_driver");
    expect_error("sim:r470/", -EINVAL, "bad_driver");
}

static void test_driver__the_simulated_one(void **state)
{
    (void)state;
    expect_driver("sim:card", "/r550/libnvidia-ml.so.1", "card");
    expect_driver("sim:card@demo", "/r550/libnvidia-ml.so.1", "card@demo");
    expect_driver("sim:r470/card", "/r470/libnvidia-ml.so.1", "card");
    expect_driver("sim:r535_54/card@demo", "/r535_54/libnvidia-ml.so.1", "card@demo");
    char path[300], text[310];
    (void)snprintf(path, sizeof(path), "%s/own", root);
    fake_root_text(root, "/own", "driver 470.1\n");
    (void)snprintf(text, sizeof(text), "sim:%s", path);
    expect_driver(text, "/r470/libnvidia-ml.so.1", path);
    (void)snprintf(text, sizeof(text), "sim:r610/%s", path);
    expect_driver(text, "/r610/libnvidia-ml.so.1", path);
}

/* The newest generation that is not newer than the version. */
static void test_driver__of_the_scenarios_generation(void **state)
{
    static const struct {
        const char *version, *generation;
    } cases[] = {
        {"driver 550.54.14", "r550"}, {"driver 550.0", "r550"},
        {"driver 550", "r550"},       {"driver 549.99", "r535_98"},
        {"driver 535.98", "r535_98"}, {"driver 535.104.05", "r535_98"},
        {"driver 535.97", "r535_54"}, {"driver 535.54.03", "r535_54"},
        {"driver 535.43.02", "r510"}, {"driver 470.256.02", "r470"},
        {"driver 390.157", "r390"},   {"driver 340.108", "r390"},
        {"driver 999.1", "r610"},     {"\tdriver  550.54.14  ", "r550"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        char library[64];
        fake_root_text(root, "/profiles/other.scenario", cases[i].version);
        (void)snprintf(library, sizeof(library), "/%s/libnvidia-ml.so.1", cases[i].generation);
        expect_driver("sim:other", library, "other");
    }
}

static void test_driver__tells_what_a_scenario_lacks(void **state)
{
    static const char *const texts[] = {
        "",         "\n\n",       "# nothing\n",   "gpu 0\ndriver 550\n",
        "driver\n", "driver x\n", "drivers 550\n", "\xFF\xFE\n",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        fake_root_text(root, "/profiles/bad.scenario", texts[i]);
        expect_error("sim:bad", -EINVAL, "bad_simulation");
    }
}

static void test_driver__tells_what_is_not_there(void **state)
{
    (void)state;
    expect_error("sim:none", -ENOENT, "no_such_simulation");
    expect_error("sim:@demo", -ENOENT, "no_such_simulation");
    expect_error("sim:/nonexistent/scenario", -ENOENT, "no_such_simulation");
    expect_error("sim:r600/card", -ENOENT, "no_simulation");
    fake_root_delete(root, "/r550/libnvidia-ml.so.1");
    expect_error("sim:card", -ENOENT, "no_simulation");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(setenv("VRAM_SIM_DIR", i ? "/nonexistent" : "/dev/null", 1), 0);
        expect_error("sim:card", -ENOENT, "no_such_simulation");
    }
}

static void test_driver__survives_long_names(void **state)
{
    (void)state;
    char *text = malloc(5000);
    assert_non_null(text);
    memset(text, 'x', 4999);
    text[4999] = '\0';
    expect_error(text, -EINVAL, "bad_driver");
    memcpy(text, "sim:", 4);
    expect_error(text, -EINVAL, "bad_driver");
    memcpy(text, "sim:r1/", 7);
    expect_error(text, -EINVAL, "bad_driver");
    memset(text + 5, '1', 500);
    text[505] = '/';
    memcpy(text + 506, "card", 5);
    expect_error(text, -ENOENT, "no_simulation");
    free(text);
}

int main(void)
{
#define MADE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        MADE(test_driver__the_real_one),
        MADE(test_driver__no_name_of_one),
        MADE(test_driver__the_simulated_one),
        MADE(test_driver__of_the_scenarios_generation),
        MADE(test_driver__tells_what_a_scenario_lacks),
        MADE(test_driver__tells_what_is_not_there),
        MADE(test_driver__survives_long_names),
    };
    return cmocka_run_group_tests_name("driver", tests, NULL, NULL);
}
