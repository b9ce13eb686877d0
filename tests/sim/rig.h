/* SPDX-License-Identifier: MIT */
/*
 * A simulated driver under test: one generation's library, loaded as any client of NVML loads it, a
 * scenario, a state directory of the test's own, and vram-sim as a real process.
 */
#ifndef VRAM_TESTS_SIM_RIG_H
#define VRAM_TESTS_SIM_RIG_H

#include "common/nvml_abi.h"
#include "tests/unit/unit.h"
#include <sys/types.h>

#define LIST_PARAMETERS (nvml_device, uint32_t *, void *)

#define RIG_FUNCTIONS(X)                                                                           \
    X(nvmlInit, (void))                                                                            \
    X(nvmlInit_v2, (void))                                                                         \
    X(nvmlInitWithFlags, (uint32_t))                                                               \
    X(nvmlShutdown, (void))                                                                        \
    X(nvmlSystemGetDriverVersion, (char *, uint32_t))                                              \
    X(nvmlSystemGetNVMLVersion, (char *, uint32_t))                                                \
    X(nvmlSystemGetCudaDriverVersion, (int *))                                                     \
    X(nvmlSystemGetProcessName, (uint32_t, char *, uint32_t))                                      \
    X(nvmlDeviceGetCount, (uint32_t *))                                                            \
    X(nvmlDeviceGetCount_v2, (uint32_t *))                                                         \
    X(nvmlDeviceGetHandleByIndex, (uint32_t, nvml_device *))                                       \
    X(nvmlDeviceGetHandleByIndex_v2, (uint32_t, nvml_device *))                                    \
    X(nvmlDeviceGetHandleByUUID, (const char *, nvml_device *))                                    \
    X(nvmlDeviceGetHandleByUUIDV, (const struct nvml_uuid *, nvml_device *))                       \
    X(nvmlDeviceGetHandleByPciBusId_v2, (const char *, nvml_device *))                             \
    X(nvmlDeviceGetName, (nvml_device, char *, uint32_t))                                          \
    X(nvmlDeviceGetUUID, (nvml_device, char *, uint32_t))                                          \
    X(nvmlDeviceGetSerial, (nvml_device, char *, uint32_t))                                        \
    X(nvmlDeviceGetPciInfo_v2, (nvml_device, struct nvml_pci *))                                   \
    X(nvmlDeviceGetPciInfo_v3, (nvml_device, struct nvml_pci *))                                   \
    X(nvmlDeviceGetPciInfoExt, (nvml_device, struct nvml_pci_extended *))                          \
    X(nvmlDeviceGetCudaComputeCapability, (nvml_device, int *, int *))                             \
    X(nvmlDeviceGetMemoryInfo, (nvml_device, struct nvml_memory_v1 *))                             \
    X(nvmlDeviceGetMemoryInfo_v2, (nvml_device, struct nvml_memory_v2 *))                          \
    X(nvmlDeviceGetBAR1MemoryInfo, (nvml_device, struct nvml_bar1 *))                              \
    X(nvmlDeviceGetComputeRunningProcesses, LIST_PARAMETERS)                                       \
    X(nvmlDeviceGetComputeRunningProcesses_v2, LIST_PARAMETERS)                                    \
    X(nvmlDeviceGetComputeRunningProcesses_v3, LIST_PARAMETERS)                                    \
    X(nvmlDeviceGetGraphicsRunningProcesses, LIST_PARAMETERS)                                      \
    X(nvmlDeviceGetMPSComputeRunningProcesses, LIST_PARAMETERS)                                    \
    X(nvmlDeviceGetRunningProcessDetailList, (nvml_device, struct nvml_process_detail_list *))     \
    X(nvmlDeviceGetProcessUtilization,                                                             \
      (nvml_device, struct nvml_process_utilization *, uint32_t *, uint64_t))                      \
    X(nvmlDeviceGetProcessesUtilizationInfo, (nvml_device, struct nvml_processes_utilization *))   \
    X(nvmlDeviceGetUtilizationRates, (nvml_device, struct nvml_utilization *))                     \
    X(nvmlDeviceGetTemperature, (nvml_device, uint32_t, uint32_t *))                               \
    X(nvmlDeviceGetTemperatureV, (nvml_device, struct nvml_temperature_v1 *))                      \
    X(nvmlDeviceGetPowerUsage, (nvml_device, uint32_t *))                                          \
    X(nvmlDeviceGetFanSpeed, (nvml_device, uint32_t *))                                            \
    X(nvmlDeviceGetClockInfo, (nvml_device, uint32_t, uint32_t *))                                 \
    X(nvmlDeviceGetFieldValues, (nvml_device, int, struct nvml_field_value *))                     \
    X(nvmlDeviceGetMigMode, (nvml_device, uint32_t *, uint32_t *))                                 \
    X(nvmlDeviceGetMaxMigDeviceCount, (nvml_device, uint32_t *))                                   \
    X(nvmlDeviceGetMigDeviceHandleByIndex, (nvml_device, uint32_t, nvml_device *))                 \
    X(nvmlDeviceIsMigDeviceHandle, (nvml_device, uint32_t *))                                      \
    X(nvmlDeviceGetGpuInstanceId, (nvml_device, uint32_t *))                                       \
    X(nvmlDeviceGetDeviceHandleFromMigDeviceHandle, (nvml_device, nvml_device *))                  \
    X(nvmlDeviceGetAttributes_v2, (nvml_device, struct nvml_attributes *))                         \
    X(nvmlDeviceGetAccountingMode, (nvml_device, uint32_t *))                                      \
    X(nvmlDeviceSetAccountingMode, (nvml_device, uint32_t))                                        \
    X(nvmlDeviceGetAccountingStats, (nvml_device, uint32_t, struct nvml_accounting_stats *))       \
    X(nvmlDeviceGetAccountingPids, (nvml_device, uint32_t *, uint32_t *))                          \
    X(nvmlDeviceClearAccountingPids, (nvml_device))                                                \
    X(nvmlEventSetCreate, (nvml_event_set *))                                                      \
    X(nvmlEventSetFree, (nvml_event_set))                                                          \
    X(nvmlDeviceRegisterEvents, (nvml_device, uint64_t, nvml_event_set))                           \
    X(nvmlEventSetWait, (nvml_event_set, void *, uint32_t))                                        \
    X(nvmlEventSetWait_v2, (nvml_event_set, struct nvml_event *, uint32_t))                        \
    X(nvmlDeviceGetSupportedEventTypes, (nvml_device, uint64_t *))

/* The loaded library; what its generation lacks is NULL. */
struct rig {
    void *library;
    char spec[256];
    int (*select)(const char *spec);
    const char *(*error)(void);
    const char *(*nvmlErrorString)(nvml_ret code);
#define RIG_FIELD(name, parameters) nvml_ret(*name) parameters;
    RIG_FUNCTIONS(RIG_FIELD)
#undef RIG_FIELD
};

extern const char *const rig_generations[]; /* NULL-terminated, oldest first */
/* A generation's name as the number that functions.def counts in. */
uint32_t rig_release(const char *generation);

/* For a whole group: the directory for states and scenarios, and the environment. */
int rig_group_set_up(void **state);
int rig_group_tear_down(void **state);

/* Writes a scenario file of its own and returns its path, valid until the next call. */
const char *rig_write(const char *text);

/* Loads a generation's library without choosing a machine. */
struct rig *rig_load(const char *generation);
/* Loads, chooses `spec` and calls nvmlInit_v2; each must succeed. */
struct rig *rig_open(const char *generation, const char *spec);
/* The same with r550 and a scenario's text behind its driver line. */
struct rig *rig_play(const char *text);
void rig_close(struct rig *rig);

/* ---- What tests ask, each of which must succeed ---- */
nvml_device rig_device(struct rig *rig, uint32_t index);
struct nvml_memory_v2 rig_memory(struct rig *rig, nvml_device device);
uint64_t rig_used(struct rig *rig, uint32_t index); /* MiB */
/* The compute list by _v3: pids into `pids`, MiB into `used`. Returns the count. */
uint32_t rig_list(struct rig *rig, nvml_device device, uint32_t pids[16], uint64_t used[16]);
/* MiB of one pid in the compute list; -1 where it is not in it. */
int64_t rig_listed(struct rig *rig, nvml_device device, uint32_t pid);

/* ---- vram-sim on the rig's machine (or a spec's) ---- */

/* Runs it to its end: its exit status, and what it said on both outputs. */
int rig_sim(const char *spec, char *const arguments[], char *output, size_t size);
/* `vram-sim inject LINE`, which must succeed. */
void rig_inject(const char *spec, const char *line);
void rig_advance(const char *spec, const char *time);
/* Starts `vram-sim ARGUMENTS…`; *ret_output is a pipe with both outputs. Returns its pid. */
pid_t rig_start(const char *spec, char *const arguments[], int *ret_output);
/* Starts `vram-sim hold SIZE` and returns when it holds. */
pid_t rig_hold(const char *spec, const char *size);
/* SIGKILL, and gone when this returns. */
void rig_kill(pid_t pid);
/* Reads one line of a pipe. */
void rig_read_line(int fd, char *line, size_t size);

/* Runs `body` in a child and returns its wait status; what it wrote to stderr is in `output`. */
int rig_in_child(void (*body)(void *data), void *data, char *output, size_t size);

#endif
