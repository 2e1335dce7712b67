"""How fast, and in how much memory, a large set of photographs is prepared.

    python scripts/bench_prepare.py --images 202599 --threads 2

The script makes a zip of JPEGs of CelebA's size and names out of 200 different pictures and prepares it as
`celeba` in a process of its own. It compares images per second with decoding alone: the same pictures from
memory, by the same function, on as many threads.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

CHILD = """
import resource, sys, time
from pathlib import Path
from vaepipe.stages.prepare import prepare
from vaepipe.study.specs import PrepareSpec
archive, out, threads = sys.argv[1:]
begun, cpu = time.monotonic(), time.process_time()
prepare(PrepareSpec(dataset="celeba", path=archive), Path(out), threads=int(threads))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(time.monotonic() - begun, time.process_time() - cpu, peak)
"""


def pictures(n: int) -> list[bytes]:
    """JPEGs of 178×218 pixels and about 7 kB, as CelebA's: smooth shapes with some noise."""
    random, found = np.random.default_rng(0), []
    for _ in range(n):
        small = Image.fromarray(random.integers(0, 256, (14, 11, 3), np.uint8)).resize(
            (178, 218), Image.Resampling.BICUBIC
        )
        noisy = np.asarray(small.filter(ImageFilter.GaussianBlur(2))) + random.normal(0, 4, (218, 178, 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(out := io.BytesIO(), "jpeg", quality=75)
        found.append(out.getvalue())
    return found


def decoding(data: list[bytes], threads: int, n: int) -> tuple[float, float]:
    """Images per second, and milliseconds of CPU per image, of decoding, cropping and scaling alone."""
    from vaepipe.datasets.celeba import CROP, SIZE
    from vaepipe.datasets.sources.decoding import decode

    def some(start: int) -> None:
        for i in range(start, min(start + 256, n)):
            decode(data[i % len(data)], 3, CROP, SIZE)

    begun, cpu = time.monotonic(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(some, range(0, n, 256)))
    return n / (time.monotonic() - begun), (time.process_time() - cpu) / n * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=202_599)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    data = pictures(200)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        archive, out = Path(folder, "img_align_celeba.zip"), Path(folder, "celeba.h5")
        with zipfile.ZipFile(archive, "w") as file:
            for i in range(args.images):  # spread over the whole partition, so that there is a test split
                number = 1 + i * 202_598 // max(1, args.images - 1)
                file.writestr(f"img_align_celeba/{number:06}.jpg", data[i % len(data)])
        before = decoding(data, args.threads, 5_000)
        command = [sys.executable, "-c", CHILD, str(archive), str(out), str(args.threads)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        after = decoding(data, args.threads, 5_000)
        words = done.stdout.splitlines()[-2].split()  # "N of N rows, R per second"
        rows, rate = int(words[0]), int(words[4])
        seconds, cpu, peak = map(float, done.stdout.splitlines()[-1].split())
        bound, least = ((a + b) / 2 for a, b in zip(before, after))
        found = {
            "images": args.images,
            "written": rows,
            "threads": args.threads,
            "bytes per jpeg": round(np.mean([len(d) for d in data])),
            "seconds": round(seconds, 1),
            "images per second, all": round(rows / seconds),
            "images per second, reading to written": rate,
            "decoding alone": [round(before[0]), round(after[0])],
            "CPU ms per image: all, decoding alone": [round(1000 * cpu / rows, 3), round(least, 3)],
            "share of decoding alone": round(rate / bound, 2),
            "peak memory, GiB": round(peak, 2),
            "file, GB": round(out.stat().st_size / 1e9, 2),
        }
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
