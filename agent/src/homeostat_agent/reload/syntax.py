"""What `homeostat_agent.reload.importtime` asks of a module's syntax: who takes functions, and who may call them."""

from __future__ import annotations

import ast

from homeostat_agent.reload.outline import FunctionNode

KEEP_WITHOUT_CALLING = frozenset(
    {
        "Depends",
        "Security",
        "partial",
        "partialmethod",
        "property",
        "staticmethod",
        "classmethod",
        "cached_property",
        "wraps",
        "update_wrapper",
        "signal",
        "Route",
        "WebSocketRoute",
        "Mount",
        "path",
        "re_path",
        "url",
        "field",
        "Field",
        "defaultdict",
        "isinstance",
        "issubclass",
        "id",
        "callable",
        "super",
        "lru_cache",
        "cache",
        "singledispatch",
        "contextmanager",
        "asynccontextmanager",
        "exception_handler",
        "errorhandler",
        "middleware",
        "setattr",
    }
)
KEEP_PREFIXES = ("add_", "register", "on_", "subscribe", "connect", "include_")
"""Methods that take a function to be called later: `add_api_route`, `register`, `on_event`, ..."""

_ONLY_LOOK = frozenset(
    {
        "append",
        "setdefault",
        "getattr",
        "hasattr",
        "type",
        "str",
        "repr",
        "len",
        "print",
        "signature",
        "iscoroutinefunction",
        "isgeneratorfunction",
        "isasyncgenfunction",
        "isclass",
        "isfunction",
    }
)


def last_name(target: ast.expr) -> str:
    """Return the name at the end of a dotted one, whatever its subscript."""
    while isinstance(target, ast.Subscript):
        target = target.value
    return target.attr if isinstance(target, ast.Attribute) else target.id if isinstance(target, ast.Name) else ""


def bound_in(item: ast.ClassDef) -> list[tuple[str, ast.expr]]:
    """Return the names that a class's body assigns, with the values."""
    found: list[tuple[str, ast.expr]] = []
    for node in item.body:
        if isinstance(node, ast.Assign):
            found.extend((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            found.append((node.target.id, node.value))
    return found


def names_in(value: ast.expr) -> set[str]:
    """Return names that a value may hold: what it calls runs now, and is not in it."""
    called = [node.func for node in ast.walk(value) if isinstance(node, ast.Call)]
    return {node.id for node in ast.walk(value) if isinstance(node, ast.Name) and node not in called}


def names_in_displays(argument: ast.expr) -> list[str]:
    """Return names that are an argument itself or stand in a display that is one."""
    if isinstance(argument, ast.Name):
        return [argument.id]
    if isinstance(argument, (ast.List, ast.Tuple, ast.Set)):
        return [name for item in argument.elts for name in names_in_displays(item)]
    if isinstance(argument, ast.Dict):
        return [name for item in argument.values for name in names_in_displays(item)]
    if isinstance(argument, ast.Starred):
        return names_in_displays(argument.value)
    if isinstance(argument, ast.IfExp):
        return names_in_displays(argument.body) + names_in_displays(argument.orelse)
    if isinstance(argument, ast.BoolOp):
        return [name for item in argument.values for name in names_in_displays(item)]
    return []


def uses_parameters(function: FunctionNode) -> bool:
    """Tell whether a call of this function may call one of its arguments, or hands it on."""
    arguments = function.args
    parameters = {
        item.arg
        for item in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg)
        if item is not None
    }
    for node in _own_nodes(function):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in parameters - {"self", "cls"}:
                return True
            target = last_name(node.func)
            if target in KEEP_WITHOUT_CALLING or target in _ONLY_LOOK:
                continue
            values = [*node.args, *(keyword.value for keyword in node.keywords)]
            if any(name in parameters for value in values for name in names_in_displays(value)):
                return True
    return False


def _own_nodes(function: FunctionNode) -> list[ast.AST]:
    """Return the nodes of a body without those of functions defined in it (their decorators are in)."""
    found: list[ast.AST] = []

    def walk(node: ast.AST) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for decorator in node.decorator_list:
                walk(decorator)
            return
        found.append(node)
        for child in ast.iter_child_nodes(node):
            walk(child)

    for item in function.body:
        walk(item)
    return found


def inner_functions(function: FunctionNode) -> list[FunctionNode]:
    """Return the functions defined in a body, not those inside these."""
    found: list[FunctionNode] = []

    def walk(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                found.append(child)
            else:
                walk(child)

    for item in function.body:
        if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found.append(item)
        else:
            walk(item)
    return found


def is_main_guard(test: ast.expr) -> bool:
    """Tell whether a condition is `__name__ == "__main__"`."""
    return (
        isinstance(test, ast.Compare)
        and isinstance(test.left, ast.Name)
        and test.left.id == "__name__"
        and len(test.ops) == 1
        and isinstance(test.ops[0], ast.Eq)
        and isinstance(test.comparators[0], ast.Constant)
        and test.comparators[0].value == "__main__"
    )
