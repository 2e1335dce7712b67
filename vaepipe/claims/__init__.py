"""Claims of the two original posts, each with the statistic that decides it: the list of claims, and what a
finding is.

A claim is a function (evidence) → findings, one per data set (and attack) on which it can be tested; none
where the study lacks what it needs. The posts are "Improving VAEs' Robustness to Adversarial Attacks", part
1, and its sequel, part 2 (https://matthewwilletts.github.io), on Willetts et al. 2021. docs/claims.md
explains the statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pandas as pd

from vaepipe.analysis.families import label
from vaepipe.analysis.formatting import count
from vaepipe.analysis.intervals import Interval
from vaepipe.analysis.trials import of_losses
from vaepipe.attacks.loss import find_loss

HOLDS, FAILS = "holds", "does not hold"
UNDECIDED, UNTESTABLE = "undecided at this n", "not testable with this config"
COLUMNS = [
    "part",
    "claim",
    "dataset",
    "loss",
    "snapshot",
    "statistic",
    "estimate",
    "low",
    "high",
    "n",
    "verdict",
    "figure",
    "note",
]


@dataclass
class Evidence:
    """What claims are judged by.

    Attributes:
        models, images, attacks: tables of `vaepipe.stages.collect`.
        roll: (family, β) → arrays of a swiss-roll model: ``x`` (K, 3), ``sample`` (K, 2), ``reconstruction``
            (K, 3).
        roll_dataset: name of that data set.
        path: the table models with its snapshots, the weights in the course of a training.
        snapshot_attacks: number of steps → rows of the table attacks on the snapshots after so many.
        resamples: of every interval.
        things: data set → plural of what its rows are, "images" or "points".
    """

    models: pd.DataFrame
    images: pd.DataFrame
    attacks: pd.DataFrame
    path: pd.DataFrame = field(default_factory=pd.DataFrame)
    snapshot_attacks: Mapping[int, pd.DataFrame] = field(default_factory=dict)
    roll: dict[tuple[str, float], dict[str, np.ndarray]] = field(default_factory=dict)
    resamples: int = 2000
    things: Mapping[str, str] = field(default_factory=dict)
    roll_dataset: str = "swissroll"

    def rows_called(self, dataset: str) -> str:
        """Return the plural of what a row of a data set is."""
        return self.things.get(dataset, "images")


@dataclass
class Finding:
    """What one claim's statistic is on one data set, at the end of the training or, where ``snapshot`` is not
    0, after that number of steps."""

    dataset: str
    statistic: str
    interval: Interval
    n: str
    verdict: str
    loss: str = ""
    note: str = ""
    snapshot: int = 0


@dataclass(frozen=True)
class Claim:
    """A sentence of the post, the figure that shows it, the function that judges it, and what that needs of
    the study."""

    part: int
    text: str
    figure: str
    judge: Callable[[Evidence], Iterable[Finding]]
    needs: str

    def rows(self, evidence: Evidence) -> Iterator[dict]:
        """Yield its rows of the table; where it cannot be tested, one that names what is missing."""
        nothing = Interval(np.nan, np.nan, np.nan)
        untestable = Finding("", "", nothing, "", UNTESTABLE, note=f"needs {self.needs}")
        for finding in list(self.judge(evidence)) or [untestable]:
            row = {"part": self.part, "claim": self.text, "figure": self.figure}
            row |= {name: value for name, value in vars(finding).items() if name != "interval"}
            row["statistic"] = finding.statistic + after(finding.snapshot)
            yield row | finding.interval._asdict()


def above(interval: Interval, threshold: float) -> str:
    """Return the verdict on "the statistic is above the threshold"."""
    if interval.low > threshold:
        return HOLDS
    return FAILS if interval.high < threshold else UNDECIDED


def below(interval: Interval, threshold: float) -> str:
    """Return the verdict on "the statistic is below the threshold"."""
    return above(Interval(-interval.estimate, -interval.high, -interval.low), -threshold)


def after(snapshot: int) -> str:
    """Return when in a training a finding is made, to follow what it is; empty at the end."""
    return f" after {snapshot:,} steps" if snapshot else ""


def counted(frame: pd.DataFrame, **axes: str) -> str:
    """Return how much a finding rests on: ``counted(rows, pair="pairs", seed="seeds")`` → "20 pairs × 1
    seed"."""
    return " × ".join(count(frame[column].nunique(), plural) for column, plural in axes.items())


def counted_trials(frame: pd.DataFrame) -> str:
    """Return how many trials a finding on several β rests on, by what they are averaged over."""
    axes = counted(frame, pair="pairs", beta="β", d_z="d_z", seed="seeds")
    return f"{axes}, {frame['lam'].nunique()} λ"


def claims() -> list[Claim]:
    """Return all claims, in the order in which the posts make them."""
    return [*_robustness(), *_latent_spaces(), *_quality(), *_loss(), *_part2()]


def _robustness() -> list[Claim]:
    from vaepipe.claims import attacks

    factors = "attacks on 5 models of a data set with known factors (sprites, dsprites)"
    return [
        Claim(
            1,
            "A VAE is more robust than an AE",
            "distortion",
            attacks.vae_over_ae,
            "an ae and a vae under one attack",
        ),
        Claim(
            1,
            "Robustness is not correlated with disentanglement",
            "disentanglement",
            attacks.no_correlation,
            factors,
        ),
    ]


def _latent_spaces() -> list[Claim]:
    from vaepipe.claims import latents

    found = []
    for family in ("beta-vae", "beta-tcvae"):
        name, needs = label(family), f"{label(family)}s at β = 1 and above"
        overlap, elbo = (
            partial(latents.overlap_grows, family=family),
            partial(latents.elbo_falls, family=family),
        )
        found.append(Claim(1, f"Overlap grows with β: {name}", "collapse", overlap, needs))
        found.append(Claim(1, f"β lowers the β = 1 ELBO: {name}", "elbo", elbo, needs))
    for family, text, kept in (
        ("beta-vae", "Swiss roll: the β-VAE collapses towards a curve", False),
        ("beta-tcvae", "Swiss roll: the β-TCVAE does not", True),
    ):
        needs = f"the swiss roll with d_z = 2, a {label(family)} above β = 1"
        found.append(Claim(1, text, "swissroll", partial(latents.roll_kept, family=family, kept=kept), needs))
    saturates, exceeds = "β-VAE: σ saturates at the prior's", "β-TCVAE: σ grows beyond the β-VAE's"
    found.append(Claim(1, saturates, "sigma_density", latents.sigma_saturates, "β-VAEs above β = 1"))
    found.append(Claim(1, exceeds, "sigma_density", latents.sigma_exceeds, "both families above β = 1"))
    return found


def _quality() -> list[Claim]:
    from vaepipe.claims import latents

    found = []
    for column, name, figure in (("log_likelihood", "log p(x|z)", "elbo"), ("elbo", "ELBO", "elbo")):
        judge = partial(latents.degrades_less, column=column, families=("beta-tcvae", "beta-vae"))
        text = f"{name} degrades less for the β-TCVAE than for the β-VAE"
        found.append(Claim(1, text, figure, judge, "both above β = 1"))
    return found


def _loss() -> list[Claim]:
    from vaepipe.claims import attacks, latents

    found = []
    for loss, name in (("latent-kl", "latent KL"), ("output", "output"), ("latent-w2", "2-Wasserstein")):
        text = f"β > 1 raises the adversarial loss of β-TCVAEs, {name} attack"
        needs = f"β-TCVAEs at β = 1 and above, attacked by {loss}"
        raises = partial(attacks.beta_raises, loss=loss)
        found.append(Claim(1, text, "adversarial_loss", raises, needs))
        text = f"β > 1 raises the median adversarial loss of β-TCVAEs, {name} attack"
        found.append(Claim(1, text, "adversarial_loss", partial(raises, statistic="median"), needs))
    text = "β > 1 raises Δ₀, the divergence before an attack, of β-TCVAEs"
    found.append(Claim(1, text, "precision", latents.beta_raises_start, "β-TCVAEs at β = 1 and above"))
    return found


def _part2() -> list[Claim]:
    from vaepipe.claims import latents, part2

    both = "Seatbelt-VAEs and β-TCVAEs above β = 1"
    attacked = f"{both}, attacked"
    elbo = partial(latents.degrades_less, column="elbo", families=("seatbelt", "beta-tcvae"))
    return [
        Claim(2, "Seatbelt: higher adversarial loss than the β-TCVAE", "part2", part2.higher_loss, attacked),
        Claim(2, "Seatbelt: higher −log p(x_t|z*) than the β-TCVAE", "part2", part2.higher_nll, attacked),
        Claim(2, "Seatbelt: ELBO degrades less than the β-TCVAE's", "part2", elbo, both),
        Claim(
            2, "Seatbelt: more robust at equal quality", "frontier", part2.robust_at_equal_quality, attacked
        ),
    ]


def judge(evidence: Evidence) -> pd.DataFrame:
    """Return the table of claims, `COLUMNS`, one row per claim, data set and attack."""
    snapshots = {step: _targeted(attacks) for step, attacks in evidence.snapshot_attacks.items()}
    evidence = replace(evidence, attacks=_targeted(evidence.attacks), snapshot_attacks=snapshots)
    with np.errstate(all="ignore"):  # NaN and infinity are findings: their rows tell them
        rows = [row for claim in claims() for row in claim.rows(evidence)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _targeted(attacks: pd.DataFrame) -> pd.DataFrame:
    return of_losses(attacks, lambda loss: find_loss(loss).has_target)
