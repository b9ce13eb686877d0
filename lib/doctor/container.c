/* SPDX-License-Identifier: MIT */
/* What a container or a service was given of the host's GPUs: D12, D13, D14, D15, D25. */
#include "lib/doctor/exam.h"

#include <errno.h>
#include <string.h>

/* The driver is at hand, and opening it is what fails: how it looks when a cgroup forbids the
 * devices. */
static bool open_is_refused(const struct exam *exam)
{
    const struct machine *machine = &exam->machine;
    const struct err *start = exam->scene->start;
    bool refused = exam_start_failed(exam, "driver_blocked") ||
                   exam_start_failed(exam, "no_permission") ||
                   (exam_start_failed(exam, "driver_failed") && start->driver_code == 999);
    return refused && machine->has_control && machine->control.usable &&
           (!machine->node_count || machine->nodes[0].usable);
}

/* ---- Remedies by kind of container -------------------------------------------------------------
 */

static void remedy_docker(struct exam *exam)
{
    exam_remedy(exam, "docker run --gpus all …");
    exam_remedy(exam, "In a compose file, as the service's deploy.resources.reservations.devices:");
    exam_remedy(exam, "[{driver: nvidia, count: all, capabilities: [gpu]}]");
    exam_remedy(
        exam, "If docker \"could not select device driver\", install the NVIDIA Container Toolkit "
              "on the host, then:");
    exam_remedy(exam, "sudo nvidia-ctk runtime configure --runtime=docker && "
                      "sudo systemctl restart docker");
}

static void remedy_podman(struct exam *exam)
{
    exam_remedy(exam, "podman run --device nvidia.com/gpu=all …");
    exam_remedy(exam, "If podman does not know that device, on the host:");
    exam_remedy(exam, "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml");
}

void remedy_give_gpus(struct exam *exam)
{
    exam_remedy(exam, "Start the container with the GPUs:");
    switch (exam->machine.container) {
    case CONTAINER_DOCKER:
        remedy_docker(exam);
        break;
    case CONTAINER_PODMAN:
        remedy_podman(exam);
        break;
    case CONTAINER_KUBERNETES:
        exam_remedy(exam, "In the pod, as the container's resources:");
        exam_remedy(exam, "limits: {nvidia.com/gpu: 1}");
        exam_remedy(exam, "The node needs NVIDIA's device plugin.");
        break;
    case CONTAINER_LXC:
        exam_remedy(
            exam, "lxc config set NAME nvidia.runtime=true && lxc config device add NAME gpu gpu");
        break;
    case CONTAINER_APPTAINER:
        exam_remedy(exam, "apptainer exec --nv IMAGE COMMAND");
        break;
    case CONTAINER_NSPAWN:
        exam_remedy(exam, "systemd-nspawn --bind=/dev/nvidiactl --bind=/dev/nvidia0 "
                          "--bind=/dev/nvidia-uvm --property=DeviceAllow='char-nvidia* rw' …");
        exam_remedy(exam, "It needs the driver's library of the host's version too.");
        break;
    case CONTAINER_NONE:
    case CONTAINER_OTHER:
        remedy_docker(exam);
        remedy_podman(exam);
        break;
    }
}

/* ---- D12 ------------------------------------------------------------------------------------- */

void check_container(struct exam *exam)
{
    const struct machine *machine = &exam->machine;
    const char *name = machine_container_name(machine->container);
    if (!name || machine->wsl) {
        return;
    }
    if (exam->works) {
        exam_good(exam, "this container (%s) was given GPUs", name);
        return;
    }
    if (machine->node_count || !(machine->module_loaded || machine->gpu_count)) {
        return; /* given, and something else is wrong; or there is none to give: D01 */
    }
    exam_problem(exam, "this container (%s) was started without GPUs", name);
    exam_evidence(exam, "/dev/nvidia0 is not there");
    if (machine->module_loaded) {
        exam_evidence(exam, "the host's driver is loaded%s%s",
                      machine->module_version[0] ? ": " : "", machine->module_version);
    }
    remedy_give_gpus(exam);
}

/* ---- D13 ------------------------------------------------------------------------------------- */

void check_capabilities(struct exam *exam)
{
    const struct machine *machine = &exam->machine;
    const char *given = exam->scene->env("NVIDIA_DRIVER_CAPABILITIES");
    if (exam->works || !machine->container || !machine->node_count || machine->library.path[0] ||
        !exam_start_failed(exam, "library_not_found")) {
        return;
    }
    exam_problem(exam, "this container has the device nodes and not the driver's library");
    exam_evidence(exam, "%s is there", machine->nodes[0].path);
    if (given && given[0] && !strstr(given, "utility") && !strstr(given, "all")) {
        exam_evidence(exam, "NVIDIA_DRIVER_CAPABILITIES=%.100s lacks utility", given);
        exam_remedy(exam, "Start the container with:");
        exam_remedy(exam, "-e NVIDIA_DRIVER_CAPABILITIES=compute,utility");
    } else {
        exam_evidence(exam, "no libnvidia-ml.so.1 in the container");
        exam_remedy(exam,
                    "Devices that are handed in one by one (--device) come without the driver's "
                    "files.");
        remedy_give_gpus(exam);
    }
}

/* ---- D14 ------------------------------------------------------------------------------------- */

void check_device_cgroup(struct exam *exam)
{
    const struct machine *machine = &exam->machine;
    if (exam->works || !machine->container || !machine->node_count || !open_is_refused(exam)) {
        return;
    }
    exam_problem(exam, "the container's cgroup forbids the GPU, most likely since `systemctl "
                       "daemon-reload` on the host made the container's device rules anew");
    exam_evidence(exam, "/dev/nvidiactl: mode %04o, which allows it",
                  (unsigned)machine->control.mode);
    exam_evidence(exam, "%s", exam->scene->start->message);
    exam_remedy(exam, "Restart the container. For good, on the host:");
    exam_remedy(exam, "sudo nvidia-ctk system create-dev-char-symlinks --create-all");
    exam_remedy(exam, "Or hand the nodes in by name when the container is started:");
    exam_remedy(exam, "--device=/dev/nvidiactl --device=/dev/nvidia0 --device=/dev/nvidia-uvm");
}

/* ---- D15 ------------------------------------------------------------------------------------- */

void check_sandbox(struct exam *exam)
{
    const struct machine *machine = &exam->machine;
    bool hidden = machine->private_dev && !machine->has_control;
    if (exam->works || machine->container || !machine->service[0] || !machine->module_loaded ||
        !(hidden || open_is_refused(exam))) {
        return;
    }
    exam_problem(exam, "the service %s runs in a sandbox that hides the GPU's devices",
                 machine->service);
    exam_evidence(exam, "/proc/self/cgroup: %s", machine->service);
    if (hidden) {
        exam_evidence(exam, "/dev has neither nvidiactl nor kmsg, as with PrivateDevices=yes");
    } else {
        exam_evidence(exam,
                      "/dev/nvidiactl: mode %04o, and opening it fails, as with DevicePolicy=",
                      (unsigned)machine->control.mode);
    }
    exam_remedy(exam, "sudo systemctl edit '%s'", machine->service);
    exam_remedy(exam, "There, under [Service]:");
    exam_remedy(exam, "PrivateDevices=no");
    exam_remedy(exam, "DeviceAllow=char-nvidia* rw");
    exam_remedy(exam, "Then:");
    exam_remedy(exam, "sudo systemctl restart '%s'", machine->service);
}

/* ---- D25 ------------------------------------------------------------------------------------- */

/* "void" is also what the container toolkit leaves behind where it gave devices by another way. */
static bool asks_for_none(const char *value)
{
    return value && (!value[0] || strcmp(value, "void") == 0 || strcmp(value, "none") == 0);
}

static void explain_order(struct exam *exam)
{
    exam_remedy(exam, "CUDA counts the fastest GPU first; to count as vram and nvidia-smi do:");
    exam_remedy(exam, "export CUDA_DEVICE_ORDER=PCI_BUS_ID");
}

static void cuda_visibility(struct exam *exam, const char *value)
{
    const char *order = exam->scene->env("CUDA_DEVICE_ORDER");
    size_t all = exam_gpu_count(exam);
    size_t positions[64]; /* it compares with what it wrote to find GPUs that are named twice */
    int shown = vram_select_visible(exam->scene->snapshot, value, order, positions,
                                    ARRAY_LENGTH(positions));
    if (shown == -EXDEV) {
        exam_note(exam,
                  "CUDA_VISIBLE_DEVICES counts GPUs of different models, which CUDA numbers in "
                  "an order of its own");
        explain_order(exam);
    } else if (shown <= 0) {
        exam_problem(exam, "CUDA_VISIBLE_DEVICES hides all GPUs from programs");
        exam_remedy(exam, "unset CUDA_VISIBLE_DEVICES");
    } else if ((size_t)shown < all) {
        exam_note(exam, "CUDA_VISIBLE_DEVICES shows %d of %zu GPUs to programs", shown, all);
        exam_remedy(exam, "To show all:");
        exam_remedy(exam, "unset CUDA_VISIBLE_DEVICES");
        exam_remedy(exam, "CUDA ignores what follows the first entry that names no GPU.");
    } else {
        exam_good(exam, "CUDA_VISIBLE_DEVICES shows all GPUs to programs");
    }
    exam_evidence(exam, "CUDA_VISIBLE_DEVICES=%.200s", value);
}

void check_visibility(struct exam *exam)
{
    const struct machine *machine = &exam->machine;
    const char *cuda = exam->scene->env("CUDA_VISIBLE_DEVICES");
    const char *given = exam->scene->env("NVIDIA_VISIBLE_DEVICES");
    if (exam->works && cuda) {
        cuda_visibility(exam, cuda);
    } else if (!exam->works && !exam->scene->simulation && machine->container &&
               (machine->module_loaded || machine->gpu_count) && !machine->node_count &&
               asks_for_none(given)) {
        exam_problem(exam,
                     "NVIDIA_VISIBLE_DEVICES asks for no GPU, so that this container got none");
        exam_evidence(exam, "NVIDIA_VISIBLE_DEVICES=%s", given);
        exam_evidence(exam, "/dev/nvidia0 is not there");
        exam_remedy(exam, "Start the container with:");
        exam_remedy(exam, "-e NVIDIA_VISIBLE_DEVICES=all");
    }
}
