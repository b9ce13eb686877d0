/* SPDX-License-Identifier: MIT */
/* Brings the doctor the scene: how driver and daemon answer, which calls are in use, and where to look. */
#include "lib/doctor.h"
#include "lib/handle.h"
#include "lib/remote.h"

#include "common/clock.h"
#include "common/endpoint.h"

#include <errno.h>
#include <stdlib.h>

#define DAEMON_PATIENCE_NS 5000000000ull

/* Facts are told through a callback that cannot fail; a failure is kept until all are told. */
struct telling {
    struct vram_report *report;
    int result;
};

static void tell(void *data, const char *name, const char *value)
{
    struct telling *telling = data;
    if (telling->result == 0 && value && value[0]) {
        telling->result = doctor_fact(telling->report, name, value);
    }
}

static int tell_facts(struct vram *vram, const struct vram_snapshot *snapshot,
                      struct vram_report *report)
{
    struct telling telling = {report, 0};
    tell(&telling, "vram", vram_version());
    if (snapshot) {
        const struct vram_driver *driver = vram_snapshot_driver(snapshot);
        tell(&telling, "driver", driver->version);
        tell(&telling, "CUDA", driver->cuda);
    }
    handle_describe(vram, tell, &telling);
    return telling.result;
}

static const char *environment(const char *name)
{
    return getenv(name);
}

/* The daemon that a client with this handle would ask. What the answer points to is the caller's. -ENOMEM, or 0 whatever
 * the daemon says. */
static int ask_daemon(struct vram *vram, struct endpoint *place, struct err *err,
                      struct doctor_daemon *ret_daemon)
{
    struct endpoint_environment environment = endpoint_environment();
    struct vram_snapshot *snapshot = NULL;
    if (handle_is_direct(vram) ||
        endpoint_find(handle_driver_text(vram), &environment, place) < 0) {
        return 0;
    }
    const struct remote_request request = {
        .driver = handle_driver_text(vram),
        .deadline_ns = clock_now_ns() + DAEMON_PATIENCE_NS,
    };
    enum remote_outcome outcome = remote_snapshot(&request, &snapshot, err);
    if (err->result == -ENOMEM) {
        return -ENOMEM;
    }
    *ret_daemon = (struct doctor_daemon){
        .socket = place->socket,
        .expected = place->system || place->named,
        .trouble = outcome == REMOTE_TAKEN ? NULL : err,
        .gpu_count = outcome == REMOTE_TAKEN ? vram_snapshot_gpu_count(snapshot) : 0,
    };
    for (size_t i = 0; i < ret_daemon->gpu_count && ret_daemon->drained_count < DOCTOR_DRAINED_MAX;
         i++) {
        const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, i);
        if (gpu->drained) {
            (void)gpu_name_label(gpu->index, gpu->mig_index,
                                 ret_daemon->drained[ret_daemon->drained_count++]);
        }
    }
    (void)vram_snapshot_unref(snapshot);
    return 0;
}

int vram_diagnose(struct vram *vram, struct vram_report **ret_report)
{
    struct err err = {0}, daemon_err = {0};
    struct endpoint place;
    struct vram_snapshot *snapshot = NULL;
    struct vram_report *report = NULL;
    int r = handle_take(vram, VRAM_TAKE_ALL, &snapshot, &err);
    if (r == -ENOMEM) {
        return handle_fail(vram, &err);
    }
    const struct driver *driver = handle_driver(vram);
    struct doctor_scene scene = {
        .root = handle_root(vram),
        .env = environment,
        .start = r < 0 ? &err : NULL,
        .snapshot = snapshot,
        .library = snapshot ? vram_snapshot_driver(snapshot)->library : driver->path,
        .simulation = driver->simulation,
    };
    r = ask_daemon(vram, &place, &daemon_err, &scene.daemon);
    r = r < 0 ? r : doctor_examine(&scene, &report);
    if (r == 0) {
        r = tell_facts(vram, snapshot, report);
    }
    (void)vram_snapshot_unref(snapshot);
    if (r < 0) {
        (void)vram_report_free(report);
        (void)err_no_memory(&err);
        return handle_fail(vram, &err);
    }
    *ret_report = report;
    return 0;
}
