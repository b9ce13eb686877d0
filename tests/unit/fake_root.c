/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_root.h"

#include "tests/unit/unit.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define LONGEST 512

static void join(char to[LONGEST], const char *root, const char *path)
{
    int length = snprintf(to, LONGEST, "%s%s", root, path);
    assert_in_range(length, 1, LONGEST - 1);
}

const char *fake_root_make(void)
{
    const char *directory = getenv("TMPDIR");
    char *root = malloc(LONGEST);
    assert_non_null(root);
    join(root, directory ? directory : "/tmp", "/vram-test-XXXXXX");
    assert_non_null(mkdtemp(root));
    return root;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st;
    (void)type;
    (void)walk;
    return remove(path);
}

void fake_root_delete(const char *root, const char *path)
{
    char joined[LONGEST];
    join(joined, root, path);
    assert_int_equal(nftw(joined, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

void fake_root_remove(const char *root)
{
    fake_root_delete(root, "");
    free((void *)(uintptr_t)root);
}

void fake_root_directory(const char *root, const char *path)
{
    char joined[LONGEST];
    join(joined, root, path);
    for (char *slash = strchr(joined + strlen(root), '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        assert_true(mkdir(joined, 0755) == 0 || errno == EEXIST);
        *slash = '/';
    }
    assert_true(mkdir(joined, 0755) == 0 || errno == EEXIST);
}

void fake_root_write(const char *root, const char *path, const void *bytes, size_t length)
{
    char joined[LONGEST];
    const char *name = strrchr(path, '/');
    join(joined, "", path);
    joined[name - path] = '\0';
    fake_root_directory(root, joined);
    join(joined, root, path);
    FILE *file = fopen(joined, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

void fake_root_text(const char *root, const char *path, const char *text)
{
    fake_root_write(root, path, text, strlen(text));
}

void fake_root_process(const char *root, uint32_t pid, const char *name, uint64_t start_time,
                       uint32_t uid)
{
    char path[64], text[LONGEST];
    (void)snprintf(path, sizeof(path), "/proc/%" PRIu32 "/stat", pid);
    (void)snprintf(
        text, sizeof(text),
        "%" PRIu32 " (%s) S 1 %" PRIu32 " %" PRIu32 " 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 "
        "%" PRIu64 " 12345678 90 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 3 0 0\n",
        pid, name, pid, pid, start_time);
    fake_root_text(root, path, text);
    (void)snprintf(path, sizeof(path), "/proc/%" PRIu32 "/status", pid);
    (void)snprintf(text, sizeof(text),
                   "Name:\tx\nUmask:\t0022\nUid:\t%u\t%u\t%u\t%u\nGid:\t0\t0\t0\t0\n", uid, uid,
                   uid, uid);
    fake_root_text(root, path, text);
}
