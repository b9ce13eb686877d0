/* SPDX-License-Identifier: MIT */
/*
 * The record of what was promised: a file beside the socket that a restarted daemon reads before it promises anything.
 * What the records say is the caller's; here they are texts, each one JSON object, that are either kept to the
 * bit or known to be lost.
 *
 * A journal is worth something within one boot: the processes that it tells of end with the machine. It outlives
 * the daemon, not the power, so it is synchronised only where a file system (unlike tmpfs) may find out that it is full
 * or broken after it has taken the bytes.
 *
 * One process at a time has the file (the lock of the socket's place sees to that), and one thread. The process ignores
 * SIGXFSZ. Every descriptor is closed on exec. The file has mode 0600 and is never a symbolic link.
 */
#ifndef VRAM_DAEMON_JOURNAL_H
#define VRAM_DAEMON_JOURNAL_H

#include "common/attr.h"
#include <stddef.h>
#include <stdint.h>

#define JOURNAL_RECORD_MAX ((size_t)1 << 20) /* bytes of one record's text */
#define JOURNAL_BYTES_MAX                                                                          \
    ((uint64_t)64 << 20)         /* of all records; rewriting it is due much earlier */
#define JOURNAL_PROBLEM_MAX 1024 /* of a sentence, with its NUL */

/* Whether room may be promised on it. Stands in the file: never renumbered. */
enum journal_standing {
    JOURNAL_READY = 0,
    JOURNAL_DAMAGED = 1, /* what was promised in this boot is not known: the file was set aside */
    JOURNAL_NEWER = 2,   /* a newer daemon wrote it: set aside as well */
};

struct journal;
struct journal_writer;

/*
 * Gets each committed record, in order, as a NUL-terminated text that is valid during the call. 0, or a negative
 * errno, which ends the opening: -EBADMSG says that the record makes no sense, and the journal is taken for damaged (the
 * caller forgets what it has learnt from the records before); any other is handed on and leaves the file alone.
 */
typedef int journal_replay(void *data, const char *record, size_t length);

#define JOURNAL_FORGET 0x1u /* see journal_open() */

/*
 * Opens the journal at `path`, or begins one where there is none or only one of another boot.
 *
 * Returns an enum journal_standing, with *ret_journal and why in `problem` ("" where it is ready). A damaged or newer
 * file is set aside as PATH.damaged-N or PATH.newer-N, and the journal in its place remembers that: until the next boot
 * every opening has the same result, and nothing can be appended. With JOURNAL_FORGET such a journal is begun anew
 * and ready (a damaged one is still set aside), and a whole one opened as ever.
 *
 * Negative errno, with a sentence in `problem`: the file could not be read or made (no directory, no room, not a
 * plain file), or `replay` failed. Nothing was changed that another attempt would not find as it was. -EINVAL: `boot_id`
 * is not one (36 hexadecimal digits and dashes).
 */
MUST_CHECK int journal_open(const char *path, const char *boot_id, unsigned flags,
                            journal_replay *replay, void *data, struct journal **ret_journal,
                            char problem[JOURNAL_PROBLEM_MAX]);

/* Closes it; NULL is fine. The file stays, for who comes next. */
void journal_close(struct journal *journal);

/*
 * Closes it and deletes the file, because nothing is promised any more: then no command starts a daemon to ask. One
 * that is not ready stays.
 */
void journal_discard(struct journal *journal);

/*
 * Records `record`, the text of one JSON object in one line. 0: it will be there after any restart. Negative errno:
 * it is not recorded, the file says what it said before, and a later record may succeed (-ENOSPC, -EFBIG, -EIO …).
 * Only where the disk fails so badly that not even that can be restored at once, a crash right then may leave the
 * refused record behind; it is retried before anything else is written. -EROFS: the journal is not ready.
 * -EINVAL, -EMSGSIZE: not such a text.
 */
MUST_CHECK int journal_append(struct journal *journal, const char *record);

/* The bytes of all records: what rewriting could save. */
uint64_t journal_bytes(const struct journal *journal);

/*
 * Writes the journal anew, with what `write_all` puts, and replaces the file in one step: a crash leaves the old one or
 * the new one, both whole. Also the way to bring it back where somebody deleted it. 0; negative errno, also of
 * `write_all`: the old one goes on.
 */
typedef int journal_write_all(struct journal_writer *writer, void *data);
MUST_CHECK int journal_rewrite(struct journal *journal, journal_write_all *write_all, void *data);

/* For `write_all`: the next record. 0; -EINVAL, -EMSGSIZE, -EFBIG, -ENOMEM. */
MUST_CHECK int journal_put(struct journal_writer *writer, const char *record);

#endif
