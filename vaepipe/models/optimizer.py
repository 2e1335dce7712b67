"""Adam without the import of torch's compiler."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch


class Adam(torch.optim.Adam):
    """torch's Adam without the decorators that import torch's compiler to switch it off.

    The import takes 2 s, as long as that of torch itself, and each of a study's hundreds of trainings would
    pay it.
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)

    def step(self, closure: Callable | None = None) -> Any:
        """Take one step."""
        with torch.no_grad():
            return _STEP(self, closure)


_STEP = inspect.unwrap(torch.optim.Adam.step)
