"""How much an assertion says, in four steps: so that one that says less in the place of another is seen.

4: what something is equal to. 3: which error is raised. 2: where something lies, or what it is in. 1: that there is
something. 0: nothing.
"""

import ast

_STEPS = (
    dict.fromkeys(
        [
            "Equal",
            "Equals",
            "Is",
            "NotEqual",
            "AlmostEqual",
            "ListEqual",
            "DictEqual",
            "SetEqual",
            "TupleEqual",
            "SequenceEqual",
            "CountEqual",
            "MultiLineEqual",
            "HTMLEqual",
            "JSONEqual",
            "XMLEqual",
            "QuerysetEqual",
            "QuerySetEqual",
            "NumQueries",
            "Redirects",
            "called_with",
            "called_once_with",
            "has_calls",
            "any_call",
            "awaited_with",
            "awaited_once_with",
        ],
        4,
    )
    | dict.fromkeys(
        [
            "Raises",
            "RaisesRegex",
            "RaisesMessage",
            "Warns",
            "WarnsRegex",
            "WarnsMessage",
            "Logs",
            "NoLogs",
            "called_once",
            "not_called",
        ],
        3,
    )
    | dict.fromkeys(
        [
            "In",
            "NotIn",
            "IsNone",
            "IsInstance",
            "NotIsInstance",
            "Greater",
            "GreaterEqual",
            "Less",
            "LessEqual",
            "Regex",
            "NotRegex",
            "Contains",
            "NotContains",
            "TemplateUsed",
            "FormError",
        ],
        2,
    )
)
"""Of `unittest`, mocks and Django, without ``assert``; any other says 1."""

_ANY_ERROR = ("Exception", "BaseException")


def of_test(test: ast.expr) -> int:
    """Return how much `assert test` says."""
    if isinstance(test, ast.BoolOp):
        parts = [of_test(value) for value in test.values]
        return sum(parts) if isinstance(test.op, ast.And) else min(parts)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return of_test(test.operand)
    if isinstance(test, ast.Compare):
        return sum(_of_comparison(operator, side) for operator, side in zip(test.ops, test.comparators, strict=True))
    return 0 if isinstance(test, ast.Constant) else 1


def _of_comparison(operator: ast.cmpop, side: ast.expr) -> int:
    is_none = isinstance(side, ast.Constant) and side.value is None
    if isinstance(operator, ast.IsNot | ast.NotEq):
        return 1 if is_none else 2
    return 4 if isinstance(operator, ast.Eq | ast.Is) else 2


def of_call(call: ast.Call) -> int:
    """Return how much a call of an assertion says, as ``self.assertEqual(a, b)``."""
    name = (
        call.func.attr
        if isinstance(call.func, ast.Attribute)
        else call.func.id
        if isinstance(call.func, ast.Name)
        else ""
    )
    name = name.removeprefix("assert").removeprefix("_")
    if name in ("True", "False", "") and call.args:
        return of_test(call.args[0])
    step = _STEPS.get(name, 1)
    return 1 if step == 3 and call.args and _is_any_error(call.args[0]) else step


def of_context(context: ast.expr) -> int:
    """Return how much `with context:` says, as ``pytest.raises(KeyError)``."""
    if not isinstance(context, ast.Call) or not isinstance(context.func, ast.Attribute | ast.Name):
        return 0
    name = context.func.attr if isinstance(context.func, ast.Attribute) else context.func.id
    if name in ("raises", "warns"):
        matched = any(word.arg == "match" for word in context.keywords)
        return (1 if context.args and _is_any_error(context.args[0]) else 3) + matched
    return of_call(context) if name.startswith("assert") else 0


def _is_any_error(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in _ANY_ERROR
