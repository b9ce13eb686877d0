/* SPDX-License-Identifier: MIT */
/* Strict mode: each breach of NVML's contract ends the process and says what it was. */
#include "tests/sim/rig.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define STRICT "strict on\ngpu 0 total=8G\ngpu 1 total=8G suspended\nproc 0 pid=4200001 mem=1G\n"

/* Each breach gets a library of its own, in a child. */
struct breach {
    struct rig *rig;
    nvml_device device; /* GPU 0, where the child has begun to use the driver */
};

static void start(struct breach *breach)
{
    (void)breach->rig->nvmlInit_v2();
    (void)breach->rig->nvmlDeviceGetHandleByIndex_v2(0, &breach->device);
}

static void call_before_start(void *data)
{
    struct breach *breach = data;
    uint32_t count;
    (void)breach->rig->nvmlDeviceGetCount_v2(&count);
}

static void call_after_shutdown(void *data)
{
    struct breach *breach = data;
    struct nvml_memory_v1 memory;
    start(breach);
    (void)breach->rig->nvmlShutdown();
    (void)breach->rig->nvmlDeviceGetMemoryInfo(breach->device, &memory);
}

static void use_a_stale_handle(void *data)
{
    struct breach *breach = data;
    struct nvml_memory_v1 memory;
    start(breach);
    nvml_device old = breach->device;
    (void)breach->rig->nvmlShutdown();
    start(breach);
    (void)breach->rig->nvmlDeviceGetMemoryInfo(old, &memory);
}

static void give_a_bare_version(void *data)
{
    struct breach *breach = data;
    struct nvml_memory_v2 memory = {.version = 2};
    start(breach);
    (void)breach->rig->nvmlDeviceGetMemoryInfo_v2(breach->device, &memory);
}

static void lie_about_a_buffer(void *data)
{
    struct breach *breach = data;
    long page = sysconf(_SC_PAGESIZE);
    char *pages =
        mmap(NULL, 2 * (size_t)page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint32_t count = 5;
    start(breach);
    (void)mprotect(pages + page, (size_t)page, PROT_NONE);
    (void)breach->rig->nvmlDeviceGetComputeRunningProcesses_v3(
        breach->device, &count, pages + page - 4 * sizeof(struct nvml_process_24));
}

static void forget_to_set_a_count(void *data)
{
    struct breach *breach = data;
    struct nvml_process_24 entry;
    uint32_t count = 0xDEADBEEF;
    start(breach);
    (void)breach->rig->nvmlDeviceGetComputeRunningProcesses_v3(breach->device, &count, &entry);
}

static void wake_a_gpu(void *data)
{
    struct breach *breach = data;
    nvml_device device;
    start(breach);
    (void)breach->rig->nvmlDeviceGetHandleByIndex_v2(1, &device);
}

static void use_the_parents_start(void *data)
{
    struct breach *breach = data;
    start(breach);
    pid_t pid = fork();
    if (pid == 0) {
        call_before_start(data);
        _exit(0);
    }
    int status;
    (void)waitpid(pid, &status, 0);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) {
        abort();
    }
}

static void *ask_for_memory(void *data)
{
    struct breach *breach = data;
    struct nvml_memory_v1 memory;
    (void)breach->rig->nvmlDeviceGetMemoryInfo(breach->device, &memory);
    return NULL;
}

static void ask_in_two_threads(void *data)
{
    struct breach *breach = data;
    pthread_t threads[2];
    start(breach);
    for (int i = 0; i < 2; i++) {
        (void)pthread_create(&threads[i], NULL, ask_for_memory, data);
    }
    for (int i = 0; i < 2; i++) {
        (void)pthread_join(threads[i], NULL);
    }
}

static void break_nothing(void *data)
{
    struct breach *breach = data;
    struct nvml_process_24 entries[4];
    uint32_t count = 0;
    start(breach);
    (void)ask_for_memory(data);
    (void)breach->rig->nvmlDeviceGetComputeRunningProcesses_v3(breach->device, &count, NULL);
    count = 4;
    (void)breach->rig->nvmlDeviceGetComputeRunningProcesses_v3(breach->device, &count, entries);
    (void)breach->rig->nvmlShutdown();
}

/* What the child says and how it ends; "": it ends well. */
static void check(const char *scenario, void (*body)(void *data), const char *expected)
{
    char said[1024];
    struct breach breach = {.rig = rig_load("r550")};
    assert_int_equal(breach.rig->select(rig_write(scenario)), 0);
    int status = rig_in_child(body, &breach, said, sizeof(said));
    if (*expected) {
        bool aborted = WIFSIGNALED(status) ? WTERMSIG(status) == SIGABRT : WEXITSTATUS(status) != 0;
        if (!aborted || !strstr(said, expected) || !strstr(said, "vram-sim: strict: nvml")) {
            fail_msg("status %d: %s\nexpected: %s", status, said, expected);
        }
    } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fail_msg("status %d: %s", status, said);
    }
    rig_close(breach.rig);
}

#define HUNG "driver 550.54.14\n" STRICT "delay nvmlDeviceGetMemoryInfo 60s\n"

static void test_strict__ends_who_breaks_the_contract(void **state)
{
    (void)state;
    static const char scenario[] = "driver 550.54.14\n" STRICT;
    check(scenario, call_before_start, "called before nvmlInit or after nvmlShutdown");
    check(scenario, call_after_shutdown, "called before nvmlInit or after nvmlShutdown");
    check(scenario, use_a_stale_handle, "before the last nvmlInit");
    check(scenario, give_a_bare_version, "version is 0x00000002, it must be 0x02000028");
    check(scenario, lie_about_a_buffer, "the count is 5 and the buffer is smaller");
    check(scenario, forget_to_set_a_count, "was it ever set");
    check(scenario, wake_a_gpu, "GPU 1 was asleep");
    check(scenario, use_the_parents_start, "does not count in a forked child");
    check(HUNG, ask_in_two_threads, "another thread is in a call on GPU 0");
}

static void test_strict__lets_others_be(void **state)
{
    (void)state;
    check("driver 550.54.14\n" STRICT, break_nothing, "");
}

static void test_strict__can_be_asked_for_by_the_environment(void **state)
{
    (void)state;
    assert_int_equal(setenv("VRAM_SIM_STRICT", "1", 1), 0);
    check("driver 550.54.14\ngpu 0 total=8G\n", give_a_bare_version, "it must be 0x02000028");
    assert_int_equal(unsetenv("VRAM_SIM_STRICT"), 0);
}

static void test_strict__or_else_codes_are_returned_and_wakes_counted(void **state)
{
    (void)state;
    char said[1024];
    struct rig *rig = rig_play("gpu 0 total=8G\ngpu 1 total=8G suspended\n");
    nvml_device device;
    assert_int_equal(rig->nvmlDeviceGetHandleByIndex_v2(1, &device), NVML_SUCCESS);
    assert_int_equal(rig->nvmlDeviceGetHandleByIndex_v2(1, &device),
                     NVML_SUCCESS); /* it is awake now */
    rig_inject(rig->spec, "gpu 1 suspended");
    assert_int_equal(rig_memory(rig, device).total, 8 * GIB);
    assert_int_equal(rig_sim(rig->spec, (char *[]){"stats", "--json", NULL}, said, sizeof(said)),
                     0);
    assert_non_null(strstr(said, "\"wakes\":2,"));
    rig_close(rig);
}

static void ask_without_a_start(void *data)
{
    struct rig *rig = data;
    uint32_t count = 7;
    nvml_ret inherited = rig->nvmlDeviceGetCount_v2(&count);
    nvml_ret own = rig->nvmlInit_v2();
    nvml_ret after = rig->nvmlDeviceGetCount_v2(&count);
    fprintf(stderr, "%d %d %d %u", inherited, own, after, count);
}

static void test_strict__or_else_a_child_starts_by_itself(void **state)
{
    (void)state;
    char said[64];
    struct rig *rig = rig_play("gpu 0 total=8G\n");
    (void)rig_in_child(ask_without_a_start, rig, said, sizeof(said));
    assert_string_equal(said, "1 0 0 1");
    assert_int_equal(rig_used(rig, 0), 0); /* and the parent goes on */
    rig_close(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_strict__ends_who_breaks_the_contract),
        TEST(test_strict__lets_others_be),
        TEST(test_strict__can_be_asked_for_by_the_environment),
        TEST(test_strict__or_else_codes_are_returned_and_wakes_counted),
        TEST(test_strict__or_else_a_child_starts_by_itself),
    };
    return cmocka_run_group_tests(tests, rig_group_set_up, rig_group_tear_down);
}
