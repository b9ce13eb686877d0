/* SPDX-License-Identifier: MIT */
/*
 * A journal in a directory of its own, and the system calls by which it changes files: they are counted, and the n-th of
 * them can fail, or end the process as SIGKILL would. The program is linked with --wrap for each of them
 * (meson.build).
 */
#ifndef VRAM_TESTS_JOURNAL_RIG_H
#define VRAM_TESTS_JOURNAL_RIG_H

#include "daemon/journal.h"
#include "daemon/journal_text.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BOOT "0c2e6ac2-7f2e-4b7c-9d0a-3a52f9e9c001"
#define OTHER_BOOT "0c2e6ac2-7f2e-4b7c-9d0a-3a52f9e9c002"

struct calls {
    unsigned count;      /* since calls_reset() */
    unsigned fail_at;    /* this call fails; 0: none */
    unsigned fail_count; /* and so many from it on: 1 where it is 0 */
    int error;           /* with this errno; a record that is refused so is half written */
    unsigned die_at;     /* the process is killed instead of making this call; 0: never */
    size_t die_after;    /* where that is a pwrite(): behind so many bytes of it */
    void (*behind)(
        void *data); /* called behind each call, whatever became of it; NULL: nothing is */
    void *data;
    unsigned synchronised;
    long fs_type; /* what fstatfs() says; 0: the truth */
};

extern struct calls calls;
void calls_reset(void);

/*
 * A child, which ends by rig_leave() with a result of 0 or more, or is killed. It ends by SIGKILL either way, so that
 * no sanitizer looks for what it leaves behind.
 */
#define RIG_KILLED (-1)
pid_t rig_fork(void); /* 0 in the child, whose calls are counted from 0 */
__attribute__((__noreturn__)) void rig_leave(int result);
int rig_wait(pid_t child); /* its result, or RIG_KILLED */

/* What was replayed. */
#define RECORDS_MAX 512
struct records {
    size_t count;
    char *texts[RECORDS_MAX];
    int result;      /* of the replay */
    size_t fails_at; /* from this record on; counted from 0 */
};

void records_clear(struct records *records);
journal_replay records_replay;
void records_add(struct records *records, const char *text);
bool records_equal(const struct records *left, const struct records *right);

/* A directory, and the path of a journal in it. Both are valid until the test's end. */
#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)
int rig_setup(void **state);
int rig_teardown(void **state);
const char *rig_path(void);
const char *rig_directory(void);
/* The number of files in the directory. */
unsigned rig_files(void);
bool rig_exists(const char *suffix);
void rig_remove(const char *suffix);

/* The journal's bytes. The caller frees what rig_read() returns. */
char *rig_read(size_t *ret_length);
void rig_write(const char *bytes, size_t length);

/* Opens it in boot BOOT; the records come into `records`, which is emptied first. */
int rig_open(struct journal **ret_journal, struct records *records);
/* Opens, closes, and expects this standing. */
void rig_expect(int standing, struct records *records);

/* Records some samples, which are added to `expected`. Returns the journal's bytes, which the caller frees. */
char *rig_sample(size_t *ret_length, struct records *expected);

#endif
