"""Changed docstrings, from the text: whose they are, and who may have read them when they were registered.

Whoever asks from now on meets the new text. A decorator, a metaclass or a registration that made a page or a help
text of the old one keeps that: where the text shows such a one, it needs a restart.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from homeostat_agent.reload.importtime import run_at_import
from homeostat_agent.reload.newnames import OF_A_PROPERTY
from homeostat_agent.reload.outline import ClassOutline, FunctionOutline, ModuleOutline, run_with
from homeostat_agent.reload.syntax import last_name

READ_DOCSTRINGS = frozenset({"__doc__", "getdoc"})

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_READ_NONE = OF_A_PROPERTY | {
    "staticmethod",
    "classmethod",
    "property",
    "lru_cache",
    "cache",
    "wraps",
    "contextmanager",
    "asynccontextmanager",
}
"""Decorators that keep no copy of a docstring, or one that goes along with it."""

_ONLY_HOLD = _READ_NONE | {
    "Depends",
    "Security",
    "partial",
    "partialmethod",
    "update_wrapper",
    "isinstance",
    "issubclass",
    "callable",
    "type",
    "id",
}


@dataclass(frozen=True)
class ChangedDocstring:
    """The docstring of a module or class, as it is written; None where there is none."""

    owners: Optional[tuple[ClassOutline, ClassOutline]]
    """The class, in both outlines; None: the module."""

    old: Optional[str]
    new: Optional[str]

    @property
    def qualname(self) -> str:
        return self.owners[1].qualname if self.owners is not None else "<module>"

    @property
    def line(self) -> int:
        return self.owners[1].node.lineno if self.owners is not None else 1


def kept_docstring(written: str | None) -> str | None:
    """Return what this interpreter keeps of a docstring: some strip its indentation, some options leave it out."""
    space: dict[str, Any] = {}
    if written is not None:
        tree = ast.fix_missing_locations(ast.Module([ast.Expr(ast.Constant(written))], []))
        exec(compile(tree, "<docstring>", "exec", dont_inherit=True), space)  # noqa: S102 - nothing but a text
    found: str | None = space.get("__doc__")
    return found


def docstring_changed(old: FunctionOutline, new: FunctionOutline) -> bool:
    """Tell whether two definitions of a function differ in their docstrings."""
    return ast.get_docstring(old.node, clean=False) != ast.get_docstring(new.node, clean=False)


class DocstringRules:
    """Says of docstrings what stands against giving them to something that runs."""

    def __init__(self, sides: tuple[ModuleOutline, ModuleOutline]) -> None:
        self._sides = sides
        self._read = any(_reads_at_import(side.tree) for side in sides)
        self._given = {name for side in sides for name in _given_to_readers(side.tree.body)}

    def of_owner(self, item: ChangedDocstring) -> str:
        """Return why the docstring of a module or class cannot be exchanged; empty when it can."""
        if self._read:
            return "a docstring changed, and import reads one"
        if item.owners is None:
            return ""
        for side in item.owners:
            names = side.decorator_names()
            if any(name != "dataclass" for name in names) or side.node.keywords:
                return "the docstring of a class with decorators or keywords changed"
            if names and (item.old is None or item.new is None):
                return "a dataclass makes its docstring where none is written"
        return "the docstring of a class changed that import hands on" if item.owners[1].name in self._given else ""

    def of_function(self, new: FunctionOutline) -> str:
        """Return why a changed docstring of a function cannot be exchanged with its code; empty when it can."""
        if self._read:
            return "its docstring changed, and import reads one"
        own = {node.name for side in self._sides for node in side.tree.body if isinstance(node, _FUNCTIONS)}
        for name in new.decorator_names():
            if name not in _READ_NONE and name not in own:
                return f"its docstring changed, which `{name}` may have read"
        return "its docstring changed, and import hands it on" if new.name in self._given else ""


def _reads_at_import(tree: ast.Module) -> bool:
    ran = run_at_import(tree)
    nodes = [node for statement in tree.body for node in run_with(statement)]
    functions = [node for node in ast.walk(tree) if isinstance(node, _FUNCTIONS)]
    decorators = {last_name(item) for node in functions for item in node.decorator_list}
    for function in functions:
        # What decorates functions of this module runs at import, whatever it does with them.
        if (function.name, function.lineno) in ran or function.name in decorators:
            nodes.extend(ast.walk(function))
    return any(
        getattr(node, "attr", getattr(node, "id", getattr(node, "name", ""))) in READ_DOCSTRINGS
        and not isinstance(getattr(node, "ctx", None), ast.Store)
        for node in nodes
    )


def _given_to_readers(body: Sequence[ast.stmt]) -> set[str]:
    return {
        inner.id
        for statement in body
        for node in run_with(statement)
        if isinstance(node, ast.Call) and last_name(node.func) not in _ONLY_HOLD
        for value in (*node.args, *(keyword.value for keyword in node.keywords))
        for inner in ast.walk(value)
        if isinstance(inner, ast.Name)
    }
