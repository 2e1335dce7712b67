"""Digests of code change with the meaning of the modules that a stage imports, and with nothing else."""

import ast
import functools
import os
import shutil

import grimp
import pytest
from conftest import ROOT
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from vaepipe.storage import code_digest, kept_meanings
from vaepipe.storage.code_meaning import find_meaning

STAGES = sorted(path.stem for path in (ROOT / "vaepipe" / "stages").glob("[!_]*.py"))
MODULES = sorted(
    ".".join(path.relative_to(ROOT / "vaepipe").with_suffix("").parts)
    for path in (ROOT / "vaepipe").rglob("*.py")
    if not path.name.startswith("__")
)
SKIPPED = {name for name in MODULES if name.startswith("study.") or name.endswith("registry")}
SKIPPED |= {"storage.code_digest", "storage.code_meaning", "storage.kept_meanings", "storage.provenance"}


find_meaning_once = functools.cache(find_meaning)


def path_in(package, name):
    """The file of a module, in a copy of the package."""
    return package.joinpath(*name.split(".")).with_suffix(".py")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """(A copy of the package, function that returns its digests of today)."""
    copy = tmp_path / "vaepipe"
    shutil.copytree(ROOT / "vaepipe", copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code_digest, "PACKAGE", copy)
    monkeypatch.setattr(kept_meanings, "find_meaning", find_meaning_once)  # parses only edits anew

    def digests(*names):
        code_digest.clear_caches()
        return {stage: code_digest.code_digest(f"stages.{stage}", *names) for stage in STAGES}

    yield copy, digests
    code_digest.clear_caches()


# --- which modules


@pytest.fixture(scope="module")
def graph():
    """The imports of the package, by a library made for this, without those that do not count."""
    graph = grimp.build_graph("vaepipe", exclude_type_checking_imports=True, cache_dir=None)
    for name in SKIPPED:
        graph.remove_module(f"vaepipe.{name}")
    return graph


@pytest.mark.slow
def test_an_edit_of_a_module_changes_the_digests_of_exactly_the_stages_that_import_it(package, graph):
    folder, digests = package
    before = digests()
    importers = {
        stage: {"compute.rounding", f"stages.{stage}"}
        | {name.removeprefix("vaepipe.") for name in graph.find_upstream_modules(f"vaepipe.stages.{stage}")}
        for stage in STAGES
    }
    imported = {name: {stage for stage in STAGES if name in importers[stage]} for name in MODULES}
    edits = [[name] for name in MODULES if imported[name]]
    edits += [[name for name in MODULES if not imported[name]]]  # together: none may change a digest
    for names in edits:
        sources = {path_in(folder, name): path_in(folder, name).read_text(encoding="utf-8") for name in names}
        for path, source in sources.items():
            path.write_text(source + "\nADDED = 1\n", encoding="utf-8")
        after = digests()
        for path, source in sources.items():
            path.write_text(source, encoding="utf-8")
        changed = {stage for stage in STAGES if after[stage] != before[stage]}
        assert changed == imported[names[0]], names


def test_modules_that_are_imported_by_name_count_where_they_are_given(package):
    folder, digests = package
    before = digests("datasets.digits"), digests("datasets.swissroll")
    path = folder / "datasets" / "digits.py"
    path.write_text(path.read_text(encoding="utf-8") + "\nADDED = 1\n", encoding="utf-8")
    after = digests("datasets.digits"), digests("datasets.swissroll")
    assert after[0]["prepare"] != before[0]["prepare"] and after[1]["prepare"] == before[1]["prepare"]


def test_a_module_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match=r"vaepipe\.datasets\.cats: no such module"):
        code_digest.code_digest("datasets.cats")


def test_a_name_from_a_package_with_lazy_names_is_refused(package):
    folder, digests = package
    path = folder / "stages" / "train.py"
    path.write_text(
        "from vaepipe.attacks import run_attack\n" + path.read_text(encoding="utf-8"), encoding="utf-8"
    )
    with pytest.raises(ValueError, match=r"stages\.train: import run_attack from its own module"):
        digests()


def test_relative_imports_count_like_absolute_ones(package):
    folder, _ = package
    absolute = "from vaepipe.storage.errors import DataError"
    relative = "from ..storage.errors import DataError"
    path = folder / "stages" / "train.py"
    path.write_text(relative + "\n", encoding="utf-8")
    code_digest.clear_caches()
    imports = code_digest._imports("stages.train")
    path.write_text(absolute + "\n", encoding="utf-8")
    code_digest.clear_caches()
    assert imports == code_digest._imports("stages.train") == ("storage.errors",)


# --- what counts of a module


class Reword(ast.NodeTransformer):
    """Rewords whatever only people read, and adds some."""

    def visit_Raise(self, node):
        for part in ast.walk(node.exc) if node.exc else ():
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                part.value = part.value.upper() + " reworded"
        return node

    def visit_Expr(self, node):
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        is_print = isinstance(node.value, ast.Call) and getattr(node.value.func, "id", "") == "print"
        if is_text:
            return ast.Expr(ast.Constant("Reworded."))
        return ast.Expr(ast.parse("print('reworded', 2)").body[0].value) if is_print else node

    def visit_FunctionDef(self, node):
        self.generic_visit(node)
        node.returns = ast.Name("Reworded")
        for argument in (*node.args.args, *node.args.kwonlyargs):
            argument.annotation = ast.Constant("Reworded")
        log_line, local = ast.parse("logging.info('a new log line', 1)\nlocal: int").body
        node.body = [ast.Expr(ast.Constant("A docstring.")), log_line, local, *node.body]
        return node

    def visit_AnnAssign(self, node):
        is_class_variable = "ClassVar" in ast.unparse(node.annotation)
        node.annotation = ast.Name("ClassVar") if is_class_variable else ast.Constant("Reworded")
        return node


def reword(source):
    """Other comments, layout, docstrings, annotations, messages and log lines; the same meaning."""
    tree = ast.fix_missing_locations(Reword().visit(ast.parse(source)))
    future = "from __future__ import annotations\n"
    return f'"""Reworded."""\n# a comment\n{future}import logging\n' + ast.unparse(tree)


@pytest.mark.slow
def test_rewording_the_whole_package_changes_no_digest(package):
    folder, digests = package
    before = digests()
    for name in MODULES:
        path = path_in(folder, name)
        path.write_text(reword(path.read_text(encoding="utf-8")), encoding="utf-8")
        os.utime(path, (1, 1))
    assert digests() == before


NEUTRAL = {
    "error": (
        "def f(x):\n    raise DataError(f'{x}: no such file')",
        "def f(x):\n    raise DataError('another text')",
    ),
    "error from": ("raise DataError('a') from error", "raise DataError(f'{b}') from error"),
    "error kept": ("damaged = DataError('it is damaged')", "damaged = DataError('broken')"),
    "exit": ("import sys\nsys.exit('no such file')", "import sys\nsys.exit(f'{path}: not there')"),
    "print": ("print('row', 1)", "print(f'{rows} rows', flush=True)"),
    "no print": ("def f():\n    print('a row')\n    return 1", "def f():\n    return 1"),
    "log": ("logger.info('a %s', x)", "logger.warning('b')"),
    "warning": ("import warnings\nwarnings.warn('slow')", "import warnings\nwarnings.warn('this is slow')"),
    "assert": ("assert x, 'no x'", "assert x"),
    "prose": ("add('kl', 'the KL divergence')", "add('kl', 'divergence of the posterior')"),
    "prose with values": ("say(f'{a} of {b} rows')", "say(f'{a}{b}')"),
    "help": ("p.add_argument('--out', help='file')", "p.add_argument('--out', help='a file to write')"),
    "argument": ("def f(x): return x", "def f(x: int) -> int:\n    return x"),
    "variable": ("x = 1", "x: int = 1"),
    "field": ("class A:\n    x: int = 1", "class A:\n    x: float | None = 1"),
    "import for types": ("x = 1", "from collections.abc import Iterable\nx: Iterable = 1"),
    "type checking": (
        "x = 1",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from vaepipe.models.vae import VAE\nx = 1",
    ),
    "class variable": ("class A:\n    x: ClassVar[int] = 1", "class A:\n    x: ClassVar[float] = 1"),
    "cast": ("x = y", "from typing import cast\nx = cast('Tensor', y)"),
    "docstring": ("class A:\n    '''One.'''", "class A:\n    '''Two.'''\n    '''Three.'''"),
}


@pytest.mark.parametrize("edit", NEUTRAL)
def test_wording_and_types_do_not_count(edit):
    before, after = (find_meaning(source, texts=False) for source in NEUTRAL[edit])
    assert before.code == after.code


MEANINGFUL = {
    "number": ("x = 1", "x = 2"),
    "operator": ("x = a + b", "x = a - b"),
    "comparison": ("x = a < b", "x = a <= b"),
    "called name": ("f(x)", "g(x)"),
    "attribute": ("x.sum()", "x.mean()"),
    "one word": ("open(path, 'r')", "open(path, 'w')"),
    "kind of error": ("raise DataError('a')", "raise ValueError('a')"),
    "exit code": ("import sys\nsys.exit(1)", "import sys\nsys.exit(2)"),
    "printed to a file": ("print(a, file=out)", "print(b, file=out)"),
    "key": ("x['geometric mean']", "x['arithmetic mean']"),
    "key of a dictionary": ("x = {'geometric mean': 1}", "x = {'arithmetic mean': 1}"),
    "compared text": ("x == 'geometric mean'", "x == 'arithmetic mean'"),
    "compared texts": ("x in ('geometric mean', 'a')", "x in ('arithmetic mean', 'a')"),
    "default": ("def f(x='geometric mean'): pass", "def f(x='arithmetic mean'): pass"),
    "split names": ("x = 'low high'.split()", "x = 'low high n'.split()"),
    "path": ("x = f'{folder}/a.h5'", "x = f'{folder}/b.h5'"),
    "field": ("class A:\n    x: int", "class A:\n    y: int"),
    "class variable": ("class A:\n    x: int = 1", "class A:\n    x: ClassVar[int] = 1"),
    "import": ("from torch import sum\nsum(x)", "from numpy import sum\nsum(x)"),
    "decorator": ("def f(): pass", "@cache\ndef f(): pass"),
}


@pytest.mark.parametrize("edit", MEANINGFUL)
def test_meaning_counts(edit):
    before, after = (find_meaning(source, texts=False) for source in MEANINGFUL[edit])
    assert before.code != after.code


def test_prose_counts_for_stages_that_write_texts():
    before, after = (find_meaning(f"x = 'the {noun}'", texts=True) for noun in ("mean", "median"))
    assert before.code != after.code


def mutations(tree):
    """The numbers, operators and called names, outside what does not count."""
    nodes = []

    def walk(node):
        is_call = isinstance(node, ast.Call)
        called = ast.unparse(node.func) if is_call else ""
        if isinstance(node, ast.Raise) or called == "print" or called.endswith(("Error", "warn")):
            return
        if called == "sys.exit" and any(isinstance(text, ast.JoinedStr) for text in node.args):
            return
        if isinstance(node, ast.keyword) and node.arg in ("help", "description", "epilog", "metavar", "prog"):
            return
        if (isinstance(node, ast.Constant) and type(node.value) in (int, float)) or isinstance(
            node, ast.BinOp
        ):
            nodes.append(node)
        if (
            is_call
            and isinstance(node.func, (ast.Name, ast.Attribute))
            and called not in ("cast", "sys.exit")
        ):
            nodes.append(node.func)
        for name, value in ast.iter_fields(node):
            if name not in ("annotation", "returns", "msg"):
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, ast.AST):
                        walk(child)

    walk(tree)
    return nodes


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(MODULES), st.data())
def test_a_changed_number_operator_or_called_name_counts_anywhere_in_the_package(name, data):
    source = path_in(ROOT / "vaepipe", name).read_text(encoding="utf-8")
    tree = ast.parse(source)
    nodes = mutations(tree)
    assume(nodes)
    node = nodes[data.draw(st.integers(0, len(nodes) - 1))]
    if isinstance(node, ast.Constant):
        node.value += 1
    elif isinstance(node, ast.BinOp):
        node.op = ast.Sub() if not isinstance(node.op, ast.Sub) else ast.Add()
    elif isinstance(node, ast.Name):
        node.id += "_"
    else:
        node.attr += "_"
    changed = ast.unparse(tree)
    assert find_meaning(changed, texts=False).code != find_meaning_once(source, False).code
