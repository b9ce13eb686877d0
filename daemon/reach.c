/* SPDX-License-Identifier: MIT */
#include "daemon/reach.h"

#include "common/path.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define GROUPS_MAX 256

/* Who a process is, as /proc/PID/status tells. */
struct credentials {
    uid_t uid;
    gid_t gid;
    size_t count;
    gid_t groups[GROUPS_MAX];
};

/* The number behind `label`, in the column of effective ones. */
static bool read_effective(const char *status, const char *label, unsigned *ret_id)
{
    const char *line = strstr(status, label);
    return line && sscanf(line + strlen(label), "%*u %u", ret_id) == 1;
}

static bool read_credentials(const char *root, pid_t pid, struct credentials *ret)
{
    char path[64], status[8192];
    (void)snprintf(path, sizeof(path), "/proc/%ld/status", (long)pid);
    unsigned uid, gid;
    if (path_read(root, path, status, sizeof(status)) < 0 ||
        !read_effective(status, "\nUid:", &uid) || !read_effective(status, "\nGid:", &gid)) {
        return false;
    }
    *ret = (struct credentials){.uid = uid, .gid = gid};
    const char *groups = strstr(status, "\nGroups:");
    groups = groups ? groups + strlen("\nGroups:") : "";
    while (ret->count < GROUPS_MAX) {
        char *end;
        groups += strspn(groups, " \t");
        unsigned long group = strtoul(groups, &end, 10);
        if (end == groups || !isdigit((unsigned char)*groups)) {
            break;
        }
        ret->groups[ret->count++] = (gid_t)group;
        groups = end;
    }
    return true;
}

/* The number of the GPU's node, as the kernel module tells. */
static bool find_minor(const char *root, const char *pci, unsigned *ret_minor)
{
    char path[96], text[2048];
    (void)snprintf(path, sizeof(path), "/proc/driver/nvidia/gpus/%.40s/information", pci);
    if (path_read(root, path, text, sizeof(text)) < 0) {
        return false;
    }
    const char *line = strstr(text, "Device Minor:");
    return line && sscanf(line + strlen("Device Minor:"), "%u", ret_minor) == 1;
}

static bool may_use(const struct credentials *who, const struct stat *node)
{
    mode_t wanted = S_IRUSR | S_IWUSR;
    if (who->uid == 0) {
        return true;
    }
    if (node->st_uid == who->uid) {
        return (node->st_mode & wanted) == wanted;
    }
    bool member = node->st_gid == who->gid;
    for (size_t i = 0; !member && i < who->count; i++) {
        member = node->st_gid == who->groups[i];
    }
    wanted >>= member ? 3 : 6;
    return (node->st_mode & wanted) == wanted;
}

bool reach_has_driver(const char *root, pid_t pid)
{
    char path[512];
    struct stat node;
    int length = snprintf(path, sizeof(path), "%s/proc/%ld/root/dev/nvidiactl", root, (long)pid);
    return pid <= 0 || length < 0 || (size_t)length >= sizeof(path) || stat(path, &node) == 0 ||
           errno != ENOENT;
}

bool reach_may_open(const char *root, pid_t pid, const char *pci)
{
    char path[512];
    struct stat node;
    struct credentials who;
    unsigned minor;
    if (pid <= 0 || !find_minor(root, pci, &minor)) {
        return true;
    }
    int length =
        snprintf(path, sizeof(path), "%s/proc/%ld/root/dev/nvidia%u", root, (long)pid, minor);
    if (length < 0 || (size_t)length >= sizeof(path)) {
        return true;
    }
    if (stat(path, &node) < 0) {
        return errno != ENOENT;
    }
    return !read_credentials(root, pid, &who) || may_use(&who, &node);
}
