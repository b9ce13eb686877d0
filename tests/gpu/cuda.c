/* SPDX-License-Identifier: MIT */
/*
 * A program that uses a GPU's memory through the CUDA driver (no toolkit needed), as it is told:
 *
 *     cuda LIBRARY [COMMAND…]      LIBRARY: libcuda.so.1
 *
 *     context          makes a context on the first visible GPU
 *     plain N, managed N, pooled N
 *                      allocates N bytes: cuMemAlloc, cuMemAllocManaged (and touches them), cuMemAllocAsync
 *     free             gives the last allocation back
 *     info             free and total, as CUDA tells them
 *     work N           keeps the GPU busy for N ms, or until the next command comes
 *     wait N           does nothing for N ms, or until the next command comes
 *     end              ends
 *
 * Commands of the command line first; one that fails ends the program: 2 out of memory, 1 anything else. Then one a
 * line from standard input, until that ends. Each is answered by a line: "ok …" or "error CODE NAME".
 */
#include "tests/gpu/cuda_abi.h"

#include <dlfcn.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST_ALLOCATIONS 256
#define NOT_FOUND 500 /* CUDA's own code for a missing symbol */

static struct {
#define FIELD(name, parameters) int(*name) parameters;
    CUDA_FUNCTIONS(FIELD)
#undef FIELD
} cuda;

enum way { PLAIN, MANAGED, POOLED };

static struct {
    cuda_pointer pointer;
    size_t size;
    enum way way;
} allocations[MOST_ALLOCATIONS];
static size_t allocation_count;

/* ---- The library ----------------------------------------------------------------------------- */

static bool load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL), *symbol;
    if (!library) {
        (void)fprintf(stderr, "cuda: %s\n", dlerror());
        return false;
    }
#define LOOK_UP(name, parameters)                                                                  \
    symbol = dlsym(library, #name);                                                                \
    memcpy(&cuda.name, &symbol, sizeof(symbol));                                                   \
    if (!symbol) {                                                                                 \
        (void)fprintf(stderr, "cuda: %s has no " #name "\n", path);                                \
        return false;                                                                              \
    }
    CUDA_FUNCTIONS(LOOK_UP)
#undef LOOK_UP
    return true;
}

/* ---- Commands -------------------------------------------------------------------------------- */

static double now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* Until something can be read from standard input, its end included. */
static bool is_spoken_to(int timeout_ms)
{
    struct pollfd input = {.fd = 0, .events = POLLIN};
    return poll(&input, 1, timeout_ms) > 0;
}

static int make_context(unsigned long long number)
{
    int device = 0;
    cuda_context context = NULL;
    (void)number;
    int code = cuda.cuInit(0);
    code = code ? code : cuda.cuDeviceGet(&device, 0);
    return code ? code : cuda.cuCtxCreate_v2(&context, 0, device);
}

static int allocate(enum way way, size_t size)
{
    cuda_pointer pointer = 0;
    int code;
    if (allocation_count == MOST_ALLOCATIONS) {
        return CUDA_OUT_OF_MEMORY;
    }
    if (way == PLAIN) {
        code = cuda.cuMemAlloc_v2(&pointer, size);
    } else if (way == MANAGED) {
        code = cuda.cuMemAllocManaged(&pointer, size, CUDA_ATTACH_GLOBAL);
        code = code ? code : cuda.cuMemsetD8_v2(pointer, 1, size);
        code = code ? code : cuda.cuCtxSynchronize();
    } else {
        code = cuda.cuMemAllocAsync(&pointer, size, NULL);
        code = code ? code : cuda.cuStreamSynchronize(NULL);
    }
    if (code == 0) {
        allocations[allocation_count].pointer = pointer;
        allocations[allocation_count].size = size;
        allocations[allocation_count++].way = way;
    }
    return code;
}

static int allocate_plain(unsigned long long size)
{
    return allocate(PLAIN, size);
}

static int allocate_managed(unsigned long long size)
{
    return allocate(MANAGED, size);
}

static int allocate_pooled(unsigned long long size)
{
    return allocate(POOLED, size);
}

static int free_last(unsigned long long number)
{
    (void)number;
    if (!allocation_count) {
        return 1;
    }
    allocation_count--;
    cuda_pointer pointer = allocations[allocation_count].pointer;
    if (allocations[allocation_count].way != POOLED) {
        return cuda.cuMemFree_v2(pointer);
    }
    int code = cuda.cuMemFreeAsync(pointer, NULL);
    return code ? code : cuda.cuStreamSynchronize(NULL);
}

static int tell(unsigned long long number)
{
    size_t free_bytes = 0, total_bytes = 0;
    (void)number;
    int code = cuda.cuMemGetInfo_v2(&free_bytes, &total_bytes);
    if (code == 0) {
        (void)printf("ok %zu %zu\n", free_bytes, total_bytes);
    }
    return code;
}

static int work(unsigned long long ms)
{
    double end = now_ms() + (double)ms;
    int code = allocation_count ? 0 : 1;
    while (code == 0 && now_ms() < end && !is_spoken_to(0)) {
        for (int i = 0; i < 8 && code == 0; i++) {
            code =
                cuda.cuMemsetD8_v2(allocations[0].pointer, (unsigned char)i, allocations[0].size);
        }
        code = code ? code : cuda.cuCtxSynchronize();
    }
    return code;
}

static int wait_ms(unsigned long long ms)
{
    (void)is_spoken_to((int)ms);
    return 0;
}

static int end(unsigned long long number)
{
    (void)number;
    (void)fflush(stdout);
    exit(0);
}

static const struct command {
    const char *name;
    int (*run)(unsigned long long number);
    bool has_number, answers;
} commands[] = {
    {"context", make_context, false, false},
    {"plain", allocate_plain, true, false},
    {"managed", allocate_managed, true, false},
    {"pooled", allocate_pooled, true, false},
    {"free", free_last, false, false},
    {"info", tell, false, true},
    {"work", work, true, false},
    {"wait", wait_ms, true, false},
    {"end", end, false, false},
};

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    (void)fprintf(stderr, "cuda: there is no command '%s'\n", name);
    exit(1);
}

static int run(const struct command *command, const char *number)
{
    const char *name = NULL;
    int code = command->run(number ? strtoull(number, NULL, 10) : 0);
    if (code) {
        (void)cuda.cuGetErrorName(code, &name);
        (void)printf("error %d %s\n", code, name ? name : "unknown");
    } else if (!command->answers) {
        (void)printf("ok %s\n", command->name);
    }
    (void)fflush(stdout);
    return code;
}

int main(int argc, char **argv)
{
    char line[128];
    if (argc < 2 || !load(argv[1])) {
        return 1;
    }
    for (int i = 2; i < argc; i++) {
        const struct command *command = find(argv[i]);
        i += command->has_number;
        int code = run(command, command->has_number && i < argc ? argv[i] : NULL);
        if (code) {
            return code == CUDA_OUT_OF_MEMORY ? 2 : 1;
        }
    }
    (void)setvbuf(stdin, NULL, _IONBF, 0); /* is_spoken_to() must see the next line */
    while (fgets(line, sizeof(line), stdin)) {
        char *number = strchr(line, ' ');
        line[strcspn(line, " \n")] = '\0';
        (void)run(find(line), number ? number + 1 : NULL);
    }
    return 0;
}
