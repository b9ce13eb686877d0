/* SPDX-License-Identifier: MIT */
/* Users that labels of containers name: where engines keep them, what may stand there, and who it is for. */
#include "common/container_id.h"
#include "daemon/container_label.h"
#include "daemon/containers.h"
#include "tests/unit/fake_root.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LABEL "vram.user"
#define ID "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00"
#define OTHER "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DOCKER "/var/lib/docker/containers/" ID "/config.v2.json"
#define PODMAN "/var/lib/containers/storage/overlay-containers/" ID "/userdata/config.json"
#define CONTAINERD "/run/containerd/io.containerd.runtime.v2.task/k8s.io/" ID "/config.json"
#define NOBODYS_NUMBER UINT32_C(0xF0000000)

/* As Docker writes it, and as the OCI runtimes read it: the rest of either is left out. */
#define DOCKERS(user)                                                                              \
    "{\"StreamConfig\":{},\"State\":{\"Running\":true,\"Pid\":7},\"ID\":\"" ID "\","               \
    "\"Config\":{\"Hostname\":\"c0ffee00c0ff\",\"Labels\":{\"" LABEL "\":" user                    \
    ",\"maintainer\":\"x\"}},\"Name\":\"/job\"}"
#define OCIS(user)                                                                                 \
    "{\"ociVersion\":\"1.2.0\",\"process\":{\"args\":[\"sh\"]},\"annotations\":{"                  \
    "\"io.container.manager\":\"libpod\",\"" LABEL "\":" user "}}"

static const char *root;

static int set_up(void **state)
{
    (void)state;
    (void)umask(022);
    root = fake_root_make();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_root_remove(root);
    return 0;
}

/* ---- Texts ----------------------------------------------------------------------------------- */

static void test_label__of_either_kind_of_file(void **state)
{
    static const struct {
        const char *text;
        int result;
        const char *user;
    } cases[] = {
        {DOCKERS("\"ada\""), 1, "ada"},
        {OCIS("\"ada\""), 1, "ada"},
        {OCIS("\"Ada_L.o-v@lab\""), 1, "Ada_L.o-v@lab"},
        {DOCKERS("\"abcdefghijabcdefghijabcdefghij12\""), 1, "abcdefghijabcdefghijabcdefghij12"},
        {DOCKERS("\"abcdefghijabcdefghijabcdefghij123\""), -EINVAL, NULL},
        {DOCKERS("\"\""), -EINVAL, NULL},
        {DOCKERS("\"1000\""), -EINVAL, NULL}, /* a number is whose it says it is */
        {DOCKERS("\"-rf\""), -EINVAL, NULL},
        {DOCKERS("\"a b\""), -EINVAL, NULL},
        {DOCKERS("\"a\\nb\""), -EINVAL, NULL},
        {DOCKERS("\"a\\u001b[31m\""), -EINVAL, NULL},
        {DOCKERS("\"\\u0430da\""), -EINVAL, NULL}, /* a Cyrillic letter */
        {DOCKERS("null"), -EINVAL, NULL},
        {DOCKERS("[\"ada\"]"), -EINVAL, NULL},
        {"{\"Config\":{\"Labels\":null}}", 0, NULL},
        {"{\"Config\":{\"Labels\":{\"vram.users\":\"ada\"}}}", 0, NULL},
        {"{}", 0, NULL},
        {"[]", -EBADMSG, NULL},
        {"", -EBADMSG, NULL},
        {"{\"Config\":{\"Labels\":{\"" LABEL "\":\"ada\"}}", -EBADMSG, NULL}, /* cut off */
        {DOCKERS("\"a\\u0000b\""), -EBADMSG, NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        char user[ACCOUNT_NAME_MAX] = "";
        assert_int_equal(container_label_parse(cases[i].text, strlen(cases[i].text), LABEL, user),
                         cases[i].result);
        assert_string_equal(user, cases[i].user ? cases[i].user : "");
    }
}

/* ---- Files ----------------------------------------------------------------------------------- */

static int look(char user[ACCOUNT_NAME_MAX])
{
    user[0] = '\0';
    return container_label_read(root, ID, LABEL, user);
}

static void test_label__where_each_engine_keeps_it(void **state)
{
    static const char elsewhere[] = "/data/docker/containers/" ID "/config.v2.json";
    static const struct {
        const char *path, *text;
    } cases[] = {{DOCKER, DOCKERS("\"ada\"")},
                 {PODMAN, OCIS("\"ada\"")},
                 {CONTAINERD, OCIS("\"ada\"")},
                 {elsewhere, DOCKERS("\"ada\"")}};
    char user[ACCOUNT_NAME_MAX];
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        if (cases[i].path == elsewhere) {
            fake_root_text(root, "/etc/docker/daemon.json", "{\"data-root\": \"/data/docker\"}");
        }
        assert_int_equal(look(user), -ENOENT);
        fake_root_text(root, cases[i].path, cases[i].text);
        assert_int_equal(look(user), 1);
        assert_string_equal(user, "ada");
        fake_root_delete(root, cases[i].path);
    }
}

/* Docker's containers are containerd's too, where annotations are. */
static void test_label__of_several_files_the_one_that_has_it(void **state)
{
    char user[ACCOUNT_NAME_MAX];
    (void)state;
    fake_root_text(root, DOCKER, "{\"Config\":{\"Labels\":{}}}");
    assert_int_equal(look(user), 0);
    fake_root_text(root, "/run/containerd/io.containerd.runtime.v2.task/moby/" ID "/config.json",
                   OCIS("\"bob\""));
    assert_int_equal(look(user), 1);
    assert_string_equal(user, "bob");
}

static void make_link(const char *to, const char *path)
{
    char target[512], link[512];
    (void)snprintf(target, sizeof(target), "%s%s", root, to);
    (void)snprintf(link, sizeof(link), "%s%s", root, path);
    assert_int_equal(symlink(target, link), 0);
}

static void test_label__no_link_is_followed_below_an_engines_directory(void **state)
{
    char user[ACCOUNT_NAME_MAX];
    (void)state;
    fake_root_text(root, "/else/" ID "/config.v2.json", DOCKERS("\"eve\""));
    fake_root_directory(root, "/var/lib/docker/containers");
    make_link("/else/" ID, "/var/lib/docker/containers/" ID);
    assert_int_not_equal(look(user), 1);
    fake_root_delete(root, "/var/lib/docker/containers/" ID);
    fake_root_directory(root, "/var/lib/docker/containers/" ID);
    make_link("/else/" ID "/config.v2.json", DOCKER);
    assert_int_equal(look(user), -ELOOP);
    fake_root_delete(root, "/var/lib/docker");
    fake_root_text(root, "/disk/containers/" ID "/config.v2.json", DOCKERS("\"ada\""));
    make_link("/disk", "/var/lib/docker"); /* the directory itself an administrator may move */
    assert_int_equal(look(user), 1);
}

static void test_label__files_that_are_not_believed(void **state)
{
    char user[ACCOUNT_NAME_MAX], path[512];
    (void)state;
    fake_root_text(root, DOCKER, DOCKERS("\"ada\""));
    (void)snprintf(path, sizeof(path), "%s%s", root, DOCKER);
    assert_int_equal(chmod(path, 0664), 0);
    assert_int_equal(look(user), -EPERM);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(look(user), 1);
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 4242, 4242), 0);
        assert_int_equal(look(user), -EPERM);
    }
    fake_root_delete(root, DOCKER);
    assert_int_equal(mkfifo(path, 0600), 0); /* nobody waits for who writes it */
    assert_int_equal(look(user), -EINVAL);
    fake_root_delete(root, DOCKER);
    fake_root_directory(root, DOCKER);
    assert_int_not_equal(look(user), 1);
    fake_root_delete(root, DOCKER);
    char *long_text = calloc(1, CONTAINER_METADATA_MAX + 1);
    assert_non_null(long_text);
    memset(long_text, ' ', CONTAINER_METADATA_MAX + 1);
    fake_root_write(root, DOCKER, long_text, CONTAINER_METADATA_MAX + 1);
    assert_int_equal(look(user), -EFBIG);
    memcpy(long_text, DOCKERS("\"ada\""), strlen(DOCKERS("\"ada\"")));
    fake_root_write(root, DOCKER, long_text, CONTAINER_METADATA_MAX);
    assert_int_equal(look(user), 1);
    free(long_text);
}

/* ---- Processes ------------------------------------------------------------------------------- */

static void put_in(uint32_t pid, const char *cgroups)
{
    char path[64];
    fake_root_process(root, pid, "python3", 100 + pid, 0);
    (void)snprintf(path, sizeof(path), "/proc/%u/cgroup", pid);
    fake_root_text(root, path, cgroups);
}

static const char *user_of(struct containers *containers, pid_t pid)
{
    const struct account *account = containers_account(containers, pid, 100 + (uint64_t)pid);
    return account ? account->name : "";
}

static void test_containers__of_a_process(void **state)
{
    static const struct {
        const char *cgroups, *user;
    } cases[] = {
        {"0::/system.slice/docker-" ID ".scope\n", "ada"},
        {"0::/machine.slice/libpod-" ID ".scope/container\n", "ada"},
        {"0::/docker/" ID "\n", "ada"},
        {"12:pids:/docker/" ID "\n0::/system.slice/containerd.service\n", "ada"},
        /* One within a container is not this machine's; its outer one is. */
        {"0::/docker/" ID "/docker/" OTHER "\n", "ada"},
        {"0::/docker/" OTHER "/docker/" ID "\n", "bob"},
        /* A user makes cgroups there, and calls them as it likes. */
        {"0::/user.slice/user-1000.slice/user@1000.service/app.slice/docker-" ID ".scope\n", ""},
        {"0::/system.slice/ssh.service\n", ""},
        {"", ""},
        {"nonsense", ""},
    };
    (void)state;
    struct containers *containers = containers_new(root);
    assert_non_null(containers);
    containers_configure(containers, LABEL);
    fake_root_text(root, DOCKER, DOCKERS("\"ada\""));
    fake_root_text(root, "/var/lib/docker/containers/" OTHER "/config.v2.json", DOCKERS("\"bob\""));
    for (uint32_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        put_in(50 + i, cases[i].cgroups);
        assert_string_equal(user_of(containers, (pid_t)(50 + i)), cases[i].user);
    }
    assert_string_equal(user_of(containers, 4000), ""); /* no such process */
    assert_null(containers_account(containers, 50, 1)); /* its pid is another's by now */
    (void)containers_free(containers);
}

static void test_containers__are_read_once(void **state)
{
    (void)state;
    struct containers *containers = containers_new(root);
    assert_non_null(containers);
    put_in(50, "0::/docker/" ID "\n");
    fake_root_text(root, DOCKER, DOCKERS("\"ada\""));
    assert_string_equal(user_of(containers, 50), ""); /* no label is looked for */
    containers_configure(containers, LABEL);
    assert_string_equal(user_of(containers, 50), "ada");
    fake_root_text(root, DOCKER, DOCKERS("\"bob\""));
    containers_configure(containers, LABEL);
    assert_string_equal(user_of(containers, 50), "ada");
    /* So many others later it is read again; as it is where the configuration names another label. */
    for (uint32_t i = 0; i < 300; i++) {
        char cgroups[128];
        (void)snprintf(cgroups, sizeof(cgroups), "0::/docker/%064x\n", i);
        put_in(51, cgroups);
        assert_string_equal(user_of(containers, 51), "");
    }
    assert_string_equal(user_of(containers, 50), "bob");
    containers_configure(containers, "maintainer");
    assert_string_equal(user_of(containers, 50), "x");
    containers_configure(containers, "");
    assert_string_equal(user_of(containers, 50), "");
    (void)containers_free(containers);
}

/* Whom the machine knows is the same user in a container and outside; others have numbers that are nobody's. */
static void test_containers__a_users_number(void **state)
{
    struct peer peer = {.pid = 50, .start_time = 150, .uid = 4242};
    (void)state;
    struct containers *containers = containers_new(root);
    assert_non_null(containers);
    put_in(50, "0::/docker/" ID "\n");
    fake_root_text(root, DOCKER, DOCKERS("\"daemon\""));
    assert_int_equal(containers_user(NULL, &peer), 4242);
    assert_int_equal(containers_user(containers, &peer), 4242);
    containers_configure(containers, LABEL);
    assert_int_equal(containers_user(containers, &peer), 1);
    assert_null(account_numbered(1));
    containers_configure(containers, "maintainer");
    uint32_t number = containers_user(containers, &peer);
    assert_true(number >= NOBODYS_NUMBER);
    assert_string_equal(account_numbered(number)->name, "x");
    assert_ptr_equal(account_numbered(number), account_named("x"));
    assert_null(account_numbered(number + 4096));
    (void)containers_free(containers);
}

int main(void)
{
#define MADE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_label__of_either_kind_of_file),
        MADE(test_label__where_each_engine_keeps_it),
        MADE(test_label__of_several_files_the_one_that_has_it),
        MADE(test_label__no_link_is_followed_below_an_engines_directory),
        MADE(test_label__files_that_are_not_believed),
        MADE(test_containers__of_a_process),
        MADE(test_containers__are_read_once),
        MADE(test_containers__a_users_number),
    };
    return cmocka_run_group_tests_name("containers", tests, NULL, NULL);
}
