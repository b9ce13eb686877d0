/* SPDX-License-Identifier: MIT */
#include "cli/elastic.h"

#include "common/attr.h"
#include <stdbool.h>
#include <string.h>

static const struct {
    const char *name;   /* of the program, or of the module: "vllm.entrypoints…" too */
    const char *option; /* that says what it takes */
    const char
        *off; /* with this word behind `--fit` or `-fit` it takes what it needs; NULL: never */
} programs[] = {
    {"vllm", "--gpu-memory-utilization", NULL},
    {"sglang", "--mem-fraction-static", NULL},
    {"llama-server", "-fit off, -ngl and -c", "off"},
    {"llama-cli", "-fit off, -ngl and -c", "off"},
    {"ollama", "OLLAMA_GPU_OVERHEAD, or a [holder] in /etc/vram.conf", NULL},
};

static bool is_named(const char *word, const char *name)
{
    const char *slash = strrchr(word, '/');
    const char *base = slash ? slash + 1 : word;
    size_t length = strlen(name);
    return strncmp(base, name, length) == 0 && (base[length] == '\0' || base[length] == '.');
}

static bool has_fit(const char *const *words, const char *value)
{
    for (size_t i = 0; words[i] && words[i + 1]; i++) {
        bool is_fit = strcmp(words[i], "-fit") == 0 || strcmp(words[i], "--fit") == 0;
        if (is_fit && strcmp(words[i + 1], value) == 0) {
            return true;
        }
    }
    return false;
}

const char *elastic_option(const char *const *words)
{
    for (size_t i = 0; i < ARRAY_LENGTH(programs); i++) {
        bool is_module = false;
        for (size_t j = 0; words[j]; j++) {
            /* The program itself, or what `-m` names behind an interpreter. */
            if ((j == 0 || is_module) && is_named(words[j], programs[i].name) &&
                !(programs[i].off && has_fit(words, programs[i].off))) {
                return programs[i].option;
            }
            is_module = strcmp(words[j], "-m") == 0;
        }
    }
    return NULL;
}
