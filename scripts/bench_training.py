"""Training speed: the same network, batch and β-TCVAE loss by vaepipe, by the loop that people write, and by pythae.

    .venv/bin/python scripts/bench_training.py [--data dsprites.npz] [--network burgess] [--batch 64 256] [--threads 2]

Prints, per batch size, images/s of each (median and range over rounds in which they take turns), the ratio to ours, ours as a
share of this machine's float32 matrix rate, and peak memory. The data are 64×64 images: of a dSprites .npz, or drawn sprites.
pythae (https://github.com/clementchadebec/benchmark_VAE) takes part where it is installed: pip install pythae.
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

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
D_Z, BETA, LEARNING_RATE, WARM_UP = 10, 4.0, 1e-3, 3


def images(path: str | None, count: int) -> np.ndarray:
    """(N, 1, 64, 64) uint8 in [0,255]."""
    if path:
        x = np.load(path, allow_pickle=False)["imgs"][:count, None]
        return x * np.uint8(255 // max(1, x.max()))
    from vaepipe.datasets import sprites

    return sprites.load("sprites", None, Path("."))["train"].x[:count]


def spec(network: str, batch: int) -> dict:
    model = {"network": network, "hidden": [1200, 1200], "likelihood": "bernoulli", "sigma_x": 0.1}
    train = {"epochs": 1, "steps": None, "batch_size": batch, "learning_rate": LEARNING_RATE, "schedule": "constant"}
    train |= {"estimator": "mss", "beta_warmup": 0, "clip": None}
    return {"dataset": "bench", "family": "beta-tcvae", "beta": BETA, "d_z": D_Z, "seed": 0, "model": model, "train": train}


def ours(x: np.ndarray, network: str, batch: int, steps: int) -> float:
    """Seconds of ``steps`` steps of `vaepipe.train.Trainer`, after warm-up."""
    import torch

    from vaepipe.train import Trainer

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer = Trainer(spec(network, batch), torch.from_numpy(x), torch.from_numpy(x[:1]), device)
    trainer.held_out = lambda: 0.0  # the others measure nothing beside training
    trainer.total, trainer.steps = 10**9, WARM_UP
    trainer.epoch()
    trainer.steps = min(steps, len(x) // batch)
    begun, done = time.perf_counter(), 0
    while done < steps:
        trainer.epoch()
        done += trainer.steps
    return (time.perf_counter() - begun) / done * steps


def loop(x: np.ndarray, network: str, batch: int, steps: int) -> float:
    """The same model in the usual loop: DataLoader, a transform per image, .item() of every term in every step."""
    import torch
    from torch.utils.data import DataLoader, Dataset
    from torchvision.transforms import ToTensor

    from vaepipe.models import build
    from vaepipe.total_correlation import total_correlation

    class Images(Dataset):
        transform = ToTensor()

        def __len__(self):
            return len(x)

        def __getitem__(self, i):
            return self.transform(x[i].transpose(1, 2, 0))

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = build(spec(network, batch), x.shape[1:]).to(device)
    adam = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    done, begun = -WARM_UP, time.perf_counter()
    while done < steps:
        for data in DataLoader(Images(), batch, shuffle=True, drop_last=True):
            if done == 0:
                begun = time.perf_counter()
            data = data.to(device)
            (q,) = model.posterior(data)
            z = q.sample(torch.randn_like(q.mean))
            reconstruction = -model.decode(z).log_prob(data).mean()
            kl = q.kl().mean()
            tc = total_correlation(z, *q, len(x))
            loss = reconstruction + kl + (BETA - 1) * tc
            adam.zero_grad()
            loss.backward()
            adam.step()
            [value.item() for value in (loss, reconstruction, kl, tc)]
            done += 1
            if done >= steps:
                break
    return time.perf_counter() - begun


def pythae(x: np.ndarray, network: str, batch: int, steps: int) -> float:
    """pythae's own trainer and β-TCVAE around the same encoder and decoder."""
    import logging

    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.models import BetaTCVAE, BetaTCVAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    from vaepipe.models import build

    logging.disable(logging.CRITICAL)
    net = build(spec(network, batch), x.shape[1:])

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.net = net.encoder

        def forward(self, data):
            mean, log_covariance = self.net(data).chunk(2, dim=1)
            return ModelOutput(embedding=mean, log_covariance=log_covariance)

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
                self.begun = time.perf_counter()
            elif self.steps == WARM_UP + steps:
                self.seconds = time.perf_counter() - self.begun

    config = BetaTCVAEConfig(input_dim=x.shape[1:], latent_dim=D_Z, reconstruction_loss="bce", beta=BETA)
    count = (steps + WARM_UP) * batch
    data = torch.from_numpy(np.resize(x, (count, *x.shape[1:])).astype(np.float32) / 255)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        training = BaseTrainerConfig(
            output_dir=folder, per_device_train_batch_size=batch, num_epochs=1, learning_rate=LEARNING_RATE
        )
        BaseTrainer(
            BetaTCVAE(config, Encoder(), Decoder()),
            BaseDataset(data, torch.zeros(count)),
            training_config=training,
            callbacks=[clock],
        ).train()
    return clock.seconds


WAYS = {"vaepipe": ours, "loop": loop, "pythae": pythae}


def matrix_rate(threads: int) -> float:
    """GFLOP/s of a 1024³ float32 matrix product, the best of ten."""
    import torch

    torch.set_num_threads(threads)
    a = torch.randn(1024, 1024)
    times = []
    for _ in range(10):
        begun = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - begun)
    return 2 * 1024**3 / min(times) / 1e9


def flops(network: str) -> float:
    """Multiply-adds count two; forward and backward of one image: three times the forward pass of both networks."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from vaepipe.models import build

    model = build(spec(network, 2), (1, 64, 64)).eval()
    with FlopCounterMode(display=False) as counter:
        model.decode(model.posterior(torch.zeros(1, 1, 64, 64))[0].mean)
    return 3 * counter.get_total_flops()


def child(arguments) -> None:
    """One way, one batch size, in a process of its own; prints JSON."""
    import torch

    torch.set_num_threads(arguments.threads)
    x = images(arguments.data, arguments.images)
    seconds = WAYS[arguments.way](x, arguments.network, arguments.batch[0], arguments.steps)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rate": arguments.steps * arguments.batch[0] / seconds, "memory": memory}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="dSprites .npz; default: drawn sprites")
    parser.add_argument("--network", default="burgess", choices=["burgess", "conv", "mlp"])
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--steps", type=int, default=30, help="timed steps per round (default 30)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds in which the ways take turns (default 3)")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--images", type=int, default=20000)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        return child(arguments)
    rate, work = matrix_rate(arguments.threads), flops(arguments.network)
    print(
        f"{arguments.network}, {work / 1e6:.0f} MFLOP per image; matrix product {rate:.0f} GFLOP/s on {arguments.threads} threads"
    )
    for batch in arguments.batch:
        found: dict[str, list[dict]] = {way: [] for way in WAYS}
        for _ in range(arguments.rounds):
            for way in WAYS:
                options = {"way": way, "batch": batch, "steps": arguments.steps, "threads": arguments.threads}
                options |= {"network": arguments.network, "images": arguments.images}
                options |= {"data": arguments.data} if arguments.data else {}
                command = [
                    sys.executable,
                    __file__,
                    *(str(part) for key, value in options.items() for part in (f"--{key}", value)),
                ]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode == 0:
                    found[way].append(json.loads(done.stdout.splitlines()[-1]))
        for way, rounds in found.items():
            if not rounds:
                print(f"  batch {batch}: {way} did not run")
                continue
            rates = [r["rate"] for r in rounds]
            middle, base = statistics.median(rates), statistics.median(r["rate"] for r in found["vaepipe"])
            share = (
                f", {100 * middle * work / rate / 1e9:.0f} % of the matrix rate"
                if way == "vaepipe"
                else f", ours {base / middle:.2f}×"
            )
            memory = max(r["memory"] for r in rounds)
            print(
                f"  batch {batch}: {way:<8}{middle:>8.0f} images/s [{min(rates):.0f}, {max(rates):.0f}], {memory:.0f} MiB{share}"
            )


if __name__ == "__main__":
    main()
