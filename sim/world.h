/* SPDX-License-Identifier: MIT */
/*
 * The simulated machine at one moment: its GPUs, the processes that a scenario puts on them, and
 * the rules by which calls misbehave. Made by running a scenario's lines in the order of time
 * (sim/statement.c changes it, sim/sim.c drives that); pure data, which knows no file, clock or lock.
 *
 * All amounts are bytes, all times nanoseconds since the instance began.
 */
#ifndef VRAM_SIM_WORLD_H
#define VRAM_SIM_WORLD_H

#include "common/attr.h"
#include "sim/function.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORLD_GPUS 64
#define WORLD_INSTANCES 7 /* MIG instances of one GPU */
#define WORLD_PROCESSES 4096
#define WORLD_RULES 1024
#define WORLD_EVENTS 1024

#define WORLD_UNKNOWN UINT64_MAX
#define WORLD_NEVER UINT64_MAX
#define WORLD_NAME_MAX 64
#define WORLD_PROCESS_NAME_MAX 256
#define WORLD_UUID_MAX 80

/* Process kinds, as bits. */
#define KIND_COMPUTE 1u
#define KIND_GRAPHICS 2u
#define KIND_MPS 4u
#define KIND_ALL 7u

/* The figures and states of a GPU that are one number each. */
enum number {
    NUMBER_BAR1_TOTAL,
    NUMBER_BAR1_USED,
    NUMBER_MINOR,
    NUMBER_NUMA,
    NUMBER_TEMPERATURE, /* °C */
    NUMBER_MEMORY_TEMPERATURE,
    NUMBER_TEMPERATURE_SHUTDOWN, /* this and the next seven in NVML's order */
    NUMBER_TEMPERATURE_SLOWDOWN,
    NUMBER_TEMPERATURE_MEMORY_MAX,
    NUMBER_TEMPERATURE_MAX,
    NUMBER_TEMPERATURE_ACOUSTIC_MIN,
    NUMBER_TEMPERATURE_ACOUSTIC,
    NUMBER_TEMPERATURE_ACOUSTIC_MAX,
    NUMBER_TEMPERATURE_GPS,
    NUMBER_UTILIZATION, /* percent */
    NUMBER_MEMORY_UTILIZATION,
    NUMBER_ENCODER,
    NUMBER_DECODER,
    NUMBER_ENCODER_PERIOD, /* µs */
    NUMBER_DECODER_PERIOD,
    NUMBER_POWER, /* mW; this and the next three */
    NUMBER_POWER_LIMIT,
    NUMBER_POWER_LIMIT_SET, /* unknown, as the next: the limit */
    NUMBER_POWER_LIMIT_DEFAULT,
    NUMBER_ENERGY,         /* mJ */
    NUMBER_FAN,            /* percent */
    NUMBER_CLOCK_GRAPHICS, /* MHz; this and the next three in NVML's order */
    NUMBER_CLOCK_SM,
    NUMBER_CLOCK_MEMORY,
    NUMBER_CLOCK_VIDEO,
    NUMBER_MAX_CLOCK_GRAPHICS,
    NUMBER_MAX_CLOCK_SM,
    NUMBER_MAX_CLOCK_MEMORY,
    NUMBER_MAX_CLOCK_VIDEO,
    NUMBER_PERFORMANCE_STATE,
    NUMBER_PCIE_GENERATION,
    NUMBER_PCIE_WIDTH,
    NUMBER_PCIE_MAX_GENERATION,
    NUMBER_PCIE_MAX_WIDTH,
    NUMBER_PCIE_RX, /* KB/s */
    NUMBER_PCIE_TX,
    NUMBER_ECC,         /* 0, 1 */
    NUMBER_ECC_PENDING, /* unknown: as it is now */
    NUMBER_ECC_CORRECTED,
    NUMBER_ECC_UNCORRECTED,
    NUMBER_ECC_CORRECTED_EVER, /* unknown, as the next: the same as since the start */
    NUMBER_ECC_UNCORRECTED_EVER,
    NUMBER_REMAPPED_CORRECTED, /* this and the next three in NVML's order */
    NUMBER_REMAPPED_UNCORRECTED,
    NUMBER_REMAPPED_PENDING,
    NUMBER_REMAPPED_FAILED,
    NUMBER_RECOVERY,
    NUMBER_PERSISTENCE,    /* 0, 1 */
    NUMBER_DISPLAY,        /* 0, 1 */
    NUMBER_DISPLAY_ACTIVE, /* unknown: as the display */
    NUMBER_ACCOUNTING,     /* 0, 1 */
    NUMBER_ACCOUNTING_ROOM,
    NUMBER_EVENTS,      /* 0, 1: can it report events */
    NUMBER_EVENT_TYPES, /* unknown: what the other settings make of it */
    NUMBER_COMPUTE_MODE,
    NUMBER_VIRTUALIZATION,
    NUMBER_MIG,         /* 0, 1; unknown: the card cannot */
    NUMBER_MIG_PENDING, /* unknown: as it is now */
    NUMBER_MIG_PLACES,
    NUMBER_MIG_MONITOR, /* 0: the whole card is closed to all but root, 1: open to all */
    NUMBER_ADDRESSING,
    NUMBER_ARCHITECTURE,
    NUMBER_BRAND,
    NUMBER_COMPUTE_CAPABILITY, /* 89 for 8.9 */
    NUMBER_MULTIPROCESSORS,
    NUMBER_MEMORY_UNSUPPORTED, /* 1: memory is the machine's */
    NUMBER_PROCESS_MEMORY_UNKNOWN,
    NUMBER_COUNT,
};

struct memory {
    uint64_t total, reserved;
    uint64_t overhead; /* the driver's own, within used */
    uint64_t managed;  /* within used, and no process's */
    uint64_t shared;   /* counted for more than one process, and used once */
    uint64_t settled;  /* Σ of the scenario's processes; kept by world_settle() */
};

struct instance {
    bool present;
    uint32_t gpu_instance, compute_instance;
    uint32_t gpu_slices, compute_slices, multiprocessors;
    uint16_t stamp; /* differs whenever another instance takes the place */
    char uuid[WORLD_UUID_MAX], name[WORLD_NAME_MAX];
    struct memory memory;
};

struct gpu {
    bool defined, lost, denied, suspended;
    char name[WORLD_NAME_MAX], uuid[WORLD_UUID_MAX], serial[32];
    uint32_t pci_domain, pci_bus, pci_device, pci_id, pci_subsystem_id;
    uint32_t pci_class;             /* 0x0300; UINT32_MAX: by the display */
    uint64_t numbers[NUMBER_COUNT]; /* WORLD_UNKNOWN where the scenario does not say */
    uint64_t forgotten;             /* accounting knows no process that ended before */
    struct memory memory;
    struct instance instances[WORLD_INSTANCES];
};

/* A process as the scenario has it. Which process $SELF is depends on who reads. */
enum pid_kind { PID_NUMBER, PID_SELF, PID_PARENT };

struct process {
    enum pid_kind pid_kind;
    uint32_t pid;
    uint32_t gpu;
    int instance; /* -1: none */
    uint32_t kinds;
    uint64_t used; /* WORLD_UNKNOWN: the driver does not tell */
    uint64_t peak;
    uint64_t sm_utilization;
    uint64_t started, ended; /* ended: WORLD_NEVER while it runs */
    uint64_t lag;            /* how long its memory stays used after the end */
    char name[WORLD_PROCESS_NAME_MAX];
};

enum rule_kind { RULE_FAIL, RULE_DELAY, RULE_HANG, RULE_CRASH, RULE_GROW, RULE_AFTER };

/* What a call meets. A rule counts the calls that it concerns in a counter that all processes of the
 * instance share, found by `id`; it acts on call number after + 1 to after + times. */
struct rule {
    enum rule_kind kind;
    bool released; /* a hang that was let go */
    struct function_set functions;
    int gpu; /* -1: any, and calls that concern none */
    uint32_t id;
    uint64_t after, times;
    int code;           /* fail */
    uint64_t time;      /* delay, hang; WORLD_NEVER: until released */
    uint64_t jitter;    /* delay: percent */
    uint64_t by;        /* grow: processes per call */
    uint64_t size;      /* grow: each one's memory */
    const char *action; /* after: the line; lives as long as the scenario */
};

struct event {
    uint64_t time, type, data;
    uint32_t gpu;
    int instance;
};

enum skew { SKEW_NONE, SKEW_LISTS, SKEW_FREE };

struct world {
    uint64_t now;
    uint64_t next_lag; /* when the next lag ends */
    size_t position;   /* lines of the timeline already run */
    bool strict;
    uint64_t pids;       /* 0 by the driver's generation, 1 hide, 2 host */
    uint64_t entry_size; /* 0 by the driver's generation */
    uint64_t lag;
    enum skew skew;
    uint64_t skew_time;
    uint32_t gpu_count;
    uint16_t next_stamp;
    struct function_set ruled; /* functions that any rule names */
    size_t process_count, process_room;
    struct process *processes;
    size_t rule_count, rule_room;
    struct rule *rules;
    size_t event_count;
    struct event events[WORLD_EVENTS];
    struct gpu gpus[WORLD_GPUS];
};

/* NULL when memory is out. */
struct world *world_create(void);
void world_destroy(struct world *world);
void world_clear(struct world *world);

/* The process with that pid on that GPU, running or not; NULL. The newest where there are several. */
struct process *world_process(struct world *world, enum pid_kind kind, uint32_t pid, uint32_t gpu);
/* Room for one more; NULL with a complaint where there is none, or memory is out. */
struct process *world_add_process(struct world *world, struct complaint *complaint);
struct rule *world_add_rule(struct world *world, struct complaint *complaint);
void world_add_event(struct world *world, const struct event *event);

/* Recomputes what depends on processes. To be called after every change, and when `next_lag` passes. */
void world_settle(struct world *world);

/* The memory of a GPU (instance -1) or of one of its instances. */
const struct memory *world_memory(const struct world *world, uint32_t gpu, int instance);

/* Sums of sizes stop below "unknown" instead of wrapping. */
uint64_t world_add(uint64_t a, uint64_t b);

#endif
