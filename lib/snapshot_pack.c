/* SPDX-License-Identifier: MIT */
/*
 * Snapshots as bytes, for another process with the same library: a header, then every member of every structure in the
 * order of the tables below, numbers in eight bytes as this machine has them, texts with their length. Reading believes
 * nothing: the bytes may come from a process that has lost its mind.
 */
#include "common/attr.h"
#include "common/buf.h"
#include "lib/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MOST_OBJECTS 100000u /* of one kind in one place: far beyond any machine */

enum member_type {
    MEMBER_U32,
    MEMBER_U64,
    MEMBER_BOOL,
    MEMBER_SIZE,
    MEMBER_TEXT,
};

struct member {
    enum member_type type;
    size_t offset;
};

#define MEMBER(type, structure, name)                                                              \
    {                                                                                              \
        MEMBER_##type, offsetof(struct structure, name)                                            \
    }

static const struct member driver_members[] = {
    MEMBER(TEXT, vram_driver, kind),
    MEMBER(TEXT, vram_driver, version),
    MEMBER(TEXT, vram_driver, cuda),
    MEMBER(TEXT, vram_driver, library),
};
static const struct member gpu_members[] = {
    MEMBER(U32, vram_gpu, index),
    MEMBER(U32, vram_gpu, state),
    MEMBER(U32, vram_gpu, memory_kind),
    MEMBER(U32, vram_gpu, pool),
    MEMBER(TEXT, vram_gpu, uuid),
    MEMBER(TEXT, vram_gpu, name),
    MEMBER(TEXT, vram_gpu, pci),
    MEMBER(TEXT, vram_gpu, parent_uuid),
    MEMBER(U64, vram_gpu, mig_index),
    MEMBER(U64, vram_gpu, gpu_instance_id),
    MEMBER(U64, vram_gpu, compute_instance_id),
    MEMBER(U64, vram_gpu, total_bytes),
    MEMBER(U64, vram_gpu, used_bytes),
    MEMBER(U64, vram_gpu, free_bytes),
    MEMBER(U64, vram_gpu, driver_reserved_bytes),
    MEMBER(U64, vram_gpu, unattributed_bytes),
    MEMBER(U64, vram_gpu, outstanding_bytes),
    MEMBER(U64, vram_gpu, temperature_c),
    MEMBER(U64, vram_gpu, utilization_percent),
    MEMBER(U64, vram_gpu, age_ms),
    MEMBER(BOOL, vram_gpu, used_includes_reserved),
    MEMBER(BOOL, vram_gpu, processes_known),
    MEMBER(SIZE, vram_gpu, process_count),
    MEMBER(U64, vram_gpu, own_outstanding_bytes),
    MEMBER(U64, vram_gpu, ceiling_bytes),
    MEMBER(BOOL, vram_gpu, drained),
};
static const struct member process_members[] = {
    MEMBER(U32, vram_process, pid),        MEMBER(U32, vram_process, kind),
    MEMBER(U64, vram_process, start_time), MEMBER(TEXT, vram_process, name),
    MEMBER(TEXT, vram_process, command),   MEMBER(TEXT, vram_process, user),
    MEMBER(TEXT, vram_process, container), MEMBER(TEXT, vram_process, unit),
    MEMBER(TEXT, vram_process, lease),     MEMBER(U64, vram_process, used_bytes),
    MEMBER(BOOL, vram_process, visible),
};
static const struct member problem_members[] = {
    MEMBER(TEXT, vram_problem, gpu),
    MEMBER(TEXT, vram_problem, what),
    MEMBER(TEXT, vram_problem, code),
    MEMBER(TEXT, vram_problem, message),
};
static const struct member view_members[] = {
    MEMBER(U64, snapshot_view, taken_at_ns),    MEMBER(U64, snapshot_view, waiters),
    MEMBER(U64, snapshot_view, epoch),          MEMBER(SIZE, snapshot_view, gpu_count),
    MEMBER(SIZE, snapshot_view, problem_count),
};
#define TABLE(members) (members), ARRAY_LENGTH(members)

/* Who adds a member finds these: it needs a row above. */
#if UINTPTR_MAX == UINT64_MAX
_Static_assert(sizeof(struct vram_driver) == 32, "driver_members");
_Static_assert(sizeof(struct vram_gpu) == 192, "gpu_members");
_Static_assert(sizeof(struct vram_process) == 80, "process_members");
_Static_assert(sizeof(struct vram_problem) == 32, "problem_members");
#endif

struct header {
    char magic[8];
    char version[16];
    uint64_t layout[4]; /* sizes of the structures: another build of the same version may differ */
    uint64_t size;      /* of all, the header included */
};

static struct header header_of(size_t size)
{
    struct header header = {
        .magic = "vramsnp",
        .layout = {sizeof(struct vram_gpu), sizeof(struct vram_process), sizeof(struct vram_driver),
                   sizeof(struct vram_problem)},
        .size = size,
    };
    const char *version = vram_version();
    memcpy(header.version, version, strnlen(version, sizeof(header.version) - 1));
    return header;
}

/* ---- Packing --------------------------------------------------------------------------------- */

static void put_number(struct buf *buf, uint64_t number)
{
    buf_add(buf, (const char *)&number, sizeof(number));
}

static void put(struct buf *buf, const void *object, const struct member *members, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const void *at = (const char *)object + members[i].offset;
        const char *text;
        switch (members[i].type) {
        case MEMBER_U32:
            put_number(buf, *(const uint32_t *)at);
            break;
        case MEMBER_U64:
            put_number(buf, *(const uint64_t *)at);
            break;
        case MEMBER_BOOL:
            put_number(buf, *(const bool *)at);
            break;
        case MEMBER_SIZE:
            put_number(buf, *(const size_t *)at);
            break;
        case MEMBER_TEXT:
            text = *(const char *const *)at;
            put_number(buf, text ? strlen(text) + 1 : 0);
            buf_add(buf, text ? text : "", text ? strlen(text) + 1 : 0);
            break;
        }
    }
}

int vram_snapshot_pack(const struct vram_snapshot *snapshot, void **ret_bytes, size_t *ret_size)
{
    struct buf buf = BUF_INIT;
    struct snapshot_view view = snapshot_view(snapshot);
    struct header header = header_of(0);
    buf_add(&buf, (const char *)&header, sizeof(header));
    put(&buf, &view, TABLE(view_members));
    put(&buf, &view.driver, TABLE(driver_members));
    for (size_t i = 0; i < view.gpu_count; i++) {
        put(&buf, &view.gpus[i], TABLE(gpu_members));
        for (size_t j = 0; j < view.gpus[i].process_count; j++) {
            put(&buf, &view.gpus[i].processes[j], TABLE(process_members));
        }
    }
    for (size_t i = 0; i < view.problem_count; i++) {
        put(&buf, &view.problems[i], TABLE(problem_members));
    }
    size_t size;
    char *bytes = buf_steal(&buf, &size);
    if (!bytes) {
        return -ENOMEM;
    }
    header = header_of(size);
    memcpy(bytes, &header, sizeof(header));
    *ret_bytes = bytes;
    *ret_size = size;
    return 0;
}

/* ---- Unpacking ------------------------------------------------------------------------------- */

struct cursor {
    const char *at;
    size_t left;
};

static bool get_number(struct cursor *cursor, uint64_t most, uint64_t *ret_number)
{
    uint64_t number;
    if (cursor->left < sizeof(number)) {
        return false;
    }
    memcpy(&number, cursor->at, sizeof(number));
    cursor->at += sizeof(number);
    cursor->left -= sizeof(number);
    *ret_number = number;
    return number <= most;
}

/* A text, which ends where it says and not before. */
static bool get_text(struct cursor *cursor, const char **ret_text)
{
    uint64_t size;
    if (!get_number(cursor, cursor->left, &size) || size > cursor->left) {
        return false;
    }
    const char *text = cursor->at;
    if (size && memchr(text, '\0', (size_t)size) != text + size - 1) {
        return false;
    }
    cursor->at += size;
    cursor->left -= (size_t)size;
    *ret_text = size ? text : NULL;
    return true;
}

static bool get(struct cursor *cursor, void *object, const struct member *members, size_t count)
{
    bool good = true;
    for (size_t i = 0; good && i < count; i++) {
        void *at = (char *)object + members[i].offset;
        uint64_t number = 0;
        switch (members[i].type) {
        case MEMBER_U32:
            good = get_number(cursor, UINT32_MAX, &number);
            *(uint32_t *)at = (uint32_t)number;
            break;
        case MEMBER_U64:
            good = get_number(cursor, UINT64_MAX, (uint64_t *)at);
            break;
        case MEMBER_BOOL:
            good = get_number(cursor, 1, &number);
            *(bool *)at = number == 1;
            break;
        case MEMBER_SIZE:
            good = get_number(cursor, MOST_OBJECTS, &number);
            *(size_t *)at = (size_t)number;
            break;
        case MEMBER_TEXT:
            good = get_text(cursor, (const char **)at);
            break;
        }
    }
    return good;
}

/* What is being put together. Texts point into the bytes. */
struct parts {
    struct snapshot_view view;
    struct vram_gpu *gpus;
    struct vram_problem *problems;
};

static void parts_done(struct parts *parts)
{
    for (size_t i = 0; parts->gpus && i < parts->view.gpu_count; i++) {
        free((void *)(uintptr_t)parts->gpus[i].processes);
    }
    free(parts->gpus);
    free(parts->problems);
}

/* Room for `count` objects of which each takes at least `least` bytes: never more than the bytes could hold. */
static int make_room(const struct cursor *cursor, size_t count, size_t least, size_t size,
                     void *ret_array)
{
    if (count > cursor->left / least) {
        return -EBADMSG;
    }
    void *array = calloc(count ? count : 1, size);
    if (!array) {
        return -ENOMEM;
    }
    memcpy(ret_array, &array, sizeof(array));
    return 0;
}

static int get_gpu(struct cursor *cursor, struct vram_gpu *gpu)
{
    struct vram_process *processes;
    if (!get(cursor, gpu, TABLE(gpu_members)) || gpu->state > VRAM_GPU_HUNG ||
        gpu->memory_kind > VRAM_MEMORY_MIG || (gpu->process_count && !gpu->processes_known)) {
        return -EBADMSG;
    }
    int r = make_room(cursor, gpu->process_count, ARRAY_LENGTH(process_members) * 8,
                      sizeof(*processes), &processes);
    if (r < 0) {
        return r;
    }
    gpu->processes = processes;
    for (size_t i = 0; i < gpu->process_count; i++) {
        if (!get(cursor, &processes[i], TABLE(process_members))) {
            return -EBADMSG;
        }
    }
    return 0;
}

static int get_objects(struct cursor *cursor, struct parts *parts)
{
    struct snapshot_view *view = &parts->view;
    int r = make_room(cursor, view->gpu_count, ARRAY_LENGTH(gpu_members) * 8, sizeof(*parts->gpus),
                      &parts->gpus);
    for (size_t i = 0; r == 0 && i < view->gpu_count; i++) {
        r = get_gpu(cursor, &parts->gpus[i]);
    }
    if (r < 0) {
        return r;
    }
    r = make_room(cursor, view->problem_count, ARRAY_LENGTH(problem_members) * 8,
                  sizeof(*parts->problems), &parts->problems);
    for (size_t i = 0; r == 0 && i < view->problem_count; i++) {
        r = get(cursor, &parts->problems[i], TABLE(problem_members)) ? 0 : -EBADMSG;
    }
    return r;
}

int vram_snapshot_unpack(const void *bytes, size_t size, struct vram_snapshot **ret_snapshot)
{
    struct header expected = header_of(size);
    struct parts parts CLEANUP(parts_done) = {0};
    if (size < sizeof(expected) || memcmp(bytes, &expected, sizeof(expected)) != 0) {
        return -EBADMSG;
    }
    struct cursor cursor = {(const char *)bytes + sizeof(expected), size - sizeof(expected)};
    if (!get(&cursor, &parts.view, TABLE(view_members)) ||
        !get(&cursor, &parts.view.driver, TABLE(driver_members))) {
        return -EBADMSG;
    }
    int r = get_objects(&cursor, &parts);
    if (r < 0 || cursor.left) {
        return r < 0 ? r : -EBADMSG;
    }
    parts.view.gpus = parts.gpus;
    parts.view.problems = parts.problems;
    return snapshot_copy(&parts.view, ret_snapshot);
}
