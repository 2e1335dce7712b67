"""What an audit says: the scorecard, its text on the terminal, and its page."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from vaepipe import __version__
from vaepipe.analysis import robustness, trials
from vaepipe.analysis.intervals import clustered_interval
from vaepipe.analysis.verdict import INFINITE
from vaepipe.attacks.loss import find_loss
from vaepipe.pages import audit as page
from vaepipe.storage.atomic import atomic
from vaepipe.storage.digests import file_digest
from vaepipe.storage.errors import DataError
from vaepipe.storage.h5 import open_h5
from vaepipe.storage.provenance import record
from vaepipe.storage.tables import read_table
from vaepipe.study.cells import Cell
from vaepipe.study.jobs import Job
from vaepipe.tools.audit_flags import BLUR, flags_of

SCORECARD = "scorecard.json"
SHOWN = (0.1, 0.25, 0.5)
"""Distortions, as shares of ‖x − x_t‖₂, of the scorecard."""
HARDLY = 0.8
"""Median T/O from which reconstructions hardly tell images apart; 1 if they do not at all."""


@dataclass(frozen=True)
class Report:
    """An audit.

    Attributes:
        scorecard: what `SCORECARD` holds.
        tables: data frames by name: models, images, attacks, robustness, purifiers, labels, …, columns.
        folder: where the files lie.
    """

    scorecard: dict[str, Any]
    tables: dict[str, pd.DataFrame]
    folder: Path

    def __str__(self) -> str:
        return text(self.scorecard)

    def figure(self) -> Any:
        """Return a matplotlib figure: fooled pairs and reconstructions against the size of the distortion."""
        return page.curve(self.tables["attacks"], self.scorecard["losses"][0]["loss"])

    def pictures(self) -> Any:
        """Return a matplotlib figure with the strongest and the median attack."""
        return page.pictures(_examples(self.scorecard, self.folder))

    def save(self, folder: str | Path) -> None:
        """Copy all files of the audit to another folder."""
        import shutil

        shutil.copytree(self.folder, folder, dirs_exist_ok=True)


def make(
    name: str,
    facts: Mapping[str, Any],
    tables: dict[str, pd.DataFrame],
    folder: Path,
    losses: list[str],
) -> Report:
    """Return the report of the study whose files lie in ``folder``; write scorecard and page.

    Args:
        name: of the model. facts: about the model and the run, as the scorecard holds them.
        losses: of the attacks, the one that leads first.
    """
    (model,) = tables["models"].to_dict("records")
    scorecard: dict[str, Any] = {"format": 1, "name": name, **facts}
    finite = math.isfinite(model["elbo"])
    scorecard["elbo"] = {"mean": model["elbo"], "se": model["elbo_se"]} if finite else None
    files = sorted(path for path in (folder / "results").rglob("*") if path.is_file())
    scorecard["files"] = {path.relative_to(folder).as_posix(): file_digest(path) for path in files}
    scorecard["losses"] = of_tables(folder, scorecard["files"], losses)
    scorecard["purifiers"] = _behind_purifiers(tables.get("purifiers"))
    scorecard["verdict"] = verdict(name, scorecard["losses"])
    scorecard |= {"vaepipe": __version__, **{key: value for key, value in record().items() if key == "git"}}
    with atomic(folder / SCORECARD) as temporary:
        temporary.write_text(json.dumps(scorecard, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    html = page.page(scorecard, tables["attacks"], _examples(scorecard, folder), flags_of(scorecard))
    with atomic(folder / "index.html") as temporary:
        temporary.write_text(html, encoding="utf-8")
    return Report(scorecard, tables, folder)


def of_tables(folder: Path, files: Mapping[str, str], losses: list[str]) -> list[dict[str, Any]]:
    """Return the numbers of each attack from the tables among an audit's files.

    Raises:
        DataError: the tables are not among them.
    """
    paths = {Path(name).stem: folder / name for name in files if Path(name).parent.name == "tables"}
    if absent := {"attacks", "robustness"} - paths.keys():
        raise DataError(f"{folder / SCORECARD}: names no table {sorted(absent)[0]}")
    tables = {name: read_table(paths[name]) for name in ("attacks", "robustness")}
    return [_of_loss(tables, loss) for loss in losses]


def _of_loss(tables: dict[str, pd.DataFrame], loss: str) -> dict[str, Any]:
    """Return the numbers of one attack: fooled pairs with Wilson's interval, AUDDC with that over pairs."""
    attacks = tables["attacks"][tables["attacks"]["loss"] == loss]
    (row,) = tables["robustness"][tables["robustness"]["loss"] == loss].to_dict("records")
    known = int(attacks.dropna(subset=["ratio"])["pair"].nunique())
    success = {}
    for budget in SHOWN:
        share = row[f"success_{100 * budget:.0f}"]
        count = 0 if math.isnan(share) else round(share * known)
        low, high = binomtest(count, known).proportion_ci(method="wilson") if known else (math.nan, math.nan)
        success[f"{budget:g}"] = {"fooled": count, "low": _number(low), "high": _number(high)}
    areas = trials.areas(attacks)["auddc"]
    area = clustered_interval(areas, [np.arange(len(areas))]) if areas.notna().any() else [math.nan] * 3
    flags = row.get("masked")
    unit = float(attacks["initial_divergence"].mean())
    rest = attacks["target_distance"] / attacks["original_distance"]  # T/O
    rebuilt = rest.groupby(attacks["pair"]).first().median()
    reasons = [BLUR] if not rebuilt < HARDLY else []
    reasons += [flags] if isinstance(flags, str) and flags else []
    return {
        "loss": loss,
        "pairs": known,
        "attacked": int(row["pairs"]),
        "success": success,
        "auddc": [_number(value) for value in area],
        "initial_divergence": _number(unit),
        "rebuilt": _number(rebuilt),
        "flags": "; ".join(reasons),
    }


def _behind_purifiers(table: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Return the shares of pairs fooled at h ≤ 0.25 behind each purifier, also by attacks that know it."""
    if table is None or table.empty:
        return []
    columns = {"success_25": "fooled", "adaptive_success_25": "fooled_adaptively"}
    rows = table.rename(columns=columns)[["loss", "purifier", "pairs", *columns.values()]].to_dict("records")
    return [{key: _number(v) if isinstance(v, float) else v for key, v in row.items()} for row in rows]


def _number(value: float) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None


def verdict(name: str, losses: list[dict[str, Any]]) -> str:
    """Return the audit in a sentence: the leading attack within a quarter of the way to the target."""
    lead = losses[0]
    quarter, n = lead["success"]["0.25"], lead["pairs"]
    if INFINITE in lead["flags"]:
        return f"{name} was not attacked: {INFINITE} ({find_loss(lead['loss']).title})."
    if not n:
        return f"{name} reconstructs no image nearer to itself than to another: there is nothing to fool."
    share, low, high = (100 * value for value in (quarter["fooled"] / n, quarter["low"], quarter["high"]))
    how_far = "easily fooled" if share >= 50 else "fooled at times" if share > 0 else "not fooled"
    title = find_loss(lead["loss"]).title
    sentence = (
        f"{name} is {how_far} by the {title}: a distortion of a quarter of the way to another image makes "
        f"it show that image for {quarter['fooled']} of {n} pairs "
        f"({share:.0f} %, 95 % interval {low:.0f}–{high:.0f} %), half of the way for "
        f"{lead['success']['0.5']['fooled']}."
    )
    left_out = lead["attacked"] - n
    if left_out:
        sentence += (
            f" {left_out} of {lead['attacked']} pairs are left out, as the model rebuilds their target badly."
        )
    if BLUR in lead["flags"]:
        return f"{sentence} Its {BLUR}, so this says little."
    warning = " The checks flag this attack as too weak: the model may be worse than this."
    return sentence + warning if lead["flags"] else sentence


MEANING = (
    "h is the size of the change as a share of the way to the target image. A pair is fooled where the "
    "reconstruction is nearer to the target's than to the original's. AUDDC averages how far it stays from "
    "the target's over all h: 0 if the least change fools the model, 1 if none does. [Intervals] cover 95 %."
)


def text(scorecard: Mapping[str, Any]) -> str:
    """Return the scorecard as the terminal shows it."""
    rows = [["attack", *(f"fooled at h ≤ {budget:g}" for budget in SHOWN), "AUDDC"]]
    for loss in scorecard["losses"]:
        cells = [page.share(loss["success"][f"{budget:g}"], loss["pairs"]) for budget in SHOWN]
        rows.append([loss["loss"] + (" †" if loss["flags"] else ""), *cells, page.interval(loss["auddc"])])
    elbo = scorecard["elbo"]
    facts = (
        f"{scorecard['images']} held-out images {scorecard['shape']}, {scorecard['d_z']} latent dimensions"
    )
    if elbo:
        facts += f", ELBO {elbo['mean']:.1f} ± {elbo['se']:.1f} nats per image"
    remarks = [
        f"† {flag['loss']}: {flag['reason']}. {flag['matters']} {flag['remedy']}"
        for flag in flags_of(scorecard)
    ]
    remarks += [f"Note: {note}" for note in scorecard["notes"]]
    if scorecard["budget"] == "quick":
        remarks.append("Next: --budget full for numbers to report; vaepipe leaderboard to compare audits.")
    paragraphs = [_wrapped(scorecard["verdict"]), _table(rows), _wrapped(MEANING), facts]
    if behind := page.purifier_rows(scorecard["purifiers"]):
        paragraphs.append(_table([list(page.BEHIND), *behind]))
    return "\n\n".join([*paragraphs, "\n".join(map(_wrapped, remarks))]).rstrip()


def _table(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) + 3 for column in zip(*rows)]
    lines = ["".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip() for row in rows]
    return "\n".join(lines)


def _wrapped(paragraph: str) -> str:
    return textwrap.fill(paragraph, 100, break_long_words=False, break_on_hyphens=False)


def _examples(scorecard: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Return the pictures of the strongest and of the median pair under the leading attack."""
    loss, cell = scorecard["losses"][0]["loss"], Cell(**scorecard["cell"])
    solved, measured = (
        folder / Job(stage, cell.dataset, cell, loss).output for stage in ("attack", "measure")
    )
    with open_h5(solved, "attack") as file, open_h5(measured, "measure") as measure:
        norm, x, target = (file[name][:] for name in ("norm", "x", "target"))
        d, distance = file["distortion"][:], measure["input_distance"][:]
        parts = (measure[f"{name}_distance"][:] for name in ("adversarial", "target", "original"))
        ratio = robustness.ratio(*parts)
        names = ("reconstruction", "target_reconstruction", "adversarial_reconstruction")
        clean, of_target, fooled = (measure[name][:] for name in names)
    h = norm / distance
    return [
        {
            "title": f"{title} attack: h = {h[row, p]:.2f}, v = {ratio[row, p]:.2f}",
            "panels": {
                "image": x[p] / 255,
                "distortion": np.clip(0.5 + d[row, p], 0, 1),
                "attacked": np.clip(x[p] / 255 + d[row, p], 0, 1),
                "target": target[p] / 255,
                "reconstruction": clean[p] / 255,
                "of attacked": fooled[row, p] / 255,
                "of target": of_target[p] / 255,
            },
        }
        for title, (row, p) in typical(ratio, h).items()
    ]


def typical(ratio: np.ndarray, h: np.ndarray) -> dict[str, tuple[int, int]]:
    """Return (row, pair) of the strongest and of the median attack, by name; one pair has no median.

    A pair stands for its least v within half of the way. Pairs without v are left out, unless all are.

    Args:
        ratio, h: (L, P), v and the size of the distortion.
    """
    score = np.where(np.isfinite(ratio), ratio, 99) + np.where(h <= 0.5, 0, 9)
    pairs = score.min(0).argsort(kind="stable")
    pairs = pairs[: np.isfinite(ratio).any(0).sum() or None]
    chosen = {"strongest": pairs[0], "median": pairs[len(pairs) // 2]}
    if len(pairs) == 1:
        del chosen["median"]
    return {name: (int(score[:, p].argmin()), int(p)) for name, p in chosen.items()}
