/* SPDX-License-Identifier: MIT */
/* Where this program runs: which distribution, which kind of container, which service. */
#include "lib/doctor/machine.h"

#include "common/path.h"
#include "lib/doctor/lines.h"
#include <stdio.h>
#include <string.h>

#define FIRST_PID_NAMESPACE "pid:[4026531836]" /* the kernel's own number for it */

/* ---- The distribution ------------------------------------------------------------------------ */

static void read_distribution(struct machine *machine)
{
    static const struct {
        const char *id;
        enum distribution distribution;
    } known[] = {
        {"ubuntu", DISTRIBUTION_UBUNTU}, {"debian", DISTRIBUTION_DEBIAN},
        {"fedora", DISTRIBUTION_FEDORA}, {"rhel", DISTRIBUTION_FEDORA},
        {"centos", DISTRIBUTION_FEDORA}, {"arch", DISTRIBUTION_ARCH},
    };
    static const char *const keys[] = {"ID=", "ID_LIKE="};
    char value[128], name[128];
    for (size_t k = 0; k < ARRAY_LENGTH(keys) && !machine->distribution; k++) {
        if (!lines_value(machine->root, "/etc/os-release", keys[k], value, sizeof(value))) {
            continue;
        }
        for (size_t i = 0; i < ARRAY_LENGTH(known) && !machine->distribution; i++) {
            if (strcasestr(value, known[i].id)) {
                machine->distribution = known[i].distribution;
            }
        }
    }
    if (lines_value(machine->root, "/etc/os-release", "PRETTY_NAME=", name, sizeof(name))) {
        const char *text = name + strspn(name, "\"'");
        (void)snprintf(machine->system, sizeof(machine->system), "%.*s", (int)strcspn(text, "\"'"),
                       text);
    }
}

/* ---- The container and the service ----------------------------------------------------------- */

/* Whether a line of the file has the text in it. */
static bool file_has(const char *root, const char *path, const char *text)
{
    struct lines lines;
    bool found = false;
    if (lines_open(&lines, root, path) < 0) {
        return false;
    }
    for (const char *line; !found && (line = lines_next(&lines));) {
        found = strstr(line, text) != NULL;
    }
    lines_close(&lines);
    return found;
}

static enum container container_by_word(const char *word)
{
    static const struct {
        const char *word;
        enum container container;
    } known[] = {
        {"kubepods", CONTAINER_KUBERNETES},
        {"docker", CONTAINER_DOCKER},
        {"podman", CONTAINER_PODMAN},
        {"libpod", CONTAINER_PODMAN},
        {"lxc", CONTAINER_LXC},
        {"systemd-nspawn", CONTAINER_NSPAWN},
        {"containerd", CONTAINER_OTHER},
        {"oci", CONTAINER_OTHER},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(known); i++) {
        if (strstr(word, known[i].word)) {
            return known[i].container;
        }
    }
    return CONTAINER_NONE;
}

static enum container find_container(const struct machine *machine,
                                     const struct doctor_scene *scene)
{
    const char *root = machine->root;
    char word[64];
    if (scene->env("KUBERNETES_SERVICE_HOST")) {
        return CONTAINER_KUBERNETES;
    }
    if (path_exists(root, "/.singularity.d")) {
        return CONTAINER_APPTAINER;
    }
    if (path_exists(root, "/run/.containerenv")) {
        return CONTAINER_PODMAN;
    }
    if (path_exists(root, "/.dockerenv")) {
        return CONTAINER_DOCKER;
    }
    if (lines_first(root, "/run/systemd/container", word, sizeof(word)) > 0) {
        enum container container = container_by_word(word);
        if (container || strcmp(word, "wsl") != 0) {
            return container ? container : CONTAINER_OTHER;
        }
    }
    /* Not /proc/1/environ: to read it the kernel waits for a process that may be stuck in the driver.
     * The cgroup of process 1 is the container's own; on a host it is "/" or systemd's. */
    static const char *const marks[] = {"kubepods", "/docker", "/libpod", "/lxc/", "/lxc.payload"};
    for (size_t i = 0; i < ARRAY_LENGTH(marks); i++) {
        if (file_has(root, "/proc/1/cgroup", marks[i])) {
            return container_by_word(marks[i]);
        }
    }
    return CONTAINER_NONE;
}

const char *machine_container_name(enum container container)
{
    static const char *const names[] = {
        [CONTAINER_NONE] = NULL,
        [CONTAINER_DOCKER] = "docker",
        [CONTAINER_PODMAN] = "podman",
        [CONTAINER_KUBERNETES] = "kubernetes",
        [CONTAINER_LXC] = "lxc",
        [CONTAINER_APPTAINER] = "apptainer",
        [CONTAINER_NSPAWN] = "systemd-nspawn",
        [CONTAINER_OTHER] = "another kind",
    };
    return names[container];
}

/* "0::/system.slice/backup.service" names a system service; sessions and desktops are other slices.
 * The name stands in commands. */
static void read_service(struct machine *machine)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.@-";
    struct lines lines;
    if (lines_open(&lines, machine->root, "/proc/self/cgroup") < 0) {
        return;
    }
    for (const char *line; !machine->service[0] && (line = lines_next(&lines));) {
        const char *name = strstr(line, ":/system.slice/");
        name = name ? name + strlen(":/system.slice/") : NULL;
        size_t length = name ? strspn(name, allowed) : 0;
        if (length > 8 && length < sizeof(machine->service) && strchr("/", name[length]) &&
            strncmp(name + length - 8, ".service", 8) == 0) {
            memcpy(machine->service, name, length);
            machine->service[length] = '\0';
        }
    }
    lines_close(&lines);
    /* PrivateDevices= makes a /dev of harmless pseudo-devices; the kernel's log is not among them.
     */
    machine->private_dev =
        path_exists(machine->root, "/dev/null") && !path_exists(machine->root, "/dev/kmsg");
}

void place_read(const struct doctor_scene *scene, struct machine *machine)
{
    char target[64];
    read_distribution(machine);
    machine->container = find_container(machine, scene);
    machine->private_pids =
        path_read_link(scene->root, "/proc/self/ns/pid", target, sizeof(target)) > 0 &&
        strcmp(target, FIRST_PID_NAMESPACE) != 0;
    read_service(machine);
}
