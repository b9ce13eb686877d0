/* SPDX-License-Identifier: MIT */
#include "lib/identity.h"

#include "common/path.h"
#include "common/text.h"
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COMMAND_MAX 65536 /* longer command lines are cut */

struct identities {
    const char *root;
    unsigned round;
    size_t count, capacity;
    struct identity **items; /* ordered by pid; pointers, so that handed-out ones stay put */
    uint32_t user_id;        /* the last user looked up: most processes are one user's */
    char user[64];
};

struct identities *identities_new(const char *root)
{
    struct identities *identities = calloc(1, sizeof(*identities));
    if (identities) {
        identities->root = root;
    }
    return identities;
}

static void identity_free(struct identity *identity)
{
    free(identity->command);
    free(identity);
}

void identities_free(struct identities *identities)
{
    if (!identities) {
        return;
    }
    for (size_t i = 0; i < identities->count; i++) {
        identity_free(identities->items[i]);
    }
    free(identities->items);
    free(identities);
}

void identities_begin(struct identities *identities)
{
    identities->round++;
}

void identities_sweep(struct identities *identities)
{
    size_t kept = 0;
    for (size_t i = 0; i < identities->count; i++) {
        if (identities->items[i]->round == identities->round) {
            identities->items[kept++] = identities->items[i];
        } else {
            identity_free(identities->items[i]);
        }
    }
    identities->count = kept;
}

/* ---- Users ----------------------------------------------------------------------------------- */

/* The name in <root>/etc/passwd. Read by hand: it is there on every machine, and the C library's way
 * costs a dozen system calls before it opens the same file. */
static bool user_from_file(const char *root, uint32_t uid, char *name, size_t size)
{
    int fd = path_open(root, "/etc/passwd", O_RDONLY);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "re");
    if (!file) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return false;
    }
    char line[512];
    bool found = false;
    while (!found && fgets(line, sizeof(line), file)) {
        char *end = strchr(line, ':');
        char *id = end ? strchr(end + 1, ':') : NULL;
        unsigned value;
        if (id && sscanf(id, ":%u:", &value) == 1 && value == uid) {
            *end = '\0';
            (void)text_copy(name, size, line);
            found = true;
        }
    }
    (void)fclose(file);
    return found;
}

static bool user_from_system(uint32_t uid, char *name, size_t size)
{
    char text[4096];
    struct passwd entry, *result = NULL;
    if (getpwuid_r(uid, &entry, text, sizeof(text), &result) != 0 || !result) {
        return false;
    }
    (void)text_copy(name, size, entry.pw_name);
    return true;
}

static const char *user_name(struct identities *identities, uint32_t uid)
{
    if (!identities->user[0] || identities->user_id != uid) {
        char *name = identities->user;
        size_t size = sizeof(identities->user);
        identities->user_id = uid;
        if (!user_from_file(identities->root, uid, name, size) &&
            (identities->root[0] || !user_from_system(uid, name, size))) {
            (void)snprintf(name, size, "%u", uid);
        }
    }
    return identities->user;
}

/* ---- One process ----------------------------------------------------------------------------- */

/* A file of the process that `directory` is. A descriptor of /proc/PID never becomes another process's,
 * so that everything read through it belongs together. */
static int read_at(int directory, const char *file, char *text, size_t size)
{
    int fd = openat(directory, file, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : path_read_fd(fd, text, size);
}

static void read_user(struct identities *identities, int directory, struct identity *identity)
{
    struct stat st;
    char text[4096];
    uint32_t uid = 0;
    bool known = fstat(directory, &st) == 0;
    if (known) {
        uid = st.st_uid;
    }
    /* Processes that may not be dumped belong to root here, whoever runs them. */
    if (!known || uid == 0) {
        known =
            read_at(directory, "status", text, sizeof(text)) > 0 && proc_uid_parse(text, &uid) == 0;
    }
    if (known) {
        (void)text_copy(identity->user, sizeof(identity->user), user_name(identities, uid));
    }
}

static int read_command(int directory, struct identity *identity)
{
    char *text = malloc(COMMAND_MAX);
    if (!text) {
        return -ENOMEM;
    }
    int length = read_at(directory, "cmdline", text, COMMAND_MAX);
    size_t joined = length > 0 ? proc_command_join(text, (size_t)length) : 0;
    identity->command = joined ? realloc(text, joined + 1) : NULL;
    if (!identity->command) {
        free(text);
        return joined ? -ENOMEM : 0;
    }
    return 0;
}

/* Whether it is still the process that is known, which gives its name again: it may have changed it. */
static bool is_known(const struct identities *identities, struct identity *identity)
{
    char path[32], text[4096], name[PROC_NAME_MAX];
    uint64_t start_time;
    (void)snprintf(path, sizeof(path), "/proc/%u/stat", identity->pid);
    if (!identity->visible || path_read(identities->root, path, text, sizeof(text)) <= 0 ||
        proc_stat_parse(text, name, &start_time) < 0 || start_time != identity->start_time) {
        return false;
    }
    memcpy(identity->name, name, sizeof(name));
    return true;
}

/* Reads what is new. A process that is seen for the first time, or whose pid is now another's, is read whole. */
static int refresh(struct identities *identities, struct identity *identity, bool with_command)
{
    char path[32], text[4096];
    uint64_t start_time = 0;
    free(identity->command); /* may be another process's, or older than its last exec */
    identity->command = NULL;
    if (!with_command && is_known(identities, identity)) {
        return 0;
    }
    (void)snprintf(path, sizeof(path), "/proc/%u", identity->pid);
    int directory = path_open(identities->root, path, O_PATH | O_DIRECTORY);
    bool visible = directory >= 0 && read_at(directory, "stat", text, sizeof(text)) > 0 &&
                   proc_stat_parse(text, identity->name, &start_time) == 0;
    int r = 0;
    if (visible && (!identity->visible || identity->start_time != start_time)) {
        identity->user[0] = identity->container[0] = identity->unit[0] = '\0';
        read_user(identities, directory, identity);
        if (read_at(directory, "cgroup", text, sizeof(text)) > 0) {
            proc_cgroup_parse(text, identity->container, identity->unit);
        }
    }
    if (visible && with_command) {
        r = read_command(directory, identity);
    }
    identity->visible = visible;
    identity->start_time = start_time;
    if (directory >= 0) {
        (void)close(directory);
    }
    return r;
}

/* Where `pid` stands or belongs. */
static size_t find_place(const struct identities *identities, uint32_t pid)
{
    size_t low = 0, high = identities->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (identities->items[middle]->pid < pid) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static int insert(struct identities *identities, size_t place, uint32_t pid)
{
    if (identities->count == identities->capacity) {
        size_t capacity = identities->capacity ? identities->capacity * 2 : 16;
        struct identity **items = realloc(identities->items, capacity * sizeof(*items));
        if (!items) {
            return -ENOMEM;
        }
        identities->items = items;
        identities->capacity = capacity;
    }
    struct identity *identity = calloc(1, sizeof(*identity));
    if (!identity) {
        return -ENOMEM;
    }
    identity->pid = pid;
    memmove(&identities->items[place + 1], &identities->items[place],
            (identities->count - place) * sizeof(struct identity *));
    identities->items[place] = identity;
    identities->count++;
    return 0;
}

int identities_find(struct identities *identities, uint32_t pid, bool with_command,
                    const struct identity **ret_identity)
{
    size_t place = find_place(identities, pid);
    if (place == identities->count || identities->items[place]->pid != pid) {
        int r = insert(identities, place, pid);
        if (r < 0) {
            return r;
        }
    }
    struct identity *identity = identities->items[place];
    /* A process on eight GPUs is looked up once per round. */
    if (identity->round != identities->round) {
        int r = refresh(identities, identity, with_command);
        if (r < 0) {
            return r;
        }
        identity->round = identities->round;
    }
    *ret_identity = identity;
    return 0;
}
