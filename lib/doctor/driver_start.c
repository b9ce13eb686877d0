/* SPDX-License-Identifier: MIT */
/* The driver's start: what no other check explains (D00), and drivers that live in Windows (D22).
 */
#include "lib/doctor/exam.h"

#include "common/path.h"
#include "lib/doctor/lines.h"
#include <ctype.h>
#include <string.h>

/* ---- D00 ------------------------------------------------------------------------------------- */

/* The advice, line by line, as sentences; that the doctor tells more is no news here. */
static void remedy_from_hint(struct exam *exam, const char *hint)
{
    while (*hint) {
        size_t length = strcspn(hint, "\n");
        if (strncmp(hint, "`vram doctor`", strlen("`vram doctor`")) != 0) {
            exam_remedy(exam, "%c%.*s.", toupper((unsigned char)hint[0]), (int)length - 1,
                        hint + 1);
        }
        hint += length + (hint[length] == '\n');
    }
}

static void remedy_kernel_log(struct exam *exam)
{
    exam_remedy(exam, "The kernel's log may say more:");
    exam_remedy(exam, "sudo dmesg | grep -iE 'nvrm|xid'");
}

static void start_failed(struct exam *exam, const struct err *start)
{
    const char *library = exam->machine.library.path;
    bool by_hand =
        !exam->scene->simulation && exam_start_failed(exam, "library_not_found") && library[0];
    exam_problem(exam, "%s", start->message);
    exam_evidence(exam, "%s (%d)", start->code, start->driver_code);
    if (by_hand) {
        exam_evidence(exam, "%s is there", library);
        exam_remedy(exam, "Name no path, and it is found:");
        exam_remedy(exam, "vram --driver nvml status");
        return;
    }
    if (exam_start_failed(exam, "no_permission") && exam->machine.has_control) {
        exam_evidence(exam, "/dev/nvidiactl: mode %04o", (unsigned)exam->machine.control.mode);
    } else {
        remedy_from_hint(exam, start->hint);
    }
    if (start->driver_code && !strstr(start->hint, "dmesg")) {
        remedy_kernel_log(exam);
    }
    if (exam_start_failed(exam, "no_permission")) {
        remedy_selinux(exam, "nvidia");
    }
    if (!exam->remedy.length) {
        exam_remedy(exam, "Please report this, with what `vram --json doctor` prints.");
    }
}

void check_start(struct exam *exam)
{
    if (exam->works) {
        exam_good(exam, "the driver starts and shows %zu GPU%s", exam_gpu_count(exam),
                  exam_gpu_count(exam) == 1 ? "" : "s");
    } else if (exam->explained) {
        return;
    } else if (exam->scene->start) {
        start_failed(exam, exam->scene->start);
    } else {
        exam_problem(exam, "the driver starts and shows no GPU");
        if (exam->machine.container) {
            exam_remedy(exam, "Start the container with one:");
            exam_remedy(exam, "docker run --gpus all …");
        }
        remedy_kernel_log(exam);
    }
}

/* ---- D22 ------------------------------------------------------------------------------------- */

static void wsl_does_not_start(struct exam *exam)
{
    const char *root = exam->machine.root;
    exam_problem(exam, "Windows does not lend its GPU to this Linux");
    if (!path_exists(root, "/dev/dxg")) {
        exam_evidence(exam, "/dev/dxg is not there");
    } else if (!exam->machine.library.path[0]) {
        exam_evidence(exam, "/dev/dxg is there, /usr/lib/wsl/lib/libnvidia-ml.so.1 is not");
    } else if (exam->scene->start) {
        exam_evidence(exam, "%s", exam->scene->start->message);
    }
    if (exam->machine.container) {
        exam_remedy(exam, "Start the container with it:");
        exam_remedy(exam, "docker run --gpus all …");
    }
    exam_remedy(exam, "In Windows, after an update of the NVIDIA driver there:");
    exam_remedy(exam, "wsl --update");
    exam_remedy(exam, "wsl --shutdown");
    exam_remedy(exam,
                "It must be WSL 2 (wsl --list --verbose), and no Linux driver belongs into it.");
}

/* Whether there are processes and the memory of none is known. */
static bool memory_is_hidden(const struct exam *exam)
{
    size_t processes = 0;
    for (size_t i = 0; i < exam_gpu_count(exam); i++) {
        const struct vram_gpu *gpu = exam_gpu(exam, i);
        for (size_t j = 0; j < gpu->process_count; j++) {
            if (gpu->processes[j].used_bytes != VRAM_UNKNOWN) {
                return false;
            }
        }
        processes += gpu->process_count;
    }
    return processes > 0;
}

void check_wsl(struct exam *exam)
{
    if (!exam_below_windows(exam) || exam_is_served(exam)) {
        return;
    }
    if (!exam->works && !exam->scene->simulation) {
        wsl_does_not_start(exam);
    } else if (memory_is_hidden(exam)) {
        exam_note(exam,
                  "below Windows the memory of single processes is not known, because Windows "
                  "manages it; total, used and free are");
        if (!exam->scene->simulation) {
            exam_evidence(exam, "/proc/sys/kernel/osrelease: %s", exam->machine.kernel);
        }
    }
}
