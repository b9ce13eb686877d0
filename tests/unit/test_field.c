/* SPDX-License-Identifier: MIT */
/* The field table: the keys that programs rely on, and values as structures have them. */
#include "tests/unit/unit.h"

#include "include/vram.h"
#include <stdio.h>

#define OBJECTS 8

static size_t find(uint32_t object, const char *key)
{
    size_t count = 0;
    const struct vram_field *fields = vram_fields(object, &count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(fields[i].key, key) == 0) {
            return i;
        }
    }
    fail_msg("object %u has no field '%s'", object, key);
    return 0;
}

static struct vram_value value_of(uint32_t object, const char *key, const void *data)
{
    return vram_field_value(object, find(object, key), data);
}

static void test_field__keys_are_words_and_unique(void **state)
{
    (void)state;
    for (uint32_t object = 0; object < OBJECTS; object++) {
        size_t count = 0;
        const struct vram_field *fields = vram_fields(object, &count);
        assert_true(count > 5);
        for (size_t i = 0; i < count; i++) {
            assert_true(strlen(fields[i].key) > 1);
            assert_int_equal(strspn(fields[i].key, "abcdefghijklmnopqrstuvwxyz_"),
                             strlen(fields[i].key));
            assert_true(strlen(fields[i].title) > 1);
            assert_true(strlen(fields[i].help) > 5);
            for (size_t j = 0; j < i; j++) {
                assert_string_not_equal(fields[i].key, fields[j].key);
                assert_string_not_equal(fields[i].title, fields[j].title);
            }
        }
    }
}

/* What a key's end says, its unit says too. */
static void test_field__units_agree_with_keys(void **state)
{
    static const struct {
        const char *end;
        uint32_t unit;
    } ends[] = {
        {"_bytes", VRAM_UNIT_BYTES},
        {"_c", VRAM_UNIT_CELSIUS},
        {"_percent", VRAM_UNIT_PERCENT},
        {"_ms", VRAM_UNIT_MS},
    };
    (void)state;
    for (uint32_t object = 0; object < OBJECTS; object++) {
        size_t count = 0;
        const struct vram_field *fields = vram_fields(object, &count);
        for (size_t i = 0; i < count; i++) {
            for (size_t j = 0; j < ARRAY_LENGTH(ends); j++) {
                size_t length = strlen(fields[i].key), end = strlen(ends[j].end);
                bool ends_so =
                    length > end && strcmp(fields[i].key + length - end, ends[j].end) == 0;
                assert_int_equal(ends_so, fields[i].unit == ends[j].unit);
            }
        }
    }
}

/* The keys of schema 1. They may become more, and never fewer or other ones. */
static void test_field__has_the_keys_of_schema_1(void **state)
{
    static const char *const keys[OBJECTS][20] = {
        [VRAM_OBJECT_GPU] = {"index", "uuid", "name", "pci", "state", "memory_kind",
                             "used_includes_reserved", "total_bytes", "used_bytes", "free_bytes",
                             "driver_reserved_bytes", "unattributed_bytes", "outstanding_bytes",
                             "temperature_c", "utilization_percent", "age_ms"},
        [VRAM_OBJECT_PROCESS] = {"pid", "start_time", "name", "user", "kind", "used_bytes",
                                 "container", "lease"},
        [VRAM_OBJECT_FIT] = {"size_bytes", "margin_bytes", "answer", "waiters"},
        [VRAM_OBJECT_FIT_GPU] = {"uuid", "free_bytes", "outstanding_bytes", "headroom_bytes",
                                 "shortfall_bytes"},
        [VRAM_OBJECT_LEASE] = {"id", "owner_pid", "user", "label", "size_bytes", "held_bytes",
                               "outstanding_bytes", "since", "until", "state"},
        [VRAM_OBJECT_WAITER] = {"position", "id", "pid", "user", "label", "gpu_count", "size_bytes",
                                "since", "waits_for"},
        [VRAM_OBJECT_DAEMON] = {"pid", "version", "driver", "promising", "reason", "message",
                                "paused", "since", "margin_bytes"},
        [VRAM_OBJECT_CEILING] = {"name", "match", "gpu", "size_bytes", "held_bytes",
                                 "outstanding_bytes"},
    };
    (void)state;
    for (uint32_t object = 0; object < OBJECTS; object++) {
        for (size_t i = 0; keys[object][i]; i++) {
            (void)find(object, keys[object][i]);
        }
    }
}

static void check_none(uint32_t object, const void *data, const char *const *known)
{
    size_t count = 0;
    const struct vram_field *fields = vram_fields(object, &count);
    for (size_t i = 0; i < count; i++) {
        bool is_known = false;
        for (size_t j = 0; known[j]; j++) {
            is_known |= strcmp(fields[i].key, known[j]) == 0;
        }
        bool none = vram_field_value(object, i, data).type == VRAM_VALUE_NONE;
        if (none == is_known) {
            fail_msg("'%s' of object %u is %s", fields[i].key, object, none ? "unknown" : "known");
        }
    }
}

static void test_field__unknown_is_no_value(void **state)
{
    static const char *const of_gpu[] = {
        "index", "state", "memory_kind", "used_includes_reserved", "pool", "drained", NULL};
    static const char *const of_process[] = {"pid", "visible", NULL};
    static const char *const of_fit[] = {"answer", "gpu_count", "promises_counted", NULL};
    static const char *const of_fit_gpu[] = {"answer", "usable", NULL};
    const uint64_t none = VRAM_UNKNOWN;
    struct vram_gpu gpu = {
        .mig_index = none,
        .gpu_instance_id = none,
        .compute_instance_id = none,
        .total_bytes = none,
        .used_bytes = none,
        .free_bytes = none,
        .driver_reserved_bytes = none,
        .unattributed_bytes = none,
        .outstanding_bytes = none,
        .temperature_c = none,
        .utilization_percent = none,
        .age_ms = none,
        .own_outstanding_bytes = none,
        .ceiling_bytes = none,
    };
    struct vram_process process = {.pid = 1, .start_time = none, .used_bytes = none};
    struct vram_fit fit = {.size_bytes = none, .margin_bytes = none, .waiters = none};
    struct vram_fit_gpu line = {
        .free_bytes = none,
        .outstanding_bytes = none,
        .margin_bytes = none,
        .shortfall_bytes = none,
        .capacity_bytes = none,
        .own_outstanding_bytes = none,
    };
    (void)state;
    check_none(VRAM_OBJECT_GPU, &gpu, of_gpu);
    check_none(VRAM_OBJECT_PROCESS, &process, of_process);
    check_none(VRAM_OBJECT_FIT, &fit, of_fit);
    check_none(VRAM_OBJECT_FIT_GPU, &line, of_fit_gpu);
}

static void test_field__zero_is_a_value(void **state)
{
    struct vram_gpu gpu = {0};
    (void)state;
    const char *const keys[] = {"total_bytes",         "used_bytes", "free_bytes", "temperature_c",
                                "utilization_percent", "age_ms",     "index"};
    for (size_t i = 0; i < ARRAY_LENGTH(keys); i++) {
        struct vram_value value = value_of(VRAM_OBJECT_GPU, keys[i], &gpu);
        assert_int_equal(value.type, VRAM_VALUE_NUMBER);
        assert_int_equal(value.number, 0);
    }
}

static void test_field__values_are_the_structures(void **state)
{
    struct vram_gpu gpu = {.index = 7,
                           .uuid = "GPU-1",
                           .state = VRAM_GPU_LOST,
                           .memory_kind = VRAM_MEMORY_MIG,
                           .used_bytes = UINT64_MAX - 1,
                           .used_includes_reserved = true};
    struct vram_fit_gpu line = {
        .headroom_known = true, .headroom_bytes = -5, .answer = VRAM_CANNOT_TELL};
    (void)state;
    assert_int_equal(value_of(VRAM_OBJECT_GPU, "index", &gpu).number, 7);
    assert_ptr_equal(value_of(VRAM_OBJECT_GPU, "uuid", &gpu).text, gpu.uuid);
    assert_string_equal(value_of(VRAM_OBJECT_GPU, "state", &gpu).text, "lost");
    assert_string_equal(value_of(VRAM_OBJECT_GPU, "memory_kind", &gpu).text, "mig");
    assert_int_equal(value_of(VRAM_OBJECT_GPU, "used_bytes", &gpu).number, UINT64_MAX - 1);
    struct vram_value value = value_of(VRAM_OBJECT_GPU, "used_includes_reserved", &gpu);
    assert_int_equal(value.type, VRAM_VALUE_BOOL);
    assert_true(value.truth);
    value = value_of(VRAM_OBJECT_FIT_GPU, "headroom_bytes", &line);
    assert_int_equal(value.type, VRAM_VALUE_SIGNED);
    assert_int_equal(value.signed_number, -5);
    assert_string_equal(value_of(VRAM_OBJECT_FIT_GPU, "answer", &line).text, "unknown");
}

static void test_field__headroom_is_what_fit_would_say(void **state)
{
    static const struct {
        uint64_t free, outstanding, own;
        uint32_t state;
        uint32_t type;
        int64_t headroom;
    } cases[] = {
        {20000 * MIB, VRAM_UNKNOWN, VRAM_UNKNOWN, VRAM_GPU_OK, VRAM_VALUE_SIGNED,
         18976 * (int64_t)MIB},
        {20000 * MIB, 8000 * MIB, VRAM_UNKNOWN, VRAM_GPU_OK, VRAM_VALUE_SIGNED,
         10976 * (int64_t)MIB},
        {20000 * MIB, 8000 * MIB, 3000 * MIB, VRAM_GPU_OK, VRAM_VALUE_SIGNED, 13976 * (int64_t)MIB},
        {20000 * MIB, 8000 * MIB, 9000 * MIB, VRAM_GPU_OK, VRAM_VALUE_SIGNED, 18976 * (int64_t)MIB},
        {0, 0, 0, VRAM_GPU_OK, VRAM_VALUE_SIGNED, -1024 * (int64_t)MIB},
        {GIB, GIB, 0, VRAM_GPU_OK, VRAM_VALUE_SIGNED, -1024 * (int64_t)MIB},
        {VRAM_UNKNOWN, 0, 0, VRAM_GPU_OK, VRAM_VALUE_NONE, 0},
        {20000 * MIB, 0, 0, VRAM_GPU_HUNG, VRAM_VALUE_NONE, 0},
        {20000 * MIB, 0, 0, VRAM_GPU_LOST, VRAM_VALUE_NONE, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct vram_gpu gpu = {.free_bytes = cases[i].free,
                               .outstanding_bytes = cases[i].outstanding,
                               .own_outstanding_bytes = cases[i].own,
                               .state = cases[i].state};
        struct vram_value value = value_of(VRAM_OBJECT_GPU, "headroom_bytes", &gpu);
        assert_int_equal(value.type, cases[i].type);
        assert_int_equal(value.signed_number, cases[i].headroom);
    }
    struct vram_gpu absurd = {.free_bytes = 0, .outstanding_bytes = UINT64_MAX - 1};
    assert_true(value_of(VRAM_OBJECT_GPU, "headroom_bytes", &absurd).signed_number < 0);
    absurd = (struct vram_gpu){.free_bytes = UINT64_MAX - 1, .outstanding_bytes = 0};
    assert_true(value_of(VRAM_OBJECT_GPU, "headroom_bytes", &absurd).signed_number > 0);
}

static void test_field__kinds_are_letters(void **state)
{
    static const char *const expected[] = {NULL, "C", "G", "CG", "M", "CM", "GM", "CGM", NULL};
    (void)state;
    for (uint32_t kind = 0; kind < ARRAY_LENGTH(expected); kind++) {
        struct vram_process process = {.kind = kind};
        struct vram_value value = value_of(VRAM_OBJECT_PROCESS, "kind", &process);
        if (expected[kind]) {
            assert_string_equal(value.text, expected[kind]);
        } else {
            assert_int_equal(value.type, VRAM_VALUE_NONE);
        }
    }
}

static void test_field__names_are_total(void **state)
{
    static const char *const answers[] = {"fits",    "not_now",   "never",
                                          "unknown", "timed_out", "unknown"};
    static const char *const states[] = {"ok", "asleep", "lost", "denied", "hung", "unknown"};
    static const char *const kinds[] = {"dedicated", "unified", "mig", "unknown"};
    (void)state;
    for (uint32_t i = 0; i < ARRAY_LENGTH(answers); i++) {
        assert_string_equal(vram_answer_name(i), answers[i]);
    }
    for (uint32_t i = 0; i < ARRAY_LENGTH(states); i++) {
        assert_string_equal(vram_gpu_state_name(i), states[i]);
    }
    for (uint32_t i = 0; i < ARRAY_LENGTH(kinds); i++) {
        assert_string_equal(vram_memory_kind_name(i), kinds[i]);
    }
    assert_string_equal(vram_answer_name(UINT32_MAX), "unknown");
    assert_string_equal(vram_gpu_state_name(UINT32_MAX), "unknown");
    assert_string_equal(vram_memory_kind_name(UINT32_MAX), "unknown");
}

static void test_field__there_is_nothing_beyond(void **state)
{
    struct vram_gpu gpu = {0};
    size_t count = 5;
    (void)state;
    assert_null(vram_fields(OBJECTS, &count));
    assert_int_equal(count, 0);
    assert_null(vram_fields(UINT32_MAX, &count));
    (void)vram_fields(VRAM_OBJECT_GPU, &count);
    assert_int_equal(vram_field_value(VRAM_OBJECT_GPU, count, &gpu).type, VRAM_VALUE_NONE);
    assert_int_equal(vram_field_value(VRAM_OBJECT_GPU, SIZE_MAX, &gpu).type, VRAM_VALUE_NONE);
    assert_int_equal(vram_field_value(OBJECTS, 0, &gpu).type, VRAM_VALUE_NONE);
}

static void test_field__the_version_is_the_headers(void **state)
{
    char text[32];
    (void)state;
    (void)snprintf(text, sizeof(text), "%d.%d.%d", VRAM_VERSION_MAJOR, VRAM_VERSION_MINOR,
                   VRAM_VERSION_PATCH);
    assert_string_equal(vram_version(), text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_field__keys_are_words_and_unique),
        TEST(test_field__units_agree_with_keys),
        TEST(test_field__has_the_keys_of_schema_1),
        TEST(test_field__unknown_is_no_value),
        TEST(test_field__zero_is_a_value),
        TEST(test_field__values_are_the_structures),
        TEST(test_field__headroom_is_what_fit_would_say),
        TEST(test_field__kinds_are_letters),
        TEST(test_field__names_are_total),
        TEST(test_field__there_is_nothing_beyond),
        TEST(test_field__the_version_is_the_headers),
    };
    return cmocka_run_group_tests_name("field", tests, NULL, NULL);
}
