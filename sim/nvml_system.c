/* SPDX-License-Identifier: MIT */
/* Exported functions: start and end, versions, names of processes. */
#include "sim/answer.h"
#include "sim/generation.h"
#include "sim/session.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- Start, end -------------------------------------------------------------------------------- */

static nvml_ret start(void)
{
    if (session.starts++ == 0) {
        session.stamp++;
    }
    return NVML_SUCCESS;
}

/* The first nvmlInit attached all GPUs at once, so that one bad GPU failed it. */
static nvml_ret start_attached(const struct call *call)
{
    for (uint32_t i = 0; i < session.sim.now->gpu_count; i++) {
        nvml_ret code = session.sim.now->gpus[i].denied ? NVML_SUCCESS : call_touch(call, i);
        if (code != NVML_SUCCESS) {
            return code;
        }
    }
    return start();
}

static nvml_ret shut_down(void)
{
    session.starts--;
    return NVML_SUCCESS;
}

EXPORT(nvmlInit, void)
{
    BODY(call_begin_start(&call, FUNCTION_nvmlInit), start_attached(&call));
}

EXPORT(nvmlInit_v2, void)
{
    BODY(call_begin_start(&call, FUNCTION_nvmlInit_v2), start());
}

EXPORT(nvmlInitWithFlags, uint32_t flags)
{
    (void)flags; /* both say what need not succeed, and starting attaches nothing here */
    BODY(call_begin_start(&call, FUNCTION_nvmlInitWithFlags), start());
}

EXPORT(nvmlShutdown, void)
{
    SYSTEM_CALL(nvmlShutdown, shut_down());
}

const char *nvmlErrorString(nvml_ret code);
__attribute__((__visibility__("default"))) const char *nvmlErrorString(nvml_ret code)
{
    switch (code) {
#define NVML_TEXT(value, name, text)                                                               \
    case value:                                                                                    \
        return text;
        NVML_RETURNS(NVML_TEXT)
#undef NVML_TEXT
    default:
        return "Unknown Error code";
    }
}

/* ---- Versions ---------------------------------------------------------------------------------- */

/* branch * 1000 + release */
static uint32_t release_number(const char *version)
{
    unsigned branch = 0, release = 0;
    (void)sscanf(version, "%5u.%3u", &branch, &release);
    return branch * 1000 + release;
}

/* The scenario's, unless this library is of another generation than its driver. */
static const char *driver_version(void)
{
    const char *version = session.sim.scenario.driver;
    uint32_t number = release_number(version);
    bool own = number >= sim_generation.first && number < sim_generation.end;
    return own ? version : sim_generation.version;
}

static nvml_ret library_version(char *text, uint32_t size)
{
    char version[120];
    (void)snprintf(version, sizeof(version), "%u.%s", session.sim.scenario.cuda / 1000,
                   driver_version());
    return answer_text(version, text, size);
}

static nvml_ret cuda_version(int *ret_version)
{
    if (!ret_version) {
        return NVML_INVALID_ARGUMENT;
    }
    if (!session.sim.scenario.cuda) {
        return NVML_FUNCTION_NOT_FOUND; /* what a driver without libcuda says */
    }
    *ret_version = (int)session.sim.scenario.cuda;
    return NVML_SUCCESS;
}

EXPORT(nvmlSystemGetDriverVersion, char *text, uint32_t size)
{
    SYSTEM_CALL(nvmlSystemGetDriverVersion, answer_text(driver_version(), text, size));
}

EXPORT(nvmlSystemGetNVMLVersion, char *text, uint32_t size)
{
    SYSTEM_CALL(nvmlSystemGetNVMLVersion, library_version(text, size));
}

EXPORT(nvmlSystemGetCudaDriverVersion, int *ret_version)
{
    SYSTEM_CALL(nvmlSystemGetCudaDriverVersion, cuda_version(ret_version));
}

EXPORT(nvmlSystemGetCudaDriverVersion_v2, int *ret_version)
{
    SYSTEM_CALL(nvmlSystemGetCudaDriverVersion_v2, cuda_version(ret_version));
}

/* ---- Processes' names, confidential computing -------------------------------------------------- */

/* A real process of this PID namespace: what it was started as. */
static bool read_command(uint32_t pid, char *text, size_t size)
{
    char path[48];
    (void)snprintf(path, sizeof(path), "/proc/%u/cmdline", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, size - 1);
    if (fd >= 0) {
        (void)close(fd);
    }
    text[got > 0 ? got : 0] = '\0';
    return text[0] != '\0';
}

static nvml_ret process_name(uint32_t pid, char *text, uint32_t size)
{
    char name[WORLD_PROCESS_NAME_MAX], command[1024];
    const char *known = sim_process_name(&session.sim, pid, name);
    if (!known && !read_command(pid, command, sizeof(command))) {
        return text && size ? NVML_NOT_FOUND : NVML_INVALID_ARGUMENT;
    }
    if (!text || !size) {
        return NVML_INVALID_ARGUMENT;
    }
    /* Cut where it does not fit, like the real one. */
    (void)snprintf(text, size, "%s", known ? known : command);
    return NVML_SUCCESS;
}

EXPORT(nvmlSystemGetProcessName, uint32_t pid, char *text, uint32_t size)
{
    SYSTEM_CALL(nvmlSystemGetProcessName, process_name(pid, text, size));
}

static nvml_ret confidential_state(struct nvml_confidential_state *ret_state)
{
    if (!ret_state) {
        return NVML_INVALID_ARGUMENT;
    }
    *ret_state = (struct nvml_confidential_state){0};
    return NVML_SUCCESS;
}

EXPORT(nvmlSystemGetConfComputeState, struct nvml_confidential_state *ret_state)
{
    SYSTEM_CALL(nvmlSystemGetConfComputeState, confidential_state(ret_state));
}
