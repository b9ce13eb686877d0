/* SPDX-License-Identifier: MIT */
/*
 * A ledger with a machine that says what the test wants: GPUs of 24 GiB with a margin of 1 GiB and nothing reserved, whose free
 * memory is what the listed processes leave. Time moves only where the test moves it, and a millisecond with each
 * sample. What the ledger says is kept, and its records can fail.
 */
#ifndef VRAM_TESTS_LEDGER_RIG_H
#define VRAM_TESTS_LEDGER_RIG_H

#include "daemon/ledger.h"

#define GIB ((uint64_t)1 << 30)
#define MIB ((uint64_t)1 << 20)
#define SECOND ((uint64_t)1000000000)
#define MILLISECOND ((uint64_t)1000000)
#define CARD (24 * GIB)
#define ROOM (23 * GIB) /* what an empty card can promise */

#define RIG_GPUS 8
#define RIG_USES 32
#define RIG_SAID 64
#define NOTHING_SAID (-1) /* about a request: it waits still */

struct said {
    char id[LEDGER_ID_MAX];
    int verdict; /* enum ledger_verdict; of ends enum ledger_end; of states enum ledger_state */
    size_t gpu_count;
    int gpus[RIG_GPUS];
    uint64_t margin_bytes; /* of the first candidate of an answer's sum */
    int64_t headroom_bytes;
    uint32_t pid; /* of a state: who did it */
    char name[LEDGER_NAME_MAX];
};

struct said_list {
    size_t count;
    struct said list[RIG_SAID];
};

struct rig {
    struct ledger *ledger;
    uint64_t now_ns;
    uint64_t begun_ns; /* of the sample that is under way */
    size_t gpu_count, use_count;
    struct ledger_gpu gpus[RIG_GPUS];
    struct ledger_use uses[RIG_USES];
    size_t ceiling_count;
    struct ledger_ceiling ceilings[RIG_GPUS];
    uint64_t hidden_bytes[RIG_GPUS]; /* used by nobody who is listed */
    uint64_t holders[32];            /* by owner: whose member it is */
    unsigned next_id;
    int record_error;
    unsigned records;
    int64_t recorded_base;                           /* of the last record's first share */
    struct said_list answers, ends, states, notices; /* of notices: 1 for being idle */
    uint32_t user;                                   /* who asks */
    struct ledger_limits limits[8];                  /* by user */
    size_t base_count;
    int64_t base; /* the last that was told */
};

/* A ledger for a machine with so many GPUs; and more of them. */
void rig_open(struct rig *rig, size_t gpu_count);
void rig_gpus(struct rig *rig, size_t gpu_count);
void rig_close(struct rig *rig);
/* The daemon is gone and another comes: what it knows is what the test restores. */
void rig_restart(struct rig *rig);

/* The UUID of a GPU. */
const char *rig_uuid(size_t gpu);

/* A process uses so much; the same process again: so much now. 0: it is listed no more. Returns it, to be described. It is
 * old, and the owner is itself the process where pid and owner are the same number. */
struct ledger_use *rig_use(struct rig *rig, size_t gpu, uint32_t pid, uint64_t owner,
                           uint64_t bytes);

/* A request as most are: one GPU, no others than it, the daemon's margin, waiting for ever. */
struct ledger_request rig_request(struct rig *rig, uint64_t owner, uint64_t size_bytes);
/* Asks; the id is returned, and valid as long as the rig. */
const char *rig_ask(struct rig *rig, const struct ledger_request *request);
const char *rig_wait(struct rig *rig, uint64_t owner, uint64_t size_bytes);

/* A sample, taken in a millisecond from now; or its two ends, with something between them. */
void rig_look(struct rig *rig);
void rig_begin(struct rig *rig);
void rig_end_sample(struct rig *rig);
void rig_pass(struct rig *rig, uint64_t ns);

/* Asks, and looks; the id of the lease that must come of it. */
const char *rig_hold(struct rig *rig, uint64_t owner, uint64_t size_bytes);

/* The verdict on a request; NOTHING_SAID: it waits. */
int rig_verdict(const struct rig *rig, const char *id);
/* The last that was said of this id; NULL: nothing. */
const struct said *rig_said(const struct said_list *list, const char *id);
/* Why a lease has ended; NOTHING_SAID: it has not. */
int rig_end_of(const struct rig *rig, const char *id);
struct ledger_lease rig_lease(const struct rig *rig, const char *id);
struct ledger_waiter rig_waiter(const struct rig *rig, const char *id);
/* Of GPU 0. */
uint64_t rig_outstanding(const struct rig *rig);

/* For cmocka: a rig with one GPU, and the rig's end. */
int rig_setup(void **state);
int rig_teardown(void **state);
#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

#endif
