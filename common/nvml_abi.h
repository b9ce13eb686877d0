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
_Static_assert(NVML_MEMORY_V2 == 0x02000028u, "nvmlMemory_v2_t's version word");
_Static_assert(NVML_TEMPERATURE_V1 == 0x0100000cu, "nvmlTemperature_v1_t's version word");

#endif
