/* SPDX-License-Identifier: MIT */
/* The device nodes and who may use them: D10, D11. */
#include "lib/doctor/exam.h"

#include "lib/doctor/lines.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARAMETERS "/proc/driver/nvidia/params"

/* ---- D10 ------------------------------------------------------------------------------------- */

static void remedy_make_nodes(struct exam *exam)
{
    char value[32];
    exam_remedy(exam, "sudo nvidia-modprobe -c0 -u");
    exam_remedy(exam, "So that they are there after each start of the machine:");
    exam_remedy(exam, "sudo systemctl enable --now nvidia-persistenced");
    if (lines_value(exam->machine.root, PARAMETERS, "ModifyDeviceFiles", value, sizeof(value)) &&
        strcmp(value, "0") == 0) {
        exam_evidence(exam, PARAMETERS ": ModifyDeviceFiles: 0");
        exam_remedy(exam,
                    "The driver is told not to make them: take NVreg_ModifyDeviceFiles=0 out of "
                    "/etc/modprobe.d.");
    }
}

void check_nodes(struct exam *exam)
{
    const struct machine *machine = &exam->machine;
    if (machine->has_control && machine->node_count) {
        exam_good(exam, "the device nodes are there");
        exam_evidence(exam, "/dev/nvidiactl");
        for (size_t i = 0; i < machine->node_count && i < 8; i++) {
            exam_evidence(exam, "%s", machine->nodes[i].path);
        }
        return;
    }
    if (exam->works || !machine->module_loaded || machine->container || machine->wsl ||
        machine->tegra) {
        return;
    }
    exam_problem(exam, "the NVIDIA driver is loaded and its device nodes are missing");
    if (!machine->has_control) {
        exam_evidence(exam, "/dev/nvidiactl is not there");
    }
    if (!machine->node_count) {
        exam_evidence(exam, "/dev/nvidia0 is not there");
    }
    remedy_make_nodes(exam);
}

/* ---- D11 ------------------------------------------------------------------------------------- */

/* The name of a group, where it is one that can stand in a command. */
static bool group_name(const char *root, gid_t gid, char *name, size_t size)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    struct lines lines;
    bool found = false;
    if (lines_open(&lines, root, "/etc/group") < 0) {
        return false;
    }
    for (const char *line; !found && (line = lines_next(&lines));) {
        size_t length = strcspn(line, ":");
        const char *number = strchr(line + length, ':');
        number = number ? strchr(number + 1, ':') : NULL;
        char *end;
        if (!number || length == 0 || length >= size || strspn(line, allowed) != length) {
            continue;
        }
        unsigned long value = strtoul(number + 1, &end, 10);
        found = end != number + 1 && *end == ':' && value == gid;
        if (found) {
            memcpy(name, line, length);
            name[length] = '\0';
        }
    }
    lines_close(&lines);
    return found;
}

/* The nodes that this user may not use become evidence. Returns the first, NULL where there is
 * none. */
static const struct node *denied_nodes(struct exam *exam)
{
    const struct machine *machine = &exam->machine;
    const struct node *first = NULL;
    for (size_t i = 0; i <= machine->node_count; i++) {
        const struct node *node = i ? &machine->nodes[i - 1] : &machine->control;
        char group[64];
        if ((i == 0 && !machine->has_control) || node->usable) {
            continue;
        }
        if (!group_name(machine->root, node->gid, group, sizeof(group))) {
            (void)snprintf(group, sizeof(group), "%u", (unsigned)node->gid);
        }
        exam_evidence(exam, "%s: mode %04o, group %s", node->path, (unsigned)node->mode, group);
        first = first ? first : node;
    }
    return first;
}

static void remedy_join_in_container(struct exam *exam, const struct node *node)
{
    if (exam->machine.container == CONTAINER_PODMAN) {
        exam_remedy(exam, "podman run --group-add keep-groups …");
        exam_remedy(exam,
                    "For that, who starts the container must be in the node's group on the host.");
    } else {
        exam_remedy(exam, "docker run --group-add %u …", (unsigned)node->gid);
    }
}

/* Joining the group helps where it may use the node, and where it is not root's own. */
static void remedy_permissions(struct exam *exam, const struct node *node)
{
    const struct machine *machine = &exam->machine;
    char group[64];
    bool named = group_name(machine->root, node->gid, group, sizeof(group));
    bool open_group =
        (node->mode & 060) == 060 && (named ? strcmp(group, "root") != 0 : node->gid != 0);
    if (open_group && machine->container) {
        remedy_join_in_container(exam, node);
    } else if (open_group && named) {
        exam_remedy(exam, "sudo usermod -aG %s $USER", group);
        exam_remedy(exam, "Then log out and in.");
    } else {
        exam_remedy(exam, machine->container ? "On the host, outside of this container, for now:"
                                             : "For now:");
        exam_remedy(exam, "sudo chmod 0666 /dev/nvidiactl /dev/nvidia[0-9]* /dev/nvidia-uvm");
        exam_remedy(exam, "For good, and from the next start of the machine:");
        exam_remedy(exam, "echo 'options nvidia NVreg_DeviceFileMode=0666' | "
                          "sudo tee /etc/modprobe.d/nvidia-device-files.conf");
        remedy_renew_initramfs(exam);
    }
}

/* What the driver itself was told to make of its nodes. */
static void note_parameters(struct exam *exam)
{
    char value[32];
    if (lines_value(exam->machine.root, PARAMETERS, "DeviceFileMode", value, sizeof(value))) {
        exam_evidence(exam, PARAMETERS ": DeviceFileMode: %04lo", strtoul(value, NULL, 10) & 07777);
    }
}

void remedy_selinux(struct exam *exam, const char *word)
{
    char enforced[8];
    if (lines_first(exam->machine.root, "/sys/fs/selinux/enforce", enforced, sizeof(enforced)) >
            0 &&
        strcmp(enforced, "1") == 0) {
        exam_evidence(exam, "/sys/fs/selinux/enforce: 1");
        exam_remedy(exam, "Whether SELinux forbade it:");
        exam_remedy(exam, "sudo ausearch -m avc -ts recent | grep %s", word);
    }
}

/* The nodes allow it and the driver still refuses. Without MIG's monitor right as a reason (D24) it
 * is the kernel: a device cgroup, or a security module. */
static void refused_by_driver(struct exam *exam)
{
    const struct machine *machine = &exam->machine;
    if (exam_has_mig_rights(exam) || !exam_gpus_in_state(exam, VRAM_GPU_DENIED)) {
        return;
    }
    exam_problem(exam,
                 "the driver refuses this user a GPU, though the device nodes would allow it");
    remedy_selinux(exam, "nvidia");
    exam_remedy(exam, "Whether it works without this user's limits:");
    exam_remedy(exam, "sudo vram status");
    if (machine->container) {
        exam_remedy(exam, "A container may use only the GPUs that it was started with:");
        exam_remedy(exam, "docker run --gpus all …");
    }
}

void check_permissions(struct exam *exam)
{
    const struct machine *machine = &exam->machine;
    if (!machine->has_control) {
        return; /* nothing to look at: D10, D12 */
    }
    const struct node *node = denied_nodes(exam);
    if (!node) {
        if (machine->user.known && machine->node_count) {
            exam_good(exam, "this user may use the device nodes");
            exam_evidence(exam, "/dev/nvidiactl: mode %04o", (unsigned)machine->control.mode);
        }
        refused_by_driver(exam);
        return;
    }
    if (exam->works && !machine->control.usable) {
        return; /* it was opened after all: the modes are not the whole truth here */
    }
    exam_problem(exam, "this user may not use %s: the device nodes do not allow it",
                 exam->works ? "all GPUs" : "the NVIDIA driver");
    note_parameters(exam);
    remedy_permissions(exam, node);
}
