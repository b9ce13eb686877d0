/* SPDX-License-Identifier: MIT */
/* The NVML source: start, one pass over the devices, what it says of itself. */
#include "lib/source/nvml.h"

#include "common/clock.h"
#include "common/path.h"
#include "common/text.h"
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_GPUS 256u

/* ---- Start ----------------------------------------------------------------------------------- */

static int start_error(struct err *err, const struct nvml_api *api, nvml_ret code)
{
    static const struct {
        nvml_ret code;
        int result;
        const char *word, *message;
    } known[] = {
        {NVML_DRIVER_NOT_LOADED, -ENODEV, "driver_not_loaded",
         "the NVIDIA kernel driver is not loaded"},
        {NVML_NO_PERMISSION, -EACCES, "no_permission",
         "no permission to talk to the NVIDIA driver"},
        {NVML_LIB_RM_VERSION_MISMATCH, -EPROTO, "version_mismatch",
         "the driver's library and its kernel module have different versions"},
        {NVML_OPERATING_SYSTEM, -ENODEV, "driver_blocked",
         "the operating system keeps this program from the NVIDIA driver"},
        {NVML_LIBRARY_NOT_FOUND, -ENODEV, "library_not_found",
         "a library that the NVIDIA driver needs was not found"},
        {NVML_GPU_IS_LOST, -ENODEV, "driver_failed",
         "a GPU has fallen off the bus and this driver starts with none missing"},
    };
    int r = 0;
    for (size_t i = 0; !r && i < ARRAY_LENGTH(known); i++) {
        if (known[i].code == code) {
            r = err_set(err, known[i].result, known[i].word, "%s", known[i].message);
        }
    }
    if (!r) {
        r = err_set(err, -ENODEV, "driver_failed",
                    "the NVIDIA driver does not start: %s (%d from %s)", nvml_return_text(code),
                    code, api->names.init);
    }
    err->driver_code = code;
    return r;
}

/* Before 535.113 the driver speaks of the host's processes in a container too, where the same numbers
 * are other processes. */
static bool speaks_of_host(const char *root, const char *version)
{
    char own[64];
    unsigned major = 0, minor = 0;
    if (path_read_link(root, "/proc/self/ns/pid", own, sizeof(own)) < 0 ||
        strcmp(own, "pid:[4026531836]") == 0) {
        return false; /* the kernel's number for the first PID namespace */
    }
    return sscanf(version, "%u.%u", &major, &minor) == 2 &&
           (major < 535 || (major == 535 && minor < 113));
}

static int read_versions(struct nvml *nvml, struct source_watch *watch)
{
    struct nvml_api *api = &nvml->api;
    char text[NVML_VERSION_SIZE] = "";
    int cuda = 0;
    if (!watch_enter(watch, WATCH_NO_DEVICE, "nvmlSystemGetDriverVersion")) {
        return -ECANCELED;
    }
    bool version_known =
        api->driver_version && api->driver_version(text, sizeof(text)) == NVML_SUCCESS;
    bool cuda_known = api->cuda_version && api->cuda_version(&cuda) == NVML_SUCCESS;
    if (!watch_leave(watch)) {
        return -ECANCELED;
    }
    if (version_known) {
        (void)text_copy_n(nvml->identity.version, sizeof(nvml->identity.version), text,
                          sizeof(text));
    }
    if (cuda_known && cuda > 0) {
        (void)snprintf(nvml->identity.cuda, sizeof(nvml->identity.cuda), "%d.%d", cuda / 1000,
                       cuda % 1000 / 10);
    }
    nvml->pids_are_foreign = speaks_of_host(nvml->root, nvml->identity.version);
    return 0;
}

static int initialise(struct nvml *nvml, struct source_watch *watch, struct err *err)
{
    if (!watch_enter(watch, WATCH_NO_DEVICE, nvml->api.names.init)) {
        return -ECANCELED;
    }
    nvml_ret code = nvml->api.init();
    nvml->started = code == NVML_SUCCESS;
    if (!watch_leave(watch)) {
        return -ECANCELED;
    }
    return nvml->started ? read_versions(nvml, watch) : start_error(err, &nvml->api, code);
}

static int count_gpus(struct nvml *nvml, struct source_watch *watch, struct err *err)
{
    uint32_t count = 0;
    if (!watch_enter(watch, WATCH_NO_DEVICE, nvml->api.names.device_count)) {
        return -ECANCELED;
    }
    nvml_ret code = nvml->api.device_count(&count);
    if (!watch_leave(watch)) {
        return -ECANCELED;
    }
    if (code != NVML_SUCCESS) {
        return start_error(err, &nvml->api, code);
    }
    count = count < MOST_GPUS ? count : MOST_GPUS;
    nvml->gpus = calloc(count ? count : 1, sizeof(*nvml->gpus));
    if (!nvml->gpus) {
        return err_no_memory(err);
    }
    nvml->gpu_count = count;
    for (uint32_t i = 0; i < count; i++) {
        nvml->gpus[i].index = i;
    }
    return 0;
}

/* Takes the list of GPUs from the kernel module, so that those asleep need not be touched. */
static int adopt_kernel_gpus(struct nvml *nvml, const struct nvml_kernel_gpu *gpus, size_t count,
                             struct err *err)
{
    nvml->gpus = calloc(count, sizeof(*nvml->gpus));
    if (!nvml->gpus) {
        return err_no_memory(err);
    }
    nvml->gpu_count = count;
    for (size_t i = 0; i < count; i++) {
        struct nvml_gpu *gpu = &nvml->gpus[i];
        gpu->index = (uint32_t)i;
        gpu->runtime_managed = gpus[i].runtime_managed;
        memcpy(gpu->pci, gpus[i].pci, sizeof(gpu->pci));
        memcpy(gpu->uuid, gpus[i].uuid, sizeof(gpu->uuid));
        memcpy(gpu->name, gpus[i].name, sizeof(gpu->name));
    }
    return 0;
}

/* NVML is started only when some GPU is awake: nvmlInit alone can wake one. */
static int start(struct nvml *nvml, struct source_watch *watch, struct err *err)
{
    struct nvml_kernel_gpu *gpus = NULL;
    int count = nvml_kernel_gpus(nvml->root, &gpus);
    if (count < 0) {
        return err_no_memory(err);
    }
    size_t managed = 0, asleep = 0;
    for (int i = 0; i < count; i++) {
        managed += gpus[i].runtime_managed;
        asleep += gpus[i].suspended;
    }
    bool all_asleep = count && asleep == (size_t)count && !nvml->config.wake;
    int r = all_asleep ? 0 : initialise(nvml, watch, err);
    if (r == 0 && !nvml->gpus) {
        r = managed ? adopt_kernel_gpus(nvml, gpus, (size_t)count, err)
                    : count_gpus(nvml, watch, err);
    }
    free(gpus);
    return r;
}

static bool any_awake(const struct nvml *nvml)
{
    for (size_t i = 0; i < nvml->gpu_count; i++) {
        if (!nvml->gpus[i].runtime_managed || !nvml_is_suspended(nvml->root, nvml->gpus[i].pci)) {
            return true;
        }
    }
    return false;
}

/* Under the simulated driver: which machine it plays. The real library has no such function. */
static int choose_simulation(struct nvml *nvml, struct err *err)
{
    int (*select)(const char *);
    const char *(*complaint)(void);
    void *symbol = dlsym(nvml->api.library, "vram_sim_select");
    void *other = dlsym(nvml->api.library, "vram_sim_error");
    (void)text_copy(nvml->identity.kind, sizeof(nvml->identity.kind), symbol ? "sim" : "nvml");
    if (!nvml->config.simulation) {
        return 0;
    }
    if (!symbol || !other) {
        return err_set(err, -ENODEV, "library_broken", "%s is not the simulated driver",
                       nvml->api.path);
    }
    memcpy(&select, &symbol, sizeof(select));
    memcpy(&complaint, &other, sizeof(complaint));
    int r = select(nvml->config.simulation);
    if (r == -ENOMEM) {
        return err_no_memory(err);
    }
    return r < 0 ? err_set(err, -EINVAL, "bad_simulation", "%s", complaint()) : 0;
}

/* ---- The source ------------------------------------------------------------------------------ */

static void forget_gpus(struct nvml *nvml)
{
    for (size_t i = 0; i < nvml->gpu_count; i++) {
        nvml_lists_done(&nvml->gpus[i]);
    }
    free(nvml->gpus);
    nvml->gpus = NULL;
    nvml->gpu_count = 0;
}

static void release(struct nvml *nvml, bool shut_down)
{
    if (nvml->started && shut_down) {
        (void)nvml->api.shutdown();
    }
    forget_gpus(nvml);
    nvml_unload(&nvml->api);
    free(nvml);
}

static void nvml_close(void *source)
{
    release(source, true);
}

/* In a forked child the driver's connection is the parent's. Unloading the library without a word to the
 * driver lets the next load begin with a library that knows nothing of it. */
static void nvml_abandon(void *source)
{
    release(source, false);
}

static int nvml_open(void **ret_source, const struct source_config *config,
                     struct source_watch *watch, struct err *err)
{
    struct nvml *nvml = calloc(1, sizeof(*nvml));
    if (!nvml) {
        return err_no_memory(err);
    }
    nvml->config = *config;
    (void)text_copy(nvml->root, sizeof(nvml->root), config->root);
    int r = nvml_load(&nvml->api, config, err);
    if (r < 0) {
        free(nvml);
        return r;
    }
    (void)text_copy(nvml->identity.library, sizeof(nvml->identity.library), nvml->api.path);
    r = choose_simulation(nvml, err);
    if (r == 0) {
        r = start(nvml, watch, err);
    }
    if (r < 0) {
        nvml_close(nvml);
        return r;
    }
    *ret_source = nvml;
    return 0;
}

static int nvml_sample(void *source, uint32_t take, struct source_sink *sink,
                       struct source_watch *watch, struct err *err)
{
    struct nvml *nvml = source;
    bool resting = nvml_is_resting(nvml, clock_now_ns());
    if (!nvml->started && !resting && any_awake(nvml)) {
        int r = start(nvml, watch, err);
        if (r < 0) {
            return r;
        }
    }
    sink->identity(sink, &nvml->identity);
    if (sink->begin(sink, nvml->gpu_count) < 0) {
        return err_no_memory(err);
    }
    bool all_asked = take & VRAM_TAKE_PROCESSES;
    for (size_t i = 0; i < nvml->gpu_count; i++) {
        bool leave_be = resting && !nvml_is_suspended(nvml->root, nvml->gpus[i].pci);
        if (leave_be || sink->skip(sink, i)) {
            all_asked = false;
            continue; /* its last figures stand, with their age */
        }
        int r = nvml_gpu_sample(nvml, i, take, sink, watch);
        if (r == -EAGAIN) {
            return err_set(err, r, "driver_restarted",
                           "the NVIDIA driver was shut down underneath");
        }
        if (r < 0) {
            return r == -ENOMEM ? err_no_memory(err) : r;
        }
    }
    return all_asked ? nvml_consider_rest(nvml, clock_now_ns(), watch) : 0;
}

/* ---- What it says of itself ------------------------------------------------------------------ */

static void describe_memory(const struct nvml *nvml, source_fact_function fact, void *data)
{
    const struct nvml_gpu *gpu = nvml->gpu_count ? &nvml->gpus[0] : NULL;
    if (nvml->api.memory_v2 && gpu && !gpu->no_memory_v2) {
        fact(data, "memory query", "nvmlDeviceGetMemoryInfo_v2, structure version 0x02000028");
    } else {
        fact(data, "memory query",
             "nvmlDeviceGetMemoryInfo; used includes what the driver reserves");
    }
}

static void describe_lists(const struct nvml *nvml, source_fact_function fact, void *data)
{
    static const char *const names[] = {"compute processes", "graphics processes", "MPS processes"};
    for (int list = 0; list < NVML_LIST_KINDS; list++) {
        const struct nvml_list_state *state = nvml->gpu_count ? &nvml->gpus[0].lists[list] : NULL;
        const char *call =
            nvml_list_name(&nvml->api, (enum nvml_list)list, state ? state->skipped : 0);
        char text[160];
        if (!call) {
            (void)snprintf(text, sizeof(text), "not known to this driver");
        } else if (state && state->entry_size) {
            (void)snprintf(text, sizeof(text), "%s, entries of %u bytes (%s)", call,
                           state->entry_size,
                           state->entry_size_checked ? "seen" : "by the driver's generation");
        } else {
            (void)snprintf(text, sizeof(text), "%s", call);
        }
        fact(data, names[list], text);
    }
}

static void nvml_describe(void *source, source_fact_function fact, void *data)
{
    const struct nvml *nvml = source;
    fact(data, "library", nvml->api.path);
    describe_memory(nvml, fact, data);
    describe_lists(nvml, fact, data);
    fact(data, "temperature query",
         nvml->api.temperature_v ? "nvmlDeviceGetTemperatureV"
         : nvml->api.temperature ? "nvmlDeviceGetTemperature"
                                 : "none");
}

const struct source_ops nvml_source = {
    .kind = "nvml",
    .open = nvml_open,
    .sample = nvml_sample,
    .describe = nvml_describe,
    .close = nvml_close,
    .abandon = nvml_abandon,
};
