/* SPDX-License-Identifier: MIT */
#include "lib/doctor/machine.h"

#include "common/path.h"
#include "lib/doctor/lines.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_ENTRIES 4096
#define CAP_DAC_OVERRIDE_BIT 1

#define PCI_NVIDIA 0x10deu
#define PCI_AMD 0x1002u
#define PCI_INTEL 0x8086u

int machine_each(const char *root, const char *path, bool (*entry)(void *data, const char *name),
                 void *data)
{
    DIR *directory = path_open_dir(root, path);
    if (!directory) {
        return errno == ENOMEM ? -ENOMEM : 0;
    }
    bool more = true;
    for (size_t i = 0; more && i < MOST_ENTRIES; i++) {
        struct dirent *next = readdir(directory);
        more = next && (next->d_name[0] == '.' || entry(data, next->d_name));
    }
    (void)closedir(directory);
    return 0;
}

/* ---- The bus --------------------------------------------------------------------------------- */

static unsigned read_hex(const char *root, const char *directory, const char *file)
{
    char path[PATH_TEXT_MAX], word[32];
    (void)snprintf(path, sizeof(path), "%s/%s", directory, file);
    return lines_first(root, path, word, sizeof(word)) > 0 ? (unsigned)strtoul(word, NULL, 16) : 0;
}

static void read_owner(const char *root, const char *directory, struct bus_gpu *gpu)
{
    char path[PATH_TEXT_MAX], target[PATH_TEXT_MAX];
    (void)snprintf(path, sizeof(path), "%s/driver", directory);
    if (path_read_link(root, path, target, sizeof(target)) > 0) {
        const char *slash = strrchr(target, '/');
        (void)snprintf(gpu->driver, sizeof(gpu->driver), "%.31s", slash ? slash + 1 : target);
    }
    (void)snprintf(path, sizeof(path), "%s/power/control", directory);
    if (lines_first(root, path, target, sizeof(target)) > 0) {
        gpu->runtime_managed = strcmp(target, "auto") == 0;
    }
}

static bool note_device(void *data, const char *name)
{
    struct machine *machine = data;
    unsigned domain, bus, device, function;
    char rest, directory[64];
    if (strlen(name) >= sizeof(machine->gpus[0].address) ||
        sscanf(name, "%x:%x:%x.%x%c", &domain, &bus, &device, &function, &rest) != 4) {
        return true;
    }
    machine->bus_devices++;
    (void)snprintf(directory, sizeof(directory), "/sys/bus/pci/devices/%.15s", name);
    if (read_hex(machine->root, directory, "class") >> 16 != 0x03) {
        return true; /* attributes of the kernel's own, which wake no device */
    }
    unsigned vendor = read_hex(machine->root, directory, "vendor");
    machine->has_amd |= vendor == PCI_AMD;
    machine->has_intel |= vendor == PCI_INTEL;
    if (vendor == PCI_NVIDIA && machine->gpu_count < MOST_BUS_GPUS) {
        struct bus_gpu *gpu = &machine->gpus[machine->gpu_count++];
        (void)snprintf(gpu->address, sizeof(gpu->address), "%04x:%02x:%02x.%x", domain & 0xffffffu,
                       bus & 0xffu, device & 0xffu, function & 0xfu);
        read_owner(machine->root, directory, gpu);
    }
    return true;
}

static int by_address(const void *a, const void *b)
{
    const struct bus_gpu *left = a, *right = b;
    return strcmp(left->address, right->address);
}

static int read_bus(struct machine *machine)
{
    int r = machine_each(machine->root, "/sys/bus/pci/devices", note_device, machine);
    machine->bus_known = machine->bus_devices > 0;
    qsort(machine->gpus, machine->gpu_count, sizeof(machine->gpus[0]), by_address);
    return r;
}

/* ---- The kernel and its module --------------------------------------------------------------- */

/* A version stands in commands and file names: digits and dots, or nothing. */
static void keep_version(char *version)
{
    if (version[strspn(version, "0123456789.")] != '\0') {
        version[0] = '\0';
    }
}

static void read_kernel(struct machine *machine)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+~-";
    static const char *const hypervisors[] = {"QEMU",    "VMware", "Xen",
                                              "innotek", "Amazon", "Google"};
    const char *root = machine->root;
    char word[128];
    if (lines_first(root, "/proc/sys/kernel/osrelease", word, sizeof(word)) > 0 &&
        word[strspn(word, allowed)] == '\0') {
        (void)snprintf(machine->kernel, sizeof(machine->kernel), "%.95s", word);
    }
    machine->wsl = strcasestr(machine->kernel, "microsoft") || path_exists(root, "/dev/dxg");
    machine->tegra =
        path_exists(root, "/etc/nv_tegra_release") ||
        (lines_first(root, "/sys/firmware/devicetree/base/compatible", word, sizeof(word)) > 0 &&
         strstr(word, "nvidia,"));
    if (lines_first(root, "/sys/class/dmi/id/sys_vendor", word, sizeof(word)) > 0) {
        for (size_t i = 0; i < ARRAY_LENGTH(hypervisors); i++) {
            machine->virtual_machine |= strstr(word, hypervisors[i]) != NULL;
        }
    }
}

static void read_module(struct machine *machine)
{
    const char *root = machine->root;
    machine->module_loaded =
        path_exists(root, "/sys/module/nvidia") || path_exists(root, "/proc/driver/nvidia/version");
    if (lines_first(root, "/sys/module/nvidia/version", machine->module_version,
                    sizeof(machine->module_version)) > 0) {
        keep_version(machine->module_version);
        machine->module_branch = (unsigned)strtoul(machine->module_version, NULL, 10) % 100000;
    }
}

/* ---- The user and the nodes ------------------------------------------------------------------ */

static void read_groups(struct user *user, const char *text)
{
    char *end;
    for (; user->group_count < MOST_GROUPS; text = end) {
        unsigned long gid = strtoul(text, &end, 10);
        if (end == text) {
            break;
        }
        user->groups[user->group_count++] = (gid_t)gid;
    }
}

static void read_user(const char *root, struct user *user)
{
    static const char status[] = "/proc/self/status";
    unsigned real, effective;
    char text[LINE_MAX_BYTES];
    if (!lines_value(root, status, "Uid:", text, sizeof(text)) ||
        sscanf(text, "%u %u", &real, &effective) != 2) {
        return;
    }
    user->known = true;
    user->uid = (uid_t)effective;
    user->overrides = effective == 0;
    if (lines_value(root, status, "CapEff:", text, sizeof(text))) {
        user->overrides |= strtoull(text, NULL, 16) >> CAP_DAC_OVERRIDE_BIT & 1;
    }
    if (lines_value(root, status, "Gid:", text, sizeof(text)) &&
        sscanf(text, "%u %u", &real, &effective) == 2) {
        user->groups[user->group_count++] = (gid_t)effective;
    }
    if (lines_value(root, status, "Groups:", text, sizeof(text))) {
        read_groups(user, text);
    }
}

static bool is_member(const struct user *user, gid_t gid)
{
    for (size_t i = 0; i < user->group_count; i++) {
        if (user->groups[i] == gid) {
            return true;
        }
    }
    return false;
}

/* As the kernel decides it: the first of owner, group and others that applies, and no other. */
static bool may_use(const struct user *user, const struct node *node)
{
    if (!user->known || user->overrides) {
        return true;
    }
    unsigned shift = user->uid == node->uid ? 6 : is_member(user, node->gid) ? 3 : 0;
    return (node->mode >> shift & 6) == 6;
}

bool machine_node(const struct machine *machine, const char *path, struct node *ret_node)
{
    struct stat st;
    if (lines_stat(machine->root, path, &st) < 0) {
        return false;
    }
    struct node node = {.mode = st.st_mode & 0777, .uid = st.st_uid, .gid = st.st_gid};
    (void)snprintf(node.path, sizeof(node.path), "%.39s", path);
    node.usable = may_use(&machine->user, &node);
    *ret_node = node;
    return true;
}

bool machine_nodes_usable(const struct machine *machine)
{
    bool usable = !machine->has_control || machine->control.usable;
    for (size_t i = 0; usable && i < machine->node_count; i++) {
        usable = machine->nodes[i].usable;
    }
    return usable;
}

static bool note_node(void *data, const char *name)
{
    struct machine *machine = data;
    size_t digits = strncmp(name, "nvidia", 6) == 0 ? strspn(name + 6, "0123456789") : 0;
    char path[40];
    if (digits > 0 && digits < 6 && name[6 + digits] == '\0') {
        (void)snprintf(path, sizeof(path), "/dev/%.15s", name);
        machine->node_count += machine_node(machine, path, &machine->nodes[machine->node_count]);
    }
    return machine->node_count < MOST_NODES;
}

static int by_path(const void *a, const void *b)
{
    const struct node *left = a, *right = b;
    return strverscmp(left->path, right->path);
}

static int read_nodes(struct machine *machine)
{
    machine->has_control = machine_node(machine, "/dev/nvidiactl", &machine->control);
    int r = machine_each(machine->root, "/dev", note_node, machine);
    qsort(machine->nodes, machine->node_count, sizeof(machine->nodes[0]), by_path);
    return r;
}

int machine_read(const struct doctor_scene *scene, struct machine *ret_machine)
{
    *ret_machine = (struct machine){.root = scene->root};
    read_kernel(ret_machine);
    read_user(scene->root, &ret_machine->user);
    read_module(ret_machine);
    place_read(scene, ret_machine);
    library_find(scene, &ret_machine->library);
    int r = read_bus(ret_machine);
    return r < 0 ? r : read_nodes(ret_machine);
}
