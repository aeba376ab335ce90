"""Which functions of a module run while it is imported, as far as its own source shows.

What such a function returned or did then would stay as the old body made it, so a changed body
needs a restart. The answer errs towards *runs*: names are followed without types (a method counts
when an attribute of its name is read), a function handed to an unknown callable counts as called,
and a call through a variable counts as a call of everything that is held in variables. Decorating
and the usual ways to register a function do not count as calls of it. What other modules do with
these functions while they are imported cannot be seen here.
"""

from __future__ import annotations

import ast
import builtins

from homeostat_agent.reload.outline import FunctionNode as _Function
from homeostat_agent.reload.outline import names_read

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

_KEEP_WITHOUT_CALLING = frozenset(
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
_KEEP_PREFIXES = ("add_", "register", "on_", "subscribe", "connect", "include_")
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
_OPAQUE = frozenset({"exec", "eval", "globals", "locals", "vars", "__import__", "compile"})
_BASE_HOOKS = frozenset({"__init_subclass__", "__class_getitem__", "__mro_entries__", "__prepare__"})


def run_at_import(tree: ast.Module) -> set[tuple[str, int]]:
    """Return (name, line of `def`) of every function that may run while the module is imported."""
    trace = _Trace(tree)
    trace.execute(tree.body)
    trace.settle()
    return {(node.name, node.lineno) for node in trace.run}


def run_inside(tree: ast.Module, roots: list[_Function]) -> set[tuple[str, int]]:
    """Return (name, line of `def`) of every function that a call of `roots` may call, roots left out."""
    trace = _Trace(tree)
    for root in roots:
        trace.call(root)
    trace.settle()
    return {(node.name, node.lineno) for node in trace.run if node not in roots}


class _Trace:
    """A worklist over the syntax tree; `run` grows until nothing new is reached."""

    def __init__(self, tree: ast.Module) -> None:
        self.run: list[_Function] = []
        self._functions: dict[str, list[_Function]] = {}
        self._methods: dict[str, list[_Function]] = {}
        self._classes: dict[str, list[ast.ClassDef]] = {}
        self._imported: set[str] = set()
        self._made: list[ast.ClassDef] = []
        self._held: set[str] = set()
        self._dynamic = False
        self._opaque = False
        in_classes: set[ast.AST] = set()
        for node in ast.walk(tree):  # breadth first: a class comes before its methods
            if isinstance(node, _FUNCTIONS):
                if node not in in_classes:
                    self._functions.setdefault(node.name, []).append(node)
            elif isinstance(node, ast.ClassDef):
                self._classes.setdefault(node.name, []).append(node)
                for item in ast.walk(node):
                    if isinstance(item, _FUNCTIONS):
                        self._methods.setdefault(item.name, []).append(item)
                # A method is not reached by its bare name, except from the class's own body.
                bare = names_read(node.body)
                in_classes.update(item for item in node.body if isinstance(item, _FUNCTIONS) and item.name not in bare)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                self._imported.update((alias.asname or alias.name).split(".")[0] for alias in node.names)

    def execute(self, body: list[ast.stmt]) -> None:
        """Follow statements that run; bodies of functions defined in them do not run by that alone."""
        for node in body:
            _Visitor(self).visit(node)

    def call(self, function: _Function) -> None:
        if function not in self.run:
            self.run.append(function)
            self.execute(function.body)

    def call_name(self, name: str) -> None:
        """Follow a call of whatever this name may mean."""
        known = False
        for function in self._functions.get(name, ()):
            known = True
            self.call(function)
            if function.decorator_list:
                self._dynamic = True  # what is called is what the decorator made of it
        for item in self._classes.get(name, ()):
            known = True
            self.make(item)
        if name in _OPAQUE:
            self._opaque = True
        if not known and name not in self._imported and not hasattr(builtins, name):
            self._dynamic = True

    def make(self, item: ast.ClassDef) -> None:
        """Follow the making of an instance: its special methods may run from then on."""
        if item in self._made:
            return
        self._made.append(item)
        for node in item.body:
            if isinstance(node, _FUNCTIONS) and node.name.startswith("__") and node.name.endswith("__"):
                self.call(node)
        for base in item.bases:
            if isinstance(base, ast.Name):
                for parent in self._classes.get(base.id, ()):
                    self.make(parent)

    def hold(self, name: str) -> None:
        """Note that a function or class is put somewhere by its name."""
        if name in self._functions or name in self._classes:
            self._held.add(name)

    def hand_over(self, name: str, *, to: ast.expr) -> None:
        """Note that something is an argument of a call of `to`, which may call it."""
        if name not in self._functions and name not in self._classes:
            return
        target = to.attr if isinstance(to, ast.Attribute) else to.id if isinstance(to, ast.Name) else ""
        own = self._functions.get(target, []) + [
            method
            for item in self._classes.get(target, ())
            for method in item.body
            if isinstance(method, _FUNCTIONS) and method.name in ("__init__", "__new__", "__call__")
        ]
        if own:
            keeps = not any(_uses_parameters(function) for function in own)
        else:
            keeps = target in _KEEP_WITHOUT_CALLING or (
                isinstance(to, ast.Attribute) and target.startswith(_KEEP_PREFIXES)
            )
        if keeps:
            self._held.add(name)
        else:
            self.call_name(name)

    def read_attribute(self, name: str) -> None:
        for method in self._methods.get(name, ()):
            self.call(method)

    def decorate(self, node: _Function | ast.ClassDef) -> None:
        """Follow the decorators of a definition that is reached."""
        for decorator in node.decorator_list:
            target = decorator.func if isinstance(decorator, ast.Call) else decorator
            if isinstance(target, ast.Name):
                self.call_name(target.id)
                made_by = self._functions.get(target.id, [])
            elif isinstance(target, ast.Attribute):
                made_by = self._methods.get(target.attr, [])
            else:
                made_by = []
                self._dynamic = True
            if isinstance(decorator, ast.Call):
                for factory in made_by:  # the decorator proper is a function inside the factory
                    for inner in _inner_functions(factory):
                        self.call(inner)
                        self._pass_to(inner, node)
            for function in made_by:
                self._pass_to(function, node)

    def use_base(self, base: ast.expr, *, metaclass: bool) -> None:
        name = base.id if isinstance(base, ast.Name) else ""
        for item in self._classes.get(name, ()):
            for node in item.body:
                if isinstance(node, _FUNCTIONS) and (metaclass or node.name in _BASE_HOOKS):
                    self.call(node)
            for parent in item.bases:
                self.use_base(parent, metaclass=metaclass)

    def call_dynamically(self) -> None:
        self._dynamic = True

    def settle(self) -> None:
        """Follow what calls through variables may reach, until nothing new is reached."""
        before = -1
        while before != len(self.run) + len(self._made) + len(self._held):
            before = len(self.run) + len(self._made) + len(self._held)
            if self._opaque:
                for group in list(self._functions.values()):
                    for function in group:
                        self.call(function)
            if self._dynamic:
                for name in list(self._held):
                    self.call_name(name)
                for function in list(self.run):
                    for inner in _inner_functions(function):
                        self.call(inner)
                for item in list(self._made):
                    for node in item.body:
                        if isinstance(node, _FUNCTIONS):
                            self.call(node)

    def _pass_to(self, decorator: _Function, node: _Function | ast.ClassDef) -> None:
        if _uses_parameters(decorator):
            if isinstance(node, ast.ClassDef):
                self.make(node)
            else:
                self.call(node)


class _Visitor(ast.NodeVisitor):
    """Walks code that runs, and tells the trace what it meets."""

    def __init__(self, trace: _Trace) -> None:
        self._trace = trace

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def _function(self, node: _Function) -> None:
        self._trace.decorate(node)
        for decorator in node.decorator_list:
            self._decorator(decorator)
        self.visit(node.args)  # defaults run; so do annotations, mostly
        if node.returns is not None:
            self.visit(node.returns)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._trace.decorate(node)
        for decorator in node.decorator_list:
            self._decorator(decorator)
        for base in node.bases:
            self._trace.use_base(base, metaclass=False)
            self.visit(base)
        for keyword in node.keywords:
            self._trace.use_base(keyword.value, metaclass=keyword.arg == "metaclass")
            self.visit(keyword.value)
        for item in node.body:
            self.visit(item)

    def visit_If(self, node: ast.If) -> None:
        if _is_main_guard(node.test):
            for item in node.orelse:
                self.visit(item)
            return
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name):
            self._trace.call_name(node.func.id)
        elif isinstance(node.func, ast.Attribute):
            self.visit(node.func)
        else:
            self._trace.call_dynamically()
            self.visit(node.func)
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            for name in _names_in_displays(argument):
                self._trace.hand_over(name, to=node.func)
            if not isinstance(argument, ast.Name):
                self.visit(argument)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._trace.read_attribute(node.attr)
        if isinstance(node.value, ast.Name) and node.attr.startswith("__") and isinstance(node.ctx, ast.Load):
            self._trace.call_name(node.value.id)  # `f.__doc__`, `f.__code__`: what was read of it stays
        self.visit(node.value)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._trace.hold(node.id)

    def _decorator(self, decorator: ast.expr) -> None:
        # Calling the decorator is followed by `decorate`; its arguments are configuration.
        if isinstance(decorator, ast.Call):
            for argument in (*decorator.args, *(keyword.value for keyword in decorator.keywords)):
                self.visit(argument)
            decorator = decorator.func
        if isinstance(decorator, ast.Attribute):
            self._trace.read_attribute(decorator.attr)
            self.visit(decorator.value)


def _names_in_displays(argument: ast.expr) -> list[str]:
    """Return names that are an argument itself or stand in a display that is one."""
    if isinstance(argument, ast.Name):
        return [argument.id]
    if isinstance(argument, (ast.List, ast.Tuple, ast.Set)):
        return [name for item in argument.elts for name in _names_in_displays(item)]
    if isinstance(argument, ast.Dict):
        return [name for item in argument.values for name in _names_in_displays(item)]
    if isinstance(argument, ast.Starred):
        return _names_in_displays(argument.value)
    if isinstance(argument, ast.IfExp):
        return _names_in_displays(argument.body) + _names_in_displays(argument.orelse)
    if isinstance(argument, ast.BoolOp):
        return [name for item in argument.values for name in _names_in_displays(item)]
    return []


def _uses_parameters(function: _Function) -> bool:
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
            target = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if target in _KEEP_WITHOUT_CALLING or target in _ONLY_LOOK:
                continue
            values = [*node.args, *(keyword.value for keyword in node.keywords)]
            if any(name in parameters for value in values for name in _names_in_displays(value)):
                return True
    return False


def _own_nodes(function: _Function) -> list[ast.AST]:
    """Return the nodes of a body without those of functions defined in it (their decorators are in)."""
    found: list[ast.AST] = []

    def walk(node: ast.AST) -> None:
        if isinstance(node, _FUNCTIONS):
            for decorator in node.decorator_list:
                walk(decorator)
            return
        found.append(node)
        for child in ast.iter_child_nodes(node):
            walk(child)

    for item in function.body:
        walk(item)
    return found


def _inner_functions(function: _Function) -> list[_Function]:
    found: list[_Function] = []

    def walk(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, _FUNCTIONS):
                found.append(child)
            else:
                walk(child)

    for item in function.body:
        if isinstance(item, _FUNCTIONS):
            found.append(item)
        else:
            walk(item)
    return found


def _is_main_guard(test: ast.expr) -> bool:
    return (
        isinstance(test, ast.Compare)
        and isinstance(test.left, ast.Name)
        and test.left.id == "__name__"
        and len(test.ops) == 1
        and isinstance(test.ops[0], ast.Eq)
        and isinstance(test.comparators[0], ast.Constant)
        and test.comparators[0].value == "__main__"
    )
