"""Adam without what only torch's compiler needs."""

from __future__ import annotations

import inspect

import torch


class Adam(torch.optim.Adam):
    """torch's Adam, whose methods do not import torch's compiler first to be left alone by it.

    That import takes as long as the one of torch itself, 2 s, and each of a study's hundreds of trainings would pay it.
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)

    def step(self, closure=None):
        with torch.no_grad():
            return _STEP(self, closure)


_STEP = inspect.unwrap(torch.optim.Adam.step)
