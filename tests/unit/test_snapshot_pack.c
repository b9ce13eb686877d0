/* SPDX-License-Identifier: MIT */
/* Snapshots as bytes: all of it comes back, and no other bytes are a snapshot. */
#include "common/size.h"
#include "tests/unit/make_snapshot.h"
#include "tests/unit/unit.h"

#include <errno.h>

static struct vram_snapshot *snapshot;
static unsigned char *bytes;
static size_t size;

/* Everything that a snapshot may have is in it, each figure another number. */
static void fill(void)
{
    struct vram_gpu gpus[2] = {0};
    struct vram_process processes[2] = {
        {11, VRAM_PROCESS_COMPUTE, 12, "python3", "python3 x.py", "ada", "c0ffee", "x.service",
         "8f14e45fceea167a", 13, true},
        {14, VRAM_PROCESS_GRAPHICS, VRAM_UNKNOWN, "Xorg", NULL, NULL, NULL, NULL, NULL, 12, false},
    };
    struct vram_problem problem = {"GPU-1", "memory", "driver_hung", "has not returned"};
    gpus[0] = (struct vram_gpu){
        .index = 3,
        .state = VRAM_GPU_HUNG,
        .memory_kind = VRAM_MEMORY_MIG,
        .pool = 7,
        .uuid = "MIG-1",
        .name = "Card",
        .pci = "0000:01:00.0",
        .parent_uuid = "GPU-1",
        .mig_index = 100,
        .gpu_instance_id = 101,
        .compute_instance_id = 102,
        .total_bytes = 103,
        .used_bytes = 104,
        .free_bytes = 105,
        .driver_reserved_bytes = 106,
        .unattributed_bytes = 107,
        .outstanding_bytes = 108,
        .temperature_c = 109,
        .utilization_percent = 110,
        .age_ms = 111,
        .used_includes_reserved = true,
        .processes_known = true,
        .process_count = 2,
        .processes = processes,
        .own_outstanding_bytes = 112,
        .ceiling_bytes = 113,
        .drained = true,
    };
    struct snapshot_view view = {
        .taken_at_ns = MACHINE_CLOCK_NS,
        .waiters = 21,
        .epoch = 22,
        .driver = {"sim", "550.54.14", "12.4", "/lib/libtest.so"},
        .gpu_count = 2,
        .problem_count = 1,
        .gpus = gpus,
        .problems = &problem,
    };
    assert_int_equal(snapshot_copy(&view, &snapshot), 0);
}

static int set_up(void **state)
{
    (void)state;
    fill();
    assert_int_equal(vram_snapshot_pack(snapshot, (void **)&bytes, &size), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    snapshot = vram_snapshot_unref(snapshot);
    free(bytes);
    return 0;
}

static void expect_refused(const void *data, size_t length)
{
    struct vram_snapshot *none = NULL;
    assert_int_equal(vram_snapshot_unpack(data, length, &none), -EBADMSG);
    assert_null(none);
}

static void test_snapshot_pack__everything_comes_back(void **state)
{
    struct vram_snapshot *again;
    void *repeated;
    size_t repeated_size;
    (void)state;
    assert_int_equal(vram_snapshot_unpack(bytes, size, &again), 0);
    const struct vram_gpu *gpu = vram_snapshot_gpu(again, 0);
    assert_int_equal(vram_snapshot_taken_at_ns(again), MACHINE_CLOCK_NS);
    assert_int_equal(vram_snapshot_waiters(again), 21);
    assert_int_equal(vram_snapshot_epoch(again), 22);
    assert_string_equal(vram_snapshot_driver(again)->library, "/lib/libtest.so");
    assert_int_equal(vram_snapshot_gpu_count(again), 2);
    assert_int_equal(gpu->index, 3);
    assert_int_equal(gpu->pool, 7);
    assert_int_equal(gpu->own_outstanding_bytes, 112);
    assert_int_equal(gpu->ceiling_bytes, 113);
    assert_true(gpu->drained);
    assert_int_equal(gpu->processes[0].pid, 11);
    assert_string_equal(gpu->processes[0].lease, "8f14e45fceea167a");
    assert_true(gpu->processes[0].visible);
    assert_null(gpu->processes[1].user);
    assert_string_equal(vram_snapshot_problem(again, 0)->message, "has not returned");
    char *before, *after;
    assert_int_equal(vram_snapshot_json(snapshot, NULL, 0, &before), 0);
    assert_int_equal(vram_snapshot_json(again, NULL, 0, &after), 0);
    assert_string_equal(before, after);
    free(before);
    free(after);
    assert_int_equal(vram_snapshot_pack(again, &repeated, &repeated_size), 0);
    assert_int_equal(repeated_size, size);
    assert_memory_equal(repeated, bytes, size);
    free(repeated);
    (void)vram_snapshot_unref(again);
}

static void test_snapshot_pack__an_empty_one_comes_back(void **state)
{
    const struct snapshot_view nothing = {.waiters = VRAM_UNKNOWN};
    struct vram_snapshot *empty, *again;
    void *packed;
    size_t packed_size;
    (void)state;
    assert_int_equal(snapshot_copy(&nothing, &empty), 0);
    assert_int_equal(vram_snapshot_pack(empty, &packed, &packed_size), 0);
    assert_int_equal(vram_snapshot_unpack(packed, packed_size, &again), 0);
    assert_int_equal(vram_snapshot_gpu_count(again), 0);
    assert_null(vram_snapshot_driver(again)->kind);
    assert_int_equal(vram_snapshot_waiters(again), VRAM_UNKNOWN);
    free(packed);
    (void)vram_snapshot_unref(empty);
    (void)vram_snapshot_unref(again);
}

static void test_snapshot_pack__every_cut_is_refused(void **state)
{
    (void)state;
    for (size_t length = 0; length < size; length++) {
        void *cut =
            malloc(length ? length : 1); /* of its own size, so that a read beyond is seen */
        assert_non_null(cut);
        memcpy(cut, bytes, length);
        expect_refused(cut, length);
        free(cut);
    }
    unsigned char *longer = calloc(1, size + 8);
    assert_non_null(longer);
    memcpy(longer, bytes, size);
    expect_refused(longer, size + 8);
    free(longer);
}

/* Each bit in turn: refused, or a snapshot that can be read. */
static void test_snapshot_pack__every_flipped_bit_is_survived(void **state)
{
    size_t refused = 0;
    (void)state;
    for (size_t bit = 0; bit < size * 8; bit++) {
        struct vram_snapshot *odd = NULL;
        char *text;
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        int r = vram_snapshot_unpack(bytes, size, &odd);
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        if (r == 0) {
            assert_int_equal(vram_snapshot_json(odd, NULL, 0, &text), 0);
            free(text);
            (void)vram_snapshot_unref(odd);
        } else {
            assert_int_equal(r, -EBADMSG);
            refused++;
        }
    }
    assert_true(refused > sizeof("vramsnp") * 8);
}

int main(void)
{
#define MADE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        MADE(test_snapshot_pack__everything_comes_back),
        MADE(test_snapshot_pack__an_empty_one_comes_back),
        MADE(test_snapshot_pack__every_cut_is_refused),
        MADE(test_snapshot_pack__every_flipped_bit_is_survived),
    };
    return cmocka_run_group_tests_name("snapshot_pack", tests, NULL, NULL);
}
