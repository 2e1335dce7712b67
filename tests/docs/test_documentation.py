"""The documentation: the site builds without a warning and loads nothing from outside; printed code runs."""

import ast
import importlib.util
import os
import re
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT

from vaepipe.stages.columns import TABLES
from vaepipe.study.study import Study

PRINTED = ("README.md", "docs/how-to.md", "docs/tutorial.md")
"""Pages whose blocks of Python run, one after the other, in the folder of a finished study."""


def blocks(page, language):
    """Return the fenced blocks of a page in one language."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` does, without a study's figures."""
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "VAEPIPE_RESULTS": str(folder / "none")},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    return folder


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


def test_error_lines_are_those_of_the_code():
    found = importlib.util.spec_from_file_location("docs_site", ROOT / "scripts/docs_site.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    code = "raise DataError(f'{path}: no such ' + f'file as {name!r}') or ValueError('not for users')"
    assert module.raised_texts(ast.parse(code)) == ["…: no such file as …"]


def test_readme_is_short_and_begins_with_the_study_and_the_tests():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
    commands = [line for block in blocks("README.md", "sh") for line in block.splitlines()]
    assert commands[:2] == ["make run", "make test"]


@pytest.mark.parametrize("page", ["README.md", "docs/how-to.md"])
def test_overlays_that_a_page_prints_are_allowed(page, tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    for name in ("my_vae.py", "mine.pt"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    overlays = blocks(page, "yaml")
    assert overlays
    for overlay in overlays:
        Study({"study": ["digits"]} | yaml.safe_load(overlay.replace("/home/me/photos", "photos")))


@pytest.mark.parametrize("page", PRINTED)
def test_code_that_a_page_prints_runs_in_the_folder_of_a_study(page, finished):
    code = "\n".join(blocks(page, "python"))
    assert "import" in code
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=finished,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    if page == "docs/how-to.md":  # each line has a number and the same number, found in another way
        for first, second in [line.split() for line in done.stdout.splitlines()[:2]]:
            assert float(first) == pytest.approx(float(second), rel=1e-6)
