/* SPDX-License-Identifier: MIT */
/*
 * The inside of the NVML source, shared by the files lib/source/nvml*.c:
 *
 *   nvml.c          the source: start, one pass over the devices, what it says of itself
 *   nvml_library.c  finding and loading libnvidia-ml.so.1, the table of its functions
 *   nvml_device.c   one device: handle, identity, MIG instances
 *   nvml_pool.c     one pool: memory, processes, health, and settling them (nvml_visit.h: what both share)
 *   nvml_lists.c    process lists: entry sizes, growth, merging
 *   nvml_sleep.c    which GPUs the kernel has suspended, told without waking them
 */
#ifndef VRAM_LIB_SOURCE_NVML_H
#define VRAM_LIB_SOURCE_NVML_H

#include "common/nvml_abi.h"
#include "lib/source/source.h"

/*
 * Every function that we call: field, parameters, whether a driver without it is unusable, and the
 * names that it has had, newest first. Where generations differ in a structure's layout they are fields
 * of their own; nvml_device.c and nvml_lists.c walk those ladders.
 */
#define NVML_FUNCTIONS(X)                                                                          \
    X(init, (void), true, "nvmlInit_v2", "nvmlInit")                                               \
    X(shutdown, (void), true, "nvmlShutdown", NULL)                                                \
    X(device_count, (uint32_t *), true, "nvmlDeviceGetCount_v2", "nvmlDeviceGetCount")             \
    X(by_index, (uint32_t, nvml_device *), true, "nvmlDeviceGetHandleByIndex_v2",                  \
      "nvmlDeviceGetHandleByIndex")                                                                \
    X(by_pci, (const char *, nvml_device *), false, "nvmlDeviceGetHandleByPciBusId_v2",            \
      "nvmlDeviceGetHandleByPciBusId")                                                             \
    X(memory_v1, (nvml_device, struct nvml_memory_v1 *), true, "nvmlDeviceGetMemoryInfo", NULL)    \
    X(memory_v2, (nvml_device, struct nvml_memory_v2 *), false, "nvmlDeviceGetMemoryInfo_v2",      \
      NULL)                                                                                        \
    X(name, (nvml_device, char *, uint32_t), false, "nvmlDeviceGetName", NULL)                     \
    X(uuid, (nvml_device, char *, uint32_t), false, "nvmlDeviceGetUUID", NULL)                     \
    X(pci, (nvml_device, struct nvml_pci *), false, "nvmlDeviceGetPciInfo_v3",                     \
      "nvmlDeviceGetPciInfo_v2", "nvmlDeviceGetPciInfo")                                           \
    X(compute_v3, NVML_LIST, false, "nvmlDeviceGetComputeRunningProcesses_v3", NULL)               \
    X(compute_v2, NVML_LIST, false, "nvmlDeviceGetComputeRunningProcesses_v2", NULL)               \
    X(compute_v1, NVML_LIST, false, "nvmlDeviceGetComputeRunningProcesses", NULL)                  \
    X(graphics_v3, NVML_LIST, false, "nvmlDeviceGetGraphicsRunningProcesses_v3", NULL)             \
    X(graphics_v2, NVML_LIST, false, "nvmlDeviceGetGraphicsRunningProcesses_v2", NULL)             \
    X(graphics_v1, NVML_LIST, false, "nvmlDeviceGetGraphicsRunningProcesses", NULL)                \
    X(mps_v3, NVML_LIST, false, "nvmlDeviceGetMPSComputeRunningProcesses_v3", NULL)                \
    X(mps_v2, NVML_LIST, false, "nvmlDeviceGetMPSComputeRunningProcesses_v2", NULL)                \
    X(mps_v1, NVML_LIST, false, "nvmlDeviceGetMPSComputeRunningProcesses", NULL)                   \
    X(process_name, (uint32_t, char *, uint32_t), false, "nvmlSystemGetProcessName", NULL)         \
    X(temperature_v, (nvml_device, struct nvml_temperature_v1 *), false,                           \
      "nvmlDeviceGetTemperatureV", NULL)                                                           \
    X(temperature, (nvml_device, uint32_t, uint32_t *), false, "nvmlDeviceGetTemperature", NULL)   \
    X(utilization, (nvml_device, struct nvml_utilization *), false,                                \
      "nvmlDeviceGetUtilizationRates", NULL)                                                       \
    X(mig_mode, (nvml_device, uint32_t *, uint32_t *), false, "nvmlDeviceGetMigMode", NULL)        \
    X(mig_count, (nvml_device, uint32_t *), false, "nvmlDeviceGetMaxMigDeviceCount", NULL)         \
    X(mig_by_index, (nvml_device, uint32_t, nvml_device *), false,                                 \
      "nvmlDeviceGetMigDeviceHandleByIndex", NULL)                                                 \
    X(gpu_instance, (nvml_device, uint32_t *), false, "nvmlDeviceGetGpuInstanceId", NULL)          \
    X(compute_instance, (nvml_device, uint32_t *), false, "nvmlDeviceGetComputeInstanceId", NULL)  \
    X(driver_version, (char *, uint32_t), false, "nvmlSystemGetDriverVersion", NULL)               \
    X(cuda_version, (int *), false, "nvmlSystemGetCudaDriverVersion_v2",                           \
      "nvmlSystemGetCudaDriverVersion")

#define NVML_LIST (nvml_device, uint32_t *, void *)

/* The loaded library. Functions that it lacks are NULL. */
struct nvml_api {
    void *library;
    char path[256];     /* the file that was loaded */
    bool entries_of_32; /* its _v3 lists have entries of 32 bytes: 535.43 to 535.86 */
#define NVML_FIELD(field, parameters, ...) nvml_ret(*field) parameters;
    NVML_FUNCTIONS(NVML_FIELD)
#undef NVML_FIELD
    struct { /* the name under which each was found, NULL: not at all */
#define NVML_NAME(field, ...) const char *field;
        NVML_FUNCTIONS(NVML_NAME)
#undef NVML_NAME
    } names;
};

/* How far down the ladder of a process list we are, for one device. */
enum nvml_list {
    NVML_LIST_COMPUTE,
    NVML_LIST_GRAPHICS,
    NVML_LIST_MPS,
    NVML_LIST_KINDS,
};

struct nvml_list_state {
    unsigned skipped;  /* rungs from the top that answered "no such function" */
    uint32_t capacity; /* entries that the buffer holds */
    unsigned char *buffer;
    unsigned entry_size;     /* of the last list that had entries, 0: none yet */
    bool entry_size_checked; /* it was seen in the bytes, not only inferred */
};

/* Processes of the last list that /proc showed: they are not looked for again for a while. */
struct nvml_shown {
    uint32_t *pids;
    size_t count;
    uint64_t since_ns;
};

/* One physical device. */
struct nvml_gpu {
    uint32_t index;
    nvml_device handle; /* NULL: not acquired, or lost */
    char uuid[96], name[96], pci[24];
    bool runtime_managed; /* the kernel may suspend it: ask before each use */
    bool busy;            /* had a process or worked when it was last asked */
    bool introduced;      /* its identity was handed on */
    bool no_memory_v2;    /* the driver said that it has no such query */
    uint32_t mig_room;    /* how many MIG instances it may have, as it said at mig_asked_ns */
    uint64_t mig_asked_ns;
    uint64_t retry_at_ns; /* lost: when to look for it again */
    uint64_t retry_after_ns;
    nvml_ret lost_code;
    struct nvml_list_state lists[NVML_LIST_KINDS];
    struct nvml_shown shown;
};

struct nvml {
    struct nvml_api api;
    struct source_config config;
    char root[256];
    bool started; /* nvmlInit succeeded and was not yet undone */
    bool pids_are_foreign;
    struct source_identity identity;
    size_t gpu_count;
    struct nvml_gpu *gpus;
    uint64_t idle_since_ns; /* 0: some GPU is in use */
    uint64_t rest_until_ns; /* 0: not resting; see nvml_sleep.c */
};

/* ---- nvml_library.c ---- */
int nvml_load(struct nvml_api *api, const struct source_config *config, struct err *err);
void nvml_unload(struct nvml_api *api);
/* A code as a driver may give it: never negative, for those are errno values in this library. */
nvml_ret nvml_code(nvml_ret code);
const char *nvml_return_text(nvml_ret code); /* "GPU is lost" */
const char *nvml_return_word(nvml_ret code); /* "gpu_is_lost" */

/* ---- nvml_device.c ---- */

/* Codes that say "this driver has no such thing", so that asking again is pointless. */
bool nvml_is_absent(nvml_ret code);
/* Codes that say "this device is gone". */
bool nvml_is_gone(nvml_ret code);

/*
 * Asks one device and hands its pools to the sink. -ECANCELED: given up; -EAGAIN: NVML is no longer
 * initialised (somebody shut it down), and everything must be opened anew; -ENOMEM. Everything else
 * is a state or a problem of the device.
 */
int nvml_gpu_sample(struct nvml *nvml, size_t device, uint32_t take, struct source_sink *sink,
                    struct source_watch *watch);

/* ---- nvml_lists.c ---- */
int nvml_lists_read(struct nvml *nvml, struct nvml_gpu *state, size_t device, nvml_device handle,
                    struct source_gpu *gpu, struct source_watch *watch);
/* The driver's own word for those of the processes that our /proc does not show. */
int nvml_lists_name(struct nvml *nvml, struct nvml_gpu *state, size_t device,
                    struct source_gpu *gpu, struct source_watch *watch);
void nvml_lists_done(struct nvml_gpu *state);
/* How many bytes each of `count` entries has, told from what a call left of a buffer filled with
 * NVML_FILL; 0 where that cannot be told. */
#define NVML_FILL 0xA5
unsigned nvml_entry_size(const unsigned char *buffer, size_t size, uint32_t count);
const char *nvml_list_name(const struct nvml_api *api, enum nvml_list list, unsigned skipped);

/* ---- nvml_sleep.c ---- */

/* A GPU as the kernel module lists it, without NVML. */
struct nvml_kernel_gpu {
    char pci[24];            /* "0000:01:00.0" */
    char uuid[96], name[96]; /* "" where unknown */
    bool runtime_managed, suspended;
};
/* Lists them in PCI order. Returns how many (0 where the module lists none), or -ENOMEM. */
int nvml_kernel_gpus(const char *root, struct nvml_kernel_gpu **ret_gpus);
bool nvml_is_suspended(const char *root, const char *pci);

/* An open connection keeps a GPU awake. After a pass that asked every device for its processes: closes it
 * once nobody has used any GPU for a while and all of them may sleep. 0 or -ECANCELED. */
int nvml_consider_rest(struct nvml *nvml, uint64_t now_ns, struct source_watch *watch);
/* Whether the connection is closed and is to stay so for now. */
bool nvml_is_resting(struct nvml *nvml, uint64_t now_ns);

#endif
