"""Adam is torch's Adam, to the bit, without torch's compiler."""

import subprocess
import sys

import pytest
import torch

from vaepipe.models.optimizer import Adam


def weights(kind, steps, restart=None):
    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(5, 3)), torch.nn.Parameter(torch.randn(3))]
    optimizer = kind(parameters, lr=0.01, fused=True)
    for step in range(steps):
        if step == restart:
            state = optimizer.state_dict()
            optimizer = kind(parameters, lr=0.5, fused=True)
            optimizer.load_state_dict(state)
        optimizer.zero_grad(set_to_none=True)
        ((torch.randn(7, 5) @ parameters[0] + parameters[1]) ** 2).sum().backward()
        optimizer.step()
    return parameters


@pytest.mark.parametrize("restart", [None, 4])
def test_its_steps_are_those_of_torch(restart):
    for ours, theirs in zip(weights(Adam, 9, restart), weights(torch.optim.Adam, 9)):
        assert torch.equal(ours, theirs) and ours.requires_grad and ours.is_leaf


IMPORTS = """
import sys, torch
from vaepipe.models.optimizer import Adam
p = torch.nn.Parameter(torch.ones(2))
adam = Adam([p], fused=True)
adam.zero_grad(), p.sum().backward(), adam.step(), adam.load_state_dict(adam.state_dict())
heavy = ("torch._dynamo", "torch._inductor", "pandas", "scipy", "sklearn")
print([name for name in heavy if name in sys.modules])
"""


@pytest.mark.slow
def test_it_does_not_import_the_compiler():
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
