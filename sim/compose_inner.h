/* SPDX-License-Identifier: MIT */
/* Between the files of composing: sim/compose.c, sim/compose_values.c, sim/compose_process.c. */
#ifndef VRAM_SIM_COMPOSE_INNER_H
#define VRAM_SIM_COMPOSE_INNER_H

#include "sim/compose.h"

/* A GPU's figures and states in lines that begin with `beginning`: all of them, or those that are not as they were. */
void compose_values(struct composer *composer, const struct reading *reading, int gpu,
                    const char *beginning);
void compose_changed_values(struct composer *composer, const struct reading *reading, int gpu,
                            const char *beginning);

bool compose_instance_ids(const struct reading *reading, int gpu, int instance,
                          uint32_t *ret_gpu_instance, uint32_t *ret_compute_instance);

/* Who holds memory in this reading; who did and does not any more has present = false. -ENOMEM. */
MUST_CHECK int compose_collect(struct composer *composer, const struct reading *reading);
/* What the processes of an instance have together; NVML_NO_INSTANCE: those that are in none. */
uint64_t compose_held(const struct composer *composer, int gpu, uint32_t gpu_instance,
                      uint32_t compute_instance);
/* Its line, behind `at`. */
void compose_process(struct composer *composer, struct buf *buf, const char *at,
                     const struct reading *reading, struct compose_process *process);
/* Who went, on which GPU, and who came or changed. */
MUST_CHECK int compose_changed_processes(struct composer *composer, const struct reading *reading,
                                         const char *at);

#endif
