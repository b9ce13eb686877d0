/* SPDX-License-Identifier: MIT */
/* Memory that no process answers for, and processes that cannot be seen: D26, D27. */
#include "lib/doctor/exam.h"

#include "common/path.h"
#include "common/size.h"
#include "lib/doctor/lines.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Below this it is the driver's own: contexts, page tables, what the two queries see apart. */
#define NOTICEABLE_BYTES (512 * MIB)
#define OLD_RESERVE_BYTES GIB /* what used contains beyond that where the reserve is part of it */

#define MOST_HOLDERS 8
#define MOST_DESCRIPTORS 4096

/* Memory of this GPU that its list does not explain and should; 0 where there is none to speak of.
 */
static uint64_t unexplained(const struct vram_gpu *gpu)
{
    uint64_t limit = NOTICEABLE_BYTES + (gpu->used_includes_reserved ? OLD_RESERVE_BYTES : 0);
    bool comparable = gpu->state == VRAM_GPU_OK && gpu->memory_kind == VRAM_MEMORY_DEDICATED &&
                      gpu->processes_known && gpu->unattributed_bytes != VRAM_UNKNOWN;
    for (size_t i = 0; comparable && i < gpu->process_count; i++) {
        comparable = gpu->processes[i].used_bytes != VRAM_UNKNOWN;
    }
    return comparable && gpu->unattributed_bytes >= limit ? gpu->unattributed_bytes : 0;
}

/* "hidepid=2" and the like in /proc's mount options: others' processes are hidden. */
static bool hides_pids(const char *root)
{
    struct lines lines;
    bool found = false;
    if (lines_open(&lines, root, "/proc/mounts") < 0) {
        return false;
    }
    for (const char *line; !found && (line = lines_next(&lines));) {
        const char *option = strstr(line, " /proc proc ") ? strstr(line, "hidepid=") : NULL;
        found = option && strncmp(option, "hidepid=0", 9) != 0 &&
                strncmp(option, "hidepid=off", 11) != 0;
    }
    lines_close(&lines);
    return found;
}

/* ---- D26 ------------------------------------------------------------------------------------- */

static size_t unknown_memory(const struct vram_gpu *gpu)
{
    size_t count = 0;
    for (size_t i = 0; i < gpu->process_count; i++) {
        count += gpu->processes[i].used_bytes == VRAM_UNKNOWN;
    }
    return count;
}

static size_t invisible(const struct vram_gpu *gpu)
{
    size_t count = 0;
    for (size_t i = 0; i < gpu->process_count; i++) {
        count += !gpu->processes[i].visible;
    }
    return count;
}

static void remedy_hidden(struct exam *exam, bool hidepid)
{
    const struct machine *machine = &exam->machine;
    if (machine->private_pids) {
        exam_evidence(exam, "/proc/self/ns/pid: a PID namespace of its own");
        exam_remedy(exam, "To see the host's processes:");
        exam_remedy(exam, "docker run --pid=host …");
    }
    if (hidepid) {
        exam_evidence(exam, "/proc/mounts: hidepid");
        exam_remedy(exam, "To see other users' processes:");
        exam_remedy(exam, "sudo vram status");
        exam_remedy(exam, "Or let everyone see all, until the next start of the machine:");
        exam_remedy(exam, "sudo mount -o remount,hidepid=0 /proc");
    }
}

void check_hidden_processes(struct exam *exam)
{
    size_t hidden = 0, listed = 0, unknown = 0;
    uint64_t most = 0;
    bool hidepid = hides_pids(exam->machine.root);
    bool blind = exam->machine.private_pids || hidepid;
    for (size_t i = 0; i < exam_gpu_count(exam); i++) {
        const struct vram_gpu *gpu = exam_gpu(exam, i);
        uint64_t rest =
            gpu->process_count || blind ? unexplained(gpu) : 0; /* no list at all: D27 */
        most = rest > most ? rest : most;
        hidden += invisible(gpu);
        unknown += unknown_memory(gpu);
        listed += gpu->process_count;
    }
    if (hidden) {
        exam_note(exam,
                  "%zu of %zu processes cannot be seen from here; their memory is counted, their "
                  "names are not known",
                  hidden, listed);
        remedy_hidden(exam, hidepid);
    } else if (most) {
        char size[SIZE_TEXT_MAX];
        exam_note(exam, "%s of a GPU belong to no process in its list", size_format(most, size));
        remedy_hidden(exam, hidepid);
        exam_remedy(exam,
                    "Managed memory (cudaMallocManaged) and what the driver needs itself are in no "
                    "list either.");
    } else if (unknown && !exam_below_windows(exam)) { /* below Windows: D22 */
        exam_note(exam, "the driver does not tell the memory of %zu of %zu processes", unknown,
                  listed);
    } else if (listed) {
        exam_good(exam, "every process that holds GPU memory can be seen (%zu)", listed);
    }
}

/* ---- D27 ------------------------------------------------------------------------------------- */

struct holders {
    struct exam *exam;
    const char *directory; /* of descriptors, while one is searched */
    bool holds;
    size_t count, descriptors;
};

static bool is_gpu_node(void *data, const char *name)
{
    struct holders *holders = data;
    char path[96], target[PATH_TEXT_MAX];
    (void)snprintf(path, sizeof(path), "%.63s/%.24s", holders->directory, name);
    holders->holds =
        path_read_link(holders->exam->machine.root, path, target, sizeof(target)) > 0 &&
        strncmp(target, "/dev/nvidia", strlen("/dev/nvidia")) == 0;
    return !holders->holds && ++holders->descriptors < MOST_DESCRIPTORS;
}

/* One process: does it hold a node of the driver open? */
static bool note_holder(void *data, const char *name)
{
    struct holders *holders = data;
    char directory[64], path[64], comm[64] = "";
    if (name[0] < '1' || name[0] > '9' || strlen(name) > 10) {
        return true;
    }
    (void)snprintf(directory, sizeof(directory), "/proc/%.10s/fd", name);
    (void)snprintf(path, sizeof(path), "/proc/%.10s/comm", name);
    holders->directory = directory;
    holders->holds = false;
    holders->descriptors = 0;
    int r = machine_each(holders->exam->machine.root, directory, is_gpu_node, holders);
    if (r < 0) {
        holders->exam->result = r;
        return false;
    }
    if (holders->holds && lines_first(holders->exam->machine.root, path, comm, sizeof(comm)) > 0 &&
        strncmp(comm, "nvidia-persiste", 15) != 0) {
        exam_evidence(holders->exam, "process %.10s (%s) holds /dev/nvidia*", name, comm);
        holders->count++;
    }
    return holders->count < MOST_HOLDERS;
}

void check_held_memory(struct exam *exam)
{
    const struct vram_gpu *first = NULL;
    if (exam->machine.private_pids || hides_pids(exam->machine.root)) {
        return; /* D26 */
    }
    for (size_t i = 0; i < exam_gpu_count(exam); i++) {
        const struct vram_gpu *gpu = exam_gpu(exam, i);
        uint64_t rest = gpu->process_count ? 0 : unexplained(gpu);
        if (rest) {
            char label[GPU_LABEL_MAX], size[SIZE_TEXT_MAX];
            exam_evidence(exam, "%s: %s used, no process listed", exam_gpu_label(gpu, label),
                          size_format(rest, size));
            first = first ? first : gpu;
        }
    }
    if (!first) {
        return;
    }
    struct holders holders = {.exam = exam};
    exam_problem(exam,
                 "a GPU's memory is held and its list of processes is empty: most likely by a "
                 "process that is ending or stuck");
    if (!exam->scene->simulation) {
        int r = machine_each(exam->machine.root, "/proc", note_holder, &holders);
        exam->result = r < 0 ? r : exam->result;
    }
    exam_remedy(exam, "See who holds the devices, and stop them:");
    exam_remedy(exam, "sudo fuser -v /dev/nvidia*");
    exam_remedy(exam, "If nobody does:");
    exam_remedy(exam, "sudo nvidia-smi --gpu-reset -i %" PRIu32, first->index);
}
