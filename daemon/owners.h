/* SPDX-License-Identifier: MIT */
/*
 * The processes that promises are made to, and those of their members that were seen with memory: known by pid and start
 * time, watched for their end. Each owner has a key that no other gets before the daemon ends.
 */
#ifndef VRAM_DAEMON_OWNERS_H
#define VRAM_DAEMON_OWNERS_H

#include "daemon/process.h"

struct owners;

/* A member that was seen to hold memory. */
struct owner_member {
    pid_t pid;
    uint64_t start_time;
    bool seen; /* in the last sample */
    bool watched;
    struct process_watch *watch;
    struct owners *owners;
};

struct owner_process {
    uint64_t key;
    pid_t pid;
    uint64_t start_time;
    uid_t uid;
    bool ended;
    bool holds; /* memory itself, in the last sample */
    struct process_watch *watch;
    size_t member_count;
    struct owner_member **members;
    struct owners *owners;
    bool marked;
    struct owner_process *next_marked;
};

typedef void (*owner_ended_function)(void *data, struct owner_process *owner);
typedef void (*member_ended_function)(void *data);

/* NULL: out of memory. */
struct owners *owners_new(struct event_base *base, owner_ended_function owner_ended,
                          member_ended_function member_ended, void *data);
/* Returns NULL. */
struct owners *owners_free(struct owners *owners);

/*
 * The owner that this process is, known already or from now on. `pidfd`: taken over, always; -1: there is none, and the
 * process is looked for. One that has ended is there all the same, with `ended`. 0; -ENOMEM.
 */
MUST_CHECK int owners_get(struct owners *owners, pid_t pid, uint64_t start_time, uid_t uid,
                          int pidfd, struct owner_process **ret_owner);
struct owner_process *owners_find(const struct owners *owners, uint64_t key); /* NULL: none */
void owners_remove(struct owners *owners, uint64_t key);
size_t owners_count(const struct owners *owners);
struct owner_process *owners_at(const struct owners *owners, size_t i);

/* To be come back to. */
void owner_mark(struct owner_process *owner);
/* One that was marked and is not any more; NULL: none is. */
struct owner_process *owners_next_marked(struct owners *owners);

/* A member was seen. 1: for the first time; 0: it is known; -ENOMEM. */
MUST_CHECK int owner_saw(struct owner_process *owner, pid_t pid, uint64_t start_time);
/* Before a sample is gone through; after it those that were not seen are forgotten. */
void owners_unsee(struct owners *owners);
void owners_forget_unseen(struct owners *owners);
/* From now on `member_ended` tells the end of each of its members. */
void owner_watch_members(struct owner_process *owner);

#endif
