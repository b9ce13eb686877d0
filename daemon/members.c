/* SPDX-License-Identifier: MIT */
#include "daemon/members.h"

#include "daemon/attachment.h"
#include "daemon/process.h"
#include "include/vram.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 1024
#define LEASE_MAX 33
#define GENERATIONS_MAX 4096 /* ancestors that are looked at */
#define SWEEP_EVERY 16       /* samples between looks at processes that are not in them */
#define CGROUP_MAX 8192

struct owner {
    struct owner *next; /* in its bucket */
    uint64_t key;
    uid_t uid;
    bool prospective;
    struct node *node; /* its process; NULL: it cannot be seen */
    struct anchor *anchors;
};

/* That a process is an owner's own or was attached to it. */
struct anchor {
    struct anchor *next; /* at its node */
    struct anchor *next_of_owner;
    struct owner *owner;
    struct node *node;
};

/* A process, and whom it descended from when it was first seen. */
struct node {
    struct node *next; /* in its bucket */
    struct node *parent;
    pid_t pid;
    uint64_t start_time;
    size_t references;      /* children here, and anchors */
    struct anchor *anchors; /* its own first */
    struct members_verdict verdict;
    uint64_t verdict_of; /* the state of `members` that the verdict is of */
    uint64_t seen;       /* the round in which it was last asked for */
    bool lease_read, cgroups_read;
    char lease[LEASE_MAX]; /* of its environment; "": none */
    uid_t uid;             /* meaningful where `lease` is not "" */
    char *cgroups;         /* NULL: none, or not read */
};

struct lease {
    struct lease *next;
    struct owner *owner;
    char id[LEASE_MAX];
};

struct attached {
    struct attached *next; /* the order in which they count */
    struct owner *owner;
    struct attachment attachment;
};

struct members {
    const char *root;
    struct node *buckets[BUCKETS];
    size_t node_count;
    struct owner *owners[BUCKETS]; /* by their keys */
    struct lease *leases;
    struct attached *attached;
    uint64_t state; /* another number whenever verdicts may be others */
    uint64_t round;
};

/* ---- Nodes ----------------------------------------------------------------------------------- */

static struct node **bucket_of(struct members *members, pid_t pid, uint64_t start_time)
{
    uint64_t mixed = ((uint64_t)pid ^ start_time << 22) * 0x9E3779B97F4A7C15u;
    return &members->buckets[mixed >> 32 & (BUCKETS - 1)];
}

static struct node *find_node(struct members *members, pid_t pid, uint64_t start_time)
{
    struct node *node = *bucket_of(members, pid, start_time);
    while (node && (node->pid != pid || node->start_time != start_time)) {
        node = node->next;
    }
    return node;
}

static struct node *new_node(struct members *members, pid_t pid, uint64_t start_time)
{
    struct node **bucket = bucket_of(members, pid, start_time);
    struct node *node = calloc(1, sizeof(*node));
    if (node) {
        node->pid = pid;
        node->start_time = start_time;
        node->seen = members->round;
        node->next = *bucket;
        *bucket = node;
        members->node_count++;
    }
    return node;
}

/* Its parent of now, told apart from a process that got the pid since. Returns 0 where there is none. */
static pid_t parent_of(struct members *members, const struct node *node, uint64_t *ret_start_time)
{
    struct process_stat child, parent, again;
    if (process_stat(members->root, node->pid, &child) < 0 ||
        child.start_time != node->start_time || child.parent <= 0 ||
        process_stat(members->root, child.parent, &parent) < 0 ||
        parent.start_time > child.start_time ||
        process_stat(members->root, node->pid, &again) < 0 ||
        again.start_time != child.start_time || again.parent != child.parent) {
        return 0;
    }
    *ret_start_time = parent.start_time;
    return child.parent;
}

/* The node of a process, with its ancestors' up to one that is known. NULL: out of memory; what was made is kept, and
 * goes with the next sweep. */
static struct node *learn(struct members *members, pid_t pid, uint64_t start_time)
{
    struct node *known = find_node(members, pid, start_time);
    struct node *first = known ? known : new_node(members, pid, start_time);
    struct node *node = known ? NULL : first;
    for (int i = 0; node && i < GENERATIONS_MAX; i++) {
        uint64_t parent_start = 0;
        pid_t parent = parent_of(members, node, &parent_start);
        if (!parent) {
            break;
        }
        known = find_node(members, parent, parent_start);
        struct node *above = known ? known : new_node(members, parent, parent_start);
        if (!above) {
            return NULL;
        }
        node->parent = above;
        above->references++;
        node = known ? NULL : above;
    }
    return first;
}

static void free_node(struct members *members, struct node **at)
{
    struct node *node = *at;
    *at = node->next;
    if (node->parent) {
        node->parent->references--;
    }
    free(node->cgroups);
    free(node);
    members->node_count--;
}

static bool lives(struct members *members, const struct node *node)
{
    struct process_stat stat;
    return process_stat(members->root, node->pid, &stat) == 0 &&
           stat.start_time == node->start_time;
}

/* Freeing one may leave its parent without children, which the next sweep sees. */
void members_sweep(struct members *members)
{
    bool looks = members->round % SWEEP_EVERY == 0;
    for (size_t i = 0; looks && i < BUCKETS; i++) {
        for (struct node **at = &members->buckets[i]; *at;) {
            struct node *node = *at;
            if (node->references == 0 && node->seen != members->round && !lives(members, node)) {
                free_node(members, at);
            } else {
                at = &node->next;
            }
        }
    }
    members->round++;
}

size_t members_count(const struct members *members)
{
    return members->node_count;
}

/* ---- Anchors --------------------------------------------------------------------------------- */

static int add_anchor(struct node *node, struct owner *owner, bool first)
{
    struct anchor *anchor = calloc(1, sizeof(*anchor));
    struct anchor **at = &node->anchors;
    if (!anchor) {
        return -ENOMEM;
    }
    while (!first && *at) {
        at = &(*at)->next;
    }
    *anchor =
        (struct anchor){.next = *at, .next_of_owner = owner->anchors, .owner = owner, .node = node};
    *at = anchor;
    owner->anchors = anchor;
    node->references++;
    return 0;
}

static void remove_anchors(struct owner *owner)
{
    while (owner->anchors) {
        struct anchor *anchor = owner->anchors, **at = &anchor->node->anchors;
        while (*at != anchor) {
            at = &(*at)->next;
        }
        *at = anchor->next;
        anchor->node->references--;
        owner->anchors = anchor->next_of_owner;
        free(anchor);
    }
}

/* ---- Owners ---------------------------------------------------------------------------------- */

/* Where the owner is, or would be added. */
static struct owner **place_of(struct members *members, uint64_t key)
{
    struct owner **at = &members->owners[key & (BUCKETS - 1)];
    while (*at && (*at)->key != key) {
        at = &(*at)->next;
    }
    return at;
}

static struct owner *find_owner(struct members *members, uint64_t key)
{
    return *place_of(members, key);
}

int members_add_owner(struct members *members, uint64_t key, pid_t pid, uint64_t start_time,
                      uid_t uid, bool prospective)
{
    struct owner **place = place_of(members, key);
    if (*place) {
        return -EEXIST;
    }
    struct owner *owner = calloc(1, sizeof(*owner));
    if (!owner) {
        return -ENOMEM;
    }
    *owner = (struct owner){.key = key, .uid = uid, .prospective = prospective};
    if (pid > 0) {
        owner->node = learn(members, pid, start_time);
        if (!owner->node || add_anchor(owner->node, owner, true) < 0) {
            free(owner);
            return -ENOMEM;
        }
    }
    *place = owner;
    members->state++;
    return 0;
}

int members_set_prospective(struct members *members, uint64_t key, bool prospective)
{
    struct owner *owner = find_owner(members, key);
    if (!owner) {
        return -ENOENT;
    }
    owner->prospective = prospective;
    members->state++;
    return 0;
}

/* An owner's; or, of whichever, the one with this id. */
static void remove_leases(struct members *members, const struct owner *owner, const char *id)
{
    for (struct lease **at = &members->leases; *at;) {
        struct lease *lease = *at;
        if (owner ? lease->owner == owner : strcmp(lease->id, id) == 0) {
            *at = lease->next;
            free(lease);
        } else {
            at = &lease->next;
        }
    }
    members->state++;
}

static void remove_attached(struct members *members, const struct owner *owner)
{
    for (struct attached **at = &members->attached; *at;) {
        struct attached *attached = *at;
        if (attached->owner == owner) {
            *at = attached->next;
            free(attached);
        } else {
            at = &attached->next;
        }
    }
}

void members_remove_owner(struct members *members, uint64_t key)
{
    struct owner **at = place_of(members, key), *owner = *at;
    if (!owner) {
        return;
    }
    *at = owner->next;
    remove_leases(members, owner, "");
    remove_attached(members, owner);
    remove_anchors(owner);
    free(owner);
    members->state++;
}

/* ---- What belongs to an owner besides its descendants ---------------------------------------- */

int members_add_lease(struct members *members, uint64_t key, const char *id)
{
    struct owner *owner = find_owner(members, key);
    size_t length = strlen(id);
    if (!owner) {
        return -ENOENT;
    }
    for (size_t i = 0; i < length; i++) {
        if (!isalnum((unsigned char)id[i])) {
            return -EINVAL;
        }
    }
    if (length == 0 || length >= LEASE_MAX) {
        return -EINVAL;
    }
    struct lease *lease = calloc(1, sizeof(*lease));
    if (!lease) {
        return -ENOMEM;
    }
    memcpy(lease->id, id, length + 1);
    lease->owner = owner;
    lease->next = members->leases;
    members->leases = lease;
    members->state++;
    return 0;
}

void members_remove_lease(struct members *members, const char *id)
{
    remove_leases(members, NULL, id);
}

/* Cgroups first, those with longer paths before their parents. */
static bool counts_before(const struct attachment *a, const struct attachment *b)
{
    return a->kind != b->kind ? a->kind < b->kind
                              : a->kind == ATTACHMENT_CGROUP && strlen(a->value) > strlen(b->value);
}

int members_attach(struct members *members, uint64_t key, const char *text)
{
    struct owner *owner = find_owner(members, key);
    if (!owner) {
        return -ENOENT;
    }
    struct attached *attached = calloc(1, sizeof(*attached));
    int r = attached ? attachment_parse(text, &attached->attachment) : -ENOMEM;
    if (r == 0 && attached->attachment.kind == ATTACHMENT_PID) {
        r = -EINVAL;
    }
    if (r < 0) {
        free(attached);
        return r;
    }
    struct attached **at = &members->attached;
    while (*at && !counts_before(&attached->attachment, &(*at)->attachment)) {
        at = &(*at)->next;
    }
    attached->owner = owner;
    attached->next = *at;
    *at = attached;
    members->state++;
    return 0;
}

int members_attach_process(struct members *members, uint64_t key, pid_t pid, uint64_t start_time)
{
    struct owner *owner = find_owner(members, key);
    if (!owner) {
        return -ENOENT;
    }
    struct node *node = learn(members, pid, start_time);
    members->state++;
    return node ? add_anchor(node, owner, false) : -ENOMEM;
}

/* ---- Verdicts -------------------------------------------------------------------------------- */

/* One more owner, farther than those before. Returns whether the verdict is complete. */
static bool consider(struct members_verdict *verdict, const struct owner *owner)
{
    if (!verdict->key) {
        verdict->key = owner->key;
        return false;
    }
    if (owner->prospective || owner->key == verdict->key) {
        return false;
    }
    verdict->outer = owner->key;
    return true;
}

static bool consider_tree(const struct node *node, struct members_verdict *verdict)
{
    for (int i = 0; node && i < GENERATIONS_MAX; node = node->parent, i++) {
        for (const struct anchor *anchor = node->anchors; anchor; anchor = anchor->next) {
            if (consider(verdict, anchor->owner)) {
                return true;
            }
        }
    }
    return false;
}

/* The environment is what it was at the last exec, before the memory was allocated: it is read once. */
static void read_lease(struct members *members, struct node *node)
{
    char id[LEASE_MAX];
    node->lease_read = true;
    if (process_environment(members->root, node->pid, "VRAM_LEASE", id, sizeof(id)) == 1 &&
        process_uid(members->root, node->pid, &node->uid) == 0 && lives(members, node)) {
        memcpy(node->lease, id, sizeof(id));
    }
}

static bool consider_environment(struct members *members, struct node *node,
                                 struct members_verdict *verdict)
{
    if (members->leases && !node->lease_read) {
        read_lease(members, node);
    }
    if (!node->lease[0]) {
        return false;
    }
    for (const struct lease *lease = members->leases; lease; lease = lease->next) {
        if (strcmp(lease->id, node->lease) == 0 && lease->owner->uid == node->uid &&
            consider(verdict, lease->owner)) {
            return true;
        }
    }
    return false;
}

/* 0 or -ENOMEM. */
static int read_cgroups(struct members *members, struct node *node)
{
    char *text = malloc(CGROUP_MAX);
    if (!text) {
        return -ENOMEM;
    }
    node->cgroups_read = true;
    if (process_cgroup(members->root, node->pid, text, CGROUP_MAX) < 0 || !lives(members, node)) {
        text[0] = '\0';
    }
    node->cgroups = strdup(text);
    free(text);
    return node->cgroups ? 0 : -ENOMEM;
}

static int consider_attached(struct members *members, struct node *node, const char *container,
                             const char *unit, struct members_verdict *verdict)
{
    if (members->attached && !node->cgroups_read) {
        int r = read_cgroups(members, node);
        if (r < 0) {
            return r;
        }
    }
    for (const struct attached *one = members->attached; one; one = one->next) {
        if (attachment_matches(&one->attachment, node->cgroups, container, unit) &&
            consider(verdict, one->owner)) {
            break;
        }
    }
    return 0;
}

int members_resolve(struct members *members, pid_t pid, uint64_t start_time, const char *container,
                    const char *unit, struct members_verdict *ret_verdict)
{
    struct members_verdict verdict = {0, 0};
    if (pid <= 0 || start_time == VRAM_UNKNOWN) {
        *ret_verdict = verdict;
        return 0;
    }
    struct node *node = learn(members, pid, start_time);
    if (!node) {
        return -ENOMEM;
    }
    node->seen = members->round;
    if (node->verdict_of != members->state) {
        int r = 0;
        if (!consider_tree(node, &verdict) && !consider_environment(members, node, &verdict)) {
            r = consider_attached(members, node, container, unit, &verdict);
        }
        if (r < 0) {
            return r;
        }
        node->verdict = verdict;
        node->verdict_of = members->state;
    }
    *ret_verdict = node->verdict;
    return 0;
}

/* ---- Life ------------------------------------------------------------------------------------ */

struct members *members_new(const char *root)
{
    struct members *members = calloc(1, sizeof(*members));
    if (members) {
        members->root = root;
        members->state = 1;
        members->round = 1;
    }
    return members;
}

struct members *members_free(struct members *members)
{
    if (!members) {
        return NULL;
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        while (members->owners[i]) {
            members_remove_owner(members, members->owners[i]->key);
        }
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        while (members->buckets[i]) {
            struct node *node = members->buckets[i];
            members->buckets[i] = node->next;
            free(node->cgroups);
            free(node);
        }
    }
    free(members);
    return NULL;
}
