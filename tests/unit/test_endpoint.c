/* SPDX-License-Identifier: MIT */
/* Where the daemon of a driver is: environment in, paths and names out. */
#include "common/endpoint.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64], system_socket[96];
static struct endpoint_environment environment;
static struct endpoint endpoint;

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(root, sizeof(root), "/tmp/vram-endpoint-XXXXXX");
    assert_non_null(mkdtemp(root));
    (void)snprintf(system_socket, sizeof(system_socket), "%s/system.sock", root);
    environment = (struct endpoint_environment){
        .uid = 1000,
        .xdg_runtime_dir = "/run/user/1000",
        .system_socket = system_socket,
        .temporary_dir = root,
    };
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    (void)unlink(system_socket);
    (void)rmdir(root);
    return 0;
}

static void find(const char *driver)
{
    assert_int_equal(endpoint_find(driver, &environment, &endpoint), 0);
}

static void make_system_socket(void)
{
    FILE *file = fopen(system_socket, "we");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
}

/* ---- Places ---------------------------------------------------------------------------------- */

static void test_endpoint__the_systems_where_there_is_one(void **state)
{
    (void)state;
    make_system_socket();
    find("auto");
    assert_string_equal(endpoint.socket, system_socket);
    assert_string_equal(endpoint.directory, root);
    assert_true(endpoint.system);
    assert_false(endpoint.named);
    assert_int_equal(unlink(system_socket), 0);
    assert_int_equal(symlink("/nonexistent/target", system_socket), 0); /* broken, but there */
    find("nvml");
    assert_true(endpoint.system);
}

static void test_endpoint__else_the_users_own(void **state)
{
    (void)state;
    find("auto");
    assert_string_equal(endpoint.socket, "/run/user/1000/vram/vram.sock");
    assert_string_equal(endpoint.directory, "/run/user/1000/vram");
    assert_string_equal(endpoint.lock, "/run/user/1000/vram/vram.lock");
    assert_string_equal(endpoint.start, "/run/user/1000/vram/vram.start");
    assert_string_equal(endpoint.journal, "/run/user/1000/vram/vram.journal");
    assert_string_equal(endpoint.log, "/run/user/1000/vram/vram.log");
    assert_false(endpoint.system);
    assert_false(endpoint.temporary);
}

static void test_endpoint__without_a_runtime_directory_in_tmp(void **state)
{
    static const char *const unset[] = {NULL, "", "relative/path"};
    char expected[96];
    (void)state;
    (void)snprintf(expected, sizeof(expected), "%s/vram-1000/vram.sock", root);
    for (size_t i = 0; i < ARRAY_LENGTH(unset); i++) {
        environment.xdg_runtime_dir = unset[i];
        find("nvml:/opt/libnvidia-ml.so.1");
        assert_string_equal(endpoint.socket, expected);
        assert_true(endpoint.temporary);
    }
    environment.temporary_dir = NULL;
    find("auto");
    assert_string_equal(endpoint.socket, "/tmp/vram-1000/vram.sock");
}

static void test_endpoint__simulated_machines_never_have_the_systems(void **state)
{
    (void)state;
    make_system_socket();
    find("sim:rtx4090");
    assert_string_equal(endpoint.socket, "/run/user/1000/vram/sim-rtx4090@default.sock");
    assert_string_equal(endpoint.journal, "/run/user/1000/vram/sim-rtx4090@default.journal");
    assert_false(endpoint.system);
    find("sim:r470/rtx4090@demo.1");
    assert_string_equal(endpoint.socket, "/run/user/1000/vram/sim-rtx4090@demo.1.sock");
}

static void test_endpoint__a_named_socket_goes_before_all(void **state)
{
    (void)state;
    make_system_socket();
    environment.vram_socket = "/somewhere/else.sock";
    find("auto");
    assert_string_equal(endpoint.socket, "/somewhere/else.sock");
    assert_string_equal(endpoint.lock, "/somewhere/else.lock");
    assert_true(endpoint.named);
    assert_false(endpoint.system);
    assert_string_equal(endpoint.driver, "nvml");
    find("sim:mig");
    assert_string_equal(endpoint.socket, "/somewhere/else.sock");
    assert_string_equal(endpoint.driver, "sim:mig@default");
    environment.vram_socket = "/vram"; /* without the ending, and in the root */
    find("auto");
    assert_string_equal(endpoint.directory, "/");
    assert_string_equal(endpoint.start, "/vram.start");
    environment.vram_socket = "/a/.sock";
    find("auto");
    assert_string_equal(endpoint.lock, "/a/.lock");
}

static void test_endpoint__none_is_nobody(void **state)
{
    (void)state;
    environment.vram_socket = "none";
    assert_int_equal(endpoint_find("auto", &environment, &endpoint), -ENOTCONN);
    assert_int_equal(endpoint_find("sim:rtx4090", &environment, &endpoint), -ENOTCONN);
    environment.vram_socket = "relative.sock";
    assert_int_equal(endpoint_find("auto", &environment, &endpoint), -EINVAL);
    environment.vram_socket = "";
    find("auto");
    assert_false(endpoint.named);
}

/* 107 characters fit a socket's address, and not one more. */
static void test_endpoint__a_path_must_fit_the_address(void **state)
{
    char path[120];
    (void)state;
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[107] = '\0';
    environment.vram_socket = path;
    find("auto");
    assert_int_equal(strlen(endpoint.journal), 107 + strlen(".journal"));
    path[107] = 'x';
    path[108] = '\0';
    assert_int_equal(endpoint_find("auto", &environment, &endpoint), -ENAMETOOLONG);
    environment.vram_socket = NULL;
    environment.xdg_runtime_dir = path;
    assert_int_equal(endpoint_find("auto", &environment, &endpoint), -ENAMETOOLONG);
}

/* ---- Names ----------------------------------------------------------------------------------- */

static void test_endpoint__drivers_have_one_name_each(void **state)
{
    static const struct {
        const char *driver, *name;
    } cases[] = {
        {"auto", "nvml"},
        {"nvml", "nvml"},
        {"nvml:/opt/libnvidia-ml.so.1", "nvml"},
        {"sim:rtx4090", "sim:rtx4090@default"},
        {"sim:rtx4090@default", "sim:rtx4090@default"},
        {"sim:r550/rtx4090", "sim:rtx4090@default"},
        {"sim:r535_54/8xh100@x", "sim:8xh100@x"},
        {"sim:rtx4090@x", "sim:rtx4090@x"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        find(cases[i].driver);
        assert_string_equal(endpoint.driver, cases[i].name);
    }
    char name[sizeof(endpoint.driver)];
    find("sim:/nonexistent/my.scenario@x");
    assert_int_equal(strncmp(endpoint.driver, "sim:file-", 9), 0);
    assert_int_equal(strlen(endpoint.driver), strlen("sim:file-0123456789abcdef@x"));
    (void)snprintf(name, sizeof(name), "%s", endpoint.driver);
    find(name); /* the name names itself */
    assert_string_equal(endpoint.driver, name);
}

/* However it is written, from wherever, a file is one machine. */
static void test_endpoint__a_scenario_is_where_it_is(void **state)
{
    char path[128], name[sizeof(endpoint.driver)];
    (void)state;
    make_system_socket(); /* stands for a scenario */
    (void)snprintf(path, sizeof(path), "sim:%s", system_socket);
    find(path);
    (void)snprintf(name, sizeof(name), "%s", endpoint.driver);
    (void)snprintf(path, sizeof(path), "sim:/tmp/../%s", system_socket);
    find(path);
    assert_string_equal(endpoint.driver, name);
    (void)snprintf(path, sizeof(path), "sim:%s.other", system_socket);
    find(path);
    assert_string_not_equal(endpoint.driver, name);
}

static void test_endpoint__what_is_no_driver_has_none(void **state)
{
    static const char *const odd[] = {
        "",
        "NVML",
        "nvml:",
        "cuda",
        "sim:",
        "sim:@x",
        "sim:a@",
        "sim:r550/",
        "sim:a b@x",
        "sim:a@b c",
        "sim:.hidden",
        "sim:01234567890123456789012345678901234567890",
        "sim:a@01234567890123456789012345678901234567890",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(odd); i++) {
        int r = endpoint_find(odd[i], &environment, &endpoint);
        if (r != -EINVAL) {
            fail_msg("'%s' gives %d", odd[i], r);
        }
    }
}

static void test_endpoint__one_grantor_per_machine(void **state)
{
    char name[ENDPOINT_SOCKET_MAX];
    (void)state;
    find("auto");
    assert_string_equal(endpoint.grantor, "vram-promises");
    environment.vram_socket = "/another.sock";
    find("nvml");
    assert_string_equal(endpoint.grantor, "vram-promises"); /* wherever it listens */
    find("sim:rtx4090");
    assert_int_equal(strncmp(endpoint.grantor, "vram-promises-rtx4090@default-", 30), 0);
    (void)snprintf(name, sizeof(name), "%s", endpoint.grantor);
    environment.vram_socket = NULL;
    find("sim:r470/rtx4090@default");
    assert_string_equal(endpoint.grantor, name);
    environment.sim_state_dir = "/elsewhere"; /* the same words, another machine */
    find("sim:rtx4090");
    assert_string_not_equal(endpoint.grantor, name);
}

static void test_endpoint__the_longest_names_fit(void **state)
{
    (void)state;
    environment.vram_socket = "/s.sock";
    find("sim:0123456789012345678901234567890123456789@0123456789012345678901234567890123456789");
    assert_int_equal(strlen(endpoint.driver), 4 + 81);
    assert_true(strlen(endpoint.grantor) < 107);
}

/* ---- Whose directory ------------------------------------------------------------------------- */

static void test_endpoint__a_directory_in_tmp_must_be_ones_own(void **state)
{
    char path[128];
    (void)state;
    environment.uid = geteuid();
    environment.xdg_runtime_dir = NULL;
    find("auto");
    assert_int_equal(endpoint_check(&endpoint, geteuid()), -ENOENT);
    (void)snprintf(path, sizeof(path), "%s/vram-%u", root, (unsigned)geteuid());
    assert_string_equal(endpoint.directory, path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(endpoint_check(&endpoint, geteuid()), 0);
    assert_int_equal(endpoint_check(&endpoint, geteuid() + 1), -EPERM);
    assert_int_equal(chmod(path, 0710), 0);
    assert_int_equal(endpoint_check(&endpoint, geteuid()), -EPERM);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(symlink("/", path), 0);
    assert_int_equal(endpoint_check(&endpoint, geteuid()), -EPERM);
    assert_int_equal(unlink(path), 0);
    environment.xdg_runtime_dir = root; /* what the login manager made is not doubted */
    find("auto");
    assert_int_equal(endpoint_check(&endpoint, geteuid() + 1), 0);
}

int main(void)
{
#define MADE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        MADE(test_endpoint__the_systems_where_there_is_one),
        MADE(test_endpoint__else_the_users_own),
        MADE(test_endpoint__without_a_runtime_directory_in_tmp),
        MADE(test_endpoint__simulated_machines_never_have_the_systems),
        MADE(test_endpoint__a_named_socket_goes_before_all),
        MADE(test_endpoint__none_is_nobody),
        MADE(test_endpoint__a_path_must_fit_the_address),
        MADE(test_endpoint__drivers_have_one_name_each),
        MADE(test_endpoint__a_scenario_is_where_it_is),
        MADE(test_endpoint__what_is_no_driver_has_none),
        MADE(test_endpoint__one_grantor_per_machine),
        MADE(test_endpoint__the_longest_names_fit),
        MADE(test_endpoint__a_directory_in_tmp_must_be_ones_own),
    };
    return cmocka_run_group_tests_name("endpoint", tests, NULL, NULL);
}
