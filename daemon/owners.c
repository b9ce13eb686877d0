/* SPDX-License-Identifier: MIT */
#include "daemon/owners.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct owners {
    struct event_base *base;
    owner_ended_function owner_ended;
    member_ended_function member_ended;
    void *data;
    uint64_t next_key;
    size_t count, room;
    struct owner_process **list; /* by key, ascending */
    struct owner_process *marked;
};

struct owners *owners_new(struct event_base *base, owner_ended_function owner_ended,
                          member_ended_function member_ended, void *data)
{
    struct owners *owners = calloc(1, sizeof(*owners));
    if (owners) {
        *owners = (struct owners){.base = base,
                                  .owner_ended = owner_ended,
                                  .member_ended = member_ended,
                                  .data = data,
                                  .next_key = 1};
    }
    return owners;
}

static void free_member(struct owner_member *member)
{
    (void)process_watch_free(member->watch);
    free(member);
}

static void free_owner(struct owner_process *owner)
{
    for (size_t i = 0; i < owner->member_count; i++) {
        free_member(owner->members[i]);
    }
    free(owner->members);
    (void)process_watch_free(owner->watch);
    free(owner);
}

struct owners *owners_free(struct owners *owners)
{
    if (owners) {
        for (size_t i = 0; i < owners->count; i++) {
            free_owner(owners->list[i]);
        }
        free(owners->list);
        free(owners);
    }
    return NULL;
}

/* ---- Owners ---------------------------------------------------------------------------------- */

static void on_owner_ended(void *data)
{
    struct owner_process *owner = data;
    owner->watch = process_watch_free(owner->watch);
    owner->ended = true;
    owner->owners->owner_ended(owner->owners->data, owner);
}

static int watch_owner(struct owner_process *owner, int pidfd)
{
    if (pidfd < 0 && process_open(owner->pid, owner->start_time, &pidfd) < 0) {
        owner->ended = true; /* gone, or what is not to be known of it cannot be promised to */
        return 0;
    }
    return process_watch_new(owner->owners->base, pidfd, on_owner_ended, owner, &owner->watch);
}

static struct owner_process *find_process(const struct owners *owners, pid_t pid,
                                          uint64_t start_time)
{
    for (size_t i = 0; i < owners->count; i++) {
        if (owners->list[i]->pid == pid && owners->list[i]->start_time == start_time) {
            return owners->list[i];
        }
    }
    return NULL;
}

static int add_owner(struct owners *owners, struct owner_process *owner)
{
    if (owners->count == owners->room) {
        size_t room = owners->room ? owners->room * 2 : 16;
        struct owner_process **list =
            reallocarray(owners->list, room, sizeof(struct owner_process *));
        if (!list) {
            return -ENOMEM;
        }
        owners->list = list;
        owners->room = room;
    }
    owners->list[owners->count++] = owner;
    return 0;
}

int owners_get(struct owners *owners, pid_t pid, uint64_t start_time, uid_t uid, int pidfd,
               struct owner_process **ret_owner)
{
    struct owner_process *owner = find_process(owners, pid, start_time);
    if (owner) {
        if (pidfd >= 0) {
            (void)close(pidfd);
        }
        *ret_owner = owner;
        return 0;
    }
    owner = calloc(1, sizeof(*owner));
    if (!owner) {
        if (pidfd >= 0) {
            (void)close(pidfd);
        }
        return -ENOMEM;
    }
    *owner =
        (struct owner_process){.pid = pid, .start_time = start_time, .uid = uid, .owners = owners};
    int r = watch_owner(owner, pidfd);
    r = r < 0 ? r : add_owner(owners, owner);
    if (r < 0) {
        free_owner(owner);
        return r;
    }
    owner->key = owners->next_key++;
    *ret_owner = owner;
    return 0;
}

static size_t place_of(const struct owners *owners, uint64_t key)
{
    size_t low = 0, high = owners->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (owners->list[middle]->key < key) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct owner_process *owners_find(const struct owners *owners, uint64_t key)
{
    size_t place = place_of(owners, key);
    bool found = place < owners->count && owners->list[place]->key == key;
    return found ? owners->list[place] : NULL;
}

static void unmark(struct owner_process *owner)
{
    struct owner_process **at = &owner->owners->marked;
    while (*at && *at != owner) {
        at = &(*at)->next_marked;
    }
    if (*at) {
        *at = owner->next_marked;
        owner->marked = false;
    }
}

void owner_mark(struct owner_process *owner)
{
    if (!owner->marked) {
        owner->marked = true;
        owner->next_marked = owner->owners->marked;
        owner->owners->marked = owner;
    }
}

struct owner_process *owners_next_marked(struct owners *owners)
{
    struct owner_process *owner = owners->marked;
    if (owner) {
        unmark(owner);
    }
    return owner;
}

void owners_remove(struct owners *owners, uint64_t key)
{
    size_t place = place_of(owners, key);
    if (place < owners->count && owners->list[place]->key == key) {
        unmark(owners->list[place]);
        free_owner(owners->list[place]);
        memmove(&owners->list[place], &owners->list[place + 1],
                (owners->count - place - 1) * sizeof(struct owner_process *));
        owners->count--;
    }
}

size_t owners_count(const struct owners *owners)
{
    return owners->count;
}

struct owner_process *owners_at(const struct owners *owners, size_t i)
{
    return owners->list[i];
}

/* ---- Members --------------------------------------------------------------------------------- */

static void on_member_ended(void *data)
{
    struct owner_member *member = data;
    member->watch = process_watch_free(member->watch);
    member->owners->member_ended(member->owners->data);
}

static void watch_member(struct owner_member *member)
{
    int pidfd;
    if (!member->watched && process_open(member->pid, member->start_time, &pidfd) == 0) {
        /* Where there is no memory for it the next sample tells. */
        member->watched = process_watch_new(member->owners->base, pidfd, on_member_ended, member,
                                            &member->watch) == 0;
    }
}

int owner_saw(struct owner_process *owner, pid_t pid, uint64_t start_time)
{
    for (size_t i = 0; i < owner->member_count; i++) {
        if (owner->members[i]->pid == pid && owner->members[i]->start_time == start_time) {
            owner->members[i]->seen = true;
            return 0;
        }
    }
    struct owner_member *member = calloc(1, sizeof(*member));
    struct owner_member **members =
        reallocarray(owner->members, owner->member_count + 1, sizeof(struct owner_member *));
    if (members) {
        owner->members = members;
    }
    if (!member || !members) {
        free(member);
        return -ENOMEM;
    }
    *member = (struct owner_member){
        .pid = pid, .start_time = start_time, .seen = true, .owners = owner->owners};
    owner->members[owner->member_count++] = member;
    if (owner->ended) {
        watch_member(member);
    }
    return 1;
}

void owner_watch_members(struct owner_process *owner)
{
    for (size_t i = 0; i < owner->member_count; i++) {
        watch_member(owner->members[i]);
    }
}

void owners_unsee(struct owners *owners)
{
    for (size_t i = 0; i < owners->count; i++) {
        owners->list[i]->holds = false;
        for (size_t j = 0; j < owners->list[i]->member_count; j++) {
            owners->list[i]->members[j]->seen = false;
        }
    }
}

void owners_forget_unseen(struct owners *owners)
{
    for (size_t i = 0; i < owners->count; i++) {
        struct owner_process *owner = owners->list[i];
        size_t kept = 0;
        for (size_t j = 0; j < owner->member_count; j++) {
            if (owner->members[j]->seen) {
                owner->members[kept++] = owner->members[j];
            } else {
                free_member(owner->members[j]);
            }
        }
        owner->member_count = kept;
    }
}
