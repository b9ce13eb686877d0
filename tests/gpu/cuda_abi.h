/* SPDX-License-Identifier: MIT */
/*
 * The part of the CUDA driver's interface that the acceptance test uses, in our own words. Read by cuda.c, which
 * calls it, and by cuda_sim.c, which plays it on a simulated GPU, so that both sides are compiled against one table.
 */
#ifndef VRAM_TESTS_GPU_CUDA_ABI_H
#define VRAM_TESTS_GPU_CUDA_ABI_H

#include <stddef.h>
#include <stdint.h>

#define CUDA_OUT_OF_MEMORY 2
#define CUDA_ATTACH_GLOBAL 1u

typedef uint64_t cuda_pointer;
typedef struct cuda_context *cuda_context; /* opaque */
typedef struct cuda_stream *cuda_stream;   /* opaque; NULL: the default one */

#define CUDA_FUNCTIONS(X)                                                                          \
    X(cuInit, (unsigned flags))                                                                    \
    X(cuDeviceGet, (int *device, int ordinal))                                                     \
    X(cuCtxCreate_v2, (cuda_context * context, unsigned flags, int device))                        \
    X(cuMemGetInfo_v2, (size_t * free, size_t * total))                                            \
    X(cuMemAlloc_v2, (cuda_pointer * pointer, size_t size))                                        \
    X(cuMemAllocManaged, (cuda_pointer * pointer, size_t size, unsigned flags))                    \
    X(cuMemAllocAsync, (cuda_pointer * pointer, size_t size, cuda_stream stream))                  \
    X(cuMemFree_v2, (cuda_pointer pointer))                                                        \
    X(cuMemFreeAsync, (cuda_pointer pointer, cuda_stream stream))                                  \
    X(cuMemsetD8_v2, (cuda_pointer pointer, unsigned char value, size_t count))                    \
    X(cuStreamSynchronize, (cuda_stream stream))                                                   \
    X(cuCtxSynchronize, (void))                                                                    \
    X(cuGetErrorName, (int code, const char **name))

#endif
