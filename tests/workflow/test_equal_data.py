"""What follows `prepare` runs again if the data differ, not if only their date or the code does."""

import os

import numpy as np
import pytest
import yaml
from conftest import SERVED, copy_repository, snakemake
from planning import planned

from vaepipe.stages.prepare import prepare
from vaepipe.study.specs import PrepareSpec

pytestmark = pytest.mark.slow
GRID = {"betas": [1], "d_z": [2]}
OWN = {"kind": "array", "grid": GRID, "train": {"epochs": 1}, "attack": {"losses": []}}
TRAINED = {"train": 1, "evaluate": 1, "models": 1}


class Own:
    """A study of one small array, whose models are trained."""

    def __init__(self, place):
        self.folder, self.array = copy_repository(place / "repo"), place / "d.npy"
        self.prepared = self.folder / "results/data/mine.h5"
        self.write(0)
        self.configure()
        self.run(env=os.environ | SERVED)  # later ones run what the tests have edited

    def write(self, seed):
        np.save(self.array, np.random.default_rng(seed).integers(0, 256, (30, 8, 8), np.uint8))

    def configure(self, **options):
        self.file = self.folder / "own.yaml"
        mine = OWN | {"path": str(self.array)} | options
        self.file.write_text(yaml.safe_dump({"study": ["mine"], "datasets": {"mine": mine}}))

    def edit(self, file="array"):
        path = self.folder / f"vaepipe/datasets/{file}.py"
        path.write_text(path.read_text(encoding="utf-8") + "\nADDED = 1\n", encoding="utf-8")

    def plan(self):
        return planned(self.folder, "--configfile", self.file, "--", "models")

    def try_to_run(self, *arguments, **options):
        command = ("--cores", 1, *arguments, "--configfile", self.file, "--", "models")
        return snakemake(self.folder, *command, **options)

    def run(self, **options):
        done = self.try_to_run(**options)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout + done.stderr

    def made(self):
        """The times at which data, weights and evaluations were made."""
        names = [
            self.prepared,
            *sorted(self.folder.glob("results/models/**/*.*5")),
            *sorted(self.folder.glob("results/models/**/model.safetensors")),
        ]
        assert len(names) == 3
        return [name.stat().st_mtime_ns for name in names]


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    return Own(tmp_path_factory.mktemp("own"))


def test_an_edit_of_prepare_that_gives_equal_data_trains_nothing(own):
    before = own.made()
    own.edit()
    assert own.plan() == {"prepare": 1}
    own.run()
    after = own.made()
    assert after[0] > before[0] and after[1:] == before[1:] and own.plan() == {}


def test_a_deleted_prepared_file_that_is_made_again_equal_trains_nothing(own):
    before = own.made()
    own.prepared.unlink()
    assert own.plan() == {}
    assert snakemake(own.folder, "--cores", 1, "--configfile", own.file, "--", "data").returncode == 0
    assert own.made()[1:] == before[1:] and own.plan() == {}


def test_other_data_train_again_in_the_same_run(own):
    before = own.made()
    own.write(1)
    assert own.plan() == {"prepare": 1}
    own.run()
    assert all(new > old for new, old in zip(own.made(), before)) and own.plan() == {}


def test_without_its_source_a_prepared_data_set_serves_all_that_follows(own):
    away = own.array.rename(own.array.with_name("away.npy"))
    own.edit("writing")  # the code of prepare cannot be tried without the source
    assert own.plan() == {}
    own.configure(grid=GRID | {"d_z": [2, 3]})
    assert own.plan() == TRAINED
    line = (
        f"config: datasets.mine.path: '{own.array}' is not there; results/data/mine.h5, made before, is used"
    )
    assert line in own.try_to_run("-n").stderr.splitlines()
    own.array.mkdir()  # where no disk is mounted
    assert own.plan() == TRAINED
    own.array.rmdir()
    for change, said in (
        ({"maximum": 300}, "results/data/mine.h5 has options {}, not {'maximum': 300};"),
        ({"checksum": "md5:" + "0" * 32}, "results/data/mine.h5 has checksum None, not md5:"),
    ):
        own.configure(**change)
        lines = [text for text in own.try_to_run("-n").stderr.splitlines() if text.startswith("config:")]
        assert len(lines) == 1 and said in lines[0]
    own.configure()
    kept = own.prepared.rename(own.prepared.with_suffix(".kept"))
    said = own.try_to_run("-n").stderr.splitlines()[-1]
    assert (
        said
        == f"config: datasets.mine.path: '{own.array}' does not exist; give the file or folder of the data"
    )
    kept.rename(own.prepared)
    away.rename(own.array)
    assert own.plan() == {"prepare": 1}
    own.run()


def test_a_prepared_file_that_was_exchanged_by_hand_is_noticed_whatever_its_date(own):
    kept = own.prepared.read_bytes()
    prepare(PrepareSpec(dataset="digits"), own.prepared)
    os.utime(own.prepared, (1, 1))
    assert own.plan() == TRAINED
    own.prepared.write_bytes(kept)
    assert own.plan() == {}
