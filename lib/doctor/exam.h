/* SPDX-License-Identifier: MIT */
/*
 * An examination: what a check sees (the scene and the machine's files, read once) and how it says
 * what it found. Read by the checks. Each makes one finding at most, in this order:
 *
 *     exam_problem(exam, "the NVIDIA kernel module is not loaded");
 *     exam_evidence(exam, "/sys/module/nvidia is not there");
 *     exam_remedy(exam, "sudo modprobe nvidia");
 *
 * Texts are sentences without a full stop. A remedy's line is a command or a line of a file, to be
 * copied, or a sentence, which begins with a capital letter and ends with a colon or a full stop.
 * Running out of memory is noticed when the check has ended.
 */
#ifndef VRAM_LIB_DOCTOR_EXAM_H
#define VRAM_LIB_DOCTOR_EXAM_H

#include "common/attr.h"
#include "common/buf.h"
#include "lib/doctor.h"
#include "lib/doctor/machine.h"

struct exam {
    const struct doctor_scene *scene;
    struct machine machine;
    bool works;     /* the driver started and shows a GPU */
    bool explained; /* why it does not work has been found */
    int result;     /* -ENOMEM: a check could not be made */

    bool found; /* the check at hand has something to say: */
    uint32_t severity;
    struct buf cause, evidence, remedy;
};

void exam_problem(struct exam *exam, const char *format, ...) PRINTF_LIKE(2, 3);
void exam_note(struct exam *exam, const char *format, ...) PRINTF_LIKE(2, 3);
void exam_good(struct exam *exam, const char *format, ...) PRINTF_LIKE(2, 3);
/* One thing that it was told by; several are joined. */
void exam_evidence(struct exam *exam, const char *format, ...) PRINTF_LIKE(2, 3);
/* One line. */
void exam_remedy(struct exam *exam, const char *format, ...) PRINTF_LIKE(2, 3);

/* Whether the driver's start failed with this code. */
bool exam_start_failed(const struct exam *exam, const char *code);

/* ---- GPUs of the snapshot, for checks that speak of several ---------------------------------- */

#define GPU_LABEL_MAX 192

size_t exam_gpu_count(const struct exam *exam);
const struct vram_gpu *exam_gpu(const struct exam *exam, size_t position);
/* "GPU 0 (NVIDIA GeForce RTX 4090, 0000:01:00.0)". Returns `label`. */
const char *exam_gpu_label(const struct vram_gpu *gpu, char label[GPU_LABEL_MAX]);
/* The snapshot's problem of this GPU with this code; any code where NULL. NULL: none. */
const struct vram_problem *exam_gpu_problem(const struct exam *exam, const struct vram_gpu *gpu,
                                            const char *code);
/* GPUs in this state become evidence, each with what the driver said. Returns how many there are.
 */
size_t exam_gpus_in_state(struct exam *exam, enum vram_gpu_state state);

/* Whether this is a container that was given no GPU and asks a daemon that has some (daemon.c). */
bool exam_is_served(const struct exam *exam);
/* Whether the driver lives in Windows, or is simulated so. */
bool exam_below_windows(const struct exam *exam);
/* Whether the driver keeps watching MIG cards for who was given the right to (gpu_state.c). */
bool exam_has_mig_rights(const struct exam *exam);

/* ---- Remedies that differ by distribution (distribution.c) ----------------------------------- */

/* Install the driver's library of the branch that the loaded module has. */
void remedy_install_library(struct exam *exam);
/* Install the driver as a whole. */
void remedy_install_driver(struct exam *exam);
/* Install what is needed to build the module for the running kernel, and build it. */
void remedy_build_module(struct exam *exam);
/* Renew what the kernel boots with, after a change in /etc/modprobe.d. */
void remedy_renew_initramfs(struct exam *exam);

/* Start the container with the GPUs, by its kind (container.c). */
void remedy_give_gpus(struct exam *exam);

/* Where SELinux is on: how to see whether it was that, in its log by this word (device_nodes.c). */
void remedy_selinux(struct exam *exam, const char *word);

/* ---- The checks, and where they stand -------------------------------------------------------- */

void check_hardware(struct exam *exam); /* hardware.c */
void check_nouveau(struct exam *exam);
void check_vfio(struct exam *exam);
void check_amd(struct exam *exam);
void check_module_built(struct exam *exam); /* kernel_module.c */
void check_secure_boot(struct exam *exam);
void check_module_loaded(struct exam *exam);
void check_library(struct exam *exam); /* library.c */
void check_foreign_library(struct exam *exam);
void check_versions(struct exam *exam);
void check_interposer(struct exam *exam);
void check_nodes(struct exam *exam); /* device_nodes.c */
void check_permissions(struct exam *exam);
void check_visibility(struct exam *exam); /* container.c */
void check_container(struct exam *exam);
void check_capabilities(struct exam *exam);
void check_device_cgroup(struct exam *exam);
void check_sandbox(struct exam *exam);
void check_start(struct exam *exam); /* driver_start.c */
void check_wsl(struct exam *exam);
void check_served(struct exam *exam); /* daemon.c */
void check_daemon(struct exam *exam);
void check_daemon_mount(struct exam *exam);
void check_daemon_access(struct exam *exam);
void check_drained(struct exam *exam);
void check_lost(struct exam *exam); /* gpu_state.c */
void check_hung(struct exam *exam);
void check_reset(struct exam *exam);
void check_ecc(struct exam *exam);
void check_persistence(struct exam *exam);
void check_asleep(struct exam *exam);
void check_mig_empty(struct exam *exam);
void check_mig_rights(struct exam *exam);
void check_unified(struct exam *exam); /* figures.c */
void check_numa(struct exam *exam);
void check_old_driver(struct exam *exam);
void check_entry_size(struct exam *exam);
void check_hidden_processes(struct exam *exam); /* processes.c */
void check_held_memory(struct exam *exam);

#endif
