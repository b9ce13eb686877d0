/* SPDX-License-Identifier: MIT */
#include "tests/unit/ledger_rig.h"

#include "common/text.h"
#include "tests/unit/unit.h"
#include <stdio.h>

static const char *const uuids[RIG_GPUS] = {"GPU-0", "GPU-1", "GPU-2", "GPU-3",
                                            "GPU-4", "GPU-5", "GPU-6", "GPU-7"};

const char *rig_uuid(size_t gpu)
{
    return uuids[gpu];
}

/* ---- What the ledger says -------------------------------------------------------------------- */

static struct said *say(struct said_list *list, const char *id, uint32_t verdict)
{
    assert_true(list->count < RIG_SAID);
    struct said *said = &list->list[list->count++];
    *said = (struct said){.verdict = (int)verdict};
    (void)text_copy(said->id, sizeof(said->id), id);
    return said;
}

static uint64_t holder(void *data, uint64_t owner)
{
    const struct rig *rig = data;
    return owner < ARRAY_LENGTH(rig->holders) ? rig->holders[owner] : 0;
}

static int record(void *data, const struct ledger_lease *lease, bool known)
{
    struct rig *rig = data;
    (void)known;
    assert_true(lease->gpu_count > 0);
    rig->records++;
    rig->recorded_base = lease->gpus[0].base_bytes;
    return rig->record_error;
}

static void answer(void *data, const char *id, uint32_t verdict, const struct ledger_lease *lease,
                   const struct ledger_sum *sum)
{
    struct rig *rig = data;
    assert_int_equal(verdict == LEDGER_GRANTED, lease != NULL);
    assert_null(rig_said(&rig->answers, id)); /* nobody is answered twice */
    struct said *said = say(&rig->answers, id, verdict);
    for (size_t i = 0; lease && i < lease->gpu_count; i++) {
        said->gpus[said->gpu_count++] = lease->gpus[i].uuid[4] - '0';
    }
    if (sum && sum->count) {
        said->margin_bytes = sum->rooms[0].margin_bytes;
        said->headroom_bytes = sum->rooms[0].headroom_bytes;
    }
}

static void ended(void *data, const char *id, uint32_t why)
{
    struct rig *rig = data;
    (void)say(&rig->ends, id, why);
}

static void base(void *data, uint64_t owner, const char *uuid, int64_t base_bytes)
{
    struct rig *rig = data;
    (void)owner;
    (void)uuid;
    rig->base = base_bytes;
    rig->base_count++;
}

static void state_changed(void *data, const struct ledger_lease *lease, uint32_t pid,
                          const char *name)
{
    struct rig *rig = data;
    struct said *said = say(&rig->states, lease->id, lease->state);
    said->pid = pid;
    (void)text_copy(said->name, sizeof(said->name), name);
}

static struct ledger_limits limits(void *data, uint32_t user)
{
    const struct rig *rig = data;
    return user < ARRAY_LENGTH(rig->limits)
               ? rig->limits[user]
               : (struct ledger_limits){UINT64_MAX, UINT32_MAX, UINT32_MAX};
}

static void notice(void *data, const struct ledger_lease *lease)
{
    struct rig *rig = data;
    (void)say(&rig->notices, lease->id, lease->idle_until_ns != LEDGER_NEVER);
}

static const struct ledger_ops rig_ops = {.holder = holder,
                                          .record = record,
                                          .answer = answer,
                                          .ended = ended,
                                          .limits = limits,
                                          .notice = notice,
                                          .base = base,
                                          .state = state_changed};

/* ---- The machine ----------------------------------------------------------------------------- */

void rig_gpus(struct rig *rig, size_t gpu_count)
{
    for (; rig->gpu_count < gpu_count; rig->gpu_count++) {
        size_t i = rig->gpu_count;
        rig->gpus[i] = (struct ledger_gpu){
            .uuid = uuids[i],
            .pool = (uint32_t)i,
            .usable = true,
            .current = true,
            .uses_known = true,
            .total_bytes = CARD,
            .margin_bytes = GIB,
        };
    }
}

void rig_open(struct rig *rig, size_t gpu_count)
{
    *rig = (struct rig){.now_ns = 1000 * SECOND};
    for (size_t i = 0; i < ARRAY_LENGTH(rig->limits); i++) {
        rig->limits[i] = (struct ledger_limits){UINT64_MAX, UINT32_MAX, UINT32_MAX};
    }
    rig_gpus(rig, gpu_count);
    rig->ledger = ledger_new(&rig_ops, rig);
    assert_non_null(rig->ledger);
}

void rig_close(struct rig *rig)
{
    ledger_free(rig->ledger);
    rig->ledger = NULL;
}

void rig_restart(struct rig *rig)
{
    ledger_free(rig->ledger);
    rig->ledger = ledger_new(&rig_ops, rig);
    assert_non_null(rig->ledger);
}

struct ledger_use *rig_use(struct rig *rig, size_t gpu, uint32_t pid, uint64_t owner,
                           uint64_t bytes)
{
    size_t i = 0;
    while (i < rig->use_count && (rig->uses[i].pid != pid || rig->uses[i].gpu != gpu)) {
        i++;
    }
    if (bytes == 0) {
        assert_true(i < rig->use_count);
        rig->uses[i] = rig->uses[--rig->use_count];
        return NULL;
    }
    if (i == rig->use_count) {
        assert_true(i < RIG_USES);
        rig->use_count++;
        rig->uses[i] = (struct ledger_use){.age_ns = LEDGER_NEVER, .name = "python3"};
    }
    rig->uses[i].gpu = gpu;
    rig->uses[i].pid = pid;
    rig->uses[i].start_time = pid;
    rig->uses[i].owner = owner;
    rig->uses[i].is_owner = owner == pid;
    rig->uses[i].used_bytes = bytes;
    return &rig->uses[i];
}

/* What the processes leave of the memory that this GPU has, or shares. */
static uint64_t free_of(const struct rig *rig, size_t gpu)
{
    uint64_t used = 0;
    for (size_t i = 0; i < rig->use_count; i++) {
        const struct ledger_use *use = &rig->uses[i];
        bool there = rig->gpus[use->gpu].pool == rig->gpus[gpu].pool;
        used += there && use->used_bytes <= CARD ? use->used_bytes : 0; /* else unknown */
    }
    for (size_t i = 0; i < rig->gpu_count; i++) {
        used += rig->gpus[i].pool == rig->gpus[gpu].pool ? rig->hidden_bytes[i] : 0;
    }
    used += rig->gpus[gpu].reserved_bytes;
    assert_true(used <= rig->gpus[gpu].total_bytes);
    return rig->gpus[gpu].total_bytes - used;
}

void rig_pass(struct rig *rig, uint64_t ns)
{
    rig->now_ns += ns;
}

void rig_begin(struct rig *rig)
{
    rig_pass(rig, MILLISECOND);
    rig->begun_ns = rig->now_ns;
    for (size_t i = 0; i < rig->gpu_count; i++) {
        rig->gpus[i].free_bytes =
            rig->gpus[i].total_bytes == VRAM_UNKNOWN ? VRAM_UNKNOWN : free_of(rig, i);
    }
}

static int take(struct rig *rig)
{
    struct ledger_sample sample = {
        .begun_ns = rig->begun_ns,
        .ended_ns = rig->now_ns,
        .gpu_count = rig->gpu_count,
        .use_count = rig->use_count,
        .gpus = rig->gpus,
        .uses = rig->uses,
        .ceiling_count = rig->ceiling_count,
        .ceilings = rig->ceilings,
    };
    return ledger_take(rig->ledger, &sample, rig->now_ns);
}

void rig_end_sample(struct rig *rig)
{
    rig_pass(rig, MILLISECOND);
    assert_int_equal(take(rig), 0);
}

void rig_look(struct rig *rig)
{
    rig_begin(rig);
    rig_end_sample(rig);
}

/* ---- Asking ---------------------------------------------------------------------------------- */

struct ledger_request rig_request(struct rig *rig, uint64_t owner, uint64_t size_bytes)
{
    struct ledger_request request = {
        .owner = owner,
        .user = rig->user,
        .size_bytes = size_bytes,
        .gpu_count = 1,
        .margin_bytes = VRAM_UNKNOWN,
        .waits = true,
        .deadline_ns = LEDGER_NEVER,
        .lasts_ns = LEDGER_NEVER,
    };
    (void)snprintf(request.id, sizeof(request.id), "%016x", ++rig->next_id);
    return request;
}

const char *rig_ask(struct rig *rig, const struct ledger_request *request)
{
    static char ids[RIG_SAID * 2][LEDGER_ID_MAX];
    static size_t next;
    char *id = ids[next++ % ARRAY_LENGTH(ids)];
    assert_int_equal(ledger_ask(rig->ledger, request, rig->now_ns), 0);
    memcpy(id, request->id, sizeof(request->id));
    return id;
}

const char *rig_wait(struct rig *rig, uint64_t owner, uint64_t size_bytes)
{
    struct ledger_request request = rig_request(rig, owner, size_bytes);
    return rig_ask(rig, &request);
}

const char *rig_hold(struct rig *rig, uint64_t owner, uint64_t size_bytes)
{
    const char *id = rig_wait(rig, owner, size_bytes);
    rig_look(rig);
    assert_int_equal(rig_verdict(rig, id), LEDGER_GRANTED);
    return id;
}

/* ---- What came of it ------------------------------------------------------------------------- */

const struct said *rig_said(const struct said_list *list, const char *id)
{
    for (size_t i = list->count; i-- > 0;) {
        if (strcmp(list->list[i].id, id) == 0) {
            return &list->list[i];
        }
    }
    return NULL;
}

int rig_verdict(const struct rig *rig, const char *id)
{
    const struct said *said = rig_said(&rig->answers, id);
    return said ? said->verdict : NOTHING_SAID;
}

int rig_end_of(const struct rig *rig, const char *id)
{
    const struct said *said = rig_said(&rig->ends, id);
    return said ? said->verdict : NOTHING_SAID;
}

struct ledger_lease rig_lease(const struct rig *rig, const char *id)
{
    int found = ledger_find_lease(rig->ledger, id);
    assert_true(found >= 0);
    return ledger_lease_at(rig->ledger, (size_t)found);
}

struct ledger_waiter rig_waiter(const struct rig *rig, const char *id)
{
    int found = ledger_find_waiter(rig->ledger, id);
    assert_true(found >= 0);
    return ledger_waiter_at(rig->ledger, (size_t)found);
}

uint64_t rig_outstanding(const struct rig *rig)
{
    return ledger_outstanding(rig->ledger, uuids[0]);
}

int rig_setup(void **state)
{
    static struct rig rig;
    rig_open(&rig, 1);
    *state = &rig;
    return 0;
}

int rig_teardown(void **state)
{
    rig_close(*state);
    return 0;
}
