"""A split in memory: packed or not, it gives what the file holds."""

import numpy as np
import pytest
import torch

from vaepipe.datasets import resident
from vaepipe.datasets.resident import Resident
from vaepipe.storage.h5 import write_h5


def write(path, x):
    write_h5(path, "data", {"train/x": (x, "images")}, {})
    return path


def black_and_white(n=50, shape=(1, 8, 8)):
    return np.random.default_rng(0).integers(0, 2, (n, *shape)).astype(np.uint8) * 255


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 9), (1, 9, 9)])
def test_black_and_white_images_come_back_out_of_bits(tmp_path, shape):
    x = black_and_white(shape=shape)
    found = Resident.read(write(tmp_path / "d.h5", x), "train")
    assert found.packed == (np.prod(shape) % 8 == 0) and len(found) == 50 and found.shape == shape
    assert found.rows.nbytes == (x.nbytes // 8 if found.packed else x.nbytes)
    index = torch.tensor([3, 0, 49, 3])
    assert torch.equal(found[index], torch.from_numpy(x)[index].float() / 255)
    assert torch.equal(found[:7], torch.from_numpy(x[:7]).float() / 255)


@pytest.mark.parametrize("grey", [0, 20, 49])
def test_one_grey_pixel_in_any_block_keeps_the_bytes(tmp_path, monkeypatch, grey):
    monkeypatch.setattr(resident, "BLOCK_BYTES", 64 * 7)
    x = black_and_white()
    x[grey, 0, 3, 3] = 128
    found = Resident.read(write(tmp_path / "d.h5", x), "train")
    assert not found.packed
    assert torch.equal(found[:], torch.from_numpy(x).float() / 255)


def test_blocks_and_a_limit_change_nothing(tmp_path, monkeypatch):
    x = black_and_white()
    path = write(tmp_path / "d.h5", x)
    monkeypatch.setattr(resident, "BLOCK_BYTES", 64 * 7)
    assert torch.equal(Resident.read(path, "train")[:], torch.from_numpy(x).float() / 255)
    assert torch.equal(Resident.read(path, "train", 23)[:], torch.from_numpy(x[:23]).float() / 255)


def test_points_stay_as_they_are(tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    found = Resident.read(write(tmp_path / "d.h5", x), "train")
    assert torch.equal(found[torch.tensor([5, 1])], torch.from_numpy(x[[5, 1]])) and found.shape == (3,)
