/* SPDX-License-Identifier: MIT */
#include "lib/snapshot.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>

#define GPUS 4
#define UNTOUCHED 4711

/* Three cards of two models and a MIG instance, built once. */
static struct vram_snapshot *machine(void)
{
    static struct source_gpu gpus[GPUS];
    static struct report reports[GPUS];
    static struct board_entry entries[GPUS];
    struct board board = {.count = GPUS, .entries = entries};
    struct vram_snapshot *snapshot = NULL;
    struct identities *identities = identities_new("/nonexistent");
    for (uint32_t i = 0; i < GPUS; i++) {
        source_gpu_init(&gpus[i]);
        gpus[i].index = i;
        gpus[i].mig_index = i == 3 ? 1 : VRAM_UNKNOWN;
        gpus[i].memory_kind = i == 3 ? VRAM_MEMORY_MIG : VRAM_MEMORY_DEDICATED;
        (void)snprintf(gpus[i].uuid, sizeof(gpus[i].uuid), "%s-5f2c31a%u-0000",
                       i == 3 ? "MIG" : "GPU", i);
        (void)snprintf(gpus[i].name, sizeof(gpus[i].name), "Model %u", i / 2);
        (void)snprintf(gpus[i].pci, sizeof(gpus[i].pci), "0000:0%u:00.0", i);
        atomic_init(&reports[i].references, 1);
        reports[i].count = 1;
        reports[i].gpus = &gpus[i];
        entries[i].report = &reports[i];
    }
    MUST(identities && snapshot_build(&board, identities, 0, 0, 0, &snapshot) == 0);
    identities_free(identities);
    return snapshot;
}

/* Positions are the snapshot's, no GPU comes twice, and counting alone says the same. */
static void check(int count, int counted, const size_t *positions)
{
    MUST(count == counted && count <= GPUS);
    for (int i = 0; i < count; i++) {
        MUST(positions[i] < GPUS);
        for (int j = 0; j < i; j++) {
            MUST(positions[i] != positions[j]);
        }
    }
    MUST(count >= 0 || positions[0] == UNTOUCHED);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const orders[] = {NULL, "PCI_BUS_ID"};
    static struct vram_snapshot *snapshot;
    char *text = fuzz_text(data, size);
    if (!snapshot) {
        snapshot = machine();
    }
    size_t positions[GPUS] = {UNTOUCHED};
    int count = vram_select(snapshot, text, positions, GPUS);
    MUST(count != 0);
    check(count, vram_select(snapshot, text, NULL, 0), positions);
    for (size_t i = 0; i < 2; i++) {
        positions[0] = UNTOUCHED;
        count = vram_select_visible(snapshot, text, orders[i], positions, GPUS);
        check(count, vram_select_visible(snapshot, text, orders[i], NULL, 0), positions);
    }
    free(text);
    return 0;
}
