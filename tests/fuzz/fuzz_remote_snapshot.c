/* SPDX-License-Identifier: MIT */
#include "lib/remote.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

#define NOW_NS 1769860800123456000u

/* Any bytes are no snapshot, or one whose JSON is read as the same snapshot. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vram_snapshot *snapshot = NULL, *again;
    char driver[REMOTE_DRIVER_MAX];
    char *text = fuzz_text(data, size);
    int r = remote_read(text, size, NOW_NS, driver, &snapshot);
    MUST(r == 0 || (r == -EPROTO && !snapshot));
    if (r == 0) {
        char *first, *second;
        MUST(vram_snapshot_json(snapshot, NULL, 0, &first) == 0);
        MUST(remote_read(first, strlen(first), vram_snapshot_taken_at_ns(snapshot), NULL, &again) ==
             0);
        MUST(vram_snapshot_json(again, NULL, 0, &second) == 0);
        MUST(strcmp(first, second) == 0);
        free(first);
        free(second);
        (void)vram_snapshot_unref(snapshot);
        (void)vram_snapshot_unref(again);
    }
    free(text);
    return 0;
}
