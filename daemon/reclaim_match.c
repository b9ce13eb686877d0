/* SPDX-License-Identifier: MIT */
#include "daemon/reclaim_match.h"

#include "daemon/config_holders.h"
#include <string.h>

static bool is_text(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

static bool means(const char *word, const struct vram_process *process)
{
    size_t length = strcspn(word, ":");
    const char *value = word + length + 1;
    if (strncmp(word, "unit", length) == 0) {
        return is_text(process->unit, value);
    }
    if (strncmp(word, "user", length) == 0) {
        return is_text(process->user, value);
    }
    if (strncmp(word, "name", length) == 0) {
        return is_text(process->name, value);
    }
    if (strncmp(word, "container", length) == 0) {
        return process->container && strncmp(process->container, value, strlen(value)) == 0;
    }
    return process->command && strstr(process->command, value);
}

bool reclaim_is_of(const char *match, const struct vram_process *process)
{
    char word[HOLDER_TEXT_MAX];
    while (config_holder_word(&match, word, sizeof(word))) {
        if (means(word, process)) {
            return true;
        }
    }
    return false;
}
