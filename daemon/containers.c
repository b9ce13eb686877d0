/* SPDX-License-Identifier: MIT */
#include "daemon/containers.h"

#include "common/container_id.h"
#include "common/text.h"
#include "daemon/config.h"
#include "daemon/container_label.h"
#include "daemon/log.h"
#include "daemon/process.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KEPT 256 /* containers; no id is given twice, so that what was read of one holds */
#define CGROUPS_MAX 8192

struct container {
    char id[CONTAINER_ID_DIGITS + 1];
    uint64_t used; /* when it was asked for, by count; 0: the place is free */
    const struct account *account;
};

struct containers {
    const char *root;
    char label[CONFIG_LABEL_MAX];
    uint64_t asked;
    struct container kept[KEPT];
};

struct containers *containers_new(const char *root)
{
    struct containers *containers = calloc(1, sizeof(*containers));
    if (containers) {
        containers->root = root;
    }
    return containers;
}

struct containers *containers_free(struct containers *containers)
{
    free(containers);
    return NULL;
}

void containers_configure(struct containers *containers, const char *label)
{
    if (strcmp(containers->label, label) != 0) {
        (void)text_copy(containers->label, sizeof(containers->label), label);
        memset(containers->kept, 0, sizeof(containers->kept));
    }
}

/* ---- One container --------------------------------------------------------------------------- */

static void complain(const struct containers *containers, const char *id, int r)
{
    const char *why = r == -EINVAL    ? "what it says is no user's name"
                      : r == -EPERM   ? "others than root may write where it is kept"
                      : r == -EBADMSG ? "the file that has it cannot be read"
                                      : strerror(-r);
    log_line(LOG_LINE_WARNING, "container %.12s: its label %s is not obeyed: %s", id,
             containers->label, why);
}

/* The account that its label names. NULL: none. */
static const struct account *read_account(const struct containers *containers, const char *id)
{
    char user[ACCOUNT_NAME_MAX];
    int r = container_label_read(containers->root, id, containers->label, user);
    const struct account *account = r == 1 ? account_named(user) : NULL;
    if (r < 0 && r != -ENOENT) {
        complain(containers, id, r);
    } else if (r == 1 && !account) {
        complain(containers, id, -ENOSPC);
    }
    return account;
}

static const struct account *look_up(struct containers *containers, const char *id)
{
    struct container *oldest = &containers->kept[0];
    containers->asked++;
    for (size_t i = 0; i < KEPT; i++) {
        struct container *container = &containers->kept[i];
        if (container->used && memcmp(container->id, id, CONTAINER_ID_DIGITS) == 0) {
            container->used = containers->asked;
            return container->account;
        }
        oldest = container->used < oldest->used ? container : oldest;
    }
    (void)text_copy_n(oldest->id, sizeof(oldest->id), id, CONTAINER_ID_DIGITS);
    oldest->used = containers->asked;
    oldest->account = read_account(containers, oldest->id);
    return oldest->account;
}

/* ---- One process ----------------------------------------------------------------------------- */

/* Of one path of a cgroup the outermost container, which is this machine's own; one within it is another's. What is below
 * user.slice a user may call as it likes. */
static const char *id_in_path(const char *path, size_t length)
{
    static const char users[] = "/user.slice/";
    const char *end = path + length, *found = NULL;
    bool is_users = length >= sizeof(users) - 1 && memcmp(path, users, sizeof(users) - 1) == 0;
    while (!is_users && !found && path < end) {
        const char *slash = memchr(path, '/', (size_t)(end - path));
        size_t part = (size_t)((slash ? slash : end) - path);
        found = container_id_in(path, part);
        path += part + 1;
    }
    return found;
}

/* Of /proc/PID/cgroup. NULL: it is in no container. */
static const char *id_in(const char *cgroups)
{
    const char *found = NULL;
    while (!found && *cgroups) {
        size_t length = strcspn(cgroups, "\n");
        const char *colon = memchr(cgroups, ':', length);
        colon = colon ? memchr(colon + 1, ':', length - (size_t)(colon + 1 - cgroups)) : NULL;
        found = colon ? id_in_path(colon + 1, length - (size_t)(colon + 1 - cgroups)) : NULL;
        cgroups += length + (cgroups[length] == '\n');
    }
    return found;
}

const struct account *containers_account(struct containers *containers, pid_t pid,
                                         uint64_t start_time)
{
    char cgroups[CGROUPS_MAX];
    struct process_stat stat;
    if (!containers->label[0] || pid <= 0 ||
        process_cgroup(containers->root, pid, cgroups, sizeof(cgroups)) < 0) {
        return NULL;
    }
    const char *id = id_in(cgroups);
    bool is_it = id && process_stat(containers->root, pid, &stat) == 0 &&
                 stat.start_time == start_time; /* and not one that has its pid by now */
    return is_it ? look_up(containers, id) : NULL;
}

uint32_t containers_user(struct containers *containers, const struct peer *peer)
{
    const struct account *account =
        containers ? containers_account(containers, peer->pid, peer->start_time) : NULL;
    return account ? account->number : peer->uid;
}

/* ---- Snapshots ------------------------------------------------------------------------------- */

/* The accounts of all processes of a snapshot, GPU by GPU. */
struct naming {
    size_t *firsts; /* of each GPU's processes */
    const struct account **accounts;
};

static const char *name_of(void *data, size_t gpu, size_t process)
{
    const struct naming *naming = data;
    const struct account *account = naming->accounts[naming->firsts[gpu] + process];
    return account ? account->name : NULL;
}

static size_t count_processes(const struct vram_snapshot *snapshot)
{
    size_t count = 0;
    for (size_t i = 0; i < vram_snapshot_gpu_count(snapshot); i++) {
        count += vram_snapshot_gpu(snapshot, i)->process_count;
    }
    return count;
}

/* Whether any has one. */
static bool find_accounts(struct containers *containers, const struct vram_snapshot *snapshot,
                          struct naming *naming)
{
    bool any = false;
    size_t next = 0;
    for (size_t i = 0; i < vram_snapshot_gpu_count(snapshot); i++) {
        const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, i);
        naming->firsts[i] = next;
        for (size_t j = 0; j < gpu->process_count; j++, next++) {
            const struct vram_process *process = &gpu->processes[j];
            naming->accounts[next] =
                process->visible && process->container
                    ? containers_account(containers, (pid_t)process->pid, process->start_time)
                    : NULL;
            any = any || naming->accounts[next];
        }
    }
    return any;
}

struct vram_snapshot *containers_name(struct containers *containers, struct vram_snapshot *snapshot)
{
    struct vram_promises promises = VRAM_PROMISES_INIT;
    struct vram_snapshot *named = NULL;
    size_t count = containers && containers->label[0] ? count_processes(snapshot) : 0;
    if (!count) {
        return vram_snapshot_ref(snapshot);
    }
    struct naming naming = {
        .firsts = calloc(vram_snapshot_gpu_count(snapshot), sizeof(*naming.firsts)),
        .accounts = calloc(count, sizeof(*naming.accounts)),
    };
    if (!naming.firsts || !naming.accounts) {
        named = NULL;
    } else if (!find_accounts(containers, snapshot, &naming)) {
        named = vram_snapshot_ref(snapshot);
    } else {
        promises.user = name_of;
        promises.data = &naming;
        if (vram_snapshot_promise(snapshot, &promises, &named) < 0) {
            named = NULL;
        }
    }
    free(naming.firsts);
    free(naming.accounts);
    return named;
}
