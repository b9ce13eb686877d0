/* SPDX-License-Identifier: MIT */
/*
 * Questions to the driver itself, past libvram: what the real one answers where its documents are silent, and how
 * long it takes. Shared by the files of the program `probe`:
 *
 *   probe.c          the program: commands, the library, times
 *   probe_calls.c    how long each call takes, alone and from several threads; init and shutdown
 *   probe_layouts.c  structures: versions, entry sizes, which lists there are
 *   probe_lives.c    processes: forked children, signals, how long memory outlives its owner
 *
 * Every command prints JSON objects, one a line.
 */
#ifndef VRAM_TESTS_GPU_PROBE_H
#define VRAM_TESTS_GPU_PROBE_H

#include "common/nvml_abi.h"

struct probe {
    const char *library, *pci;
    nvml_device device;
    int argument_count;
    char **arguments;
};

/* The driver's function of that name; one that answers "no such function" where it has none. */
int (*probe_function(const char *name))();
#define CALL(name, ...) (probe_function(#name)(__VA_ARGS__))

/* Initialises NVML and finds the device. NVML's code. */
int probe_start(struct probe *probe);
/* Exits with a message. */
_Noreturn void probe_die(const char *what);
/* The argument of that number, or `otherwise`. */
long probe_number(const struct probe *probe, int number, long otherwise);

double probe_now_us(void);
/* Sorts the times and prints `"n":…,"p50_us":…,"p99_us":…,"max_us":…`. */
void probe_print_times(double *times, int count);

/* Commands. Each returns the program's exit status. */
int probe_start_and_end(struct probe *probe);
int probe_latency(struct probe *probe);
int probe_threads(struct probe *probe);
int probe_layouts(struct probe *probe);
int probe_modes(struct probe *probe);
int probe_fork(struct probe *probe);
int probe_fork_vram(struct probe *probe);
int probe_signal(struct probe *probe);
int probe_lag(struct probe *probe);

#endif
