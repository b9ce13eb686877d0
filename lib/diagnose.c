/* SPDX-License-Identifier: MIT */
/* Brings the doctor the scene: how the driver answers, which calls are in use, and where to look. */
#include "lib/doctor.h"
#include "lib/handle.h"

#include <errno.h>
#include <stdlib.h>

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

int vram_diagnose(struct vram *vram, struct vram_report **ret_report)
{
    struct err err = {0};
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
    r = doctor_examine(&scene, &report);
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
