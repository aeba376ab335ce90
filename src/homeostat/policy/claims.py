"""What a file of tests claims: its tests, their marks, what they assert and on which cases.

Read statement by statement, so that the pieces which a patch shows are read as a whole file is. What stands in long
texts is no statement. An assertion is known by its content and by what stands around it within its test, so that one
which is put under an `if`, a `try` or a `with` is another one. Pure, and bounded as `homeostat.policy.python_pieces`.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from homeostat.policy.python_pieces import dedented, statements
from homeostat.policy.python_uses import no_warnings
from homeostat.policy.strength import of_call, of_context, of_test

_MOST_PARSED = 4_000
_ASSERTS = re.compile(r"assert\w*|fail\w*|raises|warns|deprecated_call")
_CLASS = re.compile(r"Test\w*")
_CASES = "parametrize"
_MESSAGES = ("msg", "message", "reason")


@dataclass(slots=True)
class Claims:
    """What was found. Texts stand for code: two that are equal are of equal code."""

    tests: Counter[str] = field(default_factory=Counter)
    """Names of tests that are collected, with the class around them."""

    marks: dict[str, set[str]] = field(default_factory=dict)
    """Decorators of each test and class, bases of a class, and whether a test is a coroutine; without its cases.
    Under no name: those of which a patch does not show what they decorate."""

    asserted: Counter[str] = field(default_factory=Counter)
    strengths: Counter[str] = field(default_factory=Counter)
    """How much each test asserts, by its name: an equality says more than a truth (`homeostat.policy.strength`)."""

    cases: Counter[str] = field(default_factory=Counter)
    """Literals: members of lists of cases, and values that are given names."""

    empty: Counter[str] = field(default_factory=Counter)
    """Assertions that hold whatever the code does."""

    ends: int = 0
    """Statements that end a test before its last line."""

    imported: dict[str, str] = field(default_factory=dict)
    """Names, and where they are imported from."""

    bound: set[str] = field(default_factory=set)
    """Names that the file gives to something of its own."""


@dataclass(frozen=True, slots=True)
class _Block:
    indent: int
    kind: str
    """``class``, ``def``, or empty."""

    name: str
    header: str


def claims_of(source: str) -> Claims:
    """Return what a file of tests claims, or a piece of one."""
    reader = _Reader()
    with no_warnings():
        for _, text in statements(source.split("\n")):
            reader.read(text)
    return reader.end()


class _Reader:
    def __init__(self) -> None:
        self.claims = Claims()
        self._blocks: list[_Block] = []
        self._decorators: list[ast.expr] = []
        self._left = _MOST_PARSED
        self.claims.marks[""] = set()

    def end(self) -> Claims:
        """Return what was found."""
        decorators, self._decorators = self._decorators, []
        self.claims.marks[""].update(ast.dump(item) for item in decorators if not self._takes_cases(item))
        return self.claims

    def read(self, text: str) -> None:
        bare = text.strip()
        if not bare or bare.startswith("#"):
            return
        first = text.expandtabs(8)
        indent = len(first) - len(first.lstrip())
        while self._blocks and self._blocks[-1].indent >= indent:
            self._blocks.pop()
        nodes = self._parsed(text, bare)
        if nodes is None:
            if bare.endswith(":"):
                self._blocks.append(_Block(indent, "", "", " ".join(bare.split())))
            elif re.match(r"assert\b|self\.(?:assert|fail)\w*\(", bare):
                self._assert(" ".join(bare.split()))
            return
        for node in nodes:
            if isinstance(node, ast.Expr) and bare.startswith("@"):
                self._decorators.append(node.value)
                continue
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self.end()
            self._visit(node, indent)

    def _parsed(self, text: str, bare: str) -> list[ast.stmt] | None:
        source = dedented(text)
        tries = (source[1:], source) if bare.startswith("@") else (source, f"{source}\n pass")
        for one in tries:
            self._left -= 1
            if self._left < 0:
                return None
            try:
                return ast.parse(one).body
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue
        return None

    def _visit(self, node: ast.stmt, indent: int) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self._define(node, indent)
        elif isinstance(node, ast.With | ast.AsyncWith | ast.If | ast.For | ast.AsyncFor | ast.While | ast.Try):
            header = _header(node)
            if isinstance(node, ast.With | ast.AsyncWith) and any(_asserts(item.context_expr) for item in node.items):
                self._assert(header, strength=sum(of_context(item.context_expr) for item in node.items))
            self._blocks.append(_Block(indent, "", "", header))
            for inner in node.body:
                self._visit(inner, indent + 1)
        elif isinstance(node, ast.Assert):
            self._assert(ast.dump(node.test), strength=of_test(node.test), empty=_holds_always(node.test))
        elif isinstance(node, ast.Expr):
            self._express(node.value)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            self._assign(node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            origin = "." * node.level + (node.module or "") if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                self.claims.imported[alias.asname or alias.name.partition(".")[0]] = f"{origin}:{alias.name}"
        elif isinstance(node, ast.Return):
            self._end(bare=node.value is None)
        elif isinstance(node, ast.Raise) and (not self._blocks or self._blocks[-1].kind):
            self._end(bare=False)  # within a loop, it may well complain of what was not found

    def _define(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, indent: int) -> None:
        decorators, self._decorators = self._decorators, []
        kind = "class" if isinstance(node, ast.ClassDef) else "def"
        header = f"{node.name}({','.join(map(ast.dump, node.bases))})" if isinstance(node, ast.ClassDef) else node.name
        if not any(block.kind == "def" for block in self._blocks):
            if not self._blocks:
                self.claims.bound.add(node.name)
            collected = all(block.kind != "class" or _is_collected(block) for block in self._blocks)
            if kind == "def" and node.name.startswith("test") and collected:
                name = ".".join((*(block.header for block in self._blocks if block.kind != "class"), node.name))
                scope = ".".join(block.name for block in self._blocks if block.kind == "class")
                self.claims.tests[f"{scope}.{name}"] += 1
                marks = self.claims.marks.setdefault(node.name, set())
                marks |= {ast.dump(item) for item in decorators if not self._takes_cases(item)}
                if isinstance(node, ast.AsyncFunctionDef):
                    marks.add("async")
            elif kind == "class":
                marks = self.claims.marks.setdefault(node.name, set())
                marks |= {f"bases of {header}", *map(ast.dump, decorators)}
                if _is_collected(_Block(indent, kind, node.name, header)):
                    self.claims.tests[f".{node.name}"] += 1
        self._blocks.append(_Block(indent, kind, node.name, header))
        for inner in node.body:
            if not isinstance(inner, ast.Pass):
                self._visit(inner, indent + 1)

    def _takes_cases(self, item: ast.expr) -> bool:
        if not (isinstance(item, ast.Call) and isinstance(item.func, ast.Attribute) and item.func.attr == _CASES):
            return False
        for given in (*item.args[1:], *(word.value for word in item.keywords if word.arg == "argvalues")):
            self.claims.cases.update(_members(given))
        return True

    def _express(self, value: ast.expr) -> None:
        if isinstance(value, ast.Await):
            value = value.value
        if isinstance(value, ast.Call) and _asserts(value):
            shown = ast.Call(value.func, value.args, [word for word in value.keywords if word.arg not in _MESSAGES])
            self._assert(ast.dump(shown), strength=of_call(shown), empty=_checks_nothing(value))
        elif isinstance(value, ast.Tuple):  # members of a list of cases, whose begin is not shown
            self.claims.cases.update(_members(value))
        elif isinstance(value, ast.Yield | ast.YieldFrom):
            self._end(bare=False)

    def _assign(self, node: ast.Assign | ast.AnnAssign) -> None:
        assert node.value is not None
        self.claims.cases.update(_members(node.value))
        if not self._blocks:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            self.claims.bound |= {item.id for one in targets for item in ast.walk(one) if isinstance(item, ast.Name)}

    def _assert(self, what: str, *, strength: int = 1, empty: bool = False) -> None:
        around: list[str] = []
        test = next((block.name for block in reversed(self._blocks) if block.kind == "def"), "")
        self.claims.strengths[test] += 0 if empty else strength
        for block in reversed(self._blocks):
            if block.kind == "def":
                break
            around.append(block.header if not block.kind else "")
        self.claims.asserted["\n".join((what, *around))] += 1
        if empty:
            self.claims.empty[what] += 1

    def _end(self, *, bare: bool) -> None:
        inner = next((block for block in reversed(self._blocks) if block.kind), None)
        if bare if inner is None else inner.name.startswith("test"):
            self.claims.ends += 1


def _header(node: ast.stmt) -> str:
    """Return what a compound statement says before its body."""
    parts: list[ast.AST] = []
    for name, value in ast.iter_fields(node):
        if name not in ("body", "orelse", "finalbody"):
            parts += value if isinstance(value, list) else [value] if isinstance(value, ast.AST) else []
    return type(node).__name__ + ",".join(map(ast.dump, parts))


def _is_collected(block: _Block) -> bool:
    return _CLASS.match(block.name) is not None or "Test" in block.header.partition("(")[2]


def _asserts(node: ast.expr) -> bool:
    if not isinstance(node, ast.Call):
        return False
    called = node.func
    name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
    return _ASSERTS.fullmatch(name) is not None


def _members(node: ast.expr) -> Iterator[str]:
    """Yield the members of a display, or a text or number itself."""
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        yield from map(ast.dump, node.elts)
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            yield f"{ast.dump(key) if key else ''}: {ast.dump(value)}"
    elif isinstance(node, ast.Constant) and isinstance(node.value, str | int | float | bytes):
        yield ast.dump(node)


def _holds_always(node: ast.expr) -> bool:
    """Tell whether an expression is true whatever the code does."""
    if isinstance(node, ast.Constant):
        return bool(node.value)
    if isinstance(node, ast.Tuple | ast.List):
        return bool(node.elts)
    if isinstance(node, ast.Lambda):
        return True
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return isinstance(node.operand, ast.Constant) and not node.operand.value
    if isinstance(node, ast.BoolOp):
        return (any if isinstance(node.op, ast.Or) else all)(map(_holds_always, node.values))
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq | ast.Is | ast.LtE):
        return _same(node.left, node.comparators[0])
    return False


def _checks_nothing(node: ast.Call) -> bool:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    given: Sequence[ast.expr] = node.args
    if name == "assertTrue" and given:
        return _holds_always(given[0])
    return name in ("assertEqual", "assertIs", "assertEquals") and len(given) > 1 and _same(given[0], given[1])


def _same(one: ast.expr, other: ast.expr) -> bool:
    return ast.dump(one) == ast.dump(other)
