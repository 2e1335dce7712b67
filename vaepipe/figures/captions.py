"""Captions: one text per figure, composed of what the figure shows and of what its panels have to say."""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass
class Caption:
    """The caption of a figure.

    A caption is written in plain letters: ``d_z`` and ``x_t`` get their subscripts in Markdown.

    Attributes:
        title: what is shown, a few words.
        text: what that is and how to read it, for readers who know VAEs.
        said: (panel, sentence) in the order of the panels; the panel is empty for a sentence about all.
        panels: names of all panels.
    """

    title: str = ""
    text: str = ""
    said: list[tuple[str, str]] = field(default_factory=list)
    panels: list[str] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        """The title with its full stop, unless it is a question."""
        return self.title if self.title.endswith("?") else f"{self.title}."

    def say(self, panel: str, text: str) -> None:
        """Add the lines of a text about one panel, or about all if ``panel`` is empty."""
        if panel and panel not in self.panels:
            self.panels.append(panel)
        self.said += [(panel, line) for line in text.splitlines() if line]

    def paragraphs(self) -> tuple[str, list[str], list[tuple[str, str]]]:
        """Return the text, the sentences that hold for all panels, and (panels, sentences) of some."""
        of: dict[str, list[str]] = {}
        for panel, sentence in self.said:
            of.setdefault(sentence, []).append(panel)
        shared = [
            sentence for sentence, panels in of.items() if set(panels) >= set(self.panels) or "" in panels
        ]
        rest: dict[tuple[str, ...], list[str]] = {}
        for sentence, panels in of.items():
            if sentence not in shared:
                rest.setdefault(tuple(dict.fromkeys(panels)), []).append(sentence)
        parts = [("; ".join(panels), " ".join(sentences)) for panels, sentences in rest.items()]
        return " ".join(self.text.split()), shared, parts

    def markdown(self) -> str:
        """Return the caption in Markdown."""
        text, shared, parts = self.paragraphs()
        blocks = [f"**{self.sentence}** {text}", " ".join(shared)]
        blocks.append("\n".join(f"- {panels}: {sentences}" for panels, sentences in parts))
        joined = "\n\n".join(block for block in blocks if block.strip()) + "\n"
        joined = re.sub(r"(?<!\w)([dx])_([zt])\b", r"\1<sub>\2</sub>", joined)
        return re.sub(r"(?<=z)\*", r"\\*", joined)

    def plain(self) -> str:
        """Return the caption in plain letters, a paragraph per line."""
        text, shared, parts = self.paragraphs()
        blocks = [f"{self.sentence} {text}", " ".join(shared)]
        blocks += [f"{panels}: {sentences}" for panels, sentences in parts]
        return "\n\n".join(block for block in blocks if block.strip()) + "\n"


def power_of_two(value: float) -> str:
    """Return a number as a power of two in plain letters where it is a whole one: 0.25 → "2⁻²"."""
    mantissa, exponent = _mantissa(value)
    if mantissa != 0.5:
        return f"{value:.3g}"
    return "2" + str(exponent - 1).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _mantissa(value: float) -> tuple[float, int]:
    import math

    mantissa, exponent = math.frexp(value)
    if abs(mantissa - 1) < 1e-9:
        return 0.5, exponent + 1
    return (0.5 if abs(mantissa - 0.5) < 1e-9 else mantissa), exponent
