/* SPDX-License-Identifier: MIT */
/* In what the generations differ: sizes of list entries, versions, pids of other namespaces. */
#include "tests/sim/rig.h"

#include <stdio.h>

#define TWO_PROCESSES                                                                              \
    "gpu 0 total=24G reserved=400M\n"                                                              \
    "proc 0 pid=4200001 mem=1G\nproc 0 pid=4200002 mem=2G\n"

typedef nvml_ret(*list_function) LIST_PARAMETERS;

/* How far two entries reach in a buffer, told from what is left of two different fillings. */
static size_t extent(list_function list, nvml_device device)
{
    unsigned char first[256], second[256];
    uint32_t count = 4;
    memset(first, 0xA5, sizeof(first));
    memset(second, 0x5A, sizeof(second));
    assert_int_equal(list(device, &count, first), NVML_SUCCESS);
    assert_int_equal(count, 2);
    count = 4;
    assert_int_equal(list(device, &count, second), NVML_SUCCESS);
    size_t size = sizeof(first);
    while (size && first[size - 1] == 0xA5 && second[size - 1] == 0x5A) {
        size--;
    }
    return size;
}

/* Entries end with padding in no layout, so that the extent is the size. */
static void check_list(list_function list, nvml_device device, size_t entry_size)
{
    unsigned char buffer[256];
    uint32_t count = 4;
    assert_int_equal(extent(list, device), 2 * entry_size);
    assert_int_equal(list(device, &count, buffer), NVML_SUCCESS);
    for (uint32_t i = 0; i < 2; i++) {
        struct nvml_process_24 entry = {0};
        memcpy(&entry, buffer + i * entry_size,
               entry_size < sizeof(entry) ? entry_size : sizeof(entry));
        assert_int_equal(entry.pid, 4200001 + i);
        assert_int_equal(entry.used_bytes, (i + 1) * GIB);
        if (entry_size >= sizeof(entry)) {
            assert_int_equal(entry.gpu_instance, NVML_NO_INSTANCE);
            assert_int_equal(entry.compute_instance, NVML_NO_INSTANCE);
        }
    }
}

static void test_generations__have_their_entry_sizes(void **state)
{
    (void)state;
    const char *path = rig_write("driver 550.54.14\n" TWO_PROCESSES);
    for (size_t g = 0; rig_generations[g]; g++) {
        struct rig *rig = rig_open(rig_generations[g], path);
        uint32_t release = rig_release(rig_generations[g]);
        nvml_device device = rig_device(rig, 0);
        check_list(rig->nvmlDeviceGetComputeRunningProcesses, device, 16);
        assert_int_equal(rig->nvmlDeviceGetComputeRunningProcesses_v2 != NULL, release >= 450066);
        if (rig->nvmlDeviceGetComputeRunningProcesses_v2) {
            check_list(rig->nvmlDeviceGetComputeRunningProcesses_v2, device, 24);
        }
        if (rig->nvmlDeviceGetComputeRunningProcesses_v3) {
            check_list(rig->nvmlDeviceGetComputeRunningProcesses_v3, device,
                       release == 535054 ? 32 : 24);
        }
        rig_close(rig);
    }
}

static void test_generations__write_small_entries_when_told_to(void **state)
{
    (void)state;
    struct rig *rig = rig_play(TWO_PROCESSES "entry 16\n");
    check_list(rig->nvmlDeviceGetComputeRunningProcesses_v3, rig_device(rig, 0), 16);
    rig_close(rig);
}

static void test_generations__tell_a_version_of_their_own(void **state)
{
    (void)state;
    char text[NVML_VERSION_SIZE];
    const char *path = rig_write("driver 550.90.07\ncuda 12.4\n" TWO_PROCESSES);
    for (size_t g = 0; rig_generations[g]; g++) {
        struct rig *rig = rig_open(rig_generations[g], path);
        assert_int_equal(rig->nvmlSystemGetDriverVersion(text, sizeof(text)), NVML_SUCCESS);
        if (strcmp(rig_generations[g], "r550") == 0) {
            assert_string_equal(text,
                                "550.90.07"); /* the scenario's, which is of this generation */
        } else {
            assert_int_equal(strncmp(text, rig_generations[g] + 1, 3), 0);
            assert_null(strstr(text, "550.90"));
        }
        assert_int_equal(rig->nvmlSystemGetDriverVersion(text, 4), NVML_INSUFFICIENT_SIZE);
        rig_close(rig);
    }
}

static void test_generations__list_details_from_535_104(void **state)
{
    (void)state;
    const char *path =
        rig_write("driver 550.54.14\n" TWO_PROCESSES "proc 0 pid=4200003 mem=4G type=G\n");
    for (size_t g = 0; rig_generations[g]; g++) {
        struct rig *rig = rig_open(rig_generations[g], path);
        struct nvml_process_detail entries[4];
        struct nvml_process_detail_list list = {NVML_PROCESS_DETAIL_LIST_V1, 0, 0, NULL};
        nvml_device device = rig_device(rig, 0);
        if (rig->nvmlDeviceGetRunningProcessDetailList) {
            assert_int_equal(rig->nvmlDeviceGetRunningProcessDetailList(device, &list),
                             NVML_INSUFFICIENT_SIZE);
            assert_int_equal(list.count, 2);
            list.entries = entries;
            assert_int_equal(rig->nvmlDeviceGetRunningProcessDetailList(device, &list),
                             NVML_SUCCESS);
            assert_int_equal(entries[1].pid, 4200002);
            list.mode = 3;
            list.count = 4;
            nvml_ret all = rig->nvmlDeviceGetRunningProcessDetailList(device, &list);
            assert_int_equal(all, rig_release(rig_generations[g]) >= 610043
                                      ? NVML_SUCCESS
                                      : NVML_INVALID_ARGUMENT);
        }
        rig_close(rig);
    }
}

static void test_generations__are_those_of_a_program_that_knows_nothing_of_them(void **state)
{
    (void)state;
    assert_int_equal(setenv("VRAM_SIM", "2x3090", 1), 0);
    struct rig *rig = rig_load("r535_104");
    uint32_t count = 0;
    char name[NVML_NAME_SIZE];
    assert_int_equal(rig->nvmlInit_v2(), NVML_SUCCESS);
    assert_int_equal(rig->nvmlDeviceGetCount_v2(&count), NVML_SUCCESS);
    assert_int_equal(count, 2);
    assert_int_equal(rig->nvmlDeviceGetName(rig_device(rig, 1), name, sizeof(name)), NVML_SUCCESS);
    assert_string_equal(name, "NVIDIA GeForce RTX 3090");
    rig_close(rig);
    assert_int_equal(unsetenv("VRAM_SIM"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_generations__have_their_entry_sizes),
        TEST(test_generations__write_small_entries_when_told_to),
        TEST(test_generations__tell_a_version_of_their_own),
        TEST(test_generations__list_details_from_535_104),
        TEST(test_generations__are_those_of_a_program_that_knows_nothing_of_them),
    };
    return cmocka_run_group_tests(tests, rig_group_set_up, rig_group_tear_down);
}
