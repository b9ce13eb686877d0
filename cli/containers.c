/* SPDX-License-Identifier: MIT */
#include "cli/containers.h"

#include "common/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Programs that run another as themselves; their options that take a value of their own, as letters. */
static const struct {
    const char *name, *valued;
} wrappers[] = {
    {"sudo", "ugpChrtRDT"}, {"doas", "uC"}, {"env", "uCS"},      {"nice", "n"}, {"nohup", ""},
    {"setsid", ""},         {"time", "of"}, {"ionice", "cnpPu"}, {"exec", "a"}, {"stdbuf", "ioe"},
};

static const char *valued_options(const char *name)
{
    for (size_t i = 0; i < ARRAY_LENGTH(wrappers); i++) {
        if (strcmp(wrappers[i].name, name) == 0) {
            return wrappers[i].valued;
        }
    }
    return NULL;
}

/* Behind the options and variables of a wrapper. */
static const char *const *skip_options(const char *const *at, const char *valued)
{
    for (; *at; at++) {
        const char *text = *at;
        bool is_option = text[0] == '-' && text[1];
        if (is_option && strcmp(text, "--") == 0) {
            return at + 1;
        }
        if (!is_option && !strchr(text, '=')) {
            return at;
        }
        if (is_option && text[1] != '-' && !text[2] && strchr(valued, text[1]) && at[1]) {
            at++;
        }
    }
    return at;
}

const char *containers_program(const char *const *command)
{
    static const char *const programs[] = {"docker", "podman", "nerdctl"};
    const char *valued;
    while (*command && (valued = valued_options(base_name(*command)))) {
        command = skip_options(command + 1, valued);
    }
    for (size_t i = 0; *command && i < ARRAY_LENGTH(programs); i++) {
        if (strcmp(base_name(*command), programs[i]) == 0) {
            return programs[i];
        }
    }
    return NULL;
}
