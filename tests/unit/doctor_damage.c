/* SPDX-License-Identifier: MIT */
#include "tests/unit/doctor_damage.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define BIG_FILE ((size_t)1 << 20)

static void fill_file(const char *path, char (*byte)(size_t position), size_t size)
{
    char block[4096];
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    for (size_t done = 0; done < size; done += sizeof(block)) {
        for (size_t i = 0; i < sizeof(block); i++) {
            block[i] = byte(done + i);
        }
        assert_int_equal(write(fd, block, sizeof(block)), sizeof(block));
    }
    assert_int_equal(close(fd), 0);
}

static char any_byte(size_t position)
{
    uint32_t x = (uint32_t)position * 2654435761u;
    return (char)(x >> 24 ^ x >> 13);
}

static char same_byte(size_t position)
{
    (void)position;
    return 'A';
}

static char control_byte(size_t position)
{
    static const char text[] = "\033[2J\a\r\xE2\x80\xAE: 7\xC2\x9B\n$(reboot);\"'`\\%s%n\xFF";
    return text[position % (sizeof(text) - 1)];
}

static void make_garbage(const char *path)
{
    fill_file(path, any_byte, 8192);
}

static void make_controls(const char *path)
{
    fill_file(path, control_byte, 8192);
}

static void make_big(const char *path)
{
    fill_file(path, same_byte, BIG_FILE);
}

static void make_empty(const char *path)
{
    fill_file(path, same_byte, 0);
}

static void make_unreadable(const char *path)
{
    fill_file(path, same_byte, 4096);
    assert_int_equal(chmod(path, 0), 0);
}

static void make_loop(const char *path)
{
    const char *name = strrchr(path, '/') + 1;
    assert_int_equal(symlink(name, path), 0);
}

static void make_pipe(const char *path)
{
    assert_int_equal(mkfifo(path, 0666),
                     0); /* opening it carelessly would wait for a writer for ever */
}

static void make_directory(const char *path)
{
    assert_int_equal(mkdir(path, 0755), 0);
}

static void make_nothing(const char *path)
{
    (void)path;
}

static void (*const damages[DAMAGE_COUNT])(const char *path) = {
    make_garbage, make_controls, make_big,       make_empty,   make_unreadable,
    make_loop,    make_pipe,     make_directory, make_nothing,
};

void damage_make(size_t damage, const char *path)
{
    damages[damage](path);
}

bool damage_is_big(size_t damage)
{
    return damages[damage] == make_big;
}
