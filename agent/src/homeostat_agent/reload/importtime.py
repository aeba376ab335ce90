"""Which functions of a module run while it is imported, as far as its own source shows.

What such a function returned or did then would stay as the old body made it, so a changed body
needs a restart. The answer errs towards *runs*: names are followed without types (a method counts
when an attribute of its name is read), a function handed to an unknown callable counts as called,
and a call through a variable, or an attribute assigned from one, counts as a call of everything that
is held in variables. What the body of a class assigns may be called when an instance is made.
Decorating and the usual ways to register a function do not count as calls of it. What other modules do
with these functions while they are imported cannot be seen here.
"""

from __future__ import annotations

import ast
import builtins
import copy

from homeostat_agent.reload.outline import FunctionNode as _Function
from homeostat_agent.reload.outline import names_read
from homeostat_agent.reload.syntax import (
    KEEP_PREFIXES,
    KEEP_WITHOUT_CALLING,
    bound_in,
    inner_functions,
    is_main_guard,
    last_name,
    names_in,
    names_in_displays,
    uses_parameters,
)

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

_OPAQUE = frozenset({"exec", "eval", "globals", "locals", "vars", "dir", "__import__", "compile"})
_NAMES_OF_MODULES = frozenset({"modules", "getmembers", "__dict__", "__subclasses__"})
"""What leads to all names of a module, or to its classes: `sys.modules[__name__]`, `inspect.getmembers`."""

_BY_NAME = frozenset({"getattr", "methodcaller", "attrgetter"})
_BASE_HOOKS = frozenset({"__init_subclass__", "__class_getitem__", "__mro_entries__", "__prepare__"})


def run_at_import(tree: ast.Module) -> set[tuple[str, int]]:
    """Return (name, line of `def`) of every function that may run while the module is imported."""
    trace = _Trace(tree)
    trace.execute(tree.body)
    trace.settle()
    return {(node.name, node.lineno) for node in trace.run}


def looks_at_names(tree: ast.Module) -> bool:
    """Tell whether import may look at which names or classes there are (`globals()`, `dir()`, `__subclasses__`)."""
    trace = _Trace(tree)
    trace.execute(tree.body)
    trace.settle()
    return trace.opaque


class ImportRuns:
    """Tells which functions of a module each of its statements may run at import."""

    def __init__(self, tree: ast.Module) -> None:
        self._whole = _Trace(tree)
        self._whole.execute(tree.body)
        self._whole.settle()

    def by(self, nodes: list[ast.stmt]) -> list[_Function]:
        """Return what these statements may run, with all the names that the others hold by then."""
        return self._whole.again(nodes)


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
        self._attributes: dict[str, set[str]] = {}
        self._imported: set[str] = set()
        self._made: list[ast.ClassDef] = []
        self._held: set[str] = set()
        self._dynamic = False
        self.opaque = False
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
                for name, value in bound_in(node):
                    self._attributes.setdefault(name, set()).update(names_in(value))
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Attribute):
                        self._attributes.setdefault(target.attr, set()).update(names_in(node.value))
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                self._imported.update((alias.asname or alias.name).split(".")[0] for alias in node.names)

    def execute(self, body: list[ast.stmt]) -> None:
        """Follow statements that run; bodies of functions defined in them do not run by that alone."""
        for node in body:
            _Visitor(self).visit(node)

    def again(self, nodes: list[ast.stmt]) -> list[_Function]:
        """Return the functions that these statements run by themselves, where all that was held or made is there."""
        part = copy.copy(self)
        part.run, part._made, part._held, part._dynamic = [], [], set(self._held), False
        part.opaque = False
        part.execute(nodes)
        part.settle()
        if part._dynamic:
            part._made = [*part._made, *(item for item in self._made if item not in part._made)]
            part.settle()
        return part.run

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
            self.opaque = True
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
        for _, value in bound_in(item):
            self._call_known(names_in(value))
        for parent in self._family(item.bases):
            self.make(parent)

    def hold(self, name: str) -> None:
        """Note that a function or class is put somewhere by its name."""
        if name in self._functions or name in self._classes:
            self._held.add(name)

    def hand_over(self, name: str, *, to: ast.expr) -> None:
        """Note that something is an argument of a call of `to`, which may call it."""
        if name not in self._functions and name not in self._classes:
            return
        target = last_name(to)
        own = self._functions.get(target, []) + [
            method
            for item in self._classes.get(target, ())
            for method in item.body
            if isinstance(method, _FUNCTIONS) and method.name in ("__init__", "__new__", "__call__")
        ]
        if own:
            keeps = not any(uses_parameters(function) for function in own)
        else:
            keeps = target in KEEP_WITHOUT_CALLING or (
                isinstance(to, ast.Attribute) and target.startswith(KEEP_PREFIXES)
            )
        if keeps:
            self._held.add(name)
        else:
            self.call_name(name)

    def read_attribute(self, name: str) -> None:
        if name in _NAMES_OF_MODULES:
            self.opaque = True
        for method in self._methods.get(name, ()):
            self.call(method)
        self._call_known(self._attributes.get(name, set()))

    def call_attribute(self, name: str) -> None:
        """Follow a call of an attribute that was read already."""
        if not self._attributes.get(name, set()) <= self._functions.keys() | self._classes.keys():
            self._dynamic = True

    def name_by_text(self, name: str) -> None:
        """Note that something is looked up by its name as text."""
        self.hold(name)
        self.read_attribute(name)

    def decorate(self, node: _Function | ast.ClassDef) -> None:
        """Follow the decorators of a definition that is reached."""
        for decorator in node.decorator_list:
            target = decorator.func if isinstance(decorator, ast.Call) else decorator
            if isinstance(target, ast.Name):
                self.call_name(target.id)
                made_by = self._functions.get(target.id, [])
            elif isinstance(target, ast.Attribute):
                made_by = self._methods.get(target.attr, [])
                if isinstance(target.value, ast.Name) and target.value.id in self._functions:
                    self.hold(node.name)  # `@show.register`: a call of `show` may call it
            else:
                made_by = []
                self._dynamic = True
            if isinstance(decorator, ast.Call):
                for factory in made_by:  # the decorator proper is a function inside the factory
                    for inner in inner_functions(factory):
                        self.call(inner)
                        self._pass_to(inner, node)
            for function in made_by:
                self._pass_to(function, node)

    def use_base(self, base: ast.expr, *, metaclass: bool) -> None:
        for item in self._family([base]):
            for node in item.body:
                if isinstance(node, _FUNCTIONS) and (metaclass or node.name in _BASE_HOOKS):
                    self.call(node)

    def use_keyword(self, value: ast.expr, bases: list[ast.expr]) -> None:
        """Follow what a class statement hands to its bases: one from elsewhere may call it."""
        if any(not (isinstance(base, ast.Name) and base.id in self._classes) for base in bases):
            self._call_known(set(names_in_displays(value)))

    def makes_members(self, item: ast.ClassDef) -> bool:
        """Tell whether a class statement makes instances of the class, as that of an enumeration does."""
        bases = [base for each in (item, *self._family(item.bases)) for base in each.bases]
        return any(last_name(base).endswith(("Enum", "Flag")) for base in bases)

    def call_dynamically(self) -> None:
        self._dynamic = True

    def settle(self) -> None:
        """Follow what calls through variables may reach, until nothing new is reached."""
        before = -1
        while before != len(self.run) + len(self._made) + len(self._held):
            before = len(self.run) + len(self._made) + len(self._held)
            if self.opaque:
                for group in list(self._functions.values()):
                    for function in group:
                        self.call(function)
            if self._dynamic:
                for name in list(self._held):
                    self.call_name(name)
                for function in list(self.run):
                    for inner in inner_functions(function):
                        self.call(inner)
                for item in list(self._made):
                    for node in item.body:
                        if isinstance(node, _FUNCTIONS):
                            self.call(node)

    def _family(self, bases: list[ast.expr]) -> list[ast.ClassDef]:
        """Return the classes of this module that these bases may be, and all above them."""
        found: list[ast.ClassDef] = []
        waiting = list(bases)
        while waiting:
            base = waiting.pop()
            new = [item for item in self._classes.get(last_name(base), ()) if item not in found]
            found.extend(new)
            waiting.extend(above for item in new for above in item.bases)
        return found

    def _call_known(self, names: set[str]) -> None:
        for name in names & (self._functions.keys() | self._classes.keys()):
            self.call_name(name)

    def _pass_to(self, decorator: _Function, node: _Function | ast.ClassDef) -> None:
        if uses_parameters(decorator):
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
            if keyword.arg != "metaclass":
                self._trace.use_keyword(keyword.value, node.bases)
            self.visit(keyword.value)
        for item in node.body:
            self.visit(item)
        if self._trace.makes_members(node):
            self._trace.make(node)

    def visit_If(self, node: ast.If) -> None:
        if is_main_guard(node.test):
            for item in node.orelse:
                self.visit(item)
            return
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name):
            self._trace.call_name(node.func.id)
        elif isinstance(node.func, ast.Attribute):
            self.visit(node.func)
            self._trace.call_attribute(node.func.attr)
        else:
            self._trace.call_dynamically()
            self.visit(node.func)
        if last_name(node.func) in _BY_NAME:
            for argument in node.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    self._trace.name_by_text(argument.value)
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            for name in names_in_displays(argument):
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
