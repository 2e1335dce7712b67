"""pip and conda install what pyproject.toml asks for; nothing is unpickled; the shell gets quoted values."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, snakemake
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import vaepipe

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WANTED = {canonicalize_name(r.name): r for r in map(Requirement, PROJECT["dependencies"])}
EXTRA = {canonicalize_name(r.name): r for r in map(Requirement, PROJECT["optional-dependencies"]["dev"])}
del EXTRA["vaepipe"]  # the other extras, which it takes in
EXTRA |= {
    canonicalize_name(r.name): r
    for extra in ("adapters", "docs", "track")
    for r in map(Requirement, PROJECT["optional-dependencies"][extra])
}
CONDA = {"matplotlib": "matplotlib-base", "torch": "pytorch"}  # other names there
ONLY_OUTSIDE = {"snakemake", "snakemake-executor-plugin-slurm"}  # runs the environments, does not run in them


def test_the_conda_environment_has_what_the_stages_need_in_the_same_versions():
    listed = yaml.safe_load((ROOT / "envs/vaepipe.yaml").read_text())["dependencies"]
    found = {re.split("[ >=<]", entry, maxsplit=1)[0]: entry for entry in listed if isinstance(entry, str)}
    by_pip = [Requirement(text) for entry in listed if isinstance(entry, dict) for text in entry["pip"]]
    found |= {canonicalize_name(r.name): f"{r.name} {r.specifier}" for r in by_pip}
    for name, requirement in WANTED.items():
        if name not in ONLY_OUTSIDE:
            entry = found.get(CONDA.get(name, name))
            assert entry, f"envs/vaepipe.yaml lacks {name}"
            assert entry.split(maxsplit=1)[1].replace(" ", "") == str(requirement.specifier), entry


# the parts of conda that Snakemake calls; an environment holds a python that notes its arguments, without pip
STAND_IN = """#!/bin/sh
case "$1 $2" in
    "info --json") echo '{{"conda_prefix": "{folder}", "platform": "linux-64"}}' ;;
    "--version ") echo conda 25.1.0 ;;
    "config --get") echo '{{"get": {{"channel_priority": "strict"}}}}' ;;
    "env create")
        for place in "$@"; do :; done
        mkdir -p "$place/bin"
        cp "{folder}/python" "$place/bin/python"
        chmod +x "$place/bin/python" ;;
    "clean -y") ;;
    *) exit 2 ;;
esac
"""


PYTHON = """#!/bin/sh
echo "$@" >> "{folder}/ran"
[ "$2" = pip ] || exec "{python}" "$@"
"""


@pytest.mark.slow
def test_with_conda_the_package_is_installed_and_jobs_run_with_the_python_of_the_environment(
    tmp_path, monkeypatch
):
    (tmp_path / "bin").mkdir()
    (tmp_path / "python").write_text(PYTHON.format(folder=tmp_path, python=sys.executable))
    (tmp_path / "bin/activate").write_text('export PATH="$1/bin:$PATH"\n')
    (tmp_path / "bin/conda").write_text(STAND_IN.format(folder=tmp_path))
    (tmp_path / "bin/conda").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    study = tmp_path / "a study"
    study.mkdir()
    done = snakemake(
        ROOT, "--cores", 1, "--sdm", "conda", "--directory", study, "--", "results/data/digits.h5"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    install, job = (tmp_path / "ran").read_text().splitlines()
    assert install == f"-m pip install --quiet --no-deps --no-build-isolation -e {ROOT}"
    assert job.startswith("-m vaepipe.stages.prepare --spec ")
    (listed,) = (study / ".snakemake/conda").glob("*.yaml")
    assert listed.read_bytes() == (ROOT / "envs/vaepipe.yaml").read_bytes()


def test_every_pinned_version_is_within_its_range_and_nothing_is_missing():
    text = (ROOT / "requirements.txt").read_text()
    pinned = {
        canonicalize_name(name): version
        for name, version in re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==([\w.+-]+)", text, re.M)
    }
    for name, requirement in (WANTED | EXTRA).items():
        assert name in pinned and requirement.specifier.contains(pinned[name]), name
    assert all("--hash=sha256:" in entry for entry in re.split(r"\n(?=[\w.-]+==)", text)[1:])


def test_the_container_installs_what_make_installs():
    lines = (ROOT / "Containerfile").read_text(encoding="utf-8").splitlines()
    installs = [line.removeprefix("RUN pip install --no-cache-dir ") for line in lines if line[:3] == "RUN"]
    script = (ROOT / "scripts/install").read_text(encoding="utf-8")
    (pins,) = set(re.findall(r"^\tpip_install (.* -r )\S*half", script, re.M))
    (package,) = re.findall(r"^\.venv/bin/pip install --quiet (.* \.)$", script, re.M)
    assert installs == [f"{pins}requirements.txt", package]
    for line in lines:
        if line.startswith("COPY"):
            assert all((ROOT / name).exists() for name in line.split()[1:-1]), line
        if line.startswith("RUN"):
            subprocess.run(["bash", "-n", "-c", line.removeprefix("RUN ")], check=True)
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()[0]
    (python,) = re.findall(r"^FROM .*/python:([\d.]+)-slim$", "\n".join(lines), re.M)
    assert f"for Python {python}," in pins
    assert "WORKDIR /opt/vaepipe" in lines[: lines.index("COPY . .")]
    entry = json.loads(re.search("^ENTRYPOINT (.*)$", "\n".join(lines), re.M)[1])
    assert entry[:3] == ["snakemake", "--snakefile", "/opt/vaepipe/Snakefile"]


SOURCES = sorted([*ROOT.glob("vaepipe/**/*.py"), *ROOT.glob("scripts/*.py")])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_is_unpickled_nor_given_to_a_shell(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            assert not {"dill", "joblib", "cloudpickle"} & {name.split(".")[0] for name in names}
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pickle":
            assert node.attr == "UnpicklingError"
        if isinstance(node, ast.Call):
            call = ast.unparse(node.func)
            assert call not in ("pd.read_pickle", "os.system", "eval", "exec")
            if call == "torch.load":  # other people's weights: tensors only
                assert ("weights_only", "True") in [(k.arg, ast.unparse(k.value)) for k in node.keywords]
            for keyword in node.keywords:
                assert (keyword.arg, ast.unparse(keyword.value)) not in (
                    ("allow_pickle", "True"),
                    ("shell", "True"),
                ), call


def test_every_value_that_a_rule_gives_to_the_shell_is_quoted():
    for path in (ROOT / "rules").glob("*.smk"):
        for part in path.read_text().split("    shell:\n")[1:]:
            command = "".join(re.findall(r'^        "(.*)"$', part.split("\n\n")[0], re.M))
            for field in re.findall(r"(?<!{){([^{}]+)}", command):
                assert field.endswith(":q") or field == "threads", (path.name, field)


def test_the_citation_names_this_version_and_the_licence_is_packed():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == vaepipe.__version__
    assert citation["cff-version"] and citation["title"] and citation["authors"] and citation["message"]
    assert citation["license"] == PROJECT["license"] == "MIT"
    assert PROJECT["license-files"] == ["LICENSE"] and (ROOT / "LICENSE").read_text().startswith(
        "MIT License"
    )


def modules_with_main(room):
    """Names of the modules of a room that can be run."""
    paths = (ROOT / "vaepipe" / room).glob("*.py")
    return {path.stem for path in paths if "\ndef main(" in path.read_text(encoding="utf-8")}


def console(*arguments):
    """The finished console script, which pip made."""
    program = shutil.which("vaepipe", path=str(Path(sys.executable).parent))
    assert program, "pip install -e . makes the console script"
    return subprocess.run([program, *arguments], capture_output=True, text=True)


def test_the_console_script_lists_every_stage_and_tool():
    assert PROJECT["scripts"] == {"vaepipe": "vaepipe.__main__:main"}
    assert {"train", "attack", "measure", "report"} <= modules_with_main("stages")
    assert {"plan", "verify", "reference"} <= modules_with_main("tools")
    for arguments in ((), ("--help",)):
        done = console(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        listed = set(re.findall(r"^  (\w+) +\S", done.stdout, re.M))
        assert listed == modules_with_main("stages") | modules_with_main("tools")
    assert console("--version").stdout == f"vaepipe {vaepipe.__version__}\n"


def test_an_unknown_command_of_the_console_script_is_one_line():
    done = console("trian", "--help")
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr.startswith("vaepipe: 'trian' is not a command; known: ") and done.stderr.count("\n") == 1
    )


PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])
BELOW = re.compile(r"(?:vaepipe|scripts|tests|configs|docs)/[\w./-]+")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_path_that_a_page_names_exists(page):
    """Paths in backticks below folders of the repository; <name> and * stand for files to be written."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for named in re.findall(r"`([^`\n]+)`", text):
        if BELOW.fullmatch(named):
            assert (ROOT / named).exists(), named
