/* SPDX-License-Identifier: MIT */
/* One device: its handle, who it is, its MIG instances. */
#include "lib/source/nvml_visit.h"

#include "common/clock.h"
#include "common/text.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_RETRY_NS 1000000000ull
#define LAST_RETRY_NS 30000000000ull
#define MOST_MIG_DEVICES 64u
#define MIG_KEPT_NS ((uint64_t)1000000000)

bool nvml_is_absent(nvml_ret code)
{
    return code == NVML_NOT_SUPPORTED || code == NVML_FUNCTION_NOT_FOUND ||
           code == NVML_ARGUMENT_VERSION_MISMATCH || code == NVML_DEPRECATED;
}

bool nvml_is_gone(nvml_ret code)
{
    return code == NVML_GPU_IS_LOST || code == NVML_RESET_REQUIRED || code == NVML_GPU_NOT_FOUND;
}

static void lose(struct nvml_gpu *state, nvml_ret code)
{
    state->handle = NULL;
    state->lost_code = code;
    state->retry_after_ns = state->retry_after_ns ? state->retry_after_ns * 2 : FIRST_RETRY_NS;
    if (state->retry_after_ns > LAST_RETRY_NS) {
        state->retry_after_ns = LAST_RETRY_NS;
    }
    state->retry_at_ns = clock_now_ns() + state->retry_after_ns;
}

/* ---- Identity -------------------------------------------------------------------------------- */

static void fill_identity(const struct nvml_gpu *state, struct source_gpu *gpu)
{
    source_gpu_init(gpu);
    gpu->index = state->index;
    memcpy(gpu->uuid, state->uuid, sizeof(gpu->uuid));
    memcpy(gpu->name, state->name, sizeof(gpu->name));
    memcpy(gpu->pci, state->pci, sizeof(gpu->pci));
}

/* A device that answers nothing: who it was, and why. Takes the place of a card's pools. */
static int report_absence(struct visit *v, struct source_sink *sink, uint32_t gpu_state,
                          nvml_ret code)
{
    struct source_gpu *gpu = malloc(sizeof(*gpu));
    if (!gpu) {
        return -ENOMEM;
    }
    fill_identity(v->state, gpu);
    gpu->state = gpu_state;
    if (code != NVML_SUCCESS) {
        source_gpu_problem(gpu, "device", nvml_return_word(code), "%s (%d)", nvml_return_text(code),
                           code);
    }
    return sink->device(sink, v->device, gpu, 1);
}

static int identify(struct visit *v, nvml_device handle, char *uuid, char *name)
{
    nvml_ret code;
    char text[NVML_UUID_SIZE] = "";
    if (v->api->uuid) {
        CALL(code, v->watch, v->device, v->api->names.uuid,
             v->api->uuid(handle, text, sizeof(text)));
        if (code == NVML_SUCCESS) {
            (void)text_copy_n(uuid, sizeof(text), text, sizeof(text));
        }
    }
    text[0] = '\0';
    if (v->api->name) {
        CALL(code, v->watch, v->device, v->api->names.name,
             v->api->name(handle, text, sizeof(text)));
        if (code == NVML_SUCCESS) {
            (void)text_copy_n(name, sizeof(text), text, sizeof(text));
        }
    }
    return 0;
}

/* From the numbers: the text that NVML has for it is in another form, and empty from old drivers. */
static int locate(struct visit *v)
{
    struct nvml_pci pci = {0};
    nvml_ret code = NVML_FUNCTION_NOT_FOUND;
    if (v->api->pci) {
        CALL(code, v->watch, v->device, v->api->names.pci, v->api->pci(v->state->handle, &pci));
    }
    if (code == NVML_SUCCESS) {
        (void)snprintf(v->state->pci, sizeof(v->state->pci), "%04x:%02x:%02x.0", pci.domain,
                       pci.bus & 0xFF, pci.device & 0xFF);
    }
    return 0;
}

/* Finds the device. Returns NVML's code, or -ECANCELED. By its address where that is known: it touches
 * this device alone, and an index may have moved. */
static int acquire(struct visit *v)
{
    nvml_ret code;
    struct nvml_gpu *state = v->state;
    if (state->pci[0] && v->api->by_pci) {
        CALL(code, v->watch, v->device, v->api->names.by_pci,
             v->api->by_pci(state->pci, &state->handle));
    } else {
        CALL(code, v->watch, v->device, v->api->names.by_index,
             v->api->by_index(state->index, &state->handle));
    }
    if (code != NVML_SUCCESS) {
        state->handle = NULL;
        return code;
    }
    state->retry_after_ns = 0;
    state->mig_asked_ns = 0;
    int r = identify(v, state->handle, state->uuid, state->name);
    return r < 0 ? r : locate(v);
}

/* Says who the device is before it is asked for anything, so that one that hangs at the first question
 * has a name. */
static int introduce(struct visit *v, struct source_sink *sink)
{
    int r = v->state->introduced ? 0 : report_absence(v, sink, VRAM_GPU_OK, NVML_SUCCESS);
    v->state->introduced |= r == 0;
    return r;
}

/* ---- MIG instances --------------------------------------------------------------------------- */

/* The number under which an instance's card knows it; unknown where the driver does not say. */
static int read_instance_id(struct visit *v, nvml_device handle, bool compute, uint64_t *ret_id)
{
    nvml_ret (*call)(nvml_device, uint32_t *) =
        compute ? v->api->compute_instance : v->api->gpu_instance;
    uint32_t id = 0;
    nvml_ret code = NVML_FUNCTION_NOT_FOUND;
    if (call) {
        CALL(code, v->watch, v->device,
             compute ? v->api->names.compute_instance : v->api->names.gpu_instance,
             call(handle, &id));
    }
    if (code == NVML_SUCCESS) {
        *ret_id = id;
    }
    return 0;
}

static int read_instance(struct visit *v, uint32_t number, nvml_device handle,
                         struct source_gpu *gpu)
{
    fill_identity(v->state, gpu);
    gpu->memory_kind = VRAM_MEMORY_MIG;
    gpu->mig_index = number;
    memcpy(gpu->parent_uuid, v->state->uuid, sizeof(gpu->parent_uuid));
    gpu->uuid[0] = '\0';
    int r = identify(v, handle, gpu->uuid, gpu->name);
    if (r == 0) {
        r = read_instance_id(v, handle, false, &gpu->gpu_instance_id);
    }
    if (r == 0) {
        r = read_instance_id(v, handle, true, &gpu->compute_instance_id);
    }
    return r < 0 ? r : nvml_pool_read(v, handle, gpu);
}

/* The instances of a divided card. Their numbers have holes. */
static int read_instances(struct visit *v, struct source_gpu *gpus, size_t room, size_t *ret_count)
{
    size_t count = 0;
    for (uint32_t number = 0; number < room; number++) {
        nvml_device handle = NULL;
        nvml_ret code;
        CALL(code, v->watch, v->device, v->api->names.mig_by_index,
             v->api->mig_by_index(v->state->handle, number, &handle));
        if (code == NVML_UNINITIALIZED) {
            return -EAGAIN;
        }
        if (code != NVML_SUCCESS || !handle) {
            continue;
        }
        int r = read_instance(v, number, handle, &gpus[count]);
        count++;
        *ret_count = count;
        if (r == -ESTALE) { /* the instance was destroyed since: leave it out */
            source_gpu_done(&gpus[--count]);
            *ret_count = count;
        } else if (r < 0) {
            return r;
        }
    }
    return 0;
}

/*
 * How many MIG instances the card may have; 0 where it is not divided. A card is divided rarely, when nobody uses it, and
 * the question costs more than all others together (80 µs of an idle H100, 265 of a busy one): asked once a second.
 */
static int mig_room(struct visit *v, uint32_t *ret_room)
{
    uint64_t now_ns = clock_now_ns();
    if (v->state->mig_asked_ns && now_ns - v->state->mig_asked_ns < MIG_KEPT_NS) {
        *ret_room = v->state->mig_room;
        return 0;
    }
    uint32_t current = 0, pending = 0, room = 0;
    nvml_ret code = NVML_FUNCTION_NOT_FOUND;
    if (v->api->mig_mode && v->api->mig_count && v->api->mig_by_index) {
        CALL(code, v->watch, v->device, v->api->names.mig_mode,
             v->api->mig_mode(v->state->handle, &current, &pending));
    }
    if (code == NVML_SUCCESS && current) {
        CALL(code, v->watch, v->device, v->api->names.mig_count,
             v->api->mig_count(v->state->handle, &room));
        *ret_room = code != NVML_SUCCESS ? 0 : room < MOST_MIG_DEVICES ? room : MOST_MIG_DEVICES;
    }
    v->state->mig_room = *ret_room;
    v->state->mig_asked_ns = code == NVML_SUCCESS || nvml_is_absent(code) ? now_ns : 0;
    return 0;
}

static int read_card(struct visit *v, struct source_gpu *gpus, uint32_t room, size_t *ret_count)
{
    if (room) {
        int r = read_instances(v, gpus, room, ret_count);
        if (r < 0 || *ret_count) {
            return r;
        }
    }
    fill_identity(v->state, &gpus[0]);
    *ret_count = 1;
    if (room) {
        source_gpu_problem(&gpus[0], "device", "mig_without_instance",
                           "MIG is on and the card has no instance, so that no program can use it");
    }
    return nvml_pool_read(v, v->state->handle, &gpus[0]);
}

static void free_gpus(struct source_gpu *gpus, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        source_gpu_done(&gpus[i]);
    }
    free(gpus);
}

static int sample_card(struct visit *v, struct source_sink *sink)
{
    uint32_t room = 0;
    int r = mig_room(v, &room);
    if (r < 0) {
        return r;
    }
    struct source_gpu *gpus = calloc(room ? room : 1, sizeof(*gpus));
    if (!gpus) {
        return -ENOMEM;
    }
    size_t count = 0;
    r = read_card(v, gpus, room, &count);
    if (r < 0) {
        free_gpus(gpus, count);
        return r;
    }
    if (gpus[0].state == VRAM_GPU_LOST) {
        lose(v->state, NVML_GPU_IS_LOST);
    }
    uint64_t utilization = gpus[0].utilization_percent;
    v->state->busy = gpus[0].process_count || (utilization && utilization != VRAM_UNKNOWN);
    return sink->device(sink, v->device, gpus, count);
}

/* A failed look-up. An "unknown error" for one device, while the driver itself works, is a lost one. */
static int report_failure(struct visit *v, struct source_sink *sink, nvml_ret code)
{
    if (code == NVML_UNINITIALIZED) {
        return -EAGAIN;
    }
    if (code == NVML_NO_PERMISSION) {
        return report_absence(v, sink, VRAM_GPU_DENIED, code);
    }
    lose(v->state, code);
    return report_absence(v, sink, VRAM_GPU_LOST, code);
}

int nvml_gpu_sample(struct nvml *nvml, size_t device, uint32_t take, struct source_sink *sink,
                    struct source_watch *watch)
{
    struct visit v = {nvml, &nvml->api, &nvml->gpus[device], device, take, watch};
    if (v.state->runtime_managed && !nvml->config.wake &&
        nvml_is_suspended(nvml->root, v.state->pci)) {
        return report_absence(&v, sink, VRAM_GPU_ASLEEP, NVML_SUCCESS);
    }
    if (!v.state->handle && v.state->retry_after_ns && clock_now_ns() < v.state->retry_at_ns) {
        return report_absence(&v, sink, VRAM_GPU_LOST, v.state->lost_code);
    }
    /* A handle that is no longer accepted (the card was reset or divided anew) is looked up once more. */
    for (int try = 0;; try++) {
        if (!v.state->handle) {
            int code = acquire(&v);
            if (code < 0) {
                return code;
            }
            if (code != NVML_SUCCESS) {
                return report_failure(&v, sink, code);
            }
        }
        int r = introduce(&v, sink);
        r = r < 0 ? r : sample_card(&v, sink);
        if (r != -ESTALE) {
            return r;
        }
        v.state->handle = NULL;
        if (try) {
            return report_failure(&v, sink, NVML_INVALID_ARGUMENT);
        }
    }
}
