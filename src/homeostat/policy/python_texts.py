"""What constants alone say in a Python source: texts that are put together, arguments by name, docstrings. Pure."""

import ast
from collections.abc import Iterator, Sequence

_MOST_CHARS = 2000
_DEPTH = 60


def folded(node: ast.expr, depth: int = 0) -> str | None:
    """Return the text that an expression is, as far as constants alone make it up; None where they do not."""
    if depth > _DEPTH:
        return None
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bytes):
            return node.value.decode("latin-1")
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = folded(node.left, depth + 1), folded(node.right, depth + 1)
        return None if left is None or right is None else (left + right)[:_MOST_CHARS]
    if isinstance(node, ast.JoinedStr):
        parts = [folded(part, depth + 1) for part in node.values]
        return None if None in parts else "".join(part or "" for part in parts)[:_MOST_CHARS]
    if isinstance(node, ast.FormattedValue):
        return folded(node.value, depth + 1)
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
        text, step = folded(node.value, depth + 1), node.slice.step
        backwards = isinstance(step, ast.UnaryOp) and isinstance(step.op, ast.USub)
        return text[::-1] if text is not None and backwards else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "join" and node.args:
        between, listed = folded(node.func.value, depth + 1), node.args[0]
        if between is not None and isinstance(listed, ast.List | ast.Tuple):
            parts = [folded(part, depth + 1) for part in listed.elts]
            return None if None in parts else between.join(part or "" for part in parts)[:_MOST_CHARS]
    return None


def constant(node: ast.expr) -> object:
    return node.value if isinstance(node, ast.Constant) else ...


def keywords(node: ast.Call) -> Iterator[ast.keyword]:
    """Yield what a call gives by name, also as ``**{"name": value}``."""
    for word in node.keywords:
        yield word
        if word.arg is None and isinstance(word.value, ast.Dict):
            for key, value in zip(word.value.keys, word.value.values, strict=True):
                name = None if key is None else folded(key)
                if name is not None:
                    yield ast.keyword(arg=name, value=value)


def built(node: ast.expr) -> str | None:
    """Return how a text begins that is made of constants and values; None where it is not made so."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return folded(node.func.value)
    if isinstance(node, ast.JoinedStr):
        return None if folded(node) is not None else (folded(node.values[0]) or "")
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        if folded(node) is not None:
            return None
        left = node.left
        return built(left) if isinstance(left, ast.BinOp) and folded(left) is None else folded(left)
    return None


def walked(tree: ast.AST) -> list[ast.AST]:
    """Return all nodes as `ast.walk` yields them, in half its time."""
    nodes = [tree]
    for node in nodes:  # which grows meanwhile
        for name in node._fields:
            value = getattr(node, name, None)
            if value.__class__ is list:
                nodes += [item for item in value if isinstance(item, ast.AST)]
            elif isinstance(value, ast.AST):
                nodes.append(value)
    return nodes


def docstrings(nodes: Sequence[ast.AST]) -> set[int]:
    found = set()
    for node in nodes:
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            found.add(id(first.value))
    return found
