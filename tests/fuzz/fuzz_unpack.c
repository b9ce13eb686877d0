/* SPDX-License-Identifier: MIT */
#include "lib/snapshot.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

/* The header, and where the size of all stands in it; see lib/snapshot_pack.c. */
#define HEADER 64
#define SIZE_AT 56

/* The input behind a header that is right: a fuzzer would hardly find one. */
static char *with_header(const uint8_t *data, size_t size)
{
    const struct snapshot_view nothing = {.waiters = VRAM_UNKNOWN};
    struct vram_snapshot *empty;
    void *packed;
    size_t packed_size;
    uint64_t total = HEADER + size;
    char *bytes = malloc(total);
    MUST(bytes && snapshot_copy(&nothing, &empty) == 0);
    MUST(vram_snapshot_pack(empty, &packed, &packed_size) == 0 && packed_size >= HEADER);
    memcpy(bytes, packed, HEADER);
    memcpy(bytes + SIZE_AT, &total, sizeof(total));
    if (size) {
        memcpy(bytes + HEADER, data, size);
    }
    free(packed);
    (void)vram_snapshot_unref(empty);
    return bytes;
}

/* Bytes are no snapshot, or one that can be read and packed again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vram_snapshot *snapshot = NULL;
    char *bytes = with_header(data, size);
    int r = vram_snapshot_unpack(bytes, HEADER + size, &snapshot);
    MUST(r == 0 || (r == -EBADMSG && !snapshot));
    if (r == 0) {
        char *text;
        void *packed;
        size_t packed_size;
        MUST(vram_snapshot_json(snapshot, NULL, 0, &text) == 0);
        free(text);
        MUST(vram_snapshot_pack(snapshot, &packed, &packed_size) == 0);
        free(packed);
        (void)vram_snapshot_unref(snapshot);
    }
    free(bytes);
    return 0;
}
