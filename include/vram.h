/* SPDX-License-Identifier: MIT */
/*
 * libvram: how much GPU memory is free, who holds the rest, and does N fit?
 *
 *     struct vram *vram;
 *     struct vram_snapshot *snapshot;
 *     if (vram_open(&vram, NULL) == 0 && vram_snapshot_take(vram, VRAM_TAKE_ALL, &snapshot) == 0) {
 *         for (size_t i = 0; i < vram_snapshot_gpu_count(snapshot); i++) {
 *             const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, i);
 *             printf("%s: %" PRIu64 " bytes free\n", gpu->name, gpu->free_bytes);
 *         }
 *         vram_snapshot_unref(snapshot);
 *     }
 *     vram_close(vram);
 *
 * Rules for the whole interface:
 *
 * Units      Every amount is in bytes, every duration in the unit that its name ends with.
 * Unknown    What the driver cannot tell is VRAM_UNKNOWN, never 0. Texts that are unknown are NULL.
 * Results    Functions that return int return 0 or more, or a negative errno value; vram_error()
 *            has the sentence. "Does not fit" is an answer, not an error.
 * Ownership  What comes through a `ret_` parameter is the caller's, to be given back with the
 *            matching unref or free function. What a function returns as `const` belongs to its
 *            parent and lives as long. `ret_` parameters are untouched on failure. Functions that
 *            give something back accept NULL and return NULL.
 * Threads    Every function may be called from any thread, on one handle by several at once, but
 *            for vram_close(), which must be the last call on its handle.
 * Fork       A handle goes on working in a forked child, which opens the driver anew at its first use.
 * Structs    Structures that the library hands out may grow at their end in later versions.
 *            Structures that the caller fills start with `size` and an initialiser.
 * Silence    The library prints nothing and ends nobody's process. It writes to no device.
 */
#ifndef VRAM_H
#define VRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define VRAM_API __attribute__((visibility("default")))
#define VRAM_MUST_CHECK __attribute__((warn_unused_result))
#else
#define VRAM_API
#define VRAM_MUST_CHECK
#endif

#define VRAM_VERSION_MAJOR 0
#define VRAM_VERSION_MINOR 1
#define VRAM_VERSION_PATCH 0

/** The one value of every quantity that the driver cannot tell. Never part of a sum. */
#define VRAM_UNKNOWN UINT64_MAX

/** The margin that applies where none is named: 1024 MiB. */
#define VRAM_DEFAULT_MARGIN_BYTES ((uint64_t)1024 << 20)

/** The library's version, "0.1.0". Never fails. Since 0.1. */
VRAM_API const char *vram_version(void);

/* ---- The handle ------------------------------------------------------------------------------ */

/** A handle on the machine's GPUs: one driver, opened at first use and kept open. */
struct vram;

enum vram_log_level {
    VRAM_LOG_DEBUG = 0,
    VRAM_LOG_WARNING = 1,
    VRAM_LOG_ERROR = 2,
};

/** Receives what the library has to say, one line without a newline. Called in the thread that
 *  called the library, or in the library's own; it must not call the library. */
typedef void (*vram_log_function)(void *data, int level, const char *message);

struct vram_options {
    size_t size; /**< sizeof(struct vram_options) */
    const char *
        driver; /**< "auto", "nvml", "nvml:/path/to/lib", "sim:NAME"; NULL: $VRAM_DRIVER, else auto */
    const char *
        root; /**< prefix for /proc, /sys, /dev and /etc, for tests; NULL: $VRAM_SYSROOT, else none */
    uint64_t
        call_timeout_ms; /**< how long one driver call may take; 0: $VRAM_CALL_TIMEOUT, else 10 000 */
    uint32_t flags;      /**< VRAM_OPEN_… */
    vram_log_function log; /**< NULL: silence */
    void *log_data;
    uint64_t max_age_ms; /**< how old a daemon's figures may be; 0: no older than the question */
};

/** Wake sleeping GPUs to ask them. Without it a laptop's suspended GPU is left asleep and shown so. */
#define VRAM_OPEN_WAKE 0x1u
/** Read the driver itself, also where a daemon could be asked. So do the drivers "nvml" and
 *  "nvml:/path", VRAM_OPEN_WAKE, a root, and VRAM_SOCKET=none in the environment. */
#define VRAM_OPEN_DIRECT 0x2u

#define VRAM_OPTIONS_INIT                                                                          \
    {                                                                                              \
        sizeof(struct vram_options), NULL, NULL, 0, 0, NULL, NULL, 0                               \
    }

/**
 * Makes a handle. The driver is opened by the first call that needs it, so that a machine whose
 * driver does not work yet still gets a handle; a failed start, a name that is no driver's among
 * them, is that call's failure, and is tried again at the next.
 *
 * @options  NULL for the defaults; copied.
 * Returns 0; -EINVAL: `options->size` is none; -ENOMEM. Since 0.1.
 */
VRAM_API VRAM_MUST_CHECK int vram_open(struct vram **ret_vram, const struct vram_options *options);

/** Gives the handle back. Snapshots taken from it stay valid. A driver call that never returned
 *  is left to itself. Returns NULL. Since 0.1. */
VRAM_API struct vram *vram_close(struct vram *vram);

/**
 * What went wrong in the calling thread's last failed call on this handle, in one sentence without
 * a full stop. Valid until that thread's next failing call. "no error" where nothing failed;
 * `vram` may be NULL after a failed vram_open(). Never NULL. Since 0.1.
 */
VRAM_API const char *vram_error(const struct vram *vram);

/** What it most likely means and what to do about it: at most two lines, "" where there is nothing
 *  to add. As long valid as vram_error(). Never NULL. Since 0.1. */
VRAM_API const char *vram_error_hint(const struct vram *vram);

/** The same as a stable word for programs, such as "driver_not_loaded". Never NULL. Since 0.1. */
VRAM_API const char *vram_error_code(const struct vram *vram);

/* ---- The snapshot ---------------------------------------------------------------------------- */

/** What the machine's GPUs held at one moment. Immutable and reference-counted. */
struct vram_snapshot;

enum vram_gpu_state {
    VRAM_GPU_OK = 0,
    VRAM_GPU_ASLEEP = 1, /**< suspended by the kernel; not woken to be asked */
    VRAM_GPU_LOST = 2,   /**< fallen off the bus, or in need of a reset */
    VRAM_GPU_DENIED = 3, /**< this user may not open it */
    VRAM_GPU_HUNG = 4,   /**< the driver has not answered in time; figures are the last known */
};

enum vram_memory_kind {
    VRAM_MEMORY_DEDICATED = 0,
    VRAM_MEMORY_UNIFIED =
        1,               /**< the machine's RAM: total and free are the kernel's figures, used is
                                  the GPU processes' sum, and CPU programs hold the rest */
    VRAM_MEMORY_MIG = 2, /**< a MIG instance's share of a card */
};

/** What a process uses a GPU for; a process in several lists has several bits. */
#define VRAM_PROCESS_COMPUTE 0x1u
#define VRAM_PROCESS_GRAPHICS 0x2u
#define VRAM_PROCESS_MPS 0x4u

/** One process on one GPU. (gpu, pid, start_time) is its identity. */
struct vram_process {
    uint32_t pid;
    uint32_t kind; /**< VRAM_PROCESS_… */
    uint64_t
        start_time;   /**< clock ticks after boot, as in /proc/PID/stat; unknown: cannot be seen */
    const char *name; /**< /proc's comm, else the driver's word for it, else "pid_N"; never NULL */
    const char *command;   /**< the command line, blanks between arguments; NULL unless asked for */
    const char *user;      /**< its owner's name, or number where it has none */
    const char *container; /**< the container's id from its cgroup */
    const char *unit;      /**< the systemd unit from its cgroup */
    const char *lease;     /**< the id of its lease; NULL: none */
    uint64_t used_bytes;
    bool visible; /**< found in /proc; false: another PID namespace, hidden, or just gone */
};

/** One GPU, or one MIG instance of one. */
struct vram_gpu {
    uint32_t index;       /**< the driver's index; of a MIG instance, its card's */
    uint32_t state;       /**< enum vram_gpu_state */
    uint32_t memory_kind; /**< enum vram_memory_kind */
    uint32_t pool;        /**< GPUs with the same number share one memory */
    const char *uuid;
    const char *name;
    const char *pci;         /**< "0000:01:00.0" */
    const char *parent_uuid; /**< of a MIG instance: its card; else NULL */
    uint64_t mig_index;      /**< of a MIG instance: its number on its card; else unknown */
    uint64_t gpu_instance_id, compute_instance_id; /**< of a MIG instance; else unknown */

    /* total = used + free + driver_reserved, each the driver's own figure. Where the driver has only the
     * old query, used contains the reserve, which is then unknown, and used_includes_reserved is true. */
    uint64_t total_bytes, used_bytes, free_bytes, driver_reserved_bytes;
    uint64_t unattributed_bytes; /**< used less the known memory of its processes; at least 0 */
    uint64_t
        outstanding_bytes; /**< promised by leases and not yet allocated; unknown without a daemon */
    uint64_t temperature_c;
    uint64_t utilization_percent;
    uint64_t age_ms; /**< how old these figures were when the snapshot was made */
    bool used_includes_reserved;
    bool processes_known; /**< false: the list could not be read, or was not asked for */
    size_t process_count;
    const struct vram_process *processes; /**< largest first, unknown amounts last */
    uint64_t
        own_outstanding_bytes; /**< of outstanding, what is promised to who asked; unknown without a daemon */
    uint64_t
        ceiling_bytes; /**< of outstanding, what is kept for programs that never ask; unknown without a daemon */
    bool drained; /**< no new lease is granted there */
};

/** The driver that answered. */
struct vram_driver {
    const char *kind;    /**< "nvml", or "sim" for the simulated driver */
    const char *version; /**< "550.54.14" */
    const char *cuda;    /**< the newest CUDA it serves, "12.4" */
    const char *library; /**< the file that was loaded */
};

/** Something that the snapshot could not learn. */
struct vram_problem {
    const char *gpu;  /**< UUID, or index where that is unknown; NULL: the whole driver */
    const char *what; /**< "memory", "processes", "temperature", "utilization", "device" … */
    const char *code; /**< the driver's code as a word, such as "gpu_is_lost" */
    const char *message;
};

/** What to ask the driver for. Memory is always asked. */
#define VRAM_TAKE_PROCESSES 0x1u /**< the process lists, which cost a driver most */
#define VRAM_TAKE_COMMANDS 0x2u  /**< the processes' full command lines as well */
#define VRAM_TAKE_HEALTH 0x4u    /**< temperature and utilization */
#define VRAM_TAKE_ALL 0x7u
/** Figures that a promise may rest on: memory and lists are read several times in turn, until they stand still or
 *  three times more. Free is the smallest seen, and each process has the smallest amount seen: 0 where it came in
 *  between. Used is what then remains of total. Implies VRAM_TAKE_PROCESSES; always asks the driver
 *  itself, and costs it five times the time. */
#define VRAM_TAKE_SETTLED 0x8u

/**
 * Asks the driver now: with "auto" and "sim:NAME" through the daemon, where one runs for it, for which the driver
 * need not even be installed here. A daemon that cannot be used is logged as a warning, and the driver read itself;
 * `outstanding_bytes` tells whether promises are counted. A GPU that fails has its `state` or a problem; the others are unaffected. Where
 * the driver does not answer in time, the GPUs concerned carry their last figures and their age.
 *
 * @take  VRAM_TAKE_…
 * Returns 0, also where the driver knows no GPU; -ENODEV: no usable driver; -EACCES: no permission;
 * -EPROTO: library and kernel module of different versions; -ETIMEDOUT: the driver does not
 * answer and nothing is known yet; -EINVAL, -ENOENT: the options name no driver; -ENOMEM; -EIO: another
 * failure of the driver. Since 0.1.
 */
VRAM_API VRAM_MUST_CHECK int vram_snapshot_take(struct vram *vram, uint32_t take,
                                                struct vram_snapshot **ret_snapshot);

/** One more reference. Returns its argument. Since 0.1. */
VRAM_API struct vram_snapshot *vram_snapshot_ref(struct vram_snapshot *snapshot);
/** One reference less; the last one frees it. Returns NULL. Since 0.1. */
VRAM_API struct vram_snapshot *vram_snapshot_unref(struct vram_snapshot *snapshot);

/** When it was taken, in nanoseconds since 1970. Since 0.1. */
VRAM_API uint64_t vram_snapshot_taken_at_ns(const struct vram_snapshot *snapshot);
/** How many requests wait for room; VRAM_UNKNOWN without a daemon. Since 0.1. */
VRAM_API uint64_t vram_snapshot_waiters(const struct vram_snapshot *snapshot);
/** A daemon's number for this state of figures and promises, another one whenever they change; 0 without a
 *  daemon. Since 0.1. */
VRAM_API uint64_t vram_snapshot_epoch(const struct vram_snapshot *snapshot);
VRAM_API const struct vram_driver *vram_snapshot_driver(const struct vram_snapshot *snapshot);

/** GPUs in the driver's order, a card's MIG instances in its place. Since 0.1. */
VRAM_API size_t vram_snapshot_gpu_count(const struct vram_snapshot *snapshot);
/** The GPU at `position`, NULL beyond the last. Since 0.1. */
VRAM_API const struct vram_gpu *vram_snapshot_gpu(const struct vram_snapshot *snapshot,
                                                  size_t position);

VRAM_API size_t vram_snapshot_problem_count(const struct vram_snapshot *snapshot);
/** The problem at `position`, NULL beyond the last. Since 0.1. */
VRAM_API const struct vram_problem *vram_snapshot_problem(const struct vram_snapshot *snapshot,
                                                          size_t position);

/* ---- Snapshots for others: what vramd is made of ----------------------------------------------- */

/**
 * A snapshot as bytes, all of it, for another process that has the same build of the library.
 * Returns 0 with bytes for free(3); -ENOMEM. Since 0.1.
 */
VRAM_API VRAM_MUST_CHECK int vram_snapshot_pack(const struct vram_snapshot *snapshot,
                                                void **ret_bytes, size_t *ret_size);

/**
 * The snapshot again. Nothing in the bytes is believed without a look.
 * Returns 0; -EBADMSG: they are no snapshot of this build; -ENOMEM. Since 0.1.
 */
VRAM_API VRAM_MUST_CHECK int vram_snapshot_unpack(const void *bytes, size_t size,
                                                  struct vram_snapshot **ret_snapshot);

/** What leases promise of a snapshot's GPUs. Arrays have one amount per position, each may be VRAM_UNKNOWN;
 *  NULL leaves a figure, or what is asked by a function, as the snapshot has it. */
struct vram_promises {
    size_t size; /**< sizeof(struct vram_promises) */
    const uint64_t *outstanding_bytes;
    const uint64_t *own_outstanding_bytes;
    uint64_t waiters; /**< VRAM_UNKNOWN: nobody knows */
    uint64_t epoch;   /**< 0: none */
    /* The functions are called in the calling thread, for each process more than once, with positions as in
     * vram_snapshot_gpu() and its `processes`, and must answer the same each time. */
    const char *(*lease)(void *data, size_t gpu, size_t process); /**< its lease's id; NULL: none */
    bool (*hide_command)(void *data, size_t gpu, size_t process); /**< its command line is secret */
    void *data;
    const uint64_t *ceiling_bytes;
    const bool *drained;
    const char *(*user)(void *data, size_t gpu,
                        size_t process); /**< whose it counts as; NULL: as it was */
};

#define VRAM_PROMISES_INIT                                                                         \
    {                                                                                              \
        sizeof(struct vram_promises), NULL, NULL, VRAM_UNKNOWN, 0, NULL, NULL, NULL, NULL, NULL,   \
            NULL                                                                                   \
    }

/**
 * A copy of the snapshot with promises filled in.
 * Returns 0; -EINVAL: `promises->size` is none; -ENOMEM. Since 0.1.
 */
VRAM_API VRAM_MUST_CHECK int vram_snapshot_promise(const struct vram_snapshot *snapshot,
                                                   const struct vram_promises *promises,
                                                   struct vram_snapshot **ret_snapshot);

/* ---- Choosing GPUs --------------------------------------------------------------------------- */

/**
 * Finds the GPUs that a person names: an index ("0"; of a divided card, all its instances), a MIG
 * instance ("0:1"), a UUID or a prefix of one that names only one GPU ("GPU-5f2", "5f2"), or a PCI address.
 *
 * @ret_positions  room for `capacity` positions in the snapshot.
 * Returns how many there are (which may exceed capacity); -ENOENT: no such GPU; -ENOTUNIQ: the
 * prefix fits several; -EINVAL: not a selector. Since 0.1.
 */
VRAM_API int vram_select(const struct vram_snapshot *snapshot, const char *selector,
                         size_t *ret_positions, size_t capacity);

/**
 * Finds the GPUs that CUDA shows a program with this CUDA_VISIBLE_DEVICES: indexes, UUIDs or their prefixes,
 * up to the first entry that names no GPU. CUDA's own indexes follow speed, not the driver's
 * order, unless CUDA_DEVICE_ORDER is PCI_BUS_ID.
 *
 * @visible  the variable's value; NULL: all GPUs.
 * @order    CUDA_DEVICE_ORDER's value; NULL: unset.
 * Returns how many there are (0: none); -EXDEV: it counts GPUs of different models, so that
 * CUDA's order cannot be told. Since 0.1.
 */
VRAM_API int vram_select_visible(const struct vram_snapshot *snapshot, const char *visible,
                                 const char *order, size_t *ret_positions, size_t capacity);

/* ---- Does it fit? ---------------------------------------------------------------------------- */

enum vram_answer {
    VRAM_FITS = 0,        /**< size <= free - (outstanding - own) - margin */
    VRAM_NOT_NOW = 1,     /**< would fit on an emptier GPU */
    VRAM_NEVER = 2,       /**< size + margin > total - driver_reserved on every candidate */
    VRAM_CANNOT_TELL = 3, /**< the figures needed are unknown; printed as "unknown" */
    VRAM_TIMED_OUT = 4,   /**< of a request for a lease only: its turn did not come in time */
};

struct vram_fit_request {
    size_t size;           /**< sizeof(struct vram_fit_request) */
    uint64_t size_bytes;   /**< memory still to be allocated, on each GPU; more than 0 */
    uint64_t margin_bytes; /**< what must stay free after it, per GPU */
    uint32_t
        margin_millipercent; /**< not 0: instead of margin_bytes, thousandths of a percent of total */
    uint32_t gpu_count;      /**< on how many GPUs, each with a memory of its own; 1 or more */
    const size_t *candidates; /**< positions in the snapshot; NULL: all GPUs */
    size_t candidate_count;
};

#define VRAM_FIT_REQUEST_INIT                                                                      \
    {                                                                                              \
        sizeof(struct vram_fit_request), 0, VRAM_DEFAULT_MARGIN_BYTES, 0, 1, NULL, 0               \
    }

/** One candidate's arithmetic. */
struct vram_fit_gpu {
    size_t position; /**< in the snapshot */
    uint32_t answer; /**< enum vram_answer, for this GPU alone */
    bool chosen;
    bool usable; /**< false: lost or denied, and so no candidate */
    const char *uuid;
    uint64_t free_bytes, outstanding_bytes, margin_bytes;
    int64_t headroom_bytes; /**< free - (outstanding - own) - margin; meaningful where known */
    bool headroom_known;
    uint64_t shortfall_bytes; /**< what is missing; 0 where it fits, unknown where headroom is */
    uint64_t capacity_bytes;  /**< total - driver_reserved: what an empty card has */
    uint64_t own_outstanding_bytes; /**< of outstanding, what is not held against who asked */
};

/** An answer with its arithmetic. Immutable; one allocation. */
struct vram_fit {
    uint32_t answer;       /**< enum vram_answer */
    uint32_t gpu_count;    /**< as asked */
    uint64_t size_bytes;   /**< as asked */
    uint64_t margin_bytes; /**< the largest that applied */
    uint64_t waiters;      /**< requests that wait for room; unknown without a daemon */
    bool promises_counted; /**< false: no daemon, so nobody's promises were subtracted */
    size_t count;
    const struct vram_fit_gpu *gpus; /**< every candidate, in the request's order */
};

/**
 * Answers "does it fit?" from a snapshot, without a driver, a clock or a lock. Of the GPUs on which it fits
 * the fullest are chosen, so that the emptiest stay whole.
 *
 * Returns 0 with an answer, whatever it is; -EINVAL: a size or GPU count of 0, or a candidate that
 * is not in the snapshot; -ENODEV: no candidate can be used; -ENOMEM. Since 0.1.
 */
VRAM_API VRAM_MUST_CHECK int vram_fit(const struct vram_snapshot *snapshot,
                                      const struct vram_fit_request *request,
                                      struct vram_fit **ret_fit);

/** Frees an answer. Returns NULL. Since 0.1. */
VRAM_API struct vram_fit *vram_fit_free(struct vram_fit *fit);

/** "fits", "not_now", "never", "unknown", "timed_out". Since 0.1. */
VRAM_API const char *vram_answer_name(uint32_t answer);
/** "ok", "asleep", "lost", "denied", "hung". Since 0.1. */
VRAM_API const char *vram_gpu_state_name(uint32_t state);
/** "dedicated", "unified", "mig". Since 0.1. */
VRAM_API const char *vram_memory_kind_name(uint32_t kind);

/* ---- The daemon ------------------------------------------------------------------------------ */

/*
 * vramd is the only place where room is promised. The library finds it by the handle's driver: the system's
 * (/run/vram/vram.sock), else the user's own, a simulated driver's beside it; VRAM_SOCKET names another, and
 * VRAM_SOCKET=none none. One connection for each call, made in the calling process; nothing is kept between
 * calls. Where no daemon runs, calls that need one fail with -ENOTCONN and start none.
 *
 * What all of them may return besides what they say: -ENOTCONN: no daemon runs; -ECONNREFUSED: there is a
 * socket, and nobody listens on it; -EACCES, -EPERM: this user may not; -ETIMEDOUT: the daemon does not
 * answer; -EPROTO: what answers is no vramd, or a newer one; -EXDEV: it serves another driver than the handle
 * names; -EAGAIN: it makes no promises at present (paused, a damaged journal), vram_error() says why;
 * -EINVAL; -ENOMEM.
 */

/** Only where promises may be alive: this boot's journal is there. */
#define VRAM_START_IF_PROMISED 0x1u

/**
 * Sees to it that a daemon runs: the only call that starts one. Where the system's socket is there, and refuses or
 * denies, that is an error; only where there is none a daemon of the user's own is started: detached, without the
 * caller's descriptors, its environment reduced to PATH, HOME, XDG_RUNTIME_DIR, LD_LIBRARY_PATH and VRAM_…; it ends
 * by itself a minute after it was last needed. Of several callers at once one starts it, the others wait for it.
 * A request of this handle that waits when its daemon vanishes starts it again from then on.
 *
 * Not from a private PID namespace, whose processes the daemon could not tell from those that the driver names,
 * unless the driver is simulated or VRAM_SOCKET says where the daemon is, and none from outside has been there.
 *
 * @flags  VRAM_START_… or 0.
 * Returns 1: one runs; 0: none runs, and with VRAM_START_IF_PROMISED none is needed; -ENOENT: vramd is not
 * installed ($VRAM_DAEMON, beside the library, PATH); -ENOTSUP: a private PID namespace; -ECHILD: it ended before
 * it was ready; -ENAMETOOLONG; else as above. Since 0.1.
 */
VRAM_API VRAM_MUST_CHECK int vram_daemon_start(struct vram *vram, uint32_t flags);

/** Has the daemon let go of the driver, for an upgrade of the driver: promises are kept, none is made. Returns 0
 *  once it has; else as above. Since 0.1. */
VRAM_API VRAM_MUST_CHECK int vram_daemon_pause(struct vram *vram);
/** Has it take the driver up again. Returns 0; else as above. Since 0.1. */
VRAM_API VRAM_MUST_CHECK int vram_daemon_resume(struct vram *vram);

/** Has it grant no new lease on a GPU; those that are there stay. Until vram_daemon_undrain(), or the machine's restart.
 *  Returns 0; -ENOENT: there is no such GPU; -EPERM: only administrators may; else as above. Since 0.1. */
VRAM_API VRAM_MUST_CHECK int vram_daemon_drain(struct vram *vram, const char *uuid);
/** Has it grant leases there again. As vram_daemon_drain(). Since 0.1. */
VRAM_API VRAM_MUST_CHECK int vram_daemon_undrain(struct vram *vram, const char *uuid);

/**
 * Asks the daemon's API for what this library has no function for: GET /v1/history and the like.
 *
 * @target  "/v1/…", with its query; docs/api.md lists what there is.
 * Returns 0 with the answer, one JSON object as a NUL-terminated text for free(3); -ENODATA: it keeps no
 * history; else as above. Since 0.1.
 */
VRAM_API VRAM_MUST_CHECK int vram_daemon_get(struct vram *vram, const char *target,
                                             char **ret_text);

/**
 * Forgets what the daemon has learned of the needs of the caller's leases with this label (GET /v1/needs).
 * Returns how many leases it had learned from; -ENODATA: it keeps no history; else as above. Since 0.1.
 */
VRAM_API VRAM_MUST_CHECK int vram_daemon_forget(struct vram *vram, const char *label);

/**
 * The daemon's next snapshot: the first whose epoch is another than `after_epoch`, or the present one once
 * `timeout_ms` have passed. The epoch changes whenever figures or promises do.
 *
 * @take         VRAM_TAKE_…
 * @after_epoch  vram_snapshot_epoch() of the last one; 0: answer at once.
 * @timeout_ms   VRAM_UNKNOWN: wait for ever.
 * Returns 0, or as above; the driver's failures as vram_snapshot_take(). Since 0.1.
 */
VRAM_API VRAM_MUST_CHECK int vram_snapshot_wait(struct vram *vram, uint32_t take,
                                                uint64_t after_epoch, uint64_t timeout_ms,
                                                struct vram_snapshot **ret_snapshot);

/** A daemon, as it was when it answered. */
struct vram_daemon {
    uint64_t pid; /**< in its own PID namespace */
    const char *version;
    const char *driver; /**< "nvml", "sim:NAME@INSTANCE" */
    bool promising;     /**< false: no room is promised; `reason` says why */
    bool paused;        /**< it has let go of the driver */
    const char
        *reason; /**< "paused", "journal_damaged", "journal_newer", "other_daemon"; or NULL */
    const char *message; /**< the same in a sentence, with the remedy; or NULL */
    const char *since;   /**< since when it runs, "2026-01-31T12:00:00.123456Z" */
    uint64_t
        margin_bytes; /**< that applies where a request names none; unknown: a part of each total */
};

/* ---- Leases ---------------------------------------------------------------------------------- */

/** `owner_pid` of a request: the calling process's parent. */
#define VRAM_OWNER_PARENT ((int64_t)-1)

/** Told of a request that waits, in the thread that asked, whenever it changes: its position (from 1 on), and what
 *  it waits for, in a sentence that is valid during the call. It may call the library. */
typedef void (*vram_progress_function)(void *data, uint64_t position, const char *waits_for);

struct vram_lease_request {
    size_t size;           /**< sizeof(struct vram_lease_request) */
    const char *id;        /**< 16 hexadecimal digits, for vram_lease_end() while it waits; the
                                       same id again is the same request; NULL: the library chooses */
    uint64_t size_bytes;   /**< memory still to be allocated, on each GPU; more than 0 */
    uint64_t margin_bytes; /**< what must stay free after it; VRAM_UNKNOWN: as the daemon has it */
    uint32_t
        margin_millipercent; /**< not 0: instead of margin_bytes, thousandths of a percent of total */
    uint32_t gpu_count;      /**< on how many GPUs, all or none; 1 or more */
    const char *const *candidates; /**< UUIDs; NULL: all GPUs that this process can open */
    size_t candidate_count;
    const char *label; /**< at most 64 bytes; NULL: none */
    int64_t owner_pid; /**< the lease lasts as long as it; 0: this process; VRAM_OWNER_PARENT */
    const char *const *members; /**< who may fill it besides the owner and its descendants:
                                     "pid:N", "cgroup:/PATH", "container:ID", "unit:NAME" */
    size_t member_count;
    uint64_t timeout_ms;             /**< how long to wait; 0: not at all; VRAM_UNKNOWN: for ever */
    uint64_t for_ms;                 /**< ends so long after the grant; 0: with its holders */
    vram_progress_function progress; /**< NULL: nobody wants to know */
    void *data;
};

#define VRAM_LEASE_REQUEST_INIT                                                                    \
    {                                                                                              \
        sizeof(struct vram_lease_request), NULL, 0, VRAM_UNKNOWN, 0, 1, NULL, 0, NULL, 0, NULL, 0, \
            0, 0, NULL, NULL                                                                       \
    }

enum vram_lease_state {
    VRAM_LEASE_OK = 0,
    VRAM_LEASE_FILLED = 1,    /**< its owner has allocated all it will: nothing is outstanding */
    VRAM_LEASE_INHERITED = 2, /**< its owner has ended; members hold memory still */
    VRAM_LEASE_OVER = 3,      /**< its members use more than was promised */
    VRAM_LEASE_SQUEEZED = 4,  /**< others have grown into what was promised */
};

/** A promise of memory. */
struct vram_lease {
    const char *id;      /**< 16 hexadecimal digits */
    uint64_t owner_pid;  /**< in the daemon's PID namespace; unknown: it has ended */
    const char *user;    /**< the owner's name, or number where it has none */
    const char *label;   /**< NULL: none */
    uint64_t size_bytes; /**< on each GPU */
    uint64_t held_bytes; /**< what its members use on its GPUs together; unknown where that is */
    uint64_t outstanding_bytes;  /**< promised and not yet allocated, on its GPUs together */
    const char *since;           /**< when it was granted, "2026-01-31T12:00:00.123456Z" */
    const char *until;           /**< when it ends by itself; NULL: with its holders */
    uint32_t state;              /**< enum vram_lease_state */
    uint64_t since_ns, until_ns; /**< the same in nanoseconds since 1970; until unknown: none */
    size_t gpu_count;
    const char *const *gpus; /**< UUIDs, in the order for CUDA_VISIBLE_DEVICES */
    size_t member_count;
    const uint64_t *members; /**< processes that count for it and hold memory on its GPUs */
    size_t attached_count;
    const char *const *attached; /**< what was attached: "unit:x.service" … */
    const char *
        ends; /**< why it ends at `until`: "time", as it was asked for; "idle": it holds nothing, and that it
                         * does not for longer than the configuration lets it; NULL: it does not by itself */
};

/** A request that waits for its turn. */
struct vram_waiter {
    uint64_t position; /**< from 1 on */
    const char *id;
    uint64_t pid;
    const char *user;
    const char *label; /**< NULL: none */
    uint64_t gpu_count;
    uint64_t size_bytes; /**< on each GPU */
    const char *since;
    const char *waits_for; /**< in a sentence */
    uint64_t since_ns;
};

/** Room kept on a GPU for programs that never ask for leases, as the daemon's configuration has it. */
struct vram_ceiling {
    const char *name;
    const char *match;          /**< which programs: "unit:ollama.service" … */
    const char *gpu;            /**< UUID */
    uint64_t size_bytes;        /**< how much is theirs there */
    uint64_t held_bytes;        /**< what they use of it, or beyond it */
    uint64_t outstanding_bytes; /**< what is kept for them besides */
};

/** What became of a request. Immutable; one allocation. */
struct vram_verdict {
    uint32_t answer;                /**< enum vram_answer; VRAM_FITS: granted */
    const char *message;            /**< in a sentence */
    const struct vram_lease *lease; /**< as it is now; NULL: there is none */
    const struct vram_fit *fit;     /**< the arithmetic, without positions; NULL: not told */
    const char
        *made_room; /**< what came of asking idle holders to give back; NULL: none was asked */
};

/**
 * Asks for a lease and waits for it, if told so. A request that waits keeps its turn while a daemon restarts
 * within 3 s. Another thread can take it back with vram_lease_end(); a process that ends has taken its own back.
 *
 * @ret_verdict  for vram_verdict_free(); may be NULL.
 * Returns an enum vram_answer: VRAM_FITS: granted; VRAM_NOT_NOW, VRAM_NEVER, VRAM_CANNOT_TELL: not;
 * VRAM_TIMED_OUT: its turn did not come in time. -ECANCELED: taken back; -EINVAL: the request makes no
 * sense; -ESRCH: no such owner; -EBUSY: too many wait; else as vram_daemon_start(). Since 0.1.
 */
VRAM_API VRAM_MUST_CHECK int vram_lease_acquire(struct vram *vram,
                                                const struct vram_lease_request *request,
                                                struct vram_verdict **ret_verdict);

/*
 * For all that follow the beginning of an id is enough where only one begins so, 4 digits at least. -ENOENT: there
 * is no such lease; -ENOTUNIQ: several begin so; -EPERM: it is another user's; else as vram_daemon_start().
 */

/** Ends a lease, or takes a request back, whichever it has become. Memory in use stays counted as used. Returns 0: a
 *  lease has ended, or what it was is lost with a daemon that was killed, and it is no more; 1: a request was taken
 *  back. Since 0.1. */
VRAM_API VRAM_MUST_CHECK int vram_lease_end(struct vram *vram, const char *id);

/** Changes its size. Less is always granted, more at once or not at all. Returns as vram_lease_acquire(). Since 0.1. */
VRAM_API VRAM_MUST_CHECK int vram_lease_resize(struct vram *vram, const char *id,
                                               uint64_t size_bytes,
                                               struct vram_verdict **ret_verdict);

/** Lets what `member` names ("container:ID" …), there already or not yet, fill it too. Returns 0. Since 0.1. */
VRAM_API VRAM_MUST_CHECK int vram_lease_attach(struct vram *vram, const char *id,
                                               const char *member);

/** States that all is allocated that ever will be: nothing is outstanding from now on. For drivers that do not tell
 *  what a process holds. Returns 0. Since 0.1. */
VRAM_API VRAM_MUST_CHECK int vram_lease_filled(struct vram *vram, const char *id);

/** Has it end `for_ms` from now. Returns 0. Since 0.1. */
VRAM_API VRAM_MUST_CHECK int vram_lease_until(struct vram *vram, const char *id, uint64_t for_ms);

/** What is wanted of a lease that is offered. Valid during the call. */
struct vram_wanted {
    size_t size; /**< how much of it the library has filled in */
    uint64_t
        bytes; /**< how much is wanted, on `gpus` together; all that it has, where others are asked too */
    size_t gpu_count;
    const char *const *gpus; /**< UUIDs of those that the lease has memory on */
    const char *for_whom;    /**< who waits for it: "label (user)" */
};

/**
 * Asked to give memory back, in the thread that called vram_lease_offer(). Frees what it can, and then says so to the
 * daemon: vram_lease_resize() to less, or vram_lease_end(). It may call the library, with the same handle too. What came
 * back is what the driver and the lease's size say, whatever it returns.
 *
 * Returns 0: it has done what it could; -EBUSY: the memory is in use, and it is not asked again for 5 s; another negative
 * number: it could not.
 */
typedef int (*vram_give_back_function)(void *data, const struct vram_wanted *wanted);

struct vram_offer {
    size_t size; /**< sizeof(struct vram_offer) */
    vram_give_back_function give_back;
    void *data;
    uint32_t cost; /**< who costs least is asked first; 1 to 1000; 0: 10, as any holder */
};

#define VRAM_OFFER_INIT                                                                            \
    {                                                                                              \
        sizeof(struct vram_offer), NULL, NULL, 0                                                   \
    }

/**
 * Offers a lease: `give_back` is called whenever somebody waits for room that it could make, until the lease has ended. It
 * is meant for a thread of the caller's own, and ends with vram_lease_end() from another. It goes on while a daemon
 * restarts within 3 s. Only who has the lease, its user and an administrator may. It has 10 s for each answer, and is left
 * alone for a minute, and each time longer, where nothing came back. A lease is offered by one call at a time.
 *
 * Returns 0: the lease has ended; -EEXIST: it was offered anew elsewhere; -EBUSY: it still waits; -EINVAL: the offer makes
 * no sense; else as above. Since 0.1.
 */
VRAM_API VRAM_MUST_CHECK int vram_lease_offer(struct vram *vram, const char *id,
                                              const struct vram_offer *offer);

/** Frees a verdict; the lease goes on. Returns NULL. Since 0.1. */
VRAM_API struct vram_verdict *vram_verdict_free(struct vram_verdict *verdict);

/** The verdict as one JSON object without a newline (as `vram reserve --json`). As vram_snapshot_json(). Since 0.1. */
VRAM_API VRAM_MUST_CHECK int vram_verdict_json(const struct vram_verdict *verdict, char **ret_text);

/** "ok", "filled", "inherited", "over", "squeezed". Since 0.1. */
VRAM_API const char *vram_lease_state_name(uint32_t state);

/** Who holds leases and who waits, at one moment. Immutable; one allocation. */
struct vram_lease_list;

/**
 * The leases and the waiting requests, once the epoch is another than `after_epoch` or `timeout_ms` have passed; both
 * as in vram_snapshot_wait(). Returns 0, or as vram_daemon_start(). Since 0.1.
 */
VRAM_API VRAM_MUST_CHECK int vram_leases(struct vram *vram, uint64_t after_epoch,
                                         uint64_t timeout_ms, struct vram_lease_list **ret_list);

/** Frees a list. Returns NULL. Since 0.1. */
VRAM_API struct vram_lease_list *vram_lease_list_free(struct vram_lease_list *list);
VRAM_API uint64_t vram_lease_list_epoch(const struct vram_lease_list *list);
/** Who answered. Never NULL. Since 0.1. */
VRAM_API const struct vram_daemon *vram_lease_list_daemon(const struct vram_lease_list *list);
VRAM_API size_t vram_lease_list_count(const struct vram_lease_list *list);
/** The lease at `position`, NULL beyond the last; oldest first. Since 0.1. */
VRAM_API const struct vram_lease *vram_lease_list_lease(const struct vram_lease_list *list,
                                                        size_t position);
/** The lease whose id is `id`, or begins so where only one does; NULL: none. Since 0.1. */
VRAM_API const struct vram_lease *vram_lease_list_find(const struct vram_lease_list *list,
                                                       const char *id);
VRAM_API size_t vram_lease_list_waiter_count(const struct vram_lease_list *list);
/** The waiter at `position`, NULL beyond the last; in their order. Since 0.1. */
VRAM_API const struct vram_waiter *vram_lease_list_waiter(const struct vram_lease_list *list,
                                                          size_t position);

VRAM_API size_t vram_lease_list_ceiling_count(const struct vram_lease_list *list);
/** The ceiling at `position`, NULL beyond the last; in the order of the configuration. Since 0.1. */
VRAM_API const struct vram_ceiling *vram_lease_list_ceiling(const struct vram_lease_list *list,
                                                            size_t position);

/** The list as one JSON object without a newline (as `vram leases --json`). As vram_snapshot_json(). Since 0.1. */
VRAM_API VRAM_MUST_CHECK int vram_lease_list_json(const struct vram_lease_list *list,
                                                  char **ret_text);

/* ---- Fields and text ------------------------------------------------------------------------- */

/** The kinds of object that have fields. */
enum vram_object {
    VRAM_OBJECT_GPU = 0,     /**< struct vram_gpu */
    VRAM_OBJECT_PROCESS = 1, /**< struct vram_process */
    VRAM_OBJECT_FIT = 2,     /**< struct vram_fit */
    VRAM_OBJECT_FIT_GPU = 3, /**< struct vram_fit_gpu */
    VRAM_OBJECT_LEASE = 4,   /**< struct vram_lease, without its lists */
    VRAM_OBJECT_WAITER = 5,  /**< struct vram_waiter */
    VRAM_OBJECT_DAEMON = 6,  /**< struct vram_daemon */
    VRAM_OBJECT_CEILING = 7, /**< struct vram_ceiling */
};

enum vram_value_type {
    VRAM_VALUE_NONE = 0, /**< unknown: null in JSON, empty in CSV, "–" in tables */
    VRAM_VALUE_NUMBER = 1,
    VRAM_VALUE_SIGNED = 2,
    VRAM_VALUE_TEXT = 3,
    VRAM_VALUE_BOOL = 4,
};

enum vram_unit {
    VRAM_UNIT_NONE = 0,
    VRAM_UNIT_BYTES = 1,
    VRAM_UNIT_CELSIUS = 2,
    VRAM_UNIT_PERCENT = 3,
    VRAM_UNIT_MS = 4,
    VRAM_UNIT_TICKS = 5,
};

/** A value as a field has it. `text` belongs to the object, but for `kind`, which is static. */
struct vram_value {
    uint32_t type; /**< enum vram_value_type */
    uint64_t number;
    int64_t signed_number;
    bool truth;
    const char *text;
};

/** One field of an object: the one place where its key, title and meaning stand. */
struct vram_field {
    const char *key;   /**< in JSON and CSV */
    const char *title; /**< in tables */
    const char *help;  /**< one sentence */
    uint32_t unit;     /**< enum vram_unit */
};

/** The fields of a kind of object, in the order of JSON. Never fails. Since 0.1. */
VRAM_API const struct vram_field *vram_fields(uint32_t object, size_t *ret_count);

/** The value of field number `field` of `data`, a structure of the kind `object` names. Since 0.1. */
VRAM_API struct vram_value vram_field_value(uint32_t object, size_t field, const void *data);

/**
 * The snapshot, or some of its GPUs, as one JSON object without a newline (schema 1, as `vram status --json`).
 *
 * @positions  which GPUs; NULL: all.
 * Returns 0 with a NUL-terminated text for free(3); -ENOMEM. Since 0.1.
 */
VRAM_API VRAM_MUST_CHECK int vram_snapshot_json(const struct vram_snapshot *snapshot,
                                                const size_t *positions, size_t count,
                                                char **ret_text);

/** Answers as one JSON object without a newline (as `vram fit --json`). As vram_snapshot_json(). Since 0.1. */
VRAM_API VRAM_MUST_CHECK int vram_fit_json(const struct vram_fit *const *fits, size_t count,
                                           char **ret_text);

/**
 * Reads a size as people write it: "12G", "1.5 GiB" without the blank, "20000" (a bare number is MiB). All units
 * are binary; fractions of a byte are rounded up.
 * Returns 0; -EINVAL: not a size; -ERANGE: 2^64 - 1 bytes or more. Since 0.1.
 */
VRAM_API VRAM_MUST_CHECK int vram_size_parse(const char *text, uint64_t *ret_bytes);

/* ---- Metrics --------------------------------------------------------------------------------- */

/** How metrics are written; docs/metrics.md lists them. */
enum vram_metrics_format {
    VRAM_METRICS_PROMETHEUS = 0,  /**< Prometheus' text format 0.0.4 */
    VRAM_METRICS_OPENMETRICS = 1, /**< OpenMetrics 1.0 */
};

struct vram_metrics_options {
    size_t size;     /**< sizeof(struct vram_metrics_options) */
    uint32_t format; /**< enum vram_metrics_format */
    bool stale; /**< the figures are too old to be believed: every GPU is down, and none are told */
    bool part;  /**< more families will follow: without the mark at OpenMetrics' end */
    const struct vram_snapshot
        *processes;               /**< whose process lists count; NULL: the snapshot's own */
    const uint64_t *margin_bytes; /**< per position; NULL: the default everywhere */
};

#define VRAM_METRICS_OPTIONS_INIT                                                                  \
    {                                                                                              \
        sizeof(struct vram_metrics_options), VRAM_METRICS_PROMETHEUS, false, false, NULL, NULL     \
    }

/**
 * The snapshot as metrics: its GPUs and the largest of their processes. What is unknown has no sample.
 *
 * @snapshot  NULL: nothing is known of any GPU.
 * Returns 0 with a NUL-terminated text for free(3); -EINVAL: the options are none; -ENOMEM. Since 0.1.
 */
VRAM_API VRAM_MUST_CHECK int vram_snapshot_metrics(const struct vram_snapshot *snapshot,
                                                   const struct vram_metrics_options *options,
                                                   char **ret_text);

/**
 * The machine's metrics of now: what the daemon tells, with leases, where one runs for the handle's driver, else those of a
 * snapshot. Returns 0 with a text as vram_snapshot_metrics(); -EINVAL; else as vram_snapshot_take(). Since 0.1.
 */
VRAM_API VRAM_MUST_CHECK int vram_metrics(struct vram *vram, uint32_t format, char **ret_text);

/* ---- The convenience tracker ----------------------------------------------------------------- */

/**
 * One per GPU and process, for programs that want four answers and no objects. Made at first use,
 * safe for threads at first use and after fork; shares one handle, with the default options.
 */
struct vram_tracker;

/** The tracker of the GPU with this index, whether or not there is one. Never NULL. At most 64
 *  GPUs have one; beyond that, the last. Lives as long as the process. Since 0.1. */
VRAM_API struct vram_tracker *vram_tracker_get(uint32_t gpu_index);

/**
 * Everything about this GPU now: a snapshot and the GPU's position in it.
 * Returns as vram_snapshot_take(); -ENODEV also where there is no GPU of this index. Since 0.1.
 */
VRAM_API VRAM_MUST_CHECK int vram_tracker_status(struct vram_tracker *tracker,
                                                 struct vram_snapshot **ret_snapshot,
                                                 size_t *ret_position);

/**
 * Whether `required_bytes` fit and leave `margin_bytes` free.
 * Returns 1: it fits; 0: it does not; -ENODATA: the driver cannot tell; else as above. Since 0.1.
 */
VRAM_API VRAM_MUST_CHECK int vram_tracker_can_fit(struct vram_tracker *tracker,
                                                  uint64_t required_bytes, uint64_t margin_bytes);

/**
 * The first process (largest first) whose name contains `pattern`, in any case.
 * Returns 1 with the process, which belongs to the snapshot; 0: none, and nothing is handed out;
 * else as above. Since 0.1.
 */
VRAM_API VRAM_MUST_CHECK int vram_tracker_find_process(struct vram_tracker *tracker,
                                                       const char *pattern,
                                                       struct vram_snapshot **ret_snapshot,
                                                       const struct vram_process **ret_process);

/** As vram_error(), vram_error_hint(), for the tracker's last failure in this thread. Since 0.1. */
VRAM_API const char *vram_tracker_error(const struct vram_tracker *tracker);
VRAM_API const char *vram_tracker_error_hint(const struct vram_tracker *tracker);

/** Ends the tracker's use of the driver; the last one's closes it. The next use starts anew. Since 0.1. */
VRAM_API void vram_tracker_shutdown(struct vram_tracker *tracker);

/* ---- The doctor ------------------------------------------------------------------------------ */

enum vram_severity {
    VRAM_FINDING_FACT = 0,    /**< how things stand: a version, a file, a call in use */
    VRAM_FINDING_GOOD = 1,    /**< looked at, and in order */
    VRAM_FINDING_NOTE = 2,    /**< explains a figure; nothing to mend */
    VRAM_FINDING_PROBLEM = 3, /**< something to mend */
};

struct vram_finding {
    const char *id;       /**< "D02", stable; facts have none: NULL */
    uint32_t severity;    /**< enum vram_severity */
    const char *title;    /**< what it is about, or a fact's name */
    const char *cause;    /**< what is wrong, or a fact's value */
    const char *evidence; /**< what it was told by; NULL: nothing to show */
    const char
        *remedy; /**< the command or step that mends it, lines separated by '\n'; NULL: none */
};

/** What the doctor found. */
struct vram_report;

/**
 * Examines the machine from the bus to the driver's answers. A driver that does not work is a
 * finding, not an error. Returns 0; -ENOMEM. Since 0.1.
 */
VRAM_API VRAM_MUST_CHECK int vram_diagnose(struct vram *vram, struct vram_report **ret_report);
/** How many findings; facts first, then the most telling problem first. Since 0.1. */
VRAM_API size_t vram_report_count(const struct vram_report *report);
/** The finding at `position`, NULL beyond the last. Since 0.1. */
VRAM_API const struct vram_finding *vram_report_finding(const struct vram_report *report,
                                                        size_t position);
/** Frees the report. Returns NULL. Since 0.1. */
VRAM_API struct vram_report *vram_report_free(struct vram_report *report);

#ifdef __cplusplus
}
#endif

#endif
