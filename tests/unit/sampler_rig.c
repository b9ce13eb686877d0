/* SPDX-License-Identifier: MIT */
#include "tests/unit/sampler_rig.h"

#include "tests/unit/counted_threads.h"
#include "tests/unit/still_clock.h"

struct sampler *sampler;
struct board board;
struct err err;

static void quiet(void *data, int level, const char *message)
{
    (void)data;
    (void)level;
    (void)message;
}

int sampler_set_up(void **state)
{
    static const struct source_config config = {.root = "", .log = quiet};
    (void)state;
    fake_reset(3);
    err = (struct err){0};
    sampler = sampler_new(&fake_source, &config, LIMIT_NS);
    return sampler ? 0 : -1;
}

int sampler_tear_down(void **state)
{
    (void)state;
    board_done(&board);
    sampler_free(sampler);
    sampler = NULL;
    threads_await(0);
    struct fake_counts counts = fake_counts();
    return counts.closes == counts.opened ? 0 : -1;
}

int sample(uint32_t take)
{
    board_done(&board);
    return sampler_sample(sampler, take, &board, &err);
}

uint64_t pass_of(const struct board *from, size_t device)
{
    assert_true(device < from->count);
    assert_non_null(from->entries[device].report);
    return from->entries[device].report->gpus[0].used_bytes;
}

static void *ask(void *data)
{
    struct caller *caller = data;
    caller->result = sampler_sample(sampler, caller->take, &caller->board, &caller->err);
    return NULL;
}

void caller_start(struct caller *caller, uint32_t take)
{
    *caller = (struct caller){.take = take};
    assert_int_equal(pthread_create(&caller->thread, NULL, ask, caller), 0);
}

void caller_join(struct caller *caller)
{
    assert_int_equal(pthread_join(caller->thread, NULL), 0);
}

void ask_into_hang(struct caller *caller, size_t call, unsigned hanging)
{
    fake_hang(call);
    caller_start(caller, VRAM_TAKE_ALL);
    fake_await_hanging(hanging);
    still_clock_advance(LIMIT_NS);
    caller_join(caller);
}
