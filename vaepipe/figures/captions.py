"""Captions of the report: each stands as ``CAPTION`` in its figure's module, and is read without importing
that.

A caption is reStructuredText. It may name the fields of `_fields` and of `_pair_fields` in braces.
"""

from __future__ import annotations

import ast
from pathlib import Path

FLAGS = (
    "†, where there is one: the checks of docs/robustness.md call this attack too weak to call the "
    "model robust."
)


def captions(config: dict) -> dict[str, str]:
    """Return the captions of a study: module of the figure → text, and "montage/<data set>" → text.

    Args:
        config: the effective configuration.
    """
    fields = _fields(config)
    templates = {
        path.stem: text for path in sorted(Path(__file__).parent.glob("*.py")) if (text := read_caption(path))
    }
    montage = templates.pop("montage")
    texts = {name: _filled(template, fields) for name, template in templates.items()}
    for dataset, section in config["datasets"].items():
        texts[f"montage/{dataset}"] = _filled(montage, fields | _pair_fields(config, section))
    return texts


def _filled(template: str, fields: dict[str, object]) -> str:
    """Return a caption with its fields filled in, each paragraph as one line without double blanks."""
    paragraphs = template.format(**fields).split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs).strip()


def read_caption(path: Path) -> str:
    """Return the text that a module assigns to ``CAPTION``; empty where it assigns none."""
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "CAPTION":
            return ast.literal_eval(statement.value)
    return ""


def _fields(config: dict) -> dict[str, object]:
    """Return what every caption may name."""
    plot, attacks, images = config["plot"], [], []
    roll_betas: list[str] = []
    for name, section in config["datasets"].items():
        images.append(f"at most {section['evaluate']['max_images']:,} ({name})")
        attack = section["attack"]
        if attack["losses"]:
            first, last = attack["lambdas"][0], attack["lambdas"][-1]
            size = f"{_number(attack['pairs'])} pairs × {len(attack['lambdas'])} λ"
            attacks.append(f"{size} from {first:.3g} to {last:.3g} ({name})")
        if (section.get("kind") or name) == "swissroll" and not roll_betas:
            roll_betas = [f"{beta:g}" for beta in section["grid"]["betas"]]
    intervals = (
        f"Bands and bars are 95 % intervals from {plot['resamples']:,} resamples of what is "
        "independent, image pairs "
        "(or images) and training seeds, not of the rows."
    )
    return {
        "beta": f"{plot['beta']:g}",
        "d_z": plot["d_z"],
        "images": ", ".join(images),
        "attacks": f"Attacks: {'; '.join(attacks)}." if attacks else "",
        "roll_betas": ", ".join(roll_betas),
        "flags": FLAGS,
        "intervals": intervals,
    }


def _pair_fields(config: dict, section: dict) -> dict[str, object]:
    """Return what the caption of one data set's montage may name besides."""
    attack = section["attack"]
    shown = {"shown_pairs": config["plot"]["pairs"], "pairs": _number(attack["pairs"])}
    return shown | {"lambdas": len(attack["lambdas"])}


def _number(pairs: int | list) -> int:
    """Return how many pairs the setting ``pairs`` means: a number, or a list of pairs."""
    return pairs if isinstance(pairs, int) else len(pairs)
