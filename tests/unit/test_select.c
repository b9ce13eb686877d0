/* SPDX-License-Identifier: MIT */
/* Which GPUs a person means, and which ones CUDA shows. */
#include "tests/unit/make_snapshot.h"
#include "tests/unit/unit.h"

#include "common/text.h"
#include <errno.h>
#include <stdio.h>

#define MOST 8
#define UNTOUCHED 4711

static struct machine *machine;
static struct vram_snapshot *snapshot;

/*
 * 0 GPU-5042a1…   0000:01:00.0   RTX 3090
 * 1 GPU-5042b2…   0000:02:00.0   RTX 3090
 * 2 GPU-77777777… 00010000:c1:00.0   RTX 3090
 * 3 card 3's MIG-1aaa… (3:0), 4 its MIG-2bbb… (3:1), both of GPU-99999999…, 0000:a1:00.0, H100
 */
static int set_up(void **state)
{
    static const char *const uuids[] = {
        "GPU-5042a1b2-1111-2222-3333-444444444444",
        "GPU-5042b200-1111-2222-3333-444444444444",
        "GPU-77777777-1111-2222-3333-444444444444",
        "GPU-99999999-1111-2222-3333-444444444444",
    };
    static const char *const addresses[] = {"0000:01:00.0", "0000:02:00.0", "10000:c1:00.0",
                                            "0000:a1:00.0"};
    (void)state;
    machine = machine_new(NULL);
    for (size_t i = 0; i < ARRAY_LENGTH(uuids); i++) {
        struct source_gpu *gpu = machine_card(machine, 24 * GIB, 0, 0);
        (void)text_copy(gpu->uuid, sizeof(gpu->uuid), uuids[i]);
        (void)text_copy(gpu->pci, sizeof(gpu->pci), addresses[i]);
        (void)text_copy(gpu->name, sizeof(gpu->name), i < 3 ? "RTX 3090" : "H100");
    }
    struct source_gpu *instance = machine_instance(machine, 1, 0, 40 * GIB, 0);
    (void)text_copy(instance->uuid, sizeof(instance->uuid),
                    "MIG-1aaa0000-1111-2222-3333-444444444444");
    instance = machine_instance(machine, 2, 0, 40 * GIB, 0);
    (void)text_copy(instance->uuid, sizeof(instance->uuid),
                    "MIG-2bbb0000-1111-2222-3333-444444444444");
    snapshot = machine_snapshot(machine, VRAM_TAKE_ALL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    snapshot = vram_snapshot_unref(snapshot);
    machine_free(machine);
    return 0;
}

struct select_case {
    const char *text, *order;
    int result;
    size_t positions[MOST];
};

/* The result, with every capacity from none to more than enough; positions are written up to it, and on failure
 * none is. */
static void check(const struct select_case *c, bool visible)
{
    for (size_t capacity = 0; capacity <= MOST; capacity++) {
        size_t positions[MOST];
        for (size_t i = 0; i < MOST; i++) {
            positions[i] = UNTOUCHED;
        }
        int r = visible ? vram_select_visible(snapshot, c->text, c->order, positions, capacity)
                        : vram_select(snapshot, c->text, positions, capacity);
        if (r != c->result) {
            fail_msg("'%s': %d with room for %zu, expected %d", c->text, r, capacity, c->result);
        }
        size_t written = r < 0 ? 0 : (size_t)r < capacity ? (size_t)r : capacity;
        for (size_t i = 0; i < MOST; i++) {
            size_t expected = i < written ? c->positions[i] : UNTOUCHED;
            if (positions[i] != expected) {
                fail_msg("'%s': position %zu is %zu, expected %zu", c->text, i, positions[i],
                         expected);
            }
        }
    }
    assert_int_equal(visible ? vram_select_visible(snapshot, c->text, c->order, NULL, 0)
                             : vram_select(snapshot, c->text, NULL, 0),
                     c->result);
}

static void check_selectors(const struct select_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        check(&cases[i], false);
    }
}

static void check_visible(const struct select_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        check(&cases[i], true);
    }
}

/* ---- Selectors ------------------------------------------------------------------------------- */

static void test_select__by_index(void **state)
{
    static const struct select_case cases[] = {
        {"0", NULL, 1, {0}},         {"2", NULL, 1, {2}},
        {"02", NULL, 1, {2}},        {"3", NULL, 2, {3, 4}},
        {"3:0", NULL, 1, {3}},       {"3:1", NULL, 1, {4}},
        {"3:2", NULL, -ENOENT, {0}}, {"0:0", NULL, -ENOENT, {0}},
        {"4", NULL, -ENOENT, {0}},   {"999999999", NULL, -ENOENT, {0}},
    };
    (void)state;
    check_selectors(cases, ARRAY_LENGTH(cases));
}

static void test_select__by_uuid(void **state)
{
    static const struct select_case cases[] = {
        {"GPU-5042a1b2-1111-2222-3333-444444444444", NULL, 1, {0}},
        {"gpu-5042A1B2-1111-2222-3333-444444444444", NULL, 1, {0}},
        {"5042a1b2-1111-2222-3333-444444444444", NULL, 1, {0}},
        {"GPU-5042a", NULL, 1, {0}},
        {"GPU-7", NULL, 1, {2}},
        {"5042b", NULL, 1, {1}},
        {"5042B2", NULL, 1, {1}},
        {"MIG-1", NULL, 1, {3}},
        {"mig-2bbb0000-1111-2222-3333-444444444444", NULL, 1, {4}},
        {"2b", NULL, 1, {4}},
        {"m", NULL, -ENOTUNIQ, {0}},
        {"GPU-5042", NULL, -ENOTUNIQ, {0}},
        {"GPU", NULL, -ENOTUNIQ, {0}},
        {"GPU-", NULL, -ENOTUNIQ, {0}},
        {"GPU-6", NULL, -ENOENT, {0}},
        {"abcdef", NULL, -ENOENT, {0}},
        {"GPU-5042a1b2-1111-2222-3333-4444444444440", NULL, -ENOENT, {0}}, /* more than there is */
    };
    (void)state;
    check_selectors(cases, ARRAY_LENGTH(cases));
}

static void test_select__takes_a_whole_uuid_before_a_longer_one(void **state)
{
    (void)state;
    snapshot = vram_snapshot_unref(snapshot);
    (void)text_copy(machine->gpus[0][0].uuid, sizeof(machine->gpus[0][0].uuid), "GPU-abcd");
    (void)text_copy(machine->gpus[1][0].uuid, sizeof(machine->gpus[1][0].uuid), "GPU-abc");
    snapshot = machine_snapshot(machine, 0);
    struct select_case cases[] = {
        {"GPU-abc", NULL, 1, {1}},
        {"GPU-abcd", NULL, 1, {0}},
        {"GPU-ab", NULL, -ENOTUNIQ, {0}},
    };
    check_selectors(cases, ARRAY_LENGTH(cases));
}

static void test_select__by_pci_address(void **state)
{
    static const struct select_case cases[] = {
        {"0000:01:00.0", NULL, 1, {0}},
        {"00000000:01:00.0", NULL, 1, {0}},
        {"01:00.0", NULL, 1, {0}},
        {"1:0.0", NULL, 1, {0}},
        {"10000:c1:00.0", NULL, 1, {2}},
        {"00010000:C1:00.0", NULL, 1, {2}},
        {"c1:00.0", NULL, -ENOENT, {0}},
        {"0000:01:00.1", NULL, -ENOENT, {0}},
        {"0000:03:00.0", NULL, -ENOENT, {0}},
        {"a1:00.0", NULL, 2, {3, 4}},
    };
    (void)state;
    check_selectors(cases, ARRAY_LENGTH(cases));
}

static void test_select__refuses_what_is_no_selector(void **state)
{
    static const struct select_case cases[] = {
        {"", NULL, -EINVAL, {0}},
        {" ", NULL, -EINVAL, {0}},
        {" 0", NULL, -EINVAL, {0}},
        {"0 ", NULL, -EINVAL, {0}},
        {"0,1", NULL, -EINVAL, {0}},
        {"+1", NULL, -EINVAL, {0}},
        {"0x0", NULL, -EINVAL, {0}},
        {"3:", NULL, -EINVAL, {0}},
        {"3:x", NULL, -EINVAL, {0}},
        {"3:-1", NULL, -EINVAL, {0}},
        {"3: 1", NULL, -EINVAL, {0}},
        {"3:1:0", NULL, -EINVAL, {0}},
        {":1", NULL, -EINVAL, {0}},
        {"GPU_5042", NULL, -EINVAL, {0}},
        {"xyz", NULL, -EINVAL, {0}},
        {"\xFF", NULL, -EINVAL, {0}},
        {" 01:00.0", NULL, -EINVAL, {0}},
        {"01:00.0 ", NULL, -EINVAL, {0}},
        {"+1:00.0", NULL, -EINVAL, {0}},
        {"-1:00:00.0", NULL, -EINVAL, {0}},
        {"0x1:00.0", NULL, -EINVAL, {0}},
        {"01:00. 0", NULL, -EINVAL, {0}},
        {"01:00.0.0", NULL, -EINVAL, {0}},
        {"100000000:01:00.0", NULL, -EINVAL, {0}}, /* wraps in 32 bits */
        {"01:00", NULL, -ENOENT, {0}},             /* instance 0 of card 1, which is not divided */
        {"all", NULL, -EINVAL, {0}},
    };
    (void)state;
    check_selectors(cases, ARRAY_LENGTH(cases));
    char text[200];
    memset(text, '1', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(vram_select(snapshot, text, NULL, 0), -EINVAL);
    text[30] = '\0'; /* no index has so many digits, but a UUID might */
    assert_int_equal(vram_select(snapshot, text, NULL, 0), -ENOENT);
}

static void test_select__finds_nothing_among_the_unknown(void **state)
{
    (void)state;
    struct machine *blank = machine_new(NULL);
    struct source_gpu *gpu = machine_gpu(blank);
    gpu->uuid[0] = gpu->pci[0] = gpu->name[0] = '\0';
    struct vram_snapshot *unknown = machine_snapshot(blank, 0);
    assert_int_equal(vram_select(unknown, "0", NULL, 0), 1);
    assert_int_equal(vram_select(unknown, "0:0", NULL, 0), -ENOENT);
    assert_int_equal(vram_select(unknown, "GPU-5", NULL, 0), -ENOENT);
    assert_int_equal(vram_select(unknown, "01:00.0", NULL, 0), -ENOENT);
    assert_int_equal(vram_select_visible(unknown, "0", NULL, NULL, 0),
                     1); /* one GPU has one order */
    (void)vram_snapshot_unref(unknown);
    machine_free(blank);
}

/* ---- CUDA_VISIBLE_DEVICES -------------------------------------------------------------------- */

#define BUS "PCI_BUS_ID"

static void test_select__shows_what_cuda_shows(void **state)
{
    static const struct select_case cases[] = {
        {NULL, NULL, 5, {0, 1, 2, 3, 4}},
        {"", NULL, 0, {0}},
        {" ", NULL, 0, {0}},
        {",", BUS, 0, {0}},
        {"0", BUS, 1, {0}},
        {"1,0", BUS, 2, {1, 0}}, /* in the order of the list */
        {" 1 , 0 ", BUS, 2, {1, 0}},
        {"2,", BUS, 1, {2}},
        {"2,,0", BUS, 1, {2}},
        {"0,9,1", BUS, 1, {0}}, /* up to the first that names none */
        {"9,0", BUS, 0, {0}},
        {"-1", BUS, 0, {0}},
        {"0,-1,1", BUS, 1, {0}},
        {"none", BUS, 0, {0}},
        {"NoDevFiles", NULL, 0, {0}},
        {"1,1,0", BUS, 1, {1}}, /* named twice: a mistake */
        {"1,GPU-5042b", BUS, 1, {1}},
        {"0x1", BUS, 0, {0}},
        {"0;1", BUS, 0, {0}},
        {"0 1", BUS, 1, {0}},
        {"GPU-5042a", NULL, 1, {0}},
        {"GPU-77777777-1111-2222-3333-444444444444,GPU-5042a", NULL, 2, {2, 0}},
        {"GPU-5042", NULL, 0, {0}}, /* fits two */
        {"GPU-", NULL, 0, {0}},
        {"5042a", NULL, 0, {0}}, /* without "GPU-" it is no UUID here */
        {"MIG-1aaa", NULL, 1, {3}},
        {"MIG-1aaa,MIG-2bbb", NULL, 2, {3, 4}},
        {"GPU-7,none,GPU-5042a", NULL, 1, {2}},
        {"3", BUS, 1, {3}}, /* CUDA shows one instance of a divided card */
        {"12345678901234567890", BUS, 0, {0}},
        {"0000000000", BUS, 0, {0}},
    };
    (void)state;
    check_visible(cases, ARRAY_LENGTH(cases));
}

static void test_select__does_not_guess_at_cudas_order(void **state)
{
    static const struct select_case alike[] = {
        {"1", NULL, 1, {1}},
        {"1", "FASTEST_FIRST", 1, {1}},
        {"2,0", "", 2, {2, 0}},
    };
    static const struct select_case different[] = {
        {"0", NULL, -EXDEV, {0}},
        {"0", "FASTEST_FIRST", -EXDEV, {0}},
        {"0", "nonsense", -EXDEV, {0}},
        {"0", BUS, 1, {0}},
        {"0", "pci_bus_id", 1, {0}},
        {"GPU-7", NULL, 1, {2}}, /* names have no order */
        {"GPU-7,0", NULL, -EXDEV, {0}},
        {"none,0", NULL, 0, {0}}, /* CUDA never gets there */
        {"", NULL, 0, {0}},
        {NULL, NULL, 5, {0, 1, 2, 3, 4}},
    };
    (void)state;
    check_visible(alike, ARRAY_LENGTH(alike)); /* three of one model, beside a divided card */
    snapshot = vram_snapshot_unref(snapshot);
    (void)text_copy(machine->gpus[1][0].name, sizeof(machine->gpus[1][0].name), "RTX 4090");
    snapshot = machine_snapshot(machine, 0);
    check_visible(different, ARRAY_LENGTH(different));
    snapshot = vram_snapshot_unref(snapshot);
    machine->gpus[1][0].name[0] = '\0'; /* may be any model */
    snapshot = machine_snapshot(machine, 0);
    check_visible(different, ARRAY_LENGTH(different));
}

int main(void)
{
#define MADE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        MADE(test_select__by_index),
        MADE(test_select__by_uuid),
        MADE(test_select__takes_a_whole_uuid_before_a_longer_one),
        MADE(test_select__by_pci_address),
        MADE(test_select__refuses_what_is_no_selector),
        MADE(test_select__finds_nothing_among_the_unknown),
        MADE(test_select__shows_what_cuda_shows),
        MADE(test_select__does_not_guess_at_cudas_order),
    };
    return cmocka_run_group_tests_name("select", tests, NULL, NULL);
}
