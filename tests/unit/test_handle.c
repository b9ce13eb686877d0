/* SPDX-License-Identifier: MIT */
/* The handle without a driver: its options, and how it says what went wrong. */
#include "tests/unit/fake_root.h"
#include "tests/unit/unit.h"

#include "lib/handle.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static struct vram *vram;
static struct vram_options options;

static int set_up(void **state)
{
    static const char *const names[] = {"VRAM_DRIVER", "VRAM_SYSROOT", "VRAM_CALL_TIMEOUT"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        (void)unsetenv(names[i]);
    }
    options = (struct vram_options)VRAM_OPTIONS_INIT;
    options.driver = "nvml:/nonexistent/libnvidia-ml.so.1";
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    vram = vram_close(vram);
    return 0;
}

static int take(void)
{
    struct vram_snapshot *snapshot = NULL;
    int r = vram_snapshot_take(vram, VRAM_TAKE_ALL, &snapshot);
    assert_int_equal(!snapshot, r < 0); /* untouched on failure */
    (void)vram_snapshot_unref(snapshot);
    return r;
}

/* ---- Options --------------------------------------------------------------------------------- */

static void test_handle__opens_without_a_driver(void **state)
{
    (void)state;
    assert_int_equal(vram_open(&vram, &options), 0);
    assert_string_equal(vram_error(vram), "no error");
    assert_string_equal(vram_error_hint(vram), "");
}

static void test_handle__refuses_options_of_no_size(void **state)
{
    (void)state;
    options.size = 0;
    assert_int_equal(vram_open(&vram, &options), -EINVAL);
    options.size = sizeof(options.size) - 1;
    assert_int_equal(vram_open(&vram, &options), -EINVAL);
    assert_null(vram);
    assert_non_null(vram_error(NULL));
    assert_non_null(vram_error_hint(NULL));
    assert_string_equal(vram_error_code(NULL), "no_handle");
    assert_null(vram_close(NULL));
}

/* From a program built against an older or a newer header; the older one's is an exact allocation. */
static void test_handle__reads_options_of_other_versions(void **state)
{
    size_t size = offsetof(struct vram_options, root);
    struct vram_options *old = malloc(size);
    (void)state;
    assert_non_null(old);
    memcpy(old, &(struct vram_options){.size = size, .driver = "bogus"}, size);
    assert_int_equal(vram_open(&vram, old), 0);
    free(old);
    assert_int_equal(take(), -EINVAL);
    vram = vram_close(vram);
    options.size = sizeof(options) + 100;
    assert_int_equal(vram_open(&vram, &options), 0);
}

static void test_handle__copies_its_texts(void **state)
{
    char driver[] = "bogus", root[] = "/nonexistent///";
    (void)state;
    options.driver = driver;
    options.root = root;
    assert_int_equal(vram_open(&vram, &options), 0);
    memset(driver, 'x', sizeof(driver) - 1);
    memset(root, 'x', sizeof(root) - 1);
    assert_string_equal(handle_root(vram), "/nonexistent"); /* without the slashes at its end */
    assert_int_equal(take(), -EINVAL);
    assert_non_null(strstr(vram_error(vram), "'bogus'"));
}

static void test_handle__takes_defaults_from_the_environment(void **state)
{
    (void)state;
    assert_int_equal(setenv("VRAM_DRIVER", "from-environment", 1), 0);
    assert_int_equal(setenv("VRAM_SYSROOT", "/from-environment/", 1), 0);
    assert_int_equal(vram_open(&vram, NULL), 0);
    assert_string_equal(handle_root(vram), "/from-environment");
    assert_int_equal(take(), -EINVAL);
    assert_non_null(strstr(vram_error(vram), "'from-environment'"));
    vram = vram_close(vram);
    assert_int_equal(vram_open(&vram, &options), 0); /* what is said goes before */
    assert_int_equal(take(), -ENODEV);
    vram = vram_close(vram);
    assert_int_equal(setenv("VRAM_DRIVER", "", 1), 0); /* empty is unset */
    assert_int_equal(setenv("VRAM_SYSROOT", "/nonexistent", 1), 0);
    assert_int_equal(vram_open(&vram, NULL), 0);
    assert_int_equal(take(), -ENODEV);
}

/* ---- Errors ---------------------------------------------------------------------------------- */

static void test_handle__says_what_is_wrong_each_time(void **state)
{
    static const struct {
        const char *driver, *code;
        int result;
    } cases[] = {
        {"bogus", "bad_driver", -EINVAL},
        {"nvml:/nonexistent/libnvidia-ml.so.1", "library_not_found", -ENODEV},
        {"nvml:/dev/null", "library_broken", -ENODEV},
        {"sim:no-such-machine", "no_such_simulation", -ENOENT},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        options.driver = cases[i].driver;
        assert_int_equal(vram_open(&vram, &options), 0);
        for (int again = 0; again < 2; again++) { /* a failed start is not remembered */
            assert_int_equal(take(), cases[i].result);
            assert_string_equal(vram_error_code(vram), cases[i].code);
            assert_true(strlen(vram_error(vram)) > 10);
            assert_null(strchr(vram_error(vram), '\n'));
            assert_non_null(vram_error_hint(vram));
        }
        vram = vram_close(vram);
    }
}

/* Under a substituted root the machine's own driver must not be found. */
static void test_handle__stays_below_its_root(void **state)
{
    (void)state;
    const char *root = fake_root_make();
    options.driver = "auto";
    options.root = root;
    assert_int_equal(vram_open(&vram, &options), 0);
    assert_int_equal(take(), -ENODEV);
    assert_string_equal(vram_error_code(vram), "library_not_found");
    fake_root_text(root, "/usr/lib/wsl/lib/libnvidia-ml.so.1", "no library");
    assert_int_equal(take(), -ENODEV); /* tried again, and found what is there now */
    assert_string_equal(vram_error_code(vram), "library_broken");
    fake_root_remove(root);
}

static void count_line(void *data, int level, const char *message)
{
    assert_int_equal(level, VRAM_LOG_ERROR);
    assert_null(strchr(message, '\n'));
    ++*(unsigned *)data;
}

static void test_handle__logs_through_the_caller_only(void **state)
{
    unsigned lines = 0;
    (void)state;
    options.log = count_line;
    options.log_data = &lines;
    assert_int_equal(vram_open(&vram, &options), 0);
    assert_int_equal(take(), -ENODEV);
    assert_int_equal(lines, 1);
}

static void *look(void *data)
{
    return strcmp(vram_error(data), "no error") == 0 ? data : NULL;
}

static void *fail_too(void *data)
{
    struct vram_snapshot *snapshot = NULL;
    int r = vram_snapshot_take(data, 0, &snapshot);
    return r == -ENODEV && strcmp(vram_error_code(data), "library_not_found") == 0 ? data : NULL;
}

static void test_handle__keeps_each_threads_error(void **state)
{
    pthread_t threads[24]; /* fewer than it remembers */
    void *result = NULL;
    (void)state;
    assert_int_equal(vram_open(&vram, &options), 0);
    assert_int_equal(take(), -ENODEV);
    assert_int_equal(pthread_create(&threads[0], NULL, look, vram), 0);
    assert_int_equal(pthread_join(threads[0], &result), 0);
    assert_ptr_equal(result, vram); /* nothing failed there */
    for (size_t i = 0; i < ARRAY_LENGTH(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, fail_too, vram), 0);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(threads); i++) {
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_ptr_equal(result, vram);
    }
    assert_string_equal(vram_error_code(vram), "library_not_found");
}

static void test_handle__outlives_more_threads_than_it_remembers(void **state)
{
    (void)state;
    assert_int_equal(vram_open(&vram, &options), 0);
    for (int i = 0; i < 100; i++) {
        pthread_t thread;
        void *result = NULL;
        assert_int_equal(pthread_create(&thread, NULL, fail_too, vram), 0);
        assert_int_equal(pthread_join(thread, &result), 0);
        assert_ptr_equal(result, vram);
    }
}

static void test_handle__works_in_a_forked_child(void **state)
{
    int status = -1;
    const char *watched_by = getenv("SANITIZED");
    (void)state;
    /* ThreadSanitizer cannot follow a child that starts threads, and valgrind counts what glibc kept for a parent's
     * thread as the child's leak. tests/library forks as well. */
    if (watched_by && (strcmp(watched_by, "thread") == 0 || strcmp(watched_by, "valgrind") == 0)) {
        skip();
    }
    assert_int_equal(vram_open(&vram, &options), 0);
    assert_int_equal(take(), -ENODEV);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct vram_snapshot *snapshot = NULL;
        int r = vram_snapshot_take(vram, 0, &snapshot);
        bool good = r == -ENODEV && strcmp(vram_error_code(vram), "library_not_found") == 0;
        (void)vram_close(vram);
        _exit(good ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(take(), -ENODEV);
}

int main(void)
{
#define MADE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        MADE(test_handle__opens_without_a_driver),
        MADE(test_handle__refuses_options_of_no_size),
        MADE(test_handle__reads_options_of_other_versions),
        MADE(test_handle__copies_its_texts),
        MADE(test_handle__takes_defaults_from_the_environment),
        MADE(test_handle__says_what_is_wrong_each_time),
        MADE(test_handle__stays_below_its_root),
        MADE(test_handle__logs_through_the_caller_only),
        MADE(test_handle__keeps_each_threads_error),
        MADE(test_handle__outlives_more_threads_than_it_remembers),
        MADE(test_handle__works_in_a_forked_child),
    };
    return cmocka_run_group_tests_name("handle", tests, NULL, NULL);
}
