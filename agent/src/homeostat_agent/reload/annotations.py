"""Changed annotations, from the text: whose they are, what they give, and what stands against exchanging them.

A function, a class or a module holds its annotations, so whoever asks from now on meets the new ones. Whoever asked
before does not: a decorator, a metaclass, a registration. Where the text shows such a one, it needs a restart.
"""

from __future__ import annotations
import __future__

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from homeostat_agent.reload.defaults import KEPT_AS_THEY_ARE, READ_SIGNATURES, given_to_calls, seen_at_import
from homeostat_agent.reload.literals import is_plain_annotation
from homeostat_agent.reload.newnames import OF_A_PROPERTY, RUN_BY_CLASS_CREATION, bound_names
from homeostat_agent.reload.outline import (
    ClassOutline,
    FunctionNode,
    FunctionOutline,
    ModuleOutline,
    Statement,
    annotations_of,
    owners_of,
    parameters_of,
)
from homeostat_agent.reload.syntax import last_name

_MADE_FROM_ANNOTATIONS = frozenset({"NamedTuple", "TypedDict", "Protocol", "BaseModel", "Struct"})
"""Bases that make of the annotations of a class what it is."""

_ASKED_ONCE = frozenset({"__init__", "__new__", "__call__", "__post_init__"}) | RUN_BY_CLASS_CREATION
_ASKED = "somebody may have asked for them"


@dataclass(frozen=True)
class ChangedVariable:
    """A variable of a module or class whose annotation gives another value."""

    name: str
    owners: Optional[tuple[ClassOutline, ClassOutline]]
    """The class, in both outlines; None: the module."""

    old: ast.AnnAssign
    new: ast.AnnAssign

    @property
    def qualname(self) -> str:
        return f"{self.owners[1].qualname}.{self.name}" if self.owners is not None else self.name

    def given(self, texts: tuple[bool, bool]) -> tuple[tuple[ast.AnnAssign, bool], tuple[ast.AnnAssign, bool]]:
        """Return both statements, each with whether its annotation is kept as text."""
        return (self.old, texts[0]), (self.new, texts[1])


def variable_name(item: Statement) -> str:
    """Return the plain name that a statement annotates; empty where it does anything else."""
    node = item.node
    if isinstance(node, ast.AnnAssign) and node.simple and isinstance(node.target, ast.Name):
        return node.target.id
    return ""


def tells_all_as_text(tree: ast.Module) -> bool:
    """Tell whether a module keeps its annotations as texts."""
    return any(
        isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and any(alias.name == "annotations" for alias in node.names)
        for node in tree.body
    )


def names_in_annotations(expressions: Sequence[ast.expr]) -> set[str]:
    """Return the names that evaluating annotations looks up; those inside of texts are not."""
    return {part.id for value in expressions for part in ast.walk(value) if isinstance(part, ast.Name)}


class AnnotationRules:
    """Says of annotations what stands against giving them to something that runs."""

    def __init__(self, old: ModuleOutline, new: ModuleOutline, texts: tuple[bool, bool]) -> None:
        self._old, self._new, self._texts = old, new, texts
        self._bound = bound_names(new.tree)

    def of_function(self, old: FunctionOutline, new: FunctionOutline) -> str:
        """Return why the annotations of a function of a module or class cannot be exchanged; empty when they can."""
        what = "the annotations of"
        if not all(_is_harmless(item, new.name) for item in new.node.decorator_list):
            return f"{what} a decorated function changed"
        if new.name in _ASKED_ONCE:
            return f"{what} a special method changed"
        owners = owners_of(self._new, new.qualname)
        if any(getattr(item, "type_params", []) for item in (new.node, *(owner.node for owner in owners))):
            return f"{what} something with type parameters changed"
        if owners and any(item.arg.startswith("__") for item in parameters_of(new.node.args)):
            return f"{what} a method with parameters of private names changed"
        before, after = (list(annotations_of(item.node).values()) for item in (old, new))
        for side in (self._old, self._new):
            reason = seen_at_import(new, side, "its annotations", harmless=frozenset({"dataclass"}))
            if reason:
                return reason
        return self._values_obstacle(before, after, new.node, owners[-1] if owners else None)

    def of_variable(self, item: ChangedVariable) -> str:
        """Return why the annotation of a variable cannot be exchanged; empty when it can."""
        if item.owners is not None:
            node = item.owners[1].node
            if "<locals>" in item.qualname or item.name.startswith("__") or getattr(node, "type_params", []):
                return "an annotation changed in a class that is not as others"
            bases = {last_name(base) for base in node.bases}
            made = sorted(bases & _MADE_FROM_ANNOTATIONS)
            if made:
                return f"an annotation changed, of which `{made[0]}` made the class"
            if node.decorator_list or node.keywords:
                return "an annotation changed in a class with decorators or keywords"
            if any(item.owners[1].name in given_to_calls(part) for side in self._sides for part in side.tree.body):
                return "an annotation changed, and import hands its class on"
        for side in self._sides:
            if _mentions_readers(side.tree):
                return f"an annotation changed, and {_ASKED}"
        scope = item.owners[1].node.body if item.owners is not None else self._new.tree.body
        found = [part for part in ast.walk(ast.Module(scope, [])) if isinstance(part, ast.AnnAssign)]
        if sum(isinstance(part.target, ast.Name) and part.target.id == item.name for part in found) > 1:
            return "an annotation changed of a name that has several"
        owner = item.owners[1] if item.owners is not None else None
        return self._values_obstacle([item.old.annotation], [item.new.annotation], item.new, owner)

    def of_addition(self, owner: ClassOutline | None, item: FunctionOutline) -> str:
        """Return why the annotations of a new function cannot be evaluated as import would."""
        return self._values_obstacle([], list(annotations_of(item.node).values()), item.node, owner)

    @property
    def _sides(self) -> tuple[ModuleOutline, ModuleOutline]:
        return (self._old, self._new)

    def _values_obstacle(
        self, before: list[ast.expr], after: list[ast.expr], place: ast.stmt, owner: ClassOutline | None
    ) -> str:
        for expressions, as_text in ((before, self._texts[0]), (after, self._texts[1])):
            if not as_text and not all(map(is_plain_annotation, expressions)):
                return "an annotation is more than names"
        if self._texts[1]:
            return ""
        # What `def` statements of the module had bound when this one ran: those before it.
        top = next(item for item in self._new.tree.body if item.lineno <= place.lineno <= (item.end_lineno or 0))
        earlier = bound_names(ast.Module([item for item in self._new.tree.body if item.lineno < top.lineno], []))
        body = owner.node.body if owner is not None else []
        own = bound_names(ast.Module(body, []))
        own_earlier = bound_names(ast.Module([item for item in body if item.lineno < place.lineno], []))
        for name in sorted(names_in_annotations(after)):
            if own.get(name, self._bound.get(name, 0)) > 1:
                return f"an annotation names `{name}`, which is bound more than once"
            if name in own and name not in own_earlier:
                return f"an annotation names `{name}`, which the class binds later"
            if name in self._bound and name not in own and name not in earlier:
                return f"an annotation names `{name}`, which import binds later"
        return ""


def evaluated(node: FunctionNode, *, as_text: bool, namespace: dict[str, Any], names: Mapping[str, Any]) -> Any:
    """Return the annotations that a `def` statement would give its function; `names` go before those of the module.

    Raises whatever evaluating an annotation raises (`NameError` mostly), and `ValueError` for one that is more than
    names. Nothing is stored.
    """
    if not annotations_of(node):
        return {}
    _check(list(annotations_of(node).values()), as_text)
    # The interpreter itself evaluates them, in a `def` with an empty body that is then thrown away,
    # so that `from __future__ import annotations` gives the very strings an import would give.
    stub = ast.FunctionDef(
        name=node.name, args=_without_defaults(node.args), body=[ast.Pass()], decorator_list=[], returns=node.returns
    )
    if "type_params" in ast.FunctionDef._fields:
        setattr(stub, "type_params", [])  # noqa: B010 - the field is new in 3.12
    return _run(ast.copy_location(stub, node), as_text, namespace, names)[node.name].__annotations__


def evaluated_variable(
    node: ast.AnnAssign, *, as_text: bool, namespace: dict[str, Any], names: Mapping[str, Any]
) -> Any:
    """Return what the annotation of a variable gives; raises as `evaluated` does."""
    _check([node.annotation], as_text)
    stub = ast.AnnAssign(target=ast.Name("x", ast.Store()), annotation=node.annotation, value=None, simple=1)
    scratch = _run(ast.copy_location(stub, node), as_text, namespace, names)
    return scratch["__annotations__"]["x"]


def same_annotations(one: Any, other: Any) -> bool:
    """Tell whether two annotations, or dictionaries of such, are the same, and not only equal."""
    try:
        return type(one) is type(other) and bool(one == other) and repr(one) == repr(other)
    except Exception:  # what an annotation holds may be of the host's making
        return False


def _check(expressions: list[ast.expr], as_text: bool) -> None:
    if not as_text and not all(map(is_plain_annotation, expressions)):
        raise ValueError("an annotation is more than names")


def _run(stub: ast.stmt, as_text: bool, namespace: dict[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    tree = ast.fix_missing_locations(ast.Module(body=[stub], type_ignores=[]))
    flags = __future__.annotations.compiler_flag if as_text else 0
    compiled = compile(tree, "<annotations>", "exec", flags=flags, dont_inherit=True)
    scratch: dict[str, Any] = dict(names)
    exec(compiled, namespace, scratch)  # noqa: S102 - names, attributes, subscripts and `|` of an approved change
    return scratch


def _without_defaults(arguments: ast.arguments) -> ast.arguments:
    return ast.arguments(
        posonlyargs=arguments.posonlyargs,
        args=arguments.args,
        vararg=arguments.vararg,
        kwonlyargs=arguments.kwonlyargs,
        kw_defaults=[None] * len(arguments.kwonlyargs),
        kwarg=arguments.kwarg,
        defaults=[],
    )


def _is_harmless(decorator: ast.expr, name: str) -> bool:
    """Tell whether a decorator does not look at annotations: that of a static or class method, or a property."""
    if isinstance(decorator, ast.Name):
        return decorator.id in KEPT_AS_THEY_ARE or decorator.id == "property"
    return (
        isinstance(decorator, ast.Attribute)
        and decorator.attr in OF_A_PROPERTY
        and isinstance(decorator.value, ast.Name)
        and decorator.value.id == name
    )


def _mentions_readers(tree: ast.Module) -> bool:
    return any(
        getattr(node, "attr", getattr(node, "id", getattr(node, "name", ""))) in READ_SIGNATURES
        for node in ast.walk(tree)
    )
