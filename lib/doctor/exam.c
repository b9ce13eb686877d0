/* SPDX-License-Identifier: MIT */
/* The examination: the table of checks and the walk over it. */
#include "lib/doctor/exam.h"

#include "lib/doctor/report.h"
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum check_kind {
    CHECK_ANYWHERE = 0,
    /* Looks at this machine's hardware and driver: a simulated driver does not run on it, and a container that is served
     * by a daemon needs none of it. */
    CHECK_MACHINE = 1,
};

/*
 * From the bus to the figures. While the driver does not work, the first problem is why, and what
 * the later checks find follows from it or waits behind it: they are notes then. So a cause stands
 * above what it causes.
 */
static const struct check {
    const char *id, *title;
    enum check_kind kind;
    void (*run)(struct exam *exam);
} checks[] = {
    {"D37", "GPUs through the daemon", CHECK_ANYWHERE, check_served},
    {"D22", "Windows Subsystem for Linux", CHECK_ANYWHERE, check_wsl},
    {"D01", "GPU hardware", CHECK_ANYWHERE, check_hardware},
    {"D05", "GPUs held by nouveau", CHECK_MACHINE, check_nouveau},
    {"D06", "GPUs held for virtual machines", CHECK_MACHINE, check_vfio},
    {"D08", "Kernel module built", CHECK_MACHINE, check_module_built},
    {"D07", "Secure Boot", CHECK_MACHINE, check_secure_boot},
    {"D04", "Kernel module loaded", CHECK_MACHINE, check_module_loaded},
    {"D25", "GPUs shown to programs", CHECK_ANYWHERE, check_visibility},
    {"D12", "Container", CHECK_MACHINE, check_container},
    {"D13", "Driver files in the container", CHECK_MACHINE, check_capabilities},
    {"D03", "Wrong driver libraries", CHECK_MACHINE, check_foreign_library},
    {"D02", "Driver library", CHECK_MACHINE, check_library},
    {"D09", "Driver versions", CHECK_MACHINE, check_versions},
    {"D15", "systemd sandbox", CHECK_MACHINE, check_sandbox},
    {"D10", "Device nodes", CHECK_MACHINE, check_nodes},
    {"D11", "Permissions", CHECK_MACHINE, check_permissions},
    {"D14", "Device access in the container", CHECK_MACHINE, check_device_cgroup},
    {"D17", "Driver answers in time", CHECK_ANYWHERE, check_hung},
    {"D16", "GPUs on the bus", CHECK_ANYWHERE, check_lost},
    {"D18", "GPU reset", CHECK_ANYWHERE, check_reset},
    {"D00", "Driver start", CHECK_ANYWHERE, check_start},
    {"D35", "Mount of the daemon's socket", CHECK_ANYWHERE, check_daemon_mount},
    {"D36", "Access to the daemon", CHECK_ANYWHERE, check_daemon_access},
    {"D34", "Daemon", CHECK_ANYWHERE, check_daemon},
    {"D38", "Drained GPUs", CHECK_ANYWHERE, check_drained},
    {"D19", "Memory errors", CHECK_ANYWHERE, check_ecc},
    {"D23", "MIG instances", CHECK_ANYWHERE, check_mig_empty},
    {"D24", "MIG monitoring", CHECK_ANYWHERE, check_mig_rights},
    {"D27", "Memory without a process", CHECK_ANYWHERE, check_held_memory},
    {"D26", "Processes", CHECK_ANYWHERE, check_hidden_processes},
    {"D21", "Sleeping GPUs", CHECK_ANYWHERE, check_asleep},
    {"D28", "Unified memory", CHECK_ANYWHERE, check_unified},
    {"D29", "GPU memory as a NUMA node", CHECK_MACHINE, check_numa},
    {"D31", "Driver's reserve", CHECK_ANYWHERE, check_old_driver},
    {"D32", "Process list layout", CHECK_ANYWHERE, check_entry_size},
    {"D30", "Libraries in between", CHECK_MACHINE, check_interposer},
    {"D20", "Persistence", CHECK_MACHINE, check_persistence},
    {"D33", "AMD GPUs", CHECK_MACHINE, check_amd},
};

/* ---- What a check says ----------------------------------------------------------------------- */

static void add_text(struct buf *buf, const char *joint, const char *format, va_list args)
    PRINTF_LIKE(3, 0);
static void say(struct exam *exam, enum vram_severity severity, const char *format, va_list args)
    PRINTF_LIKE(3, 0);

static void add_text(struct buf *buf, const char *joint, const char *format, va_list args)
{
    char text[1024];
    (void)vsnprintf(text, sizeof(text), format, args);
    if (buf->length) {
        buf_text(buf, joint);
    }
    buf_text(buf, text);
}

static void say(struct exam *exam, enum vram_severity severity, const char *format, va_list args)
{
    exam->found = true;
    exam->severity = severity;
    buf_clear(&exam->cause);
    add_text(&exam->cause, "", format, args);
}

void exam_problem(struct exam *exam, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(exam, VRAM_FINDING_PROBLEM, format, args);
    va_end(args);
}

void exam_note(struct exam *exam, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(exam, VRAM_FINDING_NOTE, format, args);
    va_end(args);
}

void exam_good(struct exam *exam, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(exam, VRAM_FINDING_GOOD, format, args);
    va_end(args);
}

void exam_evidence(struct exam *exam, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_text(&exam->evidence, "; ", format, args);
    va_end(args);
}

void exam_remedy(struct exam *exam, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_text(&exam->remedy, "\n", format, args);
    va_end(args);
}

/* ---- What a check sees ----------------------------------------------------------------------- */

bool exam_start_failed(const struct exam *exam, const char *code)
{
    return exam->scene->start && strcmp(exam->scene->start->code, code) == 0;
}

size_t exam_gpu_count(const struct exam *exam)
{
    return exam->scene->snapshot ? vram_snapshot_gpu_count(exam->scene->snapshot) : 0;
}

const struct vram_gpu *exam_gpu(const struct exam *exam, size_t position)
{
    return vram_snapshot_gpu(exam->scene->snapshot, position);
}

bool exam_below_windows(const struct exam *exam)
{
    const char *simulation = exam->scene->simulation;
    return simulation ? strncmp(simulation, "wsl", 3) == 0 : exam->machine.wsl;
}

const char *exam_gpu_label(const struct vram_gpu *gpu, char label[GPU_LABEL_MAX])
{
    char instance[32] = "";
    if (gpu->mig_index != VRAM_UNKNOWN) {
        (void)snprintf(instance, sizeof(instance), ":%" PRIu64, gpu->mig_index);
    }
    (void)snprintf(label, GPU_LABEL_MAX, "GPU %" PRIu32 "%s (%.96s, %.31s)", gpu->index, instance,
                   gpu->name ? gpu->name : "name unknown", gpu->pci ? gpu->pci : "address unknown");
    return label;
}

const struct vram_problem *exam_gpu_problem(const struct exam *exam, const struct vram_gpu *gpu,
                                            const char *code)
{
    char index[16];
    (void)snprintf(index, sizeof(index), "%" PRIu32, gpu->index);
    for (size_t i = 0; i < vram_snapshot_problem_count(exam->scene->snapshot); i++) {
        const struct vram_problem *problem = vram_snapshot_problem(exam->scene->snapshot, i);
        const char *name = gpu->uuid ? gpu->uuid : index;
        if (problem->gpu && strcmp(problem->gpu, name) == 0 &&
            (!code || (problem->code && strcmp(problem->code, code) == 0))) {
            return problem;
        }
    }
    return NULL;
}

size_t exam_gpus_in_state(struct exam *exam, enum vram_gpu_state state)
{
    size_t count = 0;
    for (size_t i = 0; i < exam_gpu_count(exam); i++) {
        const struct vram_gpu *gpu = exam_gpu(exam, i);
        if (gpu->state == (uint32_t)state) {
            char label[GPU_LABEL_MAX];
            const struct vram_problem *problem = exam_gpu_problem(exam, gpu, NULL);
            exam_evidence(exam, "%s: %s", exam_gpu_label(gpu, label),
                          problem && problem->message ? problem->message
                                                      : vram_gpu_state_name(gpu->state));
            count++;
        }
    }
    return count;
}

/* ---- The walk -------------------------------------------------------------------------------- */

/* Makes a finding of what the check said. Evidence without a cause is of a check that found
 * nothing. */
static int conclude(struct exam *exam, const struct check *check, struct vram_report *report)
{
    if (exam->result < 0 || exam->cause.failed || exam->evidence.failed || exam->remedy.failed) {
        return -ENOMEM;
    }
    if (!exam->found) {
        return 0;
    }
    if (exam->severity == VRAM_FINDING_PROBLEM && !exam->works) {
        exam->severity = exam->explained ? VRAM_FINDING_NOTE : VRAM_FINDING_PROBLEM;
        exam->explained = true;
    }
    struct vram_finding finding = {
        .id = check->id,
        .severity = exam->severity,
        .title = check->title,
        .cause = exam->cause.data,
        .evidence = exam->evidence.data,
        .remedy = exam->remedy.data,
    };
    return report_add(report, &finding);
}

static int run_check(struct exam *exam, const struct check *check, struct vram_report *report)
{
    if (check->kind == CHECK_MACHINE && (exam->scene->simulation || exam_is_served(exam))) {
        return 0;
    }
    exam->found = false;
    buf_clear(&exam->cause);
    buf_clear(&exam->evidence);
    buf_clear(&exam->remedy);
    check->run(exam);
    return conclude(exam, check, report);
}

static int add_facts(const struct exam *exam, struct vram_report *report)
{
    const struct doctor_scene *scene = exam->scene;
    char simulated[160];
    (void)snprintf(simulated, sizeof(simulated), "%.96s; the figures are simulated",
                   scene->simulation ? scene->simulation : "");
    const struct {
        const char *name, *value;
    } facts[] = {
        {"simulation", scene->simulation ? simulated : NULL},
        {"system", exam->machine.system},
        {"kernel", exam->machine.kernel},
        {"container", machine_container_name(exam->machine.container)},
        {"kernel module", scene->simulation ? NULL : exam->machine.module_version},
        {"library", scene->library},
        {"daemon", scene->daemon.trouble ? NULL : scene->daemon.socket},
    };
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_LENGTH(facts); i++) {
        r = doctor_fact(report, facts[i].name, facts[i].value);
    }
    return r;
}

static int examine(struct exam *exam, struct vram_report *report)
{
    int r = machine_read(exam->scene, &exam->machine);
    exam->works = !exam->scene->start && exam_gpu_count(exam) > 0;
    if (r == 0) {
        r = add_facts(exam, report);
    }
    for (size_t i = 0; r == 0 && i < ARRAY_LENGTH(checks); i++) {
        r = run_check(exam, &checks[i], report);
    }
    buf_done(&exam->cause);
    buf_done(&exam->evidence);
    buf_done(&exam->remedy);
    return r;
}

int doctor_examine(const struct doctor_scene *scene, struct vram_report **ret_report)
{
    struct exam *exam = calloc(1, sizeof(*exam));
    struct vram_report *report = doctor_report_new();
    int r = exam && report ? 0 : -ENOMEM;
    if (r == 0) {
        exam->scene = scene;
        r = examine(exam, report);
    }
    free(exam);
    if (r < 0) {
        (void)vram_report_free(report);
        return r;
    }
    *ret_report = report;
    return 0;
}
