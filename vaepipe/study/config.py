"""config.yaml: validated against the schema, completed with defaults, resolved per data set.

Everything that is wrong is said in one line that names the key, the value and what is allowed (`ConfigError`).
Run as a module, it prints docs/configuration.md.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from functools import cache
from pathlib import Path

import jsonschema
import yaml

from vaepipe.datasets.registry import DATASETS
from vaepipe.study import cells as grid

SECTIONS = ("grid", "model", "train", "evaluate", "attack", "ball", "checks")
"""Sections that may differ from data set to data set; `plot` is one for all."""

OPTIONS = ("checksum", *dict.fromkeys(option for info in DATASETS.values() for option in info.options))
"""Keys of ``datasets.<name>``, beside ``kind`` and ``path``, that say what its file holds."""


class ConfigError(ValueError):
    """A configuration that cannot be run; its text is one line."""


@cache
def schema() -> dict:
    return yaml.safe_load((Path(__file__).parent / "config.schema.yaml").read_text(encoding="utf-8"))


class Study:
    """A validated configuration.

    Args:
        config: the merged content of config.yaml and its overlays.

    Raises:
        ConfigError: naming the first key that is wrong.
    """

    def __init__(self, config: dict):
        _check(config)
        top = _with_defaults(config, schema())
        self.names: list[str] = top["study"]
        own = config.get("datasets", {})
        for key, names in (("study: {!r} is not a data set", self.names), ("datasets.{}: unknown", own)):
            for name in names:
                kind, known = own.get(name, {}).get("kind", name), ", ".join(DATASETS)
                if kind not in DATASETS and kind != name:
                    raise ConfigError(f"datasets.{name}.kind: {kind!r} is not a data set; known: {known}{_hint(kind, DATASETS)}")
                if kind not in DATASETS:
                    known += "; a name of your own needs a kind, such as folder"
                    raise ConfigError(f"{key.format(name)}; known: {known}{_hint(str(name), DATASETS)}")
        self.data_dir: str | None = top.get("data_dir")
        self.device: str = top["device"]
        self.gpu_jobs_per_device: int = top["gpu_jobs_per_device"]
        self.plot: dict = _section("plot", {}, config)
        self.specs: dict[str, dict] = {}
        for name in self.names:
            self.specs[name] = self._resolve(name, config)
        self.external: dict[str, dict] = {name: self._external(name, given) for name, given in top["external"].items()}
        self._make_cells()

    @classmethod
    def read(cls, path: str | Path) -> Study:
        """Return the study whose `effective` configuration a file holds, without validating it again.

        Raises:
            ConfigError: it is not readable.
        """
        try:
            effective = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: not readable as JSON; delete it to have it made again") from error
        study = cls.__new__(cls)
        study.names, study.specs, study.external = effective["study"], effective["datasets"], effective["external"]
        study.device, study.gpu_jobs_per_device = effective["device"], effective["gpu_jobs_per_device"]
        study.data_dir, study.plot = effective["data_dir"], effective["plot"]
        study._make_cells()
        return study

    def _make_cells(self) -> None:
        self.cells = [
            cell
            for name in self.names
            for cell in [*grid.cells(name, self.specs[name]["grid"]), *grid.external(name, self.external)]
        ]
        attack = {name: self.specs[name]["attack"] for name in self.names}
        self._blocks = {name: grid.blocks(a["lambdas"], a["lambdas_per_job"]) for name, a in attack.items()}
        self._cells = {cell.name: cell for cell in self.cells}

    def _resolve(self, name: str, config: dict) -> dict:
        """The sections as they hold for one data set: schema < data set's own < top of the config < datasets.<name>."""
        own = config.get("datasets", {}).get(name, {})
        info = DATASETS[own.get("kind", name)]
        spec = {section: _section(section, info.defaults, config, own) for section in SECTIONS}
        spec["prepare"] = _prepare(name, own)
        if not info.images:
            spec["attack"]["losses"] = spec["ball"]["losses"] = []
            if (network := spec["model"]["network"]) != "mlp":
                raise ConfigError(f"datasets.{name}.model.network: {network!r} needs images; {name} has points: use mlp")
        ball = spec["ball"]
        if ball["losses"] and not ball["l2"] + ball["linf"]:
            raise ConfigError(f"datasets.{name}.ball: l2 and linf are [], but there are losses; expected a radius in either")
        if "max-damage" in ball["losses"] and not ball["restarts"]:
            raise ConfigError(f"datasets.{name}.ball.restarts: 0 is not allowed with max-damage; expected an integer ≥ 1")
        lambdas = spec["attack"]["lambdas"]
        if isinstance(lambdas, dict) and lambdas["log2_min"] > lambdas["log2_max"]:
            raise ConfigError(f"attack.lambdas: log2_min {lambdas['log2_min']} is above log2_max {lambdas['log2_max']}")
        values = grid.lambdas(lambdas)
        spec["attack"]["lambdas"] = values
        for key, numbers in (("grid.betas", spec["grid"]["betas"]), ("attack.lambdas", values)):
            if clash := grid.clashes(numbers):
                raise ConfigError(
                    f"datasets.{name}.{key}: two values are both written {clash[0]} in paths; let them differ in six digits"
                )
        return spec

    def _external(self, name: str, given: dict) -> dict:
        """One model of the section `external`, completed; its data set, files and entry point are checked as far as text goes."""
        node = schema()["properties"]["external"]["additionalProperties"]
        options, key = _with_defaults(given, node), f"external.{name}"
        taken = schema()["$defs"]["grid"]["properties"]["families"]["items"]["enum"]
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", str(name)) or name in taken:
            rule = f"expected letters, digits, - . _ and none of {', '.join(taken)}"
            raise ConfigError(f"external: {name!r} is not allowed as a name; {rule}")
        if options["dataset"] not in self.names or not DATASETS[options["dataset"]].images:
            images = [known for known in self.names if DATASETS[known].images]
            rule = f"expected a data set of images in `study`: {', '.join(images)}"
            raise ConfigError(f"{key}.dataset: {options['dataset']!r} is not allowed; {rule}")
        if not Path(options["weights"]).is_file():
            raise ConfigError(f"{key}.weights: {options['weights']!r} is not a file")
        place, _, function = options["entry"].rpartition(":")
        if not place or not function.isidentifier():
            raise ConfigError(f"{key}.entry: {options['entry']!r}; expected file.py:function or package.module:function")
        if place.endswith(".py") and not Path(place).is_file():
            raise ConfigError(f"{key}.entry: {place!r} is not a file")
        if options["range"][0] >= options["range"][1]:
            raise ConfigError(f"{key}.range: {options['range']}; expected the lower end first")
        spec = self.specs[options["dataset"]]
        known = list(dict.fromkeys(spec["attack"]["losses"] + spec["ball"]["losses"]))
        if options["losses"] != "all" and (absent := [loss for loss in options["losses"] if loss not in known]):
            rule = f"attack.losses and ball.losses of {options['dataset']} have {', '.join(known) or 'none'}"
            raise ConfigError(f"{key}.losses: {absent[0]!r} is not allowed; {rule}")
        return options

    def cell(self, wildcards) -> grid.Cell:
        """The cell that a job's wildcards name, with its exact numbers."""
        return self._cells[grid.CELL.format(**dict(wildcards))]

    def blocks(self, dataset: str) -> dict[str, list[float]]:
        """λ values of each job by the job's token."""
        return self._blocks[dataset]

    def losses(self, cell: grid.Cell) -> list[str]:
        """The losses that the cell is attacked by."""
        return grid.losses(cell, self.specs[cell.dataset]["attack"]["losses"], self.external)

    def attacks(self) -> list[tuple[grid.Cell, str]]:
        """(cell, loss) of every attack."""
        return [(cell, loss) for cell in self.cells for loss in self.losses(cell)]

    def balls(self) -> list[tuple[grid.Cell, str]]:
        """(cell, loss) of every attack of bounded size."""
        wanted = {name: spec["ball"]["losses"] for name, spec in self.specs.items()}
        return [(cell, loss) for cell in self.cells for loss in grid.losses(cell, wanted[cell.dataset], self.external)]

    def prepare_spec(self, name: str) -> dict:
        """All that decides a data set's file, apart from its source's content and code."""
        return {"dataset": name, **self.specs[name]["prepare"]}

    def model_spec(self, cell: grid.Cell) -> dict:
        """All that decides a model's weights, apart from data and code."""
        if cell.family in self.external:
            its = {key: value for key, value in self.external[cell.family].items() if key != "losses"}
            return {**vars(cell), "external": its}
        spec = self.specs[cell.dataset]
        unused = {"threads"} | ({"layers", "free_bits"} if cell.family != "seatbelt" else set())
        parts = {part: {k: v for k, v in spec[part].items() if k not in unused} for part in ("model", "train")}
        return {**vars(cell), **parts}

    def attack_spec(self, cell: grid.Cell, loss: str, block: str | None = None) -> dict:
        """All that decides an attack's rows, or those of one block of λ, apart from the model, data and code."""
        runtime = ("losses", "lambdas_per_job", "threads")
        spec = {key: value for key, value in self.specs[cell.dataset]["attack"].items() if key not in runtime}
        lambdas = spec["lambdas"] if block is None else self.blocks(cell.dataset)[block]
        return {**spec, "loss": loss, "lambdas": lambdas}

    def ball_spec(self, cell: grid.Cell, loss: str) -> dict:
        """All that decides an attack of bounded size, apart from the model, data and code."""
        spec = self.specs[cell.dataset]
        shared = ("pairs", "pair_seed", "draws", "samples", "batch_size", "precision")
        bounds = {key: value for key, value in spec["ball"].items() if key != "losses"}
        return {**bounds, **{key: spec["attack"][key] for key in shared}, "loss": loss}

    def measure_spec(self, cell: grid.Cell, loss: str) -> dict:
        """All that decides what is measured of the attacks by one loss, apart from files and code."""
        spec = self.specs[cell.dataset]
        shared = {key: spec["attack"][key] for key in ("pair_seed", "samples")}
        return {**spec["checks"], **shared, "loss": loss}

    def checked(self, dataset: str) -> bool:
        """Whether anything is checked of a data set's attacks."""
        checks = self.specs[dataset]["checks"]
        return any(checks[key] for key in ("noise", "transfer", "restarts", "probe", "mcmc_steps"))

    def source(self, cell: grid.Cell, loss: str) -> grid.Cell | None:
        """The model whose distortions are tried on the cell's: the one at β = 1 of its d_z and seed, of its family before VAE."""
        if not self.specs[cell.dataset]["checks"]["transfer"]:
            return None
        wanted = (cell.dataset, cell.d_z, cell.seed, 1)
        alike = [c for c in self.cells if (c.dataset, c.d_z, c.seed, c.beta) == wanted and c != cell and loss in self.losses(c)]
        if cell.family in self.external:  # of any size
            alike = [c for c in self.cells if (c.dataset, c.family) == (cell.dataset, "vae") and loss in self.losses(c)]
            return min(alike, key=lambda c: (abs(c.d_z - cell.d_z), c.seed), default=None)
        return min(alike, key=lambda c: c.family != cell.family, default=None)

    def collect_spec(self) -> dict:
        """All that decides which files the tables are made of."""
        return {
            name: {"grid": spec["grid"], "losses": spec["attack"]["losses"], "checked": self.checked(name)}
            | {"ball": spec["ball"]["losses"]}
            | {"external": {family: its for family, its in self.external.items() if its["dataset"] == name}}
            for name, spec in self.specs.items()
        }

    def effective(self) -> dict:
        """The whole configuration with every default written out."""
        top = {"study": self.names, "device": self.device, "gpu_jobs_per_device": self.gpu_jobs_per_device}
        return {**top, "data_dir": self.data_dir, "plot": self.plot, "external": self.external, "datasets": self.specs}


def _section(section: str, defaults: dict, config: dict, own: dict | None = None) -> dict:
    base = _with_defaults({}, schema()["$defs"][section])
    for layer in (defaults, config, own or {}):
        base |= layer.get(section, {})
    return base


def _prepare(name: str, own: dict) -> dict:
    """Where a data set comes from: its kind, ``path``, ``checksum`` and the options that its kind takes, where said."""
    kind = own.get("kind", name)
    info, path = DATASETS[kind], own.get("path")
    takes = ("path", "checksum", *info.options)
    for key in OPTIONS:
        if key in own and key not in takes:
            raise ConfigError(f"datasets.{name}.{key}: {own[key]!r} is not allowed; {kind} takes {', '.join(takes)}")
    if path and info.generated:
        raise ConfigError(f"datasets.{name}.path: {path!r} is not allowed; {kind} is generated, expected null")
    if path and not Path(path).exists():
        raise ConfigError(f"datasets.{name}.path: {path!r} does not exist; give the file or folder of the data")
    if not path and info.own and info.options:
        raise ConfigError(f"datasets.{name}.path: None is not allowed; expected the file or folder of your images")
    if own.get("checksum") and not (path and Path(path).is_file()):
        raise ConfigError(f"datasets.{name}.checksum: {own['checksum']!r} is not allowed; it needs a path to one file")
    return {"kind": kind, "path": path} | {key: own[key] for key in takes[1:] if key in own}


def _with_defaults(given: dict, node: dict) -> dict:
    return {key: sub["default"] for key, sub in node["properties"].items() if "default" in sub} | given


# --- checking ----------------------------------------------------------------------------------------------------------


def _check(config: dict) -> None:
    strict = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=strict)(schema())
    for error in sorted(validator.iter_errors(config), key=lambda e: (len(e.absolute_path), str(e.absolute_path))):
        raise ConfigError(_explain(error))
    _finite(config, "")


def _finite(value, key: str) -> None:
    if isinstance(value, dict):
        for name, sub in value.items():
            _finite(sub, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for i, sub in enumerate(value):
            _finite(sub, f"{key}[{i}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{key}: {value!r} is not allowed; expected a finite number")


def _explain(error: jsonschema.ValidationError) -> str:
    key = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path).lstrip(".")
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = error.schema["properties"]
        unknown = next(name for name in error.instance if name not in known)
        full = f"{key}.{unknown}" if key else str(unknown)
        return f"{full}: unknown key; known: {', '.join(known)}{_hint(str(unknown), known)}"
    value = error.instance
    hint = ""
    if isinstance(value, str):
        try:
            hint = f" (YAML reads {value} as text: write {float(value):.6e})"
        except ValueError:
            if "enum" in error.schema:
                hint = _hint(value, map(str, error.schema["enum"]))
    return f"{key or 'config'}: {value!r} is not allowed; expected {allowed(error.schema)}{hint}"


def _hint(word: str, known) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def allowed(node: dict) -> str:
    """What a node of the schema allows, in words."""
    if "$ref" in node:
        node = schema()["$defs"][node["$ref"].rsplit("/", 1)[1]] | node
    if "anyOf" in node:
        return ", or ".join(allowed(sub) for sub in node["anyOf"])
    if "enum" in node:
        return ("one of " if len(node["enum"]) > 1 else "") + ", ".join(map(str, node["enum"]))
    kinds = node.get("type", "string")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    words = {"integer": "an integer", "number": "a number", "string": "a text", "null": "null", "object": "a mapping"}
    words["boolean"] = "true or false"
    if kinds == ["array"] and node.get("minItems") == node.get("maxItems", 0):
        return f"a list of {node['minItems']}, each {allowed(node['items'])}"
    if kinds == ["array"]:
        few = "a non-empty list" if node.get("minItems") else "a list"
        return (
            f"{few} without duplicates, each {allowed(node['items'])}"
            if node.get("uniqueItems")
            else f"{few}, each {allowed(node['items'])}"
        )
    text = " or ".join(words[kind] for kind in kinds)
    if kinds == ["object"] and "properties" in node:
        text += " with " + ", ".join(node["properties"])
    if "pattern" in node:
        text += f" like {node['pattern'].strip('^$')}"
    if "minimum" in node:
        text += f" ≥ {node['minimum']:g}"
    if "maximum" in node:
        text += f" ≤ {node['maximum']:g}"
    if "exclusiveMinimum" in node:
        text += f" > {node['exclusiveMinimum']}"
    return text


# --- documentation -----------------------------------------------------------------------------------------------------


def markdown() -> str:
    """docs/configuration.md: every key of the schema as a row."""
    lines = [
        "# Configuration",
        "",
        "Every key of `config.yaml`. Generated by `python -m vaepipe.study.config`; edit `vaepipe/study/config.schema.yaml` instead.",
        "",
        "An overlay changes a few keys: `snakemake --cores all --configfile my.yaml`. Mappings are merged, lists replaced.",
        "Under `datasets.<name>` stand `path`, what else says where the data are (docs/data.md), and any of the sections, for",
        "that data set alone; what is said there wins.",
        "Write small numbers as `1.0e-3`: YAML reads `1e-3` as text.",
        "",
        "| key | allowed | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, node in schema()["properties"].items():
        target = node.get("$ref", "").rsplit("/", 1)[-1]
        if target in (*SECTIONS, "plot"):
            lines.append(f"| **`{name}`** | | | {node['description']} |")
            lines += [_row(f"{name}.{key}", sub) for key, sub in schema()["$defs"][target]["properties"].items()]
        elif name == "external":
            lines.append(f"| **`{name}`** | | | {node['description']} |")
            keys = node["additionalProperties"]["properties"].items()
            lines += [_row(f"external.<name>.{key}", sub, "required") for key, sub in keys]
        elif name == "datasets":
            lines.append(f"| **`{name}`** | | | {node['description']} |")
            keys = node["additionalProperties"]["properties"]
            lines += [_row(f"datasets.<name>.{key}", sub) for key, sub in keys.items() if key not in SECTIONS]
        else:
            lines.append(_row(name, node))
    return "\n".join(lines) + "\n"


def _row(key: str, node: dict, absent: str = "the data set's") -> str:
    default = (
        f"`{yaml.safe_dump(node['default'], default_flow_style=True).strip().removesuffix('...').strip()}`"
        if "default" in node
        else absent
    )
    return f"| `{key}` | {allowed(node)} | {default} | {node['description']} |".replace("|z)", "\\|z)")


if __name__ == "__main__":
    print(markdown(), end="")
