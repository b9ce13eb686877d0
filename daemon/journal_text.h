/* SPDX-License-Identifier: MIT */
/*
 * What stands in a journal, byte by byte. Pure: no file, no clock. journal.c keeps it on a disk.
 *
 *     vram-journal 1 0c2e6ac2-…                              the version, and the boot that it belongs to
 *     header crc=89abcdef                                    of the line above
 *     commit bytes=… records=… sum=… standing=0 aside=000 crc=…
 *     {"sequence":1,"crc32":305419896,"record":{…}}          one line a record, from 1 up
 *
 * The first two lines keep their form in every version, so that a journal of a newer daemon is known for one, and
 * one of another boot for outdated whatever stands behind. The third is of fixed width and rewritten in place: it says
 * how many bytes and records behind it are committed and their checksum, and `crc` is that of all header bytes
 * before it. So a record that was torn while it was written (it stands behind the committed bytes: it was never
 * acknowledged, and is dropped) is told from a file that lost its end.
 */
#ifndef VRAM_DAEMON_JOURNAL_TEXT_H
#define VRAM_DAEMON_JOURNAL_TEXT_H

#include "common/attr.h"
#include "common/buf.h"
#include "daemon/journal.h"
#include <stddef.h>
#include <stdint.h>

#define JOURNAL_VERSION 1
#define JOURNAL_BOOT_LENGTH 36 /* as in /proc/sys/kernel/random/boot_id */

/* The header's lines in this version, and their offsets. */
#define JOURNAL_MARK_AT (15 + JOURNAL_BOOT_LENGTH + 1 + 20)
#define JOURNAL_MARK_LENGTH 110
#define JOURNAL_HEADER_LENGTH (JOURNAL_MARK_AT + JOURNAL_MARK_LENGTH)

/* The third line. */
struct journal_mark {
    uint64_t bytes, records; /* committed behind the header */
    uint32_t sum;            /* CRC-32 over these bytes */
    enum journal_standing standing;
    unsigned aside; /* number of the file that was set aside, at most JOURNAL_ASIDE_MAX; 0: none */
};

#define JOURNAL_ASIDE_MAX 999

/* What a file turns out to be. */
enum journal_verdict {
    JOURNAL_IS_WHOLE,      /* of this boot; what is committed is there to the bit */
    JOURNAL_IS_OTHER_BOOT, /* its processes are gone */
    JOURNAL_IS_DAMAGED,
    JOURNAL_IS_NEWER, /* of this boot, and of a version that cannot be read */
};

struct journal_scan {
    enum journal_verdict verdict;
    const char *reason;       /* of damage, for people: "it is cut short"; else "" */
    struct journal_mark mark; /* where it is whole */
};

/* CRC-32 (IEEE 802.3), going on from `crc`, which is 0 at the beginning. */
uint32_t journal_crc32(uint32_t crc, const void *bytes, size_t length);

/* Whether it has the form of a boot id. */
bool journal_boot_id_is_valid(const char *boot_id);

/* The header with this mark; the part that is rewritten stands at JOURNAL_MARK_AT. */
void journal_header_format(const char *boot_id, const struct journal_mark *mark,
                           char text[JOURNAL_HEADER_LENGTH + 1]);

/*
 * Adds the line of a record behind `mark->bytes` bytes, and counts it into *mark. 0; -EINVAL: not one line that could
 * be a JSON object; -EMSGSIZE: longer than JOURNAL_RECORD_MAX; -EFBIG: the journal would exceed JOURNAL_BYTES_MAX;
 * -ENOMEM. On failure both are as before (a buffer that ran out of memory stays failed).
 */
MUST_CHECK int journal_line_add(struct buf *lines, struct journal_mark *mark, const char *record);

/*
 * Judges the bytes of a file, and hands on the records of a whole one of this boot, in order. `replay` may be NULL.
 * 0, or what `replay` returned less than 0, which ends the scan: -EBADMSG is a verdict (damaged) and no failure.
 */
MUST_CHECK int journal_scan(const char *bytes, size_t length, const char *boot_id,
                            journal_replay *replay, void *data, struct journal_scan *ret_scan);

#endif
