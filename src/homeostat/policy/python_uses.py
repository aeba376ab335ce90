"""What a Python source calls, by the names that things have where they are defined.

Aliases, `from` imports, `getattr` with a text, `__import__`, `importlib.import_module`, `globals()["x"]` and names that
were assigned are followed as far as the source itself shows them; scopes are not told apart, so that a name which is
imported anywhere counts everywhere. What hides a name on purpose (a `getattr` of `os` with a computed name, say) is a
use of its own. Pure: text in, uses out.
"""

import ast
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_BUILTIN_MODULES = ("builtins", "__builtins__", "__builtin__")
_IMPORTERS = ("__import__", "importlib.import_module", "importlib.__import__")
_MAX_FOLDED = 200
_DEPTH = 60


@dataclass(frozen=True, slots=True)
class Use:
    """One call, or one text, that a source has."""

    name: str
    """Dotted, as ``subprocess.run``; ``.unlink`` where only the method is known; empty for a text."""

    line: int
    arguments: tuple[str | None, ...] = ()
    """Texts given by position; None for what is no plain text."""

    keywords: Mapping[str, object] | None = None
    """Constants given by name; Ellipsis for what is no constant."""

    text: str = ""
    """The text itself, where it is one."""


def uses_of(source: str | bytes) -> list[Use]:
    """Return all uses of a source, in its order; raises as `ast.parse` does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of a stranger's code are not ours to print
        tree = ast.parse(source)
    names = _Names(tree)
    return list(_uses(tree, names))


def _uses(tree: ast.Module, names: "_Names") -> Iterator[Use]:
    quiet = _docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield Use(
                names.of(node.func),
                node.lineno,
                tuple(folded(argument) for argument in node.args),
                {word.arg: _constant(word.value) for word in node.keywords if word.arg},
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in quiet:
            yield Use("", node.lineno, text=node.value)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for decorator in node.decorator_list:
                if not isinstance(decorator, ast.Call):  # which is walked to as the call that it is
                    yield Use(names.of(decorator), decorator.lineno)


class _Names:
    """What the names of a source stand for."""

    def __init__(self, tree: ast.Module) -> None:
        self._known: dict[str, str] = {}
        self._tops: set[str] = set()
        assigned: list[tuple[str, ast.expr]] = []
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.partition(".")[0]
                    self._known[alias.asname or top] = alias.name if alias.asname else top
            elif isinstance(node, ast.ImportFrom):
                origin = "." * node.level + (node.module or "")
                for alias in node.names:
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

    def of(self, node: ast.expr, depth: int = 0) -> str:
        """Return the dotted name of an expression; ``.method`` where it is one of something unknown; else empty."""
        if depth > _DEPTH:
            return ""
        if isinstance(node, ast.Name):
            return _plain(self._known.get(node.id, node.id))
        if isinstance(node, ast.Attribute):
            return self._below(self.of(node.value, depth + 1), node.attr)
        if isinstance(node, ast.Call):
            return self._made(node, depth)
        if isinstance(node, ast.Subscript):
            return self._looked_up(node, depth)
        return ""

    def _below(self, owner: str, name: str) -> str:
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
            owner = self.of(node.args[0], depth + 1)
            return self._below(owner, given[1]) if given[1] else f"{owner}.?"
        if function == "vars" and node.args:
            return self.of(node.args[0], depth + 1)
        return ""

    def _looked_up(self, node: ast.Subscript, depth: int) -> str:
        name = folded(node.slice)
        whole = node.value
        if isinstance(whole, ast.Call) and self.of(whole.func, depth + 1) in ("globals", "locals", "vars"):
            if not name:
                return ""
            owner = self.of(whole.args[0], depth + 1) if whole.args else ""
            return self._below(owner, name) if owner else _plain(self._known.get(name, name))
        if isinstance(whole, ast.Attribute) and whole.attr == "__dict__":
            owner = self.of(whole.value, depth + 1)
            return self._below(owner, name) if name else f"{owner}.?"
        found = self.of(whole, depth + 1)
        if found == "sys.modules" and name:
            return name
        if found in _BUILTIN_MODULES:
            return name or "builtins.?"
        return ""


_TOPS = re.compile(
    r"os|sys|subprocess|builtins|socket|shutil|c?[pP]ickle|_pickle|dill|cloudpickle|joblib|marshal|shelve|ctypes|cffi"
    r"|importlib|runpy|code|codeop|types|requests|httpx|urllib[23]?|http|aiohttp|ftplib|smtplib|telnetlib|paramiko"
    r"|websockets?|xmlrpc|pty|commands|yaml|torch|pandas|numpy|jsonpickle|ssl|asyncio|tempfile|logging|signal"
    r"|multiprocessing|webbrowser|pip"
)
"""Modules that count as what they are called though nothing shows the import: a patch need not show it."""


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
        return None if left is None or right is None else (left + right)[: _MAX_FOLDED * 10]
    if isinstance(node, ast.JoinedStr):
        parts = [folded(part, depth + 1) for part in node.values]
        return None if None in parts else "".join(part or "" for part in parts)
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
            return None if None in parts else between.join(part or "" for part in parts)
    return None


def _constant(node: ast.expr) -> object:
    return node.value if isinstance(node, ast.Constant) else ...


def _plain(name: str) -> str:
    """Return a name without the module of what needs none."""
    for module in _BUILTIN_MODULES:
        if name.startswith(f"{module}."):
            return name.removeprefix(f"{module}.")
    return name


def _docstrings(tree: ast.Module) -> set[int]:
    found = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            found.add(id(first.value))
    return found
