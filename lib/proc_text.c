/* SPDX-License-Identifier: MIT */
#include "lib/proc_text.h"

#include "common/container_id.h"
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define START_TIME_FIELD 22

/* Reads a number that stands alone, with nothing else in its field. */
static int parse_number(const char *text, uint64_t *ret_number)
{
    char *end;
    if (*text < '0' || *text > '9') {
        return -EINVAL;
    }
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno || (*end != ' ' && *end != '\t' && *end != '\n' && *end != '\0')) {
        return -EINVAL;
    }
    *ret_number = number;
    return 0;
}

int proc_stat_parse(const char *text, char name[PROC_NAME_MAX], uint64_t *ret_start_time)
{
    const char *open = strchr(text, '(');
    const char *close = strrchr(text, ')');
    if (!open || !close || close < open) {
        return -EINVAL;
    }
    const char *field = close;
    for (int i = 2; i < START_TIME_FIELD; i++) {
        field = strchr(field + 1, ' ');
        if (!field) {
            return -EINVAL;
        }
    }
    uint64_t start_time;
    int r = parse_number(field + 1, &start_time);
    if (r < 0) {
        return r;
    }
    size_t length = (size_t)(close - open - 1);
    length = length < PROC_NAME_MAX ? length : PROC_NAME_MAX - 1;
    memcpy(name, open + 1, length);
    name[length] = '\0';
    *ret_start_time = start_time;
    return 0;
}

int proc_uid_parse(const char *text, uint32_t *ret_uid)
{
    const char *line = strstr(text, "\nUid:");
    uint64_t uid;
    if (!line) {
        return -EINVAL;
    }
    line += strlen("\nUid:");
    line += strspn(line, " \t");
    line += strspn(line, "0123456789"); /* the real user; the effective one follows */
    line += strspn(line, " \t");
    if (parse_number(line, &uid) < 0 || uid > UINT32_MAX) {
        return -EINVAL;
    }
    *ret_uid = (uint32_t)uid;
    return 0;
}

static bool ends_with(const char *text, size_t length, const char *end)
{
    size_t end_length = strlen(end);
    return length > end_length && memcmp(text + length - end_length, end, end_length) == 0;
}

static void copy(char *to, size_t size, const char *from, size_t length)
{
    if (length < size) {
        memcpy(to, from, length);
        to[length] = '\0';
    }
}

static bool take_container_id(const char *part, size_t length, char *container)
{
    const char *id = container_id_in(part, length);
    if (id) {
        copy(container, PROC_CONTAINER_MAX, id, CONTAINER_ID_DIGITS);
    }
    return id != NULL;
}

static bool take_lxc_name(const char *part, size_t length, char *container)
{
    static const char prefix[] = "lxc.payload.";
    size_t prefix_length = sizeof(prefix) - 1;
    if (length <= prefix_length || memcmp(part, prefix, prefix_length) != 0) {
        return false;
    }
    copy(container, PROC_CONTAINER_MAX, part + prefix_length, length - prefix_length);
    return true;
}

/* One path of a cgroup. The innermost unit is the telling one: app-foo.scope, not user@1000.service. */
static void parse_path(const char *path, size_t length, char *container, char *unit)
{
    const char *end = path + length;
    while (path < end) {
        const char *slash = memchr(path, '/', (size_t)(end - path));
        size_t part = slash ? (size_t)(slash - path) : (size_t)(end - path);
        /* A container's own scope is not a unit that anyone wrote. */
        bool is_container =
            take_container_id(path, part, container) || take_lxc_name(path, part, container);
        if (!is_container &&
            (ends_with(path, part, ".service") || ends_with(path, part, ".scope"))) {
            copy(unit, PROC_UNIT_MAX, path, part);
        }
        path += part + 1;
    }
}

void proc_cgroup_parse(const char *text, char container[PROC_CONTAINER_MAX],
                       char unit[PROC_UNIT_MAX])
{
    container[0] = unit[0] = '\0';
    while (*text) {
        size_t length = strcspn(text, "\n");
        const char *colon = memchr(text, ':', length);
        colon = colon ? memchr(colon + 1, ':', length - (size_t)(colon + 1 - text)) : NULL;
        if (colon) {
            parse_path(colon + 1, length - (size_t)(colon + 1 - text), container, unit);
        }
        text += length + (text[length] == '\n');
    }
}

size_t proc_command_join(char *text, size_t length)
{
    while (length && text[length - 1] == '\0') {
        length--;
    }
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\0') {
            text[i] = ' ';
        }
    }
    text[length] = '\0';
    return length;
}
