/* SPDX-License-Identifier: MIT */
#include "tests/unit/make_snapshot.h"

#include "common/text.h"
#include "tests/unit/unit.h"
#include <stdio.h>

struct machine *machine_new(const char *root)
{
    struct machine *machine = calloc(1, sizeof(*machine));
    assert_non_null(machine);
    machine->board.entries = machine->entries;
    machine->board.identity =
        (struct source_identity){"sim", "550.54.14", "12.4", "/lib/libtest.so"};
    machine->identities = identities_new(root ? root : "/nonexistent");
    assert_non_null(machine->identities);
    return machine;
}

void machine_free(struct machine *machine)
{
    for (size_t i = 0; i < machine->board.count; i++) {
        for (size_t j = 0; j < machine->reports[i].count; j++) {
            source_gpu_done(&machine->gpus[i][j]);
        }
    }
    identities_free(machine->identities);
    free(machine);
}

struct source_gpu *machine_gpu(struct machine *machine)
{
    size_t device = machine->board.count++;
    assert_true(device < MACHINE_DEVICES);
    struct source_gpu *gpu = &machine->gpus[device][0];
    source_gpu_init(gpu);
    gpu->index = (uint32_t)device;
    (void)snprintf(gpu->uuid, sizeof(gpu->uuid), "GPU-%08zx-1111-2222-3333-444444444444", device);
    (void)text_copy(gpu->name, sizeof(gpu->name), "Test Card");
    (void)snprintf(gpu->pci, sizeof(gpu->pci), "0000:%02zx:00.0", device + 1);
    machine->reports[device] =
        (struct report){.taken_ns = MACHINE_TAKEN_NS, .count = 1, .gpus = gpu};
    machine->entries[device] = (struct board_entry){.report = &machine->reports[device]};
    return gpu;
}

struct source_gpu *machine_card(struct machine *machine, uint64_t total, uint64_t reserved,
                                uint64_t used)
{
    struct source_gpu *gpu = machine_gpu(machine);
    gpu->total_bytes = total;
    gpu->driver_reserved_bytes = reserved;
    gpu->used_bytes = used;
    gpu->free_bytes = total - reserved - used;
    return gpu;
}

struct source_gpu *machine_instance(struct machine *machine, uint64_t gpu_instance,
                                    uint64_t compute_instance, uint64_t total, uint64_t used)
{
    size_t device = machine->board.count - 1;
    struct report *report = &machine->reports[device];
    struct source_gpu *card = &machine->gpus[device][0];
    bool first = card->memory_kind != VRAM_MEMORY_MIG;
    struct source_gpu made = *card;
    size_t number = first ? 0 : report->count++;
    assert_true(number < MACHINE_POOLS);
    if (first) {
        (void)text_copy(made.parent_uuid, sizeof(made.parent_uuid), card->uuid);
    }
    (void)snprintf(made.uuid, sizeof(made.uuid), "MIG-%08zx-%04zx-aaaa-bbbb-cccccccccccc", device,
                   number);
    made.memory_kind = VRAM_MEMORY_MIG;
    made.mig_index = number;
    made.gpu_instance_id = gpu_instance;
    made.compute_instance_id = compute_instance;
    made.total_bytes = total;
    made.used_bytes = used;
    made.free_bytes = total - used;
    made.driver_reserved_bytes = 0;
    made.processes = NULL;
    made.process_count = 0;
    report->gpus[number] = made;
    return &report->gpus[number];
}

void machine_hang(struct machine *machine, bool answered, const char *call)
{
    if (!answered) {
        size_t device = machine->board.count++;
        assert_true(device < MACHINE_DEVICES);
    }
    struct board_entry *entry = &machine->entries[machine->board.count - 1];
    entry->hung = true;
    entry->hung_call = call;
    entry->hung_since_ns = MACHINE_TAKEN_NS;
}

void machine_process(struct source_gpu *gpu, uint32_t pid, uint64_t used, const char *name)
{
    size_t count = gpu->process_count + 1;
    struct source_process *processes = realloc(gpu->processes, count * sizeof(*processes));
    assert_non_null(processes);
    gpu->processes = processes;
    processes[gpu->process_count] = (struct source_process){pid, VRAM_PROCESS_COMPUTE, used, NULL};
    if (name) {
        processes[gpu->process_count].name = strdup(name);
        assert_non_null(processes[gpu->process_count].name);
    }
    gpu->process_count = count;
    gpu->processes_known = true;
}

struct vram_snapshot *machine_snapshot(struct machine *machine, uint32_t take)
{
    struct vram_snapshot *snapshot = NULL;
    assert_int_equal(snapshot_build(&machine->board, machine->identities, take, MACHINE_CLOCK_NS,
                                    MACHINE_NOW_NS, &snapshot),
                     0);
    return snapshot;
}

void machine_promise(struct vram_snapshot *snapshot, size_t position, uint64_t outstanding)
{
    const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, position);
    assert_non_null(gpu);
    ((struct vram_gpu *)(uintptr_t)gpu)->outstanding_bytes = outstanding;
}

void machine_own_promise(struct vram_snapshot *snapshot, size_t position, uint64_t own)
{
    const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, position);
    assert_non_null(gpu);
    ((struct vram_gpu *)(uintptr_t)gpu)->own_outstanding_bytes = own;
}
