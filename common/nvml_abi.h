/* SPDX-License-Identifier: MIT */
/*
 * The part of NVML's binary interface that vram uses, in our own words: return codes, structure
 * layouts and constants. Read by lib/source/nvml*.c (the caller) and sim/ (the callee). Nothing
 * here is NVIDIA's text; that the layouts are NVIDIA's is proven by tests/sim, where NVIDIA's own
 * Python binding reads the simulated driver, and by the assertions at the end.
 */
#ifndef VRAM_COMMON_NVML_ABI_H
#define VRAM_COMMON_NVML_ABI_H

#include <stddef.h>
#include <stdint.h>

/* On 32-bit x86 a uint64_t in a structure is aligned to 4, and every offset below would lie. */
_Static_assert(sizeof(void *) == 8, "NVML's layouts are declared for 64-bit machines only");

/* nvmlReturn_t. An int, not an enum: a newer driver may return what this list does not know. */
typedef int nvml_ret;

#define NVML_RETURNS(X)                                                                            \
    X(0, SUCCESS, "Success")                                                                       \
    X(1, UNINITIALIZED, "Uninitialized")                                                           \
    X(2, INVALID_ARGUMENT, "Invalid Argument")                                                     \
    X(3, NOT_SUPPORTED, "Not Supported")                                                           \
    X(4, NO_PERMISSION, "Insufficient Permissions")                                                \
    X(5, ALREADY_INITIALIZED, "Already Initialized")                                               \
    X(6, NOT_FOUND, "Not Found")                                                                   \
    X(7, INSUFFICIENT_SIZE, "Insufficient Size")                                                   \
    X(8, INSUFFICIENT_POWER, "Insufficient External Power")                                        \
    X(9, DRIVER_NOT_LOADED, "Driver Not Loaded")                                                   \
    X(10, TIMEOUT, "Timeout")                                                                      \
    X(11, IRQ_ISSUE, "Interrupt Request Issue")                                                    \
    X(12, LIBRARY_NOT_FOUND, "NVML Shared Library Not Found")                                      \
    X(13, FUNCTION_NOT_FOUND, "Function Not Found")                                                \
    X(14, CORRUPTED_INFOROM, "Corrupted infoROM")                                                  \
    X(15, GPU_IS_LOST, "GPU is lost")                                                              \
    X(16, RESET_REQUIRED, "GPU requires restart")                                                  \
    X(17, OPERATING_SYSTEM, "The operating system has blocked the request.")                       \
    X(18, LIB_RM_VERSION_MISMATCH, "Driver/library version mismatch")                              \
    X(19, IN_USE, "In use by another client")                                                      \
    X(20, MEMORY, "Insufficient memory")                                                           \
    X(21, NO_DATA, "No data")                                                                      \
    X(22, VGPU_ECC_NOT_SUPPORTED, "vGPU ECC not supported")                                        \
    X(23, INSUFFICIENT_RESOURCES, "Insufficient resources")                                        \
    X(24, FREQ_NOT_SUPPORTED, "Frequency not supported")                                           \
    X(25, ARGUMENT_VERSION_MISMATCH, "Argument version mismatch")                                  \
    X(26, DEPRECATED, "Deprecated")                                                                \
    X(27, NOT_READY, "Not ready")                                                                  \
    X(28, GPU_NOT_FOUND, "GPU not found")                                                          \
    X(29, INVALID_STATE, "Invalid state")                                                          \
    X(30, RESET_TYPE_NOT_SUPPORTED, "Reset type not supported")                                    \
    X(999, UNKNOWN, "Unknown Error")

enum {
#define NVML_RETURN_ENUM(value, name, text) NVML_##name = value,
    NVML_RETURNS(NVML_RETURN_ENUM)
#undef NVML_RETURN_ENUM
};

typedef struct nvml_device *nvml_device; /* opaque, passed by value */

/* A structure's version field: its size and its version in one word. Passing the bare version, as
 * a comment of NVIDIA's header suggests, is refused with 13. */
#define NVML_STRUCT_VERSION(type, version) ((uint32_t)(sizeof(type) | ((uint32_t)(version) << 24)))

struct nvml_memory_v1 { /* used includes what the driver reserves */
    uint64_t total, free, used;
};

struct nvml_memory_v2 { /* total = reserved + free + used */
    uint32_t version;   /* NVML_MEMORY_V2 */
    uint64_t total, reserved, free, used;
};
#define NVML_MEMORY_V2 NVML_STRUCT_VERSION(struct nvml_memory_v2, 2)

struct nvml_process_16 { /* the lists without suffix */
    uint32_t pid;
    uint64_t used_bytes; /* NVML_NOT_AVAILABLE: the driver cannot tell */
};

struct nvml_process_24 { /* _v2, and _v3 but for 535.43 to 535.86 */
    uint32_t pid;
    uint64_t used_bytes;
    uint32_t gpu_instance, compute_instance; /* NVML_NO_INSTANCE where MIG is off */
};

struct nvml_process_32 { /* _v3 of 535.43 to 535.86 */
    uint32_t pid;
    uint64_t used_bytes;
    uint32_t gpu_instance, compute_instance;
    uint64_t protected_bytes;
};

struct nvml_pci {
    char bus_id_legacy[16];
    uint32_t domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
};

struct nvml_utilization {
    uint32_t gpu, memory; /* percent */
};

struct nvml_temperature_v1 {
    uint32_t version; /* NVML_TEMPERATURE_V1 */
    uint32_t sensor;
    int32_t celsius;
};
#define NVML_TEMPERATURE_V1 NVML_STRUCT_VERSION(struct nvml_temperature_v1, 1)

struct nvml_bar1 {
    uint64_t total, free, used;
};

struct nvml_process_detail { /* 32 bytes, in the detail list of all drivers that have it */
    uint32_t pid;
    uint64_t used_bytes;
    uint32_t gpu_instance, compute_instance;
    uint64_t protected_bytes;
};

struct nvml_process_detail_list {
    uint32_t version; /* NVML_PROCESS_DETAIL_LIST_V1 */
    uint32_t mode;    /* 0 compute, 1 graphics, 2 MPS, 3 all (from 610) */
    uint32_t count;   /* in: entries there is room for, out: entries there are */
    struct nvml_process_detail *entries;
};
#define NVML_PROCESS_DETAIL_LIST_V1 NVML_STRUCT_VERSION(struct nvml_process_detail_list, 1)

struct nvml_process_utilization {
    uint32_t pid;
    uint64_t timestamp_us;
    uint32_t sm, memory, encoder, decoder; /* percent */
};

struct nvml_process_utilization_v1 {
    uint64_t timestamp_us;
    uint32_t pid, sm, memory, encoder, decoder, jpeg, optical_flow;
};

struct nvml_processes_utilization {
    uint32_t version; /* NVML_PROCESSES_UTILIZATION_V1 */
    uint32_t count;
    uint64_t last_seen_us;
    struct nvml_process_utilization_v1 *samples;
};
#define NVML_PROCESSES_UTILIZATION_V1 NVML_STRUCT_VERSION(struct nvml_processes_utilization, 1)

struct nvml_accounting_stats {
    uint32_t gpu_utilization, memory_utilization;
    uint64_t peak_bytes, time_ms, start_us;
    uint32_t is_running;
    uint32_t reserved[5];
};

struct nvml_accounting_stats_v2 {
    uint32_t pid, is_running, gpu_utilization, memory_utilization;
    uint64_t peak_bytes;
    uint32_t sample_count;
    uint64_t gpu_utilization_sum, memory_utilization_sum, time_ms, start_us;
};

struct nvml_event { /* nvmlEventSetWait without suffix writes the first 24 bytes */
    nvml_device device;
    uint64_t type; /* NVML_EVENT_… */
    uint64_t data; /* of an Xid event: the Xid */
    uint32_t gpu_instance, compute_instance;
};
#define NVML_EVENT_V1_SIZE 24
#define NVML_EVENT_SINGLE_BIT_ECC 1u
#define NVML_EVENT_DOUBLE_BIT_ECC 2u
#define NVML_EVENT_PSTATE 4u
#define NVML_EVENT_XID 8u
#define NVML_EVENT_CLOCK 0x10u
#define NVML_EVENT_MIG_CHANGE 0x100u
#define NVML_EVENT_UNAVAILABLE 0x4000u

typedef struct nvml_event_set *nvml_event_set; /* opaque, passed by value */

struct nvml_attributes { /* of a MIG instance */
    uint32_t multiprocessors, copy_engines, decoders, encoders, jpegs, optical_flows;
    uint32_t gpu_slices, compute_slices;
    uint64_t memory_mib;
};

struct nvml_confidential_state {
    uint32_t environment, feature, developer_tools;
};

struct nvml_confidential_sizes {
    uint64_t protected_kib, unprotected_kib;
};

struct nvml_field_value {
    uint32_t field, scope;
    int64_t timestamp_us, latency_us;
    uint32_t value_type; /* NVML_VALUE_… */
    nvml_ret code;
    union {
        double number;
        uint32_t u32;
        uint64_t u64;
    } value;
};
#define NVML_VALUE_U32 1u
#define NVML_VALUE_U64 3u
#define NVML_FIELD_MEMORY_TEMPERATURE 82u
#define NVML_FIELD_ENERGY 83u
#define NVML_FIELD_RECOVERY_ACTION 230u

struct nvml_addressing_mode {
    uint32_t version; /* NVML_ADDRESSING_MODE_V1 */
    uint32_t value;   /* 0 none, 1 HMM, 2 ATS */
};
#define NVML_ADDRESSING_MODE_V1 NVML_STRUCT_VERSION(struct nvml_addressing_mode, 1)

struct nvml_uuid {
    uint32_t version; /* NVML_UUID_V1 */
    uint32_t type;    /* 1: text */
    char text[41];
};
#define NVML_UUID_V1 NVML_STRUCT_VERSION(struct nvml_uuid, 1)

struct nvml_pci_extended {
    uint32_t version; /* NVML_PCI_EXTENDED_V1 */
    uint32_t domain, bus, device, pci_device_id, pci_subsystem_id, base_class, sub_class;
    char bus_id[32];
};
#define NVML_PCI_EXTENDED_V1 NVML_STRUCT_VERSION(struct nvml_pci_extended, 1)

#define NVML_NOT_AVAILABLE UINT64_MAX
#define NVML_NO_INSTANCE UINT32_MAX
#define NVML_SENSOR_GPU 0u

/* Buffer sizes: the larger of NVIDIA's two generations of each. */
#define NVML_VERSION_SIZE 80
#define NVML_NAME_SIZE 96
#define NVML_UUID_SIZE 96

#define NVML_LAYOUT(type, size) _Static_assert(sizeof(struct type) == (size), #type)
#define NVML_OFFSET(type, field, offset)                                                           \
    _Static_assert(offsetof(struct type, field) == (offset), #type "." #field)
NVML_LAYOUT(nvml_memory_v1, 24);
NVML_OFFSET(nvml_memory_v1, free, 8);
NVML_OFFSET(nvml_memory_v1, used, 16);
NVML_LAYOUT(nvml_memory_v2, 40);
NVML_OFFSET(nvml_memory_v2, total, 8);
NVML_OFFSET(nvml_memory_v2, reserved, 16);
NVML_OFFSET(nvml_memory_v2, free, 24);
NVML_OFFSET(nvml_memory_v2, used, 32);
NVML_LAYOUT(nvml_process_16, 16);
NVML_OFFSET(nvml_process_16, used_bytes, 8);
NVML_LAYOUT(nvml_process_24, 24);
NVML_OFFSET(nvml_process_24, gpu_instance, 16);
NVML_OFFSET(nvml_process_24, compute_instance, 20);
NVML_LAYOUT(nvml_process_32, 32);
NVML_OFFSET(nvml_process_32, protected_bytes, 24);
NVML_LAYOUT(nvml_pci, 68);
NVML_OFFSET(nvml_pci, domain, 16);
NVML_OFFSET(nvml_pci, bus_id, 36);
NVML_LAYOUT(nvml_utilization, 8);
NVML_LAYOUT(nvml_temperature_v1, 12);
NVML_OFFSET(nvml_temperature_v1, celsius, 8);
NVML_LAYOUT(nvml_bar1, 24);
NVML_LAYOUT(nvml_process_detail, 32);
NVML_OFFSET(nvml_process_detail, protected_bytes, 24);
NVML_LAYOUT(nvml_process_detail_list, 24);
NVML_OFFSET(nvml_process_detail_list, entries, 16);
NVML_LAYOUT(nvml_process_utilization, 32);
NVML_OFFSET(nvml_process_utilization, sm, 16);
NVML_LAYOUT(nvml_process_utilization_v1, 40);
NVML_LAYOUT(nvml_processes_utilization, 24);
NVML_OFFSET(nvml_processes_utilization, samples, 16);
NVML_LAYOUT(nvml_accounting_stats, 56);
NVML_OFFSET(nvml_accounting_stats, is_running, 32);
NVML_LAYOUT(nvml_accounting_stats_v2, 64);
NVML_OFFSET(nvml_accounting_stats_v2, gpu_utilization_sum, 32);
NVML_LAYOUT(nvml_event, 32);
NVML_OFFSET(nvml_event, gpu_instance, NVML_EVENT_V1_SIZE);
NVML_LAYOUT(nvml_attributes, 40);
NVML_OFFSET(nvml_attributes, gpu_slices, 24);
NVML_OFFSET(nvml_attributes, memory_mib, 32);
NVML_LAYOUT(nvml_confidential_state, 12);
NVML_LAYOUT(nvml_confidential_sizes, 16);
NVML_LAYOUT(nvml_field_value, 40);
NVML_OFFSET(nvml_field_value, value_type, 24);
NVML_OFFSET(nvml_field_value, value, 32);
NVML_LAYOUT(nvml_addressing_mode, 8);
NVML_LAYOUT(nvml_uuid, 52);
NVML_LAYOUT(nvml_pci_extended, 64);
NVML_OFFSET(nvml_pci_extended, bus_id, 32);
_Static_assert(NVML_MEMORY_V2 == 0x02000028u, "nvmlMemory_v2_t's version word");
_Static_assert(NVML_TEMPERATURE_V1 == 0x0100000cu, "nvmlTemperature_v1_t's version word");

#endif
