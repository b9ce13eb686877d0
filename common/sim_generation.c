/* SPDX-License-Identifier: MIT */
#include "common/sim_generation.h"

#include "common/text.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

bool sim_generation_number(const char *text, unsigned *ret_number)
{
    unsigned major, minor = 0;
    char separator;
    int fields = sscanf(text, "%u%c%u", &major, &separator, &minor);
    if (fields < 1 || major > 100000 ||
        (fields > 1 && separator != '.' && separator != '_' &&
         !isspace((unsigned char)separator))) {
        return false;
    }
    *ret_number = major * 1000 + (fields == 3 && minor < 1000 ? minor : 0);
    return true;
}

int sim_generation_find(const char *from, unsigned version, char *name, size_t size)
{
    unsigned best = 0, oldest = UINT32_MAX;
    DIR *directory = opendir(from);
    if (!directory) {
        return -errno;
    }
    name[0] = '\0';
    for (struct dirent *entry; (entry = readdir(directory));) {
        unsigned number;
        if (entry->d_name[0] != 'r' || strpbrk(entry->d_name, ".") ||
            !sim_generation_number(entry->d_name + 1, &number)) {
            continue;
        }
        bool better = number <= version && number >= best;
        bool stopgap = best == 0 && number > version && number < oldest;
        if (better || stopgap) {
            best = better ? number : best;
            oldest = stopgap ? number : oldest;
            (void)text_copy(name, size, entry->d_name);
        }
    }
    (void)closedir(directory);
    return name[0] ? 0 : -ENOENT;
}

int sim_generation_of_scenario(const char *path, unsigned *ret_version)
{
    char line[256], version[64];
    FILE *file = fopen(path, "re");
    if (!file) {
        return -errno;
    }
    int r = -EINVAL;
    while (r == -EINVAL && fgets(line, sizeof(line), file)) {
        const char *word = line + strspn(line, " \t");
        if (sscanf(word, "driver %63s", version) == 1 &&
            sim_generation_number(version, ret_version)) {
            r = 0;
        } else if (word[0] != '#' && word[0] != '\n') {
            break;
        }
    }
    (void)fclose(file);
    return r;
}
