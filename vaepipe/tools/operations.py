"""Counting the floating-point operations of a model without the import of torch's compiler."""

from __future__ import annotations

import inspect
import sys
from typing import Any

from torch.utils.flop_counter import FlopCounterMode, _FlopCounterMode


class Operations(FlopCounterMode):
    """torch's counter without the decorator that imports torch's compiler to switch it off.

    The import takes 2 s, as long as that of torch itself. Where a model was compiled it has happened already,
    and the decorator stays.
    """

    def __init__(self) -> None:
        super().__init__(display=False)

    def __enter__(self) -> Operations:
        """Count what is computed from now on."""
        if "torch._dynamo" in sys.modules:
            super().__enter__()
            return self
        self.flop_counts.clear()
        self.mod_tracker.__enter__()
        self.mode = _Undecorated(self)
        self.mode.__enter__()
        return self


class _Undecorated(_FlopCounterMode):
    __torch_dispatch__: Any = inspect.unwrap(_FlopCounterMode.__torch_dispatch__)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
