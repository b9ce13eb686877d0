/* SPDX-License-Identifier: MIT */
/*
 * Plays random schedules against the ledger: simulate_ledger [SCHEDULES [SEED [SECONDS]]]. A seed plays the same
 * schedule again, and alone, with VERBOSE=1, tells it.
 */
#include "common/clock.h"
#include "tests/simulation/schedule.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t argument(int argc, char **argv, int i, uint64_t otherwise)
{
    return argc > i ? strtoull(argv[i], NULL, 0) : otherwise;
}

int main(int argc, char **argv)
{
    uint64_t count = argument(argc, argv, 1, 4000), started = clock_now_ns();
    uint64_t seed = argument(argc, argv, 2, started);
    uint64_t limit_ns = argument(argc, argv, 3, 3600) * 1000000000;
    struct tally tally = {0};
    bool verbose = getenv("VERBOSE") != NULL;
    (void)printf("1..1\n# seed %" PRIu64 "\n", seed);
    for (uint64_t i = 0; i < count && clock_now_ns() - started < limit_ns; i++) {
        if (!schedule_play(seed + i, verbose, &tally)) {
            (void)printf("not ok 1 - schedules\n# VERBOSE=1 %s 1 %" PRIu64 "\n", argv[0], seed + i);
            return 1;
        }
    }
    (void)printf("# %" PRIu64 " schedules: %" PRIu64 " samples, %" PRIu64 " grants, %" PRIu64
                 " refusals, %" PRIu64 " time-outs, %" PRIu64 " restarts, %" PRIu64
                 " inherited, %" PRIu64 " not recorded, %" PRIu64 " told of their end\n",
                 tally.schedules, tally.samples, tally.grants, tally.refusals, tally.time_outs,
                 tally.restarts, tally.inherited, tally.failed_records, tally.notices);
    bool idle = !tally.grants || (count > 1000 && !tally.notices) || !tally.refusals ||
                (count > 1000 && !tally.restarts);
    (void)printf("%sok 1 - schedules\n", idle ? "not " : "");
    return idle;
}
