"""The outline of a module: its definitions, each with what may and what may not change while it runs.

Two outlines are compared by `homeostat_agent.reload.compare`. Text is compared as `ast.dump` without
positions, so layout and comments do not count, and the types of constants do.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Union

FunctionNode = Union[ast.FunctionDef, ast.AsyncFunctionDef]

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class FunctionOutline:
    """A function. Its *own* part is its body with the bodies of functions inside it left out."""

    name: str
    qualname: str
    node: FunctionNode
    own: str
    inner: tuple[FunctionOutline | ClassOutline, ...]
    """Functions and classes defined directly in its body, in order, in whatever statement."""

    @property
    def key(self) -> tuple[str, int]:
        """Name and first line: unique in a file, and found again in the code object."""
        return (self.name, first_line(self.node))

    def header(self) -> dict[str, str]:
        """Return what callers and import-time code see of it, part by part."""
        return {
            "kind": type(self.node).__name__,
            "decorators": _dump(self.node.decorator_list),
            "signature": _names_in(self.node.args),
            "defaults": _dump(self.node.args.defaults) + _dump_each(self.node.args.kw_defaults),
            "annotations": repr({name: _dump(value) for name, value in annotations_of(self.node).items()}),
            "type parameters": _dump(getattr(self.node, "type_params", [])),
        }

    def decorator_names(self) -> list[str]:
        """Return the last part of each decorator's name: `cache` for `@functools.cache` and `@cache()`."""
        return _names_of(self.node.decorator_list)


@dataclass(frozen=True)
class ClassOutline:
    """A class: its header, and its body in order."""

    name: str
    qualname: str
    node: ast.ClassDef
    items: tuple[Item, ...]

    @property
    def key(self) -> tuple[str, int]:
        """Name and first line, as those of a function."""
        return (self.name, first_line(self.node))

    def header(self) -> dict[str, str]:
        return {
            "bases or keywords": _dump(self.node.bases) + _dump(self.node.keywords),
            "decorators": _dump(self.node.decorator_list),
            "type parameters": _dump(getattr(self.node, "type_params", [])),
        }

    def decorator_names(self) -> list[str]:
        """Return the last part of each decorator's name; it is empty where it has none."""
        return _names_of(self.node.decorator_list)


@dataclass(frozen=True)
class Statement:
    """Any other statement of a module's or class's body, whole: definitions inside it included.

    An import of several names is as many statements.
    """

    node: ast.stmt
    text: str


Item = Union[FunctionOutline, ClassOutline, Statement]


@dataclass(frozen=True)
class ModuleOutline:
    """A module's top level, in order."""

    tree: ast.Module
    items: tuple[Item, ...]


def outline_module(tree: ast.Module) -> ModuleOutline:
    """Return the outline of a parsed module."""
    return ModuleOutline(tree=tree, items=_items(tree.body, prefix=""))


def first_line(node: FunctionNode | ast.ClassDef) -> int:
    """Return the line that a code object of this definition starts on: that of its first decorator."""
    return min([node.lineno, *(item.lineno for item in node.decorator_list)])


def functions_of(items: tuple[Item, ...]) -> list[FunctionOutline]:
    """Return every function below these items, to any depth, outer before inner."""
    found = []
    for item in items:
        if isinstance(item, FunctionOutline):
            found.append(item)
            found.extend(functions_of(item.inner))
        elif isinstance(item, ClassOutline):
            found.extend(functions_of(item.items))
    return found


def _names_of(decorators: list[ast.expr]) -> list[str]:
    targets = [item.func if isinstance(item, ast.Call) else item for item in decorators]
    return [str(getattr(target, "attr", getattr(target, "id", ""))) for target in targets]


def parameters_of(arguments: ast.arguments) -> list[ast.arg]:
    """Return every parameter, those of `*args` and `**kwargs` at the end."""
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return [argument for argument in every if argument is not None]


def annotations_of(node: FunctionNode) -> dict[str, ast.expr]:
    """Return the annotation of each parameter that has one, and that of what is returned."""
    found = {item.arg: item.annotation for item in parameters_of(node.args) if item.annotation is not None}
    return {**found, "return": node.returns} if node.returns is not None else found


def owners_of(side: ModuleOutline, qualname: str) -> list[ClassOutline]:
    """Return the classes around a definition, outer before inner."""
    items, found = side.items, []
    for name in qualname.split(".")[:-1]:
        owner = next((item for item in items if isinstance(item, ClassOutline) and item.name == name), None)
        if owner is None:
            break
        found.append(owner)
        items = owner.items
    return found


def docstring_of_items(items: tuple[Item, ...]) -> str | None:
    """Return the docstring of a module or class, as it is written."""
    first = items[0].node if items else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return first.value.value
    return None


def names_read(body: list[ast.stmt], but: frozenset[int] = frozenset()) -> set[str]:
    """Return the names that these statements mention when they run: bodies of functions are left out.

    Decorators, defaults, annotations (also those written as text, which a dataclass reads) and the bodies of
    classes are in; expressions whose `id` is in `but` are not.
    """
    ran = [node for statement in body for node in run_with(statement, but)]
    found = {node.id for node in ran if isinstance(node, ast.Name)}
    told = [
        inner
        for node in ran
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if isinstance(annotation, ast.expr) and id(annotation) not in but
        for inner in ast.walk(annotation)
    ]
    for node in told:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.update(_WORD.findall(node.value))
    return found


def run_with(node: ast.AST, but: frozenset[int] = frozenset()) -> list[ast.AST]:
    """Return the nodes that run when a statement does: bodies of functions are left out, and `but` by `id`."""
    found = [node]
    for child in ast.iter_child_nodes(node):
        inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and child in node.body
        if not inside and id(child) not in but:
            found.extend(run_with(child, but))
    return found


def _items(body: list[ast.stmt], *, prefix: str) -> tuple[Item, ...]:
    return tuple(_item(node, prefix=prefix) for statement in body for node in _each_import(statement))


def _each_import(node: ast.stmt) -> list[ast.stmt]:
    if not isinstance(node, (ast.Import, ast.ImportFrom)) or len(node.names) == 1:
        return [node]
    found: list[ast.stmt] = []
    for alias in node.names:
        single = ast.Import([alias]) if isinstance(node, ast.Import) else copy.copy(node)
        single.names = [alias]
        found.append(ast.copy_location(single, node))
    return found


def _item(node: ast.stmt, *, prefix: str) -> Item:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return _function(node, prefix=prefix)
    if isinstance(node, ast.ClassDef):
        qualname = prefix + node.name
        return ClassOutline(node.name, qualname, node, _items(node.body, prefix=qualname + "."))
    return Statement(node, _dump(node))


def _function(node: FunctionNode, *, prefix: str) -> FunctionOutline:
    qualname = prefix + node.name
    inner = []
    for child in _definitions_in(node.body):
        item = _item(child, prefix=qualname + ".<locals>.")
        assert not isinstance(item, Statement)
        inner.append(item)
    stripped = _StripBodies().strip(node.body) if inner else node.body
    return FunctionOutline(
        name=node.name,
        qualname=qualname,
        node=node,
        own=_dump(stripped),
        inner=tuple(inner),
    )


def _definitions_in(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return the definitions directly in a function's body, in order, not those inside these."""
    found: list[ast.stmt] = []

    def walk(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                found.append(child)
            elif not isinstance(child, ast.expr):  # a definition is never inside an expression
                walk(child)

    walk(ast.Module(body=body, type_ignores=[]))
    return found


class _StripBodies(ast.NodeTransformer):
    """Empties the bodies of functions, also of methods in local classes, and keeps all the rest."""

    def strip(self, body: list[ast.stmt]) -> list[ast.stmt]:
        return [self.visit(copy.deepcopy(node)) for node in body]

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.body = []
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.body = []
        return node


def _names_in(arguments: ast.arguments) -> str:
    """Return parameters as they are without defaults and annotations: names, by kind."""
    kinds = (arguments.posonlyargs, arguments.args, [arguments.vararg], arguments.kwonlyargs, [arguments.kwarg])
    return repr([[item and item.arg for item in kind] for kind in kinds])


def _dump_each(parts: Sequence[ast.AST | None]) -> str:
    return "[" + ", ".join(map(_dump, parts)) + "]"


def _dump(part: ast.AST | Sequence[ast.AST] | None) -> str:
    if part is None:
        return "None"
    if not isinstance(part, ast.AST):
        return "[" + ", ".join(ast.dump(item) for item in part) + "]"
    return ast.dump(part)
