/* SPDX-License-Identifier: MIT */
/* Who may come in over TCP. */
#include "daemon/gate.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOKEN "0123456789abcdef-token"

static struct gate_address at(const char *text)
{
    struct gate_address address;
    assert_int_equal(gate_parse_address(text, &address), 0);
    return address;
}

static void test_gate__addresses(void **state)
{
    static const struct {
        const char *text, *shown;
        bool is_loopback, is_any;
    } good[] = {
        {"9464", "127.0.0.1:9464", true, false},
        {"0", "127.0.0.1:0", true, false},
        {"127.0.0.1:9464", "127.0.0.1:9464", true, false},
        {"127.8.9.1:65535", "127.8.9.1:65535", true, false},
        {"localhost:80", "127.0.0.1:80", true, false},
        {"[::1]:9464", "[::1]:9464", true, false},
        {"0.0.0.0:9464", "0.0.0.0:9464", false, true},
        {"[::]:9464", "[::]:9464", false, true},
        {"192.168.1.5:9464", "192.168.1.5:9464", false, false},
        {"[fe80::1]:1", "[fe80::1]:1", false, false},
        {"[::ffff:127.0.0.1]:1", "[::ffff:127.0.0.1]:1", false, false},
    };
    static const char *const bad[] = {
        "",
        ":",
        ":9464",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:+1",
        "127.0.0.1: 1",
        "127.0.0.1:1 ",
        "127.0.0.1:99999999999",
        "host:1",
        "::1:9464",
        "[::1]",
        "[::1:9464",
        "::1]:9464",
        "[]:1",
        "[127.0.0.1]:1",
        "127.1:1",
        "0x7f.0.0.1:1",
        "1.2.3.4.5:1",
        "65536",
        "9464x",
        "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001]:1"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
        struct gate_address address = at(good[i].text);
        assert_string_equal(address.text, good[i].shown);
        assert_int_equal(address.is_loopback, good[i].is_loopback);
        assert_int_equal(address.is_any, good[i].is_any);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        struct gate_address address;
        if (gate_parse_address(bad[i], &address) != -EINVAL) {
            fail_msg("%s is taken for an address", bad[i]);
        }
    }
}

static void test_gate__hosts(void **state)
{
    static const char *const known[] = {"localhost",         "LOCALHOST",        "localhost:1",
                                        "127.0.0.1",         "127.0.0.1:9464",   "[::1]",
                                        "[::1]:65535",       "gpu-box",          "GPU-box:9464",
                                        "gpu.example.org:1", "192.168.1.5:9464", "192.168.1.5"};
    static const char *const unknown[] = {"",
                                          ":",
                                          ":80",
                                          "evil.example",
                                          "localhost.evil.example",
                                          "localhost:",
                                          "localhost:x",
                                          "localhost:99999",
                                          "localhost:1:2",
                                          "127.0.0.2",
                                          "127.0.0.1.",
                                          "[::1",
                                          "::1",
                                          "[::2]",
                                          "[::1]x",
                                          "gpu",
                                          "box",
                                          "gpu-box ",
                                          " gpu-box",
                                          "gpu-box gpu.example.org",
                                          "gpu-boxgpu.example.org",
                                          "192.168.1.50",
                                          "localhost@evil",
                                          "localhost/evil"};
    struct gate_address listened = at("192.168.1.5:9464"), all = at("0.0.0.0:9464");
    const char *hosts = "gpu-box,  gpu.example.org ";
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(known); i++) {
        if (!gate_knows_host(known[i], &listened, hosts)) {
            fail_msg("%s is not known", known[i]);
        }
    }
    for (size_t i = 0; i < ARRAY_LENGTH(unknown); i++) {
        if (gate_knows_host(unknown[i], &listened, hosts)) {
            fail_msg("%s is known", unknown[i]);
        }
    }
    assert_false(gate_knows_host(NULL, &listened, hosts));
    assert_false(gate_knows_host("gpu-box", &listened, ""));
    assert_false(gate_knows_host("0.0.0.0:9464", &all, hosts));
    assert_true(gate_are_hosts(hosts) && gate_are_hosts("") && gate_are_hosts("[::1] a_b"));
    assert_false(gate_are_hosts("a/b") || gate_are_hosts("a;b") || gate_are_hosts("\xC3\xBC"));
}

static void test_gate__pages(void **state)
{
    struct gate_address listened = at("9464");
    (void)state;
    assert_true(gate_knows_origin(NULL, &listened, ""));
    assert_true(gate_knows_origin("http://localhost:8080", &listened, ""));
    assert_true(gate_knows_origin("HTTPS://box", &listened, "box"));
    assert_false(gate_knows_origin("null", &listened, ""));
    assert_false(gate_knows_origin("", &listened, ""));
    assert_false(gate_knows_origin("http://evil.example", &listened, ""));
    assert_false(gate_knows_origin("file://localhost", &listened, ""));
    assert_false(gate_knows_origin("http://localhost.evil.example", &listened, ""));
    assert_true(gate_knows_site(NULL) && gate_knows_site("none") && gate_knows_site("same-origin"));
    assert_false(gate_knows_site("cross-site") || gate_knows_site("same-site") ||
                 gate_knows_site(""));
}

static void test_gate__tokens(void **state)
{
    char longest[GATE_TOKEN_MAX + 16] = "Bearer ";
    (void)state;
    assert_true(gate_has_token("Bearer " TOKEN, TOKEN));
    assert_true(gate_has_token("bearer  " TOKEN, TOKEN));
    assert_false(gate_has_token(NULL, TOKEN));
    assert_false(gate_has_token("", TOKEN));
    assert_false(gate_has_token("Bearer", TOKEN));
    assert_false(gate_has_token("Bearer ", TOKEN));
    assert_false(gate_has_token("Basic " TOKEN, TOKEN));
    assert_false(gate_has_token(TOKEN, TOKEN));
    assert_false(gate_has_token("Bearer " TOKEN "x", TOKEN));
    assert_false(gate_has_token("Bearer " TOKEN " ", TOKEN));
    assert_false(gate_has_token("Bearer 0123456789abcdef-toke", TOKEN));
    assert_false(gate_has_token("Bearer ", "")); /* none is asked for elsewhere, never here */
    memset(longest + 7, 'a', GATE_TOKEN_MAX - 1);
    assert_true(gate_has_token(longest, longest + 7));
    char token[GATE_TOKEN_MAX];
    memcpy(token, longest + 7, sizeof(token));
    longest[7 + GATE_TOKEN_MAX - 1] = 'a';
    assert_false(gate_has_token(longest, token));
}

static char path[64] = "";

static int make_file(void **state)
{
    (void)state;
    (void)snprintf(path, sizeof(path), "/tmp/unit-gate-XXXXXX");
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static int read_back(const char *text, size_t length, char token[GATE_TOKEN_MAX])
{
    char problem[GATE_PROBLEM_MAX] = "";
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
    int r = gate_read_token(path, token, problem);
    assert_true(r == 0 || strstr(problem, path));
    assert_null(strstr(problem, "secret"));
    return r;
}

static void test_gate__token_files(void **state)
{
    char token[GATE_TOKEN_MAX] = "", many[GATE_TOKEN_MAX + 1];
    (void)state;
    assert_int_equal(read_back(TOKEN "\n", strlen(TOKEN "\n"), token), 0);
    assert_string_equal(token, TOKEN);
    assert_int_equal(read_back("short secret", 12, token), -EINVAL);
    assert_int_equal(read_back("", 0, token), -EINVAL);
    assert_int_equal(read_back("secret 89abcdef 01234", 21, token), -EINVAL);
    assert_int_equal(read_back("secret\0"
                               "89abcdef01234567",
                               23, token),
                     -EINVAL);
    memset(many, 'a', sizeof(many));
    assert_int_equal(read_back(many, GATE_TOKEN_MAX - 1, token), 0);
    assert_int_equal(read_back(many, GATE_TOKEN_MAX, token), -EINVAL);
}

static void test_gate__token_files_are_secret(void **state)
{
    char token[GATE_TOKEN_MAX] = "untouched", problem[GATE_PROBLEM_MAX];
    (void)state;
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(gate_read_token(path, token, problem), -EPERM);
    assert_non_null(strstr(problem, "chmod 600"));
    assert_int_equal(gate_read_token("/dev/null", token, problem), -EINVAL);
    assert_int_equal(gate_read_token("/nonexistent/token", token, problem), -ENOENT);
    assert_string_equal(token, "untouched");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_gate__addresses),
        TEST(test_gate__hosts),
        TEST(test_gate__pages),
        TEST(test_gate__tokens),
        cmocka_unit_test_setup_teardown(test_gate__token_files, make_file, remove_file),
        cmocka_unit_test_setup_teardown(test_gate__token_files_are_secret, make_file, remove_file),
    };
    return cmocka_run_group_tests_name("gate", tests, NULL, NULL);
}
