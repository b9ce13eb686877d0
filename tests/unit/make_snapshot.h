/* SPDX-License-Identifier: MIT */
/*
 * Snapshots of made-up machines: a board such as the sampler hands out, filled by hand, through
 * snapshot_build(). Functions here fail the test where something cannot be done.
 */
#ifndef VRAM_TESTS_MAKE_SNAPSHOT_H
#define VRAM_TESTS_MAKE_SNAPSHOT_H

#include "lib/snapshot.h"

#define MACHINE_DEVICES 12
#define MACHINE_POOLS 4

/* CLOCK_MONOTONIC when devices answered, and when snapshots are made; since 1970 for the latter. */
#define MACHINE_TAKEN_NS 5000000000u
#define MACHINE_NOW_NS 5250000000u
#define MACHINE_CLOCK_NS 1769860800123456789u /* 2026-01-31T12:00:00.123456789Z */

struct machine {
    struct board board;
    struct board_entry entries[MACHINE_DEVICES];
    struct report reports[MACHINE_DEVICES];
    struct source_gpu gpus[MACHINE_DEVICES][MACHINE_POOLS];
    struct identities *identities;
};

/* A machine without GPUs. `root` is where processes are looked up; NULL: nowhere. */
struct machine *machine_new(const char *root);
void machine_free(struct machine *machine);

/* One more device, which is one GPU: its index, UUID (GPU-0000000N-…), name and PCI address are known,
 * its state is ok, its amounts and all else are unknown. */
struct source_gpu *machine_gpu(struct machine *machine);
/* The same with its memory known: free is what remains. */
struct source_gpu *machine_card(struct machine *machine, uint64_t total, uint64_t reserved,
                                uint64_t used);
/* A MIG instance, on the card before it; the first takes that card's place. */
struct source_gpu *machine_instance(struct machine *machine, uint64_t gpu_instance,
                                    uint64_t compute_instance, uint64_t total, uint64_t used);
/* One more device that hangs; it has answered before only where it is a card as well. */
void machine_hang(struct machine *machine, bool answered, const char *call);

/* One more process; the list counts as read then. `name` is the driver's word, or NULL. */
void machine_process(struct source_gpu *gpu, uint32_t pid, uint64_t used, const char *name);

struct vram_snapshot *machine_snapshot(struct machine *machine, uint32_t take);

/* Stands in for a daemon, which alone knows promises. */
void machine_promise(struct vram_snapshot *snapshot, size_t position, uint64_t outstanding);
void machine_own_promise(struct vram_snapshot *snapshot, size_t position, uint64_t own);

#endif
