/* SPDX-License-Identifier: MIT */
/*
 * Laptop GPUs sleep. Opening one, even asking NVML how many there are, wakes it for seconds and watts. The
 * kernel tells which ones sleep, and the NVIDIA module who they are, without waking any.
 */
#include "lib/source/nvml.h"

#include "common/clock.h"
#include "common/path.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MODULE_GPUS "/proc/driver/nvidia/gpus"

static bool power_is(const char *root, const char *pci, const char *file, const char *word)
{
    char path[128], text[32];
    (void)snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/power/%s", pci, file);
    return path_read_line(root, path, text, sizeof(text)) > 0 && strcmp(text, word) == 0;
}

bool nvml_is_suspended(const char *root, const char *pci)
{
    return power_is(root, pci, "runtime_status", "suspended");
}

/* The value of a line "Key: <blanks> value"; "" where there is none or it is not known yet ("?"). */
static void copy_value(const char *text, const char *key, char *value, size_t size)
{
    value[0] = '\0';
    const char *at = strstr(text, key);
    if (!at) {
        return;
    }
    at += strlen(key);
    at += strspn(at, ": \t");
    size_t length = strcspn(at, "\r\n");
    if (length < size && !memchr(at, '?', length)) {
        memcpy(value, at, length);
        value[length] = '\0';
    }
}

static void describe(const char *root, struct nvml_kernel_gpu *gpu)
{
    char path[128], text[1024];
    (void)snprintf(path, sizeof(path), MODULE_GPUS "/%s/information", gpu->pci);
    if (path_read(root, path, text, sizeof(text)) > 0) {
        copy_value(text, "Model", gpu->name, sizeof(gpu->name));
        copy_value(text, "GPU UUID", gpu->uuid, sizeof(gpu->uuid));
    }
    gpu->runtime_managed = power_is(root, gpu->pci, "control", "auto");
    gpu->suspended = gpu->runtime_managed && nvml_is_suspended(root, gpu->pci);
}

static int by_pci(const void *a, const void *b)
{
    const struct nvml_kernel_gpu *left = a, *right = b;
    return strcmp(left->pci, right->pci);
}

int nvml_kernel_gpus(const char *root, struct nvml_kernel_gpu **ret_gpus)
{
    DIR *dir = path_open_dir(root, MODULE_GPUS);
    if (!dir) {
        *ret_gpus = NULL;
        return 0;
    }
    struct nvml_kernel_gpu *gpus = NULL;
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir)) && count < 256;) {
        size_t length = strlen(entry->d_name);
        if (entry->d_name[0] == '.' || length >= sizeof(gpus->pci)) {
            continue;
        }
        struct nvml_kernel_gpu *grown = realloc(gpus, (size_t)(count + 1) * sizeof(*gpus));
        if (!grown) {
            free(gpus);
            (void)closedir(dir);
            return -ENOMEM;
        }
        gpus = grown;
        gpus[count] = (struct nvml_kernel_gpu){0};
        memcpy(gpus[count].pci, entry->d_name, length + 1);
        describe(root, &gpus[count]);
        count++;
    }
    (void)closedir(dir);
    if (count) {
        qsort(gpus, (size_t)count, sizeof(*gpus), by_pci);
    }
    *ret_gpus = gpus;
    return count;
}

/* ---- Rest ------------------------------------------------------------------------------------ */

/* The kernel suspends a GPU 6 to 15 seconds after the last connection was closed. */
#define REST_NS 20000000000ull

static bool all_idle(const struct nvml *nvml)
{
    for (size_t i = 0; i < nvml->gpu_count; i++) {
        if (!nvml->gpus[i].runtime_managed || nvml->gpus[i].busy) {
            return false;
        }
    }
    return nvml->gpu_count > 0;
}

int nvml_consider_rest(struct nvml *nvml, uint64_t now_ns, struct source_watch *watch)
{
    if (!nvml->started || nvml->config.wake || !all_idle(nvml)) {
        nvml->idle_since_ns = 0;
        return 0;
    }
    if (!nvml->idle_since_ns) {
        nvml->idle_since_ns = now_ns;
    }
    if (now_ns - nvml->idle_since_ns < nvml->config.rest_after_ns) {
        return 0;
    }
    if (!watch_enter(watch, WATCH_NO_DEVICE, nvml->api.names.shutdown)) {
        return -ECANCELED;
    }
    (void)nvml->api.shutdown();
    if (!watch_leave(watch)) {
        return -ECANCELED;
    }
    nvml->started = false;
    for (size_t i = 0; i < nvml->gpu_count; i++) {
        nvml->gpus[i].handle = NULL;
    }
    nvml->rest_until_ns = now_ns + REST_NS;
    nvml->idle_since_ns = 0;
    return 0;
}

bool nvml_is_resting(struct nvml *nvml, uint64_t now_ns)
{
    if (nvml->rest_until_ns && now_ns >= nvml->rest_until_ns) {
        nvml->rest_until_ns = 0;
    }
    return nvml->rest_until_ns != 0;
}
