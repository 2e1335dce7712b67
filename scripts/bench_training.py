"""Training speed of the same network, batch and β-TCVAE loss: vaepipe, the usual loop, and pythae, in turns.

    python scripts/bench_training.py --data dsprites.npz --batch 64 256 2048 --pythae
    python scripts/bench_training.py --network mlp --batch 64 1024 --threads 1 --processor
    python scripts/bench_training.py --memory

Per batch size and way, the benchmark prints images/s (median and range over the rounds), the ratio of
vaepipe's speed to it within each round (median), the β = 1 ELBO of 1,000 images after the same number of
steps from the same weights, and the peak memory of the process; for vaepipe also the share of this machine's
matrix rate, measured between the rounds. ``--memory`` prints the peak memory of training on a data set of
dSprites' size instead. ``--data`` is a dSprites .npz; the default are drawn sprites. pythae
(https://github.com/clementchadebec/benchmark_VAE) runs in any environment with pythae and this package
installed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

D_Z, BETA, LEARNING_RATE, WARM_UP, WATCHED = 10, 4.0, 1e-3, 3, 1000

clock = time.perf_counter


def images(path: str | None, count: int) -> np.ndarray:
    """(N, 1, 64, 64) uint8 in [0,255]."""
    if path:
        x = np.load(path, allow_pickle=False)["imgs"][:count, None]
        return x * np.uint8(255 // max(1, x.max()))
    from vaepipe.datasets import sprites

    return sprites.load("sprites", None, Path("."))["train"].x[:count]


def make_spec(network: str, batch: int, precision: str = "auto", steps: int | None = None):
    from vaepipe.study.settings import Model, TrainOptions
    from vaepipe.study.specs import ModelSpec

    model = Model(network=network, hidden=(1200, 1200), likelihood="bernoulli")
    train = TrainOptions(
        epochs=1, batch_size=batch, learning_rate=LEARNING_RATE, precision=precision, steps=steps
    )
    return ModelSpec(
        dataset="bench", family="beta-tcvae", beta=BETA, d_z=D_Z, seed=0, model=model, train=train
    )


def ours(x: np.ndarray, options) -> tuple[float, object]:
    """(seconds of the timed steps of `vaepipe.models.training.Trainer`, encoder and decoder)."""
    import torch

    from vaepipe.compute.device import setup_device
    from vaepipe.datasets.resident import Resident
    from vaepipe.models.training import Trainer

    device, batch = setup_device(options.threads), options.batch[0]
    data = Resident(torch.from_numpy(x))
    trainer = Trainer(make_spec(options.network, batch, options.precision), data, data, device)
    trainer.held_out = lambda: 0.0  # the others measure nothing beside training
    trainer.total, trainer.steps = 10**9, WARM_UP
    trainer.epoch()
    begun, done = clock(), 0
    while done < options.steps:
        trainer.steps = min(options.steps - done, len(x) // batch)
        trainer.epoch()
        done += trainer.steps
    return clock() - begun, trainer.model


def plain(network: str, batch: int):
    """The same network of PyTorch's own layers alone, from the same weights."""
    from vaepipe.models.build import build_model

    return with_plain_layers(build_model(make_spec(network, batch), (1, 64, 64)))


def with_plain_layers(model):
    """The model with PyTorch's own layers in the place of ours."""
    from torch import nn

    from vaepipe.models.doubling import Doubling

    for layer in model.modules():
        if isinstance(layer, Doubling):
            layer.__class__ = nn.ConvTranspose2d
    return model


def loop(x: np.ndarray, options) -> tuple[float, object]:
    """(seconds of the timed steps of the usual loop, encoder and decoder)."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = plain(options.network, options.batch[0])
    return usual_loop(model, x, options.batch[0], options.steps, device), model


def usual_loop(model, x: np.ndarray, batch: int, steps: int, device) -> float:
    """Seconds of ``steps`` steps after a warm-up: DataLoader, a transform per image, every term's .item() in
    every step, autograd's total correlation."""
    import torch
    from torch.distributions import Normal
    from torch.utils.data import DataLoader, Dataset

    from vaepipe.models.total_correlation import log_weights

    class Images(Dataset):
        def __len__(self):
            return len(x)

        def __getitem__(self, i):
            return torch.from_numpy(x[i]).float().div(255)  # as torchvision's ToTensor

    model.to(device)
    weights = log_weights(batch, len(x), "mss").float().to(device)
    adam = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    done, begun = -WARM_UP, clock()
    while done < steps:
        for data in DataLoader(Images(), batch, shuffle=True, drop_last=True):
            if done == 0:
                begun = clock()
            data = data.to(device)
            mean, log_std = model.encoder(data).chunk(2, dim=1)
            z = mean + log_std.exp() * torch.randn_like(mean)
            bce = torch.nn.functional.binary_cross_entropy_with_logits
            reconstruction = bce(model.decoder(z), data, reduction="sum") / batch
            kl = (0.5 * (mean**2 + (2 * log_std).exp() - 1) - log_std).sum(1).mean()
            log_q = Normal(mean[None], log_std.exp()[None]).log_prob(z[:, None])  # i j k
            joint = torch.logsumexp(weights + log_q.sum(2), 1)
            tc = (joint - torch.logsumexp(weights[:, :, None] + log_q, 1).sum(1)).mean()
            loss = reconstruction + kl + (BETA - 1) * tc
            adam.zero_grad()
            loss.backward()
            adam.step()
            [value.item() for value in (loss, reconstruction, kl, tc)]
            done += 1
            if done >= steps:
                break
    return clock() - begun


def pythae(x: np.ndarray, options) -> tuple[float, object]:
    """pythae's own trainer and β-TCVAE around the same encoder and decoder."""
    import logging

    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.models import BetaTCVAE, BetaTCVAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    logging.disable(logging.CRITICAL)
    batch, steps = options.batch[0], options.steps
    net = plain(options.network, batch)

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.net = net.encoder

        def forward(self, data):
            mean, log_std = self.net(data).chunk(2, dim=1)
            return ModelOutput(embedding=mean, log_covariance=2 * log_std)

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.net = net.decoder

        def forward(self, z):
            return ModelOutput(reconstruction=torch.sigmoid(self.net(z)))

    class Clock(TrainingCallback):
        steps, begun = 0, 0.0

        def on_train_step_end(self, *_, **__):
            self.steps += 1
            if self.steps == WARM_UP:
                self.begun = clock()
            elif self.steps == WARM_UP + steps:
                self.seconds = clock() - self.begun

    config = BetaTCVAEConfig(input_dim=x.shape[1:], latent_dim=D_Z, reconstruction_loss="bce", beta=BETA)
    count = (steps + WARM_UP) * batch
    data = torch.from_numpy(np.resize(x, (count, *x.shape[1:])).astype(np.float32) / 255)
    timed = Clock()
    with tempfile.TemporaryDirectory() as folder:
        sizes = {"per_device_train_batch_size": batch, "num_epochs": 1}
        training = BaseTrainerConfig(output_dir=folder, learning_rate=LEARNING_RATE, **sizes)
        vae = BetaTCVAE(config, Encoder(), Decoder())
        BaseTrainer(
            vae, BaseDataset(data, torch.zeros(count)), training_config=training, callbacks=[timed]
        ).train()
    return timed.seconds, net


WAYS = {"vaepipe": ours, "loop": loop, "pythae": pythae}


def elbo(model, x: np.ndarray) -> float:
    """β = 1 ELBO of the first images, nats per image."""
    import torch

    from vaepipe.models.objectives import terms

    images = torch.from_numpy(x[:WATCHED]).float() / 255
    noise = torch.randn(len(images), D_Z, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return float(terms(model.cpu().float().eval(), images, noise).elbo.mean())


def child(options) -> None:
    """One way, one batch size, in a process of its own; prints JSON."""
    import torch

    torch.set_num_threads(options.threads)
    x = images(options.data, options.images)
    seconds, model = WAYS[options.way](x, options)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rate = options.steps * options.batch[0] / seconds
    print(json.dumps({"rate": rate, "memory": memory, "elbo": elbo(model, x)}), flush=True)


def matrix_rate(options) -> float:
    """GFLOP/s of a 2048³ matrix product in the precision of vaepipe, the best of ten."""
    import torch

    from vaepipe.compute.precision import choose_precision

    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = getattr(torch, choose_precision(options.precision, device))
    a = torch.randn(2048, 2048, device=device, dtype=dtype)
    times = []
    for _ in range(10):
        begun = clock()
        (a @ a)[0, 0].item()
        times.append(clock() - begun)
    return 2 * 2048**3 / min(times) / 1e9


def flops(network: str) -> float:
    """Of one image, multiply-adds counted two, forward and backward: three times the forward pass of both
    networks."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    model = plain(network, 2).eval()
    with FlopCounterMode(display=False) as counter:
        model.decode(model.posterior(torch.zeros(1, 1, 64, 64))[0].mean)
    return 3 * counter.get_total_flops()


def compare(options) -> None:
    work = flops(options.network)
    size = f"{work / 1e6:.0f} MFLOP per image"
    print(f"{options.network}, {size}, {options.threads} threads, {options.rounds} rounds")
    for batch in options.batch:
        measured: dict[str, list[dict]] = {way: [] for way in options.ways}
        rates = []
        for _ in range(options.rounds):
            rates.append(matrix_rate(options))
            for way in options.ways:
                given = vars(options) | {"way": way, "batch": batch}
                keys = ("way", "batch", "steps", "threads", "network", "images", "data", "precision")
                words = [
                    str(part) for key in keys if given[key] is not None for part in (f"--{key}", given[key])
                ]
                words += ["--processor"] * options.processor
                python = options.pythae or sys.executable if way == "pythae" else sys.executable
                # MKL as PyTorch finds it for the others; ours chooses for itself
                environment = os.environ if way == "vaepipe" else os.environ | {"MKL_CBWR": "AUTO"}
                done = subprocess.run(
                    [python, __file__, *words], capture_output=True, text=True, env=environment
                )
                if done.returncode:
                    print(f"  batch {batch}: {way} did not run: {(done.stderr.splitlines() or ['?'])[-1]}")
                else:
                    measured[way].append(json.loads(done.stdout.splitlines()[-1]))
        for way, results in measured.items():
            if results:
                print(
                    line(
                        batch,
                        way,
                        results,
                        measured.get("vaepipe", []),
                        work / statistics.median(rates) / 1e9,
                    )
                )


def line(batch: int, way: str, results: list[dict], ours: list[dict], per_image: float) -> str:
    rate, elbos = [r["rate"] for r in results], statistics.median(r["elbo"] for r in results)
    text = f"  batch {batch:>4} {way:<8}{statistics.median(rate):>7.0f} images/s"
    text += f" [{min(rate):.0f}, {max(rate):.0f}]"
    text += f", ELBO {elbos:.1f}, {max(r['memory'] for r in results):.0f} MiB"
    if way == "vaepipe":
        return f"{text}, {100 * statistics.median(rate) * per_image:.0f} % of the matrix rate"
    return (
        f"{text}, ours {statistics.median(a['rate'] / b['rate'] for a, b in zip(ours, results)):.2f}×"
        if ours
        else text
    )


def memory(options) -> None:
    """Write 737,280 black-and-white 64×64 images, train on them in a process of its own, print its peak."""
    import h5py

    from vaepipe.storage.h5 import SCHEMA

    with tempfile.TemporaryDirectory() as folder:
        path, count = Path(folder) / "data.h5", 737_280
        block = images(None, 1024)
        with h5py.File(path, "w") as file:
            file.attrs.update({"kind": "data", "schema": SCHEMA, "digest": "", "factor_names": "[]"})
            packed = {"chunks": (256, 1, 64, 64), "compression": "gzip", "compression_opts": 1}
            x = file.create_dataset("train/x", (count, 1, 64, 64), "uint8", **packed)
            for start in range(0, count, len(block)):
                x[start : start + len(block)] = block[: count - start]
            file["test/x"] = block
        spec = make_spec(options.network, options.batch[-1], steps=options.steps)
        words = ["--spec", spec.to_json(), "--data", path, "--out", path.with_name("m.safetensors")]
        words += ["--history", path.with_name("h.csv"), "--threads", str(options.threads)]
        begun = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "vaepipe.stages.train", *words],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        peak, seconds = (
            resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20,
            time.monotonic() - begun,
        )
        steps = f"batch {options.batch[-1]}, {options.steps} steps"
        print(f"{count} images, {steps}: peak {peak:.2f} GiB, {seconds:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="dSprites .npz; default: drawn sprites")
    parser.add_argument("--network", default="burgess", choices=["burgess", "conv", "mlp"])
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 256, 2048])
    parser.add_argument("--steps", type=int, default=30, help="timed steps per round (default 30)")
    parser.add_argument(
        "--rounds", type=int, default=3, help="rounds in which the ways take turns (default 3)"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument(
        "--images", type=int, default=20000, help="images of the data set used (default 20000)"
    )
    parser.add_argument(
        "--precision", default="auto", choices=["auto", "float32", "bfloat16"], help="of ours (default auto)"
    )
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS, help="who takes part")
    parser.add_argument("--pythae", help="python of the environment that has pythae; default: this one")
    parser.add_argument(
        "--memory", action="store_true", help="measure the memory of a data set of dSprites' size instead"
    )
    parser.add_argument(
        "--processor", action="store_true", help="count processor seconds: where other programs run, too"
    )
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.processor:
        global clock
        clock = time.process_time
    (child if options.way else memory if options.memory else compare)(options)


if __name__ == "__main__":
    main()
