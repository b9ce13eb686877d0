/* SPDX-License-Identifier: MIT */
#include "daemon/journal_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NAME "vram-journal "
#define RECORD_KEY ",\"record\":"
#define LINE_START_MAX 80 /* of a record's line, before the record */

uint32_t journal_crc32(uint32_t crc, const void *bytes, size_t length)
{
    /* By half bytes: fast enough for what a daemon promises, and a table that can be read. */
    static const uint32_t table[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
        0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    const unsigned char *at = bytes;
    crc = ~crc;
    for (size_t i = 0; i < length; i++) {
        crc ^= at[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

bool journal_boot_id_is_valid(const char *boot_id)
{
    return strlen(boot_id) == JOURNAL_BOOT_LENGTH &&
           strspn(boot_id, "0123456789abcdef-") == JOURNAL_BOOT_LENGTH;
}

void journal_header_format(const char *boot_id, const struct journal_mark *mark,
                           char text[JOURNAL_HEADER_LENGTH + 1])
{
    const size_t size = JOURNAL_HEADER_LENGTH + 1;
    size_t length = (size_t)snprintf(text, size, NAME "%d %.36s\n", JOURNAL_VERSION, boot_id);
    (void)snprintf(text + length, size - length, "header crc=%08" PRIx32 "\n",
                   journal_crc32(0, text, length));
    length = JOURNAL_MARK_AT;
    length +=
        (size_t)snprintf(text + length, size - length,
                         "commit bytes=%020" PRIu64 " records=%020" PRIu64 " sum=%08" PRIx32
                         " standing=%u aside=%03u crc=",
                         mark->bytes, mark->records, mark->sum, mark->standing % 10, mark->aside);
    (void)snprintf(text + length, size - length, "%08" PRIx32 "\n", journal_crc32(0, text, length));
}

/* The start of a record's line, up to the record. Returns its length. */
static size_t format_start(uint64_t sequence, uint32_t crc, char start[LINE_START_MAX])
{
    return (size_t)snprintf(start, LINE_START_MAX,
                            "{\"sequence\":%" PRIu64 ",\"crc32\":%" PRIu32 RECORD_KEY, sequence,
                            crc);
}

/* Enough of JSON to keep the lines apart; whether it is JSON at all is the business of who wrote it. */
static bool is_record(const char *record, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)record[i] < ' ') {
            return false;
        }
    }
    return length >= 2 && record[0] == '{' && record[length - 1] == '}';
}

int journal_line_add(struct buf *lines, struct journal_mark *mark, const char *record)
{
    size_t length = strnlen(record, JOURNAL_RECORD_MAX + 1);
    if (length > JOURNAL_RECORD_MAX) {
        return -EMSGSIZE;
    }
    if (!is_record(record, length)) {
        return -EINVAL;
    }
    char start[LINE_START_MAX];
    size_t before = lines->length;
    size_t start_length = format_start(mark->records + 1, journal_crc32(0, record, length), start);
    uint64_t added = start_length + length + 2;
    if (mark->bytes + added > JOURNAL_BYTES_MAX) {
        return -EFBIG;
    }
    buf_add(lines, start, start_length);
    buf_add(lines, record, length);
    buf_text(lines, "}\n");
    if (lines->failed) {
        return -ENOMEM;
    }
    mark->bytes += added;
    mark->records++;
    mark->sum = journal_crc32(mark->sum, lines->data + before, lines->length - before);
    return 0;
}

/* ---- Reading --------------------------------------------------------------------------------- */

static void judge(struct journal_scan *scan, enum journal_verdict verdict, const char *reason)
{
    scan->verdict = verdict;
    scan->reason = reason;
}

/*
 * The two lines that are the same in every version. Returns what stands behind them; NULL where they are not there to
 * the bit.
 */
static const char *read_kind(const char *bytes, size_t length, unsigned *ret_version,
                             char boot_id[JOURNAL_BOOT_LENGTH + 1])
{
    char line[80], form[sizeof(line)];
    const char *end = length ? memchr(bytes, '\n', length) : NULL;
    size_t line_length = end ? (size_t)(end - bytes) : sizeof(line);
    if (line_length >= sizeof(line)) {
        return NULL;
    }
    memcpy(line, bytes, line_length);
    line[line_length] = '\0';
    int scanned = sscanf(line, NAME "%9u %36s", ret_version, boot_id);
    if (scanned != 2 || *ret_version < JOURNAL_VERSION || !journal_boot_id_is_valid(boot_id)) {
        return NULL;
    }
    (void)snprintf(form, sizeof(form), NAME "%u %s", *ret_version, boot_id);
    int header = snprintf(line, sizeof(line), "header crc=%08" PRIx32 "\n",
                          journal_crc32(0, bytes, line_length + 1));
    size_t rest = length - line_length - 1;
    if (strlen(form) != line_length || memcmp(form, bytes, line_length) != 0 ||
        rest < (size_t)header || memcmp(end + 1, line, (size_t)header) != 0) {
        return NULL;
    }
    return end + 1 + header;
}

/* The mark of a header; whatever would be written otherwise is none. */
static bool read_mark(const char *bytes, size_t length, const char *boot_id,
                      struct journal_mark *ret_mark)
{
    char text[JOURNAL_HEADER_LENGTH + 1], again[sizeof(text)];
    struct journal_mark mark = {0};
    unsigned standing;
    if (length < JOURNAL_HEADER_LENGTH) {
        return false;
    }
    memcpy(text, bytes, JOURNAL_HEADER_LENGTH);
    text[JOURNAL_HEADER_LENGTH] = '\0';
    if (sscanf(text + JOURNAL_MARK_AT,
               "commit bytes=%20" SCNu64 " records=%20" SCNu64 " sum=%8" SCNx32
               " standing=%1u aside=%3u",
               &mark.bytes, &mark.records, &mark.sum, &standing, &mark.aside) != 5 ||
        standing > JOURNAL_NEWER) {
        return false;
    }
    mark.standing = (enum journal_standing)standing;
    journal_header_format(boot_id, &mark, again);
    if (memcmp(text, again, sizeof(text)) != 0) {
        return false;
    }
    *ret_mark = mark;
    return true;
}

/* One record in the `length` bytes at `line`, its newline left out. NULL where it is not there to the bit. */
static const char *read_line(const char *line, size_t length, uint64_t sequence, size_t *ret_length)
{
    char start[LINE_START_MAX];
    const char *record = memmem(line, length < LINE_START_MAX ? length : LINE_START_MAX, RECORD_KEY,
                                strlen(RECORD_KEY));
    if (!record) {
        return NULL;
    }
    record += strlen(RECORD_KEY);
    size_t before = (size_t)(record - line);
    if (length < before + 1 || line[length - 1] != '}') {
        return NULL;
    }
    size_t record_length = length - before - 1;
    if (record_length > JOURNAL_RECORD_MAX || !is_record(record, record_length) ||
        format_start(sequence, journal_crc32(0, record, record_length), start) != before ||
        memcmp(start, line, before) != 0) {
        return NULL;
    }
    *ret_length = record_length;
    return record;
}

/* Goes through the committed lines and hands on their records where somebody wants them. 0; 1: a line is damaged; what
 * `replay` returned less than 0. `text` has room for the longest of the lines. */
static int walk(const char *lines, const struct journal_mark *mark, journal_replay *replay,
                void *data, struct buf *text)
{
    const char *at = lines, *end = lines + mark->bytes;
    for (uint64_t sequence = 1; sequence <= mark->records; sequence++) {
        size_t length;
        const char *newline = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        const char *record =
            newline ? read_line(at, (size_t)(newline - at), sequence, &length) : NULL;
        if (!record) {
            return 1;
        }
        if (replay) {
            buf_clear(text);
            buf_add(text, record, length);
            int r = text->failed ? -ENOMEM : replay(data, text->data, length);
            if (r < 0) {
                return r;
            }
        }
        at = newline + 1;
    }
    return at == end ? 0 : 1;
}

/* A file of this boot and version, with its header. */
static int scan_lines(const char *lines, size_t length, journal_replay *replay, void *data,
                      struct journal_scan *scan)
{
    const struct journal_mark *mark = &scan->mark;
    if (mark->bytes > length) {
        judge(scan, JOURNAL_IS_DAMAGED, "it is cut short");
        return 0;
    }
    if (mark->bytes > JOURNAL_BYTES_MAX || journal_crc32(0, lines, mark->bytes) != mark->sum) {
        judge(scan, JOURNAL_IS_DAMAGED, "its checksum does not match");
        return 0;
    }
    /* All of it is looked at before any of it counts. */
    CLEANUP(buf_done) struct buf text = BUF_INIT;
    int r = walk(lines, mark, NULL, NULL, &text);
    if (r > 0) {
        judge(scan, JOURNAL_IS_DAMAGED, "a record in it is not one");
        return 0;
    }
    r = replay ? walk(lines, mark, replay, data, &text) : 0;
    if (r == -EBADMSG) {
        judge(scan, JOURNAL_IS_DAMAGED, "a record in it makes no sense");
        r = 0;
    }
    return r;
}

int journal_scan(const char *bytes, size_t length, const char *boot_id, journal_replay *replay,
                 void *data, struct journal_scan *ret_scan)
{
    unsigned version;
    char whose[JOURNAL_BOOT_LENGTH + 1];
    struct journal_scan scan = {.verdict = JOURNAL_IS_WHOLE, .reason = ""};
    int r = 0;
    if (length == 0) {
        judge(&scan, JOURNAL_IS_DAMAGED, "it is empty");
    } else if (!read_kind(bytes, length, &version, whose)) {
        judge(&scan, JOURNAL_IS_DAMAGED, "its first lines are not a journal's");
    } else if (strcmp(whose, boot_id) != 0) {
        judge(&scan, JOURNAL_IS_OTHER_BOOT, "");
    } else if (version > JOURNAL_VERSION) {
        judge(&scan, JOURNAL_IS_NEWER, "");
    } else if (!read_mark(bytes, length, boot_id, &scan.mark)) {
        judge(&scan, JOURNAL_IS_DAMAGED, "its commit mark is not one");
    } else {
        r = scan_lines(bytes + JOURNAL_HEADER_LENGTH, length - JOURNAL_HEADER_LENGTH, replay, data,
                       &scan);
    }
    if (r >= 0) {
        *ret_scan = scan;
    }
    return r;
}
