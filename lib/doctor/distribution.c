/* SPDX-License-Identifier: MIT */
/*
 * Remedies whose commands differ by distribution. Where a command needs a version, it is the loaded
 * module's own: a library of another version does not speak with it.
 */
#include "lib/doctor/exam.h"

/* Branches that distributions keep under names of their own, because newer ones do not drive old
 * GPUs. */
static bool is_legacy(unsigned branch)
{
    return branch == 390 || branch == 470;
}

static void debian_library(struct exam *exam, unsigned branch)
{
    if (is_legacy(branch)) {
        exam_remedy(exam, "sudo apt install libnvidia-%s-ml1",
                    branch == 390 ? "legacy-390xx" : "tesla-470");
    } else {
        exam_remedy(exam, "sudo apt install libnvidia-ml1");
    }
    exam_remedy(exam, "It is in the component non-free; /etc/apt/sources.list must name that.");
}

static void ubuntu_library(struct exam *exam, unsigned branch)
{
    if (branch) {
        exam_remedy(exam, "sudo apt install libnvidia-compute-%u", branch);
        exam_remedy(exam, "If the driver's packages end in -server:");
        exam_remedy(exam, "sudo apt install libnvidia-compute-%u-server", branch);
    } else {
        exam_remedy(exam, "sudo ubuntu-drivers install");
    }
}

static void fedora_library(struct exam *exam, unsigned branch)
{
    exam_remedy(exam, "With the driver from RPM Fusion:");
    if (is_legacy(branch)) {
        exam_remedy(exam, "sudo dnf install xorg-x11-drv-nvidia-%uxx-cuda-libs", branch);
    } else {
        exam_remedy(exam, "sudo dnf install xorg-x11-drv-nvidia-cuda-libs");
    }
    exam_remedy(exam, "With the driver from NVIDIA's repository:");
    exam_remedy(exam, "sudo dnf install nvidia-driver-cuda-libs");
}

void remedy_install_library(struct exam *exam)
{
    const struct machine *machine = &exam->machine;
    switch (machine->distribution) {
    case DISTRIBUTION_DEBIAN:
        debian_library(exam, machine->module_branch);
        break;
    case DISTRIBUTION_UBUNTU:
        ubuntu_library(exam, machine->module_branch);
        break;
    case DISTRIBUTION_FEDORA:
        fedora_library(exam, machine->module_branch);
        break;
    case DISTRIBUTION_ARCH:
        exam_remedy(exam, "sudo pacman -S nvidia-utils");
        break;
    case DISTRIBUTION_OTHER:
        exam_remedy(exam, "Install your distribution's package that holds libnvidia-ml.so.1%s%s.",
                    machine->module_version[0] ? ", of version " : "", machine->module_version);
        break;
    }
    exam_remedy(exam, "sudo ldconfig");
}

void remedy_install_driver(struct exam *exam)
{
    switch (exam->machine.distribution) {
    case DISTRIBUTION_DEBIAN:
        exam_remedy(exam, "sudo apt install linux-headers-$(uname -r) nvidia-driver");
        exam_remedy(
            exam, "The driver is in the component non-free; /etc/apt/sources.list must name that.");
        break;
    case DISTRIBUTION_UBUNTU:
        exam_remedy(exam, "sudo ubuntu-drivers install");
        break;
    case DISTRIBUTION_FEDORA:
        exam_remedy(exam, "sudo dnf install akmod-nvidia xorg-x11-drv-nvidia-cuda");
        exam_remedy(exam, "Both are in RPM Fusion's nonfree repository.");
        break;
    case DISTRIBUTION_ARCH:
        exam_remedy(exam, "sudo pacman -S nvidia-dkms nvidia-utils linux-headers");
        break;
    case DISTRIBUTION_OTHER:
        exam_remedy(exam, "Install NVIDIA's driver with your distribution's package manager.");
        break;
    }
    exam_remedy(exam, "Then restart the machine.");
}

void remedy_build_module(struct exam *exam)
{
    switch (exam->machine.distribution) {
    case DISTRIBUTION_DEBIAN:
    case DISTRIBUTION_UBUNTU:
        exam_remedy(exam, "sudo apt install linux-headers-$(uname -r)");
        exam_remedy(exam, "sudo dkms autoinstall");
        break;
    case DISTRIBUTION_FEDORA:
        exam_remedy(exam, "sudo dnf install kernel-devel-$(uname -r)");
        exam_remedy(exam, "With the driver from RPM Fusion:");
        exam_remedy(exam, "sudo akmods --force");
        exam_remedy(exam, "With the driver from NVIDIA's repository:");
        exam_remedy(exam, "sudo dkms autoinstall");
        exam_remedy(exam, "Then:");
        break;
    case DISTRIBUTION_ARCH:
        exam_remedy(exam, "sudo pacman -S linux-headers");
        exam_remedy(exam, "sudo dkms autoinstall");
        break;
    case DISTRIBUTION_OTHER:
        exam_remedy(exam, "Install the headers of the running kernel, then:");
        exam_remedy(exam, "sudo dkms autoinstall");
        break;
    }
    exam_remedy(exam, "sudo modprobe nvidia");
}

void remedy_renew_initramfs(struct exam *exam)
{
    switch (exam->machine.distribution) {
    case DISTRIBUTION_DEBIAN:
    case DISTRIBUTION_UBUNTU:
        exam_remedy(exam, "sudo update-initramfs -u");
        break;
    case DISTRIBUTION_FEDORA:
        exam_remedy(exam, "sudo dracut -f");
        break;
    case DISTRIBUTION_ARCH:
        exam_remedy(exam, "sudo mkinitcpio -P");
        break;
    case DISTRIBUTION_OTHER:
        exam_remedy(exam, "sudo update-initramfs -u || sudo dracut -f");
        break;
    }
}
