/* SPDX-License-Identifier: MIT */
#include "common/buf.h"
#include "daemon/journal_text.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define BOOT "0c2e6ac2-7f2e-4b7c-9d0a-3a52f9e9c001"

/* What a scan hands on is written again. */
struct again {
    struct buf lines;
    struct journal_mark mark;
};

static int write_again(void *data, const char *record, size_t length)
{
    struct again *again = data;
    MUST(strlen(record) == length);
    MUST(journal_line_add(&again->lines, &again->mark, record) == 0);
    return 0;
}

/* What is taken for a whole journal is to the byte what would be written with its records. */
static void scan(const char *bytes, size_t length)
{
    struct again again = {.lines = BUF_INIT};
    struct journal_scan scan;
    char header[JOURNAL_HEADER_LENGTH + 1];
    MUST(journal_scan(bytes, length, BOOT, write_again, &again, &scan) == 0);
    if (scan.verdict == JOURNAL_IS_WHOLE) {
        MUST(again.mark.bytes == scan.mark.bytes && again.mark.records == scan.mark.records);
        MUST(again.mark.sum == scan.mark.sum);
        journal_header_format(BOOT, &scan.mark, header);
        MUST(memcmp(bytes, header, JOURNAL_HEADER_LENGTH) == 0);
        MUST(!scan.mark.bytes ||
             memcmp(bytes + JOURNAL_HEADER_LENGTH, again.lines.data, again.lines.length) == 0);
    } else {
        MUST(again.mark.records == 0);
        MUST((scan.verdict == JOURNAL_IS_DAMAGED) == (scan.reason[0] != '\0'));
    }
    buf_done(&again.lines);
}

/* The same behind a mark that fits, which chance does not find. */
static void scan_committed(const char *lines, size_t length)
{
    const struct journal_mark mark = {.bytes = length,
                                      .records = length ? (unsigned char)lines[0] : 0,
                                      .sum = journal_crc32(0, lines, length)};
    char header[JOURNAL_HEADER_LENGTH + 1];
    struct buf file = BUF_INIT;
    journal_header_format(BOOT, &mark, header);
    buf_text(&file, header);
    buf_add(&file, lines, length);
    MUST(!file.failed);
    scan(file.data, file.length);
    buf_done(&file);
}

/* Any text is refused, or a record that comes back. */
static void record(const char *text)
{
    struct buf lines = BUF_INIT;
    struct journal_mark mark = {0};
    if (journal_line_add(&lines, &mark, text) == 0) {
        char header[JOURNAL_HEADER_LENGTH + 1];
        struct buf file = BUF_INIT;
        struct journal_scan result;
        struct again again = {.lines = BUF_INIT};
        journal_header_format(BOOT, &mark, header);
        buf_text(&file, header);
        buf_add(&file, lines.data, lines.length);
        MUST(!file.failed);
        MUST(journal_scan(file.data, file.length, BOOT, write_again, &again, &result) == 0);
        MUST(result.verdict == JOURNAL_IS_WHOLE && again.mark.records == 1);
        MUST(again.lines.length == lines.length);
        MUST(memcmp(again.lines.data, lines.data, lines.length) == 0);
        buf_done(&again.lines);
        buf_done(&file);
    } else {
        MUST(mark.records == 0 && mark.bytes == 0 && lines.length == 0);
    }
    buf_done(&lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    scan(text, size);
    scan_committed(text, size);
    record(text);
    free(text);
    return 0;
}
