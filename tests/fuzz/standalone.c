/* SPDX-License-Identifier: MIT */
/* Runs a fuzz target over files and directories of files, naming each, so that a crash has a culprit. Exit 1
 * where there was none. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

static unsigned inputs;

static void run_file(const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        return;
    }
    uint8_t *data = malloc(1 << 20);
    MUST(data);
    size_t size = fread(data, 1, 1 << 20, file);
    (void)fclose(file);
    printf("%s\n", path);
    (void)fflush(stdout);
    (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
    inputs++;
}

int main(int argc, char **argv)
{
    (void)LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        DIR *directory = opendir(argv[i]);
        if (!directory) {
            run_file(argv[i]);
            continue;
        }
        for (struct dirent *entry; (entry = readdir(directory));) {
            char path[4096];
            (void)snprintf(path, sizeof(path), "%s/%s", argv[i], entry->d_name);
            if (entry->d_name[0] != '.') {
                run_file(path);
            }
        }
        (void)closedir(directory);
    }
    printf("%u inputs\n", inputs);
    return inputs ? 0 : 1;
}
