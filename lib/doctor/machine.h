/* SPDX-License-Identifier: MIT */
/*
 * What the files of a machine say about its GPUs and about where this program runs: read once,
 * before the checks, so that each of them is a few comparisons. Nothing here opens a device or
 * wakes one.
 */
#ifndef VRAM_LIB_DOCTOR_MACHINE_H
#define VRAM_LIB_DOCTOR_MACHINE_H

#include "common/attr.h"
#include "lib/doctor.h"
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define MOST_BUS_GPUS 64
#define MOST_NODES 64
#define MOST_GROUPS 128

/* A display controller or accelerator on the PCI bus. */
struct bus_gpu {
    char address[16];     /* "0000:01:00.0" */
    char driver[32];      /* the kernel driver that owns it, "" for none */
    bool runtime_managed; /* the kernel may put it to sleep */
};

/* A device node, or a file that stands for one. */
struct node {
    char path[40];
    mode_t mode; /* the nine permission bits */
    uid_t uid;
    gid_t gid;
    bool usable; /* by its mode, for this user */
};

/* Who runs this program, from /proc/self/status. */
struct user {
    bool known;
    bool overrides; /* root, or a program that may pass over file modes */
    uid_t uid;
    size_t group_count;
    gid_t groups[MOST_GROUPS];
};

enum container {
    CONTAINER_NONE = 0,
    CONTAINER_DOCKER,
    CONTAINER_PODMAN,
    CONTAINER_KUBERNETES,
    CONTAINER_LXC,
    CONTAINER_APPTAINER,
    CONTAINER_NSPAWN,
    CONTAINER_OTHER,
};

enum distribution {
    DISTRIBUTION_OTHER = 0,
    DISTRIBUTION_DEBIAN,
    DISTRIBUTION_UBUNTU,
    DISTRIBUTION_FEDORA,
    DISTRIBUTION_ARCH,
};

/* libnvidia-ml.so.1 as the loader would find it. Paths are without the root; "" for none. */
struct driver_library {
    char path[256];    /* the one for this machine */
    char version[32];  /* "550.54.14", from the name of the file that it is a link to */
    char foreign[256]; /* one that is for another kind of machine, or no library */
    char stub[256];    /* the CUDA toolkit's, which is for linking only */
    char gone[256];    /* in the loader's cache, and not there */
};

struct machine {
    const char *root;
    char system[96]; /* "Debian GNU/Linux 12 (bookworm)", "" where unknown */
    char kernel[96]; /* "6.1.0-18-amd64", "" where unknown */
    enum distribution distribution;
    enum container container;
    bool wsl;   /* Linux below Windows */
    bool tegra; /* a system on chip whose GPU is on no bus */
    bool virtual_machine;
    bool private_pids; /* in a PID namespace of its own */
    bool private_dev;  /* a /dev made for one service */
    char service[96];  /* the system service that this program runs in, "" for none */
    struct user user;

    bool bus_known;
    size_t bus_devices; /* of any kind */
    size_t gpu_count;   /* NVIDIA's */
    struct bus_gpu gpus[MOST_BUS_GPUS];
    bool has_amd, has_intel;

    bool module_loaded;
    char module_version[32]; /* "550.54.14", "" where unknown */
    unsigned module_branch;  /* 550; 0 where unknown */

    struct driver_library library;

    bool has_control; /* /dev/nvidiactl */
    struct node control;
    size_t node_count; /* /dev/nvidia0 and on */
    struct node nodes[MOST_NODES];
};

/* 0 or -ENOMEM. `scene` is used during the call only, but for its root. */
MUST_CHECK int machine_read(const struct doctor_scene *scene, struct machine *ret_machine);

/* For machine_read(): lib/doctor/place.c, lib/doctor/library.c. */
void place_read(const struct doctor_scene *scene, struct machine *machine);
void library_find(const struct doctor_scene *scene, struct driver_library *ret_library);

/* The status of a node and whether this user may read and write it. False: it is not there. */
bool machine_node(const struct machine *machine, const char *path, struct node *ret_node);

/* Whether this user may use all nodes of the driver that are there. */
bool machine_nodes_usable(const struct machine *machine);

/* "docker", "podman" …; NULL for CONTAINER_NONE. */
const char *machine_container_name(enum container container);

/* A directory's entries, in no order: `entry` returns false to end early. 0, also where there is no
 * such directory; -ENOMEM. At most 4096 entries are looked at. */
MUST_CHECK int machine_each(const char *root, const char *path,
                            bool (*entry)(void *data, const char *name), void *data);

#endif
