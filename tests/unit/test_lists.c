/* SPDX-License-Identifier: MIT */
/* NVML's process lists: how large an entry is, and lists as drivers of all kinds answer them. */
#include "tests/unit/fake_root.h"
#include "tests/unit/unit.h"

#include "common/text.h"
#include "lib/source/nvml.h"
#include <errno.h>
#include <stdio.h>

#define MOST 4000

/* ---- A driver -------------------------------------------------------------------------------- */

struct entry {
    uint32_t pid;
    uint64_t used;
};

/* One of its lists, and how it answers. */
struct list {
    struct entry entries[MOST];
    uint32_t count;
    unsigned entry_size;
    nvml_ret code;
    bool hides_count;  /* says 0 where the buffer is too small */
    bool outdoes_room; /* says "success" and a count beyond the buffer */
    unsigned calls;
};

static struct list lists[3][3]; /* by what they list, by generation */

/* The sampler's part: counts what is entered, and gives up at the n-th. */
struct source_watch {
    unsigned entered, give_up_at;
    bool inside;
};

static struct source_watch watch;

bool watch_enter(struct source_watch *w, size_t device, const char *call)
{
    assert_int_equal(device, 5);
    assert_non_null(call);
    assert_false(w->inside);
    w->inside = true;
    return true;
}

bool watch_leave(struct source_watch *w)
{
    assert_true(w->inside);
    w->inside = false;
    return ++w->entered != w->give_up_at;
}

/* The driver writes all of an entry, whatever its size; behind the known fields zeros. */
static void write_entry(unsigned char *at, const struct entry *entry, unsigned size)
{
    struct nvml_process_32 whole = {.pid = entry->pid,
                                    .used_bytes = entry->used,
                                    .gpu_instance = NVML_NO_INSTANCE,
                                    .compute_instance = NVML_NO_INSTANCE};
    memcpy(at, &whole, size);
}

static nvml_ret answer(struct list *list, uint32_t *count, void *buffer)
{
    uint32_t room = *count;
    list->calls++;
    if (list->code != NVML_SUCCESS) {
        return list->code;
    }
    if (list->count > room && !list->outdoes_room) {
        *count = list->hides_count ? 0 : list->count;
        return NVML_INSUFFICIENT_SIZE;
    }
    *count = list->count;
    for (uint32_t i = 0; i < list->count && i < room; i++) {
        write_entry((unsigned char *)buffer + (size_t)i * list->entry_size, &list->entries[i],
                    list->entry_size);
    }
    return NVML_SUCCESS;
}

#define LIST(what, generation, name)                                                               \
    static nvml_ret name(nvml_device device, uint32_t *count, void *buffer)                        \
    {                                                                                              \
        (void)device;                                                                              \
        return answer(&lists[what][generation], count, buffer);                                    \
    }

LIST(NVML_LIST_COMPUTE, 0, compute_1)
LIST(NVML_LIST_COMPUTE, 1, compute_2)
LIST(NVML_LIST_COMPUTE, 2, compute_3)
LIST(NVML_LIST_GRAPHICS, 2, graphics_3)
LIST(NVML_LIST_MPS, 2, mps_3)

static nvml_ret name_of(uint32_t pid, char *name, uint32_t size)
{
    if (pid == 9) {
        return NVML_NOT_FOUND;
    }
    (void)text_copy(name, size, pid == 8 ? "Xorg" : "/usr/bin/python3");
    return NVML_SUCCESS;
}

/* ---- Around it ------------------------------------------------------------------------------- */

static struct nvml nvml;
static struct nvml_gpu state_of_gpu;
static struct source_gpu gpu;
static const char *root;

static int set_up(void **state)
{
    (void)state;
    memset(lists, 0, sizeof(lists));
    for (int what = 0; what < 3; what++) {
        for (unsigned generation = 0; generation < 3; generation++) {
            lists[what][generation].entry_size = generation ? 24 : 16;
        }
    }
    watch = (struct source_watch){0};
    state_of_gpu = (struct nvml_gpu){0};
    nvml = (struct nvml){0};
    nvml.api.compute_v1 = compute_1;
    nvml.api.compute_v2 = compute_2;
    nvml.api.compute_v3 = compute_3;
    nvml.api.graphics_v3 = graphics_3;
    nvml.api.mps_v3 = mps_3;
    nvml.api.names.compute_v1 = "compute_v1";
    nvml.api.names.compute_v2 = "compute_v2";
    nvml.api.names.compute_v3 = "compute_v3";
    nvml.api.names.graphics_v3 = "graphics_v3";
    nvml.api.names.mps_v3 = "mps_v3";
    nvml.api.names.process_name = "process_name";
    root = fake_root_make();
    (void)text_copy(nvml.root, sizeof(nvml.root), root);
    source_gpu_init(&gpu);
    gpu.total_bytes = 24 * GIB;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    source_gpu_done(&gpu);
    nvml_lists_done(&state_of_gpu);
    fake_root_remove(root);
    return 0;
}

static void list_add(enum nvml_list what, unsigned generation, uint32_t pid, uint64_t used)
{
    struct list *list = &lists[what][generation - 1];
    assert_true(list->count < MOST);
    list->entries[list->count++] = (struct entry){pid, used};
}

static int read_lists(void)
{
    source_gpu_done(&gpu);
    gpu.total_bytes = 24 * GIB;
    int r = nvml_lists_read(&nvml, &state_of_gpu, 5, NULL, &gpu, &watch);
    return r < 0 ? r : nvml_lists_name(&nvml, &state_of_gpu, 5, &gpu, &watch);
}

static void expect_process(size_t i, uint32_t pid, uint32_t kind, uint64_t used)
{
    assert_true(i < gpu.process_count);
    assert_int_equal(gpu.processes[i].pid, pid);
    assert_int_equal(gpu.processes[i].kind, kind);
    assert_int_equal(gpu.processes[i].used_bytes, used);
}

static void expect_problem(const char *code)
{
    assert_non_null(gpu.problems);
    assert_string_equal(gpu.problems->what, "processes");
    assert_string_equal(gpu.problems->code, code);
    assert_null(gpu.problems->next);
}

/* ---- Entry sizes ----------------------------------------------------------------------------- */

/* A buffer as a call leaves it: filled, with so many entries written over its beginning. */
static void fill(unsigned char *buffer, size_t size, uint32_t count, unsigned entry_size,
                 uint64_t used)
{
    memset(buffer, NVML_FILL, size);
    for (uint32_t i = 0; i < count; i++) {
        write_entry(buffer + (size_t)i * entry_size, &(struct entry){1000 + i, used}, entry_size);
    }
}

static void test_lists__sees_the_size_of_an_entry(void **state)
{
    static const unsigned sizes[] = {16, 24, 32};
    static const uint64_t amounts[] = {0, 1, GIB, NVML_NOT_AVAILABLE, 0x00A5A5A5A5A5A5A5};
    unsigned char buffer[100 * 32 + 64];
    (void)state;
    for (size_t s = 0; s < ARRAY_LENGTH(sizes); s++) {
        for (size_t a = 0; a < ARRAY_LENGTH(amounts); a++) {
            for (uint32_t count = 1; count <= 100; count++) {
                fill(buffer, sizeof(buffer), count, sizes[s], amounts[a]);
                unsigned seen = nvml_entry_size(buffer, sizeof(buffer), count);
                if (seen != sizes[s]) {
                    fail_msg("%u entries of %u bytes: seen as %u", count, sizes[s], seen);
                }
            }
        }
    }
}

/* A driver that leaves padding alone writes less than the entry; its end is told all the same. */
static void test_lists__rounds_up_to_the_padding(void **state)
{
    unsigned char buffer[256];
    (void)state;
    for (unsigned size = 16; size <= 32; size += 8) {
        memset(buffer, NVML_FILL, sizeof(buffer));
        memset(buffer, 0, 2 * size - 4);
        assert_int_equal(nvml_entry_size(buffer, sizeof(buffer), 2), size);
    }
}

static void test_lists__does_not_guess(void **state)
{
    unsigned char buffer[256];
    (void)state;
    fill(buffer, sizeof(buffer), 3, 24, 5);
    assert_int_equal(nvml_entry_size(buffer, sizeof(buffer), 0), 0);
    assert_int_equal(nvml_entry_size(buffer, sizeof(buffer), 2), 0); /* 36 each */
    assert_int_equal(nvml_entry_size(buffer, sizeof(buffer), 4), 0); /* 18 each */
    assert_int_equal(nvml_entry_size(buffer, sizeof(buffer), UINT32_MAX), 0);
    memset(buffer, NVML_FILL, sizeof(buffer));
    assert_int_equal(nvml_entry_size(buffer, sizeof(buffer), 1), 0); /* nothing was written */
    memset(buffer, 0, 8);
    assert_int_equal(nvml_entry_size(buffer, sizeof(buffer), 1), 0);
    memset(buffer, 0, 40);
    assert_int_equal(nvml_entry_size(buffer, sizeof(buffer), 1), 0);
    memset(buffer, 0, 50);
    assert_int_equal(nvml_entry_size(buffer, sizeof(buffer), 2), 0); /* 28 each */
    assert_int_equal(nvml_entry_size(buffer, 0, 1), 0);
    assert_int_equal(nvml_entry_size(buffer, 0, 0), 0);
}

/* ---- Lists ----------------------------------------------------------------------------------- */

static void test_lists__merges_what_is_one_process(void **state)
{
    (void)state;
    list_add(NVML_LIST_COMPUTE, 3, 7, GIB);
    list_add(NVML_LIST_COMPUTE, 3, 8, VRAM_UNKNOWN);
    list_add(NVML_LIST_COMPUTE, 3, 9, 5);
    list_add(NVML_LIST_GRAPHICS, 3, 7, 2 * GIB);
    list_add(NVML_LIST_GRAPHICS, 3, 8, 3);
    list_add(NVML_LIST_GRAPHICS, 3, 9, VRAM_UNKNOWN);
    list_add(NVML_LIST_MPS, 3, 7, GIB);
    list_add(NVML_LIST_MPS, 3, 10, 0);
    assert_int_equal(read_lists(), 0);
    assert_true(gpu.processes_known);
    assert_int_equal(gpu.process_count, 4);
    expect_process(0, 7, VRAM_PROCESS_COMPUTE | VRAM_PROCESS_GRAPHICS | VRAM_PROCESS_MPS, 2 * GIB);
    expect_process(1, 8, VRAM_PROCESS_COMPUTE | VRAM_PROCESS_GRAPHICS, 3);
    expect_process(2, 9, VRAM_PROCESS_COMPUTE | VRAM_PROCESS_GRAPHICS, 5);
    expect_process(3, 10, VRAM_PROCESS_MPS, 0);
    assert_null(gpu.problems);
}

static void test_lists__an_empty_list_is_a_known_one(void **state)
{
    (void)state;
    assert_int_equal(read_lists(), 0);
    assert_true(gpu.processes_known);
    assert_int_equal(gpu.process_count, 0);
    assert_null(gpu.problems);
}

static void test_lists__reads_every_size(void **state)
{
    static const unsigned sizes[] = {16, 24, 32};
    (void)state;
    list_add(NVML_LIST_COMPUTE, 3, 7, GIB);
    list_add(NVML_LIST_COMPUTE, 3, 8, VRAM_UNKNOWN);
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        lists[NVML_LIST_COMPUTE][2].entry_size = sizes[i];
        nvml.api.entries_of_32 = sizes[i] == 32;
        assert_int_equal(read_lists(), 0);
        expect_process(0, 7, VRAM_PROCESS_COMPUTE, GIB);
        expect_process(1, 8, VRAM_PROCESS_COMPUTE, VRAM_UNKNOWN);
        assert_int_equal(state_of_gpu.lists[NVML_LIST_COMPUTE].entry_size, sizes[i]);
        assert_true(state_of_gpu.lists[NVML_LIST_COMPUTE].entry_size_checked);
        if (sizes[i] == 16) { /* unlike its generation: believed, and told */
            expect_problem("entry_size");
        } else {
            assert_null(gpu.problems);
        }
    }
}

static void test_lists__believes_no_absurd_amount(void **state)
{
    (void)state;
    list_add(NVML_LIST_COMPUTE, 3, 7, 24 * GIB);
    list_add(NVML_LIST_COMPUTE, 3, 8, 24 * GIB + 1);
    list_add(NVML_LIST_COMPUTE, 3, 9, UINT64_MAX - 1);
    assert_int_equal(read_lists(), 0);
    expect_process(0, 7, VRAM_PROCESS_COMPUTE, 24 * GIB);
    expect_process(1, 8, VRAM_PROCESS_COMPUTE, VRAM_UNKNOWN);
    expect_process(2, 9, VRAM_PROCESS_COMPUTE, VRAM_UNKNOWN);
    expect_problem("driver_error");
}

static void test_lists__grows_until_all_fit(void **state)
{
    static const uint32_t counts[] = {63, 64, 65, 200, 950, 2000};
    (void)state;
    for (int hides = 0; hides < 2; hides++) {
        lists[NVML_LIST_COMPUTE][2].count = 0;
        lists[NVML_LIST_COMPUTE][2].hides_count = hides;
        for (size_t i = 0; i < ARRAY_LENGTH(counts); i++) {
            while (lists[NVML_LIST_COMPUTE][2].count < counts[i]) {
                list_add(NVML_LIST_COMPUTE, 3, 1 + lists[NVML_LIST_COMPUTE][2].count, MIB);
            }
            nvml_lists_done(&state_of_gpu); /* as at the first question */
            assert_int_equal(read_lists(), 0);
            assert_int_equal(gpu.process_count, counts[i]);
            expect_process(counts[i] - 1, counts[i], VRAM_PROCESS_COMPUTE, MIB);
        }
    }
    lists[NVML_LIST_COMPUTE][2].calls = 0;
    assert_int_equal(read_lists(), 0);
    assert_int_equal(lists[NVML_LIST_COMPUTE][2].calls, 1); /* the room is kept for the next time */
}

static void test_lists__does_not_grow_for_ever(void **state)
{
    (void)state;
    lists[NVML_LIST_COMPUTE][2].code = NVML_INSUFFICIENT_SIZE;
    assert_int_equal(read_lists(), 0);
    assert_false(gpu.processes_known);
    expect_problem("insufficient_size");
    assert_true(lists[NVML_LIST_COMPUTE][2].calls < 20);
}

static void test_lists__reads_no_further_than_its_buffer(void **state)
{
    (void)state;
    for (uint32_t pid = 1; pid <= 100; pid++) {
        list_add(NVML_LIST_COMPUTE, 3, pid, MIB);
    }
    lists[NVML_LIST_COMPUTE][2].outdoes_room = true;
    assert_int_equal(read_lists(), 0);
    assert_int_equal(gpu.process_count, 64);
    expect_process(63, 64, VRAM_PROCESS_COMPUTE, MIB);
    expect_problem("driver_error");
}

/* ---- Ladders and failures -------------------------------------------------------------------- */

static void test_lists__goes_down_the_ladder_once(void **state)
{
    (void)state;
    lists[NVML_LIST_COMPUTE][2].code = NVML_FUNCTION_NOT_FOUND;
    lists[NVML_LIST_COMPUTE][1].code = NVML_ARGUMENT_VERSION_MISMATCH;
    list_add(NVML_LIST_COMPUTE, 1, 7, GIB);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(read_lists(), 0);
        expect_process(0, 7, VRAM_PROCESS_COMPUTE, GIB);
        assert_null(gpu.problems);
    }
    assert_int_equal(lists[NVML_LIST_COMPUTE][2].calls, 1); /* not asked again and again */
    assert_int_equal(lists[NVML_LIST_COMPUTE][1].calls, 1);
    assert_string_equal(nvml_list_name(&nvml.api, NVML_LIST_COMPUTE, 0), "compute_v3");
    assert_string_equal(nvml_list_name(&nvml.api, NVML_LIST_COMPUTE, 2), "compute_v1");
    assert_null(nvml_list_name(&nvml.api, NVML_LIST_COMPUTE, 3));
}

static void test_lists__knows_nothing_below_the_last_rung(void **state)
{
    (void)state;
    for (int generation = 0; generation < 3; generation++) {
        lists[NVML_LIST_COMPUTE][generation].code = NVML_FUNCTION_NOT_FOUND;
    }
    assert_int_equal(read_lists(), 0);
    assert_false(gpu.processes_known);
}

static void test_lists__a_failing_list_hides_no_other(void **state)
{
    (void)state;
    lists[NVML_LIST_COMPUTE][2].code = NVML_NO_PERMISSION;
    list_add(NVML_LIST_GRAPHICS, 3, 8, GIB);
    assert_int_equal(read_lists(), 0);
    assert_false(gpu.processes_known);
    expect_problem("no_permission");
    lists[NVML_LIST_COMPUTE][2].code = NVML_SUCCESS;
    lists[NVML_LIST_MPS][2].code = NVML_UNKNOWN;
    assert_int_equal(read_lists(), 0);
    assert_true(gpu.processes_known);
    expect_process(0, 8, VRAM_PROCESS_GRAPHICS, GIB);
    expect_problem("unknown_error");
}

static void test_lists__some_cards_have_no_graphics(void **state)
{
    (void)state;
    lists[NVML_LIST_GRAPHICS][2].code = NVML_NOT_SUPPORTED;
    nvml.api.mps_v3 = NULL;
    list_add(NVML_LIST_COMPUTE, 3, 7, GIB);
    assert_int_equal(read_lists(), 0);
    assert_true(gpu.processes_known);
    assert_null(gpu.problems);
}

static void test_lists__tells_a_lost_gpu_from_a_lost_driver(void **state)
{
    (void)state;
    lists[NVML_LIST_COMPUTE][2].code = NVML_GPU_IS_LOST;
    assert_int_equal(read_lists(), 0);
    assert_int_equal(gpu.state, VRAM_GPU_LOST);
    assert_int_equal(lists[NVML_LIST_GRAPHICS][2].calls, 0);
    lists[NVML_LIST_COMPUTE][2].code = NVML_UNINITIALIZED;
    assert_int_equal(read_lists(), -EAGAIN);
}

/* At each call: the pass ends there, and nothing more is asked. */
static void test_lists__stops_where_it_is_given_up(void **state)
{
    (void)state;
    nvml.api.process_name = name_of;
    list_add(NVML_LIST_COMPUTE, 3, 7, GIB);
    for (unsigned at = 1; at <= 4; at++) {
        watch = (struct source_watch){.give_up_at = at};
        assert_int_equal(read_lists(), -ECANCELED);
        assert_int_equal(watch.entered, at);
    }
    watch = (struct source_watch){.give_up_at = 5};
    assert_int_equal(read_lists(), 0); /* three lists and a name */
}

static void test_lists__asks_the_driver_for_strangers_names(void **state)
{
    (void)state;
    nvml.api.process_name = name_of;
    fake_root_process(root, 7, "python3", 1, 0);
    for (uint32_t pid = 7; pid <= 10; pid++) {
        list_add(NVML_LIST_COMPUTE, 3, pid, MIB);
    }
    assert_int_equal(read_lists(), 0);
    assert_null(gpu.processes[0].name); /* /proc will tell */
    assert_string_equal(gpu.processes[1].name, "Xorg");
    assert_null(gpu.processes[2].name);                    /* the driver knows no better */
    assert_string_equal(gpu.processes[3].name, "python3"); /* of a path its end */
    nvml.pids_are_foreign = true;
    assert_int_equal(read_lists(), 0);
    assert_true(gpu.pids_are_foreign);
    assert_string_equal(gpu.processes[0].name, "python3"); /* our 7 is another */
}

static void test_lists__looks_for_no_process_twice(void **state)
{
    (void)state;
    nvml.api.process_name = name_of;
    fake_root_process(root, 10, "python3", 1, 0);
    list_add(NVML_LIST_COMPUTE, 3, 8, MIB);
    list_add(NVML_LIST_COMPUTE, 3, 10, MIB);
    assert_int_equal(read_lists(), 0);
    fake_root_delete(root, "/proc/10");
    assert_int_equal(read_lists(), 0);
    assert_string_equal(gpu.processes[0].name, "Xorg");
    assert_null(gpu.processes[1].name); /* it was there just now */
    state_of_gpu.shown.since_ns = 0;
    assert_int_equal(read_lists(), 0);
    assert_string_equal(gpu.processes[1].name, "python3"); /* and is not after a while */
    fake_root_process(root, 10, "python3", 1, 0);
    assert_int_equal(read_lists(), 0);
    assert_null(gpu.processes[1].name);
}

int main(void)
{
#define MADE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_lists__sees_the_size_of_an_entry),
        TEST(test_lists__rounds_up_to_the_padding),
        TEST(test_lists__does_not_guess),
        MADE(test_lists__merges_what_is_one_process),
        MADE(test_lists__an_empty_list_is_a_known_one),
        MADE(test_lists__reads_every_size),
        MADE(test_lists__believes_no_absurd_amount),
        MADE(test_lists__grows_until_all_fit),
        MADE(test_lists__does_not_grow_for_ever),
        MADE(test_lists__reads_no_further_than_its_buffer),
        MADE(test_lists__goes_down_the_ladder_once),
        MADE(test_lists__knows_nothing_below_the_last_rung),
        MADE(test_lists__a_failing_list_hides_no_other),
        MADE(test_lists__some_cards_have_no_graphics),
        MADE(test_lists__tells_a_lost_gpu_from_a_lost_driver),
        MADE(test_lists__stops_where_it_is_given_up),
        MADE(test_lists__asks_the_driver_for_strangers_names),
        MADE(test_lists__looks_for_no_process_twice),
    };
    return cmocka_run_group_tests_name("lists", tests, NULL, NULL);
}
