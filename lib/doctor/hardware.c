/* SPDX-License-Identifier: MIT */
/* What is on the PCI bus and which kernel driver owns it: D01, D05, D06, D33. */
#include "lib/doctor/exam.h"

#include <stdio.h>
#include <string.h>

/* ---- D01 ------------------------------------------------------------------------------------- */

/* The driver runs and lists nothing, though GPUs are there. */
static void hardware_unlisted(struct exam *exam)
{
    const struct machine *machine = &exam->machine;
    exam_problem(exam,
                 "the NVIDIA driver works and has no GPU; most likely it does not support the "
                 "one that is there, or its start failed");
    for (size_t i = 0; i < machine->gpu_count && i < 8; i++) {
        const struct bus_gpu *gpu = &machine->gpus[i];
        exam_evidence(exam, "%s is on the PCI bus, driver: %s", gpu->address,
                      gpu->driver[0] ? gpu->driver : "none");
    }
    exam_remedy(exam, "The kernel's log says why:");
    exam_remedy(exam, "sudo dmesg | grep -i nvrm");
    exam_remedy(exam,
                "Very new GPUs need the driver's open kernel module, old ones an older branch.");
}

static void hardware_absent(struct exam *exam)
{
    const struct machine *machine = &exam->machine;
    exam_problem(exam, "there is no NVIDIA GPU on the PCI bus");
    if (machine->bus_known) {
        exam_evidence(exam, "/sys/bus/pci/devices: of %zu none has vendor 0x10de and class 0x03",
                      machine->bus_devices);
    } else {
        exam_evidence(exam, "/sys/bus/pci/devices is empty or cannot be read");
    }
    if (machine->has_amd || machine->has_intel) {
        exam_evidence(exam, "there is a GPU of %s, which this version does not read",
                      machine->has_amd ? "AMD" : "Intel");
    }
    if (machine->container) {
        exam_remedy(exam, "On the host, outside of this container, look whether there is one:");
    } else if (machine->virtual_machine) {
        exam_remedy(exam,
                    "This is a virtual machine: pass the GPU through to it, then look for it:");
    } else {
        exam_remedy(exam,
                    "Is the card seated and powered, and not switched off in the firmware? Then:");
        exam_remedy(exam, "echo 1 | sudo tee /sys/bus/pci/rescan");
    }
    exam_remedy(exam, "lspci -nn | grep -i nvidia");
    if (machine->container) {
        exam_remedy(exam, "If there is one, start the container with it:");
        exam_remedy(exam, "docker run --gpus all …");
    }
    exam_remedy(exam, "To try vram without a GPU:");
    exam_remedy(exam, "vram --driver sim:rtx4090 status");
}

static void hardware_present(struct exam *exam)
{
    const struct machine *machine = &exam->machine;
    exam_good(exam, "%zu NVIDIA GPU%s on the PCI bus", machine->gpu_count,
              machine->gpu_count == 1 ? " is" : "s are");
    for (size_t i = 0; i < machine->gpu_count && i < 8; i++) {
        exam_evidence(exam, "%s", machine->gpus[i].address);
    }
}

void check_hardware(struct exam *exam)
{
    const struct machine *machine = &exam->machine;
    bool off_bus = machine->wsl || machine->tegra;
    bool no_gpu = exam_start_failed(exam, "no_gpu") || (!exam->scene->start && !exam->works);
    if (exam->scene->simulation) {
        if (no_gpu) {
            exam_problem(exam, "the simulated machine has no GPU");
            exam_remedy(exam, "Name another:");
            exam_remedy(exam, "vram --driver sim:rtx4090 status");
        }
    } else if (!machine->gpu_count && !exam->works && !off_bus && !exam_is_served(exam)) {
        hardware_absent(exam);
    } else if (no_gpu && !machine->container) {
        hardware_unlisted(exam); /* in a container: D12, D25 */
    } else if (machine->gpu_count) {
        hardware_present(exam);
    }
}

/* ---- D05, D06 -------------------------------------------------------------------------------- */

/* GPUs that this kernel driver owns become evidence. Returns how many there are. */
static size_t owned_by(struct exam *exam, const char *driver)
{
    size_t count = 0;
    for (size_t i = 0; i < exam->machine.gpu_count; i++) {
        const struct bus_gpu *gpu = &exam->machine.gpus[i];
        if (strcmp(gpu->driver, driver) == 0) {
            exam_evidence(exam, "/sys/bus/pci/devices/%s/driver: %s", gpu->address, driver);
            count++;
        }
    }
    return count;
}

void check_nouveau(struct exam *exam)
{
    size_t old = owned_by(exam, "nouveau");
    size_t count = old + owned_by(exam, "nova") + owned_by(exam, "nova_core");
    if (!count) {
        return;
    }
    const char *name = old ? "nouveau" : "nova_core";
    exam_problem(exam, "%s, the kernel's own driver, holds %s, so that NVIDIA's driver cannot",
                 name, count == 1 ? "a GPU" : "GPUs");
    if (exam->machine.container) {
        exam_remedy(exam, "On the host, outside of this container:");
    }
    exam_remedy(exam, "printf 'blacklist %s\\n%s' | sudo tee /etc/modprobe.d/blacklist-%s.conf",
                name, old ? "options nouveau modeset=0\\n" : "", name);
    remedy_renew_initramfs(exam);
    if (!exam->works) {
        exam_remedy(exam, "Where NVIDIA's driver is not installed yet:");
        remedy_install_driver(exam);
    } else {
        exam_remedy(exam, "Then restart the machine.");
    }
}

void check_vfio(struct exam *exam)
{
    size_t count = owned_by(exam, "vfio-pci") + owned_by(exam, "pci-stub");
    if (!count) {
        return;
    }
    if (exam->works || count < exam->machine.gpu_count) {
        exam_note(exam, "%zu of %zu GPUs are set aside for virtual machines and are not shown here",
                  count, exam->machine.gpu_count);
    } else {
        exam_problem(exam, "%s set aside for virtual machines, so that this system cannot use %s",
                     count == 1 ? "the GPU is" : "all GPUs are", count == 1 ? "it" : "them");
    }
    exam_remedy(exam, "To give one back, if no virtual machine uses it:");
    for (size_t i = 0; i < exam->machine.gpu_count; i++) {
        const struct bus_gpu *gpu = &exam->machine.gpus[i];
        if (strcmp(gpu->driver, "vfio-pci") == 0) {
            exam_remedy(exam, "sudo driverctl unset-override %s", gpu->address);
            exam_remedy(exam, "Without driverctl:");
            exam_remedy(exam,
                        "echo %s | sudo tee /sys/bus/pci/drivers/vfio-pci/unbind && "
                        "sudo modprobe nvidia",
                        gpu->address);
            return;
        }
    }
    exam_remedy(exam, "Take its ids out of the kernel's command line (pci-stub.ids=) and restart.");
}

/* ---- D33 ------------------------------------------------------------------------------------- */

void check_amd(struct exam *exam)
{
    struct node node;
    if (!exam->machine.has_amd) {
        return;
    }
    exam_note(exam, "there is an AMD GPU, which this version does not read");
    exam_evidence(exam, "/sys/bus/pci/devices: vendor 0x1002, class 0x03");
    if (machine_node(&exam->machine, "/dev/dri/renderD128", &node) && !node.usable) {
        exam_evidence(exam, "%s: mode %04o, not for this user", node.path, (unsigned)node.mode);
        exam_remedy(exam, "For programs of this user to use it:");
        exam_remedy(exam, "sudo usermod -aG render,video $USER");
        exam_remedy(exam, "Then log out and in.");
    }
}
