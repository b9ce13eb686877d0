/* SPDX-License-Identifier: MIT */
#include "daemon/match.h"

#include "common/text.h"
#include <errno.h>
#include <string.h>

#define NAME_KEPT 15 /* bytes of a process's name that the kernel keeps */

int match_parse(const char *text, struct match *ret_match)
{
    static const struct {
        const char *prefix;
        enum match_kind kind;
    } kinds[] = {
        {"unit:", MATCH_ATTACHMENT}, {"container:", MATCH_ATTACHMENT}, {"user:", MATCH_USER},
        {"name:", MATCH_NAME},       {"command:", MATCH_COMMAND},
    };
    struct match match = {.kind = MATCH_ATTACHMENT};
    size_t i = 0;
    while (i < ARRAY_LENGTH(kinds) &&
           strncmp(text, kinds[i].prefix, strlen(kinds[i].prefix)) != 0) {
        i++;
    }
    if (i == ARRAY_LENGTH(kinds) || !text[strlen(kinds[i].prefix)]) {
        return -EINVAL;
    }
    if (strlen(text) >= MATCH_MAX) {
        return -ENAMETOOLONG;
    }
    match.kind = kinds[i].kind;
    (void)text_copy(match.text, sizeof(match.text), text);
    (void)text_copy(match.value, sizeof(match.value), text + strlen(kinds[i].prefix));
    int r = match.kind == MATCH_ATTACHMENT ? attachment_parse(text, &match.attachment) : 0;
    if (r == 0) {
        *ret_match = match;
    }
    return r;
}

struct match_process match_process_of(const struct vram_process *process)
{
    return (struct match_process){
        .name = process->name,
        .command = process->command,
        .user = process->user,
        .container = process->container,
        .unit = process->unit,
    };
}

static bool is_name(const char *value, const char *name)
{
    size_t length = strlen(name);
    return strcmp(value, name) == 0 ||
           (length == NAME_KEPT && strlen(value) > length && strncmp(value, name, length) == 0);
}

bool match_is_met(const struct match *match, const struct match_process *process)
{
    switch (match->kind) {
    case MATCH_USER:
        return process->user && strcmp(match->value, process->user) == 0;
    case MATCH_NAME:
        return process->name && is_name(match->value, process->name);
    case MATCH_COMMAND:
        return process->command && strstr(process->command, match->value);
    default:
        return attachment_matches(&match->attachment, process->cgroups, process->container,
                                  process->unit);
    }
}

bool match_is_attachment(const struct match *match, const char *text)
{
    struct attachment other;
    return match->kind == MATCH_ATTACHMENT && attachment_parse(text, &other) == 0 &&
           other.kind == match->attachment.kind &&
           strcmp(other.value, match->attachment.value) == 0;
}
