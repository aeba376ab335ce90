"""Expressions whose value the text alone gives, and annotations that are made of names."""

from __future__ import annotations

import ast
from typing import Any

from homeostat_agent.reload.fingerprint import same_constant

_ANNOTATION_NODES = (
    ast.Name,
    ast.Attribute,
    ast.Subscript,
    ast.Constant,
    ast.Tuple,
    ast.List,
    ast.BinOp,
    ast.BitOr,
    ast.Load,
    getattr(ast, "Index", ast.Load),
)


def is_literal(value: ast.expr) -> bool:
    """Tell whether this is a constant, or a tuple, list, set or dictionary of such; `literal_value` gives its value."""
    if isinstance(value, (ast.List, ast.Set)):
        return all(map(is_literal, value.elts)) and is_hashable_if_set(value)
    if isinstance(value, ast.Tuple):
        return all(map(is_literal, value.elts))
    if isinstance(value, ast.Dict):
        keys = [key for key in value.keys if key is not None]
        return len(keys) == len(value.keys) and all(map(is_fixed_literal, keys)) and all(map(is_literal, value.values))
    return is_fixed_literal(value)


def is_hashable_if_set(value: ast.List | ast.Set) -> bool:
    return isinstance(value, ast.List) or all(map(is_fixed_literal, value.elts))


def is_fixed_literal(value: ast.expr | None) -> bool:
    """Tell whether this is a constant that cannot be changed: a number, a text, None, or a tuple of such."""
    if isinstance(value, ast.Tuple):
        return all(map(is_fixed_literal, value.elts))
    if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.USub):
        value = value.operand
        return isinstance(value, ast.Constant) and type(value.value) in (int, float, complex)
    return isinstance(value, ast.Constant)


def literal_value(value: ast.expr) -> Any:
    """Return the value of a literal; a new object each time where it can be changed."""
    return ast.literal_eval(value)


def has_value(value: Any, node: ast.expr) -> bool:
    """Tell whether an object is what the literal gives. One that can be changed only has to be of its type."""
    if is_fixed_literal(node):
        return same_constant(value, literal_value(node))
    return type(value) is type(literal_value(node))


def is_as_written(value: Any, node: ast.expr) -> bool:
    """Tell whether an object is what the literal gives, down to what it holds. Runs nothing of the host's."""
    return _is_same(value, literal_value(node))


def _is_same(value: Any, wanted: Any) -> bool:
    if type(value) is not type(wanted):
        return False
    if type(wanted) is dict:
        return len(value) == len(wanted) and all(
            _is_same(one, other)
            for pairs in zip(value.items(), wanted.items())  # noqa: B905  3.9 has no `strict`
            for one, other in zip(*pairs)  # noqa: B905
        )
    if type(wanted) in (list, tuple):
        return len(value) == len(wanted) and all(map(_is_same, value, wanted))
    if type(wanted) is set:
        return len(value) == len(wanted) and all(any(_is_same(one, other) for other in value) for one in wanted)
    return same_constant(value, wanted)


def is_plain_annotation(value: ast.expr) -> bool:
    """Tell whether an annotation is made of names, attributes, subscripts and `|`, none of them private."""
    return all(
        isinstance(node, _ANNOTATION_NODES)
        and not (isinstance(node, ast.Name) and node.id.startswith("__"))
        and not (isinstance(node, ast.Attribute) and node.attr.startswith("__"))
        for node in ast.walk(value)
    )
