/* SPDX-License-Identifier: MIT */
/* Real processes that hold simulated memory, and the file through which they are known. */
#include "sim/state.h"
#include "tests/sim/rig.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CARDS                                                                                      \
    "gpu 0 total=24G reserved=400M uuid=GPU-aaaa-0\ngpu 1 total=24G reserved=400M "                \
    "uuid=GPU-bbbb-1\n"

static void test_holders__are_seen_and_end_with_sigkill(void **state)
{
    (void)state;
    struct rig *rig = rig_play(CARDS);
    nvml_device device = rig_device(rig, 0);
    char name[256];
    pid_t first = rig_hold(rig->spec, "2G"), second = rig_hold(rig->spec, "4096");
    assert_int_equal(rig_listed(rig, device, (uint32_t)first), 2048);
    assert_int_equal(rig_listed(rig, device, (uint32_t)second), 4096);
    assert_int_equal(rig_used(rig, 0), 6144);
    assert_int_equal(rig->nvmlSystemGetProcessName((uint32_t)first, name, sizeof(name)),
                     NVML_SUCCESS);
    assert_string_equal(name, "vram-sim");
    rig_kill(first);
    assert_int_equal(rig_listed(rig, device, (uint32_t)first), -1);
    assert_int_equal(rig_used(rig, 0), 4096);
    rig_kill(second);
    assert_int_equal(rig_used(rig, 0), 0);
    rig_close(rig);
}

static void test_holders__cannot_have_more_than_is_free(void **state)
{
    (void)state;
    char said[512];
    struct rig *rig = rig_play(CARDS);
    pid_t holder = rig_hold(rig->spec, "20G");
    assert_int_equal(rig_sim(rig->spec, (char *[]){"hold", "4G", NULL}, said, sizeof(said)), 1);
    assert_non_null(
        strstr(said, "out of memory on GPU 0 (GPU-aaaa-0): 4096 MiB wanted, 3696 MiB free"));
    assert_int_equal(rig_sim(rig->spec, (char *[]){"stats", "--json", NULL}, said, sizeof(said)),
                     0);
    assert_non_null(strstr(said, "\"out_of_memory\":1,"));
    assert_int_equal(rig_used(rig, 0), 20480);
    rig_kill(holder);
    rig_close(rig);
}

/* Eight want a quarter each, at once: as many as fit get it. */
static void test_holders__allocate_one_after_the_other(void **state)
{
    (void)state;
    struct rig *rig = rig_play("gpu 0 total=24G reserved=400M\n");
    pid_t pids[8];
    int outputs[8], held = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(pids); i++) {
        pids[i] = rig_start(rig->spec, (char *[]){"hold", "6G", NULL}, &outputs[i]);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(pids); i++) {
        char line[256];
        rig_read_line(outputs[i], line, sizeof(line));
        held += strncmp(line, "holding", 7) == 0;
        (void)close(outputs[i]);
    }
    assert_int_equal(held, 3);
    assert_int_equal(rig_used(rig, 0), 3 * 6144);
    for (size_t i = 0; i < ARRAY_LENGTH(pids); i++) {
        (void)kill(pids[i], SIGKILL);
        assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
    }
    assert_int_equal(rig_used(rig, 0), 0);
    rig_close(rig);
}

static void check_visible(struct rig *rig, const char *visible, char *gpu, const char *expected)
{
    char line[256];
    int fd;
    assert_int_equal(setenv("CUDA_VISIBLE_DEVICES", visible, 1), 0);
    pid_t pid =
        rig_start(rig->spec, (char *[]){"hold", "1G", gpu ? "--gpu" : NULL, gpu, NULL}, &fd);
    rig_read_line(fd, line, sizeof(line));
    if (!strstr(line, expected)) {
        fail_msg("CUDA_VISIBLE_DEVICES=%s, --gpu %s: %s", visible, gpu ? gpu : "-", line);
    }
    (void)close(fd);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    assert_int_equal(unsetenv("CUDA_VISIBLE_DEVICES"), 0);
}

static void test_holders__see_what_cuda_sees(void **state)
{
    (void)state;
    struct rig *rig = rig_play(CARDS);
    check_visible(rig, "1", NULL, "on GPU 1 (GPU-bbbb-1)");
    check_visible(rig, "GPU-bbbb-1", NULL, "on GPU 1");
    check_visible(rig, "GPU-bb", NULL, "on GPU 1");
    check_visible(rig, "1,0", "1", "on GPU 0");
    check_visible(rig, "0,1", "GPU-bbbb", "on GPU 1");
    check_visible(rig, "0", "GPU-bbbb", "no GPU 'GPU-bbbb'");
    check_visible(rig, "0,9,1", "1", "no GPU '1'");
    check_visible(rig, "", NULL, "CUDA_VISIBLE_DEVICES shows none");
    rig_close(rig);
}

static void test_holders__use_an_instance_of_a_divided_card(void **state)
{
    (void)state;
    struct rig *rig =
        rig_play("gpu 0 total=80G mig=on mig-monitor=all\nmig 0 gi=1 total=10G uuid=MIG-1\n"
                 "mig 0 gi=2 total=10G uuid=MIG-2\n");
    nvml_device card = rig_device(rig, 0), instance;
    struct nvml_process_24 entries[2];
    char line[256];
    uint32_t count = 2;
    int fd;
    pid_t pid = rig_start(rig->spec, (char *[]){"hold", "2G", "--gpu", "MIG-2", NULL}, &fd);
    rig_read_line(fd, line, sizeof(line));
    assert_string_equal(line, "holding 2048 MiB on GPU 0 (MIG-2)");
    (void)close(fd);
    assert_int_equal(rig->nvmlDeviceGetMigDeviceHandleByIndex(card, 1, &instance), NVML_SUCCESS);
    assert_int_equal(rig_memory(rig, instance).used, 2 * GIB);
    assert_int_equal(rig_memory(rig, card).used, 2 * GIB);
    assert_int_equal(rig->nvmlDeviceGetComputeRunningProcesses_v3(card, &count, entries),
                     NVML_SUCCESS);
    assert_int_equal(count, 1);
    assert_int_equal(entries[0].gpu_instance, 2);
    rig_kill(pid);
    rig_close(rig);
}

static void test_holders__come_little_by_little_and_go_in_time(void **state)
{
    (void)state;
    struct rig *rig = rig_play("clock virtual\n" CARDS);
    char line[256];
    int fd;
    pid_t pid = rig_start(rig->spec,
                          (char *[]){"hold", "8G", "--ramp", "10s", "--for", "5s", "--type", "G",
                                     "--name", "trainer", NULL},
                          &fd);
    char said[1024] = "";
    while (!strstr(said, "trainer")) { /* it shows itself when it begins */
        assert_int_equal(
            rig_sim(rig->spec, (char *[]){"stats", "--json", NULL}, said, sizeof(said)), 0);
    }
    assert_int_equal(rig_used(rig, 0), 0);
    rig_advance(rig->spec, "5s");
    while (rig_used(rig, 0) == 0) { /* until it has looked at the clock */
    }
    assert_int_equal(rig_used(rig, 0), 4096);
    rig_advance(rig->spec, "5s");
    rig_read_line(fd, line, sizeof(line));
    assert_string_equal(line, "holding 8192 MiB on GPU 0 (GPU-aaaa-0)");
    assert_int_equal(rig_used(rig, 0), 8192);
    assert_int_equal(rig_listed(rig, rig_device(rig, 0), (uint32_t)pid),
                     -1); /* a graphics process */
    rig_advance(rig->spec, "5s");
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(rig_used(rig, 0), 0);
    (void)close(fd);
    rig_close(rig);
}

/* ---- Other PID namespaces ---------------------------------------------------------------------- */

struct namespace_view {
    struct rig *rig;
    pid_t outside;
};

static void say_what_is_seen(struct rig *rig, pid_t outside)
{
    uint32_t pids[16];
    uint64_t used[16];
    nvml_device device;
    pid_t inside = rig_hold(rig->spec, "1G");
    if (rig->nvmlInit_v2() != NVML_SUCCESS ||
        rig->nvmlDeviceGetHandleByIndex_v2(0, &device) != NVML_SUCCESS) {
        fprintf(stderr, "no driver");
        return;
    }
    uint32_t count = rig_list(rig, device, pids, used);
    for (uint32_t i = 0; i < count; i++) {
        const char *who = (pid_t)pids[i] == inside    ? "inside"
                          : (pid_t)pids[i] == outside ? "outside"
                                                      : "?";
        fprintf(stderr, "%s ", who);
    }
    fprintf(stderr, "used %u", (unsigned)(rig_memory(rig, device).used / MIB));
    rig_kill(inside);
}

/* A new PID namespace is that of the next child. */
static void look_from_a_namespace(void *data)
{
    struct namespace_view *view = data;
    if (unshare(CLONE_NEWPID) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) < 0) {
        fprintf(stderr, "skip");
        return;
    }
    pid_t pid = fork();
    if (pid == 0) {
        say_what_is_seen(view->rig, view->outside);
        _exit(0);
    }
    (void)waitpid(pid, NULL, 0);
}

static void check_namespace(const char *generation, const char *expected)
{
    char said[256];
    struct rig *rig = rig_open(generation, rig_write("driver 550.54.14\n" CARDS));
    pid_t outside = rig_hold(rig->spec, "2G");
    struct namespace_view view = {rig, outside};
    (void)rig_in_child(look_from_a_namespace, &view, said, sizeof(said));
    rig_kill(outside);
    rig_close(rig);
    if (strcmp(said, "skip") == 0) {
        print_message("a PID namespace of its own is not permitted here\n");
        skip();
    }
    assert_string_equal(said, expected);
}

static void test_holders__are_hidden_across_pid_namespaces(void **state)
{
    (void)state;
    check_namespace("r550", "inside used 3072");
}

static void test_holders__have_host_pids_with_older_drivers(void **state)
{
    (void)state;
    check_namespace("r535_104", "outside inside used 3072");
}

static void hold_from_a_namespace(void *data)
{
    struct namespace_view *view = data;
    if (unshare(CLONE_NEWPID) < 0) {
        fprintf(stderr, "skip");
        return;
    }
    pid_t holder = rig_hold(view->rig->spec, "1G"); /* the namespace's first process */
    fprintf(stderr, "%ld", (long)rig_listed(view->rig, rig_device(view->rig, 0), (uint32_t)holder));
    rig_kill(holder);
}

static void in_namespace_with_driver(void *data)
{
    struct namespace_view *view = data;
    if (view->rig->nvmlInit_v2() == NVML_SUCCESS) {
        hold_from_a_namespace(data);
    }
}

static void test_holders__are_seen_from_outside_by_their_outer_pid(void **state)
{
    (void)state;
    char said[64];
    struct rig *rig = rig_play(CARDS);
    struct namespace_view view = {rig, 0};
    (void)rig_in_child(in_namespace_with_driver, &view, said, sizeof(said));
    rig_close(rig);
    if (strcmp(said, "skip") == 0) {
        skip();
    }
    assert_string_equal(said, "1024");
}

/* ---- The state's file -------------------------------------------------------------------------- */

static void test_holders__keep_a_default_instance_alive(void **state)
{
    (void)state;
    struct rig *rig = rig_play("gpu 0 total=8G\n");
    char spec[256];
    (void)snprintf(spec, sizeof(spec), "%s", rig->spec);
    pid_t holder = rig_hold(spec, "1G");
    rig_inject(spec, "gpu 0 temp=55");
    rig_close(rig);
    rig = rig_open("r470", spec); /* of another generation, and still the same machine */
    uint32_t celsius;
    assert_int_equal(rig->nvmlDeviceGetTemperature(rig_device(rig, 0), 0, &celsius), NVML_SUCCESS);
    rig_close(rig);
    rig_kill(holder);
    rig = rig_open("r550", spec); /* nobody used it: it begins anew */
    assert_int_equal(rig->nvmlDeviceGetTemperature(rig_device(rig, 0), 0, &celsius),
                     NVML_NOT_SUPPORTED);
    rig_close(rig);
}

static void test_holders__do_not_lag_into_the_next_life(void **state)
{
    (void)state;
    struct rig *rig = rig_play("gpu 0 total=8G\nlag 1h\n");
    char spec[256];
    (void)snprintf(spec, sizeof(spec), "%s", rig->spec);
    rig_close(rig);
    rig_kill(rig_hold(spec, "1G")); /* the only user, and nobody saw it die */
    rig = rig_open("r550", spec);
    assert_int_equal(rig_used(rig, 0), 0);
    rig_close(rig);
}

static void test_holders__leave_a_named_instance_behind(void **state)
{
    (void)state;
    char spec[256];
    (void)snprintf(spec, sizeof(spec), "%s@kept", rig_write("driver 550.54.14\ngpu 0 total=8G\n"));
    rig_inject(spec, "gpu 0 temp=55");
    struct rig *rig = rig_open("r550", spec);
    uint32_t celsius;
    assert_int_equal(rig->nvmlDeviceGetTemperature(rig_device(rig, 0), 0, &celsius), NVML_SUCCESS);
    assert_int_equal(celsius, 55);
    rig_close(rig);
    assert_int_equal(rig_sim(spec, (char *[]){"reset", NULL}, NULL, 0), 0);
    rig = rig_open("r550", spec);
    assert_int_equal(rig->nvmlDeviceGetTemperature(rig_device(rig, 0), 0, &celsius),
                     NVML_NOT_SUPPORTED);
    rig_close(rig);
}

/* The file of a named instance, which no one uses. */
static int open_state(char *path, size_t size)
{
    (void)snprintf(path, size, "%s/rtx4090@hostile.state", getenv("VRAM_SIM_STATE_DIR"));
    return open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

static void use_hostile(void)
{
    struct rig *rig = rig_open("r550", "rtx4090@hostile");
    nvml_device device = rig_device(rig, 0);
    uint32_t pids[16];
    uint64_t used[16];
    (void)rig_memory(rig, device);
    (void)rig_list(rig, device, pids, used);
    rig_close(rig);
}

/* A sound file with random bytes in it, many times: whatever it says, nobody crashes. */
static void test_holders__survive_a_damaged_state(void **state)
{
    (void)state;
    char path[512];
    uint64_t random = 88172645463325252u;
    for (int round = 0; round < 60; round++) {
        use_hostile();
        int fd = open_state(path, sizeof(path));
        struct stat status;
        assert_true(fd >= 0 && fstat(fd, &status) == 0);
        assert_int_equal(status.st_size, sizeof(struct state));
        for (int i = 0; i < 200; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            /* Mostly where the sizes and the slots are, and past the mark that makes the file sound. */
            size_t range = i % 2 ? offsetof(struct state, calls) - 12 : sizeof(struct state) - 12;
            off_t at = (off_t)(12 + random % range);
            uint8_t byte = (uint8_t)(random >> 32);
            assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        }
        (void)close(fd);
        use_hostile();
    }
    (void)unlink(path);
}

static void test_holders__begin_anew_on_a_file_that_is_none(void **state)
{
    (void)state;
    char path[512];
    static const off_t sizes[] = {0, 1, 4096, (off_t)sizeof(struct state) - 1,
                                  (off_t)sizeof(struct state)};
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        int fd = open_state(path, sizeof(path));
        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, sizes[i]), 0);
        (void)close(fd);
        struct rig *rig = rig_open("r550", "rtx4090@hostile");
        assert_int_equal(rig_used(rig, 0), 1320);
        rig_close(rig);
        (void)unlink(path);
    }
}

static void test_holders__do_not_follow_links(void **state)
{
    (void)state;
    char path[512], target[512];
    struct stat status;
    (void)close(open_state(path, sizeof(path)));
    (void)snprintf(target, sizeof(target), "%s/victim", getenv("VRAM_SIM_STATE_DIR"));
    (void)unlink(path);
    assert_int_equal(symlink(target, path), 0);
    struct rig *rig = rig_open("r550", "rtx4090@hostile"); /* private then, and as good */
    assert_int_equal(rig_used(rig, 0), 1320);
    assert_int_equal(stat(target, &status), -1);
    rig_close(rig);
    (void)unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    rig = rig_open("r550", "rtx4090@hostile");
    assert_int_equal(rig_used(rig, 0), 1320);
    rig_close(rig);
    (void)unlink(path);
}

static void test_holders__do_without_a_directory(void **state)
{
    (void)state;
    char said[512], directory[256];
    (void)snprintf(directory, sizeof(directory), "%s", getenv("VRAM_SIM_STATE_DIR"));
    assert_int_equal(setenv("VRAM_SIM_STATE_DIR", "/proc/nowhere", 1), 0);
    struct rig *rig = rig_open("r550", "rtx4090");
    assert_int_equal(rig_used(rig, 0), 1320);
    assert_int_equal(rig_sim(rig->spec, (char *[]){"hold", "1G", NULL}, said, sizeof(said)), 1);
    assert_non_null(strstr(said, "VRAM_SIM_STATE_DIR"));
    rig_close(rig);
    assert_int_equal(setenv("VRAM_SIM_STATE_DIR", directory, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_holders__are_seen_and_end_with_sigkill),
        TEST(test_holders__cannot_have_more_than_is_free),
        TEST(test_holders__allocate_one_after_the_other),
        TEST(test_holders__see_what_cuda_sees),
        TEST(test_holders__use_an_instance_of_a_divided_card),
        TEST(test_holders__come_little_by_little_and_go_in_time),
        TEST(test_holders__are_hidden_across_pid_namespaces),
        TEST(test_holders__have_host_pids_with_older_drivers),
        TEST(test_holders__are_seen_from_outside_by_their_outer_pid),
        TEST(test_holders__keep_a_default_instance_alive),
        TEST(test_holders__do_not_lag_into_the_next_life),
        TEST(test_holders__leave_a_named_instance_behind),
        TEST(test_holders__survive_a_damaged_state),
        TEST(test_holders__begin_anew_on_a_file_that_is_none),
        TEST(test_holders__do_not_follow_links),
        TEST(test_holders__do_without_a_directory),
    };
    return cmocka_run_group_tests(tests, rig_group_set_up, rig_group_tear_down);
}
