/* SPDX-License-Identifier: MIT */
#include "common/program_path.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whether "DIRECTORY/NAME" is a program; the name may be empty. */
static bool is_program(const char *directory, size_t length, const char *name, char *path,
                       size_t size)
{
    struct stat status;
    int n = snprintf(path, size, "%.*s%s%s", (int)length, directory, name[0] ? "/" : "", name);
    return length > 0 && n > 0 && (size_t)n < size && path[0] == '/' && stat(path, &status) == 0 &&
           S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

int program_path(const char *program, const char *variable, char *path, size_t size)
{
    const char *chosen = variable ? secure_getenv(variable) : NULL;
    if (chosen && chosen[0]) { /* who names one means that one and no other */
        return is_program(chosen, strlen(chosen), "", path, size) ? 0 : -ENOENT;
    }
    if (is_program(VRAM_BIN_DIR, sizeof(VRAM_BIN_DIR) - 1, program, path, size)) {
        return 0;
    }
    const char *search = secure_getenv("PATH");
    while (search && search[0]) {
        size_t length = strcspn(search, ":");
        if (is_program(search, length, program, path, size)) {
            return 0;
        }
        search += length + (search[length] == ':');
    }
    return -ENOENT;
}

int daemon_path(char *path, size_t size)
{
    return program_path("vramd", "VRAM_DAEMON", path, size);
}
