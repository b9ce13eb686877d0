/* SPDX-License-Identifier: MIT */
/* The JSON of snapshots and answers: valid, complete and byte-exact, whatever is in them. */
#include "tests/unit/json_check.h"
#include "tests/unit/make_snapshot.h"
#include "tests/unit/unit.h"

#include "common/text.h"
#include <stdio.h>

static struct machine *machine;
static struct vram_snapshot *snapshot;
static char *document;

static int set_up(void **state)
{
    (void)state;
    machine = machine_new(NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(document);
    document = NULL;
    snapshot = vram_snapshot_unref(snapshot);
    machine_free(machine);
    return 0;
}

static const char *checked(void)
{
    if (!json_check(document, strlen(document))) {
        fail_msg("not JSON at byte %zu: %s", json_check_stopped_at(), document);
    }
    assert_null(strchr(document, '\n'));
    return document;
}

static const char *write_some(const size_t *positions, size_t count)
{
    free(document);
    document = NULL;
    if (!snapshot) {
        snapshot = machine_snapshot(machine, VRAM_TAKE_ALL);
    }
    assert_int_equal(vram_snapshot_json(snapshot, positions, count, &document), 0);
    return checked();
}

static const char *write_all(void)
{
    return write_some(NULL, 0);
}

static void expect(const char *text)
{
    if (!strstr(document, text)) {
        fail_msg("'%s' is not in %s", text, document);
    }
}

/* ---- Snapshots ------------------------------------------------------------------------------- */

static void test_document__of_no_gpu_is_whole(void **state)
{
    (void)state;
    assert_string_equal(write_all(),
                        "{\"schema\":1,\"taken_at\":\"2026-01-31T12:00:00.123456Z\","
                        "\"driver\":{\"kind\":\"sim\",\"version\":\"550.54.14\",\"cuda\":\"12.4\","
                        "\"library\":\"/lib/libtest.so\"},\"errors\":[],\"gpus\":[]}");
}

static void test_document__gives_bytes_unrounded(void **state)
{
    (void)state;
    struct source_gpu *gpu = machine_card(machine, 25757220864, 419430401, 1059061763);
    gpu->temperature_c = 41;
    gpu->utilization_percent = 0;
    machine_process(gpu, 4242, 1059061761, "python3");
    (void)write_all();
    expect("{\"index\":0,\"uuid\":\"GPU-00000000-1111-2222-3333-444444444444\",\"name\":\"Test "
           "Card\"");
    expect("\"pci\":\"0000:01:00.0\"");
    expect("\"state\":\"ok\"");
    expect("\"memory_kind\":\"dedicated\"");
    expect("\"used_includes_reserved\":false");
    expect("\"total_bytes\":25757220864");
    expect("\"used_bytes\":1059061763");
    expect("\"free_bytes\":24278728700");
    expect("\"driver_reserved_bytes\":419430401");
    expect("\"unattributed_bytes\":2");
    expect("\"outstanding_bytes\":null");
    expect("\"temperature_c\":41");
    expect("\"utilization_percent\":0");
    expect("\"age_ms\":250");
    expect("\"processes\":[{\"pid\":4242,\"start_time\":null,\"name\":\"python3\",\"user\":null,"
           "\"kind\":\"C\","
           "\"used_bytes\":1059061761,\"container\":null,\"lease\":null");
}

static void test_document__says_null_where_nothing_is_known(void **state)
{
    (void)state;
    machine->board.identity = (struct source_identity){.kind = "nvml"};
    struct source_gpu *gpu = machine_gpu(machine);
    gpu->uuid[0] = gpu->name[0] = gpu->pci[0] = '\0';
    (void)write_all();
    expect("\"version\":null,\"cuda\":null");
    expect("\"uuid\":null,\"name\":null,\"pci\":null");
    expect("\"total_bytes\":null,\"used_bytes\":null,\"free_bytes\":null");
    expect("\"processes\":null");
    assert_null(strstr(document, "18446744073709551615"));
    assert_null(strstr(document, ":-1"));
}

static void test_document__tells_an_empty_list_from_an_unread_one(void **state)
{
    (void)state;
    struct source_gpu *gpu = machine_card(machine, GIB, 0, 0);
    source_gpu_problem(gpu, "processes", "no_permission", "the list is closed");
    (void)write_all();
    expect("\"processes\":null");
    expect(
        "\"errors\":[{\"gpu\":\"GPU-00000000-1111-2222-3333-444444444444\",\"what\":\"processes\","
        "\"code\":\"no_permission\",\"message\":\"the list is closed\"}]");
    gpu->processes_known = true;
    snapshot = vram_snapshot_unref(snapshot);
    (void)write_all();
    expect("\"processes\":[]");
}

static void test_document__survives_odd_texts(void **state)
{
    static const char *const texts[] = {
        "\"quotes\\\"", "a\nb\tc\x01\x1b[31m", "\xFF\xFE\xC3",
        "</script>",    "\xF0\x9F\x98\x80",    "%s%n",
        "\x7f",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        struct source_gpu *gpu = machine_card(machine, GIB, 0, MIB);
        (void)text_copy(gpu->name, sizeof(gpu->name), texts[i]);
        machine_process(gpu, 1, 5, texts[i]);
        source_gpu_problem(gpu, "memory", "driver_error", "%s", texts[i]);
    }
    (void)write_all();
    for (const char *at = document; *at; at++) {
        assert_true((unsigned char)*at >= 0x20 && *at != 0x7F); /* nothing that steers a terminal */
    }
    expect("\"name\":\"\\\"quotes\\\\\\\"\"");
    expect("a\\u000ab\\u0009c\\u0001\\u001b[31m");
    expect("\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    expect("%s%n");
}

static void test_document__keeps_to_the_positions(void **state)
{
    static const size_t positions[] = {2, 0}, beyond[] = {0, 3, SIZE_MAX};
    (void)state;
    for (int i = 0; i < 3; i++) {
        (void)machine_card(machine, GIB, 0, 0);
    }
    const char *text = write_some(positions, 2);
    const char *third = strstr(text, "GPU-00000002"), *first = strstr(text, "GPU-00000000");
    assert_true(third && first && third < first); /* in the order asked for */
    assert_null(strstr(text, "GPU-00000001"));
    assert_null(strstr(write_some(positions, 0), "GPU-")); /* none, not all */
    text = write_some(beyond, 3);
    assert_non_null(strstr(text, "GPU-00000000"));
    assert_null(strstr(text, "GPU-00000001"));
}

static void test_document__shows_states_and_instances(void **state)
{
    (void)state;
    (void)machine_card(machine, 80 * GIB, 0, 0);
    (void)machine_instance(machine, 1, 0, 40 * GIB, GIB);
    machine_hang(machine, true, "nvmlDeviceGetMemoryInfo");
    machine_gpu(machine)->state = VRAM_GPU_DENIED;
    machine_hang(machine, false, NULL);
    struct source_gpu *gpu = machine_card(machine, 120 * GIB, 0, 0);
    gpu->memory_kind = VRAM_MEMORY_UNIFIED;
    gpu->used_includes_reserved = true;
    (void)write_all();
    expect("\"state\":\"hung\",\"memory_kind\":\"mig\"");
    expect("\"parent_uuid\":\"GPU-00000000-1111-2222-3333-444444444444\",\"mig_index\":0,\"gpu_"
           "instance_id\":1,"
           "\"compute_instance_id\":0");
    expect("\"state\":\"denied\"");
    expect("\"memory_kind\":\"unified\",\"used_includes_reserved\":true");
    expect("{\"gpu\":\"2\",\"what\":\"device\",\"code\":\"driver_hung\"");
    expect("nvmlDeviceGetMemoryInfo has not returned for 0.2 s");
}

static void check_time(uint64_t ns, const char *text)
{
    snapshot = vram_snapshot_unref(snapshot);
    assert_int_equal(
        snapshot_build(&machine->board, machine->identities, 0, ns, MACHINE_NOW_NS, &snapshot), 0);
    (void)write_all();
    expect(text);
}

static void test_document__writes_the_time_in_utc(void **state)
{
    (void)state;
    check_time(0, "\"taken_at\":\"1970-01-01T00:00:00.000000Z\"");
    check_time(999999999, "\"taken_at\":\"1970-01-01T00:00:00.999999Z\"");
    check_time(951782399999999999, "\"taken_at\":\"2000-02-28T23:59:59.999999Z\"");
    check_time(951782400000000000, "\"taken_at\":\"2000-02-29T00:00:00.000000Z\"");
    check_time(UINT64_MAX, "\"taken_at\":\"2554-07-21T23:34:33.709551Z\"");
}

static void test_document__shows_what_a_daemon_adds(void **state)
{
    const uint64_t outstanding = 5 * GIB, own = GIB;
    struct vram_promises promises = VRAM_PROMISES_INIT;
    struct vram_snapshot *plain;
    (void)state;
    (void)machine_card(machine, 24 * GIB, 0, 2 * GIB);
    (void)write_all();
    assert_null(strstr(document, "\"epoch\""));
    assert_null(strstr(document, "\"waiters\""));
    plain = snapshot;
    promises.outstanding_bytes = &outstanding;
    promises.own_outstanding_bytes = &own;
    promises.waiters = 3;
    promises.epoch = 77;
    assert_int_equal(vram_snapshot_promise(plain, &promises, &snapshot), 0);
    (void)vram_snapshot_unref(plain);
    (void)write_all();
    expect("\"epoch\":77,\"waiters\":3,");
    expect("\"outstanding_bytes\":5368709120,\"headroom_bytes\":18253611008,");
    expect("\"pool\":0,\"own_outstanding_bytes\":1073741824,\"ceiling_bytes\":null,");
}

/* ---- Answers --------------------------------------------------------------------------------- */

static struct vram_fit *ask(uint64_t size, uint32_t gpu_count)
{
    struct vram_fit_request request = VRAM_FIT_REQUEST_INIT;
    struct vram_fit *fit = NULL;
    request.size_bytes = size;
    request.gpu_count = gpu_count;
    assert_int_equal(vram_fit(snapshot, &request, &fit), 0);
    return fit;
}

static void test_document__writes_answers(void **state)
{
    (void)state;
    (void)machine_card(machine, 24564 * MIB, 400 * MIB, 4164 * MIB);
    machine_gpu(machine)->uuid[0] = '\0';
    snapshot = machine_snapshot(machine, 0);
    struct vram_fit *fits[] = {ask(18976 * MIB, 1), ask(18976 * MIB + 1, 1), ask(GIB, 2),
                               ask(MIB, 3)};
    const struct vram_fit *const answers[] = {fits[0], fits[1], fits[2], fits[3]};
    assert_int_equal(vram_fit_json(answers, 4, &document), 0);
    (void)checked();
    assert_int_equal(
        strncmp(document, "{\"schema\":1,\"answers\":[{\"size_bytes\":19897778176,", 49), 0);
    expect("\"margin_bytes\":1073741824,\"answer\":\"fits\"");
    expect("\"gpus_chosen\":[\"GPU-00000000-1111-2222-3333-444444444444\"]");
    expect(
        "\"answer\":\"unknown\",\"gpu_count\":1,\"waiters\":null"); /* the second card might have room */
    expect("\"gpus_chosen\":[]");
    expect("\"answer\":\"not_now\"");
    expect("\"headroom_bytes\":19897778176,\"shortfall_bytes\":0,\"capacity_bytes\":25337790464");
    expect("\"shortfall_bytes\":1,");
    expect("{\"uuid\":null,\"answer\":\"unknown\",\"usable\":true,\"free_bytes\":null,"
           "\"outstanding_bytes\":null,"
           "\"margin_bytes\":1073741824,\"headroom_bytes\":null,\"shortfall_bytes\":null,"
           "\"capacity_bytes\":null,\"own_outstanding_bytes\":null}");
    expect("\"answer\":\"never\",\"gpu_count\":3");
    for (size_t i = 0; i < 4; i++) {
        (void)vram_fit_free(fits[i]);
    }
}

static void test_document__writes_no_answer(void **state)
{
    (void)state;
    assert_int_equal(vram_fit_json(NULL, 0, &document), 0);
    assert_string_equal(checked(), "{\"schema\":1,\"answers\":[]}");
}

int main(void)
{
#define MADE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        MADE(test_document__of_no_gpu_is_whole),
        MADE(test_document__gives_bytes_unrounded),
        MADE(test_document__says_null_where_nothing_is_known),
        MADE(test_document__tells_an_empty_list_from_an_unread_one),
        MADE(test_document__survives_odd_texts),
        MADE(test_document__keeps_to_the_positions),
        MADE(test_document__shows_states_and_instances),
        MADE(test_document__writes_the_time_in_utc),
        MADE(test_document__shows_what_a_daemon_adds),
        MADE(test_document__writes_answers),
        MADE(test_document__writes_no_answer),
    };
    return cmocka_run_group_tests_name("document", tests, NULL, NULL);
}
