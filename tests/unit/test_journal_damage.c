/* SPDX-License-Identifier: MIT */
/* The journal with every bit flipped and every byte cut off: it has what was acknowledged, or says that it has not. */
#include "tests/unit/journal_rig.h"
#include "tests/unit/unit.h"

/* These bytes are the same records, or damage that is remembered; never anything else. Returns which. */
static bool is_same_or_damaged(const char *bytes, size_t length, const struct records *expected)
{
    struct records records = {0};
    struct journal *journal = NULL;
    rig_write(bytes, length);
    int r = rig_open(&journal, &records);
    journal_close(journal);
    if (r == JOURNAL_READY) {
        assert_true(records_equal(&records, expected));
    } else {
        assert_int_equal(r, JOURNAL_DAMAGED);
        assert_int_equal(records.count, 0);
        rig_expect(JOURNAL_DAMAGED, &records);
        rig_remove(".damaged-1");
    }
    records_clear(&records);
    return r == JOURNAL_READY;
}

static void test_journal_damage__every_flipped_bit_is_seen(void **state)
{
    size_t length;
    struct records expected = {0};
    char *bytes = rig_sample(&length, &expected);
    (void)state;
    for (size_t bit = 0; bit < length * 8; bit++) {
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
        assert_false(is_same_or_damaged(bytes, length, &expected));
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
    }
    assert_true(is_same_or_damaged(bytes, length, &expected));
    records_clear(&expected);
    free(bytes);
}

static void test_journal_damage__every_cut_is_seen(void **state)
{
    size_t length;
    struct records expected = {0};
    char *bytes = rig_sample(&length, &expected);
    (void)state;
    for (size_t cut = 0; cut < length; cut++) {
        assert_false(is_same_or_damaged(bytes, cut, &expected));
    }
    records_clear(&expected);
    free(bytes);
}

/* A record that was torn while it was written stands behind what is committed. */
static void test_journal_damage__a_torn_tail_is_dropped(void **state)
{
    size_t length, longer;
    struct records expected = {0}, records = {0};
    struct journal *journal = NULL;
    char *bytes = rig_sample(&length, &expected);
    (void)state;
    assert_int_equal(rig_open(&journal, &records), JOURNAL_READY);
    assert_int_equal(journal_append(journal, "{\"torn\":1}"), 0);
    journal_close(journal);
    char *torn = rig_read(&longer);
    memcpy(torn, bytes, length); /* the mark is the old one again */
    for (size_t end = length; end <= longer; end++) {
        assert_true(is_same_or_damaged(torn, end, &expected));
    }
    /* A shorter record overwrites the tail, which never comes back. */
    assert_int_equal(rig_open(&journal, &records), JOURNAL_READY);
    assert_int_equal(journal_append(journal, "{}"), 0);
    journal_close(journal);
    records_add(&expected, "{}");
    rig_expect(JOURNAL_READY, &records);
    assert_true(records_equal(&records, &expected));
    records_clear(&records);
    records_clear(&expected);
    free(torn);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_journal_damage__every_flipped_bit_is_seen),
        WITH_RIG(test_journal_damage__every_cut_is_seen),
        WITH_RIG(test_journal_damage__a_torn_tail_is_dropped),
    };
    return cmocka_run_group_tests_name("journal_damage", tests, NULL, NULL);
}
