/* SPDX-License-Identifier: MIT */
/* Leases on offer through the public header: a client's thread is asked, and obeys or does not. */
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

/* ---- Who offers ------------------------------------------------------------------------------ */

enum manner { ENDS, SHRINKS, BUSY_THEN_ENDS, IS_KILLED };

struct client {
    enum manner manner;
    char id[32];
    int asked; /* how often */
};

/* As its manner is, through the handle that waits to be asked. */
static int give_back(void *data, const struct vram_wanted *wanted)
{
    struct client *client = data;
    client->asked++;
    if (wanted->size < sizeof(*wanted) || !wanted->bytes || wanted->gpu_count != 1 ||
        strcmp(wanted->gpus[0], "GPU-00000000-1111") != 0 ||
        strncmp(wanted->for_whom, "waits (", 7) != 0) {
        return -EINVAL;
    }
    switch (client->manner) {
    case ENDS:
        return vram_lease_end(vram, client->id);
    case SHRINKS:
        return vram_lease_resize(vram, client->id, 4 * GIB, NULL);
    case BUSY_THEN_ENDS:
        return client->asked == 1 ? -EBUSY : vram_lease_end(vram, client->id);
    default:
        (void)kill(getpid(), SIGKILL);
        return 0;
    }
}

static void *attend(void *data)
{
    struct client *client = data;
    struct vram_offer offer = VRAM_OFFER_INIT;
    offer.give_back = give_back;
    offer.data = client;
    return (void *)(intptr_t)vram_lease_offer(vram, client->id, &offer);
}

/* A process with a lease of 20 GiB on offer. Its exit status is how often it was asked; 100 and more: it went wrong. */
static pid_t begin_client(enum manner manner)
{
    int ends[2];
    char byte = 0;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    pid_t child = fork();
    if (child == 0) {
        struct client client = {.manner = manner};
        struct vram_lease_request request = VRAM_LEASE_REQUEST_INIT;
        struct vram_verdict *verdict = NULL;
        pthread_t thread;
        void *result = NULL;
        request.size_bytes = 20 * GIB;
        request.label = "job";
        request.timeout_ms = FOR_EVER_MS;
        if (vram_lease_acquire(vram, &request, &verdict) != VRAM_FITS) {
            _exit(100);
        }
        (void)snprintf(client.id, sizeof(client.id), "%s", verdict->lease->id);
        vram_verdict_free(verdict);
        if (pthread_create(&thread, NULL, attend, &client) != 0) {
            _exit(101);
        }
        (void)!write(ends[1], "x", 1);
        (void)pthread_join(thread, &result);
        _exit(result ? 102 : client.asked);
    }
    assert_int_equal(read(ends[0], &byte, 1), 1);
    (void)close(ends[0]);
    (void)close(ends[1]);
    return child;
}

/* ---- Who waits ------------------------------------------------------------------------------- */

/* What made room for 10 GiB, which are ended again; for free(3). */
static char *wait_for_room(void)
{
    struct vram_lease_request request = VRAM_LEASE_REQUEST_INIT;
    struct vram_verdict *verdict = NULL;
    request.size_bytes = 10 * GIB;
    request.label = "waits";
    request.timeout_ms = FOR_EVER_MS;
    int r = vram_lease_acquire(vram, &request, &verdict);
    if (r != VRAM_FITS) {
        fail_msg("%d: %s", r, r < 0 ? vram_error(vram) : verdict->message);
    }
    char *made_room = strdup(verdict->made_room ? verdict->made_room : "");
    assert_int_equal(vram_lease_end(vram, verdict->lease->id), 0);
    vram_verdict_free(verdict);
    return made_room;
}

static void made(const char *beginning)
{
    char *text = wait_for_room();
    if (strncmp(text, beginning, strlen(beginning)) != 0) {
        assert_string_equal(text, beginning);
    }
    free(text);
}

static int end_of(pid_t client)
{
    int status = 0;
    assert_int_equal(waitpid(client, &status, 0), client);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void test_offer__ends_its_lease(void **state)
{
    (void)state;
    pid_t client = begin_client(ENDS);
    made("asked job: 20.0 GiB back in ");
    assert_int_equal(end_of(client), 1); /* and vram_lease_offer() returned 0 */
}

static void test_offer__shrinks(void **state)
{
    (void)state;
    pid_t client = begin_client(SHRINKS);
    made("asked job: 16.0 GiB back in ");
    (void)kill(client, SIGKILL);
    assert_int_equal(end_of(client), -SIGKILL);
}

static void test_offer__is_busy_at_first(void **state)
{
    (void)state;
    pid_t client = begin_client(BUSY_THEN_ENDS);
    made("asked job: nothing came back (it is busy); asked job: 20.0 GiB back in ");
    assert_int_equal(end_of(client), 2);
}

static void test_offer__is_killed_while_it_is_asked(void **state)
{
    (void)state;
    pid_t client = begin_client(IS_KILLED);
    made("asked job: 20.0 GiB back in ");
    assert_int_equal(end_of(client), -SIGKILL);
}

/* Its promise is on paper, and it offers it to the next daemon. */
static void test_offer__outlives_the_daemon(void **state)
{
    (void)state;
    pid_t client = begin_client(ENDS);
    (void)kill(served_by(), SIGKILL);
    assert_true(vram_daemon_start(vram, 0) >= 0);
    made("asked job: 20.0 GiB back in ");
    assert_int_equal(end_of(client), 1);
}

/* ---- Ends ------------------------------------------------------------------------------------ */

static int never(void *data, const struct vram_wanted *wanted)
{
    (void)data;
    (void)wanted;
    return 0;
}

static void test_offer__another_thread_ends_it(void **state)
{
    struct client client = {.manner = ENDS};
    struct vram_lease_request request = VRAM_LEASE_REQUEST_INIT;
    struct vram_verdict *verdict = NULL;
    pthread_t thread;
    void *result;
    (void)state;
    request.size_bytes = GIB;
    request.timeout_ms = FOR_EVER_MS;
    assert_int_equal(vram_lease_acquire(vram, &request, &verdict), VRAM_FITS);
    (void)snprintf(client.id, sizeof(client.id), "%s", verdict->lease->id);
    vram_verdict_free(verdict);
    assert_int_equal(pthread_create(&thread, NULL, attend, &client), 0);
    char *holders = NULL;
    do { /* until it is on offer */
        free(holders);
        assert_int_equal(vram_daemon_get(vram, "/v1/holders", &holders), 0);
    } while (!strstr(holders, client.id));
    free(holders);
    assert_int_equal(vram_lease_end(vram, client.id), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_null(result);
    assert_int_equal(client.asked, 0);
}

static void test_offer__what_makes_no_sense_is_refused(void **state)
{
    struct vram_offer offer = VRAM_OFFER_INIT;
    (void)state;
    assert_int_equal(vram_lease_offer(vram, "0123456789abcdef", &offer), -EINVAL);
    offer.give_back = never;
    assert_int_equal(vram_lease_offer(vram, "nonsense", &offer), -EINVAL);
    assert_int_equal(vram_lease_offer(vram, "0123456789abcdef", &offer), -ENOENT);
    offer.cost = 1001;
    assert_int_equal(vram_lease_offer(vram, "0123456789abcdef", &offer), -EINVAL);
    offer.size = 0;
    assert_int_equal(vram_lease_offer(vram, "0123456789abcdef", &offer), -EINVAL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_offer__ends_its_lease),
        cmocka_unit_test(test_offer__shrinks),
        cmocka_unit_test(test_offer__is_busy_at_first),
        cmocka_unit_test(test_offer__is_killed_while_it_is_asked),
        cmocka_unit_test(test_offer__outlives_the_daemon),
        cmocka_unit_test(test_offer__another_thread_ends_it),
        cmocka_unit_test(test_offer__what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests_name("offer", tests, served_set_up, served_tear_down);
}
