/* SPDX-License-Identifier: MIT */
/* Files below a substitutable root. */
#include "tests/unit/fake_root.h"
#include "tests/unit/unit.h"

#include "common/path.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
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

static void test_path__reads_below_the_root(void **state)
{
    char text[64];
    (void)state;
    fake_root_write(root, "/proc/7/cmdline", "a\0b\n", 4);
    assert_int_equal(path_read(root, "/proc/7/cmdline", text, sizeof(text)), 4);
    assert_memory_equal(text, "a\0b\n", 5);
    fake_root_text(root, "/empty", "");
    assert_int_equal(path_read(root, "/empty", text, sizeof(text)), 0);
    assert_string_equal(text, "");
    assert_true(path_exists(root, "/proc/7"));
    assert_false(path_exists(root, "/proc/8"));
}

static void test_path__cuts_at_the_buffer(void **state)
{
    char text[5];
    (void)state;
    fake_root_text(root, "/long", "123456789");
    assert_int_equal(path_read(root, "/long", text, sizeof(text)), 4);
    assert_string_equal(text, "1234");
    assert_int_equal(path_read(root, "/long", text, 1), 0);
    assert_string_equal(text, "");
}

static void test_path__takes_white_space_off_a_line(void **state)
{
    static const struct {
        const char *text, *line;
    } cases[] = {
        {"active\n", "active"}, {"active", "active"}, {"a b \t\r\n\n", "a b"}, {"\n", ""}, {"", ""},
        {" a", " a"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        char text[64];
        fake_root_text(root, "/line", cases[i].text);
        assert_int_equal(path_read_line(root, "/line", text, sizeof(text)), strlen(cases[i].line));
        assert_string_equal(text, cases[i].line);
    }
}

static void test_path__says_what_is_wrong(void **state)
{
    char text[64], longer[PATH_TEXT_MAX + 8];
    (void)state;
    assert_int_equal(path_read(root, "/none", text, sizeof(text)), -ENOENT);
    assert_int_equal(path_read_line(root, "/none", text, sizeof(text)), -ENOENT);
    assert_int_equal(path_read_link(root, "/none", text, sizeof(text)), -ENOENT);
    fake_root_directory(root, "/directory");
    assert_int_equal(path_read(root, "/directory", text, sizeof(text)), -EISDIR);
    fake_root_text(root, "/file", "x");
    assert_int_equal(path_read_link(root, "/file", text, sizeof(text)), -EINVAL);
    errno = 0;
    assert_null(path_open_dir(root, "/none"));
    assert_int_equal(errno, ENOENT);
    assert_null(path_open_dir(root, "/file"));
    assert_int_equal(errno, ENOTDIR);
    memset(longer, 'x', sizeof(longer) - 1);
    longer[0] = '/';
    longer[sizeof(longer) - 1] = '\0';
    assert_int_equal(path_read(root, longer, text, sizeof(text)), -ENAMETOOLONG);
    assert_int_equal(path_read_link(root, longer, text, sizeof(text)), -ENAMETOOLONG);
    assert_false(path_exists(root, longer));
}

static void test_path__reads_links(void **state)
{
    char link[PATH_TEXT_MAX], text[16];
    (void)state;
    (void)snprintf(link, sizeof(link), "%s/link", root);
    assert_int_equal(symlink("../drivers/nvidia", link), 0);
    char target[64];
    assert_int_equal(path_read_link(root, "/link", target, sizeof(target)), 17);
    assert_string_equal(target, "../drivers/nvidia");
    assert_int_equal(path_read_link(root, "/link", text, 5), 4); /* cut, and ended with a NUL */
    assert_string_equal(text, "../d");
}

static void test_path__leaves_no_descriptor_to_children(void **state)
{
    (void)state;
    fake_root_text(root, "/file", "x");
    int fd = path_open(root, "/file", O_RDONLY);
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(close(fd), 0);
    DIR *dir = path_open_dir(root, "/");
    assert_non_null(dir);
    assert_true(fcntl(dirfd(dir), F_GETFD) & FD_CLOEXEC);
    assert_int_equal(closedir(dir), 0);
}

static void test_path__closes_what_it_read(void **state)
{
    char text[8];
    (void)state;
    fake_root_text(root, "/file", "x");
    int fd = path_open(root, "/file", O_RDONLY);
    assert_int_equal(path_read_fd(fd, text, sizeof(text)), 1);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    fd = path_open(root, "/", O_RDONLY | O_DIRECTORY);
    assert_int_equal(path_read_fd(fd, text, sizeof(text)), -EISDIR);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_path__reads_below_the_root, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_path__cuts_at_the_buffer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_path__takes_white_space_off_a_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_path__says_what_is_wrong, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_path__reads_links, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_path__leaves_no_descriptor_to_children, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_path__closes_what_it_read, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("path", tests, NULL, NULL);
}
