/* SPDX-License-Identifier: MIT */
/* Why NVIDIA's kernel module is not loaded: D04, D07, D08. */
#include "lib/doctor/exam.h"

#include "common/path.h"
#include "lib/doctor/lines.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The variable's name holds the UEFI specification's GUID for global variables. */
#define SECURE_BOOT "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"

/* Hardware that waits for a module. What runs on Windows or a system on chip has none. */
static bool module_is_missing(const struct exam *exam)
{
    const struct machine *machine = &exam->machine;
    return !exam->works && machine->gpu_count && !machine->module_loaded && !machine->wsl &&
           !machine->tegra;
}

/* Whether a line of modules.dep, "updates/dkms/nvidia.ko.xz: …", is the driver's main module.
 * Debian names it by its branch: nvidia-current.ko, nvidia-tesla-470.ko. */
static bool is_main_module(const char *line)
{
    static const char *const names[] = {"nvidia.ko", "nvidia-current", "nvidia-tesla",
                                        "nvidia-legacy", "nvidia-open"};
    size_t length = strcspn(line, ":");
    const char *name = line;
    for (size_t i = 0; i < length; i++) {
        name = line[i] == '/' ? line + i + 1 : name;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        if (strncmp(name, names[i], strlen(names[i])) == 0) {
            return true;
        }
    }
    return false;
}

/* 1: built for this kernel; 0: not; -1: it cannot be told. */
static int is_built(const char *root, const char *kernel)
{
    struct lines lines;
    char path[PATH_TEXT_MAX];
    int length = snprintf(path, sizeof(path), "/lib/modules/%s/modules.dep", kernel);
    if (!kernel[0] || length < 0 || (size_t)length >= sizeof(path) ||
        lines_open(&lines, root, path) < 0) {
        return -1;
    }
    bool found = false;
    for (const char *line; !found && (line = lines_next(&lines));) {
        found = is_main_module(line);
    }
    lines_close(&lines);
    return found;
}

struct kernels {
    const char *root;
    char name[96]; /* one that has the module, "" for none */
};

static bool note_kernel(void *data, const char *name)
{
    struct kernels *kernels = data;
    if (strlen(name) < sizeof(kernels->name) && is_built(kernels->root, name) == 1) {
        (void)snprintf(kernels->name, sizeof(kernels->name), "%s", name);
        return false;
    }
    return true;
}

/* ---- D08 ------------------------------------------------------------------------------------- */

/* A container has its own /lib/modules, which says nothing of the host's kernel. */
void check_module_built(struct exam *exam)
{
    const struct machine *machine = &exam->machine;
    if (!module_is_missing(exam) || machine->container ||
        is_built(machine->root, machine->kernel) != 0) {
        return;
    }
    struct kernels kernels = {.root = machine->root};
    if (machine_each(machine->root, "/lib/modules", note_kernel, &kernels) < 0) {
        exam->result = -ENOMEM;
        return;
    }
    if (kernels.name[0] || path_exists(machine->root, "/var/lib/dkms/nvidia")) {
        exam_problem(exam, "the NVIDIA kernel module is not built for the running kernel");
    } else {
        exam_problem(exam, "NVIDIA's driver is not installed, or not for the running kernel");
    }
    exam_evidence(exam, "/lib/modules/%s/modules.dep does not name nvidia.ko", machine->kernel);
    if (kernels.name[0]) {
        exam_evidence(exam, "kernel %s has it", kernels.name);
        remedy_build_module(exam);
        exam_remedy(exam, "Meanwhile the machine can be started with kernel %s.", kernels.name);
    } else if (path_exists(machine->root, "/var/lib/dkms/nvidia")) {
        exam_evidence(exam, "/var/lib/dkms/nvidia is there");
        remedy_build_module(exam);
    } else {
        remedy_install_driver(exam);
    }
}

/* ---- D07 ------------------------------------------------------------------------------------- */

/* Four bytes of attributes, then the value. */
static bool secure_boot_is_on(const char *root)
{
    struct stat st;
    char bytes[8];
    if (lines_stat(root, SECURE_BOOT, &st) < 0 || !S_ISREG(st.st_mode)) {
        return false;
    }
    return path_read(root, SECURE_BOOT, bytes, sizeof(bytes)) == 5 && bytes[4] == 1;
}

void check_secure_boot(struct exam *exam)
{
    const struct machine *machine = &exam->machine;
    if (!module_is_missing(exam) || machine->container || !secure_boot_is_on(machine->root) ||
        is_built(machine->root, machine->kernel) == 0) {
        return;
    }
    exam_problem(exam,
                 "Secure Boot is on, and most likely keeps the kernel from loading the NVIDIA "
                 "module, which is not signed with a key that this machine trusts");
    exam_evidence(exam, "/sys/firmware/efi/efivars/SecureBoot-*: 1");
    exam_evidence(exam, "/sys/module/nvidia is not there");
    exam_remedy(exam, "To be sure (\"Key was rejected by service\"):");
    exam_remedy(exam, "sudo modprobe nvidia");
    exam_remedy(exam,
                "Trust the key that the module is signed with, restart, and choose Enroll MOK:");
    if (machine->distribution == DISTRIBUTION_UBUNTU) {
        exam_remedy(exam, "sudo mokutil --import /var/lib/shim-signed/mok/MOK.der");
    } else if (machine->distribution == DISTRIBUTION_FEDORA) {
        exam_remedy(exam, "sudo mokutil --import /etc/pki/akmods/certs/public_key.der");
    } else {
        exam_remedy(exam, "sudo mokutil --import /var/lib/dkms/mok.pub");
    }
    exam_remedy(exam, "Or install the distribution's signed modules, or turn Secure Boot off.");
}

/* ---- D04 ------------------------------------------------------------------------------------- */

void check_module_loaded(struct exam *exam)
{
    const struct machine *machine = &exam->machine;
    if (machine->module_loaded) {
        exam_good(exam, "the NVIDIA kernel module%s%s is loaded",
                  machine->module_version[0] ? " " : "", machine->module_version);
        exam_evidence(exam, "/sys/module/nvidia");
    } else if (module_is_missing(exam)) {
        exam_problem(exam, "the NVIDIA kernel module is not loaded");
        exam_evidence(exam, "/sys/module/nvidia is not there");
        if (machine->container) {
            exam_remedy(exam, "On the host, outside of this container:");
        }
        exam_remedy(exam, "sudo modprobe nvidia");
        exam_remedy(exam, "If that fails, the kernel's log says why:");
        exam_remedy(exam, "sudo dmesg | grep -iE 'nvidia|nvrm'");
    }
}
