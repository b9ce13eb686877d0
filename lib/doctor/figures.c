/* SPDX-License-Identifier: MIT */
/* Figures that mean something else than they seem to: D28, D29, D31, D32. */
#include "lib/doctor/exam.h"

#include "common/path.h"
#include "lib/doctor/lines.h"
#include <stdio.h>
#include <string.h>

/* ---- D28 ------------------------------------------------------------------------------------- */

void check_unified(struct exam *exam)
{
    for (size_t i = 0; i < exam_gpu_count(exam); i++) {
        const struct vram_gpu *gpu = exam_gpu(exam, i);
        if (gpu->memory_kind == VRAM_MEMORY_UNIFIED) {
            char label[GPU_LABEL_MAX];
            exam_note(exam,
                      "a GPU uses the machine's memory: total and free are the machine's, used is "
                      "the sum of its processes, and other programs hold the rest");
            exam_evidence(exam, "%s has no memory of its own", exam_gpu_label(gpu, label));
        }
    }
}

/* ---- D29 ------------------------------------------------------------------------------------- */

/* The superchips, whose GPU memory the kernel may use as its own. */
static const struct vram_gpu *find_superchip(const struct exam *exam)
{
    static const char *const names[] = {"GH200", "GB200", "GB300"};
    for (size_t i = 0; i < exam_gpu_count(exam); i++) {
        const struct vram_gpu *gpu = exam_gpu(exam, i);
        for (size_t j = 0; gpu->name && j < ARRAY_LENGTH(names); j++) {
            if (strstr(gpu->name, names[j])) {
                return gpu;
            }
        }
    }
    return NULL;
}

struct memory_node {
    struct exam *exam;
    bool found;
};

/* A node with memory and no processor is a GPU's. */
static bool note_memory_node(void *data, const char *name)
{
    struct memory_node *node = data;
    const char *root = node->exam->machine.root;
    char path[96], word[64], key[32];
    unsigned number;
    char rest;
    if (sscanf(name, "node%u%c", &number, &rest) != 1) {
        return true;
    }
    (void)snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/cpulist", number);
    if (lines_first(root, path, word, sizeof(word)) != 0) {
        return true; /* not empty, or not readable */
    }
    (void)snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/meminfo", number);
    (void)snprintf(key, sizeof(key), "Node %u FilePages:", number);
    if (lines_value(root, path, key, word, sizeof(word))) {
        exam_evidence(node->exam, "%s: FilePages: %s", path, word);
        node->found = true;
    }
    return true;
}

void check_numa(struct exam *exam)
{
    struct memory_node node = {exam, false};
    const struct vram_gpu *gpu = find_superchip(exam);
    if (!gpu) {
        return;
    }
    int r = machine_each(exam->machine.root, "/sys/devices/system/node", note_memory_node, &node);
    if (r < 0) {
        exam->result = r;
    } else if (node.found) {
        exam_note(
            exam,
            "the kernel uses this GPU's memory as its own too: files that it keeps there count "
            "as used, and are given up when a program needs the room");
        exam_remedy(exam, "To see used without them:");
        exam_remedy(exam, "sync && echo 1 | sudo tee /proc/sys/vm/drop_caches");
        exam_remedy(exam,
                    "To keep files out of it, the driver has a mode (CDMM) for when it is loaded.");
    }
}

/* ---- D31, D32 -------------------------------------------------------------------------------- */

/* The driver's version in two numbers. False: unknown. */
static bool driver_version(const struct exam *exam, unsigned *ret_major, unsigned *ret_minor)
{
    const struct vram_snapshot *snapshot = exam->scene->snapshot;
    const char *version = snapshot ? vram_snapshot_driver(snapshot)->version : NULL;
    if (!version && !exam->scene->simulation) {
        version = exam->machine.module_version;
    }
    return version && sscanf(version, "%u.%u", ret_major, ret_minor) == 2;
}

void check_old_driver(struct exam *exam)
{
    unsigned major, minor;
    bool found = false;
    for (size_t i = 0; i < exam_gpu_count(exam) && !found; i++) {
        found = exam_gpu(exam, i)->used_includes_reserved;
    }
    if (!found) {
        return;
    }
    exam_note(exam,
              "used contains what the driver keeps for itself, some 200 to 900 MiB, because the "
              "driver does not tell it apart");
    if (driver_version(exam, &major, &minor)) {
        exam_evidence(exam, "driver %u.%u", major, minor);
        if (major < 510) {
            exam_remedy(exam, "Drivers from 510 on tell it apart.");
        }
    }
}

void check_entry_size(struct exam *exam)
{
    unsigned major, minor;
    if (driver_version(exam, &major, &minor) && major == 535 && minor >= 43 && minor <= 86) {
        exam_note(exam,
                  "this driver's process lists have a layout of their own, in which other programs "
                  "may mix up processes and memory; vram reads it");
        exam_evidence(exam, "driver %u.%u", major, minor);
        exam_remedy(exam, "Drivers from 535.104 on have the usual layout.");
    }
}
