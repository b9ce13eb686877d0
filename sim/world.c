/* SPDX-License-Identifier: MIT */
#include "sim/world.h"

#include <stdlib.h>
#include <string.h>

struct world *world_create(void)
{
    struct world *world = calloc(1, sizeof(*world));
    if (world) {
        world->next_lag = WORLD_NEVER;
    }
    return world;
}

void world_destroy(struct world *world)
{
    if (world) {
        free(world->processes);
        free(world->rules);
        free(world);
    }
}

void world_clear(struct world *world)
{
    struct process *processes = world->processes;
    struct rule *rules = world->rules;
    size_t process_room = world->process_room, rule_room = world->rule_room;
    memset(world, 0, sizeof(*world));
    world->processes = processes;
    world->rules = rules;
    world->process_room = process_room;
    world->rule_room = rule_room;
    world->next_lag = WORLD_NEVER;
}

struct process *world_process(struct world *world, enum pid_kind kind, uint32_t pid, uint32_t gpu)
{
    for (size_t i = world->process_count; i-- > 0;) {
        struct process *process = &world->processes[i];
        if (process->pid == pid && process->gpu == gpu && process->pid_kind == kind) {
            return process;
        }
    }
    return NULL;
}

/* One more element of an array that doubles, up to `most`; NULL with a complaint. */
static void *add_element(void *array, size_t *count, size_t *room, size_t most, size_t size,
                         const char *what, struct complaint *complaint)
{
    void *elements;
    memcpy(&elements, array, sizeof(elements));
    if (*count == most) {
        (void)complain(complaint, "more than %zu %s", most, what);
        return NULL;
    }
    if (*count == *room) {
        size_t grown = *room ? *room * 2 : 16;
        elements = realloc(elements, grown * size);
        if (!elements) {
            (void)complain(complaint, "out of memory");
            return NULL;
        }
        memcpy(array, &elements, sizeof(elements));
        *room = grown;
    }
    void *element = (char *)elements + size * (*count)++;
    memset(element, 0, size);
    return element;
}

struct process *world_add_process(struct world *world, struct complaint *complaint)
{
    return add_element(&world->processes, &world->process_count, &world->process_room,
                       WORLD_PROCESSES, sizeof(struct process), "processes", complaint);
}

struct rule *world_add_rule(struct world *world, struct complaint *complaint)
{
    return add_element(&world->rules, &world->rule_count, &world->rule_room, WORLD_RULES,
                       sizeof(struct rule), "rules", complaint);
}

void world_add_event(struct world *world, const struct event *event)
{
    /* A ring: who waits that long for an event has lost it with a real driver too. */
    world->events[world->event_count++ % WORLD_EVENTS] = *event;
}

uint64_t world_add(uint64_t a, uint64_t b)
{
    return a > WORLD_UNKNOWN - 1 - b ? WORLD_UNKNOWN - 1 : a + b;
}

static bool holds_memory(const struct world *world, const struct process *process)
{
    return process->used != WORLD_UNKNOWN &&
           (process->ended == WORLD_NEVER || world->now < world_add(process->ended, process->lag));
}

void world_settle(struct world *world)
{
    world->next_lag = WORLD_NEVER;
    for (size_t i = 0; i < world->gpu_count; i++) {
        world->gpus[i].memory.settled = 0;
        for (size_t j = 0; j < WORLD_INSTANCES; j++) {
            world->gpus[i].instances[j].memory.settled = 0;
        }
    }
    for (size_t i = 0; i < world->process_count; i++) {
        const struct process *process = &world->processes[i];
        struct gpu *gpu = &world->gpus[process->gpu];
        struct memory *memory =
            process->instance < 0 ? &gpu->memory : &gpu->instances[process->instance].memory;
        if (!holds_memory(world, process)) {
            continue;
        }
        memory->settled = world_add(memory->settled, process->used);
        if (process->ended != WORLD_NEVER) {
            uint64_t end = world_add(process->ended, process->lag);
            world->next_lag = end < world->next_lag ? end : world->next_lag;
        }
    }
}

const struct memory *world_memory(const struct world *world, uint32_t gpu, int instance)
{
    return instance < 0 ? &world->gpus[gpu].memory : &world->gpus[gpu].instances[instance].memory;
}
