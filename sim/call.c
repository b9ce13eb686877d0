/* SPDX-License-Identifier: MIT */
/* The way of a call: is there a driver, what does the scenario do to it, whose GPU is it. */
#include "sim/session.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define POLL_NS 1000000u
#define ABSURD_COUNT 1000000u

/* Handles are numbers in a pointer's clothes; nothing is behind them to be read. From the top: a mark, the
 * stamp of the nvmlInit, that of the MIG instance, the GPU, the instance's place + 1. */
#define HANDLE_MARK 0x5A1Du

nvml_device device_handle(uint32_t gpu, int instance)
{
    uint64_t stamp = instance < 0 ? 0 : session.sim.now->gpus[gpu].instances[instance].stamp;
    uint64_t value = (uint64_t)HANDLE_MARK << 48 | (uint64_t)session.stamp << 32 | stamp << 16 |
                     (uint64_t)gpu << 8 | (uint64_t)(instance + 1);
    return (nvml_device)(uintptr_t)value; /* NOLINT(performance-no-int-to-ptr) */
}

/* ---- Entering ---------------------------------------------------------------------------------- */

static void count(enum function function)
{
    atomic_fetch_add_explicit(&session.sim.file.state->calls[function], 1, memory_order_relaxed);
}

static void begin(struct call *call, enum function function)
{
    *call = (struct call){.function = function, .busy_gpu = -1, .instance = -1};
    atomic_fetch_add(&session.calls, 1);
}

static void lock(struct call *call)
{
    session_lock();
    call->locked = true;
}

static void unlock(struct call *call)
{
    call->locked = false;
    session_unlock();
}

static bool is_forked(void)
{
    int owner = atomic_load(&session.owner);
    return owner && owner != getpid();
}

nvml_ret call_enter(struct call *call, enum function function)
{
    bool forked = is_forked(), started_before_fork = forked && session.starts;
    begin(call, function);
    lock(call);
    if (forked) {
        atomic_store(&session.calls, 1); /* the parent's other calls are not ours */
    }
    if (!session.starts) {
        (void)session_open(); /* it says whether this is to be strict about */
        if (session_is_strict()) {
            session_breach(function, started_before_fork
                                         ? "the parent's nvmlInit does not count in a forked child"
                                         : "called before nvmlInit or after nvmlShutdown");
        }
        return NVML_UNINITIALIZED;
    }
    count(function);
    return sim_refresh(&session.sim) < 0 ? NVML_MEMORY : NVML_SUCCESS;
}

nvml_ret call_begin_start(struct call *call, enum function function)
{
    bool forked = is_forked();
    begin(call, function);
    lock(call);
    if (forked) {
        atomic_store(&session.calls, 1);
    }
    if (session_open() < 0) {
        if (!session.complained) {
            (void)fprintf(stderr, "vram-sim: %s\n", session.complaint.text);
        }
        session.complained = true;
        return NVML_UNKNOWN;
    }
    count(function);
    if (sim_refresh(&session.sim) < 0) {
        return NVML_MEMORY;
    }
    return call_meet(call, -1);
}

/* ---- Rules ------------------------------------------------------------------------------------- */

/* What the rules do to one call, gathered before any of it is done. */
struct fate {
    uint64_t delay;
    uint32_t hang; /* the rule's id, when `hangs` */
    uint64_t hang_time;
    bool hangs, crashes;
    nvml_ret code;
};

/* A number from 0 to 1000, the same for the same call of the same rule. */
static uint64_t chance(uint64_t id, uint64_t hit)
{
    uint64_t x = (id + 1) * 0x9E3779B97F4A7C15u ^ hit * 0xBF58476D1CE4E5B9u;
    x ^= x >> 31;
    x *= 0x94D049BB133111EBu;
    return (x >> 33) % 1001;
}

static uint64_t delay_of(const struct rule *rule, uint64_t hit)
{
    uint64_t most = rule->time / 100 * rule->jitter;
    uint64_t shift = most / 1000 * (chance(rule->id, hit) * 2);
    return rule->time - most + shift;
}

static void apply_rule(struct call *call, const struct rule *rule, uint64_t hit, struct fate *fate)
{
    switch (rule->kind) {
    case RULE_FAIL:
        fate->code = fate->code ? fate->code : rule->code;
        break;
    case RULE_DELAY:
        fate->delay = world_add(fate->delay, delay_of(rule, hit));
        break;
    case RULE_HANG:
        fate->hangs = true;
        fate->hang = rule->id;
        fate->hang_time = rule->time;
        break;
    case RULE_CRASH:
        fate->crashes = true;
        break;
    case RULE_AFTER:
        if (call->pending_count < ARRAY_LENGTH(call->pending)) {
            call->pending[call->pending_count++] = rule->id;
        }
        break;
    case RULE_GROW:
        break;
    }
}

static bool concerns(const struct rule *rule, const struct call *call, int gpu)
{
    return !rule->released && function_set_has(&rule->functions, call->function) &&
           (rule->gpu < 0 || rule->gpu == gpu);
}

/* Counts the call with every rule that concerns it. Growth is counted when the call ends: it comes between
 * a call and the next. */
static struct fate ask_rules(struct call *call, int gpu)
{
    struct fate fate = {0};
    const struct world *world = session.sim.now;
    for (size_t i = 0; i < world->rule_count; i++) {
        const struct rule *rule = &world->rules[i];
        if (rule->kind == RULE_GROW || !concerns(rule, call, gpu)) {
            continue;
        }
        uint64_t hit = atomic_fetch_add(&session.sim.file.state->hits[rule->id], 1) + 1u;
        if (hit > rule->after && hit - rule->after <= rule->times) {
            apply_rule(call, rule, hit, &fate);
        }
    }
    return fate;
}

bool call_wait(struct call *call, uint64_t ns)
{
    uint16_t stamp = session.stamp;
    bool started = session.starts;
    struct timespec time = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    unlock(call);
    while (nanosleep(&time, &time) < 0 && errno == EINTR) {
    }
    lock(call);
    return sim_refresh(&session.sim) == 0 &&
           (!started || (session.starts && session.stamp == stamp));
}

/* With a virtual clock a slow call makes time pass instead of taking any. */
static bool delay(struct call *call, uint64_t ns)
{
    struct state *state = session.sim.file.state;
    if (atomic_load(&state->virtual_clock)) {
        atomic_fetch_add(&state->virtual_now, ns);
        return sim_refresh(&session.sim) == 0;
    }
    return call_wait(call, ns);
}

static bool is_released(uint32_t id)
{
    const struct world *world = session.sim.now;
    for (size_t i = 0; i < world->rule_count; i++) {
        if (world->rules[i].id == id) {
            return world->rules[i].released;
        }
    }
    return true; /* the instance was reset */
}

static bool hang(struct call *call, uint32_t id, uint64_t ns)
{
    uint64_t end = world_add(session.sim.now->now, ns);
    bool running = true;
    while (running && !is_released(id) && (ns == WORLD_NEVER || session.sim.now->now < end)) {
        running = call_wait(call, POLL_NS);
    }
    return running;
}

/* As a true fault: a thread that blocks the signal is not spared. */
static void crash(void)
{
    sigset_t fault;
    (void)sigemptyset(&fault);
    (void)sigaddset(&fault, SIGSEGV);
    (void)pthread_sigmask(SIG_UNBLOCK, &fault, NULL);
    (void)raise(SIGSEGV);
}

nvml_ret call_meet(struct call *call, int gpu)
{
    if (!function_set_has(&session.sim.now->ruled, call->function)) {
        return NVML_SUCCESS;
    }
    struct fate fate = ask_rules(call, gpu);
    bool running = !fate.delay || delay(call, fate.delay);
    if (running && fate.hangs) {
        running = hang(call, fate.hang, fate.hang_time);
    }
    if (!running) {
        return NVML_UNINITIALIZED;
    }
    if (fate.crashes) {
        crash();
    }
    return fate.code;
}

nvml_ret call_begin(struct call *call, enum function function)
{
    nvml_ret code = call_enter(call, function);
    return code == NVML_SUCCESS ? call_meet(call, -1) : code;
}

/* ---- Devices ----------------------------------------------------------------------------------- */

/* What a handle says, without a look at whether it still holds. */
static bool read_handle(nvml_device device, uint32_t *ret_gpu, int *ret_instance,
                        uint16_t *ret_stamp, uint16_t *ret_instance_stamp)
{
    uint64_t value = (uint64_t)(uintptr_t)device;
    uint32_t gpu = value >> 8 & 0xFF, place = value & 0xFF;
    if (value >> 48 != HANDLE_MARK || gpu >= session.sim.now->gpu_count ||
        place > WORLD_INSTANCES) {
        return false;
    }
    *ret_gpu = gpu;
    *ret_instance = (int)place - 1;
    *ret_stamp = (uint16_t)(value >> 32);
    *ret_instance_stamp = (uint16_t)(value >> 16);
    return true;
}

static bool is_current(const struct call *call, uint16_t stamp, uint16_t instance_stamp)
{
    const struct gpu *gpu = call_gpu(call);
    if (stamp != session.stamp) {
        return false;
    }
    return call->instance < 0 || (gpu->instances[call->instance].present &&
                                  gpu->instances[call->instance].stamp == instance_stamp);
}

nvml_ret call_touch(const struct call *call, uint32_t index)
{
    const struct gpu *gpu = &session.sim.now->gpus[index];
    if (gpu->lost) {
        return NVML_GPU_IS_LOST;
    }
    if (gpu->denied) {
        return NVML_NO_PERMISSION;
    }
    if (gpu->suspended) {
        char line[32];
        struct complaint ignored;
        if (session_is_strict()) {
            session_breach(call->function, "GPU %u was asleep and has been woken", index);
        }
        atomic_fetch_add(&session.sim.file.state->wakes, 1);
        (void)snprintf(line, sizeof(line), "gpu %u awake", index);
        if (sim_inject(&session.sim, line, &ignored) < 0 || sim_refresh(&session.sim) < 0) {
            return NVML_MEMORY;
        }
    }
    return NVML_SUCCESS;
}

/* Two threads on one GPU are allowed by NVML and gain nothing; vram promises not to. */
static void enter_gpu(struct call *call)
{
    call->busy_gpu = (int)call->gpu;
    if (atomic_fetch_add(&session.busy[call->gpu], 1) && session_is_strict()) {
        session_breach(call->function, "another thread is in a call on GPU %u", call->gpu);
    }
}

nvml_ret call_begin_device(struct call *call, enum function function, nvml_device device,
                           bool whole)
{
    uint16_t stamp, instance_stamp;
    nvml_ret code = call_enter(call, function);
    if (code != NVML_SUCCESS) {
        return code;
    }
    if (!read_handle(device, &call->gpu, &call->instance, &stamp, &instance_stamp)) {
        return NVML_INVALID_ARGUMENT;
    }
    enter_gpu(call);
    code = call_meet(call, (int)call->gpu);
    if (code != NVML_SUCCESS) {
        return code;
    }
    if (!is_current(call, stamp, instance_stamp)) {
        if (session_is_strict() && stamp != session.stamp) {
            session_breach(function, "the handle was got before the last nvmlInit");
        }
        return NVML_INVALID_ARGUMENT;
    }
    code = call_touch(call, call->gpu);
    return code == NVML_SUCCESS && whole && call->instance >= 0 ? NVML_NOT_SUPPORTED : code;
}

/* ---- Ending ------------------------------------------------------------------------------------ */

static void count_growth(const struct call *call)
{
    const struct world *world = session.sim.now;
    for (size_t i = 0; i < world->rule_count; i++) {
        const struct rule *rule = &world->rules[i];
        if (rule->kind == RULE_GROW && concerns(rule, call, call->busy_gpu)) {
            atomic_fetch_add(&session.sim.file.state->hits[rule->id], 1);
        }
    }
}

/* Runs the actions of `after` rules: what happens between this call and the next. */
static void run_pending(const struct call *call)
{
    for (unsigned i = 0; i < call->pending_count; i++) {
        const struct world *world = session.sim.now;
        for (size_t j = 0; j < world->rule_count; j++) {
            struct complaint ignored;
            if (world->rules[j].id == call->pending[i] && world->rules[j].action) {
                /* An action that cannot be run any more is passed over, like a line of the timeline. */
                int r = sim_inject(&session.sim, world->rules[j].action, &ignored);
                (void)r;
                break;
            }
        }
    }
}

nvml_ret call_end(struct call *call, nvml_ret code)
{
    if (call->busy_gpu >= 0) {
        atomic_fetch_sub(&session.busy[call->busy_gpu], 1);
    }
    if (call->locked) {
        if (session.open && function_set_has(&session.sim.now->ruled, call->function)) {
            count_growth(call);
            run_pending(call);
        }
        unlock(call);
    }
    atomic_fetch_sub(&session.calls, 1);
    return code;
}

/* ---- Strictness -------------------------------------------------------------------------------- */

bool call_check_version(const struct call *call, uint32_t version, uint32_t expected)
{
    if (version != expected && session_is_strict()) {
        session_breach(call->function, "the structure's version is 0x%08x, it must be 0x%08x",
                       version, expected);
    }
    return version == expected;
}

/* Whether the process can read all of a range, told by the kernel so that a guard page is no crash. */
static bool is_readable(const char *at, size_t size)
{
    char copy[4096];
    while (size) {
        size_t part = size < sizeof(copy) ? size : sizeof(copy);
        struct iovec here = {copy, part}, there = {(void *)(uintptr_t)at, part};
        ssize_t got = process_vm_readv(getpid(), &here, 1, &there, 1, 0);
        if (got < 0 && errno != EFAULT) {
            return true; /* not allowed to ask */
        }
        if (got != (ssize_t)part) {
            return false;
        }
        at += part;
        size -= part;
    }
    return true;
}

void call_check_buffer(const struct call *call, const void *at, uint64_t entries, size_t size)
{
    if (!session_is_strict()) {
        return;
    }
    if (entries > ABSURD_COUNT) {
        session_breach(call->function, "the count is %" PRIu64 "; was it ever set?", entries);
    }
    if (at && !is_readable(at, entries * size)) {
        session_breach(call->function, "the count is %" PRIu64 " and the buffer is smaller",
                       entries);
    }
}
