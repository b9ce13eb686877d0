/* SPDX-License-Identifier: MIT */
#include "common/sim_name.h"

#include "common/hash.h"
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLAIN_MAX 40

size_t sim_name_generation(const char *text)
{
    size_t length = text[0] == 'r' ? 1 + strspn(text + 1, "0123456789_") : 0;
    return length > 1 && text[length] == '/' ? length + 1 : 0;
}

struct sim_name sim_name_split(const char *text)
{
    const char *slash = strrchr(text, '/');
    const char *at = strrchr(slash ? slash : text, '@');
    return (struct sim_name){
        .text = text,
        .length = at ? (size_t)(at - text) : strlen(text),
        .instance = at ? at + 1 : "default",
        .is_path = slash != NULL,
        .named_instance = at != NULL,
    };
}

bool sim_name_is_plain(const char *text, size_t length)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    return length > 0 && length <= PLAIN_MAX && strspn(text, allowed) >= length && text[0] != '.';
}

const char *sim_name_key(const struct sim_name *name, char key[SIM_NAME_KEY_MAX])
{
    char path[PATH_MAX], absolute[PATH_MAX];
    if (!name->is_path) {
        int length = name->length < PLAIN_MAX ? (int)name->length : PLAIN_MAX;
        (void)snprintf(key, SIM_NAME_KEY_MAX, "%.*s@%.40s", length, name->text, name->instance);
        return key;
    }
    int length = name->length < sizeof(path) ? (int)name->length : (int)sizeof(path) - 1;
    (void)snprintf(path, sizeof(path), "%.*s", length, name->text);
    const char *real = realpath(path, absolute);
    (void)snprintf(key, SIM_NAME_KEY_MAX, "file-%016" PRIx64 "@%.40s",
                   hash_text(real ? real : path), name->instance);
    return key;
}

bool sim_name_state_directory(unsigned which, const char *chosen, const char *runtime, uid_t uid,
                              char *path, size_t size)
{
    path[0] = '\0';
    if (chosen && chosen[0]) {
        (void)snprintf(path, size, "%s", chosen);
        return which == 0;
    }
    if (which == 0 && runtime && runtime[0]) {
        (void)snprintf(path, size, "%s/vram-sim", runtime);
    } else if (which == 1) {
        (void)snprintf(path, size, "/tmp/vram-sim-%u", (unsigned)uid);
    }
    return which < 2;
}
