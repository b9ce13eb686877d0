/* SPDX-License-Identifier: MIT */
/* Processes and peers: hostile /proc texts, and real processes that connect, end and are replaced. */
#include "tests/unit/fake_root.h"
#include "tests/unit/unit.h"

#include "daemon/peer.h"
#include "daemon/process.h"
#include "include/vram.h"
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *root;

static int set_up(void **state)
{
    (void)state;
    root = fake_root_make();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_root_remove(root);
    return 0;
}

/* ---- /proc ----------------------------------------------------------------------------------- */

static void test_process__reads_stat(void **state)
{
    static const struct {
        const char *text;
        int result;
        pid_t parent;
        uint64_t start_time;
    } cases[] = {
        {"7 (a) S 3 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 99 1 2\n", 0, 3, 99},
        {"7 (a) R) S 3 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 99", 0, 3, 99},
        {"7 () S 0 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 18446744073709551615 1", 0, 0, UINT64_MAX},
        {"", -EBADMSG, 0, 0},
        {"7 (a)", -EBADMSG, 0, 0},
        {"7 (a) S", -EBADMSG, 0, 0},
        {"7 (a) S ", -EBADMSG, 0, 0},
        {"7 (a) S 3", -EBADMSG, 0, 0},
        {"7 (a) S 3 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0", -EBADMSG, 0, 0},
        {"7 (a) S 3 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 x", -EBADMSG, 0, 0},
        {"7 (a) S 3 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 99999999999999999999 1", -EBADMSG, 0, 0},
        {"7 (a) S -3 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 99 1 2\n", -EBADMSG, 0, 0},
        {"7 (a) S 2147483648 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 99 1 2\n", -EBADMSG, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct process_stat stat = {-1, 0};
        fake_root_text(root, "/proc/7/stat", cases[i].text);
        assert_int_equal(process_stat(root, 7, &stat), cases[i].result);
        assert_int_equal(stat.parent, cases[i].result == 0 ? cases[i].parent : -1);
        assert_int_equal(stat.start_time, cases[i].start_time);
    }
    struct process_stat stat;
    assert_int_equal(process_stat(root, 8, &stat), -ESRCH);
    assert_int_equal(process_stat(root, 0, &stat), -ESRCH);
    assert_int_equal(process_stat(root, -1, &stat), -ESRCH);
}

static void test_process__reads_the_effective_user(void **state)
{
    uid_t uid = 5;
    (void)state;
    fake_root_text(root, "/proc/7/status", "Name:\tUid:\t9\t9\nUid:\t1000\t1001\t1002\t1003\n");
    assert_int_equal(process_uid(root, 7, &uid), 0);
    assert_int_equal(uid, 1001);
    static const char *const wrong[] = {"",
                                        "Uid:",
                                        "Uid:\t1",
                                        "Uid:\t1\n",
                                        "Uid:\tx\t1\t",
                                        "Uid:\t1\t4294967295\t",
                                        "xUid:\t1\t2\t3"};
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        fake_root_text(root, "/proc/7/status", wrong[i]);
        assert_int_equal(process_uid(root, 7, &uid), -EBADMSG);
        assert_int_equal(uid, 1001);
    }
}

static void test_process__translates_nobody_it_cannot_tell(void **state)
{
    pid_t pid = 5;
    (void)state;
    assert_int_equal(process_translate(root, 7, 1, &pid), -ESRCH);
    assert_int_equal(process_translate("", getpid(), getpid(), &pid), 0);
    assert_int_equal(pid, getpid());
    assert_int_equal(process_translate("", getpid(), 0, &pid), -ESRCH);
    assert_int_equal(process_translate("", getpid(), -1, &pid), -ESRCH);
}

static void link_to(const char *path, const char *target)
{
    char joined[512];
    (void)snprintf(joined, sizeof(joined), "%s%s", root, path);
    (void)unlink(joined);
    assert_int_equal(symlink(target, joined), 0);
}

static void test_process__translates_pids_of_other_namespaces(void **state)
{
    char path[64];
    pid_t pid = 0;
    (void)state;
    (void)snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)getpid());
    fake_root_directory(root, "/proc/100/ns");
    fake_root_directory(root, "/proc/101/ns");
    fake_root_directory(root, "/proc/102/ns");
    fake_root_directory(root, "/proc/103/ns");
    link_to("/proc/100/ns/pid", "pid:[4026532001]");
    link_to("/proc/101/ns/pid", "pid:[4026532001]");
    link_to("/proc/102/ns/pid", "pid:[4026532002]");
    fake_root_text(root, "/proc/100/status", "NSpid:\t100\t1\n");
    fake_root_text(root, "/proc/101/status", "Name:\tx\nNSpid:\t101\t30\t7\nUid:\t1\t1\n");
    fake_root_text(root, "/proc/102/status", "NSpid:\t102\t8\n"); /* another namespace's 8 */
    fake_root_text(root, "/proc/103/status", "NSpid:\t103\t9\n"); /* its namespace is not told */
    assert_int_equal(process_translate(root, 100, 7, &pid), 0);
    assert_int_equal(pid, 101);
    assert_int_equal(process_translate(root, 100, 1, &pid), 0);
    assert_int_equal(pid, 100);
    assert_int_equal(process_translate(root, 100, 30, &pid), -ESRCH);
    assert_int_equal(process_translate(root, 100, 8, &pid), -ESRCH);
    assert_int_equal(process_translate(root, 100, 9, &pid), -ESRCH);
    link_to("/proc/100/ns/pid", "pid:[x]");
    assert_int_equal(process_translate(root, 100, 7, &pid), -EBADMSG);
}

/* ---- Life ------------------------------------------------------------------------------------ */

/* A child that lives until its pipe is closed. */
static pid_t start_child(int *ret_pipe)
{
    int ends[2];
    char byte;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)close(ends[1]);
        ssize_t n = read(ends[0], &byte, 1);
        _exit(n == 0 ? 0 : 1);
    }
    (void)close(ends[0]);
    *ret_pipe = ends[1];
    return pid;
}

static void count_end(void *data)
{
    int *count = data;
    (*count)++;
}

/* valgrind, and kernels before 5.3, have no such call. */
static void need_pidfds(void)
{
    int fd;
    if (process_open(getpid(), VRAM_UNKNOWN, &fd) < 0) {
        skip();
    }
    (void)close(fd);
}

static void test_process__tells_its_end_once(void **state)
{
    need_pidfds();
    struct event_base *base = event_base_new();
    struct process_watch *watch = NULL;
    struct process_stat stat;
    int alive, pidfd = -1, ends = 0;
    (void)state;
    pid_t pid = start_child(&alive);
    assert_int_equal(process_stat("", pid, &stat), 0);
    assert_int_equal(process_open(pid, stat.start_time + 1, &pidfd), -ESRCH);
    assert_int_equal(process_open(pid, stat.start_time, &pidfd), 0);
    assert_true(fcntl(pidfd, F_GETFD) & FD_CLOEXEC);
    assert_false(process_ended(pidfd));
    assert_int_equal(process_watch_new(base, pidfd, count_end, &ends, &watch), 0);
    (void)event_base_loop(base, EVLOOP_NONBLOCK);
    assert_int_equal(ends, 0);
    (void)close(alive);
    (void)event_base_loop(base, EVLOOP_ONCE);
    assert_int_equal(ends, 1);
    assert_true(process_ended(pidfd));
    assert_int_equal(process_open(pid, stat.start_time, &pidfd), -ESRCH); /* a zombie is no life */
    (void)event_base_loop(base, EVLOOP_NONBLOCK);
    assert_int_equal(ends, 1);
    assert_null(process_watch_free(watch));
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(process_open(pid, VRAM_UNKNOWN, &pidfd), -ESRCH);
    assert_int_equal(process_open(0, VRAM_UNKNOWN, &pidfd), -ESRCH);
    assert_int_equal(process_open(-1, VRAM_UNKNOWN, &pidfd), -ESRCH);
    event_base_free(base);
}

/* One that the daemon started, and that was over before anybody looked. */
static void test_process__a_child_that_has_ended_is_watched(void **state)
{
    need_pidfds();
    struct event_base *base = event_base_new();
    struct process_watch *watch = NULL;
    siginfo_t info;
    int alive, pidfd = -1, ends = 0;
    (void)state;
    pid_t pid = start_child(&alive);
    (void)close(alive);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(process_open(pid, VRAM_UNKNOWN, &pidfd), -ESRCH);
    assert_int_equal(process_open_child(pid, &pidfd), 0);
    assert_true(fcntl(pidfd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(process_watch_new(base, pidfd, count_end, &ends, &watch), 0);
    (void)event_base_loop(base, EVLOOP_ONCE);
    assert_int_equal(ends, 1);
    assert_null(process_watch_free(watch));
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(process_open_child(pid, &pidfd), -ESRCH);
    event_base_free(base);
}

/* ---- Peers ----------------------------------------------------------------------------------- */

static int make_listener(struct sockaddr_un *address)
{
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof(sa_family_t);
    address->sun_family = AF_UNIX;
    assert_int_equal(bind(listener, (struct sockaddr *)address, size), 0); /* the kernel names it */
    assert_int_equal(listen(listener, 8), 0);
    size = sizeof(*address);
    assert_int_equal(getsockname(listener, (struct sockaddr *)address, &size), 0);
    return listener;
}

/* A child that connects, and lives until it can read from the connection. `stays`: with its descriptor handed on to a
 * child of its own, which lives as long. */
static pid_t connect_child(const struct sockaddr_un *address, bool hands_on)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char byte;
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        /* The kernel names with five digits after the NUL. */
        if (connect(fd, (const struct sockaddr *)address, sizeof(sa_family_t) + 6) < 0) {
            _exit(2);
        }
        if (hands_on && fork() > 0) {
            _exit(0);
        }
        ssize_t n = read(fd, &byte, 1);
        _exit(n >= 0 ? 0 : 1);
    }
    return pid;
}

static void check_peer(unsigned flags)
{
    struct sockaddr_un address = {0};
    struct peer peer = {.pidfd = -1};
    struct process_stat stat;
    int listener = make_listener(&address);
    pid_t pid = connect_child(&address, false);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(peer_read(fd, process_now_ticks(), flags, &peer), 0);
    assert_int_equal(peer.pid, pid);
    assert_int_equal(peer.uid, geteuid());
    assert_int_equal(peer.gid, getegid());
    assert_int_equal(process_stat("", pid, &stat), 0);
    assert_int_equal(peer.start_time, stat.start_time);
    assert_true(peer.is_near);
    assert_true(peer_is_admin(&peer));
    assert_true(peer_in_group(&peer, getegid()));
    assert_false(peer_in_group(&peer, 4000000000u));
    assert_true(fcntl(peer.pidfd, F_GETFD) & FD_CLOEXEC);
    assert_false(process_ended(peer.pidfd));
    (void)close(fd);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(process_ended(peer.pidfd));
    peer_done(&peer);
    (void)close(listener);
}

static void test_peer__is_known_by_its_descriptor(void **state)
{
    (void)state;
    check_peer(0);
}

static void test_peer__is_known_by_its_start_time(void **state)
{
    need_pidfds();
    (void)state;
    check_peer(PEER_WITHOUT_PIDFD);
}

static void check_dead_peer(unsigned flags)
{
    struct sockaddr_un address = {0};
    struct peer peer = {.pidfd = -2};
    int listener = make_listener(&address);
    pid_t pid = connect_child(&address, true);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(peer_read(fd, process_now_ticks(), flags, &peer), -ESRCH); /* a zombie */
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(peer_read(fd, process_now_ticks(), flags, &peer), -ESRCH);
    assert_int_equal(peer.pidfd, -2); /* untouched */
    (void)close(fd);
    (void)close(listener);
}

static void test_peer__that_has_ended_is_nobody(void **state)
{
    need_pidfds();
    (void)state;
    check_dead_peer(0);
    check_dead_peer(PEER_WITHOUT_PIDFD);
}

static void test_peer__who_started_after_the_connection_is_another(void **state)
{
    need_pidfds();
    struct sockaddr_un address = {0};
    struct peer peer;
    struct process_stat stat;
    int listener = make_listener(&address);
    (void)state;
    pid_t pid = connect_child(&address, false);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_int_equal(process_stat("", pid, &stat), 0);
    assert_int_equal(peer_read(fd, stat.start_time - 1, PEER_WITHOUT_PIDFD, &peer), -ESRCH);
    assert_int_equal(peer_read(fd, stat.start_time, PEER_WITHOUT_PIDFD, &peer), 0);
    peer_done(&peer);
    (void)close(fd);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    (void)close(listener);
}

static void test_peer__rights_need_the_daemons_namespaces(void **state)
{
    struct peer peer = {.pidfd = -1, .pid = 7, .uid = 0, .is_near = true};
    (void)state;
    assert_true(peer_is_admin(&peer));
    peer.is_near = false;
    assert_false(peer_is_admin(&peer));
    peer.uid = geteuid();
    assert_false(peer_is_admin(&peer));
    peer.is_near = true;
    assert_true(peer_is_admin(&peer));
    peer.uid = geteuid() + 1;
    assert_false(peer_is_admin(&peer));
    gid_t groups[] = {3, 5};
    peer.gid = 4;
    peer.groups = groups;
    peer.group_count = 2;
    assert_true(peer_in_group(&peer, 4));
    assert_true(peer_in_group(&peer, 5));
    assert_false(peer_in_group(&peer, 6));
}

int main(void)
{
#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    static const struct CMUnitTest tests[] = {
        CASE(test_process__reads_stat),
        CASE(test_process__reads_the_effective_user),
        CASE(test_process__translates_nobody_it_cannot_tell),
        CASE(test_process__translates_pids_of_other_namespaces),
        TEST(test_process__tells_its_end_once),
        TEST(test_process__a_child_that_has_ended_is_watched),
        TEST(test_peer__is_known_by_its_descriptor),
        TEST(test_peer__is_known_by_its_start_time),
        TEST(test_peer__that_has_ended_is_nobody),
        TEST(test_peer__who_started_after_the_connection_is_another),
        TEST(test_peer__rights_need_the_daemons_namespaces),
    };
    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
