/* SPDX-License-Identifier: MIT */
#include "sim/sim.h"

#include "sim/locate.h"
#include "sim/statement.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Timeline ---------------------------------------------------------------------------------- */

static int no_memory(struct complaint *complaint)
{
    (void)complain(complaint, "out of memory");
    return -ENOMEM;
}

/* Puts a line where its time is, but never before what has already happened. */
static int insert_line(struct sim *sim, const struct line *line)
{
    if (sim->line_count == sim->line_room) {
        size_t room = sim->line_room ? sim->line_room * 2 : 64;
        struct line *lines = realloc(sim->lines, room * sizeof(*lines));
        if (!lines) {
            return -ENOMEM;
        }
        sim->lines = lines;
        sim->line_room = room;
    }
    size_t at = sim->line_count;
    while (at > sim->now->position && sim->lines[at - 1].time > line->time) {
        sim->lines[at] = sim->lines[at - 1];
        at--;
    }
    sim->lines[at] = *line;
    sim->line_count++;
    return 0;
}

static void forget_timeline(struct sim *sim)
{
    for (size_t i = 0; i < sim->added_count; i++) {
        free(sim->added[i]);
    }
    sim->added_count = 0;
    sim->line_count = 0;
    sim->log_offset = 0;
    sim->log_lines = 0;
    sim->next_change = 0;
}

static int keep_text(struct sim *sim, const char *text, const char **ret_text)
{
    if (sim->added_count == sim->added_room) {
        size_t room = sim->added_room ? sim->added_room * 2 : 16;
        char **added = realloc(sim->added, room * sizeof(*added));
        if (!added) {
            return -ENOMEM;
        }
        sim->added = added;
        sim->added_room = room;
    }
    char *copy = strdup(text);
    if (!copy) {
        return -ENOMEM;
    }
    sim->added[sim->added_count++] = copy;
    *ret_text = copy;
    return 0;
}

/* Takes in what was added to the log since the last look. */
static int read_log(struct sim *sim)
{
    char text[WORDS_LINE_MAX + 1];
    struct complaint ignored;
    uint64_t added_at;
    size_t offset = sim->log_offset;
    while (sim->log_lines < STATE_LOG_LINES &&
           state_log_next(sim->file.state, &offset, &added_at, text) == 0) {
        struct line line = {.id = SCENARIO_LINES_MAX + sim->log_lines};
        int r = keep_text(sim, text, &line.text);
        if (r == 0 && statement_time(&line.text, &line.time, &ignored) == 0) {
            line.time = world_add(line.time, added_at);
            r = insert_line(sim, &line);
        }
        if (r < 0) {
            return r;
        }
        sim->log_offset = offset;
        sim->log_lines++;
        sim->next_change = 0;
    }
    return 0;
}

/* Copies the state's text out and parses it. -EAGAIN: it is being replaced. */
static int read_scenario(struct sim *sim, struct complaint *complaint)
{
    struct state *state = sim->file.state;
    uint32_t epoch = atomic_load(&state->epoch);
    size_t length = state->text_length;
    struct scenario scenario;
    if (epoch % 2 || length > SCENARIO_TEXT_MAX) {
        return -EAGAIN;
    }
    char *text = malloc(length + 1);
    if (!text) {
        return no_memory(complaint);
    }
    memcpy(text, state->text, length);
    int r = scenario_parse(text, length, sim->title, &scenario, complaint);
    free(text);
    if (atomic_load(&state->epoch) != epoch) {
        if (r == 0) {
            scenario_done(&scenario);
        }
        return -EAGAIN;
    }
    if (r == 0) {
        scenario_done(&sim->scenario);
        sim->scenario = scenario;
        sim->epoch = epoch;
    }
    return r;
}

/* The world before anything happened, with the scenario's lines ahead of it. */
static int restart(struct sim *sim)
{
    forget_timeline(sim);
    if (sim->now->position) {
        world_clear(sim->now);
    }
    if (sim->past) {
        world_clear(sim->past);
    }
    int r = 0;
    for (size_t i = 0; r == 0 && i < sim->scenario.line_count; i++) {
        r = insert_line(sim, &sim->scenario.lines[i]);
    }
    return r;
}

/* ---- Time -------------------------------------------------------------------------------------- */

/* Runs the lines up to `now`. A line that has become impossible (a process that ended otherwise) is
 * passed over: its like happens in life. */
static void advance(const struct sim *sim, struct world *world, uint64_t now)
{
    if (now < world->now) {
        world_clear(world);
    }
    while (world->position < sim->line_count && sim->lines[world->position].time <= now) {
        const struct line *line = &sim->lines[world->position++];
        struct complaint ignored;
        world->now = line->time;
        (void)statement_run(world, line->text, line->id, line->setup, false, &ignored);
    }
    world->now = now;
    world_settle(world);
}

static int advance_all(struct sim *sim, uint64_t now)
{
    advance(sim, sim->now, now);
    bool ahead = sim->now->position < sim->line_count;
    uint64_t next = ahead ? sim->lines[sim->now->position].time : WORLD_NEVER;
    sim->next_change = next < sim->now->next_lag ? next : sim->now->next_lag;
    sim->lists = sim->free = sim->now;
    if (sim->now->skew == SKEW_NONE) {
        return 0;
    }
    if (!sim->past) {
        sim->past = world_create();
    }
    if (!sim->past) {
        return -ENOMEM;
    }
    uint64_t skew = sim->now->skew_time;
    advance(sim, sim->past, now > skew ? now - skew : 0);
    *(sim->now->skew == SKEW_LISTS ? &sim->lists : &sim->free) = sim->past;
    sim->next_change = 0; /* the past moves with every look */
    return 0;
}

int sim_refresh(struct sim *sim)
{
    const struct state *state = sim->file.state;
    int r = 0;
    if (atomic_load_explicit(&state->epoch, memory_order_acquire) != sim->epoch) {
        struct complaint ignored;
        r = read_scenario(sim, &ignored);
        r = r == 0 ? restart(sim)
                   : 0; /* a broken or half-written one: the last that was good stays */
    }
    if (r == 0 &&
        atomic_load_explicit(&state->log_length, memory_order_acquire) != sim->log_offset) {
        r = read_log(sim);
    }
    uint64_t now = state_now(state);
    if (r == 0 && now >= sim->next_change) {
        r = advance_all(sim, now);
    }
    sim->now->now = now;
    return r;
}

int sim_inject(struct sim *sim, const char *line, struct complaint *complaint)
{
    const char *rest = line;
    uint64_t time;
    int r = strlen(line) > WORDS_LINE_MAX || strchr(line, '\n')
                ? complain(complaint, "not one line of at most %d bytes", WORDS_LINE_MAX)
                : statement_time(&rest, &time, complaint);
    if (r == 0) {
        r = statement_run(sim->now, rest, 0, false, true, complaint);
    }
    if (r < 0) {
        return r;
    }
    state_lock(&sim->file);
    r = state_append(sim->file.state, state_now(sim->file.state), line);
    state_unlock(&sim->file);
    if (r < 0) {
        (void)complain(complaint, "no room for more lines; 'vram-sim reset' makes some");
    }
    return r;
}

/* ---- Open, close ------------------------------------------------------------------------------- */

/* Takes the scenario that the state began with, which may be older than the file. Where that is damaged,
 * or a reset was killed half-way, the state begins anew. */
static int adopt_state(struct sim *sim, const struct location *location,
                       struct complaint *complaint)
{
    struct state *state = sim->file.state;
    bool same = state->text_length == location->length &&
                memcmp(state->text, location->text, location->length) == 0;
    sim->epoch = atomic_load(&state->epoch);
    int r = same && sim->epoch % 2 == 0 ? 0 : read_scenario(sim, complaint);
    if (r == -EAGAIN || r == -EINVAL) {
        atomic_fetch_and(&state->epoch, ~1u);
        state_reset(state, location->text, location->length, sim->scenario.virtual_clock);
        sim->epoch = atomic_load(&state->epoch);
        r = 0;
    }
    return r;
}

static int open_located(struct sim *sim, const struct location *location,
                        struct complaint *complaint)
{
    int r = scenario_parse(location->text, location->length, location->title, &sim->scenario,
                           complaint);
    if (r < 0) {
        return r;
    }
    if (state_open(&sim->file, location->state, location->persistent, location->text,
                   location->length, sim->scenario.virtual_clock) < 0) {
        return no_memory(complaint);
    }
    state_lock(&sim->file);
    r = adopt_state(sim, location, complaint);
    state_unlock(&sim->file);
    sim->now = r < 0 ? NULL : world_create();
    if (r == 0) {
        r = sim->now && restart(sim) == 0 && sim_refresh(sim) == 0 ? 0 : no_memory(complaint);
    }
    return r;
}

int sim_open(struct sim *sim, const char *spec, struct complaint *complaint)
{
    struct location location;
    *sim = (struct sim){.file.fd = -1};
    int r = locate(spec, &location, complaint);
    if (r < 0) {
        return r;
    }
    memcpy(sim->title, location.title, sizeof(sim->title));
    memcpy(sim->instance, location.state, sizeof(sim->instance));
    r = open_located(sim, &location, complaint);
    location_done(&location);
    if (r < 0) {
        sim_close(sim);
    }
    return r;
}

void sim_close(struct sim *sim)
{
    forget_timeline(sim);
    free(sim->added);
    free(sim->lines);
    scenario_done(&sim->scenario);
    world_destroy(sim->now);
    world_destroy(sim->past);
    state_close(&sim->file);
    *sim = (struct sim){.file.fd = -1};
}

/* ---- Figures ----------------------------------------------------------------------------------- */

uint32_t sim_pid(const struct process *process)
{
    return process->pid_kind == PID_SELF     ? (uint32_t)getpid()
           : process->pid_kind == PID_PARENT ? (uint32_t)getppid()
                                             : process->pid;
}

/* How many processes the scenario's grow rules have brought to a GPU so far. */
static uint64_t grown(const struct sim *sim, const struct rule *rule, uint32_t gpu)
{
    if (rule->kind != RULE_GROW || rule->released || rule->gpu != (int)gpu) {
        return 0;
    }
    uint64_t calls = atomic_load_explicit(&sim->file.state->hits[rule->id], memory_order_relaxed);
    calls = calls > rule->after ? calls - rule->after : 0;
    calls = calls < rule->times ? calls : rule->times;
    uint64_t count = calls < WORLD_PROCESSES ? calls * rule->by : WORLD_PROCESSES;
    return count < WORLD_PROCESSES ? count : WORLD_PROCESSES;
}

static uint64_t grown_memory(const struct sim *sim, const struct world *world, uint32_t gpu)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < world->rule_count; i++) {
        const struct rule *rule = &world->rules[i];
        uint64_t count = grown(sim, rule, gpu);
        uint64_t most = count ? (WORLD_UNKNOWN - 1) / count : 0;
        sum = world_add(sum,
                        rule->size > most ? (count ? WORLD_UNKNOWN - 1 : 0) : rule->size * count);
    }
    return sum;
}

static uint64_t held_by_holders(struct sim *sim, const struct world *world, uint32_t gpu,
                                int instance)
{
    uint64_t sum = 0;
    size_t count = holders_room(sim->file.state);
    for (size_t i = 0; i < count; i++) {
        struct holder holder;
        if (holder_read(&sim->file, i, sim->now->now, world->now, world->lag, &holder) &&
            holder.gpu == gpu && holder.instance == instance) {
            sum = world_add(sum, holder.held);
        }
    }
    return sum;
}

uint64_t sim_reserved(const struct world *world, uint32_t gpu, int instance)
{
    uint64_t sum = world_memory(world, gpu, instance)->reserved;
    for (int i = 0; instance < 0 && i < WORLD_INSTANCES; i++) {
        const struct instance *part = &world->gpus[gpu].instances[i];
        sum = part->present ? world_add(sum, part->memory.reserved) : sum;
    }
    return sum;
}

uint64_t sim_used(struct sim *sim, const struct world *world, uint32_t gpu, int instance)
{
    const struct memory *memory = world_memory(world, gpu, instance);
    uint64_t sum = world_add(world_add(memory->overhead, memory->managed), memory->settled);
    sum = world_add(sum, held_by_holders(sim, world, gpu, instance));
    sum -= memory->shared < sum ? memory->shared : sum;
    if (instance >= 0) {
        return sum;
    }
    sum = world_add(sum, grown_memory(sim, world, gpu));
    for (int i = 0; i < WORLD_INSTANCES; i++) {
        if (world->gpus[gpu].instances[i].present) {
            sum = world_add(sum, sim_used(sim, world, gpu, i));
        }
    }
    return sum;
}

uint64_t sim_free(struct sim *sim, const struct world *world, uint32_t gpu, int instance)
{
    uint64_t taken =
        world_add(sim_reserved(world, gpu, instance), sim_used(sim, world, gpu, instance));
    uint64_t total = world_memory(world, gpu, instance)->total;
    return total > taken ? total - taken : 0;
}

/* ---- Lists ------------------------------------------------------------------------------------- */

struct list {
    struct sim *sim;
    const struct world *world;
    uint32_t gpu;
    int instance;
    uint32_t kinds;
    bool hide, unknown;
    void (*take)(void *data, const struct listing *listing);
    void *data;
};

static void list_one(const struct list *list, struct listing listing)
{
    bool here = list->instance < 0 || list->instance == listing.instance;
    if (here && listing.kinds & list->kinds) {
        listing.used = list->unknown ? WORLD_UNKNOWN : listing.used;
        list->take(list->data, &listing);
    }
}

static void list_processes(const struct list *list)
{
    for (size_t i = 0; i < list->world->process_count; i++) {
        const struct process *process = &list->world->processes[i];
        if (process->gpu == list->gpu && process->ended == WORLD_NEVER) {
            list_one(list, (struct listing){sim_pid(process), process->kinds, process->instance,
                                            process->used, process->sm_utilization});
        }
    }
}

static void list_holders(const struct list *list)
{
    size_t count = holders_room(list->sim->file.state);
    for (size_t i = 0; i < count; i++) {
        struct holder holder;
        if (!holder_read(&list->sim->file, i, list->sim->now->now, list->world->now,
                         list->world->lag, &holder) ||
            holder.gpu != list->gpu || !holder.listed) {
            continue;
        }
        bool shown = holder.seen_pid || !list->hide;
        uint32_t pid = holder.seen_pid ? holder.seen_pid : holder.own_pid;
        if (shown) {
            list_one(list, (struct listing){pid, holder.kinds, holder.instance, holder.used, 0});
        }
    }
}

/* The processes of grow rules: pids that no real process has, small kinds of nothing else. */
static void list_grown(const struct list *list)
{
    for (size_t i = 0; i < list->world->rule_count; i++) {
        const struct rule *rule = &list->world->rules[i];
        uint64_t count = grown(list->sim, rule, list->gpu);
        for (uint32_t j = 0; j < count; j++) {
            uint32_t pid = 0x40000000u + (uint32_t)i * WORLD_PROCESSES + j;
            list_one(list, (struct listing){pid, KIND_COMPUTE, -1, rule->size, 0});
        }
    }
}

void sim_list(struct sim *sim, const struct world *world, uint32_t gpu, int instance,
              uint32_t kinds, bool hide, void (*take)(void *data, const struct listing *listing),
              void *data)
{
    const struct list list = {
        .sim = sim,
        .world = world,
        .gpu = gpu,
        .instance = instance,
        .kinds = kinds,
        .hide = hide,
        .unknown = world->gpus[gpu].numbers[NUMBER_PROCESS_MEMORY_UNKNOWN] == 1,
        .take = take,
        .data = data,
    };
    list_processes(&list);
    list_holders(&list);
    list_grown(&list);
}

const char *sim_process_name(struct sim *sim, uint32_t pid, char name[WORLD_PROCESS_NAME_MAX])
{
    for (size_t i = 0; i < sim->now->process_count; i++) {
        const struct process *process = &sim->now->processes[i];
        if (sim_pid(process) == pid && process->name[0]) {
            memcpy(name, process->name, sizeof(process->name));
            return name;
        }
    }
    size_t count = holders_room(sim->file.state);
    for (size_t i = 0; i < count; i++) {
        struct holder holder;
        if (holder_read(&sim->file, i, sim->now->now, sim->now->now, 0, &holder) && holder.listed &&
            holder.name[0] && (holder.seen_pid ? holder.seen_pid : holder.own_pid) == pid) {
            memcpy(name, holder.name, WORLD_NAME_MAX);
            return name;
        }
    }
    return NULL;
}
