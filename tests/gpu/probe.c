/* SPDX-License-Identifier: MIT */
/* probe LIBRARY PCI COMMAND [ARGUMENT…], see probe.h. */
#include "tests/gpu/probe.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void *library;

static int absent()
{
    return NVML_FUNCTION_NOT_FOUND;
}

int (*probe_function(const char *name))()
{
    void *symbol = library ? dlsym(library, name) : NULL;
    return symbol ? (int (*)())symbol : absent;
}

void probe_die(const char *what)
{
    (void)fprintf(stderr, "probe: %s\n", what);
    exit(1);
}

long probe_number(const struct probe *probe, int number, long otherwise)
{
    return number < probe->argument_count ? strtol(probe->arguments[number], NULL, 10) : otherwise;
}

double probe_now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

void probe_print_times(double *times, int count)
{
    qsort(times, (size_t)count, sizeof(*times), compare);
    (void)printf("\"n\":%d,\"p50_us\":%.2f,\"p99_us\":%.2f,\"max_us\":%.2f", count,
                 count ? times[count / 2] : 0.0, count ? times[(int)((double)count * 0.99)] : 0.0,
                 count ? times[count - 1] : 0.0);
}

int probe_start(struct probe *probe)
{
    int code = CALL(nvmlInit_v2);
    return code ? code : CALL(nvmlDeviceGetHandleByPciBusId_v2, probe->pci, &probe->device);
}

static const struct command {
    const char *name;
    int (*run)(struct probe *probe);
    enum { NOTHING, LOADED, STARTED } needs;
} commands[] = {
    {"start", probe_start_and_end, LOADED},
    {"latency", probe_latency, STARTED},
    {"threads", probe_threads, STARTED},
    {"layouts", probe_layouts, STARTED},
    {"modes", probe_modes, STARTED},
    {"fork", probe_fork, STARTED},
    {"fork-vram", probe_fork_vram, NOTHING},
    {"signal", probe_signal, STARTED},
    {"lag", probe_lag, STARTED},
};

int main(int argc, char **argv)
{
    const struct command *command = NULL;
    for (size_t i = 0; argc > 3 && i < sizeof(commands) / sizeof(commands[0]); i++) {
        command = strcmp(commands[i].name, argv[3]) == 0 ? &commands[i] : command;
    }
    if (!command) {
        probe_die("usage: probe LIBRARY PCI COMMAND [ARGUMENT…]");
    }
    struct probe probe = {argv[1], argv[2], NULL, argc - 4, argv + 4};
    if (command->needs >= LOADED) {
        library = dlopen(probe.library, RTLD_NOW | RTLD_LOCAL);
        if (!library) {
            probe_die(dlerror());
        }
    }
    if (command->needs == STARTED && probe_start(&probe)) {
        probe_die("the driver does not start");
    }
    return command->run(&probe);
}
