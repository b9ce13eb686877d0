/* SPDX-License-Identifier: MIT */
/* What every source needs to fill in and give back what it reports. */
#include "lib/source/source.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void source_gpu_init(struct source_gpu *gpu)
{
    *gpu = (struct source_gpu){
        .mig_index = VRAM_UNKNOWN,
        .gpu_instance_id = VRAM_UNKNOWN,
        .compute_instance_id = VRAM_UNKNOWN,
        .total_bytes = VRAM_UNKNOWN,
        .used_bytes = VRAM_UNKNOWN,
        .free_bytes = VRAM_UNKNOWN,
        .driver_reserved_bytes = VRAM_UNKNOWN,
        .temperature_c = VRAM_UNKNOWN,
        .utilization_percent = VRAM_UNKNOWN,
    };
}

void source_processes_done(struct source_gpu *gpu)
{
    for (size_t i = 0; i < gpu->process_count; i++) {
        free(gpu->processes[i].name);
    }
    free(gpu->processes);
    gpu->processes = NULL;
    gpu->process_count = 0;
}

void source_gpu_done(struct source_gpu *gpu)
{
    source_processes_done(gpu);
    while (gpu->problems) {
        struct source_problem *next = gpu->problems->next;
        free(gpu->problems);
        gpu->problems = next;
    }
    source_gpu_init(gpu);
}

void source_gpu_problem(struct source_gpu *gpu, const char *what, const char *code,
                        const char *format, ...)
{
    struct source_problem *problem = calloc(1, sizeof(*problem));
    if (!problem) {
        return;
    }
    problem->what = what;
    problem->code = code;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(problem->message, sizeof(problem->message), format, args);
    va_end(args);
    struct source_problem **last = &gpu->problems;
    for (; *last; last = &(*last)->next) {
        if (strcmp((*last)->what, what) == 0 && strcmp((*last)->message, problem->message) == 0) {
            free(problem);
            return;
        }
    }
    *last = problem;
}
