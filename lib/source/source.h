/* SPDX-License-Identifier: MIT */
/*
 * What a source of figures is, for those who write one and for lib/sampler.c, which drives them.
 *
 * A source asks one kind of driver and hands on what it was told, device by device, in the driver's
 * own figures. It knows no snapshot, no process beyond its pid, and nobody who reads it. It runs in a
 * thread of the sampler's: before each driver call it says so with watch_enter(), after it with
 * watch_leave(), which tells whether anyone still waits. A source whose call was given up must
 * return -ECANCELED at once and touch nothing but the device it was stuck in.
 */
#ifndef VRAM_LIB_SOURCE_H
#define VRAM_LIB_SOURCE_H

#include "include/vram.h"
#include "lib/err.h"

/* A process as a driver lists it. */
struct source_process {
    uint32_t pid;
    uint32_t kind;       /* VRAM_PROCESS_… */
    uint64_t used_bytes; /* or VRAM_UNKNOWN */
    char *name;          /* the driver's word for it where /proc has none; NULL; owned */
};

/* Something a driver would not tell of a device. */
struct source_problem {
    const char *what; /* static: "memory", "processes" … */
    const char *code; /* static */
    char message[192];
    struct source_problem *next; /* owned */
};

/* One pool of memory: a GPU, or a MIG instance. Texts are "" and amounts VRAM_UNKNOWN where unknown. */
struct source_gpu {
    uint32_t index;
    uint32_t state;       /* enum vram_gpu_state */
    uint32_t memory_kind; /* enum vram_memory_kind */
    uint64_t mig_index, gpu_instance_id, compute_instance_id;
    char uuid[96], name[96], pci[24], parent_uuid[96];
    uint64_t total_bytes, used_bytes, free_bytes, driver_reserved_bytes;
    uint64_t temperature_c, utilization_percent;
    bool used_includes_reserved;
    uint64_t listed_bytes; /* while settling: the most that one list's processes had together */
    bool processes_known;
    bool pids_are_foreign; /* the driver speaks of another PID namespace: /proc must not be asked */
    size_t process_count;
    struct source_process *processes; /* owned */
    struct source_problem *problems;  /* owned */
};

void source_gpu_init(struct source_gpu *gpu); /* everything unknown */
void source_gpu_done(struct source_gpu *gpu);
void source_processes_done(struct source_gpu *gpu); /* gives the list back; it is empty then */
/* Adds a problem that is not there yet; forgets it silently when memory is out (the figure stays unknown all the
 * same). */
void source_gpu_problem(struct source_gpu *gpu, const char *what, const char *code,
                        const char *format, ...) PRINTF_LIKE(4, 5);

/*
 * Settling (VRAM_TAKE_SETTLED): one more reading of the same pool goes into the one before, so that what remains is
 * safe whatever moved in between. Pure, and the order of readings decides nothing but who came and who went.
 *
 * Memory: the smallest free, the later reserve; used is what then remains of total (of unified memory it is left
 * alone). A free that is unknown in either, or of another total, is unknown. A later state that is not ok is the
 * result's, without figures. Returns whether the readings differed; a free that moves in unified memory does not count.
 */
bool source_memory_settle(struct source_gpu *into, const struct source_gpu *later);
/*
 * Processes: the smaller used of each; unknown where it is in either. Who is missing in `later` is gone, who is missing
 * in `into` comes in with 0. A list that is unknown in either is unknown. 1: the lists differed; 0: they did not;
 * -ENOMEM.
 */
MUST_CHECK int source_processes_settle(struct source_gpu *into, const struct source_gpu *later);
/*
 * The end of settling: of a free figure that is behind the lists only what they leave of the memory is believed. Not
 * of unified memory, where they leave the machine's own programs out.
 */
void source_settle_free(struct source_gpu *gpu);

struct source_identity {
    char kind[16];
    char version[80];
    char cuda[16];
    char library[256];
};

/* Where a source puts what it learns. Calls may come from a thread that is no longer waited for;
 * they are then ignored. */
struct source_sink {
    void (*identity)(struct source_sink *sink, const struct source_identity *identity);
    /* How many devices this pass will report; devices beyond are forgotten. */
    int (*begin)(struct source_sink *sink, size_t device_count);
    /* True: leave this device out (another thread is stuck in it). */
    bool (*skip)(struct source_sink *sink, size_t device);
    /* Device number `device` consists of these pools. Takes the array and what it owns, always. 0 or
     * -ENOMEM. */
    int (*device)(struct source_sink *sink, size_t device, struct source_gpu *gpus, size_t count);
};

/* The current thread's pass, as the sampler sees it. */
struct source_watch;
#define WATCH_NO_DEVICE SIZE_MAX
/* `call` must be static text. Returns false where the pass was given up before. */
MUST_CHECK bool watch_enter(struct source_watch *watch, size_t device, const char *call);
/* Returns false where the pass was given up while the call ran. */
MUST_CHECK bool watch_leave(struct source_watch *watch);

struct source_config {
    const char *path;       /* the library to load; NULL: search */
    const char *simulation; /* what the simulated driver is to play; NULL: a real driver */
    const char *root;       /* prefix of /proc, /sys and /dev; "" for none */
    bool wake;
    uint64_t rest_after_ns; /* how long an unused GPU that may sleep is kept open */
    vram_log_function log;  /* never NULL */
    void *log_data;
};

/* One thing that a source can say about how it asks: for the doctor. */
typedef void (*source_fact_function)(void *data, const char *name, const char *value);

struct source_ops {
    const char *kind;
    /* Starts the driver. On failure nothing is left behind. */
    int (*open)(void **ret_source, const struct source_config *config, struct source_watch *watch,
                struct err *err);
    /* Asks for everything in `take` (VRAM_TAKE_…), device by device. -ECANCELED: given up.
     * Other failures concern the driver as a whole; the source is then closed and opened anew. */
    int (*sample)(void *source, uint32_t take, struct source_sink *sink, struct source_watch *watch,
                  struct err *err);
    /* Says which calls and layouts are in use. May be called between samples only. */
    void (*describe)(void *source, source_fact_function fact, void *data);
    void (*close)(void *source);
    /* In a forked child: gives back what can be without speaking to the driver. */
    void (*abandon)(void *source);
};

extern const struct source_ops nvml_source;

#endif
