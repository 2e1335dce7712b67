"""The documentation: the site builds without a warning and loads nothing from outside."""

import ast
import importlib.util
import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT
from printed import blocks

from vaepipe.stages.columns import TABLES


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` does, without a study's figures."""
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "VAEPIPE_RESULTS": str(folder / "none")},
        capture_output=True,
        text=True,
    )
    # with --quiet, mkdocs counts no warnings, so --strict would let broken links pass
    assert done.returncode == 0 and "WARNING" not in done.stdout + done.stderr, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_the_site_has_every_page_and_loads_nothing_from_outside(site):
    pages = {path.name: path.read_text(encoding="utf-8") for path in site.glob("*.html")}
    sources = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert {name.replace(".md", ".html") for name in sources} <= set(pages)
    for name, text in pages.items():
        loaded = re.findall(r"<(?:script|img|iframe)[^>]+src=\"([^\"]+)\"", text)
        loaded += re.findall(
            r"<link[^>]+rel=\"(?:stylesheet|preconnect|preload)\"[^>]+href=\"([^\"]+)\"", text
        )
        assert not [address for address in loaded if "//" in address], name


def test_the_site_explains_every_column_and_every_command(site):
    columns = (site / "columns.html").read_text(encoding="utf-8")
    assert all(f"<code>{column.name}</code>" in columns for table in TABLES.values() for column in table)
    commands = (site / "commands.html").read_text(encoding="utf-8")
    assert all(f"<code>vaepipe {name}</code>" in commands for name in ("plan", "verify", "attack"))
    assert "<code>make run</code>" in commands and "<code>make docs</code>" in commands


@pytest.fixture(scope="module")
def docs_site():
    found = importlib.util.spec_from_file_location("docs_site", ROOT / "scripts/docs_site.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_error_lines_are_those_of_the_code(docs_site):
    code = "raise DataError(f'{path}: no such ' + f'file as {name!r}') or ValueError('not for users')"
    assert docs_site.raised_texts(ast.parse(code)) == ["…: no such file as …"]


def test_every_error_line_has_advice_and_every_advice_a_line(docs_site):
    advice, used = docs_site.read_advice(), set()
    for room in docs_site.ROOMS:
        for path in (ROOT / "vaepipe" / room).rglob("*.py"):
            texts = docs_site.raised_texts(ast.parse(path.read_text(encoding="utf-8")))
            used |= {docs_site.phrase_in(text, advice) for text in texts}
    assert set(advice) == used
    assert all(text.endswith((".", ")")) and len(text) < 140 for text in advice.values())
    with pytest.raises(LookupError, match="no advice"):
        docs_site.phrase_in("a new line", advice)


def test_readme_is_short_and_begins_with_the_study_and_the_tests():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
    first = blocks("README.md", "sh")[0].text
    assert first.splitlines() == ["make run", "make test"]
