/* SPDX-License-Identifier: MIT */
/*
 * One schedule while it is played: the inside of the files play_*.c and schedule.c.
 *
 *   schedule.c       the random steps, and the end in which everybody must be answered
 *   play_programs.c  what programs do
 *   play_daemon.c    what the daemon does: samples, deaths that it hears of, its own end and return
 *   play_ops.c       what the ledger says, and the journal that is kept of it
 *   play_check.c     what must hold, and who counts for whom
 */
#ifndef VRAM_TESTS_SIMULATION_PLAY_H
#define VRAM_TESTS_SIMULATION_PLAY_H

#include "common/attr.h"
#include "daemon/ledger.h"
#include "lib/source/source.h"
#include "tests/simulation/schedule.h"
#include "tests/simulation/world.h"

#define REQUESTS 64
#define MOMENTS 64
#define CEILINGS 2
#define USERS 3

enum stage { FREE, WAITING, HELD };

/* What the model knows of a request, and of the lease that it became: the journal, too. */
struct deal {
    enum stage stage;
    struct ledger_request request;
    size_t candidates[WORLD_GPUS], candidate_count; /* 0: all */
    uint64_t seq, arrived_ns, until_ns;
    uint64_t size_bytes;
    bool absent, filled;
    unsigned passed;
    uint64_t holder;
    size_t gpus[WORLD_GPUS], gpu_count;
};

/* What everybody used at one moment: a promise must have been good at one between asking and getting. */
struct moment {
    uint64_t used[WORLD_GPUS];
    uint64_t of[WORLD_PROGRAMS][WORLD_GPUS];
};

enum stop { FREE_1, USED_1, FREE_2, USED_2, FREE_3, DONE };

struct play {
    struct world world;
    struct ledger *ledger;
    struct tally *tally;
    bool leased_only;                         /* nobody allocates what it was not promised */
    bool records_fail, verbose, broken, calm; /* calm: nobody new comes */
    struct ledger_limits limits[USERS];
    uint64_t idle_after_ns;
    bool drained[WORLD_GPUS];
    uint64_t ceilings[CEILINGS][WORLD_GPUS]; /* in units; 0: there is none */
    uint64_t next_key, next_id, next_seq;
    struct deal deals[REQUESTS];
    int64_t bases[WORLD_PROGRAMS * 4][WORLD_GPUS]; /* the journal's, by key modulo */
    /* the sample that is being taken */
    bool sampling;
    uint64_t begun_ns;
    enum stop stop;
    int rounds;
    bool differed;
    bool freed[WORLD_PROGRAMS][WORLD_GPUS]; /* since the first reading, by whom and where */
    struct source_gpu rooms[WORLD_GPUS];
    size_t moment_count;
    struct moment moments[MOMENTS];
};

extern const char *const uuids[WORLD_GPUS];

#define FAIL(play, ...)                                                                            \
    do {                                                                                           \
        (play)->broken = true;                                                                     \
        (void)fprintf(stderr, __VA_ARGS__);                                                        \
        (void)fputc('\n', stderr);                                                                 \
    } while (0)
#define SAY(play, ...)                                                                             \
    do {                                                                                           \
        if ((play)->verbose) {                                                                     \
            (void)printf(__VA_ARGS__);                                                             \
            (void)putchar('\n');                                                                   \
        }                                                                                          \
    } while (0)

extern const struct ledger_ops play_ops;

uint64_t units(const struct play *play, uint64_t n);
int program_of_key(const struct play *play, uint64_t key);
uint64_t nearest(const struct play *play, int program, bool holding, int *ret_at);
void attribute(const struct play *play, int program, struct ledger_use *use);
void show(const struct play *play);
int64_t owed(struct play *play, uint64_t of[WORLD_PROGRAMS][WORLD_GPUS], size_t gpu, uint64_t only);
uint32_t ceiling_of(const struct play *play, int program, size_t gpu);
int64_t kept(struct play *play, uint64_t of[WORLD_PROGRAMS][WORLD_GPUS], size_t gpu, uint32_t unit);
void copy_uses(const struct play *play, uint64_t of[WORLD_PROGRAMS][WORLD_GPUS]);
void note_moment(struct play *play);
void check_grant(struct play *play, const struct ledger_lease *lease);
void check_limits(struct play *play, const struct ledger_lease *lease);
void check_promises(struct play *play);
bool wants(const struct deal *deal, size_t gpu);
void check_order(struct play *play, const struct deal *granted);
void check_kept(struct play *play);
struct deal *deal_of(struct play *play, const char *id);
int64_t *base_of(struct play *play, uint64_t key, size_t gpu);
struct deal *some_deal(struct play *play, enum stage stage);
bool is_alive(const struct play *play, uint64_t key);
const char *const *candidates_of(struct deal *deal, const char *names[WORLD_GPUS]);
void ask(struct play *play, int program);
void allocate(struct play *play, int program);
void give_back(struct play *play, int program);
void hand_over(struct play *play, int program);
void change_lease(struct play *play);
void hang_up(struct play *play);
void tell_deaths(struct play *play);
void drop_sample(struct play *play);
void begin_sample(struct play *play);
void go_on(struct play *play);
void restart(struct play *play);
void come_back(struct play *play);
void pass_time(struct play *play);

#endif
