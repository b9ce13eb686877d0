/* SPDX-License-Identifier: MIT */
/*
 * A process's use of the driver: which machine was chosen, how often nvmlInit was called, and the way
 * that every call takes. Shared by sim/session.c, sim/call.c and the exported functions, sim/nvml_*.c.
 *
 * A call enters (is there a driver?), meets the scenario's rules (which may make it wait, fail or
 * crash), answers with the session locked, and ends. In strict mode a breach of NVML's contract ends
 * the process with a message.
 */
#ifndef VRAM_SIM_SESSION_H
#define VRAM_SIM_SESSION_H

#include "common/nvml_abi.h"
#include "sim/sim.h"
#include <pthread.h>

struct session {
    pthread_mutex_t mutex;
    _Atomic int owner;      /* the process; 0: none yet, and nothing is open */
    _Atomic unsigned calls; /* in progress, in any thread */
    bool open;
    char spec[600];
    struct sim sim;
    unsigned starts;                   /* nvmlInit calls that no nvmlShutdown has answered */
    uint16_t stamp;                    /* of handles; changes with every first nvmlInit */
    _Atomic unsigned busy[WORLD_GPUS]; /* threads in a call on that GPU */
    struct complaint complaint;
    bool complained;
};

extern struct session session;

/* One call in progress. */
struct call {
    enum function function;
    bool locked;
    int busy_gpu; /* which `busy` we count in; -1: none */
    uint32_t gpu;
    int instance;
    unsigned pending_count;
    uint32_t pending[8]; /* rules whose action follows the call */
};

/* ---- session.c ---- */

/* Opens the chosen machine, or the environment's; in a forked child drops what was inherited. To be called
 * with the session locked. 0, or negative errno with session.complaint. */
int session_open(void);
/* Locks the session, in a forked child with a lock of its own. */
void session_lock(void);
void session_unlock(void);
bool session_is_strict(void);
/* Says what was breached and aborts. */
_Noreturn void session_breach(enum function function, const char *format, ...) PRINTF_LIKE(2, 3);

/* ---- call.c ---- */

/* Each: NVML_SUCCESS with the session locked, or the code to return. call_end() must follow in any case. */
nvml_ret call_begin_start(struct call *call,
                          enum function function); /* nvmlInit: no driver needed yet */
nvml_ret call_enter(struct call *call, enum function function);
/* The second half for calls that find a GPU by themselves; `gpu` is -1 where they concern none. */
nvml_ret call_meet(struct call *call, int gpu);
nvml_ret call_begin(struct call *call, enum function function);
/* For a device handle. `whole`: MIG instances are refused. Sets call->gpu and call->instance. */
nvml_ret call_begin_device(struct call *call, enum function function, nvml_device device,
                           bool whole);
nvml_ret call_end(struct call *call, nvml_ret code);

/* Lost, denied or asleep? A sleeping GPU wakes. */
nvml_ret call_touch(const struct call *call, uint32_t gpu);
/* Lets other threads go on for a while: the session is unlocked meanwhile. False: shut down meanwhile. */
bool call_wait(struct call *call, uint64_t ns);
/* In strict mode, ends the process where `size` bytes at `at` are not the caller's to write. */
void call_check_buffer(const struct call *call, const void *at, uint64_t count, size_t size);
/* A structure's version word; in strict mode a wrong one ends the process. */
bool call_check_version(const struct call *call, uint32_t version, uint32_t expected);

nvml_device device_handle(uint32_t gpu, int instance);

/* Whether the caller may see the memory and the processes of what it asks about (sim/nvml_memory.c). */
nvml_ret call_check_pool(const struct call *call);

/* An exported function. */
#define EXPORT(name, ...)                                                                          \
    nvml_ret name(__VA_ARGS__);                                                                    \
    __attribute__((__visibility__("default"))) nvml_ret name(__VA_ARGS__)

/* The whole body of an exported function; `answer` is evaluated with the session locked. */
#define BODY(begin, answer)                                                                        \
    struct call call;                                                                              \
    nvml_ret code = (begin);                                                                       \
    if (code == NVML_SUCCESS) {                                                                    \
        code = (answer);                                                                           \
    }                                                                                              \
    return call_end(&call, code)
#define SYSTEM_CALL(name, answer) BODY(call_begin(&call, FUNCTION_##name), answer)
#define DEVICE_CALL(name, device, answer)                                                          \
    BODY(call_begin_device(&call, FUNCTION_##name, device, true), answer)
/* The same for functions that MIG instances have too. */
#define POOL_CALL(name, device, answer)                                                            \
    BODY(call_begin_device(&call, FUNCTION_##name, device, false), answer)

/* The GPU of a call. */
static inline const struct gpu *call_gpu(const struct call *call)
{
    return &session.sim.now->gpus[call->gpu];
}

#endif
