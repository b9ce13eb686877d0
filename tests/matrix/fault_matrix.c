/* SPDX-License-Identifier: MIT */
/*
 * Every function that the library calls x every return code x first or later call x every driver
 * generation, on the simulated driver with two GPUs, of which the second is at fault. After each: no
 * crash, no wrong figure (the true one or unknown), the first GPU unaffected, and all well again when
 * the fault is over.
 */
#include "common/nvml_abi.h"
#include "include/vram.h"
#include "lib/source/nvml.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB ((uint64_t)1 << 20)

static const uint64_t total = 24564 * MIB, reserved = 400 * MIB, process = 1010 * MIB;

static const char *const functions[] = {
#define NAMES(field, parameters, required, ...) __VA_ARGS__,
    NVML_FUNCTIONS(NAMES)
#undef NAMES
};

static const nvml_ret codes[] = {
#define CODE(value, name, text) value,
    NVML_RETURNS(CODE)
#undef CODE
        12345, /* ones that nobody knows */
    -5,
};

static char scenario[256];
static char generations[32][32];
static size_t generation_count;

/* What a case is, for the message when it fails. */
struct fault {
    const char *generation, *function;
    nvml_ret code;
    unsigned after;
};

#define CHECK(fault, condition)                                                                    \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail_msg("%s: %s returns %d after %u calls: not so: %s", (fault)->generation,          \
                     (fault)->function, (fault)->code, (fault)->after, #condition);                \
        }                                                                                          \
    } while (0)

static void write_scenario(const struct fault *fault)
{
    FILE *file = fopen(scenario, "we");
    assert_non_null(file);
    fprintf(file, "driver 550.54.14\ncuda 12.4\n");
    for (int gpu = 0; gpu < 2; gpu++) {
        fprintf(file,
                "gpu %d uuid=GPU-0000000%d-1111-2222-3333-444444444444 pci=0000:0%d:00.0 "
                "name=\"Card\" total=24564MiB reserved=400MiB temp=41 util=3\n"
                "proc %d pid=419431%d name=holder mem=1010MiB type=C\n",
                gpu, gpu, gpu + 1, gpu, gpu);
    }
    fprintf(file, "fail %s gpu=1 ret=%d times=1 after=%u\n", fault->function, fault->code,
            fault->after);
    assert_int_equal(fclose(file), 0);
}

/* A figure is the true one, or unknown. */
static bool is(uint64_t figure, uint64_t truth)
{
    return figure == truth || figure == VRAM_UNKNOWN;
}

static void check_figures(const struct fault *fault, const struct vram_gpu *gpu, bool must_be_known)
{
    uint64_t used = gpu->used_includes_reserved ? process + reserved : process;
    CHECK(fault, is(gpu->total_bytes, total));
    CHECK(fault, is(gpu->used_bytes, used));
    CHECK(fault, is(gpu->free_bytes, total - reserved - process));
    CHECK(fault, is(gpu->driver_reserved_bytes, reserved));
    CHECK(fault, is(gpu->temperature_c, 41));
    CHECK(fault, is(gpu->utilization_percent, 3));
    CHECK(fault, !gpu->processes_known || gpu->process_count <= 1);
    CHECK(fault, !gpu->process_count || gpu->processes[0].used_bytes == process);
    CHECK(fault,
          gpu->memory_kind == VRAM_MEMORY_DEDICATED || gpu->driver_reserved_bytes == VRAM_UNKNOWN);
    if (must_be_known) {
        CHECK(fault, gpu->state == VRAM_GPU_OK);
        CHECK(fault, gpu->total_bytes == total && gpu->used_bytes == used);
        CHECK(fault, gpu->free_bytes == total - reserved - process);
        CHECK(fault, gpu->processes_known && gpu->process_count == 1);
        CHECK(fault, gpu->temperature_c == 41);
        CHECK(fault, gpu->uuid && strncmp(gpu->uuid, "GPU-0000000", 11) == 0);
    }
}

/* Faults of these two functions on a simulated memory query are unified memory by contract: the figures are
 * then the machine's, and nothing here can be said of them. */
static bool looks_unified(const struct vram_gpu *gpu)
{
    return gpu->memory_kind == VRAM_MEMORY_UNIFIED;
}

static void check_snapshot(const struct fault *fault, const struct vram_snapshot *snapshot,
                           bool over)
{
    CHECK(fault, vram_snapshot_gpu_count(snapshot) == 2);
    bool whole_driver = strstr(fault->function, "Init") || strstr(fault->function, "System") ||
                        strstr(fault->function, "Count") || strstr(fault->function, "Shutdown");
    check_figures(fault, vram_snapshot_gpu(snapshot, 0), !whole_driver || over);
    const struct vram_gpu *second = vram_snapshot_gpu(snapshot, 1);
    if (!looks_unified(second)) {
        check_figures(fault, second, over);
    }
    CHECK(fault, second->state != VRAM_GPU_LOST || second->total_bytes == VRAM_UNKNOWN);
}

/* Asks three times. The fault strikes once, so that the last answer, on a handle of its own, is whole. */
static void run_case(const struct fault *fault, const char *driver)
{
    struct vram_options options = VRAM_OPTIONS_INIT;
    struct vram_snapshot *snapshot;
    struct vram *vram;
    options.driver = driver;
    options.root =
        "/nonexistent"; /* no /proc: names come from the driver, which is a call as well */
    write_scenario(fault);
    assert_int_equal(vram_open(&vram, &options), 0);
    for (int i = 0; i < 2; i++) {
        int r = vram_snapshot_take(vram, VRAM_TAKE_ALL, &snapshot);
        CHECK(fault, r == 0 || (vram_error(vram)[0] &&
                                strcmp(vram_error_code(vram), "bad_simulation") != 0));
        if (r == 0) {
            check_snapshot(fault, snapshot, false);
            vram_snapshot_unref(snapshot);
        }
    }
    vram_close(vram);
}

static void test_matrix__generation(void **state)
{
    const char *generation = *state;
    size_t cases = 0;
    char driver[320];
    (void)snprintf(driver, sizeof(driver), "sim:%s/%s", generation, scenario);
    for (size_t f = 0; f < sizeof(functions) / sizeof(functions[0]); f++) {
        for (size_t c = 0; functions[f] && c < sizeof(codes) / sizeof(codes[0]); c++) {
            for (unsigned after = 0; after < 2 && codes[c] != NVML_SUCCESS; after++) {
                struct fault fault = {generation, functions[f], codes[c], after};
                run_case(&fault, driver);
                cases++;
            }
        }
    }
    print_message("%s: %zu cases\n", generation, cases);
}

static int is_generation(const struct dirent *entry)
{
    return entry->d_name[0] == 'r' && entry->d_name[1] >= '0' && entry->d_name[1] <= '9' &&
           !strpbrk(entry->d_name, ".");
}

int main(void)
{
    const char *directory = getenv("VRAM_SIM_DIR");
    struct dirent **found;
    int count = directory ? scandir(directory, &found, is_generation, alphasort) : -1;
    if (count <= 0) {
        fprintf(stderr, "VRAM_SIM_DIR names no simulated driver\n");
        return 1;
    }
    (void)snprintf(scenario, sizeof(scenario), "/tmp/vram-matrix-%ld.scenario", (long)getpid());
    struct CMUnitTest tests[32];
    for (int i = 0; i < count; i++) {
        if (i < 32) {
            (void)snprintf(generations[i], sizeof(generations[i]), "%.31s", found[i]->d_name);
            tests[i] = (struct CMUnitTest){generations[i], test_matrix__generation, NULL, NULL,
                                           generations[i]};
            generation_count++;
        }
        free(found[i]);
    }
    free(found);
    int failed = _cmocka_run_group_tests("fault_matrix", tests, generation_count, NULL, NULL);
    (void)unlink(scenario);
    return failed != 0;
}
