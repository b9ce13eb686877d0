/* SPDX-License-Identifier: MIT */
/* A library that was built without a reader of JSON knows no daemon. */
#include "lib/remote.h"

#include <errno.h>

enum remote_outcome remote_snapshot(const struct remote_request *request,
                                    struct vram_snapshot **ret_snapshot, struct err *err)
{
    (void)request;
    (void)ret_snapshot;
    (void)err_set(err, -ENOTCONN, "no_daemon",
                  "this library was built without the daemon's client");
    return REMOTE_ABSENT;
}
