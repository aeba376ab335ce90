"""What a Python source calls and hands on, by the names that things have where they are defined.

Aliases, imports (of all names, too), `getattr` with a text, `__import__`, `importlib.import_module`, `globals()["x"]`
and names that were assigned are followed as far as the source itself shows them; scopes are not told apart, so that a
name which is imported anywhere counts everywhere. What is not called where it stands (`map(eval, items)`, a default, a
member of a list) is a use as well, as something may call it. What hides a name on purpose (a `getattr` of `os` with a
computed name, say) is a use of its own. Pure: text in, uses out.
"""

import ast
import builtins
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from homeostat.policy.python_texts import built, constant, docstrings, folded, keywords, walked

_BUILTIN_MODULES = ("builtins", "__builtins__", "__builtin__")
_IMPORTERS = ("__import__", "importlib.import_module", "importlib.__import__")
_DEPTH = 60
_BUILTINS = frozenset(dir(builtins))
_LOOKUPS = ("get", "__getitem__", "pop", "setdefault")
_OTHER_NAMES = {"posix": "os", "nt": "os", "cPickle": "pickle", "_pickle": "pickle", "pd": "pandas", "np": "numpy"}
"""What modules are called besides; by habit, where nothing shows the import."""

_WITHIN = re.compile(r".*\.(?=(?:os|sys|subprocess|builtins|ctypes|shutil)(?:\.|$))")
"""A module that another one has imported is itself: `json.os` is `os`."""


UseKind = Literal["call", "value", "set", "text"]


@dataclass(frozen=True, slots=True)
class Use:
    """One call, value, assignment or text that a source has."""

    name: str
    """Dotted, as ``subprocess.run``; ``.unlink`` where only the method is known; ``os.environ[]``; empty for a text."""

    line: int
    arguments: tuple[str | None, ...] = ()
    """Texts given by position; None for what is no plain text."""

    keywords: Mapping[str, object] | None = None
    """Constants given by name; Ellipsis for what is no constant."""

    text: str = ""
    """The text itself, where it is one."""

    kind: UseKind = "call"
    given: tuple[str, ...] = ()
    """Names of what a call is given."""

    built: str | None = None
    """Of a call whose first argument is a text with values put into it: how that text begins."""


@contextmanager
def no_warnings() -> Iterator[None]:
    """Keep quiet what a parser says of a stranger's code, which is not ours to print."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def uses_of(source: str | bytes) -> list[Use]:
    """Return all uses of a source, in its order; raises as `ast.parse` does."""
    with no_warnings():
        return uses_of_quietly(source)


def uses_of_quietly(source: str | bytes) -> list[Use]:
    """As `uses_of`, within `no_warnings`."""
    nodes = walked(ast.parse(source))
    return list(_uses(nodes, _Names(nodes)))


def _uses(nodes: Sequence[ast.AST], names: "_Names") -> Iterator[Use]:
    quiet = docstrings(nodes)
    told = _told_otherwise(nodes)
    for node in nodes:
        if isinstance(node, ast.Call):
            yield Use(
                names.of(node.func),
                node.lineno,
                tuple(folded(argument) for argument in node.args),
                {word.arg: constant(word.value) for word in keywords(node) if word.arg},
                given=tuple(filter(None, map(names.of, (*node.args, *(word.value for word in node.keywords))))),
                built=built(node.args[0]) if node.args else None,
            )
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            if names.of(node.value) == "os.environ":
                yield Use("os.environ[]", node.lineno, (folded(node.slice),))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in quiet:
            yield Use("", node.lineno, text=node.value, kind="text")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for decorator in node.decorator_list:
                if not isinstance(decorator, ast.Call):  # which is walked to as the call that it is
                    yield Use(names.of(decorator), decorator.lineno)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else (node.target,):
                if isinstance(target, ast.Attribute | ast.Subscript) and node.value is not None:
                    name, whole = names.of(target), names.of(target.value)
                    if not name or (isinstance(target, ast.Subscript) and whole == "sys.modules"):
                        name = whole  # a place among the modules is set, and nothing in the module that was there
                    words = {target.attr: constant(node.value)} if isinstance(target, ast.Attribute) else None
                    yield Use(name, node.lineno, keywords=words, kind="set")
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load) and id(node) not in told:
            yield Use(names.of_value(node), node.lineno, kind="value")


def _told_otherwise(nodes: Sequence[ast.AST]) -> set[int]:
    """Return which expressions are no values by themselves: what is called, decorates, or says a type."""
    told: set[int] = set()
    for node in nodes:
        if isinstance(node, ast.Call):
            told.add(id(node.func))
        elif isinstance(node, ast.Attribute):
            told.add(id(node.value))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            told.update(map(id, node.decorator_list))
        if isinstance(node, ast.arg | ast.AnnAssign | ast.FunctionDef | ast.AsyncFunctionDef):
            said = node.returns if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else node.annotation
            if said is not None:
                told.update(map(id, walked(said)))
    return told


class _Names:
    """What the names of a source stand for."""

    def __init__(self, nodes: Sequence[ast.AST]) -> None:
        self._known: dict[str, str] = {}
        self._tops: set[str] = set()
        self._whole: list[str] = []
        self.bound = _bound(nodes)
        """Names that the source itself gives to values, so that they need not be what Python calls so."""

        assigned: list[tuple[str, ast.expr]] = []
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.partition(".")[0]
                    self._known[alias.asname or top] = alias.name if alias.asname else top
            elif isinstance(node, ast.ImportFrom):
                origin = "." * node.level + (node.module or "")
                for alias in node.names:
                    if alias.name == "*":
                        self._whole.append(origin)
                    self._known[alias.asname or alias.name] = f"{origin}.{alias.name}"
            elif isinstance(node, ast.Assign):
                assigned += [(one.id, node.value) for one in node.targets if isinstance(one, ast.Name)]
            elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and isinstance(node.target, ast.Name) and node.value:
                assigned.append((node.target.id, node.value))
        self._tops = {name.partition(".")[0] for name in self._known.values()}
        for _ in range(2):  # a name for a name
            for name, value in assigned:
                found = self.of(value)
                if found and found != name:
                    self._known.setdefault(name, found)

    def of_value(self, node: ast.Name | ast.Attribute) -> str:
        """Return the name of what is not called where it stands; a local one says nothing, whatever it is called."""
        return "" if isinstance(node, ast.Name) and node.id in self.bound else self.of(node)

    def of(self, node: ast.expr, depth: int = 0) -> str:
        """Return the dotted name of an expression; ``.method`` where it is one of something unknown; else empty."""
        if depth > _DEPTH:
            return ""
        if isinstance(node, ast.Name):
            return self._named(node.id)
        if isinstance(node, ast.Attribute):
            return self._below(self.of(node.value, depth + 1), node.attr)
        if isinstance(node, ast.Call):
            return self._made(node, depth)
        if isinstance(node, ast.Subscript):
            return self._looked_up(node, depth)
        return ""

    def _named(self, name: str) -> str:
        known = self._known.get(name)
        if known is None and name not in _BUILTINS and name not in self.bound:
            known = next((f"{module}.{name}" for module in self._whole if _TOPS.fullmatch(module)), None)
        return _plain(known or name)

    def _below(self, owner: str, name: str) -> str:
        if name == "__call__":
            return owner
        if name == "__self__" and owner in _BUILTINS:
            return "builtins"
        owner = _WITHIN.sub("", owner)
        # Of `x.unlink` nothing is known but the method, unless `x` is a module or class that was imported.
        known = owner and (not owner.startswith(".") or owner.startswith("..")) and self._is_import(owner)
        return _plain(f"{owner}.{name}") if known else f".{name}"

    def _is_import(self, owner: str) -> bool:
        top = owner.partition(".")[0]
        return owner in _BUILTIN_MODULES or _TOPS.fullmatch(top) is not None or top in self._tops or not top

    def _made(self, node: ast.Call, depth: int) -> str:
        function = self.of(node.func, depth + 1)
        given = [folded(argument) for argument in node.args]
        if function in _IMPORTERS and given and given[0]:
            return given[0]
        if function == "getattr" and len(node.args) > 1:
            return self._member(node.args[0], given[1], depth)
        if function == "vars" and node.args:
            return self.of(node.args[0], depth + 1)
        if isinstance(node.func, ast.Call) and node.args:
            inner = node.func  # `operator.attrgetter("system")(os)`
            if self.of(inner.func, depth + 1) in ("operator.attrgetter", "operator.methodcaller") and inner.args:
                return self._member(node.args[0], folded(inner.args[0]), depth)
        if isinstance(node.func, ast.Attribute) and given:
            if node.func.attr in ("__getattribute__", "__getattr__"):
                owner = node.args[0] if len(given) > 1 else node.func.value
                return self._member(owner, given[-1], depth)
            if node.func.attr in _LOOKUPS:
                return self._found_in(node.func.value, given[0], depth)
        return ""

    def _member(self, node: ast.expr, name: str | None, depth: int) -> str:
        owner = self.of(node, depth + 1)
        if name:
            return self._below(owner, name)
        return f"{'builtins' if owner in _BUILTIN_MODULES else owner}.?"

    def _looked_up(self, node: ast.Subscript, depth: int) -> str:
        return self._found_in(node.value, folded(node.slice), depth)

    def _found_in(self, whole: ast.expr, name: str | None, depth: int) -> str:
        """Return what a mapping of names has under one."""
        if isinstance(whole, ast.Call) and self.of(whole.func, depth + 1) in ("globals", "locals", "vars"):
            if not name:
                return ""
            owner = self.of(whole.args[0], depth + 1) if whole.args else ""
            return self._below(owner, name) if owner else self._named(name)
        if isinstance(whole, ast.Attribute) and whole.attr == "__dict__":
            return self._member(whole.value, name, depth)
        found = self.of(whole, depth + 1)
        if found == "sys.modules" and name:
            return name
        if found in _BUILTIN_MODULES or found == ".__builtins__":
            return name or "builtins.?"
        if found == ".__globals__" and name:
            return self._named(name)
        return ""


_TOPS = re.compile(
    r"os|sys|subprocess|builtins|socket|shutil|c?[pP]ickle|_pickle|dill|cloudpickle|joblib|marshal|shelve|ctypes|cffi"
    r"|importlib|runpy|code|codeop|types|requests|httpx|urllib[23]?|http|aiohttp|ftplib|smtplib|telnetlib|paramiko"
    r"|websockets?|xmlrpc|pty|commands|yaml|torch|pandas|numpy|jsonpickle|ssl|asyncio|tempfile|logging|signal"
    r"|multiprocessing|webbrowser|pip|posix|nt|pd|np|imp|pydoc|pkgutil|zipimport|timeit|cProfile|profile|pdb|trio|anyio"
    r"|pexpect|plumbum|platform|operator|gc|zipfile|tarfile|socketserver|pycurl|threading|faulthandler|numexpr|sympy"
)
"""Modules that count as what they are called though nothing shows the import: a patch need not show it."""


def _plain(name: str) -> str:
    """Return a name without the module of what needs none, and by the module's own name."""
    top, dot, rest = name.partition(".")
    name = _OTHER_NAMES.get(top, top) + dot + rest
    for module in _BUILTIN_MODULES:
        if name.startswith(f"{module}."):
            return name.removeprefix(f"{module}.")
    return name


def _bound(nodes: Sequence[ast.AST]) -> set[str]:
    """Return the names that are given to values, parameters and definitions; imports are known otherwise."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
    return found
