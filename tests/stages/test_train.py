"""Training: interruptions that leave no trace, divergence that is said, seeds that decide."""

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import HANGS, SERVED, run_stage, vary
from forked import end, start

from vaepipe.attacks.penalised import run_attack
from vaepipe.compute import precision
from vaepipe.datasets.resident import Resident
from vaepipe.models.snapshots import snapshot_steps, snapshot_tensors
from vaepipe.models.training import Trainer
from vaepipe.stages.evaluate import evaluate
from vaepipe.stages.snapshot import extract
from vaepipe.stages.train import train
from vaepipe.storage.errors import DataError
from vaepipe.storage.weights import read_weights, write_weights
from vaepipe.study.specs import EvaluateSpec

CPU = torch.device("cpu")


def run(spec, data, folder, seconds=0.0):
    train(spec, data, folder / "model.safetensors", folder / "history.csv", seconds, CPU)
    return read_weights(folder / "model.safetensors")[0], pd.read_csv(folder / "history.csv")


@pytest.fixture(scope="module")
def whole(spec, digits, tmp_path_factory):
    """The uninterrupted training."""
    return run(spec, digits, tmp_path_factory.mktemp("whole"))


def assert_equal(first, second):
    assert first[0].keys() == second[0].keys()
    assert all(torch.equal(first[0][name], second[0][name]) for name in first[0])
    pd.testing.assert_frame_equal(first[1], second[1])


def test_the_same_seed_gives_the_same_weights_and_another_one_others(spec, digits, tmp_path, whole):
    assert_equal(run(spec, digits, tmp_path / "again"), whole)
    other, _ = run(vary(spec, seed=1), digits, tmp_path / "other")
    assert not torch.equal(other["encoder.1.0.weight"], whole[0]["encoder.1.0.weight"])


SIGNALS = {"stopped": signal.SIGTERM, "interrupted": signal.SIGINT}


@pytest.mark.parametrize("moment", ["killed", "while saving", *SIGNALS])
@pytest.mark.parametrize("epoch", [0, 3])
def test_a_training_that_was_killed_ends_with_the_same_bits(
    spec, digits, tmp_path, whole, moment, epoch, monkeypatch
):
    folder = tmp_path / "killed"
    folder.mkdir()
    inner = Trainer.epoch

    def die():
        os.kill(os.getpid(), SIGNALS.get(moment, signal.SIGKILL))

    def dies_in_epoch(self):
        if len(self.history) == epoch and moment != "while saving":
            self.model.state_dict()["decoder.0.0.bias"].fill_(7)  # a step of this epoch was already taken
            die()
        return inner(self)

    def dies_in_save(path, *rest):
        saving = ".resume" in str(path) and moment == "while saving"
        if saving and len(json.loads(rest[1]["history"])) == epoch + 1:
            Path(f"{path}.partial").write_bytes(b"half")
            die()
        return write_weights(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "epoch", dies_in_epoch)
        patch.setattr("vaepipe.stages.train.write_weights", dies_in_save)
        child = start(lambda: run(spec, digits, folder), tmp_path / "said")
    code, said = end(child), (tmp_path / "said").read_text()
    if moment in SIGNALS:
        assert code == 1 and f"the checkpoint after epoch {epoch} is kept" in said
    else:
        assert code == -signal.SIGKILL, said
    assert not (folder / "model.safetensors").exists()
    assert_equal(run(spec, digits, folder), whole)


def test_what_a_killed_workflow_deletes_of_a_finished_training_is_made_again_without_training(
    spec, digits, tmp_path, whole, monkeypatch
):
    folder = tmp_path / "seen by nobody"
    run(spec, digits, folder)
    for name in ("model.safetensors", "history.csv"):
        (folder / name).unlink()
    monkeypatch.setattr(Trainer, "epoch", lambda self: pytest.fail("an epoch was trained again"))
    assert_equal(run(spec, digits, folder), whole)
    options = EvaluateSpec(importance_samples=2)
    other = (
        folder / ".model.resume-0000000000000000.safetensors"
    )  # of a longer training that was stopped, for another config
    other.touch()
    evaluate(options, digits, folder / "model.safetensors", folder / "evaluation.h5", CPU)
    assert {path.name for path in folder.glob(".*")} == {".model.lock", other.name}


def test_a_checkpoint_of_another_spec_is_not_taken(spec, digits, tmp_path, whole):
    folder = tmp_path / "other"
    shorter = vary(spec, train={"learning_rate": 2e-3})
    trainer = Trainer(shorter, *(Resident.read(digits, p) for p in ("train", "test")), CPU)
    trainer.epoch()
    write_weights(folder / ".model.resume-0000000000000000.safetensors", *trainer.state())
    assert_equal(run(spec, digits, folder), whole)


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_with_step_and_last_good_checkpoint(spec, digits, tmp_path):
    arguments = ["--data", digits, "--out", tmp_path / "m.safetensors", "--history", tmp_path / "h.csv"]
    broken = vary(spec, train={"learning_rate": 1e18, "schedule": "constant"})
    done = run_stage("train", "--spec", broken.to_json(), *arguments)
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and "training diverged: the loss is" in lines[0] and "epoch 1, step" in lines[0], (
        done.stderr
    )
    assert "is kept at" in lines[0] and not (tmp_path / "m.safetensors").exists()
    (kept,) = tmp_path.glob(".m.resume-*.safetensors")
    assert all(torch.isfinite(t).all() for t in read_weights(kept)[0].values())


def test_weights_that_are_not_finite_are_never_a_result_nor_a_checkpoint(spec, digits, tmp_path):
    # one step an epoch: the loss is computed before the step that spoils the weights
    broken = vary(
        spec, train={"learning_rate": 1e38, "schedule": "constant", "batch_size": 1437, "epochs": 1}
    )
    with pytest.raises(DataError, match="weights are not finite after epoch 1, step 1"):
        run(broken, digits, tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    (kept,) = tmp_path.glob(".model.resume-*.safetensors")
    assert all(torch.isfinite(t).all() for t in read_weights(kept)[0].values())


@pytest.mark.slow
def test_of_two_processes_at_the_same_model_one_trains_and_the_other_takes_what_it_made(
    spec, digits, tmp_path, whole
):
    folder = tmp_path / "both"
    arguments = [
        "--data",
        digits,
        "--out",
        folder / "model.safetensors",
        "--history",
        folder / "history.csv",
        "--checkpoint-seconds",
        0,
    ]
    command = [sys.executable, "-m", "vaepipe.stages.train", "--spec", spec.to_json(), *map(str, arguments)]
    environment = os.environ | SERVED | {"VAEPIPE_DEVICE": "cpu"}
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted((process.communicate(timeout=HANGS)[0] for process in both), key=len)
    assert [process.returncode for process in both] == [0, 0]
    assert (
        said[0].endswith("is there already: the process that had the lock made it\n")
        and said[1].count("epoch") == 6
    )
    assert_equal((read_weights(folder / "model.safetensors")[0], pd.read_csv(folder / "history.csv")), whole)


def test_finished_weights_of_another_spec_or_without_their_history_are_not_taken(
    spec, digits, tmp_path, whole
):
    run(vary(spec, seed=1), digits, tmp_path)
    assert_equal(run(spec, digits, tmp_path), whole)
    (tmp_path / "history.csv").unlink()
    assert_equal(run(spec, digits, tmp_path), whole)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_trains_resumes_and_measures_as_the_cpu_does(spec, digits, tmp_path):
    parts = [Resident.read(digits, p) for p in ("train", "test")]
    gpu = torch.device("cuda", 0)
    on_gpu, on_cpu, again = Trainer(spec, *parts, gpu), Trainer(spec, *parts, CPU), Trainer(spec, *parts, gpu)
    rows = [(on_gpu.epoch()["loss"], on_cpu.epoch()["loss"]) for _ in range(3)]
    assert rows == pytest.approx(
        np.array(rows).mean(1, keepdims=True).repeat(2, 1), rel=0.05
    )  # other shuffling, same training
    again.restore(*on_gpu.state())
    assert again.epoch()["loss"] == pytest.approx(on_gpu.epoch()["loss"], rel=1e-4)
    eager = Trainer(spec, *parts, gpu)
    eager._step_function = lambda beta: partial(eager.step, beta)
    assert [eager.epoch()["loss"] for _ in range(3)] == pytest.approx(
        [row[0] for row in rows], rel=1e-5
    )  # without a graph
    x = parts[1][:4].to(gpu)
    model = on_gpu.model.eval().requires_grad_(False)
    found = run_attack(model, x, x.flip(0), torch.tensor([0.1, 1.0]), batch_size=16)
    expected = run_attack(model.cpu(), x.cpu(), x.flip(0).cpu(), torch.tensor([0.1, 1.0]), batch_size=16)
    torch.testing.assert_close(found.objective.cpu(), expected.objective, rtol=0.02, atol=1e-3)


@pytest.mark.slow
def test_progress_is_a_line_per_epoch_with_loss_and_time_left(spec, digits, tmp_path):
    arguments = ["--data", digits, "--out", tmp_path / "m.safetensors", "--history", tmp_path / "h.csv"]
    done = run_stage("train", "--spec", spec.to_json(), *arguments)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 6 and lines[2].startswith("epoch 3/6: loss ") and lines[2].endswith("s left")


def test_training_lowers_the_loss_and_the_history_is_what_was_optimised(whole):
    history = whole[1]
    assert history.loss.iloc[-1] < history.loss.iloc[0] - 1
    assert history.held_out_elbo.iloc[-1] > history.held_out_elbo.iloc[0]
    assert list(history.epoch) == [1, 2, 3, 4, 5, 6]


def test_the_cosine_goes_from_the_learning_rate_to_nothing(spec, digits):
    trainer = Trainer(spec, *(Resident.read(digits, p) for p in ("train", "test")), CPU)
    rates = [trainer._learning_rate(step) for step in range(6 * trainer.steps + 1)]
    assert rates[0] == 1e-3 and rates[-1] == pytest.approx(0, abs=1e-12) and np.all(np.diff(rates) < 0)
    assert rates[3 * trainer.steps] == pytest.approx(5e-4)


def test_every_image_is_seen_once_in_an_epoch(spec, digits):
    x = torch.arange(130, dtype=torch.float32)[:, None].expand(130, 4).contiguous()
    points = vary(spec, model={"likelihood": "gaussian"})
    trainer = Trainer(points, Resident(x), Resident(x), CPU)
    seen = []
    inner = trainer.model.infer
    trainer.model.infer = lambda batch, noise: (seen.append(batch[:, 0]), inner(batch, noise))[1]
    trainer.held_out = lambda: 0.0
    trainer.epoch()
    assert len(torch.cat(seen).unique()) == len(torch.cat(seen)) == 128


def test_beta_rises_from_one_to_its_value(spec, digits):
    warm = vary(spec, beta=9.0, train={"beta_warmup": 3})
    trainer = Trainer(warm, *(Resident.read(digits, p) for p in ("train", "test")), CPU)
    assert [trainer._beta(epoch) for epoch in range(6)] == [3.0, 5.0, 7.0, 9.0, 9.0, 9.0]
    cold = Trainer(vary(spec, beta=9.0), *(Resident.read(digits, p) for p in ("train", "test")), CPU)
    assert cold._beta(0) == 9.0


def test_steps_cut_the_last_epoch_short(spec, digits, tmp_path):
    few = vary(spec, train={"steps": 50, "epochs": 1})
    trainer = Trainer(few, *(Resident.read(digits, p) for p in ("train", "test")), CPU)
    taken, inner = [], trainer.adam.step
    trainer.adam.step = lambda: (taken.append(1), inner())
    per_epoch = len(trainer.x) // 64
    while len(trainer.history) < trainer.epochs:
        trainer.epoch()
    assert len(taken) == 50 and trainer.epochs == -(-50 // per_epoch)


def test_a_snapshot_is_a_training_of_its_length_and_survives_a_stop(spec, digits, tmp_path):
    """Of a constant learning rate: the same steps are taken, whatever comes after them."""
    spec = vary(spec, train={"schedule": "constant"})
    kept = vary(spec, train={"steps": 40, "snapshots": [5, 31]})  # 22 steps per epoch

    def trainer(spec):
        return Trainer(spec, Resident.read(digits, "train"), Resident.read(digits, "test", 100), CPU)

    first = trainer(kept)
    first.epoch()
    second = trainer(kept)
    second.restore(*first.state())
    second.epoch()
    snapshots = tmp_path / "snapshots.safetensors"
    write_weights(snapshots, snapshot_tensors(second.snapshots), {"spec": kept.to_json(), "steps": "40"})
    for step in (5, 31):
        shorter = trainer(vary(spec, train={"steps": step}))
        for _ in range(shorter.epochs):
            shorter.epoch()
        out = tmp_path / f"{step}.safetensors"
        extract(vary(kept, snapshot=step), snapshots, out)
        weights, meta = read_weights(out)
        expected = shorter.model.state_dict()
        assert meta["steps"] == str(step) and weights.keys() == expected.keys()
        assert all(torch.equal(weights[name], expected[name]) for name in expected)
    with pytest.raises(DataError, match=r"no snapshot after 7 steps; it has 5, 31"):
        extract(vary(kept, snapshot=7), snapshots, tmp_path / "no.safetensors")
    with pytest.raises(DataError, match=r"train.snapshots: 40 is not below 40"):
        trainer(vary(kept, train={"snapshots": [40]}))


def test_snapshots_do_not_change_the_training(spec, digits, tmp_path, whole):
    kept = vary(spec, train={"snapshots": [3]})
    folder = tmp_path / "kept"
    train(kept, digits, folder / "m.safetensors", folder / "h.csv", 0.0, CPU, folder / "s.safetensors")
    weights = read_weights(folder / "m.safetensors")[0]
    assert all(torch.equal(weights[name], whole[0][name]) for name in weights)
    assert snapshot_steps(read_weights(folder / "s.safetensors")[0]) == [3]


def test_clipping_bounds_the_gradient_that_adam_sees(spec, digits):
    clipped = vary(spec, train={"clip": 1e-3})
    trainer = Trainer(clipped, *(Resident.read(digits, p) for p in ("train", "test")), CPU)
    norms, inner = [], trainer.adam.step
    trainer.adam.step = lambda: (
        norms.append(torch.cat([p.grad.flatten() for p in trainer.model.parameters()]).norm()),
        inner(),
    )
    trainer.epoch()
    assert max(norms) <= 1e-3 * 1.001


@pytest.mark.slow
@pytest.mark.parametrize("family", ["ae", "seatbelt"])
def test_the_other_families_train_and_resume_too(spec, digits, tmp_path, family):
    layers = {"layers": 2} if family == "seatbelt" else {}
    other = vary(spec, family=family, model=layers, train={"free_bits": 0.1})
    parts = [Resident.read(digits, p, 320) for p in ("train", "test")]
    first, second = Trainer(other, *parts, CPU), Trainer(other, *parts, CPU)
    rows = [first.epoch() for _ in range(4)]
    for _ in range(2):
        second.epoch()
    third = Trainer(other, *parts, CPU)
    third.restore(*second.state())
    assert [third.epoch() for _ in range(2)] == rows[2:]
    assert rows[3]["loss"] < rows[0]["loss"]
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.model.state_dict().values(), third.model.state_dict().values())
    )


def test_convolutions_continue_with_the_same_bits_too(spec, digits):
    conv = vary(spec, model={"network": "conv"})
    parts = [Resident.read(digits, p, 320) for p in ("train", "test")]
    whole, first, second = (Trainer(conv, *parts, CPU) for _ in range(3))
    rows = [whole.epoch() for _ in range(2)]
    first.epoch()
    second.restore(*first.state())
    assert second.epoch() == rows[1]
    assert all(
        torch.equal(a, b)
        for a, b in zip(whole.model.state_dict().values(), second.model.state_dict().values())
    )
    assert whole.model.encoder[0].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("network", "images"), [("mlp", None), ("burgess", 640)])
def test_bfloat16_trains_to_the_same_quality(spec, digits, network, images):
    parts = [Resident.read(digits, p, images) for p in ("train", "test")]
    found = {}
    for kind in ("float32", "bfloat16"):
        trainer = Trainer(vary(spec, model={"network": network}, train={"precision": kind}), *parts, CPU)
        before = trainer.held_out()
        found[kind] = [trainer.epoch()["held_out_elbo"] for _ in range(3)]
        assert all(p.dtype == torch.float32 and p.grad.dtype == torch.float32 for p in trainer.parameters)
    gain = found["float32"][-1] - before
    assert gain > 5 and found["bfloat16"][-1] == pytest.approx(found["float32"][-1], abs=0.05 * gain)
    assert found["bfloat16"] != found["float32"]


@pytest.mark.parametrize(("flags", "fast"), [("fpu amx_bf16 amx_tile", "bfloat16"), ("fpu avx2", "float32")])
def test_the_precision_follows_the_hardware_unless_it_is_given(monkeypatch, flags, fast):
    monkeypatch.setattr(precision.Path, "read_text", lambda self, **_: f"flags: {flags}")
    assert precision.choose_precision("auto", CPU) == fast
    assert (
        precision.choose_precision("float32", CPU) == "float32"
        and precision.choose_precision("bfloat16", CPU) == "bfloat16"
    )
