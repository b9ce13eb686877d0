/* SPDX-License-Identifier: MIT */
#include "tests/library/served.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define CARD                                                                                       \
    "driver 550.54.14\ncuda 12.4\n"                                                                \
    "gpu 0 uuid=GPU-00000000-1111 name=\"Card\" total=24564MiB reserved=400MiB temp=41\n"

struct vram *vram;

static char directory[] = "/tmp/vram-served-XXXXXX";

int served_set_up(void **state)
{
    char socket[64];
    if (machine_set_up(state) < 0 || !mkdtemp(directory)) {
        return -1;
    }
    (void)snprintf(socket, sizeof(socket), "%s/vram.sock", directory);
    if (setenv("VRAM_SOCKET", socket, 1) < 0) {
        return -1;
    }
    vram = machine_open(machine_write(CARD), 0);
    return vram_daemon_start(vram, 0) == 1 ? 0 : -1;
}

struct vram_lease_list *served_leases(void)
{
    struct vram_lease_list *list;
    if (vram_leases(vram, 0, 0, &list) < 0) {
        fail_msg("%s", vram_error(vram));
    }
    return list;
}

pid_t served_by(void)
{
    struct vram_lease_list *list = served_leases();
    pid_t pid = (pid_t)vram_lease_list_daemon(list)->pid;
    vram_lease_list_free(list);
    return pid;
}

int served_tear_down(void **state)
{
    char command[128];
    pid_t daemon = served_by();
    vram_close(vram);
    (void)kill(daemon, SIGKILL);
    (void)snprintf(command, sizeof(command), "rm -rf %s", directory);
    return system(command) || machine_tear_down(state);
}
