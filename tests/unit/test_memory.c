/* SPDX-License-Identifier: MIT */
/*
 * Running out of memory is an ordinary error: each step is tried with its first, second, … allocation failing,
 * until none does. Leaks and wild accesses are the sanitizers' and valgrind's to see.
 */
#include "tests/unit/alloc_fail.h"
#include "tests/unit/fake_root.h"
#include "tests/unit/fake_source.h"
#include "tests/unit/json_check.h"
#include "tests/unit/make_snapshot.h"
#include "tests/unit/unit.h"

#include "lib/driver.h"
#include "lib/sampler.h"
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

void *__real_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);

void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    if (alloc_fails_now()) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return __real_mmap(address, length, protection, flags, fd, offset);
}

#define MOST_ALLOCATIONS 1000

/* `attempt` does one thing and cleans up after itself, whatever comes of it. */
static void fail_each(int (*attempt)(void))
{
    for (unsigned n = 1; n < MOST_ALLOCATIONS; n++) {
        alloc_fail_at(n);
        int r = attempt();
        bool happened = alloc_fail_happened();
        alloc_fail_at(0);
        if (!happened) {
            assert_int_equal(r, 0);
            assert_true(n > 1); /* else nothing was tried */
            return;
        }
        if (r != -ENOMEM) {
            fail_msg("allocation %u failed, and the result is %d", n, r);
        }
    }
    fail_msg("more than %d allocations", MOST_ALLOCATIONS);
}

/* ---- Snapshots and answers ------------------------------------------------------------------- */

static const char *root;
static struct machine *machine;
static struct vram_snapshot *snapshot;

static int set_up(void **state)
{
    (void)state;
    root = fake_root_make();
    machine = machine_new(root);
    for (uint32_t i = 0; i < 3; i++) {
        struct source_gpu *gpu = machine_card(machine, 24 * GIB, 0, 20 * GIB);
        for (uint32_t pid = 1; pid < 20; pid++) {
            machine_process(gpu, pid + i, pid * MIB, "name");
        }
        source_gpu_problem(gpu, "memory", "x", "y");
    }
    for (uint32_t pid = 1; pid < 15; pid++) {
        char path[32];
        fake_root_process(root, pid, "p", pid, 1000);
        (void)snprintf(path, sizeof(path), "/proc/%u/cmdline", pid);
        fake_root_text(root, path, "python3");
    }
    snapshot = machine_snapshot(machine, VRAM_TAKE_ALL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    snapshot = vram_snapshot_unref(snapshot);
    machine_free(machine);
    fake_root_remove(root);
    return 0;
}

static int build_snapshot(void)
{
    struct vram_snapshot *built = NULL;
    identities_free(machine->identities); /* strangers again, all of them */
    machine->identities = identities_new(root);
    if (!machine->identities) {
        return -ENOMEM;
    }
    int r = snapshot_build(&machine->board, machine->identities, VRAM_TAKE_ALL, 0, MACHINE_NOW_NS,
                           &built);
    assert_int_equal(!built, r < 0);
    (void)vram_snapshot_unref(built);
    return r;
}

static void test_memory__of_a_snapshot(void **state)
{
    (void)state;
    fail_each(build_snapshot);
}

static int pack_and_unpack(void)
{
    struct vram_snapshot *again = NULL;
    void *bytes = NULL;
    size_t size = 0;
    int r = vram_snapshot_pack(snapshot, &bytes, &size);
    assert_int_equal(!bytes, r < 0);
    r = r < 0 ? r : vram_snapshot_unpack(bytes, size, &again);
    assert_int_equal(!again, r < 0);
    free(bytes);
    (void)vram_snapshot_unref(again);
    return r;
}

static void test_memory__of_packing(void **state)
{
    (void)state;
    fail_each(pack_and_unpack);
}

static int promise(void)
{
    struct vram_promises promises = VRAM_PROMISES_INIT;
    struct vram_snapshot *promised = NULL;
    int r = vram_snapshot_promise(snapshot, &promises, &promised);
    assert_int_equal(!promised, r < 0);
    (void)vram_snapshot_unref(promised);
    return r;
}

static void test_memory__of_promises(void **state)
{
    (void)state;
    fail_each(promise);
}

/* Somebody who was met without memory is met again with it. */
static void test_memory__of_an_identity(void **state)
{
    const struct identity *who = NULL;
    (void)state;
    identities_begin(machine->identities);
    for (unsigned n = 1; n < 3; n++) {
        alloc_fail_at(n);
        int r = identities_find(machine->identities, 1, true, &who);
        bool happened = alloc_fail_happened();
        alloc_fail_at(0);
        assert_int_equal(r, happened ? -ENOMEM : 0);
        assert_int_equal(identities_find(machine->identities, 1, true, &who), 0);
        assert_true(who->visible);
        assert_string_equal(who->command, "python3");
        identities_begin(machine->identities);
    }
}

static int ask_fit(void)
{
    struct vram_fit_request request = VRAM_FIT_REQUEST_INIT;
    struct vram_fit *fit = NULL;
    request.size_bytes = GIB;
    int r = vram_fit(snapshot, &request, &fit);
    assert_int_equal(!fit, r < 0);
    (void)vram_fit_free(fit);
    return r;
}

static void test_memory__of_an_answer(void **state)
{
    (void)state;
    fail_each(ask_fit);
}

static int write_snapshot(void)
{
    char *text = NULL;
    int r = vram_snapshot_json(snapshot, NULL, 0, &text);
    assert_int_equal(!text, r < 0);
    assert_true(!text || json_check(text, strlen(text))); /* whole or none */
    free(text);
    return r;
}

static int write_answer(void)
{
    struct vram_fit_request request = VRAM_FIT_REQUEST_INIT;
    struct vram_fit *fit = NULL;
    char *text = NULL;
    request.size_bytes = GIB;
    int r = vram_fit(snapshot, &request, &fit);
    if (r == 0) {
        r = vram_fit_json((const struct vram_fit *const *)&fit, 1, &text);
    }
    assert_true(!text || json_check(text, strlen(text)));
    (void)vram_fit_free(fit);
    free(text);
    return r;
}

static void test_memory__of_documents(void **state)
{
    (void)state;
    fail_each(write_snapshot);
    fail_each(write_answer);
}

/* A problem that cannot be noted leaves the figure unknown all the same. */
static void test_memory__of_a_problem(void **state)
{
    struct source_gpu gpu;
    (void)state;
    source_gpu_init(&gpu);
    alloc_fail_at(1);
    source_gpu_problem(&gpu, "memory", "x", "y");
    assert_null(gpu.problems);
    source_gpu_problem(&gpu, "memory", "x", "y");
    assert_non_null(gpu.problems);
    source_gpu_done(&gpu);
}

/* ---- Drivers, handles, samplers -------------------------------------------------------------- */

static int parse_driver(void)
{
    struct driver driver = {0};
    int r = driver_parse(&driver, "nvml:/somewhere", NULL);
    driver_done(&driver);
    return r;
}

static int parse_simulation(void)
{
    struct driver driver = {0};
    int r = driver_parse(&driver, "sim:card", NULL);
    driver_done(&driver);
    return r;
}

static void test_memory__of_a_driver(void **state)
{
    (void)state;
    fail_each(parse_driver);
    fake_root_text(root, "/profiles/card.scenario", "driver 550\n");
    fake_root_text(root, "/r550/libnvidia-ml.so.1", "");
    assert_int_equal(setenv("VRAM_SIM_DIR", root, 1), 0);
    fail_each(parse_simulation);
    assert_int_equal(unsetenv("VRAM_SIM_DIR"), 0);
}

static int open_handle(void)
{
    struct vram_options options = VRAM_OPTIONS_INIT;
    struct vram *vram = NULL;
    options.driver = "nvml:/nonexistent/libnvidia-ml.so.1";
    options.root = "/nonexistent";
    int r = vram_open(&vram, &options);
    assert_int_equal(!vram, r < 0);
    (void)vram_close(vram);
    return r;
}

static void test_memory__of_a_handle(void **state)
{
    (void)state;
    fail_each(open_handle);
}

/* The first question, up to a library that is not there. */
static int ask_handle(void)
{
    struct vram_options options = VRAM_OPTIONS_INIT;
    struct vram_snapshot *taken = NULL;
    struct vram *vram = NULL;
    options.driver = "nvml:/nonexistent/libnvidia-ml.so.1";
    options.root = "/nonexistent";
    int r = vram_open(&vram, &options);
    if (r == 0) {
        r = vram_snapshot_take(vram, 0, &taken);
        assert_null(taken);
        assert_string_equal(vram_error_code(vram),
                            r == -ENOMEM ? "out_of_memory" : "library_not_found");
    }
    (void)vram_close(vram);
    return r == -ENODEV ? 0 : r;
}

static void test_memory__of_a_question(void **state)
{
    (void)state;
    fail_each(ask_handle);
}

static void quiet(void *data, int level, const char *message)
{
    (void)data;
    (void)level;
    (void)message;
}

/* A sampler that asks for two devices, then for five; and what failed in between works the next time. */
static int run_sampler(void)
{
    static const struct source_config config = {.root = "", .log = quiet};
    struct board board = {0};
    struct err err = {0};
    fake_reset(2);
    struct sampler *sampler = sampler_new(&fake_source, &config, UINT64_MAX / 4);
    if (!sampler) {
        return -ENOMEM;
    }
    int r = sampler_sample(sampler, VRAM_TAKE_ALL, &board, &err);
    assert_int_equal(!board.entries, r < 0);
    assert_true(r == 0 || strcmp(err.code, "out_of_memory") == 0);
    board_done(&board);
    if (r == 0) {
        fake_set_devices(5);
        r = sampler_sample(sampler, VRAM_TAKE_ALL, &board, &err);
        board_done(&board);
    }
    if (r < 0) {
        assert_int_equal(sampler_sample(sampler, 0, &board, &err), 0);
        for (size_t i = 0; i < board.count; i++) {
            assert_non_null(board.entries[i].report);
        }
        board_done(&board);
    }
    sampler_free(sampler);
    assert_int_equal(fake_counts().closes, fake_counts().opened);
    return r;
}

static void test_memory__of_a_sampler(void **state)
{
    (void)state;
    fail_each(run_sampler);
}

int main(void)
{
#define MADE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        MADE(test_memory__of_packing),    MADE(test_memory__of_promises),
        MADE(test_memory__of_a_snapshot), MADE(test_memory__of_an_identity),
        MADE(test_memory__of_an_answer),  MADE(test_memory__of_documents),
        TEST(test_memory__of_a_problem),  MADE(test_memory__of_a_driver),
        TEST(test_memory__of_a_handle),   TEST(test_memory__of_a_question),
        TEST(test_memory__of_a_sampler),
    };
    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
