# SPDX-License-Identifier: MIT
"""What a tracker tells. MB are MiB, rounded down; apart from it, for a dataclass costs an import more than all else here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional

from ._unknown import UNKNOWN, Amount


@dataclass
class GPUProcess:
    """A process that uses the GPU. `memory_mb` is vram.UNKNOWN where the driver does not tell it."""

    pid: int
    name: str
    memory_mb: Amount


@dataclass
class VRAMStatus:
    """What a GPU holds now. Amounts are vram.UNKNOWN where the driver does not tell them; `used_mb` is what nvidia-smi
    shows, and `reserved_mb` what the driver keeps for itself besides."""

    total_mb: Amount
    used_mb: Amount
    free_mb: Amount
    processes: List[GPUProcess]
    temperature_c: Optional[int] = None
    utilization_percent: Optional[int] = None
    reserved_mb: Amount = UNKNOWN
