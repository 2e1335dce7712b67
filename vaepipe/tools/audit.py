"""How far can this VAE be fooled? One model and a folder of images, to a scorecard and a page.

    vaepipe audit --model my_vae.py:load --weights w.pt --images photos/ --out audit/
    vaepipe audit --model diffusers:sd-vae/ --images photos/ --out audit/
    vaepipe audit --model zoo:digits-vae --out audit/

In Python: ``from vaepipe import audit; report = audit(model, images)``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vaepipe.attacks.errors import Refused
from vaepipe.attacks.registry import LOSSES
from vaepipe.compute.device import setup_device
from vaepipe.datasets.prepared import read_split
from vaepipe.datasets.scale import to_unit_interval
from vaepipe.models.adapter import split_entry
from vaepipe.models.registry import FAMILIES
from vaepipe.stages.prepare import prepare
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.study.specs import PrepareSpec
from vaepipe.tools import audit_model, audit_report, audit_run
from vaepipe.tools.audit_images import Images, find_images
from vaepipe.tools.audit_model import Found
from vaepipe.tools.audit_progress import Progress
from vaepipe.tools.audit_report import SCORECARD, Report

NOTES = {
    "tiny": "The posterior's width is below 1 % of the spread of its means, as after training with a small "
    "KL weight. A KL divergence then measures that width; the audit leads with the distance of the means.",
    "point": "The model is deterministic: its posteriors have no width, so a KL divergence is infinite. It "
    "is attacked by the distance of latents and by the output.",
}
LIBRARIES_CALL = ("final_model", "vae")
"""Folders in which pythae and diffusers put a model; the folder above has its name."""
COARSE = "Shares of fooled pairs are low estimates then; --budget full takes as many as needed."


def audit(
    model: Any,
    images: Any = None,
    *,
    out: str | Path | None = None,
    weights: str | None = None,
    key: str | None = None,
    budget: str = "quick",
    losses: list[str] | None = None,
    pairs: int | None = None,
    shape: tuple[int, int, int] | None = None,
    range: tuple[float, float] | None = None,
    likelihood: str | None = None,
    purify_with: Sequence[str] = (),
    name: str | None = None,
    who: str = "",
    command: str = "",
    quiet: bool = False,
) -> Report:
    """Attack a model and return what was found.

    Args:
        model: A model in eval mode, with ``posterior`` and ``decode`` or with ``encode`` and ``decode``; or a
            text as the command's ``--model`` takes it.
        images: An array or tensor (N, C, H, W) in [0,1] or of bytes, a folder or file of images, or the name
            of a generated data set. None takes the data set of a model of the zoo.
        out: Folder for all files. None takes a temporary one.
        weights: Checkpoint of a model that is given as a text.
        key: Place of the weights in the checkpoint.
        budget: ``quick`` or ``full``.
        losses: Losses of the attacks, the leading one first. None chooses them by the posterior.
        pairs: Number of attacked pairs. None takes that of the budget.
        shape: Channels, height and width of the images. None finds them out.
        range: Darkest and brightest value of a pixel that the model takes. None finds it out.
        likelihood: What a plain decoder gives: ``gaussian``, ``bernoulli`` or ``probabilities``. None finds
            it out.
        purify_with: More purifiers, such as ``jpeg-50``, ``zoo:NAME``, or weights that vaepipe wrote.
        name: Name of the model in tables.
        who: Who makes the audit, for the leaderboard.
        command: The command that makes the audit, for the page.
        quiet: Whether to print nothing while it runs.

    Returns:
        The scorecard and the tables. ``print`` shows the scorecard.

    Raises:
        DataError: One line that says what is wrong. Nothing is written then.
    """
    if pairs is not None and pairs < 1:
        raise DataError(f"--pairs {pairs}: expected at least 1")
    if budget not in audit_run.BUDGETS:
        raise DataError(f"--budget {budget}: expected one of {', '.join(audit_run.BUDGETS)}")
    for loss in losses or []:
        if loss not in LOSSES:
            raise DataError(f"--losses {loss}: expected some of {', '.join(LOSSES)}")
    if range is not None and not range[0] < range[1]:
        raise DataError(f"--range {range[0]:g},{range[1]:g}: expected the darkest pixel, then the brightest")
    progress = Progress(quiet)
    purifiers = tuple(str(Path(given).resolve()) if Path(given).is_file() else given for given in purify_with)
    target = Path(out).resolve() if out else Path(tempfile.mkdtemp(prefix="vaepipe-audit-"))
    if target.is_file() or (target.is_dir() and any(target.iterdir()) and not (target / SCORECARD).is_file()):
        raise DataError(f"--out {out}: is there and no audit; choose another folder")
    if isinstance(model, str):
        found = audit_model.find_model(model, weights, key)
        title = name or _title(model)
    else:
        found, title = audit_model.adopt_object(model), name or type(model).__name__
    title = f"my-{title}" if title in FAMILIES else title
    found = replace(found, shape=shape or found.shape, range=range or found.range)
    found = replace(found, likelihood=likelihood or found.likelihood)

    work = target.with_name(f".{target.name}.{os.getpid()}")
    work.mkdir(parents=True)
    try:
        given = find_images(images, model, work)
        with contextlib.chdir(work):
            if found.weights == audit_model.NONE:
                audit_model.write_no_weights(Path())
            facts = {"who": who, "model": model if isinstance(model, str) else title, "command": command}
            options = (budget, losses, pairs, purifiers, progress, facts)
            report = _audit(title, found, given, *options)
        if target.exists():
            shutil.rmtree(target)
        work.rename(target)
    except Refused as error:
        shutil.rmtree(work, ignore_errors=True)
        raise DataError(f"--losses: {error}") from error
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return replace(report, folder=target)


def _title(model: str) -> str:
    """Return the name of a model in tables: that of the zoo, of its folder, or of its function's file."""
    name, _, rest = model.partition(":")
    place = rest if name == "zoo" or split_entry(model) else model.rpartition(":")[0]
    path = Path(place)
    if path.stem in LIBRARIES_CALL and path.parent.name:
        path = path.parent
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._") or "model"


def _audit(
    name: str,
    found: Found,
    images: Images,
    budget: str,
    losses: list[str] | None,
    pairs: int | None,
    purifiers: tuple[str, ...],
    progress: Progress,
    facts: dict[str, Any],
) -> Report:
    """Find out what is not given, run the stages in the current folder, and write scorecard and page."""
    device = setup_device(torch.get_num_threads())  # OMP_NUM_THREADS bounds them
    found = audit_model.fit_shape(found, images.shape, images.are_files)
    assert found.shape is not None
    images = images.as_model_takes(found.shape)
    progress.say(f"{images.line(found.shape)}; {found.d_z} latent dimensions")
    dataset, source = images.dataset, images.source
    data = Path(f"results/data/{dataset}.h5")
    options: dict[str, int | str | None] = {key: source[key] for key in ("size", "channels") if key in source}
    spec = PrepareSpec(dataset=dataset, kind=source["kind"], path=source.get("path"), options=options)
    with open("audit.log", "a", encoding="utf-8") as log, contextlib.redirect_stdout(log):
        prepare(spec, data)
    x = read_split(data, "test").x
    sample = to_unit_interval(torch.from_numpy(np.asarray(x[:32])))
    found, line = audit_model.fit_range(found, sample)
    progress.say(line)
    model = audit_model.build(found)
    state = audit_model.posterior_state(model, sample)
    chosen = losses or audit_run.LOSSES[state, budget]
    size = audit_run.affordable(model, sample[:1], budget, pairs, chosen)
    plan = audit_run.Plan(name, found, dataset, source, chosen, budget, size, purifiers)
    tables = audit_run.run(plan, len(x), device, progress)
    row = tables["models"].iloc[0]
    cell = {key: row[key].item() if hasattr(row[key], "item") else row[key] for key in
            ("dataset", "family", "beta", "d_z", "seed")}  # fmt: skip
    facts |= {"cell": cell, "d_z": found.d_z, "shape": list(x.shape[1:]), "images": len(x)}
    facts |= {"source": str(source.get("path") or dataset), "device": device.type, "budget": budget}
    facts |= {"range": list(found.range or ()), "likelihood": found.likelihood}
    facts["notes"] = [NOTES[state]] if state in NOTES else []
    if size.lambdas < audit_run.BUDGETS[budget]["size"].lambdas:
        searched = f"{size.pairs} pairs at {size.lambdas} λ, {size.steps} evaluations each"
        facts["notes"].append(f"The network computes long: {searched}. {COARSE}")
    return audit_report.make(name, facts, tables, Path(), chosen)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="vaepipe audit", description="Attack a VAE; say how far it can be fooled."
    )
    parser.add_argument(
        "--model",
        required=True,
        help="file.py:function, zoo:NAME, diffusers:FOLDER, pythae:FOLDER, compressai:FILE",
    )
    parser.add_argument(
        "--weights", help="checkpoint that the function gets (.safetensors, or of torch.save)"
    )
    parser.add_argument("--key", help="place of the weights in the checkpoint, such as state_dict")
    parser.add_argument("--images", help="folder, .zip, array file, or digits or sprites")
    parser.add_argument("--out", required=True, help="folder to write")
    parser.add_argument(
        "--budget", choices=audit_run.BUDGETS, default="quick", help="quick: two minutes (default)"
    )
    parser.add_argument(
        "--losses", nargs="+", help="of the attacks, the leading one first (default: found out)"
    )
    parser.add_argument("--pairs", type=int, help="attacked pairs")
    parser.add_argument("--shape", type=_numbers(int, 3), help="C,H,W of the images (default: found out)")
    parser.add_argument(
        "--range", type=_numbers(float, 2), help="darkest,brightest pixel (default: found out)"
    )
    parser.add_argument(
        "--likelihood", choices=("gaussian", "bernoulli", "probabilities"), help="of plain decoders"
    )
    parser.add_argument(
        "--purify-with",
        nargs="+",
        default=(),
        help="more purifiers: jpeg-50, …, zoo:NAME or weights",
    )
    parser.add_argument("--name", help="of the model, in tables and on the page")
    parser.add_argument("--who", default="", help="who made the audit, for the leaderboard")
    args = vars(parser.parse_args(argv))
    command = "vaepipe audit " + shlex.join(argv if argv is not None else sys.argv[1:])
    report = audit(args.pop("model"), args.pop("images"), command=command, **args)
    print(f"\n{report}\n\nPage: {report.folder / 'index.html'}")


def _numbers(kind: type, count: int) -> Any:
    def parse(text: str) -> tuple[Any, ...]:
        values = tuple(kind(part) for part in text.split(","))
        if len(values) != count:
            raise ValueError(text)
        return values

    parse.__name__ = f"{count} numbers with commas"
    return parse


if __name__ == "__main__":
    run_stage(main)
