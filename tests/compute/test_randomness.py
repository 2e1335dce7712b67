"""Seeds and random streams."""

import torch

from vaepipe.compute.randomness import seed_from, seeded_generator


def test_seeds_differ_by_every_part_and_stay():
    parts = [("train", 0, 1), ("train", 1, 0), ("held-out", 0, 1), ("train", 0), ("train", 0, "1")]
    assert len({seed_from(*some) for some in parts}) == 5
    assert seed_from("train", 0, 1) == seed_from("train", 0, 1) == 1130406944576157125
    a, b = (torch.randn(3, generator=seeded_generator("cpu", "x", 1)) for _ in range(2))
    assert torch.equal(a, b)
