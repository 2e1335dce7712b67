"""Claims of the seed and of part 2, each with the statistic that decides it: the registry, and what a finding is.

A claim is a function (evidence) → findings, one per data set (and attack) on which it can be tested; none where the study lacks
what it needs. The seed is "Improving VAEs' Robustness to Adversarial Attacks", part 1, and part 2 its sequel
(https://matthewwilletts.github.io), on Willetts et al. 2021. docs/claims.md explains the statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pandas as pd

from vaepipe.analysis.intervals import Interval

HOLDS, FAILS, UNDECIDED, UNTESTABLE = "holds", "does not hold", "undecided at this n", "not testable with this config"
COLUMNS = ["part", "claim", "dataset", "loss", "statistic", "estimate", "low", "high", "n", "verdict", "figure", "note"]


@dataclass
class Evidence:
    """What claims are judged by: the tables of `vaepipe.stages.collect`, and arrays of swiss-roll models by (family, β)."""

    models: pd.DataFrame
    images: pd.DataFrame
    attacks: pd.DataFrame
    roll: dict[tuple[str, float], dict[str, np.ndarray]] = field(default_factory=dict)
    resamples: int = 2000


@dataclass
class Finding:
    """What one claim's statistic is on one data set."""

    dataset: str
    statistic: str
    interval: Interval
    n: str
    verdict: str
    loss: str = ""
    note: str = ""


@dataclass(frozen=True)
class Claim:
    """A sentence of the post, the figure that shows it, the function that judges it, and what that needs of the study."""

    part: int
    text: str
    figure: str
    judge: Callable[[Evidence], Iterable[Finding]]
    needs: str

    def rows(self, evidence: Evidence) -> Iterator[dict]:
        """Its rows of the table; one that says what is missing, where it cannot be tested."""
        found = list(self.judge(evidence))
        if not found:
            nothing = Interval(np.nan, np.nan, np.nan)
            found = [Finding("", "", nothing, "", UNTESTABLE, note=f"needs {self.needs}")]
        for f in found:
            head = {"part": self.part, "claim": self.text, "figure": self.figure}
            yield head | {k: v for k, v in vars(f).items() if k != "interval"} | f.interval._asdict()


def above(interval: Interval, threshold: float) -> str:
    """The verdict on "the statistic is above the threshold"."""
    if interval.low > threshold:
        return HOLDS
    return FAILS if interval.high < threshold else UNDECIDED


def below(interval: Interval, threshold: float) -> str:
    """The verdict on "the statistic is below the threshold"."""
    return above(Interval(-interval.estimate, -interval.high, -interval.low), -threshold)


def counted(frame: pd.DataFrame, **axes: str) -> str:
    """How many of each thing a finding rests on: ``counted(rows, pair="pairs", seed="seeds")`` → "20 pairs × 1 seed"."""
    numbers = {plural: frame[column].nunique() for column, plural in axes.items()}
    return " × ".join(f"{n:,} {plural.removesuffix('s') if n == 1 else plural}" for plural, n in numbers.items())


def claims() -> list[Claim]:
    """All claims, in the order in which the posts make them."""
    from vaepipe.claims import attacks, latents, part2

    families = (("beta-vae", "β-VAE"), ("beta-tcvae", "β-TCVAE"))
    found = [
        Claim(1, "A VAE is more robust than an AE", "distortion", attacks.vae_over_ae, "an ae and a vae under one attack"),
        Claim(
            1,
            "Robustness is not correlated with disentanglement",
            "disentanglement",
            attacks.no_correlation,
            "attacks on 5 models of a data set with known factors (sprites, dsprites)",
        ),
    ]
    for family, name in families:
        needs = f"{name}s at β = 1 and above"
        found += [
            Claim(1, f"Overlap grows with β: {name}", "collapse", partial(latents.overlap_grows, family=family), needs),
            Claim(1, f"β lowers the β = 1 ELBO: {name}", "elbo", partial(latents.elbo_falls, family=family), needs),
        ]
    found += [
        Claim(
            1,
            "Swiss roll: the β-VAE collapses towards a curve",
            "swissroll",
            partial(latents.roll_kept, family="beta-vae", kept=False),
            "the swiss roll with d_z = 2, a β-VAE above β = 1",
        ),
        Claim(
            1,
            "Swiss roll: the β-TCVAE does not",
            "swissroll",
            partial(latents.roll_kept, family="beta-tcvae", kept=True),
            "the swiss roll with d_z = 2, a β-TCVAE above β = 1",
        ),
        Claim(1, "β-VAE: σ saturates at the prior's", "sigma_density", latents.sigma_saturates, "β-VAEs above β = 1"),
        Claim(1, "β-TCVAE: σ grows beyond the β-VAE's", "sigma_density", latents.sigma_exceeds, "both families above β = 1"),
    ]
    for column, name, figure in (("log_likelihood", "log p(x|z)", "likelihood"), ("elbo", "ELBO", "elbo")):
        judge = partial(latents.degrades_less, column=column, families=("beta-tcvae", "beta-vae"))
        found.append(Claim(1, f"{name} degrades less for the β-TCVAE than for the β-VAE", figure, judge, "both above β = 1"))
    for loss, name in (("latent-kl", "latent KL"), ("output", "output"), ("latent-w2", "2-Wasserstein")):
        judge, needs = partial(attacks.beta_raises, loss=loss), f"β-TCVAEs at β = 1 and above, attacked by {loss}"
        found.append(Claim(1, f"β > 1 raises the adversarial loss of β-TCVAEs, {name} attack", "adversarial_loss", judge, needs))
    both = "Seatbelt-VAEs and β-TCVAEs above β = 1"
    found += [
        Claim(2, "Seatbelt: higher adversarial loss than the β-TCVAE", "part2", part2.higher_loss, f"{both}, attacked"),
        Claim(2, "Seatbelt: higher −log p(x_t|z*) than the β-TCVAE", "part2", part2.higher_nll, f"{both}, attacked"),
        Claim(
            2,
            "Seatbelt: ELBO degrades less than the β-TCVAE's",
            "part2",
            partial(latents.degrades_less, column="elbo", families=("seatbelt", "beta-tcvae")),
            both,
        ),
        Claim(2, "Seatbelt: more robust at equal quality", "frontier", part2.robust_at_equal_quality, f"{both}, attacked"),
    ]
    return found


def judge(evidence: Evidence) -> pd.DataFrame:
    """The table of claims, `COLUMNS`, one row per claim, data set and attack."""
    from vaepipe.analysis.trials import targeted

    evidence = replace(evidence, attacks=targeted(evidence.attacks))
    with np.errstate(all="ignore"):  # NaN and infinity are findings: their rows say so
        rows = [row for claim in claims() for row in claim.rows(evidence)]
    return pd.DataFrame(rows, columns=COLUMNS)
