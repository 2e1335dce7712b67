"""The flags of an audit: when each is raised, why it matters, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vaepipe.analysis.verdict import INFINITE

BLUR = "reconstructions hardly tell images apart"


@dataclass(frozen=True)
class Flag:
    """A reason not to believe an attack.

    Attributes:
        anchor: of its paragraph on the page.
        part: of the reasons that it explains, see `vaepipe.analysis.verdict`.
        raised, matters, remedy: sentences.
    """

    anchor: str
    part: str
    raised: str
    matters: str
    remedy: str


STRONGER = "Use --budget full."
STOPS = "The attack stops too early: shares of fooled pairs are too small."
MISLEADS = "Its gradient says little, so the model can look robust and not be."

FLAGS = (
    Flag("infinite", INFINITE, "The loss has no finite value on any row.", "Nothing was attacked.",
         "Use another loss, such as --losses latent-mean output."),
    Flag("blur", BLUR, "The reconstruction of a target is hardly nearer to it than that of another image.",
         "Next to nothing decides whether a pair is fooled.",
         "Train the model further, or check --range and --likelihood."),
    Flag("noise", "noise of the same norm", "Noise of the same norm does nearly as well as the attack.",
         MISLEADS, f"{STRONGER} Or attack by another loss."),
    Flag("restarts", "random restarts", "Plain projected descent from random starts beats the attack for "
         "more than a tenth of the pairs.", STOPS, STRONGER),
    Flag("longer-search", "longer search", "A longer search lowers the objective by more than 3 % on "
         "average.", STOPS, STRONGER),
    Flag("transfer", "distortions made for", "Distortions made for another model beat this attack's.",
         MISLEADS, "Attack by another loss."),
    Flag("ball", "attacks in a ball", "Attacks of bounded size beat this one.", STOPS, STRONGER),
)  # fmt: skip


def flags_of(scorecard: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the raised flags: loss, reason, and the attributes of `Flag`."""
    raised = []
    for loss in scorecard["losses"]:
        for reason in filter(None, loss["flags"].split("; ")):
            flag = next(flag for flag in FLAGS if flag.part in reason)
            raised.append({"loss": loss["loss"], "reason": reason, **asdict(flag)})
    return raised
