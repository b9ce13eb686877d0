/* SPDX-License-Identifier: MIT */
/*
 * The report that people write first: memory, processes, what would fit. Nothing but the public header and the
 * convenience tracker.
 *
 *     cc report.c $(pkg-config --cflags --libs vram) -o report && ./report
 */
#include <vram.h>

#include <inttypes.h>
#include <stdio.h>

#define MIB ((uint64_t)1 << 20)
#define RULE "============================================================"
#define MARGIN_BYTES (1024 * MIB)

/* "24,564": whole MiB with thousands separators, as the report counts. */
static const char *with_commas(uint64_t number, char text[32])
{
    char digits[24];
    int length = snprintf(digits, sizeof(digits), "%" PRIu64, number);
    size_t out = 0;
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0) {
            text[out++] = ',';
        }
        text[out++] = digits[i];
    }
    text[out] = '\0';
    return text;
}

static void print_amount(const char *label, uint64_t bytes)
{
    char text[32];
    if (bytes == VRAM_UNKNOWN) {
        printf("  %s unknown\n", label);
    } else {
        printf("  %s %s MB\n", label, with_commas(bytes / MIB, text));
    }
}

static void print_gpu(const struct vram_gpu *gpu)
{
    printf("\nGPU Memory:\n");
    print_amount("Total:", gpu->total_bytes);
    print_amount("Used:", gpu->used_bytes);
    print_amount("Free:", gpu->free_bytes);
    if (gpu->temperature_c != VRAM_UNKNOWN) {
        printf("  Temperature: %" PRIu64 "°C\n", gpu->temperature_c);
    }
    if (gpu->utilization_percent != VRAM_UNKNOWN) {
        printf("  Utilization: %" PRIu64 "%%\n", gpu->utilization_percent);
    }
}

static void print_processes(const struct vram_gpu *gpu)
{
    printf("\nGPU Processes (%zu):\n", gpu->process_count);
    for (size_t i = 0; i < gpu->process_count; i++) {
        const struct vram_process *process = &gpu->processes[i];
        if (process->used_bytes == VRAM_UNKNOWN) {
            printf("  PID %" PRIu32 ": unknown - %s\n", process->pid, process->name);
        } else {
            printf("  PID %" PRIu32 ": %" PRIu64 " MB - %s\n", process->pid,
                   process->used_bytes / MIB, process->name);
        }
    }
}

static void print_fits(struct vram_tracker *tracker)
{
    static const uint64_t tests[] = {4000, 10000, 18000, 20000, 22000};
    printf("\nCan fit tests:\n");
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        int r = vram_tracker_can_fit(tracker, tests[i] * MIB, MARGIN_BYTES);
        printf("  %" PRIu64 " MB: %s\n", tests[i],
               r == 1   ? "✓ YES"
               : r == 0 ? "✗ NO"
                        : "? unknown");
    }
}

int main(void)
{
    struct vram_tracker *tracker = vram_tracker_get(0);
    struct vram_snapshot *snapshot;
    size_t position;

    printf(RULE "\nVRAM Tracker Test\n" RULE "\n");
    if (vram_tracker_status(tracker, &snapshot, &position) < 0) {
        fprintf(stderr, "%s\n%s\n", vram_tracker_error(tracker), vram_tracker_error_hint(tracker));
        return 1;
    }
    const struct vram_gpu *gpu = vram_snapshot_gpu(snapshot, position);
    print_gpu(gpu);
    print_processes(gpu);
    print_fits(tracker);
    vram_snapshot_unref(snapshot);
    vram_tracker_shutdown(tracker);
    return 0;
}
