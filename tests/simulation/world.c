/* SPDX-License-Identifier: MIT */
#include "tests/simulation/world.h"

#include <string.h>

uint64_t world_random(struct world *world) /* xorshift64* */
{
    world->seed ^= world->seed >> 12;
    world->seed ^= world->seed << 25;
    world->seed ^= world->seed >> 27;
    return world->seed * 2685821657736338717u;
}

uint64_t world_below(struct world *world, uint64_t limit)
{
    return limit ? (world_random(world) >> 11) % limit : 0;
}

bool world_chance(struct world *world, unsigned percent)
{
    return world_below(world, 100) < percent;
}

uint64_t world_used(const struct world *world, size_t gpu)
{
    uint64_t sum = world->draining[gpu];
    for (size_t i = 0; i < WORLD_PROGRAMS; i++) {
        sum += world->programs[i].used[gpu];
    }
    return sum;
}

uint64_t world_free(const struct world *world, size_t gpu)
{
    return world->capacity[gpu] - world_used(world, gpu);
}

/* What the driver tells at once: where it lags, one of the two. */
static void show(struct world *world, int program, size_t gpu)
{
    if (!world->lags || world->lists_lag[gpu]) {
        world->shown_free[gpu] = world_free(world, gpu);
    }
    if (program >= 0 && (!world->lags || !world->lists_lag[gpu])) {
        world->programs[program].listed[gpu] = world->programs[program].used[gpu];
    }
}

int world_start(struct world *world, int parent)
{
    for (int i = 0; i < WORLD_PROGRAMS; i++) {
        if (!world->programs[i].exists) {
            world->programs[i] =
                (struct program){.exists = true,
                                 .alive = true,
                                 .parent = parent,
                                 .pid = ++world->next_pid,
                                 .unit = parent >= 0 ? world->programs[parent].unit : 0};
            return i;
        }
    }
    return -1;
}

void world_kill(struct world *world, int program)
{
    struct program *dead = &world->programs[program];
    dead->alive = false;
    dead->death_told = !dead->key;
    for (size_t gpu = 0; gpu < world->gpu_count; gpu++) {
        world->draining[gpu] += dead->used[gpu];
        dead->used[gpu] = 0;
        show(world, program, gpu);
    }
}

bool world_allocate(struct world *world, int program, size_t gpu, uint64_t units)
{
    if (units > world_free(world, gpu)) {
        return false;
    }
    world->programs[program].used[gpu] += units;
    show(world, program, gpu);
    return true;
}

void world_release(struct world *world, int program, size_t gpu, uint64_t units)
{
    world->programs[program].used[gpu] -= units;
    show(world, program, gpu);
}

static bool has_child(const struct world *world, int program)
{
    for (int i = 0; i < WORLD_PROGRAMS; i++) {
        if (world->programs[i].exists && world->programs[i].parent == program) {
            return true;
        }
    }
    return false;
}

void world_bury(struct world *world)
{
    for (int i = 0; i < WORLD_PROGRAMS; i++) {
        struct program *program = &world->programs[i];
        bool listed = false;
        for (size_t gpu = 0; gpu < world->gpu_count; gpu++) {
            listed |= program->listed[gpu] != 0;
        }
        if (program->exists && !program->alive && program->death_told && !listed &&
            !has_child(world, i)) {
            program->exists = false;
        }
    }
}

static void show_gpu(struct world *world, size_t gpu)
{
    world->shown_free[gpu] = world_free(world, gpu);
    for (size_t i = 0; i < WORLD_PROGRAMS; i++) {
        world->programs[i].listed[gpu] = world->programs[i].used[gpu];
    }
}

void world_catch_up(struct world *world)
{
    size_t gpu = world_below(world, world->gpu_count);
    if (world_chance(world, 50)) {
        world->draining[gpu] -= world_below(world, world->draining[gpu] + 1);
        show(world, -1, gpu);
    } else {
        show_gpu(world, gpu);
        world->lists_lag[gpu] = world_chance(world, 50);
    }
}

void world_show_all(struct world *world)
{
    for (size_t gpu = 0; gpu < world->gpu_count; gpu++) {
        world->draining[gpu] = 0;
        show_gpu(world, gpu);
    }
}

int world_pick(struct world *world)
{
    size_t start = world_below(world, WORLD_PROGRAMS);
    for (size_t n = 0; n < WORLD_PROGRAMS; n++) {
        size_t i = (start + n) % WORLD_PROGRAMS;
        if (world->programs[i].exists && world->programs[i].alive) {
            return (int)i;
        }
    }
    return -1;
}
