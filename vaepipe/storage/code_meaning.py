"""What counts of a module's code: what can change a result.

What does not count:

- comments, layout, docstrings, type annotations, and blocks ``if TYPE_CHECKING:``;
- arguments of exceptions, texts of `sys.exit`, and calls of `print`, of loggers and of `warnings.warn`;
- help texts of command lines;
- where a stage writes no texts for people: prose, that is texts of two or more words.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from typing import NamedTuple

LOGGERS = ("logging", "logger", "log", "LOGGER", "LOG")
LOG_LEVELS = ("debug", "info", "warning", "error", "exception", "critical", "log")
HELP_CALLS = ("ArgumentParser", "add_argument", "add_parser", "add_subparsers", "add_argument_group")
HELP_KEYWORDS = ("help", "description", "epilog", "metavar", "prog", "usage", "title")
EXCEPTIONS = ("Error", "Exception", "Warning")
"""Endings of the names of exceptions, whose arguments are messages."""
FIELD_MARKERS = ("ClassVar", "InitVar", "KW_ONLY")
"""Annotations that change what a dataclass does."""

TEXTS_THAT_COUNT: dict[type[ast.AST], tuple[str, ...]] = {
    ast.Compare: ("left", "comparators"),
    ast.Subscript: ("slice",),
    ast.Dict: ("keys",),
    ast.Attribute: ("value",),
    ast.arguments: ("defaults", "kw_defaults"),
    ast.MatchValue: ("value",),
}
"""Node → its fields in which prose counts: what the code compares, looks up, splits or takes as a default."""

LETTER = re.compile(r"[^\W\d_]")
VALUE = "\0"


class Import(NamedTuple):
    """An import statement."""

    level: int
    """Number of dots before the module's name."""
    module: str | None
    """Where the names are imported from; None if they are modules themselves."""
    names: tuple[str, ...]


class Meaning(NamedTuple):
    """What counts of a module."""

    code: str
    imports: tuple[Import, ...]
    """The import statements, also those inside functions."""


def find_meaning(source: str, texts: bool) -> Meaning:
    """Return what counts of the source text of a module.

    Args:
        texts: whether prose counts.
    """
    tree = ast.parse(source)
    remover = _Remover(texts)
    remover.visit(tree)
    _drop_unused_imports(remover)
    return Meaning(ast.unparse(tree), tuple(_read_import(statement) for _, statement in remover.imports))


def _read_import(statement: ast.Import | ast.ImportFrom) -> Import:
    names = tuple(alias.name for alias in statement.names)
    if isinstance(statement, ast.Import):
        return Import(0, None, names)
    return Import(statement.level, statement.module or "", names)


class _Remover(ast.NodeTransformer):
    """Edits a syntax tree in place; notes its imports, with the body in which each stands, and the names it
    uses."""

    def __init__(self, texts: bool) -> None:
        self.texts = texts
        self.imports: list[tuple[list[ast.stmt], ast.Import | ast.ImportFrom]] = []
        self.names: set[str] = set()
        self._kept: set[int] = set()
        self._in_class = False

    def visit(self, node: ast.AST) -> ast.AST | list[ast.stmt] | None:
        """Return what takes the node's place: a node, some statements, or nothing."""
        for field in TEXTS_THAT_COUNT.get(type(node), ()):
            self._keep_texts(getattr(node, field))
        method = getattr(self, f"visit_{type(node).__name__}", None)
        return method(node) if method else self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Visit the children and return the node."""
        for field in node._fields:
            child = getattr(node, field, None)
            if isinstance(child, list):
                self._visit_list(child, is_body=field == "body")
            elif isinstance(child, ast.AST) and field not in ("ctx", "op"):
                setattr(node, field, self.visit(child))
        return node

    def _visit_list(self, nodes: list, is_body: bool) -> None:
        kept: list = []
        for node in nodes:
            new = self.visit(node) if isinstance(node, ast.AST) else node
            if isinstance(new, list):
                kept += new
            elif new is not None or not isinstance(node, ast.AST):
                kept.append(new)
        nodes[:] = kept or [ast.Pass()] if is_body else kept
        self.imports += [(nodes, node) for node in kept if isinstance(node, (ast.Import, ast.ImportFrom))]

    def visit_Name(self, node: ast.Name) -> ast.AST:
        self.names.add(node.id)
        return node

    # annotations, docstrings and messages

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        name = node.test.attr if isinstance(node.test, ast.Attribute) else getattr(node.test, "id", "")
        if name == "TYPE_CHECKING":
            self._visit_list(node.orelse, is_body=False)
            return node.orelse
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if _is_text(node.value) or _is_log_line(node.value) else self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        outer, self._in_class = self._in_class, True
        self.generic_visit(node)
        self._in_class = outer
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        outer, self._in_class = self._in_class, False
        node.returns = None
        self.generic_visit(node)
        self._in_class = outer
        return node

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if not self._in_class:
            return self.generic_visit(ast.Assign([node.target], node.value, lineno=0)) if node.value else None
        # in a class an annotated name can be a field of a dataclass
        annotation = ast.unparse(node.annotation)
        markers = [marker for marker in FIELD_MARKERS if marker in annotation]
        node.annotation = ast.Name(markers[0] if markers else "_", ast.Load())
        return self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        node.msg = None
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc.args, node.exc.keywords = [], []
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST | list[ast.stmt] | None:
        name = _name_of_called(node)
        last_name = name.rpartition(".")[2]
        if last_name == "cast" and name in ("cast", "typing.cast"):
            return self.visit(node.args[1])
        if last_name.endswith(EXCEPTIONS) or _is_log_line(node):
            node.args, node.keywords = [], []
        elif name in ("sys.exit", "SystemExit"):
            node.args = [argument for argument in node.args if not _is_text(argument)]
        elif last_name in HELP_CALLS:
            node.keywords = [keyword for keyword in node.keywords if keyword.arg not in HELP_KEYWORDS]
        return self.generic_visit(node)

    # prose

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if (
            not self.texts
            and isinstance(node.value, str)
            and id(node) not in self._kept
            and _is_prose(node.value)
        ):
            node.value = ""
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        literal = "".join(
            str(part.value) if isinstance(part, ast.Constant) else VALUE for part in node.values
        )
        if not self.texts and _is_prose(literal):
            node.values = [part for part in node.values if not isinstance(part, ast.Constant)]
        self._keep_texts(node.values)
        return self.generic_visit(node)

    def _keep_texts(self, parts: ast.AST | Iterable[ast.AST | None]) -> None:
        """Let the texts among these parts, and in tuples, lists and sets of them, stay as they are."""
        for part in [parts] if isinstance(parts, ast.AST) else parts:
            elements = part.elts if isinstance(part, (ast.Tuple, ast.List, ast.Set)) else [part]
            self._kept.update(id(element) for element in elements)


def _drop_unused_imports(remover: _Remover) -> None:
    """Drop imports from outside the package whose names only annotations and log lines use."""
    for body, statement in remover.imports:
        if isinstance(statement, ast.ImportFrom) and (statement.level or _is_ours(statement.module or "")):
            continue
        used = [
            alias for alias in statement.names if _is_ours(alias.name) or _bound_name(alias) in remover.names
        ]
        if used:
            statement.names = used
        else:
            body.remove(statement)
            if not body:
                body.append(ast.Pass())


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == "vaepipe"


def _bound_name(alias: ast.alias) -> str:
    """Return the name that an import binds."""
    return alias.asname or alias.name.partition(".")[0]


def _is_prose(text: str) -> bool:
    """Return whether a text has two or more words; `VALUE` stands for the values in an f-string."""
    return (
        " " in text and "->" not in text and len([word for word in text.split() if LETTER.search(word)]) > 1
    )


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _name_of_called(node: ast.Call) -> str:
    """Return the name of what is called, such as ``sys.exit``; empty if it is no plain name."""
    names: list[str] = []
    function: ast.AST = node.func
    while isinstance(function, ast.Attribute):
        names.append(function.attr)
        function = function.value
    return ".".join([function.id, *reversed(names)]) if isinstance(function, ast.Name) else ""


def _is_log_line(node: ast.AST) -> bool:
    """Return whether an expression is a call that only tells people something."""
    if not isinstance(node, ast.Call):
        return False
    name = _name_of_called(node)
    if name == "print":
        streams = [ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg == "file"]
        return all(stream in ("sys.stdout", "sys.stderr") for stream in streams)
    owner, _, method = name.rpartition(".")
    is_logger = owner.rpartition(".")[2] in LOGGERS and method in LOG_LEVELS
    return is_logger or name in ("warnings.warn", "sys.stdout.write", "sys.stderr.write")
