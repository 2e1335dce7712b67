"""Printed code: Python runs in the folder of a study, overlays are allowed, commands can be given."""

import argparse
import functools
import importlib
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from printed import PAGES, blocks, commands, files, inline_commands

from vaepipe.__main__ import commands as vaepipe_commands
from vaepipe.study.files import read_config
from vaepipe.study.study import Study

LANGUAGES = {"sh", "yaml", "python", ""}
NOT_TRIED = "not tried by the tests"
"""The title of a block that needs what no test has, such as a builder of containers or a cloud."""

WITH_TEST = {"docs/ecosystem.md": "tests/workflow/test_module.py"}
"""Pages whose Python and YAML belong to another workflow, and the test that runs them."""

RUN = {"check", "zoo", "plan", "status"}
"""Commands of vaepipe that write nothing: they run."""

PRINTS_TWICE = {"docs/how-to.md"}
"""Pages whose Python prints a number and the same number, found in another way, in a line."""

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
BELOW = re.compile(r"(?:configs|docs|envs|profiles|rules|scripts|tests|vaepipe)/[\w./-]+")


COMMANDS = functools.cache(vaepipe_commands)


def pages_with(*languages):
    return [page for page in PAGES if blocks(page, *languages)]


class Parsed(Exception):
    """The arguments of a program are allowed."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with what pages assume beside the files that they print."""
    (tmp_path / "photos").mkdir()
    for name in ("my_vae.py", "w.pt", "mine.pt", "norms.py", "images.npz"):
        (tmp_path / name).touch()
    for name in ("config.yaml", "configs", "profiles", "scripts", "tests", "vaepipe"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def overlays(page) -> list[dict]:
    return [yaml.safe_load(block.text.replace("/home/me/photos", "photos")) for block in blocks(page, "yaml")]


def test_every_block_has_a_language_that_is_tested_and_few_are_not_tried():
    found = [(page, block) for page in PAGES for block in blocks(page)]
    assert {block.language for _, block in found} == LANGUAGES
    assert len({block.language for _, block in found if block.language}) == 3
    untried = [page for page, block in found if block.title == NOT_TRIED]
    assert 1 <= len(untried) <= 4, untried
    for page, test in WITH_TEST.items():
        assert page in (ROOT / test).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [page for page in pages_with("yaml") if page not in WITH_TEST])
def test_overlays_that_a_page_prints_are_allowed(page, folder):
    whole = {"study": ["digits"]} | yaml.safe_load(files(page).get("my.yaml", "{}"))
    for name, text in files(page).items():
        (folder / name).write_text(text, encoding="utf-8")
    for overlay in overlays(page):
        (folder / "more.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
        (folder / "my.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
        Study(read_config([folder / "my.yaml", folder / "more.yaml"]))


@pytest.mark.parametrize("page", [page for page in pages_with("python") if page not in WITH_TEST])
def test_python_that_a_page_prints_runs_in_the_folder_of_a_study(page, finished, folder, monkeypatch, capsys):
    (folder / "results").symlink_to(finished / "results")
    monkeypatch.syspath_prepend(folder)
    shown = {}
    for block in blocks(page, "python"):
        if block.file:
            (folder / block.file).write_text(block.text, encoding="utf-8")
        if not block.file or block.file.startswith("train_"):
            exec(compile(block.text, page, "exec"), shown)
    if page in PRINTS_TWICE:
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]
        pairs = [
            line for line in lines if len(line) == 2 and all(re.match(r"[\d.]+$", word) for word in line)
        ]
        assert len(pairs) == 3
        for first, second in pairs:
            assert float(first) == pytest.approx(float(second), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "sh") or inline_commands(page)])
def test_commands_that_a_page_prints_name_options_and_files_that_exist(page, folder, monkeypatch):
    written = [yaml.safe_dump(overlay) for overlay in overlays(page)] if page not in WITH_TEST else []
    scripts = [block.text for block in blocks(page, "sh") if block.title != NOT_TRIED]
    for script in [*scripts, *inline_commands(page)]:
        for words in commands(script):
            for name in re.findall(r"(?<![\w/])[\w-]+\.yaml", " ".join(words)):
                text = files(page).get(name) or (written[-1] if written else "study: [digits]")
                (folder / name).write_text(text, encoding="utf-8")
            check(words, monkeypatch)


def check(words: list[str], monkeypatch) -> None:
    """Fail unless the command's program, options and files exist."""
    words = [re.sub(r"^.*\.venv/bin/|^path/to/vaepipe/", "", word) for word in words]
    line, (program, *arguments) = shlex.join(words), words
    for named in BELOW.findall(line):
        assert Path(named).exists(), f"{line}: {named}"
    if program == "make":
        for made in made_by(arguments):
            check(made, monkeypatch)
    elif program == "vaepipe":
        module = COMMANDS()[arguments[0]][0]
        run_main(importlib.import_module(module).main, arguments, monkeypatch, arguments[0] in RUN)
    elif program == "snakemake":
        plan(arguments)
    elif program == "python" and arguments[:2] == ["-m", "pytest"]:
        select(arguments[2:])
    elif program == "python" and arguments[0].startswith("scripts/"):
        monkeypatch.syspath_prepend(ROOT / "scripts")  # as Python does for a script
        runs = lambda: runpy.run_path(str(ROOT / arguments[0]), run_name="__main__")  # noqa: E731
        run_main(runs, arguments, monkeypatch, False)
    elif program == "python":
        assert Path(arguments[0]).suffix == ".py", line
    elif program.startswith("scripts/"):
        text = (ROOT / program).read_text(encoding="utf-8")
        assert all(re.search(rf"(?<![\w-]){word}\b", text) for word in arguments if not word[-1].isdigit()), (
            line
        )


def made_by(arguments) -> Iterator[list[str]]:
    """Yield the commands of the repository that `make` with these arguments would run."""
    command = ["make", "-n", "--old-file", ".venv/installed", "-C", str(ROOT), *arguments]
    alone = {"PATH": os.environ["PATH"]}  # not the variables of the `make test` that runs this
    done = subprocess.run(command, env=alone, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for variable in (word.partition("=")[0] for word in arguments if "=" in word):
        assert f"$({variable})" in MAKEFILE, variable
    for line in done.stdout.splitlines():
        if line.startswith(".venv/bin/") and "mkdocs" not in line:
            yield from commands(line)


def run_main(main, arguments, monkeypatch, for_good) -> None:
    """Run a program's main function: for good, or until it has read its arguments."""
    parse = argparse.ArgumentParser.parse_args

    def stop(self, *arguments, **options):
        parse(self, *arguments, **options)
        raise Parsed

    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", arguments)
        if for_good:
            main()
            return
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        with pytest.raises(Parsed):
            main()


@functools.cache
def snakemake_parser() -> argparse.ArgumentParser:
    from snakemake.cli import get_argument_parser

    return get_argument_parser()


def plan(arguments) -> None:
    """Fail unless Snakemake knows the options, and the workflow the targets."""
    options, targets = arguments, []
    if "--" in arguments:
        options, targets = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    given = snakemake_parser().parse_args(options)
    assert all(Path(profile, "config.yaml").exists() for profile in given.profile or ())
    for file in given.configfile or ():
        assert Path(file).exists(), file
    rules = "".join(
        path.read_text(encoding="utf-8") for path in [ROOT / "Snakefile", *ROOT.glob("rules/*.smk")]
    )
    for target in [*targets, *given.targets]:
        assert f"\nrule {target}:" in rules or target.startswith("results/"), target


def select(arguments) -> None:
    """Fail unless the tests that pytest's arguments name exist."""
    parser = argparse.ArgumentParser()
    for option in ("-k", "-n", "-m", "--dist", "--cov"):
        parser.add_argument(option, default="", nargs="?" if option == "--cov" else None)
    parser.add_argument("paths", nargs="*")
    given = parser.parse_args(arguments)
    for path in given.paths:
        assert exists(path, given.k), shlex.join(arguments)


def exists(path, expression="") -> bool:
    """Whether the file or folder has tests, and each word of the expression of -k."""
    files = [ROOT / path] if path.endswith(".py") else sorted((ROOT / path).rglob("test_*.py"))
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    words = set(re.findall(r"\w+", expression)) - {"and", "or", "not"}
    return "def test_" in text and all(word in text for word in words)


@pytest.mark.parametrize("page", PAGES)
def test_tests_that_a_page_names_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for path, name in re.findall(r"(tests/[\w/]+\.py)::(\w+)", text):
        assert exists(path, name), f"{path}::{name}"
    for path, quoted, word in re.findall(r'(tests/[\w/]+\.py) -k (?:"([^"]+)"|(\w+))', text):
        assert exists(path, quoted or word), f"{path} -k {quoted or word}"
