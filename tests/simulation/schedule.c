/* SPDX-License-Identifier: MIT */
#include "tests/simulation/play.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS 160
#define FIRST_KEY 1

static void act(struct play *play)
{
    struct world *world = &play->world;
    int program = world_pick(world);
    uint64_t what = world_below(world, 100);
    play->world.now_ns += 1000;
    if (program < 0 || (what < 12 && !play->calm)) {
        int parent = program >= 0 && world_chance(world, 25) ? program : -1;
        int started = play->calm ? -1 : world_start(world, parent);
        if (started >= 0 && parent < 0 && world_chance(world, 40)) {
            world->programs[started].unit = 1 + (uint32_t)world_below(world, CEILINGS);
        }
        if (started >= 0 && world_chance(world, 80)) {
            ask(play, started);
        }
    } else if (what < 20) {
        if (!play->calm && world->programs[program].key && world_chance(world, 20)) {
            ask(play, program);
        }
    } else if (what < 50) {
        allocate(play, program);
    } else if (what < 60) {
        give_back(play, program);
    } else if (what < 68) {
        (void)world_start(world, program);
    } else if (what < 74) {
        SAY(play, "program %d is killed", program);
        world_kill(world, program);
    } else if (what < 78) {
        hand_over(play, program);
    } else if (what < 86) {
        change_lease(play);
    } else if (what < 87) {
        hang_up(play);
    } else if (what < 88) {
        size_t gpu = world_below(world, world->gpu_count);
        play->drained[gpu] = !play->calm && world_chance(world, 50);
    } else if (what < 93) {
        world_catch_up(world);
    } else if (what < 97) {
        tell_deaths(play);
    } else {
        pass_time(play);
    }
    note_moment(play);
}

static void step(struct play *play)
{
    unsigned percent = ledger_wants_sample(play->ledger) ? 40 : 5;
    if (!play->sampling && world_chance(&play->world, percent)) {
        begin_sample(play);
    }
    if (play->sampling && world_chance(&play->world, 50)) {
        go_on(play);
    } else {
        act(play);
    }
    if (world_chance(&play->world, 1)) {
        restart(play);
    }
    if (world_chance(&play->world, 10)) {
        come_back(play);
    }
    check_promises(play);
    check_kept(play);
    world_bury(&play->world);
}

/* Samples without anything moving, until nothing changes any more. */
static void settle(struct play *play)
{
    for (int i = 0; i < 6; i++) {
        play->world.now_ns += 3000000000;
        world_show_all(&play->world);
        tell_deaths(play);
        pass_time(play);
        drop_sample(play);
        begin_sample(play);
        while (play->sampling) {
            go_on(play);
        }
    }
}

/* When nobody new comes and holders finish, everybody is answered, and nothing is left. */
static void finish(struct play *play)
{
    play->calm = true;
    memset(play->drained, 0, sizeof(play->drained));
    play->records_fail = false;
    come_back(play);
    for (int i = 0; i < 2 * REQUESTS && !play->broken; i++) {
        settle(play);
        struct deal *deal = some_deal(play, HELD);
        if (!deal) {
            break;
        }
        int owner = program_of_key(play, deal->request.owner);
        for (int j = 0; j < WORLD_PROGRAMS; j++) { /* with all that is below it */
            for (int up = j; up >= 0; up = play->world.programs[up].parent) {
                if (up == owner && play->world.programs[j].exists &&
                    play->world.programs[j].alive) {
                    world_kill(&play->world, j);
                    break;
                }
            }
        }
    }
    for (int i = 0; i < WORLD_PROGRAMS; i++) { /* what never asked and grew, makes room too */
        if (play->world.programs[i].exists && play->world.programs[i].alive &&
            !play->world.programs[i].key) {
            world_kill(&play->world, i);
        }
    }
    for (int i = 0; i < REQUESTS && some_deal(play, WAITING) && !play->broken; i++) {
        settle(play);
        struct deal *deal = some_deal(play, HELD);
        if (deal) {
            world_kill(&play->world, program_of_key(play, deal->request.owner));
        }
    }
    for (int i = 0; i < WORLD_PROGRAMS; i++) {
        if (play->world.programs[i].exists && play->world.programs[i].alive) {
            world_kill(&play->world, i);
        }
    }
    settle(play);
    if (!play->broken && (ledger_waiter_count(play->ledger) || ledger_lease_count(play->ledger))) {
        FAIL(play, "%zu waiters and %zu leases are left", ledger_waiter_count(play->ledger),
             ledger_lease_count(play->ledger));
    }
}

bool schedule_play(uint64_t seed, bool verbose, struct tally *tally)
{
    struct play *play = calloc(1, sizeof(*play));
    if (!play || !(play->ledger = ledger_new(&play_ops, play))) {
        free(play);
        return false;
    }
    struct world *world = &play->world;
    world->seed = (seed + 1) * 0x9E3779B97F4A7C15u;
    world->now_ns = 1000000000;
    world->gpu_count = 1 + world_below(world, WORLD_GPUS);
    world->unit_bytes = world_chance(world, 30) ? (uint64_t)256 << 20 : (uint64_t)1 << 20;
    world->lags = world_chance(world, 30);
    play->leased_only = world_chance(world, 60);
    play->records_fail = world_chance(world, 20);
    play->verbose = verbose;
    play->tally = tally;
    play->next_key = FIRST_KEY;
    for (size_t i = 0; i < USERS; i++) {
        play->limits[i] = (struct ledger_limits){UINT64_MAX, UINT32_MAX, UINT32_MAX};
        if (world_chance(world, 30)) {
            play->limits[i].bytes = units(play, 2 + world_below(world, 20));
            play->limits[i].gpus = 1 + (uint32_t)world_below(world, 3);
            play->limits[i].leases = (uint32_t)world_below(world, 5);
        }
    }
    play->idle_after_ns = world_chance(world, 20) ? 2000000000 : 0;
    ledger_end_idle(play->ledger, play->idle_after_ns, 1000000000);
    for (size_t gpu = 0; gpu < world->gpu_count; gpu++) {
        world->capacity[gpu] = 4 + world_below(world, 20);
        for (size_t i = 0; i < CEILINGS; i++) {
            bool is_there = world_chance(world, 25);
            play->ceilings[i][gpu] = is_there ? world_below(world, world->capacity[gpu] / 2) : 0;
        }
    }
    world_show_all(world);
    for (int i = 0; i < STEPS && !play->broken; i++) {
        step(play);
    }
    if (!play->broken) {
        finish(play);
    }
    bool held = !play->broken;
    if (!held && verbose) {
        show(play);
    }
    drop_sample(play);
    ledger_free(play->ledger);
    free(play);
    tally->schedules++;
    return held;
}
