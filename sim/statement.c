/* SPDX-License-Identifier: MIT */
/* The machine's part of the scenario language: GPUs, MIG instances, processes, events, switches. */
#include "sim/statement.h"
#include "sim/setting.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- gpu --------------------------------------------------------------------------------------- */

int statement_gpu(struct statement *s, uint32_t *ret_gpu)
{
    uint64_t gpu;
    const char *word = words_next(&s->words);
    if (!word) {
        return complain(s->complaint, "the number of a GPU is missing");
    }
    int r = value_number("gpu", word, WORLD_GPUS - 1, &gpu, s->complaint);
    if (r == 0 && !s->world->gpus[gpu].defined) {
        return complain(s->complaint,
                        "GPU %u is not defined; a line 'gpu %u total=…' must come before",
                        (unsigned)gpu, (unsigned)gpu);
    }
    if (r == 0) {
        *ret_gpu = (uint32_t)gpu;
    }
    return r;
}

/* gpu N … where N is new: only while the machine is described, and in order. */
static int define_gpu(struct statement *s, uint32_t *ret_gpu)
{
    uint64_t index;
    const char *word = s->words.next < s->words.count ? s->words.word[s->words.next] : "";
    int r = value_number("gpu", word, WORLD_GPUS - 1, &index, s->complaint);
    if (r < 0 || s->world->gpus[index].defined || !s->setup) {
        return r < 0 ? r : statement_gpu(s, ret_gpu);
    }
    if (index != s->world->gpu_count) {
        return complain(s->complaint,
                        "GPU %u comes before GPU %u; number them from 0 without holes",
                        (unsigned)index, s->world->gpu_count);
    }
    s->words.next++;
    *ret_gpu = (uint32_t)index;
    return 0;
}

static int run_gpu(struct statement *s)
{
    uint32_t index;
    uint64_t xid = WORLD_UNKNOWN;
    int r = define_gpu(s, &index);
    if (r < 0) {
        return r;
    }
    struct gpu gpu = s->world->gpus[index];
    if (!gpu.defined) {
        gpu_set_defaults(&gpu, index);
    }
    for (char *word; r == 0 && (word = words_next(&s->words));) {
        char *value = words_value(word);
        if (!value) {
            r = gpu_set_state(&gpu, word) ? 0
                                          : complain(s->complaint, "unknown word '%.40s'", word);
        } else if (strcmp(word, "xid") == 0) {
            r = value_number(word, value, UINT32_MAX, &xid, s->complaint);
        } else {
            r = gpu_set(&gpu, word, value, s->complaint);
        }
    }
    if (r == 0 && !gpu.memory.total && gpu.numbers[NUMBER_MEMORY_UNSUPPORTED] != 1) {
        r = complain(s->complaint, "GPU %u has no memory; write total=24G or memory=unsupported",
                     index);
    }
    if (r < 0 || s->dry) {
        return r;
    }
    s->world->gpu_count += !s->world->gpus[index].defined;
    s->world->gpus[index] = gpu;
    if (xid != WORLD_UNKNOWN) {
        world_add_event(s->world, &(struct event){s->world->now, 8, xid, index, -1});
    }
    return 0;
}

/* ---- mig --------------------------------------------------------------------------------------- */

static int find_instance(const struct gpu *gpu, uint64_t gpu_instance, uint64_t compute_instance)
{
    for (int i = 0; i < WORLD_INSTANCES; i++) {
        const struct instance *instance = &gpu->instances[i];
        if (instance->present && instance->gpu_instance == gpu_instance &&
            instance->compute_instance == compute_instance) {
            return i;
        }
    }
    return -ENOENT;
}

/* With the instance go its processes, at once. */
static void destroy_instance(struct statement *s, uint32_t index, int slot)
{
    s->world->gpus[index].instances[slot].present = false;
    for (size_t i = 0; i < s->world->process_count; i++) {
        struct process *process = &s->world->processes[i];
        if (process->gpu == index && process->instance == slot && process->ended == WORLD_NEVER) {
            process->ended = s->world->now;
            process->lag = 0;
        }
    }
}

/* The free place that a new instance takes, and what it is before any setting. */
static int new_instance(struct statement *s, uint32_t index, uint64_t gpu_instance,
                        uint64_t compute_instance, struct instance *ret_instance)
{
    const struct gpu *gpu = &s->world->gpus[index];
    int slot = 0;
    while (slot < WORLD_INSTANCES && gpu->instances[slot].present) {
        slot++;
    }
    if (gpu->numbers[NUMBER_MIG] != 1) {
        return complain(s->complaint, "GPU %u is not divided; give it mig=on", index);
    }
    if (slot == WORLD_INSTANCES) {
        return complain(s->complaint, "more than %d MIG instances on GPU %u", WORLD_INSTANCES,
                        index);
    }
    struct instance instance = {.present = true,
                                .gpu_instance = (uint32_t)gpu_instance,
                                .compute_instance = (uint32_t)compute_instance,
                                .gpu_slices = 1,
                                .compute_slices = 1,
                                .stamp = ++s->world->next_stamp};
    (void)snprintf(instance.name, sizeof(instance.name), "%.40s MIG", gpu->name);
    (void)snprintf(instance.uuid, sizeof(instance.uuid), "MIG-51a00000-0000-4000-8%03x-%012x",
                   (unsigned)gpu_instance & 0xFFF, index);
    *ret_instance = instance;
    return slot;
}

/* The words gi= and ci=, wherever they stand in the line; -EINVAL where one is no number. */
static int read_instance_ids(struct statement *s, uint64_t *ret_gpu_instance,
                             uint64_t *ret_compute_instance)
{
    int r = 0;
    for (size_t i = s->words.next; r == 0 && i < s->words.count; i++) {
        const char *word = s->words.word[i];
        if (strncmp(word, "gi=", 3) == 0) {
            r = value_number("gi", word + 3, 255, ret_gpu_instance, s->complaint);
        } else if (strncmp(word, "ci=", 3) == 0) {
            r = value_number("ci", word + 3, 255, ret_compute_instance, s->complaint);
        }
    }
    return r;
}

/* The place of the instance that the line is about, and what it is so far; a new one unless `gone`. */
static int identify_instance(struct statement *s, uint32_t index, bool gone,
                             struct instance *ret_instance)
{
    uint64_t gpu_instance = WORLD_UNKNOWN, compute_instance = 0;
    int r = read_instance_ids(s, &gpu_instance, &compute_instance);
    if (r < 0) {
        return r;
    }
    if (gpu_instance == WORLD_UNKNOWN) {
        return complain(s->complaint, "which instance? Write gi=1");
    }
    int slot = find_instance(&s->world->gpus[index], gpu_instance, compute_instance);
    if (slot >= 0) {
        *ret_instance = s->world->gpus[index].instances[slot];
        return slot;
    }
    if (gone) {
        return complain(s->complaint, "GPU %u has no instance gi=%u ci=%u", index,
                        (unsigned)gpu_instance, (unsigned)compute_instance);
    }
    return new_instance(s, index, gpu_instance, compute_instance, ret_instance);
}

static int run_mig(struct statement *s)
{
    uint32_t index;
    struct instance instance;
    bool gone = strcmp(s->words.word[s->words.count - 1], "gone") == 0;
    int r = statement_gpu(s, &index);
    int slot = r < 0 ? r : identify_instance(s, index, gone, &instance);
    if (slot < 0) {
        return slot;
    }
    for (char *word; r == 0 && (word = words_next(&s->words));) {
        char *value = words_value(word);
        if (!value && strcmp(word, "gone") != 0) {
            r = complain(s->complaint, "unknown word '%.40s'", word);
        } else if (value && strcmp(word, "gi") != 0 && strcmp(word, "ci") != 0) {
            r = instance_set(&instance, word, value, s->complaint);
        }
    }
    if (r == 0 && !instance.memory.total) {
        r = complain(s->complaint, "the instance has no memory; write total=10G");
    }
    if (r < 0 || s->dry) {
        return r;
    }
    if (gone) {
        destroy_instance(s, index, slot);
    } else {
        s->world->gpus[index].instances[slot] = instance;
    }
    return 0;
}

/* ---- proc, exit -------------------------------------------------------------------------------- */

static int parse_pid(const char *text, enum pid_kind *ret_kind, uint32_t *ret_pid,
                     struct complaint *complaint)
{
    uint64_t pid = 0;
    enum pid_kind kind = PID_NUMBER;
    int r = 0;
    if (strcmp(text, "$SELF") == 0) {
        kind = PID_SELF;
    } else if (strcmp(text, "$PARENT") == 0) {
        kind = PID_PARENT;
    } else {
        r = value_number("pid", text, INT32_MAX, &pid, complaint);
    }
    if (r == 0) {
        *ret_kind = kind;
        *ret_pid = (uint32_t)pid;
    }
    return r;
}

static int parse_kinds(const char *text, uint32_t *ret_kinds, struct complaint *complaint)
{
    uint32_t kinds = 0;
    for (const char *at = text; *at; at++) {
        static const char letters[] = "CGM";
        const char *letter = strchr(letters, *at);
        if (!letter) {
            kinds = 0;
            break;
        }
        kinds |= 1u << (letter - letters);
    }
    if (!kinds) {
        return complain(complaint, "type=%.40s is not made of C, G and M", text);
    }
    *ret_kinds = kinds;
    return 0;
}

static int set_process(struct process *process, const char *key, const char *value,
                       struct complaint *complaint)
{
    if (strcmp(key, "mem") == 0 && strcmp(value, "unknown") == 0) {
        process->used = WORLD_UNKNOWN;
        return 0;
    }
    if (strcmp(key, "mem") == 0) {
        return value_size(key, value, &process->used, complaint);
    }
    if (strcmp(key, "peak") == 0) {
        return value_size(key, value, &process->peak, complaint);
    }
    if (strcmp(key, "type") == 0) {
        return parse_kinds(value, &process->kinds, complaint);
    }
    if (strcmp(key, "name") == 0) {
        return value_text(key, value, process->name, sizeof(process->name), complaint);
    }
    if (strcmp(key, "util") == 0) {
        return value_number(key, value, 1000, &process->sm_utilization, complaint);
    }
    bool taken = strcmp(key, "gi") == 0 || strcmp(key, "ci") == 0 || strcmp(key, "pid") == 0;
    return taken ? 0 : complain(complaint, "unknown word '%.40s='", key);
}

/* Who the line is about: the process of that pid that runs already, or a new one. */
static int identify_process(struct statement *s, uint32_t gpu, struct process *ret_process,
                            struct process **ret_known)
{
    struct process process = {
        .gpu = gpu, .instance = -1, .kinds = KIND_COMPUTE, .ended = WORLD_NEVER};
    uint64_t gpu_instance = WORLD_UNKNOWN, compute_instance = 0;
    int r = read_instance_ids(s, &gpu_instance, &compute_instance);
    const char *pid = NULL;
    for (size_t i = s->words.next; i < s->words.count; i++) {
        pid = strncmp(s->words.word[i], "pid=", 4) == 0 ? s->words.word[i] + 4 : pid;
    }
    if (r == 0 && !pid) {
        r = complain(s->complaint, "which process? Write pid=4242");
    }
    if (r == 0) {
        r = parse_pid(pid, &process.pid_kind, &process.pid, s->complaint);
    }
    if (r < 0) {
        return r;
    }
    if (gpu_instance != WORLD_UNKNOWN) {
        process.instance = find_instance(&s->world->gpus[gpu], gpu_instance, compute_instance);
        if (process.instance < 0) {
            return complain(s->complaint, "GPU %u has no instance gi=%u ci=%u", gpu,
                            (unsigned)gpu_instance, (unsigned)compute_instance);
        }
    }
    struct process *known = world_process(s->world, process.pid_kind, process.pid, gpu);
    *ret_known = known && known->ended == WORLD_NEVER ? known : NULL;
    *ret_process = *ret_known ? **ret_known : process;
    return 0;
}

static int run_proc(struct statement *s)
{
    uint32_t gpu;
    struct process process, *known = NULL;
    int r = statement_gpu(s, &gpu);
    if (r == 0) {
        r = identify_process(s, gpu, &process, &known);
    }
    if (r < 0) {
        return r;
    }
    for (char *word; r == 0 && (word = words_next(&s->words));) {
        char *value = words_value(word);
        r = value ? set_process(&process, word, value, s->complaint)
                  : complain(s->complaint, "unknown word '%.40s'", word);
    }
    if (r < 0 || s->dry) {
        return r;
    }
    if (!known) {
        known = world_add_process(s->world, s->complaint);
        process.started = s->world->now;
    }
    if (!known) {
        return -EINVAL;
    }
    if (process.used != WORLD_UNKNOWN && process.used > process.peak) {
        process.peak = process.used;
    }
    *known = process;
    return 0;
}

static int run_exit(struct statement *s)
{
    enum pid_kind kind;
    uint32_t pid;
    uint64_t lag = s->world->lag, gpu = WORLD_UNKNOWN;
    const char *text = words_next(&s->words);
    if (!text) {
        return complain(s->complaint, "which process? Write exit 4242");
    }
    int r = parse_pid(text, &kind, &pid, s->complaint);
    for (char *word; r == 0 && (word = words_next(&s->words));) {
        char *value = words_value(word);
        if (value && strcmp(word, "lag") == 0) {
            r = value_time(word, value, &lag, s->complaint);
        } else if (value && strcmp(word, "gpu") == 0) {
            r = value_number(word, value, WORLD_GPUS - 1, &gpu, s->complaint);
        } else {
            r = complain(s->complaint, "unknown word '%.40s'", word);
        }
    }
    if (r < 0 || s->dry) {
        return r;
    }
    bool any = false;
    for (size_t i = 0; i < s->world->process_count; i++) {
        struct process *process = &s->world->processes[i];
        if (process->pid_kind == kind && process->pid == pid && process->ended == WORLD_NEVER &&
            (gpu == WORLD_UNKNOWN || process->gpu == gpu)) {
            process->ended = s->world->now;
            process->lag = lag;
            any = true;
        }
    }
    return any ? 0 : complain(s->complaint, "no process %.40s runs at that time", text);
}

/* ---- forget, event, switches --------------------------------------------------------------------------- */

/* What nvmlDeviceClearAccountingPids does. */
static int run_forget(struct statement *s)
{
    uint32_t gpu;
    int r = statement_gpu(s, &gpu);
    if (r == 0 && !s->dry) {
        s->world->gpus[gpu].forgotten = s->world->now;
    }
    return r;
}

static int run_event(struct statement *s)
{
    static const struct {
        const char *word;
        uint64_t type;
    } types[] = {
        {"single-bit-ecc", 1}, {"double-bit-ecc", 2}, {"pstate", 4},
        {"clock", 0x10},       {"mig-change", 0x100}, {"unavailable", 0x4000},
    };
    struct event event = {.time = s->world->now, .instance = -1};
    int r = statement_gpu(s, &event.gpu);
    const char *word = r < 0 ? NULL : words_next(&s->words);
    if (!word) {
        return r < 0 ? r : complain(s->complaint, "which event? Write xid=79 or mig-change");
    }
    if (strncmp(word, "xid=", 4) == 0) {
        event.type = 8;
        r = value_number("xid", word + 4, UINT32_MAX, &event.data, s->complaint);
    } else {
        for (size_t i = 0; i < ARRAY_LENGTH(types); i++) {
            event.type |= strcmp(word, types[i].word) == 0 ? types[i].type : 0;
        }
    }
    if (r == 0 && !event.type) {
        r = complain(s->complaint, "unknown event '%.40s'", word);
    }
    if (r == 0 && !s->dry) {
        world_add_event(s->world, &event);
    }
    return r;
}

static int run_skew(struct statement *s, const char *word)
{
    static const char *const names[] = {"none", "lists", "free", NULL};
    uint64_t which, time = 0;
    const char *text = words_next(&s->words);
    int r = value_choice("skew", word, names, &which, s->complaint);
    if (r == 0 && which != SKEW_NONE) {
        r = text ? value_time("skew", text, &time, s->complaint)
                 : complain(s->complaint, "by how much? Write skew lists 300ms");
    }
    if (r == 0 && !s->dry) {
        s->world->skew = (enum skew)which;
        s->world->skew_time = time;
    }
    return r;
}

/* Lines of one word and its value. -ENOENT: `verb` is none of them. */
static int run_switch(struct statement *s, const char *verb)
{
    static const char *const pids[] = {"auto", "hide", "host", NULL};
    static const char *const sizes[] = {"auto", "16", "24", "32", NULL};
    static const char *const verbs[] = {"strict", "pidns", "entry", "lag", "skew", NULL};
    uint64_t value = 0;
    size_t i = 0;
    while (verbs[i] && strcmp(verb, verbs[i]) != 0) {
        i++;
    }
    const char *word = verbs[i] ? words_next(&s->words) : NULL;
    if (!word) {
        return verbs[i] ? complain(s->complaint, "%s what?", verb) : -ENOENT;
    }
    if (i == 4) {
        return run_skew(s, word);
    }
    int r = i == 0   ? value_switch(verb, word, &value, s->complaint)
            : i == 1 ? value_choice(verb, word, pids, &value, s->complaint)
            : i == 2 ? value_choice(verb, word, sizes, &value, s->complaint)
                     : value_time(verb, word, &value, s->complaint);
    if (r < 0 || s->dry) {
        return r;
    }
    switch (i) {
    case 0:
        s->world->strict = value != 0;
        break;
    case 1:
        s->world->pids = value;
        break;
    case 2:
        s->world->entry_size = value ? 8 + 8 * value : 0;
        break;
    default:
        s->world->lag = value;
        break;
    }
    return 0;
}

/* ---- Lines ------------------------------------------------------------------------------------- */

int statement_time(const char **line, uint64_t *ret_time, struct complaint *complaint)
{
    const char *at = *line + strspn(*line, " \t");
    if (strncmp(at, "at", 2) != 0 || (at[2] != ' ' && at[2] != '\t')) {
        *ret_time = 0;
        return 0;
    }
    at += 2;
    at += strspn(at, " \t");
    at += *at == '+';
    char text[40];
    size_t length = strcspn(at, " \t");
    (void)snprintf(text, sizeof(text), "%.*s", length < sizeof(text) ? (int)length : 39, at);
    int r = value_time("at", text, ret_time, complaint);
    if (r == 0) {
        *line = at + length;
    }
    return r;
}

static int run_verb(struct statement *s, const char *verb)
{
    static const struct {
        const char *verb;
        int (*run)(struct statement *s);
    } verbs[] = {
        {"gpu", run_gpu},   {"proc", run_proc},   {"mig", run_mig},
        {"exit", run_exit}, {"event", run_event}, {"forget", run_forget},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(verbs); i++) {
        if (strcmp(verb, verbs[i].verb) == 0) {
            return verbs[i].run(s);
        }
    }
    int r = run_switch(s, verb);
    return r == -ENOENT ? statement_rule(s, verb) : r;
}

int statement_run(struct world *world, const char *line, uint32_t id, bool setup, bool dry,
                  struct complaint *complaint)
{
    struct statement s = {
        .world = world, .id = id, .setup = setup, .dry = dry, .complaint = complaint};
    line += strspn(line, " \t");
    if (strncmp(line, "after", 5) == 0 && (line[5] == ' ' || line[5] == '\t')) {
        return statement_after(&s, line);
    }
    int r = words_split(&s.words, line, strlen(line), complaint);
    const char *verb = r < 0 ? NULL : words_next(&s.words);
    if (!verb) {
        return r;
    }
    r = run_verb(&s, verb);
    if (r == -ENOENT) {
        return complain(complaint,
                        "unknown word '%.40s'; lines begin with gpu, proc, exit, mig, event, "
                        "fail, delay, hang, crash, grow, after or at",
                        verb);
    }
    if (r == 0 && s.words.next < s.words.count) {
        return complain(complaint, "unknown word '%.40s'", s.words.word[s.words.next]);
    }
    return r;
}
