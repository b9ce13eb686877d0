/* SPDX-License-Identifier: MIT */
#include "tests/unit/journal_story.h"

#include "tests/unit/unit.h"
#include <stdio.h>

static int put_live(struct journal_writer *writer, void *data)
{
    const struct story *story = data;
    int r = 0;
    for (unsigned i = 0; r == 0 && i < story->next_count; i++) {
        char text[32];
        (void)snprintf(text, sizeof(text), "{\"n\":%u}", story->next_live[i]);
        r = journal_put(writer, text);
    }
    return r;
}

static void acknowledge(struct story *story)
{
    memcpy(story->live, story->next_live, sizeof(story->live));
    story->count = story->next_count;
    story->ghost = 0;
}

int append_step(struct journal *journal, struct story *story, unsigned n)
{
    char text[32];
    (void)snprintf(text, sizeof(text), "{\"n\":%u}", n);
    memcpy(story->next_live, story->live, sizeof(story->live));
    story->next_live[story->count] = n;
    story->next_count = story->count + 1;
    int r = journal_append(journal, text);
    if (r == 0) {
        acknowledge(story);
    } else if (!story->ghost) {
        story->ghost = n;
    }
    return r;
}

int rewrite_step(struct journal *journal, struct story *story)
{
    unsigned drop = story->count / 2;
    story->next_count = story->count - drop;
    memcpy(story->next_live, story->live + drop, story->next_count * sizeof(story->live[0]));
    int r = journal_rewrite(journal, put_live, story);
    if (r == 0) {
        acknowledge(story);
    }
    return r;
}

static void texts_of(const unsigned *live, unsigned count, struct records *ret)
{
    records_clear(ret);
    for (unsigned i = 0; i < count; i++) {
        char text[32];
        (void)snprintf(text, sizeof(text), "{\"n\":%u}", live[i]);
        records_add(ret, text);
    }
}

/* Whether these are what was acknowledged and a record that was refused, on a disk that let nobody take it back. */
static bool has_ghost(struct records *records, const struct records *before,
                      const struct story *story)
{
    unsigned n;
    bool found = story->ghost && records->count == before->count + 1 &&
                 sscanf(records->texts[before->count], "{\"n\":%u}", &n) == 1 && n >= story->ghost;
    if (found) {
        free(records->texts[--records->count]);
        found = records_equal(records, before);
    }
    return found;
}

void expect_no_loss_now(void *data)
{
    const struct story *story = data;
    struct records records = {0}, before = {0}, after = {0};
    struct journal_scan scan;
    size_t length;
    char *bytes = rig_read(&length);
    assert_int_equal(journal_scan(bytes, length, BOOT, records_replay, &records, &scan), 0);
    assert_int_equal(scan.verdict, JOURNAL_IS_WHOLE);
    texts_of(story->live, story->count, &before);
    texts_of(story->next_live, story->next_count, &after);
    assert_true(records_equal(&records, &before) || records_equal(&records, &after) ||
                has_ghost(&records, &before, story));
    records_clear(&records);
    records_clear(&before);
    records_clear(&after);
    free(bytes);
}

void expect_story(const struct story *story)
{
    struct records records = {0}, before = {0}, after = {0};
    calls_reset();
    rig_expect(JOURNAL_READY, &records);
    texts_of(story->live, story->count, &before);
    texts_of(story->next_live, story->next_count, &after);
    assert_true(records_equal(&records, &before) || records_equal(&records, &after));
    records_clear(&records);
    records_clear(&before);
    records_clear(&after);
}
