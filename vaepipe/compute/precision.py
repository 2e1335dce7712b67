"""The number format in which a training multiplies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CPU_INFO = Path("/proc/cpuinfo")


def choose_precision(setting: str, device: torch.device) -> str:
    """Return "float32" or "bfloat16".

    Args:
        setting: "float32" or "bfloat16", which are returned as they are; "auto" gives bfloat16 on devices
            that have hardware units for it.
    """
    if setting != "auto":
        return setting
    return "bfloat16" if _multiplies_bfloat16(device) else "float32"


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_capability(device) >= (8, 0)
    return CPU_INFO.exists() and "amx_bf16" in CPU_INFO.read_text()
