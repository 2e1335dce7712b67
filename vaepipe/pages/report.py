"""Pages of the report beside the pictures: claims, numbers, configuration, versions, run times."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pandas as pd
import yaml
from markupsafe import Markup

from vaepipe import pages
from vaepipe.analysis.families import at_beta_one
from vaepipe.study.patterns import HANDED_OVER
from vaepipe.study.progress import first_sentence

MOST = 500
"""Rows of a figure's numbers that are shown."""
CLAIMS = ("claim", "data set", "attack", "statistic", "estimate [95 %]", "n", "verdict", "figure", "note")
ICONS = {
    "holds": ("✓", "holds"),
    "does not hold": ("✗", "does-not-hold"),
    "undecided at this n": ("?", "undecided"),
}
"""Verdict → its sign, and its class in the page; other verdicts mean that the study cannot test a claim."""
TRUST = ("distortion", "success", "adversarial_loss", "precision", "relative_loss", "target_nll", "frontier")
"""The order in which figures answer the question, as the study's answer names them: image space first, then
losses; the rest as the registry has them."""
ADDRESS = ("dataset", "family", "beta", "d_z", "seed", "loss", "pair", "lam")
"""Columns of a table that the explorer's address can hold."""
APART = 0.015
"""Least distance of two points of one curve that are links, as a share of the picture."""
TIMES = (
    "data set",
    "stage",
    "jobs",
    "total, s",
    "median, s",
    "longest, s",
    "CPU time, s",
    "most memory, MB",
)


OVERVIEW_FILE = "models.csv"
OVERVIEW = (
    "A click on the head of a column sorts by it. ELBO: in nats at β = 1, higher is better. AUDDC: the area "
    "under the curve of what is left of the way to the target, over the size of the distortion; larger "
    "is more robust. Success: the share of pairs fooled within half of the distance to the target. Intervals "
    "are 95 % over images and pairs, without variation between trainings. Weak: why not to believe an attack."
)


class Picture(NamedTuple):
    """A figure: its name, the address of its PNG (relative or ``data:``), the paragraphs of its caption, the
    numbers that it shows."""

    name: str
    address: str
    caption: Sequence[str]
    numbers: pd.DataFrame

    def item(self, explorer: str = "") -> dict[str, Any]:
        """Return the picture as a part of a page; with the explorer's address, its points lead there."""
        points = points_of(self.numbers, explorer) if explorer else []
        return {
            "picture": self.address,
            "alt": in_words(self.name),
            "caption": self.caption,
            "points": points,
        }


class Run(NamedTuple):
    """The last run of a job: its stage, data set and first file, and what Snakemake measured of it."""

    stage: str
    dataset: str
    file: str
    measured: Mapping[str, object]


def claims(table: pd.DataFrame) -> str:
    """Return the page of claims with their statistics and verdicts.

    Args:
        table: as `vaepipe.claims.judge` returns it.
    """
    rows = []
    for row in _filled(table).itertuples():
        figure = row.figure.replace("_", " ")
        estimate = _estimate(row) or "–"
        rows.append(
            [row.claim, row.dataset, row.loss, row.statistic, estimate, row.n, row.verdict, figure, row.note]
        )
    intro = (
        "What the two posts claim, in their order, and what this study finds: the statistic that "
        "decides, its 95 % interval "
        "over image pairs and training seeds, and the verdict, which is about this study's models only."
    )
    part = {"columns": list(CLAIMS), "rows": rows}
    return pages.render("page.html", title="Claims", intro=intro, parts=[part])


def _filled(table: pd.DataFrame) -> pd.DataFrame:
    return table.fillna(dict.fromkeys(("dataset", "loss", "statistic", "n", "figure", "note"), ""))


def _estimate(row: Any) -> str:
    return f"{row.estimate:.3g} [{row.low:.3g}, {row.high:.3g}]" if pd.notna(row.estimate) else ""


def answer(paragraph: str, picture: Picture | None, table: pd.DataFrame, explorer: str = "") -> Markup:
    """Return the study's answer as a part of a page: a paragraph, the main figure, a verdict on each claim.

    Args:
        explorer: its address, for a page beside which it lies.
        table: as `vaepipe.claims.judge` returns it.
    """
    verdicts = []
    for row in _filled(table).itertuples():
        icon, kind = ICONS.get(row.verdict, ("–", "untestable"))
        where = ", ".join(part for part in (row.dataset, row.loss) if part)
        evidence = f"{row.statistic} = {_estimate(row)}" if _estimate(row) else ""
        why = "; ".join(part for part in (evidence, row.note) if part)
        verdicts.append(
            {
                "icon": icon,
                "kind": kind,
                "claim": row.claim,
                "where": where,
                "verdict": row.verdict,
                "why": why,
            }
        )
    lead, evidence = first_sentence(paragraph)
    untestable = [verdict for verdict in verdicts if verdict["kind"] == "untestable"]
    judged = [verdict for verdict in verdicts if verdict["kind"] != "untestable"]
    return Markup(
        pages.render(
            "answer.html",
            lead=lead and f"{lead}.",
            evidence=evidence,
            item=picture and picture.item(explorer),
            verdicts=judged,
            untestable=untestable,
        )
    )


def points_of(numbers: pd.DataFrame, explorer: str) -> list[dict[str, Any]]:
    """Return the points of a picture with an attack behind them: place, address in the explorer, name.

    Of points with one address, such as those of a curve, those nearer than `APART` to the last are left out.
    """
    points: list[dict[str, Any]] = []
    if not {"left", "top"} <= set(numbers):
        return points
    last: dict[str, tuple[float, float]] = {}
    for _, row in numbers.dropna(subset=["left", "top"]).iterrows():
        address, place = explorer_address(row, explorer), (row["left"], row["top"])
        if address and math.dist(place, last.get(address, (9, 9))) > APART:
            last[address] = place
            names = [f"{key} = {_plain(key, row[key])}" for key in ADDRESS if pd.notna(row.get(key))]
            left, top = (f"{100 * share:.2f}%" for share in place)
            points.append({"left": left, "top": top, "address": address, "title": ", ".join(names)})
    return points


def figure(picture: Picture) -> str:
    """Return the page of a figure: its picture, its caption and the numbers that it shows."""
    explorer = f"{'../' * (2 + picture.name.count('/'))}explorer.html"
    table = picture.numbers.drop(columns=["left", "top"], errors="ignore")
    cells = table.head(MOST)
    values = cells.astype(object).where(cells.notna(), "–").values
    rows = [[f"{value:.6g}" if isinstance(value, float) else value for value in row] for row in values]
    addresses = [explorer_address(row, explorer) for _, row in cells.iterrows()]
    columns = list(table.columns)
    if any(addresses):
        columns.append("explorer")
        rows = [[*row, address or "–"] for row, address in zip(rows, addresses)]
    title = f"The numbers: results/figures/{picture.name}.csv"
    if len(table) > MOST:
        title += f", the first {MOST} of {len(table):,} rows"
    parts = [picture.item(explorer), {"title": title, "columns": columns, "rows": rows}]
    return pages.render("page.html", title=in_words(picture.name), intro="", parts=parts)


def explorer_address(row: Mapping, page: str) -> str:
    """Return the address in the explorer of the attack behind a row of a table; empty if it names none, or
    one on a model in the course of its training, which the explorer has not."""
    if row.get("snapshot") or any(
        key not in row or pd.isna(row[key]) for key in ("dataset", "family", "loss")
    ):
        return ""
    row = {**row, "family": at_beta_one(row["family"])} if row.get("beta") == 1 else row
    known = [(key, row[key]) for key in ADDRESS if key in row and pd.notna(row[key])]
    return f"{page}#{urlencode([(key, _plain(key, value)) for key, value in known])}"


def _plain(key: str, value: Any) -> str:
    if key == "lam" and value > 0:
        return f"2^{round(math.log2(value), 3):g}"
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def in_words(name: str) -> str:
    """Return the name of a figure as a title: ``adversarial_loss`` as Adversarial loss."""
    name, _, dataset = name.partition("/")
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:] + (f": {dataset}" if dataset else "")


def index(
    study: str,
    made: str,
    paragraph: str,
    pictures: Sequence[Picture],
    table: pd.DataFrame,
    overview: pd.DataFrame,
    absent: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return the page that a reader opens first: the answer, all figures with captions, all models, links.

    Args:
        study: its data sets.
        made: date and revision.
        pictures: by relative address, the main figure first.
        table: as `vaepipe.claims.judge` returns it.
        overview: as `vaepipe.analysis.overview.overview` returns it.
        absent: figure → what the study lacks to fill it.
    """
    links = [("../explorer.html", "The explorer: each attack in pictures")] if len(overview) else []
    links += [("claims.html", "Claims with their statistics"), ("configuration.html", "Configuration")]
    links += [("versions.html", "Versions"), ("times.html", "Run times")]
    first = pictures[0] if pictures else None
    parts: list[dict[str, Any]] = [{"html": answer(paragraph, first, table, "../explorer.html")}]
    parts.append({"title": "More", "links": links})
    if len(overview):
        parts.append(
            {"title": "All models and attacks", "id": "models", "note": OVERVIEW, **models(overview)}
            | {"download": OVERVIEW_FILE}
        )
    for picture in pictures[1:]:
        item = picture.item("../explorer.html")
        parts.append({**item, "title": in_words(picture.name), "id": picture.name})
    lines = [f"{in_words(name)}: needs {what}." for name, what in absent.items()]
    parts += [{"title": "Figures that this study cannot fill", "lines": lines}] if lines else []
    title = "How far can a variational autoencoder be fooled?"
    return pages.render("page.html", title=title, intro=f"{study}. {made}", parts=parts)


def models(overview: pd.DataFrame) -> dict[str, Any]:
    """Return a table of all models and attacks, each with its address in the explorer."""
    shown = overview.drop(columns=[name for name in overview if name.endswith(("_low", "_high"))])
    rows = []
    for (_, row), (_, cells) in zip(overview.iterrows(), shown.iterrows()):
        texts = []
        for name, value in cells.items():
            text = "–" if pd.isna(value) else f"{value:.3g}" if isinstance(value, float) else str(value)
            if f"{name}_low" in row and pd.notna(value):
                text += f" [{row[f'{name}_low']:.3g}, {row[f'{name}_high']:.3g}]"
            texts.append(text)
        rows.append([*texts, explorer_address(row, "../explorer.html") or "–"])
    return {"columns": [*map(str, shown.columns), "explorer"], "rows": rows}


def configuration(config: dict) -> str:
    """Return the page with the effective configuration as YAML; lists stand on one line."""
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
    intro = "The configuration of this study with every default written out, as results/config.json has it."
    return pages.render("page.html", title="Configuration", intro=intro, parts=[{"code": text}])


def versions(counts: Iterable[tuple[Mapping[str, str], str, int]], libraries: Sequence[str]) -> str:
    """Return the page of the versions behind the evaluations and attacks.

    Args:
        counts: (library → version, git revision, number of files).
        libraries: columns of the page.
    """
    rows = [[n, git, *(known.get(name, "–") for name in libraries)] for known, git, n in counts]
    intro = (
        "The versions that made the evaluations and attacks of this study, from the attributes of "
        "each file. More than one row "
        "means that parts were made at different times by different code or versions."
    )
    part = {"columns": ["files", "vaepipe's git revision", *libraries], "rows": rows}
    return pages.render("page.html", title="Versions", intro=intro, parts=[part])


def times(runs: Sequence[Run], absent: int) -> str:
    """Return the page with time and memory of the jobs by data set and stage, and the slowest jobs.

    Args:
        absent: jobs without a benchmark file.
    """
    groups: dict[tuple[str, str], list[Mapping]] = defaultdict(list)
    for run in runs:
        groups[run.dataset, run.stage].append(run.measured)
    rows = [[*key, len(measured), *_summary(measured)] for key, measured in groups.items()]
    slowest = sorted(((run.measured["s"], run.stage, run.file) for run in runs), reverse=True)[:10]
    top = [[stage, file, f"{seconds:.1f}"] for seconds, stage, file in slowest]
    intro = "Wall-clock time of the jobs, process start included, as Snakemake's benchmark files have it."
    intro += " Processor time and memory are of the jobs that no job server did."
    if absent:
        intro += f" {absent} jobs have no benchmark file and are left out."
    longest = {"title": "The longest jobs", "columns": ["stage", "file", "s"], "rows": top}
    parts = [{"columns": list(TIMES), "rows": rows}, longest]
    return pages.render("page.html", title="Run times", intro=intro, parts=parts)


def _summary(measured: Sequence[Mapping]) -> list[str]:
    seconds = [job["s"] for job in measured]
    cpu = _known(measured, "cpu_time")
    memory = _known(measured, "max_rss")
    summary = [f"{sum(seconds):.1f}", f"{statistics.median(seconds):.1f}", f"{max(seconds):.1f}"]
    return [*summary, f"{sum(cpu):.1f}" if cpu else "–", f"{max(memory):.0f}" if memory else "–"]


def _known(measured: Sequence[Mapping], key: str) -> list[float]:
    """Return the values that are numbers, of jobs that Snakemake could measure: elsewhere it writes text."""
    seen = [job for job in measured if isinstance(job["max_rss"], (int, float))]
    return [job[key] for job in seen if job["max_rss"] >= HANDED_OVER and isinstance(job[key], (int, float))]
