# SPDX-License-Identifier: MIT
"""The first user's report, with nothing changed but its import."""
from vram import get_vram_tracker

if __name__ == "__main__":
    print("=" * 60)
    print("VRAM Tracker Test")
    print("=" * 60)
    tracker = get_vram_tracker()
    status = tracker.get_status()
    print("\nGPU Memory:")
    print(f"  Total: {status.total_mb:,} MB")
    print(f"  Used: {status.used_mb:,} MB")
    print(f"  Free: {status.free_mb:,} MB")
    if status.temperature_c is not None:
        print(f"  Temperature: {status.temperature_c}°C")
    if status.utilization_percent is not None:
        print(f"  Utilization: {status.utilization_percent}%")
    print(f"\nGPU Processes ({len(status.processes)}):")
    for process in status.processes:
        print(f"  PID {process.pid}: {process.memory_mb} MB - {process.name}")
    print("\nCan fit tests:")
    for required in [4000, 10000, 18000, 20000, 22000]:
        fits = tracker.can_fit(required)
        print(f"  {required} MB: {'✓ YES' if fits else '✗ NO'}")
    tracker.shutdown()
