/* SPDX-License-Identifier: MIT */
/* The client of the daemon's socket: what it sends, and what it makes of every kind of answer. */
#include "common/clock.h"
#include "lib/http_client.h"
#include "tests/unit/one_answer.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define NEVER UINT64_MAX
#define SOON (clock_now_ns() + 50000000u)

static struct http_reply reply;
static char seen[4096]; /* the lines, each with a '|' behind it */
static unsigned lines_wanted;

static int set_up(void **state)
{
    (void)state;
    seen[0] = '\0';
    lines_wanted = UINT32_MAX;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    http_reply_done(&reply);
    return 0;
}

static bool see(void *data, const char *line)
{
    size_t length = strlen(seen);
    assert_ptr_equal(data, &reply);
    (void)snprintf(seen + length, sizeof(seen) - length, "%s|", line);
    return --lines_wanted > 0;
}

/* Asks a daemon that answers so. */
static int ask(enum answer_end end, const char *const *parts, http_line_function line,
               uint64_t deadline_ns)
{
    http_reply_done(&reply);
    const char *path = one_answer_start(end, parts, NULL);
    int r = http_call(path, "GET", "/v1/x?y=z", NULL, deadline_ns, line, &reply, &reply);
    (void)one_answer_stop();
    return r;
}

#define PARTS(...) ((const char *const[ANSWER_PARTS]){__VA_ARGS__, NULL})
#define HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

/* ---- Whole answers --------------------------------------------------------------------------- */

static void test_http_client__sends_what_is_asked(void **state)
{
    (void)state;
    const char *path = one_answer_start(ANSWER_CLOSES, PARTS(HEAD "\r\n{}"), NULL);
    assert_int_equal(http_call(path, "POST", "/v1/leases", "{\"a\":1}", NEVER, NULL, NULL, &reply),
                     0);
    assert_string_equal(one_answer_stop(),
                        "POST /v1/leases HTTP/1.0\r\nHost: vram\r\nConnection: close\r\n"
                        "Content-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}");
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "{}");
    assert_int_equal(reply.length, 2);
}

static void test_http_client__without_a_body_sends_none(void **state)
{
    (void)state;
    const char *path = one_answer_start(ANSWER_CLOSES, PARTS(HEAD "\r\n"), NULL);
    assert_int_equal(http_call(path, "GET", "/v1/snapshot", NULL, NEVER, NULL, NULL, &reply), 0);
    assert_string_equal(one_answer_stop(),
                        "GET /v1/snapshot HTTP/1.0\r\nHost: vram\r\nConnection: close\r\n\r\n");
    assert_string_equal(reply.body, "");
}

static void test_http_client__takes_answers_in_any_pieces(void **state)
{
    static const char whole[] = "HTTP/1.0 404 Not Found\ncontent-LENGTH: \t5 \n\nhello";
    char pieces[sizeof(whole)][2];
    const char *parts[sizeof(whole)];
    (void)state;
    for (size_t i = 0; i < sizeof(whole) - 1; i++) {
        pieces[i][0] = whole[i];
        pieces[i][1] = '\0';
        parts[i] = pieces[i];
    }
    parts[sizeof(whole) - 1] = NULL;
    assert_int_equal(ask(ANSWER_CLOSES, parts, NULL, NEVER), 0);
    assert_int_equal(reply.status, 404);
    assert_string_equal(reply.body, "hello");
}

/* Keep-alive or not: what was announced is all. */
static void test_http_client__does_not_wait_beyond_the_length(void **state)
{
    (void)state;
    assert_int_equal(
        ask(ANSWER_HANGS, PARTS(HEAD "Content-Length: 2\r\n\r\n{}trailing"), NULL, NEVER), 0);
    assert_string_equal(reply.body, "{}");
    assert_int_equal(ask(ANSWER_HANGS, PARTS(HEAD "Content-Length: 0\r\n\r\n"), NULL, NEVER), 0);
    assert_string_equal(reply.body, "");
}

static void test_http_client__large_answers_arrive(void **state)
{
    const size_t size = 3 << 20;
    char *large = malloc(size + 1);
    (void)state;
    assert_non_null(large);
    memset(large, 'x', size);
    large[size] = '\0';
    assert_int_equal(
        ask(ANSWER_CLOSES, PARTS(HEAD "Content-Length: 3145728\r\n\r\n", large), NULL, NEVER), 0);
    assert_int_equal(reply.length, size);
    assert_memory_equal(reply.body, large, size);
    free(large);
}

static void test_http_client__odd_answers_are_refused(void **state)
{
    static const char *const odd[] = {
        "nonsense\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 999 Odd\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\n", /* ends inside the head */
        HEAD "Content-Length: 5\r\n\r\nfour",
        HEAD "Content-Length: -1\r\n\r\n",
        HEAD "Content-Length: +1\r\n\r\nx",
        HEAD "Content-Length:\r\n\r\n",
        HEAD "Content-Length: 1 1\r\n\r\nx",
        HEAD "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        HEAD "Content-Length: 67108865\r\n\r\n",
        HEAD "Content-Length: 99999999999999999999999999\r\n\r\n",
        HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(odd); i++) {
        int r = ask(ANSWER_CLOSES, PARTS(odd[i]), NULL, NEVER);
        if (r != -EPROTO) {
            fail_msg("'%s' gives %d", odd[i], r);
        }
        assert_int_equal(ask(ANSWER_CLOSES, PARTS(odd[i]), see, NEVER), -EPROTO);
    }
}

static void test_http_client__a_head_without_end_is_refused(void **state)
{
    char header[1001];
    const char *parts[ANSWER_PARTS + 16];
    (void)state;
    memset(header, 'a', sizeof(header) - 1);
    header[sizeof(header) - 1] = '\0';
    parts[0] = "HTTP/1.1 200 OK\r\n";
    for (size_t i = 1; i < 20; i++) {
        parts[i] = header;
    }
    parts[20] = NULL;
    assert_int_equal(ask(ANSWER_HANGS, parts, NULL, NEVER), -EPROTO);
}

static void test_http_client__a_nul_in_the_head_is_refused(void **state)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nA: \0\r\n\r\n";
    const size_t sizes[] = {sizeof(head) - 1};
    (void)state;
    const char *path = one_answer_start(ANSWER_CLOSES, PARTS(head), sizes);
    assert_int_equal(http_call(path, "GET", "/", NULL, NEVER, NULL, NULL, &reply), -EPROTO);
    (void)one_answer_stop();
}

/* ---- Lines ----------------------------------------------------------------------------------- */

static void test_http_client__lines_come_one_by_one(void **state)
{
    (void)state;
    assert_int_equal(
        ask(ANSWER_CLOSES,
            PARTS(HEAD "\r\n{\"wai", "ting\":1}\r\n\n{\"waiting\":2}\n{\"ver", "dict\":3}\n"), see,
            NEVER),
        0);
    assert_string_equal(seen, "{\"waiting\":1}|{\"waiting\":2}|{\"verdict\":3}|");
    assert_string_equal(reply.body, "{\"verdict\":3}");
}

static void test_http_client__a_length_ends_the_last_line(void **state)
{
    (void)state;
    assert_int_equal(ask(ANSWER_HANGS, PARTS(HEAD "Content-Length: 3\r\n\r\na\nbc"), see, NEVER),
                     0);
    assert_string_equal(seen, "a|b|");
    assert_string_equal(reply.body, "b");
}

static void test_http_client__a_line_that_was_cut_is_none(void **state)
{
    (void)state;
    assert_int_equal(ask(ANSWER_CLOSES, PARTS(HEAD "\r\na\nb"), see, NEVER), -EPROTO);
    assert_string_equal(seen, "a|");
    seen[0] = '\0';
    assert_int_equal(ask(ANSWER_CLOSES, PARTS(HEAD "Content-Length: 9\r\n\r\na\nb\n"), see, NEVER),
                     -EPROTO);
    assert_string_equal(seen, "a|b|");
}

static void test_http_client__no_line_is_an_empty_answer(void **state)
{
    (void)state;
    assert_int_equal(ask(ANSWER_CLOSES, PARTS(HEAD "\r\n"), see, NEVER), 0);
    assert_string_equal(seen, "");
    assert_string_equal(reply.body, "");
}

/* While the daemon waits for more to tell. */
static void test_http_client__who_has_heard_enough_may_go(void **state)
{
    (void)state;
    lines_wanted = 2;
    assert_int_equal(ask(ANSWER_HANGS, PARTS(HEAD "\r\na\nb\n"), see, NEVER), -ECANCELED);
    assert_string_equal(seen, "a|b|");
    assert_null(reply.body);
}

static void test_http_client__refusals_come_whole_where_lines_were_asked(void **state)
{
    (void)state;
    assert_int_equal(
        ask(ANSWER_CLOSES, PARTS("HTTP/1.1 403 Forbidden\r\n\r\n{\n\"error\":1}"), see, NEVER), 0);
    assert_int_equal(reply.status, 403);
    assert_string_equal(reply.body, "{\n\"error\":1}");
    assert_string_equal(seen, "");
}

/* ---- No answer ------------------------------------------------------------------------------- */

static void test_http_client__a_daemon_that_goes_is_told_from_one_that_babbles(void **state)
{
    (void)state;
    assert_int_equal(ask(ANSWER_CLOSES, PARTS(""), NULL, NEVER), -ECONNRESET);
    assert_int_equal(ask(ANSWER_RESETS, PARTS(""), NULL, NEVER), -ECONNRESET);
    assert_int_equal(ask(ANSWER_RESETS, PARTS(HEAD "\r\n{"), see, NEVER), -ECONNRESET);
}

/* It may have said why before it closed with the request unread. */
static void test_http_client__an_answer_before_the_request_is_heard(void **state)
{
    char *body = calloc(1, (1 << 20) + 1);
    const char *const early[] = {HEAD "Content-Length: 2\r\n\r\n{}", NULL};
    (void)state;
    assert_non_null(body);
    memset(body, ' ', 1 << 20);
    const char *path = one_answer_start(ANSWER_RESETS, early, NULL);
    int r = http_call(path, "POST", "/", body, NEVER, NULL, NULL, &reply);
    (void)one_answer_stop();
    free(body);
    assert_true(r == 0 || r == -ECONNRESET);
    assert_true(r < 0 || strcmp(reply.body, "{}") == 0);
}

static void test_http_client__silence_ends_at_the_deadline(void **state)
{
    (void)state;
    assert_int_equal(ask(ANSWER_HANGS, PARTS(""), NULL, SOON), -ETIMEDOUT);
    assert_int_equal(ask(ANSWER_HANGS, PARTS(HEAD), NULL, SOON), -ETIMEDOUT);
    assert_int_equal(ask(ANSWER_HANGS, PARTS(HEAD "\r\n{"), NULL, SOON), -ETIMEDOUT);
    assert_int_equal(ask(ANSWER_HANGS, PARTS(HEAD "\r\na\n"), see, SOON), -ETIMEDOUT);
    assert_string_equal(seen, "a|");
    assert_int_equal(ask(ANSWER_HANGS, PARTS(HEAD "\r\n"), NULL, 0), -ETIMEDOUT);
}

/* The queue of a daemon that accepts nobody: connecting itself waits. */
static void test_http_client__a_full_queue_ends_at_the_deadline(void **state)
{
    int fds[8], count = 0;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)state;
    const char *path = one_answer_start(ANSWER_NO_MORE, NULL, NULL);
    memcpy(address.sun_path, path, strlen(path) + 1);
    for (; count < 8; count++) {
        fds[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (connect(fds[count], (struct sockaddr *)&address, sizeof(address)) < 0) {
            assert_int_equal(errno, EAGAIN);
            break;
        }
    }
    assert_true(count < 8);
    assert_int_equal(http_call(path, "GET", "/", NULL, SOON, NULL, NULL, &reply), -ETIMEDOUT);
    for (int i = 0; i <= count; i++) {
        (void)close(fds[i]);
    }
    (void)one_answer_stop();
}

static void test_http_client__absence_is_told_from_refusal(void **state)
{
    char path[300];
    (void)state;
    assert_int_equal(
        http_call("/nonexistent/vram.sock", "GET", "/", NULL, NEVER, NULL, NULL, &reply), -ENOENT);
    assert_int_equal(http_call("/dev/null/vram.sock", "GET", "/", NULL, NEVER, NULL, NULL, &reply),
                     -ENOENT);
    memset(path, 'x', sizeof(path) - 1);
    path[0] = '/';
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(http_call(path, "GET", "/", NULL, NEVER, NULL, NULL, &reply), -ENAMETOOLONG);
    /* A socket that nobody listens at any more. */
    const char *live = one_answer_start(ANSWER_NO_MORE, NULL, NULL);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s.old", live);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    (void)close(fd);
    assert_int_equal(http_call(address.sun_path, "GET", "/", NULL, NEVER, NULL, NULL, &reply),
                     -ECONNREFUSED);
    assert_int_equal(unlink(address.sun_path), 0);
    (void)one_answer_stop();
}

int main(void)
{
#define MADE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        MADE(test_http_client__sends_what_is_asked),
        MADE(test_http_client__without_a_body_sends_none),
        MADE(test_http_client__takes_answers_in_any_pieces),
        MADE(test_http_client__does_not_wait_beyond_the_length),
        MADE(test_http_client__large_answers_arrive),
        MADE(test_http_client__odd_answers_are_refused),
        MADE(test_http_client__a_head_without_end_is_refused),
        MADE(test_http_client__a_nul_in_the_head_is_refused),
        MADE(test_http_client__lines_come_one_by_one),
        MADE(test_http_client__a_length_ends_the_last_line),
        MADE(test_http_client__a_line_that_was_cut_is_none),
        MADE(test_http_client__no_line_is_an_empty_answer),
        MADE(test_http_client__who_has_heard_enough_may_go),
        MADE(test_http_client__refusals_come_whole_where_lines_were_asked),
        MADE(test_http_client__a_daemon_that_goes_is_told_from_one_that_babbles),
        MADE(test_http_client__an_answer_before_the_request_is_heard),
        MADE(test_http_client__silence_ends_at_the_deadline),
        MADE(test_http_client__a_full_queue_ends_at_the_deadline),
        MADE(test_http_client__absence_is_told_from_refusal),
    };
    return cmocka_run_group_tests_name("http_client", tests, NULL, NULL);
}
