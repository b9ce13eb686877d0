/* SPDX-License-Identifier: MIT */
/* The journal as its owner uses it: what it keeps, what it refuses, what it sets aside. */
#include "tests/unit/journal_rig.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_with(const char *boot_id, unsigned flags, struct journal **ret_journal)
{
    char problem[JOURNAL_PROBLEM_MAX];
    return journal_open(rig_path(), boot_id, flags, NULL, NULL, ret_journal, problem);
}

/* A journal of this boot with the records {"n":1} … {"n":count}. */
static void fill(unsigned count)
{
    struct journal *journal = NULL;
    assert_int_equal(open_with(BOOT, 0, &journal), JOURNAL_READY);
    for (unsigned n = 1; n <= count; n++) {
        char text[32];
        (void)snprintf(text, sizeof(text), "{\"n\":%u}", n);
        assert_int_equal(journal_append(journal, text), 0);
    }
    journal_close(journal);
}

static void corrupt(void)
{
    size_t length;
    char *bytes = rig_read(&length);
    bytes[length - 5] ^= 1;
    rig_write(bytes, length);
    free(bytes);
}

/* ---- What it keeps --------------------------------------------------------------------------- */

static void test_journal__begins_empty(void **state)
{
    struct records records = {0};
    struct journal *journal = NULL;
    struct stat st;
    (void)state;
    assert_int_equal(rig_open(&journal, &records), JOURNAL_READY);
    assert_int_equal(records.count, 0);
    assert_int_equal(journal_bytes(journal), 0);
    journal_close(journal);
    assert_int_equal(stat(rig_path(), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, JOURNAL_HEADER_LENGTH);
    assert_int_equal(rig_files(), 1);
}

static void test_journal__keeps_records_in_order(void **state)
{
    static const char *const texts[] = {
        "{}",
        "{\"id\":\"8f14e45fceea167a\",\"label\":\"}\\n{ ü \\u0000\"}",
        "{\"n\":[{},{}]}",
        ",\"record\":", /* refused: not an object */
        "{\"sequence\":9,\"crc32\":1,\"record\":{}}",
    };
    struct records records = {0}, expected = {0};
    struct journal *journal = NULL;
    (void)state;
    assert_int_equal(rig_open(&journal, &records), JOURNAL_READY);
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        int r = journal_append(journal, texts[i]);
        assert_int_equal(r, texts[i][0] == '{' ? 0 : -EINVAL);
        if (r == 0) {
            records_add(&expected, texts[i]);
        }
    }
    struct stat st;
    assert_int_equal(stat(rig_path(), &st), 0);
    assert_int_equal((uint64_t)st.st_size, JOURNAL_HEADER_LENGTH + journal_bytes(journal));
    journal_close(journal);
    assert_int_equal(rig_open(&journal, &records), JOURNAL_READY);
    assert_true(records_equal(&records, &expected));
    assert_int_equal(journal_append(journal, "{\"later\":1}"), 0);
    journal_close(journal);
    records_add(&expected, "{\"later\":1}");
    rig_expect(JOURNAL_READY, &records);
    assert_true(records_equal(&records, &expected));
    records_clear(&records);
    records_clear(&expected);
}

static void test_journal__refuses_what_is_no_record(void **state)
{
    static const char *const bad[] = {
        "", "{", "}", "[]", "1", "{}\n", "\n{}", "{\n}", "{\t}", "{\"a\":\"\x01\"}", " {}", "{} "};
    struct journal *journal = NULL;
    char *text = malloc(JOURNAL_RECORD_MAX + 2);
    (void)state;
    assert_non_null(text);
    assert_int_equal(open_with(BOOT, 0, &journal), JOURNAL_READY);
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        assert_int_equal(journal_append(journal, bad[i]), -EINVAL);
    }
    memset(text, 'x', JOURNAL_RECORD_MAX + 1);
    text[0] = '{';
    text[JOURNAL_RECORD_MAX] = '}';
    text[JOURNAL_RECORD_MAX + 1] = '\0';
    assert_int_equal(journal_append(journal, text), -EMSGSIZE);
    assert_int_equal(journal_bytes(journal), 0);
    text[JOURNAL_RECORD_MAX - 1] = '}';
    text[JOURNAL_RECORD_MAX] = '\0';
    assert_int_equal(journal_append(journal, text), 0);
    journal_close(journal);
    struct records records = {0};
    rig_expect(JOURNAL_READY, &records);
    assert_int_equal(records.count, 1);
    assert_string_equal(records.texts[0], text);
    records_clear(&records);
    free(text);
}

static void test_journal__is_bounded(void **state)
{
    struct journal_mark mark = {.bytes = JOURNAL_BYTES_MAX - 40};
    struct buf lines = BUF_INIT;
    (void)state;
    assert_int_equal(journal_line_add(&lines, &mark, "{}"), -EFBIG);
    assert_int_equal(mark.bytes, JOURNAL_BYTES_MAX - 40);
    assert_int_equal(lines.length, 0);
    mark.bytes -= 40;
    assert_int_equal(journal_line_add(&lines, &mark, "{}"), 0);
    buf_done(&lines);
}

/* The place where it is read by people and by other programs. */
static void test_journal__has_a_known_form(void **state)
{
    static const char expected[] =
        "vram-journal 1 " BOOT "\n"
        "header crc=cc5e16ab\n"
        "commit bytes=00000000000000000046 records=00000000000000000001 sum=85ddc749 standing=0"
        " aside=000 crc=a1ce4741\n"
        "{\"sequence\":1,\"crc32\":2745614147,\"record\":{}}\n";
    size_t length;
    struct journal *journal = NULL;
    (void)state;
    assert_int_equal(journal_crc32(0, "123456789", 9), 0xcbf43926);
    assert_int_equal(journal_crc32(journal_crc32(0, "1234", 4), "56789", 5), 0xcbf43926);
    assert_int_equal(open_with(BOOT, 0, &journal), JOURNAL_READY);
    assert_int_equal(journal_append(journal, "{}"), 0);
    journal_close(journal);
    char *bytes = rig_read(&length);
    bytes[length] = '\0';
    assert_string_equal(bytes, expected);
    free(bytes);
}

static void test_journal__is_synchronised_where_a_disk_is_below(void **state)
{
    struct journal *journal = NULL;
    (void)state;
    calls.fs_type = EXT4_SUPER_MAGIC;
    assert_int_equal(open_with(BOOT, 0, &journal), JOURNAL_READY);
    unsigned before = calls.synchronised;
    assert_true(before > 0);
    assert_int_equal(journal_append(journal, "{}"), 0);
    assert_int_equal(calls.synchronised, before + 1);
    journal_close(journal);
    calls.fs_type = TMPFS_MAGIC;
    before = calls.synchronised;
    assert_int_equal(open_with(BOOT, 0, &journal), JOURNAL_READY);
    assert_int_equal(journal_append(journal, "{}"), 0);
    assert_int_equal(calls.synchronised, before);
    journal_close(journal);
}

/* ---- What it begins anew --------------------------------------------------------------------- */

static void test_journal__forgets_another_boot(void **state)
{
    struct journal *journal = NULL;
    struct records records = {0};
    (void)state;
    assert_int_equal(open_with(OTHER_BOOT, 0, &journal), JOURNAL_READY);
    assert_int_equal(journal_append(journal, "{}"), 0);
    journal_close(journal);
    rig_expect(JOURNAL_READY, &records);
    assert_int_equal(records.count, 0);
    assert_int_equal(rig_files(), 1);
}

/* Whatever a power cut left of it: the first two lines say that it does not matter. */
static void test_journal__forgets_another_boot_that_is_damaged(void **state)
{
    struct journal *journal = NULL;
    struct records records = {0};
    size_t length;
    (void)state;
    assert_int_equal(open_with(OTHER_BOOT, 0, &journal), JOURNAL_READY);
    assert_int_equal(journal_append(journal, "{}"), 0);
    journal_close(journal);
    char *bytes = rig_read(&length);
    rig_write(bytes, JOURNAL_MARK_AT);
    free(bytes);
    rig_expect(JOURNAL_READY, &records);
    assert_int_equal(rig_files(), 1);
}

static void test_journal__refuses_a_boot_id_that_is_none(void **state)
{
    static const char *const bad[] = {"", "x", BOOT "0", "0C2E6AC2-7F2E-4B7C-9D0A-3A52F9E9C001",
                                      "0c2e6ac2-7f2e-4b7c-9d0a-3a52f9e9c00\n"};
    struct journal *journal = NULL;
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        assert_int_equal(open_with(bad[i], 0, &journal), -EINVAL);
    }
    assert_null(journal);
    assert_int_equal(rig_files(), 0);
}

static void test_journal__is_discarded_when_nothing_is_promised(void **state)
{
    struct journal *journal = NULL;
    struct records records = {0};
    (void)state;
    fill(2);
    assert_int_equal(rig_open(&journal, &records), JOURNAL_READY);
    journal_discard(journal);
    assert_int_equal(rig_files(), 0);
    fill(2);
    corrupt();
    assert_int_equal(rig_open(&journal, &records), JOURNAL_DAMAGED);
    journal_discard(journal);
    rig_expect(JOURNAL_DAMAGED, &records);
}

static void test_journal__removes_what_a_killed_rewriting_left(void **state)
{
    struct records records = {0};
    char name[320];
    (void)state;
    fill(1);
    (void)snprintf(name, sizeof(name), "%s.new-a1B2c3", rig_path());
    int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    rig_expect(JOURNAL_READY, &records);
    assert_int_equal(records.count, 1);
    assert_int_equal(rig_files(), 1);
    records_clear(&records);
}

/* ---- What it sets aside ---------------------------------------------------------------------- */

static void test_journal__sets_a_damaged_one_aside_until_forgotten(void **state)
{
    struct journal *journal = NULL;
    struct records records = {0};
    char problem[JOURNAL_PROBLEM_MAX];
    (void)state;
    fill(3);
    corrupt();
    assert_int_equal(journal_open(rig_path(), BOOT, 0, NULL, NULL, &journal, problem),
                     JOURNAL_DAMAGED);
    assert_non_null(strstr(problem, "vram.journal.damaged-1"));
    assert_non_null(strstr(problem, "its checksum does not match"));
    assert_non_null(strstr(problem, "--forget"));
    assert_true(rig_exists(".damaged-1"));
    assert_int_equal(journal_append(journal, "{}"), -EROFS);
    assert_int_equal(journal_rewrite(journal, NULL, NULL), -EROFS);
    journal_close(journal);
    /* It is remembered, however often the daemon comes back. */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(journal_open(rig_path(), BOOT, 0, NULL, NULL, &journal, problem),
                         JOURNAL_DAMAGED);
        assert_non_null(strstr(problem, "vram.journal.damaged-1"));
        journal_close(journal);
    }
    assert_int_equal(rig_files(), 2);
    assert_int_equal(open_with(BOOT, JOURNAL_FORGET, &journal), JOURNAL_READY);
    assert_int_equal(journal_append(journal, "{\"new\":1}"), 0);
    journal_close(journal);
    rig_expect(JOURNAL_READY, &records);
    assert_int_equal(records.count, 1);
    assert_true(rig_exists(".damaged-1"));
    records_clear(&records);
}

static void test_journal__is_free_again_in_the_next_boot(void **state)
{
    struct journal *journal = NULL;
    (void)state;
    fill(3);
    corrupt();
    assert_int_equal(open_with(BOOT, 0, &journal), JOURNAL_DAMAGED);
    journal_close(journal);
    assert_int_equal(open_with(OTHER_BOOT, 0, &journal), JOURNAL_READY);
    journal_close(journal);
}

static void test_journal__numbers_what_it_sets_aside(void **state)
{
    struct journal *journal = NULL;
    (void)state;
    for (int i = 0; i < 3; i++) {
        fill(2);
        corrupt();
        assert_int_equal(open_with(BOOT, JOURNAL_FORGET, &journal), JOURNAL_READY);
        journal_close(journal);
        rig_remove("");
    }
    assert_true(rig_exists(".damaged-1") && rig_exists(".damaged-2") && rig_exists(".damaged-3"));
    assert_int_equal(rig_files(), 3);
}

static void test_journal__forgets_nothing_that_is_whole(void **state)
{
    struct journal *journal = NULL;
    struct records records = {0};
    (void)state;
    fill(3);
    assert_int_equal(open_with(BOOT, JOURNAL_FORGET, &journal), JOURNAL_READY);
    journal_close(journal);
    rig_expect(JOURNAL_READY, &records);
    assert_int_equal(records.count, 3);
    records_clear(&records);
}

/* Version 2 of the file, with whatever it has behind the two lines that stay. */
static void write_newer(const char *boot_id)
{
    char text[256];
    int line = snprintf(text, sizeof(text), "vram-journal 2 %s\n", boot_id);
    int length = snprintf(text + line, sizeof(text) - (size_t)line, "header crc=%08x\nsomething",
                          journal_crc32(0, text, (size_t)line));
    rig_write(text, (size_t)(line + length));
}

static void test_journal__sets_a_newer_one_aside(void **state)
{
    struct journal *journal = NULL;
    char problem[JOURNAL_PROBLEM_MAX];
    (void)state;
    write_newer(BOOT);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(journal_open(rig_path(), BOOT, 0, NULL, NULL, &journal, problem),
                         JOURNAL_NEWER);
        assert_non_null(strstr(problem, "newer vramd"));
        assert_non_null(strstr(problem, "vram.journal.newer-1"));
        assert_int_equal(journal_append(journal, "{}"), -EROFS);
        journal_close(journal);
    }
    assert_true(rig_exists(".newer-1"));
    assert_int_equal(open_with(BOOT, JOURNAL_FORGET, &journal), JOURNAL_READY);
    journal_close(journal);
    write_newer(OTHER_BOOT);
    assert_int_equal(open_with(BOOT, 0, &journal), JOURNAL_READY);
    journal_close(journal);
    assert_int_equal(rig_files(), 2);
}

/* ---- What its reader says -------------------------------------------------------------------- */

static void test_journal__believes_its_reader(void **state)
{
    struct journal *journal = NULL;
    struct records records = {.result = -EBADMSG, .fails_at = 1};
    (void)state;
    fill(3);
    assert_int_equal(rig_open(&journal, &records), JOURNAL_DAMAGED);
    assert_int_equal(records.count, 1);
    journal_close(journal);
    assert_true(rig_exists(".damaged-1"));
    records_clear(&records);
}

static void test_journal__is_left_alone_when_its_reader_fails(void **state)
{
    struct journal *journal = NULL;
    struct records records = {.result = -ENOMEM, .fails_at = 1};
    (void)state;
    fill(3);
    assert_int_equal(rig_open(&journal, &records), -ENOMEM);
    assert_null(journal);
    records.result = 0;
    rig_expect(JOURNAL_READY, &records);
    assert_int_equal(records.count, 3);
    assert_int_equal(rig_files(), 1);
    records_clear(&records);
}

/* ---- Rewriting ------------------------------------------------------------------------------- */

static int put_two(struct journal_writer *writer, void *data)
{
    (void)data;
    int r = journal_put(writer, "{\"live\":1}");
    return r < 0 ? r : journal_put(writer, "{\"live\":2}");
}

static int put_and_give_up(struct journal_writer *writer, void *data)
{
    assert_int_equal(journal_put(writer, "{\"lost\":1}"), 0);
    assert_int_equal(journal_put(writer, "nonsense"), -EINVAL);
    return *(int *)data;
}

static void test_journal__is_rewritten(void **state)
{
    struct journal *journal = NULL;
    struct records records = {0};
    (void)state;
    fill(100);
    assert_int_equal(open_with(BOOT, 0, &journal), JOURNAL_READY);
    uint64_t before = journal_bytes(journal);
    assert_int_equal(journal_rewrite(journal, put_two, NULL), 0);
    assert_true(journal_bytes(journal) < before / 10);
    assert_int_equal(journal_append(journal, "{\"live\":3}"), 0);
    int failure = -ECANCELED;
    assert_int_equal(journal_rewrite(journal, put_and_give_up, &failure), -ECANCELED);
    assert_int_equal(journal_append(journal, "{\"live\":4}"), 0);
    journal_close(journal);
    rig_expect(JOURNAL_READY, &records);
    assert_int_equal(records.count, 4);
    for (unsigned i = 0; i < 4; i++) {
        char text[32];
        (void)snprintf(text, sizeof(text), "{\"live\":%u}", i + 1);
        assert_string_equal(records.texts[i], text);
    }
    assert_int_equal(rig_files(), 1);
    records_clear(&records);
}

static void test_journal__comes_back_by_rewriting(void **state)
{
    struct journal *journal = NULL;
    struct records records = {0};
    (void)state;
    assert_int_equal(open_with(BOOT, 0, &journal), JOURNAL_READY);
    rig_remove("");
    assert_int_equal(journal_rewrite(journal, put_two, NULL), 0);
    journal_close(journal);
    rig_expect(JOURNAL_READY, &records);
    assert_int_equal(records.count, 2);
    records_clear(&records);
}

/* ---- What is not a journal's place ----------------------------------------------------------- */

static void test_journal__is_a_plain_file(void **state)
{
    struct journal *journal = NULL;
    char target[320];
    (void)state;
    assert_int_equal(mkdir(rig_path(), 0700), 0);
    assert_int_equal(open_with(BOOT, JOURNAL_FORGET, &journal), -EISDIR);
    assert_int_equal(rmdir(rig_path()), 0);
    assert_int_equal(mkfifo(rig_path(), 0600), 0);
    assert_int_equal(open_with(BOOT, JOURNAL_FORGET, &journal), -EINVAL);
    rig_remove("");
    (void)snprintf(target, sizeof(target), "%s.target", rig_path());
    assert_int_equal(symlink(target, rig_path()), 0);
    assert_int_equal(open_with(BOOT, JOURNAL_FORGET, &journal), -ELOOP);
    assert_false(rig_exists(".target"));
    assert_null(journal);
}

static void test_journal__needs_a_directory(void **state)
{
    struct journal *journal = NULL;
    char problem[JOURNAL_PROBLEM_MAX], name[512];
    (void)state;
    (void)snprintf(name, sizeof(name), "%s/none/vram.journal", rig_directory());
    assert_int_equal(journal_open(name, BOOT, 0, NULL, NULL, &journal, problem), -ENOENT);
    assert_non_null(strstr(problem, name));
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(journal_open(name, BOOT, 0, NULL, NULL, &journal, problem), -ENAMETOOLONG);
    assert_null(journal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_journal__begins_empty),
        WITH_RIG(test_journal__keeps_records_in_order),
        WITH_RIG(test_journal__refuses_what_is_no_record),
        WITH_RIG(test_journal__is_bounded),
        WITH_RIG(test_journal__has_a_known_form),
        WITH_RIG(test_journal__is_synchronised_where_a_disk_is_below),
        WITH_RIG(test_journal__forgets_another_boot),
        WITH_RIG(test_journal__forgets_another_boot_that_is_damaged),
        WITH_RIG(test_journal__refuses_a_boot_id_that_is_none),
        WITH_RIG(test_journal__is_discarded_when_nothing_is_promised),
        WITH_RIG(test_journal__removes_what_a_killed_rewriting_left),
        WITH_RIG(test_journal__sets_a_damaged_one_aside_until_forgotten),
        WITH_RIG(test_journal__is_free_again_in_the_next_boot),
        WITH_RIG(test_journal__numbers_what_it_sets_aside),
        WITH_RIG(test_journal__forgets_nothing_that_is_whole),
        WITH_RIG(test_journal__sets_a_newer_one_aside),
        WITH_RIG(test_journal__believes_its_reader),
        WITH_RIG(test_journal__is_left_alone_when_its_reader_fails),
        WITH_RIG(test_journal__is_rewritten),
        WITH_RIG(test_journal__comes_back_by_rewriting),
        WITH_RIG(test_journal__is_a_plain_file),
        WITH_RIG(test_journal__needs_a_directory),
    };
    return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
