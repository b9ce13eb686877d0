/* SPDX-License-Identifier: MIT */
#include "tests/library/machine.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[] = "/tmp/vram-machine-XXXXXX";
static unsigned written;

int machine_set_up(void **state)
{
    (void)state;
    if (!mkdtemp(directory)) {
        return -1;
    }
    return setenv("VRAM_SIM_STATE_DIR", directory, 1) || unsetenv("VRAM_DRIVER");
}

int machine_tear_down(void **state)
{
    (void)state;
    DIR *dir = opendir(directory);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char path[512];
        (void)snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
        (void)unlink(path);
    }
    if (dir) {
        (void)closedir(dir);
    }
    return rmdir(directory);
}

const char *machine_write(const char *text)
{
    static char driver[128];
    char path[64];
    (void)snprintf(path, sizeof(path), "%s/%u.scenario", directory, written);
    /* An instance of its own: what it counts outlives the moments in which nobody has the driver open. */
    (void)snprintf(driver, sizeof(driver), "sim:%s@%ld-%u", path, (long)getpid(), written++);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    return driver;
}

struct vram *machine_open(const char *driver, uint64_t call_timeout_ms)
{
    struct vram_options options = VRAM_OPTIONS_INIT;
    struct vram *vram;
    options.driver = driver;
    options.call_timeout_ms = call_timeout_ms;
    assert_int_equal(vram_open(&vram, &options), 0);
    return vram;
}

struct vram_snapshot *machine_take(struct vram *vram)
{
    struct vram_snapshot *snapshot;
    int r = vram_snapshot_take(vram, VRAM_TAKE_ALL, &snapshot);
    if (r < 0) {
        fail_msg("%s", vram_error(vram));
    }
    return snapshot;
}
