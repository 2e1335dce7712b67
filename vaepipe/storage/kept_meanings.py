"""What counts of the package's modules, kept from one process to the next.

To read the package takes a third of what a start of the workflow takes, and on a cluster each job starts it
twice. So what was found is kept in the folder of a study, each with a digest of the source that it was found
in. Where the file is absent, old or damaged, the source is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from pathlib import Path

from vaepipe.storage import code_meaning
from vaepipe.storage.atomic import atomic
from vaepipe.storage.code_meaning import Import, Meaning, find_meaning
from vaepipe.storage.errors import DataError

PATH = Path(".snakemake/vaepipe-code.json")
"""In Snakemake's own folder, from where a study runs."""


class KeptMeanings:
    """The meanings of modules."""

    def __init__(self) -> None:
        rules = Path(code_meaning.__file__).read_bytes()
        self._rules = hashlib.sha256(sys.version.encode() + rules)
        self._is_new = False
        try:
            self._kept = dict(json.loads(PATH.read_bytes()))
        except (OSError, ValueError, TypeError):
            self._kept = {}

    def find(self, name: str, source: str, texts: bool) -> Meaning:
        """Return what counts of the source text of a module; see `find_meaning`."""
        place, key = f"{name} {texts}", self._rules.copy()
        key.update(source.encode())
        match self._kept.get(place):
            case [digest, code, imports] if digest == key.hexdigest():
                read = [Import(level, module, tuple(names)) for level, module, names in imports]
                return Meaning(code, tuple(read))
        meaning = find_meaning(source, texts)
        self._kept[place] = [key.hexdigest(), *meaning]
        self._is_new = True
        return meaning

    def save(self) -> None:
        """Keep what was found, once Snakemake has made its folder."""
        if self._is_new and PATH.parent.is_dir():
            with contextlib.suppress(DataError), atomic(PATH) as temporary:
                temporary.write_text(json.dumps(self._kept), encoding="utf-8")
            self._is_new = False
