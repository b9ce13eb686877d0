/* SPDX-License-Identifier: MIT */
/* Leases through the public header, from a daemon that the library starts. */
#include "tests/library/served.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define FOR_EVER_MS 60000 /* only waited out where something is wrong */

/* Each test begins and ends without a lease. */
static int end_all(void **state)
{
    struct vram_lease_list *list = served_leases();
    (void)state;
    for (size_t i = 0; i < vram_lease_list_count(list); i++) {
        (void)!vram_lease_end(vram, vram_lease_list_lease(list, i)->id);
    }
    vram_lease_list_free(list);
    return 0;
}

/* ---- Asking ---------------------------------------------------------------------------------- */

static struct vram_lease_request request_of(uint64_t size_bytes)
{
    struct vram_lease_request request = VRAM_LEASE_REQUEST_INIT;
    request.size_bytes = size_bytes;
    request.label = "test";
    return request;
}

/* A lease that must be granted; its id, valid until the next call. */
static const char *acquire(uint64_t size_bytes)
{
    static char id[32];
    struct vram_lease_request request = request_of(size_bytes);
    struct vram_verdict *verdict;
    request.timeout_ms = FOR_EVER_MS;
    int r = vram_lease_acquire(vram, &request, &verdict);
    if (r != VRAM_FITS) {
        fail_msg("%d: %s", r, r < 0 ? vram_error(vram) : verdict->message);
    }
    (void)snprintf(id, sizeof(id), "%s", verdict->lease->id);
    vram_verdict_free(verdict);
    return id;
}

static void test_lease__a_grant_tells_all(void **state)
{
    struct vram_lease_request request = request_of(4 * GIB);
    const char *candidates[] = {"GPU-00000000-1111"}, *members[] = {"cgroup:/vram-test"};
    struct vram_verdict *verdict;
    (void)state;
    request.candidates = candidates;
    request.candidate_count = 1;
    request.members = members;
    request.member_count = 1;
    request.for_ms = 3600000;
    request.timeout_ms = FOR_EVER_MS;
    request.id = "0123456789abcdef";
    assert_int_equal(vram_lease_acquire(vram, &request, &verdict), VRAM_FITS);
    assert_int_equal(verdict->answer, VRAM_FITS);
    const struct vram_lease *lease = verdict->lease;
    assert_string_equal(lease->id, "0123456789abcdef");
    assert_string_equal(lease->label, "test");
    assert_int_equal(lease->owner_pid, getpid());
    assert_int_equal(lease->size_bytes, 4 * GIB);
    assert_int_equal(lease->held_bytes, 0);
    assert_int_equal(lease->outstanding_bytes, 4 * GIB);
    assert_int_equal(lease->gpu_count, 1);
    assert_string_equal(lease->gpus[0], candidates[0]);
    assert_int_equal(lease->attached_count, 1);
    assert_string_equal(lease->attached[0], members[0]);
    assert_int_equal(lease->state, VRAM_LEASE_OK);
    uint64_t lasts_ns = lease->until_ns - lease->since_ns;
    assert_true(lasts_ns > 3599000000000 && lasts_ns < 3601000000000);
    assert_int_equal(verdict->fit->answer, VRAM_FITS);
    assert_true(verdict->fit->promises_counted);
    assert_true(verdict->fit->gpus[0].chosen);
    vram_verdict_free(verdict);

    /* The same request again is the same lease. */
    assert_int_equal(vram_lease_acquire(vram, &request, NULL), VRAM_FITS);
    struct vram_lease_list *list = served_leases();
    assert_int_equal(vram_lease_list_count(list), 1);
    assert_string_equal(vram_lease_list_find(list, "0123")->id, "0123456789abcdef");
    assert_null(vram_lease_list_find(list, "1123"));
    assert_null(vram_lease_list_lease(list, 1));
    vram_lease_list_free(list);
    assert_int_equal(vram_lease_end(vram, "0123"), 0);
    assert_int_equal(vram_lease_end(vram, "0123"), -ENOENT);
    assert_string_equal(vram_error_code(vram), "not_found");
}

static void test_lease__no_is_an_answer(void **state)
{
    struct vram_lease_request request = request_of(30 * GIB);
    struct vram_verdict *verdict;
    char *text;
    (void)state;
    assert_int_equal(vram_lease_acquire(vram, &request, &verdict), VRAM_NEVER);
    assert_null(verdict->lease);
    assert_non_null(strstr(verdict->message, "never"));
    assert_int_equal(verdict->fit->gpus[0].capacity_bytes, 24164 * MIB);
    assert_int_equal(vram_verdict_json(verdict, &text), 0);
    assert_non_null(strstr(text, "\"verdict\":\"never\""));
    free(text);
    vram_verdict_free(verdict);
    (void)acquire(20 * GIB);
    request.size_bytes = 10 * GIB;
    assert_int_equal(vram_lease_acquire(vram, &request, &verdict), VRAM_NOT_NOW);
    assert_null(verdict->lease);
    vram_verdict_free(verdict);
    assert_string_equal(vram_answer_name(VRAM_TIMED_OUT), "timed_out");
}

static void test_lease__what_makes_no_sense_is_refused(void **state)
{
    const char *none[1] = {NULL}, *odd[] = {"nonsense"};
    struct vram_verdict *untouched = NULL;
    struct vram_lease_request requests[9];
    (void)state;
    for (size_t i = 0; i < 9; i++) {
        requests[i] = request_of(GIB);
    }
    requests[0].size = 0;
    requests[1].size_bytes = 0;
    requests[2].size_bytes = VRAM_UNKNOWN;
    requests[3].gpu_count = 0;
    requests[4].candidates = none;
    requests[5].owner_pid = -2;
    requests[6].id = "not an id";
    requests[7].members = odd;
    requests[7].member_count = 1;
    requests[8].label =
        "a label that is longer than the sixty-four bytes that one may have at most";
    for (size_t i = 0; i < 9; i++) {
        assert_int_equal(vram_lease_acquire(vram, &requests[i], &untouched), -EINVAL);
        assert_null(untouched);
        assert_string_not_equal(vram_error(vram), "no error");
    }
    assert_int_equal(vram_lease_end(vram, "../v1"), -EINVAL);
    assert_int_equal(vram_lease_end(vram, "abc"), -EINVAL);
    requests[0] = request_of(GIB);
    requests[0].owner_pid = 4194399;
    assert_int_equal(vram_lease_acquire(vram, &requests[0], NULL), -ESRCH);
}

/* ---- Changing -------------------------------------------------------------------------------- */

static void test_lease__changes(void **state)
{
    struct vram_verdict *verdict;
    char id[32];
    (void)state;
    (void)snprintf(id, sizeof(id), "%s", acquire(4 * GIB));
    assert_int_equal(vram_lease_resize(vram, id, 2 * GIB, &verdict), VRAM_FITS);
    assert_int_equal(verdict->lease->outstanding_bytes, 2 * GIB);
    vram_verdict_free(verdict);
    assert_int_equal(vram_lease_resize(vram, id, 20 * GIB, &verdict), VRAM_FITS);
    assert_int_equal(verdict->lease->size_bytes, 20 * GIB);
    vram_verdict_free(verdict);
    assert_int_equal(vram_lease_resize(vram, id, 23 * GIB, NULL), VRAM_NOT_NOW);
    assert_int_equal(vram_lease_attach(vram, id, "unit:vram-test.service"), 0);
    assert_int_equal(vram_lease_attach(vram, id, "nonsense"), -EINVAL);
    assert_int_equal(vram_lease_until(vram, id, 3600000), 0);
    assert_int_equal(vram_lease_filled(vram, id), 0);
    struct vram_lease_list *list = served_leases();
    const struct vram_lease *lease = vram_lease_list_lease(list, 0);
    assert_int_equal(lease->state, VRAM_LEASE_FILLED);
    assert_int_equal(lease->outstanding_bytes, 0);
    assert_int_equal(lease->size_bytes, 20 * GIB);
    assert_string_equal(lease->attached[0], "unit:vram-test.service");
    assert_non_null(lease->until);
    vram_lease_list_free(list);
}

static void test_lease__a_snapshot_comes_when_a_lease_does(void **state)
{
    struct vram_snapshot *before, *after;
    (void)state;
    assert_int_equal(vram_snapshot_wait(vram, 0, 0, 0, &before), 0);
    assert_int_equal(vram_snapshot_gpu(before, 0)->outstanding_bytes, 0);
    (void)acquire(4 * GIB);
    uint64_t epoch = vram_snapshot_epoch(before);
    assert_int_equal(vram_snapshot_wait(vram, 0, epoch, FOR_EVER_MS, &after), 0);
    assert_int_not_equal(vram_snapshot_epoch(after), epoch);
    assert_int_equal(vram_snapshot_gpu(after, 0)->outstanding_bytes, 4 * GIB);
    assert_int_equal(vram_snapshot_gpu(after, 0)->own_outstanding_bytes, 4 * GIB);
    vram_snapshot_unref(before);
    vram_snapshot_unref(after);
}

/* ---- Waiting --------------------------------------------------------------------------------- */

/* A process of its own, which holds 20 GiB until it is killed: what this process holds would be its own. */
static pid_t hold_elsewhere(void)
{
    int ends[2];
    char byte = 0;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    pid_t child = fork();
    if (child == 0) {
        struct vram_lease_request request = request_of(20 * GIB);
        request.timeout_ms = FOR_EVER_MS;
        byte = vram_lease_acquire(vram, &request, NULL) == VRAM_FITS;
        (void)!write(ends[1], &byte, 1);
        (void)pause();
        _exit(0);
    }
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_true(byte);
    (void)close(ends[0]);
    (void)close(ends[1]);
    return child;
}

static void end_child(pid_t child)
{
    (void)kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

struct waiting {
    struct vram_lease_request request;
    int result;
    int told[2]; /* a byte for each word of progress */
};

static void tell(void *data, uint64_t position, const char *waits_for)
{
    struct waiting *waiting = data;
    char byte = position == 1 && waits_for[0];
    (void)!write(waiting->told[1], &byte, 1);
}

static void *wait_for_lease(void *data)
{
    struct waiting *waiting = data;
    waiting->result = vram_lease_acquire(vram, &waiting->request, NULL);
    return NULL;
}

/* Asks in a thread, and returns once it waits. */
static pthread_t begin_waiting(struct waiting *waiting)
{
    pthread_t thread;
    char byte = 0;
    *waiting = (struct waiting){.request = request_of(10 * GIB)};
    waiting->request.id = "00112233445566ff";
    waiting->request.timeout_ms = VRAM_UNKNOWN;
    waiting->request.progress = tell;
    waiting->request.data = waiting;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, waiting->told), 0);
    assert_int_equal(pthread_create(&thread, NULL, wait_for_lease, waiting), 0);
    assert_int_equal(read(waiting->told[0], &byte, 1), 1);
    assert_true(byte);
    return thread;
}

static void end_waiting(struct waiting *waiting, pthread_t thread)
{
    assert_int_equal(pthread_join(thread, NULL), 0);
    (void)close(waiting->told[0]);
    (void)close(waiting->told[1]);
}

static void test_lease__a_waiter_gets_what_is_freed(void **state)
{
    struct waiting waiting;
    (void)state;
    pid_t holder = hold_elsewhere();
    pthread_t thread = begin_waiting(&waiting);
    struct vram_lease_list *list = served_leases();
    assert_int_equal(vram_lease_list_waiter_count(list), 1);
    assert_string_equal(vram_lease_list_waiter(list, 0)->id, "00112233445566ff");
    assert_int_equal(vram_lease_list_waiter(list, 0)->position, 1);
    assert_int_equal(vram_lease_list_waiter(list, 0)->pid, getpid());
    assert_null(vram_lease_list_waiter(list, 1));
    vram_lease_list_free(list);
    end_child(holder);
    end_waiting(&waiting, thread);
    assert_int_equal(waiting.result, VRAM_FITS);
}

static void test_lease__another_thread_takes_a_request_back(void **state)
{
    struct waiting waiting;
    (void)state;
    pid_t holder = hold_elsewhere();
    pthread_t thread = begin_waiting(&waiting);
    assert_int_equal(vram_lease_end(vram, "00112233445566ff"), 1);
    end_waiting(&waiting, thread);
    assert_int_equal(waiting.result, -ECANCELED);
    end_child(holder);
}

static void test_lease__time_passes(void **state)
{
    struct vram_lease_request request = request_of(10 * GIB);
    struct vram_verdict *verdict;
    (void)state;
    pid_t holder = hold_elsewhere();
    request.timeout_ms = 50;
    assert_int_equal(vram_lease_acquire(vram, &request, &verdict), VRAM_TIMED_OUT);
    assert_null(verdict->lease);
    vram_verdict_free(verdict);
    end_child(holder);
}

/* ---- Fork ------------------------------------------------------------------------------------ */

static void test_lease__a_worker_owns_what_it_asks_for(void **state)
{
    (void)state;
    pid_t worker = hold_elsewhere();
    struct vram_lease_list *list = served_leases();
    assert_int_equal(vram_lease_list_count(list), 1);
    assert_int_equal(vram_lease_list_lease(list, 0)->owner_pid, worker);
    end_child(worker);
    while (vram_lease_list_count(list) > 0) { /* it ends with its owner */
        uint64_t epoch = vram_lease_list_epoch(list);
        vram_lease_list_free(list);
        assert_int_equal(vram_leases(vram, epoch, FOR_EVER_MS, &list), 0);
    }
    vram_lease_list_free(list);
}

/* ---- Without a daemon ------------------------------------------------------------------------ */

static void test_lease__nothing_is_asked_of_nobody(void **state)
{
    struct vram_lease_request request = request_of(GIB);
    struct vram_lease_list *list = NULL;
    struct vram_snapshot *snapshot = NULL;
    struct vram *fresh = machine_open("sim:rtx4090", 0); /* that has started no daemon */
    char socket[64];
    (void)state;
    (void)snprintf(socket, sizeof(socket), "%s", getenv("VRAM_SOCKET"));
    assert_int_equal(setenv("VRAM_SOCKET", "/tmp/vram-there-is-none/vram.sock", 1), 0);
    const int results[] = {
        vram_lease_acquire(fresh, &request, NULL),
        vram_leases(fresh, 0, 0, &list),
        vram_snapshot_wait(fresh, 0, 0, 0, &snapshot),
        vram_lease_end(fresh, "0123"),
        vram_lease_resize(fresh, "0123", GIB, NULL),
        vram_lease_filled(fresh, "0123"),
        vram_daemon_pause(fresh),
        vram_daemon_resume(fresh),
    };
    int needed = vram_daemon_start(fresh, VRAM_START_IF_PROMISED);
    assert_int_equal(setenv("VRAM_SOCKET", socket, 1), 0);
    for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
        assert_int_equal(results[i], -ENOTCONN);
    }
    assert_string_equal(vram_error_code(fresh), "no_daemon");
    assert_int_equal(needed, 0);
    assert_null(list);
    assert_null(snapshot);
    assert_int_equal(access("/tmp/vram-there-is-none", F_OK), -1);
    vram_close(fresh);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(test_lease__##name, end_all)
    const struct CMUnitTest tests[] = {
        TEST(a_grant_tells_all),
        TEST(no_is_an_answer),
        TEST(what_makes_no_sense_is_refused),
        TEST(changes),
        TEST(a_snapshot_comes_when_a_lease_does),
        TEST(a_waiter_gets_what_is_freed),
        TEST(another_thread_takes_a_request_back),
        TEST(time_passes),
        TEST(a_worker_owns_what_it_asks_for),
        TEST(nothing_is_asked_of_nobody),
    };
    return cmocka_run_group_tests_name("lease", tests, served_set_up, served_tear_down);
}
