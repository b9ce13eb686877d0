# SPDX-License-Identifier: MIT
"""A PyTorch script that leases before it allocates: it waits for room instead of dying of "CUDA out of memory".

    python lease_before_torch.py
"""
import os

import vram

SIZE = 6 << 30  # an int is bytes


def main():
    with vram.lease(SIZE, label="torch example", timeout=600) as lease:
        os.environ.update(lease.environment)  # before CUDA is first used: it reads CUDA_VISIBLE_DEVICES once
        import torch

        weights = torch.empty(SIZE // 2, dtype=torch.uint8, device="cuda")
        lease.resize(SIZE // 2)  # what turned out not to be needed is others'
        print(f"{weights.numel() >> 20} MiB on {lease.visible_devices}")
        print(f"{lease.label}: {lease.info().state}, {vram.snapshot(lease.gpus[0]).gpus[0].free_bytes >> 20} MiB free")
        del weights


if __name__ == "__main__":
    main()
