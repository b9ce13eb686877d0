/* SPDX-License-Identifier: MIT */
/* What came of asking. */
#include "daemon/reclaim_inner.h"

#include "common/clock.h"
#include "common/size.h"
#include "common/text.h"
#include <stdio.h>
#include <string.h>

#define QUIET_NS (SECOND_NS / 2) /* after so long nothing more is expected */
#define LATE_NS SECOND_NS
#define REST_MOST_NS (3600 * SECOND_NS)

uint64_t holder_returned(const struct holder *holder)
{
    return holder->before_bytes > holder->least_bytes ? holder->before_bytes - holder->least_bytes
                                                      : 0;
}

static void say_result(struct holder *holder, uint64_t returned, uint64_t took_ns)
{
    char bytes[SIZE_TEXT_MAX], took[32];
    bool failed = holder->failure[0];
    if (took_ns < SECOND_NS / 10) {
        (void)snprintf(took, sizeof(took), "%.0f ms", (double)took_ns / 1e6);
    } else {
        (void)snprintf(took, sizeof(took), "%.1f s", (double)took_ns / (double)SECOND_NS);
    }
    if (returned >= RECLAIM_LEAST_BYTES) {
        (void)snprintf(holder->last, sizeof(holder->last), "asked %s: %s back in %s%s%s%s",
                       holder->name, size_format(returned, bytes), took, failed ? " (" : "",
                       holder->failure, failed ? ")" : "");
    } else {
        (void)snprintf(holder->last, sizeof(holder->last), "asked %s: nothing came back%s%s%s",
                       holder->name, failed ? " (" : "", holder->failure, failed ? ")" : "");
    }
}

static void count(struct holder *holder, enum reclaim_outcome outcome, uint64_t returned)
{
    struct reclaim_tally *tally = holder->lease[0] ? &holder->reclaim->lease_tally : &holder->tally;
    tally->outcomes[outcome]++;
    tally->returned_bytes += returned;
}

static void tell(struct holder *holder, enum reclaim_outcome outcome, uint64_t now_ns)
{
    struct reclaim_result result = {
        .holder = holder->name,
        .lease = holder->lease[0] ? holder->lease : NULL,
        .id = holder->id,
        .uuid = holder->uuid[0] ? holder->uuid : NULL,
        .returned_bytes = holder_returned(holder),
        .took_ns = holder->least_ns - holder->asked_ns,
        .text = holder->last,
    };
    holder->is_open = false;
    holder->last_ns = now_ns;
    say_result(holder, result.returned_bytes, result.took_ns);
    count(holder, outcome, result.returned_bytes);
    holder->reclaim->ops->told(holder->reclaim->data, &result);
}

void holder_conclude(struct holder *holder, uint64_t now_ns)
{
    uint64_t rest_ns = holder->config.again_ns;
    bool gave = holder_returned(holder) >= RECLAIM_LEAST_BYTES;
    if (gave) {
        holder->failures = 0;
    } else {
        for (unsigned i = 0; i < holder->failures && rest_ns < REST_MOST_NS; i++) {
            rest_ns *= 2;
        }
        holder->failures++;
        holder->rest_until_ns = now_ns + (rest_ns < REST_MOST_NS ? rest_ns : REST_MOST_NS);
    }
    holder->busy_id[0] = '\0';
    tell(holder, gave ? RECLAIM_GAVE : RECLAIM_NOTHING, now_ns);
}

void holder_busy(struct holder *holder, uint64_t now_ns)
{
    bool is_news = strcmp(holder->busy_id, holder->id) != 0;
    holder->word_busy = true;
    holder->word_ns = now_ns;
    holder->answered = true;
    holder->is_open = false;
    (void)text_copy(holder->failure, sizeof(holder->failure), "it is busy");
    (void)text_copy(holder->busy_id, sizeof(holder->busy_id), holder->id);
    if (is_news) {
        tell(holder, RECLAIM_REFUSED, now_ns);
    }
}

/* Who answers late may still give back; who has given something and stopped is done. */
void holder_judge(struct holder *holder, uint64_t now_ns)
{
    /* A talk ends by then, and says why. */
    uint64_t late_ns = holder->answered || holder->lease[0] ? 0 : LATE_NS;
    bool overdue = now_ns - holder->asked_ns >= holder->config.timeout_ns + late_ns;
    bool is_quiet = now_ns - holder->least_ns >= QUIET_NS;
    bool has_given = holder_returned(holder) >= RECLAIM_LEAST_BYTES;
    if (overdue && !holder->answered && holder->lease[0]) {
        (void)text_copy(holder->failure, sizeof(holder->failure), "no answer in time");
    }
    if (overdue || (is_quiet && holder->answered && (has_given || holder->failure[0]))) {
        holder_conclude(holder, now_ns);
    }
}

void holder_asked(void *data, const char *failure, bool busy)
{
    struct holder *holder = data;
    (void)busy;
    holder->answered = true;
    (void)text_copy(holder->failure, sizeof(holder->failure), failure);
    holder->ask = reclaim_ask_free(holder->ask);
}
