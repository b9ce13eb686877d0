/* SPDX-License-Identifier: MIT */
#include "daemon/attachment.h"

#include "common/container_id.h"
#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTAINER_DIGITS_MIN 12
#define NAME_MAX_HERE 255

static bool is_made_of(const char *text, const char *others)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool is_plain = c < 0x80 && isalnum(c);
        if (!is_plain && !strchr(others, c)) {
            return false;
        }
    }
    return true;
}

static int parse_pid(const char *text, struct attachment *attachment)
{
    char *end;
    errno = 0;
    long pid = strtol(text, &end, 10);
    if (*text < '1' || *text > '9' || *end || errno || pid > INT32_MAX) {
        return -EINVAL;
    }
    attachment->pid = (pid_t)pid;
    return 0;
}

/* A path that names one place in one way: no root, which all are below, and no dots. */
static int check_cgroup(const char *path)
{
    if (path[0] != '/' || !path[1]) {
        return -EINVAL;
    }
    while (*path) {
        size_t length = strcspn(path + 1, "/");
        bool is_dots =
            (length == 1 && path[1] == '.') || (length == 2 && path[1] == '.' && path[2] == '.');
        if (*path != '/' || length == 0 || is_dots) {
            return -EINVAL;
        }
        path += 1 + length;
    }
    return 0;
}

static bool is_digits(const char *text)
{
    return strspn(text, "0123456789abcdefABCDEF") == strlen(text);
}

static int check_container(const char *id)
{
    size_t length = strlen(id);
    bool is_id = is_digits(id) && length >= CONTAINER_DIGITS_MIN && length <= CONTAINER_ID_DIGITS;
    bool is_name = length > 0 && length <= NAME_MAX_HERE && !is_digits(id) &&
                   isalnum((unsigned char)id[0]) && is_made_of(id, "_.-");
    return is_id || is_name ? 0 : -EINVAL;
}

static bool has_suffix(const char *unit)
{
    static const char *const suffixes[] = {".service", ".scope", ".slice",
                                           ".socket",  ".mount", ".swap"};
    size_t length = strlen(unit);
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        size_t end = strlen(suffixes[i]);
        if (length > end && strcmp(unit + length - end, suffixes[i]) == 0) {
            return true;
        }
    }
    return false;
}

static int parse_unit(const char *name, struct attachment *attachment)
{
    size_t length = strlen(name);
    if (length == 0 || length > NAME_MAX_HERE || name[0] == '.' || !is_made_of(name, ":_.@\\-")) {
        return -EINVAL;
    }
    (void)snprintf(attachment->value, sizeof(attachment->value), "%s%s", name,
                   has_suffix(name) ? "" : ".service");
    return 0;
}

int attachment_parse(const char *text, struct attachment *ret_attachment)
{
    static const char *const prefixes[] = {"pid:", "cgroup:", "container:", "unit:"};
    struct attachment attachment = {.kind = ATTACHMENT_PID};
    size_t kind = 0;
    while (kind < 4 && strncmp(text, prefixes[kind], strlen(prefixes[kind])) != 0) {
        kind++;
    }
    if (kind == 4) {
        return -EINVAL;
    }
    const char *value = text + strlen(prefixes[kind]);
    if (strlen(value) >= sizeof(attachment.value)) {
        return -ENAMETOOLONG;
    }
    attachment.kind = (enum attachment_kind)kind;
    (void)snprintf(attachment.value, sizeof(attachment.value), "%s", value);
    int r = attachment.kind == ATTACHMENT_PID         ? parse_pid(value, &attachment)
            : attachment.kind == ATTACHMENT_CGROUP    ? check_cgroup(value)
            : attachment.kind == ATTACHMENT_CONTAINER ? check_container(value)
                                                      : parse_unit(value, &attachment);
    if (r == 0) {
        *ret_attachment = attachment;
    }
    return r;
}

/* ---- Matching -------------------------------------------------------------------------------- */

/* The path in a line of /proc/PID/cgroup, "N:controllers:/path", up to the line's end. */
static const char *path_of_line(const char *line, size_t length, size_t *ret_length)
{
    const char *colon = memchr(line, ':', length);
    colon = colon ? memchr(colon + 1, ':', length - (size_t)(colon + 1 - line)) : NULL;
    *ret_length = colon ? length - (size_t)(colon + 1 - line) : 0;
    return colon ? colon + 1 : NULL;
}

static bool is_below(const char *path, size_t length, const char *above)
{
    size_t above_length = strlen(above);
    return length >= above_length && memcmp(path, above, above_length) == 0 &&
           (length == above_length || path[above_length] == '/');
}

static bool has_component(const char *path, size_t length, const char *name)
{
    const char *end = path + length;
    size_t name_length = strlen(name);
    while (path < end) {
        const char *slash = memchr(path, '/', (size_t)(end - path));
        size_t part = (size_t)((slash ? slash : end) - path);
        if (part == name_length && memcmp(path, name, part) == 0) {
            return true;
        }
        path += part + 1;
    }
    return false;
}

static bool in_cgroups(const struct attachment *attachment, const char *cgroups)
{
    while (cgroups && *cgroups) {
        size_t length = strcspn(cgroups, "\n"), path_length;
        const char *path = path_of_line(cgroups, length, &path_length);
        if (path && (attachment->kind == ATTACHMENT_CGROUP
                         ? is_below(path, path_length, attachment->value)
                         : has_component(path, path_length, attachment->value))) {
            return true;
        }
        cgroups += length + (cgroups[length] == '\n');
    }
    return false;
}

static bool is_container(const char *id, const char *container)
{
    size_t length = strlen(id);
    bool is_prefix = is_digits(id) && length >= CONTAINER_DIGITS_MIN;
    return container && (is_prefix ? strncasecmp(id, container, length) == 0 && is_digits(container)
                                   : strcmp(id, container) == 0);
}

bool attachment_matches(const struct attachment *attachment, const char *cgroups,
                        const char *container, const char *unit)
{
    switch (attachment->kind) {
    case ATTACHMENT_CGROUP:
        return in_cgroups(attachment, cgroups);
    case ATTACHMENT_CONTAINER:
        return is_container(attachment->value, container);
    case ATTACHMENT_UNIT:
        return (unit && strcmp(attachment->value, unit) == 0) || in_cgroups(attachment, cgroups);
    default:
        return false;
    }
}
