/* SPDX-License-Identifier: MIT */
/* GPUs that do not answer as they should: D16, D17, D18, D19, D20, D21, D23, D24. */
#include "lib/doctor/exam.h"

#include "common/path.h"
#include "lib/doctor/lines.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MIG_MONITOR "/proc/driver/nvidia/capabilities/mig/monitor"
#define GPU_IS_LOST 15 /* NVML's code */

/* Xids, the driver's fault numbers, stand only in the kernel's log, which is not everyone's to
 * read. */
static void remedy_find_xid(struct exam *exam)
{
    exam_remedy(exam, "The kernel's log has the driver's fault numbers (Xid):");
    exam_remedy(exam, "sudo dmesg | grep -i xid");
}

/* ---- D16, D18 -------------------------------------------------------------------------------- */

/* Lost GPUs, those that a reset brings back or the others, become evidence. Returns the first. */
static const struct vram_gpu *lost_gpus(struct exam *exam, bool reset_helps)
{
    const struct vram_gpu *first = NULL;
    for (size_t i = 0; i < exam_gpu_count(exam); i++) {
        const struct vram_gpu *gpu = exam_gpu(exam, i);
        if (gpu->state != VRAM_GPU_LOST ||
            (exam_gpu_problem(exam, gpu, "reset_required") != NULL) != reset_helps) {
            continue;
        }
        char label[GPU_LABEL_MAX];
        const struct vram_problem *problem = exam_gpu_problem(exam, gpu, NULL);
        exam_evidence(exam, "%s: %s", exam_gpu_label(gpu, label),
                      problem && problem->message ? problem->message : "lost");
        first = first ? first : gpu;
    }
    return first;
}

void check_lost(struct exam *exam)
{
    const struct err *start = exam->scene->start;
    const struct vram_gpu *gpu = lost_gpus(exam, false);
    bool at_start = start && start->driver_code == GPU_IS_LOST;
    if (!gpu && !at_start) {
        if (exam->works && !exam_gpus_in_state(exam, VRAM_GPU_LOST)) {
            exam_good(exam, "no GPU has fallen off the bus");
        }
        return;
    }
    exam_problem(exam, "a GPU has fallen off the bus: the driver cannot reach it any more");
    if (at_start) {
        exam_evidence(exam, "%s", start->message);
    }
    remedy_find_xid(exam);
    if (gpu && gpu->pci) {
        exam_remedy(exam, "Where the bus does not reach it either, this shows (rev ff):");
        exam_remedy(exam, "lspci -s %s", gpu->pci);
    }
    exam_remedy(exam,
                "Stop the programs on it and switch the machine off and on, not only restart it.");
    exam_remedy(exam,
                "If it comes back: check power cables, riser, seat and temperature; then the card "
                "is faulty.");
}

void check_reset(struct exam *exam)
{
    const struct vram_gpu *gpu = lost_gpus(exam, true);
    if (!gpu) {
        return;
    }
    exam_problem(exam, "a GPU needs a reset before it can be used again");
    exam_remedy(exam, "Stop the programs on it, then:");
    exam_remedy(exam, "sudo nvidia-smi --gpu-reset -i %" PRIu32, gpu->index);
    exam_remedy(exam, "If that is refused, restart the machine.");
    remedy_find_xid(exam);
}

/* ---- D17 ------------------------------------------------------------------------------------- */

void check_hung(struct exam *exam)
{
    const struct vram_gpu *gpu = NULL;
    bool at_start = exam_start_failed(exam, "driver_hung");
    for (size_t i = 0; !gpu && i < exam_gpu_count(exam); i++) {
        gpu = exam_gpu(exam, i)->state == VRAM_GPU_HUNG ? exam_gpu(exam, i) : NULL;
    }
    if (at_start) {
        exam_problem(exam, "the driver does not answer");
        exam_evidence(exam, "%s", exam->scene->start->message);
    } else if (gpu) {
        exam_problem(exam, "the driver does not answer for a GPU; its figures are the last known");
        (void)exam_gpus_in_state(exam, VRAM_GPU_HUNG);
    } else {
        return;
    }
    exam_remedy(exam,
                "Do not kill programs that watch the GPU: one that dies inside the driver can make "
                "it worse.");
    remedy_find_xid(exam);
    exam_remedy(exam, "Number 119 or 120: the GPU's own processor does not answer.");
    exam_remedy(exam, "Stop the programs that use the GPU, then:");
    if (gpu) {
        exam_remedy(exam, "sudo nvidia-smi --gpu-reset -i %" PRIu32, gpu->index);
    } else {
        exam_remedy(exam, "sudo nvidia-smi --gpu-reset");
    }
    exam_remedy(exam,
                "If that hangs too, restart the machine. If it comes back, update the driver.");
}

/* ---- D19 ------------------------------------------------------------------------------------- */

/* The sources report what the driver says of its memory's health as problems with the word "ecc".
 */
void check_ecc(struct exam *exam)
{
    size_t count = exam->scene->snapshot ? vram_snapshot_problem_count(exam->scene->snapshot) : 0;
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        const struct vram_problem *problem = vram_snapshot_problem(exam->scene->snapshot, i);
        if (problem->what && strcmp(problem->what, "ecc") == 0) {
            exam_evidence(exam, "%.96s: %s", problem->gpu ? problem->gpu : "a GPU",
                          problem->message ? problem->message : "memory errors");
            found = true;
        }
    }
    if (found) {
        exam_problem(exam, "a GPU has memory errors");
        remedy_find_xid(exam);
        exam_remedy(exam, "Number 63: a row of memory was replaced, nothing to do.");
        exam_remedy(exam, "Number 94: restart the program that was hit.");
        exam_remedy(exam,
                    "Number 48, 64 or 95: reset the GPU; if it comes back, the card is faulty.");
    }
}

/* ---- D20 ------------------------------------------------------------------------------------- */

/* Whether the kernel may put this GPU to sleep: on a laptop, persistence would cost battery. */
static bool may_sleep(const struct machine *machine)
{
    for (size_t i = 0; i < machine->gpu_count; i++) {
        if (machine->gpus[i].runtime_managed) {
            return true;
        }
    }
    return false;
}

/* The driver puts a GPU down when its last user closes it. A desktop is such a user. */
void check_persistence(struct exam *exam)
{
    const struct machine *machine = &exam->machine;
    size_t idle = 0;
    if (!exam->works || !machine->gpu_count || machine->container || machine->wsl ||
        may_sleep(machine) || path_exists(machine->root, "/run/nvidia-persistenced")) {
        return;
    }
    for (size_t i = 0; i < exam_gpu_count(exam); i++) {
        const struct vram_gpu *gpu = exam_gpu(exam, i);
        idle += gpu->state == VRAM_GPU_OK && gpu->processes_known && !gpu->process_count;
    }
    if (idle) {
        exam_note(exam,
                  "an idle GPU is started anew for each program, which takes one to three seconds, "
                  "unless persistence mode was set by hand");
        exam_evidence(exam, "/run/nvidia-persistenced is not there");
        exam_remedy(exam, "sudo systemctl enable --now nvidia-persistenced");
    }
}

/* ---- D21 ------------------------------------------------------------------------------------- */

void check_asleep(struct exam *exam)
{
    if (exam_gpus_in_state(exam, VRAM_GPU_ASLEEP)) {
        exam_note(exam, "a GPU sleeps to save power; it is not woken to be asked");
        exam_remedy(exam, "To wake it and ask:");
        exam_remedy(exam, "vram --wake status");
    }
}

/* ---- D23, D24 -------------------------------------------------------------------------------- */

void check_mig_empty(struct exam *exam)
{
    const struct vram_gpu *first = NULL;
    for (size_t i = 0; i < exam_gpu_count(exam); i++) {
        const struct vram_gpu *gpu = exam_gpu(exam, i);
        if (exam_gpu_problem(exam, gpu, "mig_without_instance")) {
            char label[GPU_LABEL_MAX];
            exam_evidence(exam, "%s: MIG is on, no instance", exam_gpu_label(gpu, label));
            first = first ? first : gpu;
        }
    }
    if (!first) {
        return;
    }
    exam_problem(exam,
                 "a GPU is set to be divided (MIG) and has no instance, so that no program can "
                 "use it");
    exam_remedy(exam, "See what instances it can have, then make one:");
    exam_remedy(exam, "sudo nvidia-smi mig -i %" PRIu32 " -lgip", first->index);
    exam_remedy(exam, "sudo nvidia-smi mig -i %" PRIu32 " -cgi PROFILE -C", first->index);
    exam_remedy(exam, "Or use the card as a whole:");
    exam_remedy(exam, "sudo nvidia-smi -i %" PRIu32 " -mig 0", first->index);
}

bool exam_has_mig_rights(const struct exam *exam)
{
    return exam->scene->simulation || path_exists(exam->machine.root, MIG_MONITOR);
}

void check_mig_rights(struct exam *exam)
{
    const struct machine *machine = &exam->machine;
    char minor[16];
    if (!exam_has_mig_rights(exam) ||
        (!exam->scene->simulation && !machine_nodes_usable(machine)) ||
        !exam_gpus_in_state(exam, VRAM_GPU_DENIED)) {
        return;
    }
    exam_problem(exam,
                 "the driver refuses this user a GPU, most likely because it is divided (MIG) and "
                 "watching the whole card is a right of its own");
    if (machine->container) {
        exam_remedy(exam, "Start the container with:");
        exam_remedy(exam, "-e NVIDIA_MIG_MONITOR_DEVICES=all --cap-add SYS_ADMIN");
        return;
    }
    exam_remedy(exam, "Ask as root:");
    exam_remedy(exam, "sudo vram status");
    if (lines_value(machine->root, MIG_MONITOR, "DeviceFileMinor", minor, sizeof(minor)) &&
        minor[0] && minor[strspn(minor, "0123456789")] == '\0') {
        exam_evidence(exam, MIG_MONITOR ": DeviceFileMinor: %s", minor);
        exam_remedy(exam, "Or give this user the right, until the next start of the machine:");
        exam_remedy(exam, "sudo setfacl -m u:$USER:r /dev/nvidia-caps/nvidia-cap%s", minor);
    }
}
