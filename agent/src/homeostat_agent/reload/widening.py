"""What an aggressive change takes into a running module beyond a safe one, each with the risk that it takes.

Pure. Begins where the safe rules refused, and takes up one obstacle after the other, until none is left that it knows
how to take: statements of the top level and decorated functions run again in the module, classes get other bases,
functions other parameters or free variables. What of this nothing true can be done for stays an obstacle.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Optional

from homeostat_agent.reload.caches import is_cache, wrapped_in_caches
from homeostat_agent.reload.compare import Differences, Obstacle, label_of_module
from homeostat_agent.reload.importtime import ImportRuns, looks_at_names, run_inside
from homeostat_agent.reload.newnames import bound_names, new_name
from homeostat_agent.reload.outline import (
    ClassOutline,
    FunctionOutline,
    Item,
    ModuleOutline,
    Statement,
    functions_of,
    names_read,
)
from homeostat_agent.reload.pairing import FREE_VARIABLES, Skipped
from homeostat_agent.reload.risks import (
    AGAIN,
    BASES,
    GONE,
    RISK_ADDED,
    RISK_AGAIN,
    RISK_BASES,
    RISK_GONE,
    RISK_REGISTERED,
    RISK_SHAPE,
    SHAPE,
    Again,
    ChangedBases,
    Said,
    bases_obstacle,
    first_name,
    shape_obstacle,
)
from homeostat_agent.reload.topitems import (
    class_of,
    decorator_lines,
    is_block,
    is_function,
    is_new,
    is_part,
    label_of,
    lines_of,
    text_of,
    without_docstring,
)

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass
class Widening:
    """What is taken up so far. `take` is asked again, with what stands against the rest, until it takes up no more."""

    old: ModuleOutline
    new: ModuleOutline
    again: dict[int, Again] = field(default_factory=dict)
    """By `id` of the node in the new source."""

    bases: dict[str, ChangedBases] = field(default_factory=dict)
    shapes: dict[str, tuple[FunctionOutline, FunctionOutline]] = field(default_factory=dict)
    outers: dict[str, tuple[FunctionOutline, FunctionOutline]] = field(default_factory=dict)
    """Functions that change because of the free variables of what is inside them."""

    makers: dict[str, FunctionOutline] = field(default_factory=dict)
    """Functions of the old source that run at import and change: what runs again makes anew what they made."""

    block_changed: bool = False
    """Whether the block of `if __name__ == "__main__"` differs, which nothing runs again."""

    _dropped: dict[int, Item] = field(default_factory=dict)
    _gone: dict[int, Statement] = field(default_factory=dict)
    _counterparts: dict[int, Statement] = field(default_factory=dict)
    _runs: Optional[tuple[ImportRuns, ImportRuns]] = None

    def eased(self) -> tuple[ModuleOutline, ModuleOutline]:
        """Return both outlines without what runs again, so that the rest can be compared."""
        added = {id(item.node) for item in self._new_functions()} & self.again.keys()
        return (
            ModuleOutline(self.old.tree, tuple(item for item in self.old.items if id(item.node) not in self._dropped)),
            ModuleOutline(
                self.new.tree,
                tuple(
                    item
                    for item in self.new.items
                    if id(item.node) not in self._dropped
                    and (id(item.node) not in self.again or isinstance(item, FunctionOutline))
                    and id(item.node) not in added
                ),
            ),
        )

    def trim(self, found: Differences) -> None:
        """Leave out of the differences what comes with a statement that runs again, or with what is around it."""
        nodes = {id(item.node) for item in self.again.values()}
        found.defaults = [pair for pair in found.defaults if id(pair[1].node) not in nodes]
        found.annotated = [pair for pair in found.annotated if id(pair[1].node) not in nodes]
        found.defaults = [pair for pair in found.defaults if pair[1].qualname not in self.shapes]
        for name, pair in self.outers.items():
            inside = f"{name}.<locals>."
            found.changed = [other for other in found.changed if not other[1].qualname.startswith(inside)]
            if all(other[1] is not pair[1] for other in found.changed):
                found.changed.append(pair)
        for before, after in self.shapes.values():
            if all(other[1] is not after for other in found.changed):
                found.changed.append((before, after))

    def take(self, obstacles: Sequence[Obstacle], found: Differences) -> tuple[list[Obstacle], bool]:
        """Take up what can be; return what is left, and whether it is worth comparing anew."""
        before = self._size()
        left = [kept for item in obstacles if (kept := self._take(item, found)) is not None]
        if not left and self._size() == before:
            left = self._follow()
        return left, self._size() != before

    def skipped(self) -> Skipped:
        """Return the lines whose code needs no counterpart."""
        matched = [item for item in self.new.items if isinstance(item, FunctionOutline) and id(item.node) in self.again]
        added = {id(item.node) for item in self._new_functions()}
        twins = [(self._old_function(item.name), item) for item in matched if id(item.node) not in added]
        new = [item.node for item in self.again.values() if not isinstance(item.node, _FUNCTIONS)]
        new += [item.node for item in matched if id(item.node) in added]
        new += [item.node for item in self.new.items if id(item.node) in self._dropped]
        return Skipped(
            lines_of(item.node for item in self.old.items if id(item.node) in self._dropped),
            lines_of(new),
            (
                frozenset(line for twin, _ in twins if twin is not None for line in decorator_lines(twin)),
                frozenset(line for _, item in twins for line in decorator_lines(item)),
            ),
        )

    def statements(self) -> list[Again]:
        """Return what runs again, in the order of the source."""
        order = {id(item.node): index for index, item in enumerate(self.new.items)}
        return [self.again[key] for key in sorted(self.again, key=lambda key: order[key])]

    def said(self) -> list[Said]:
        """Return what is to be said in the plan."""
        found = [Said(item.label, item.node.lineno, AGAIN, item.reason, item.risk) for item in self.statements()]
        found.extend(
            Said("<module>", item.node.lineno, GONE, f"it is gone: {text_of(item.node)}", RISK_GONE)
            for item in self._gone.values()
        )
        found.extend(
            Said(name, item.new.node.lineno, BASES, "gets its new bases in place, with all objects of it", RISK_BASES)
            for name, item in self.bases.items()
        )
        found.extend(
            Said(name, after.node.lineno, SHAPE, "its parameters change with its body", RISK_SHAPE)
            for name, (_, after) in self.shapes.items()
        )
        return found

    def _size(self) -> tuple[int, ...]:
        return (len(self.again), len(self.bases), len(self.shapes), len(self.outers), len(self._dropped))

    def _take(self, item: Obstacle, found: Differences) -> Obstacle | None:
        """Take one obstacle up; return it, or what there is to be said in its place, where it stays."""
        function = self._new_function(item.qualname)
        if function is not None and id(function.node) in self.again and item.part in _WITH_THE_STATEMENT:
            return None
        takers = {
            "statements": self._take_statements,
            "decorators": self._take_decorators,
            "signature": self._take_shape,
            "bases or keywords": self._take_bases,
            "name": self._take_name,
            "added": self._take_name,
            "constant": self._take_constant,
            FREE_VARIABLES: self._take_outer,
        }
        if item.part == "import":
            return self._take_makers(item, found)
        taker = takers.get(item.part)
        reason = taker(item) if taker is not None else item.reason
        return None if not reason else Obstacle(item.qualname, item.line, reason, item.part)

    def _take_statements(self, item: Obstacle) -> str:
        if item.qualname != "<module>":
            return item.reason
        old, new = (without_docstring(side.items) for side in self.eased())
        known, names = bound_names(self.old.tree), {one.name for one in old if not isinstance(one, Statement)}
        new = [one for one in new if not is_new(one, names, known)]
        labels = [label_of_module(one) for one in old], [label_of_module(one) for one in new]
        matcher = SequenceMatcher(a=labels[0], b=labels[1], autojunk=False)
        gone, fresh = [], []
        for word, start, end, other_start, other_end in matcher.get_opcodes():
            if word != "equal":
                gone.extend(old[start:end])
                fresh.extend(new[other_start:other_end])
        if not all(isinstance(one, Statement) for one in (*gone, *fresh)):
            return item.reason
        statements = [one for one in (*gone, *fresh) if isinstance(one, Statement)]
        reason = next((words for one in statements if (words := self._stands_alone(one))), "")
        reason = reason or self._still_read(statements[: len(gone)])
        if reason:
            return reason
        for one in statements[: len(gone)]:
            self._drop(one)
            if not is_block(one.node):
                self._gone[id(one.node)] = one
        for one in statements[len(gone) :]:
            self._run(one, "runs in the running module")
        self._settle_gone()
        return ""

    def _still_read(self, gone: list[Statement]) -> str:
        """Say which name nothing binds any more, and is read all the same: a fresh process would miss it."""
        bound = bound_names(ast.Module(body=[item.node for item in gone], type_ignores=[])).keys()
        read = {node.id for node in ast.walk(self.new.tree) if isinstance(node, ast.Name)}
        names = sorted((bound - bound_names(self.new.tree).keys()) & read)
        return f"`{names[0]}` is gone, and read all the same" if names else ""

    def _settle_gone(self) -> None:
        """Leave out of what is said to be gone that which the new source has in another form."""
        bound = {name for item in self.again.values() for name in item.binds}
        for key, item in list(self._gone.items()):
            names = bound_names(ast.Module(body=[item.node], type_ignores=[])).keys()
            if names and names <= bound:
                del self._gone[key]

    def _take_decorators(self, item: Obstacle) -> str:
        function = self._new_function(item.qualname)
        if function is None:
            return f"{item.reason}, and only those of functions of the top level run again"
        twin = self._old_function(item.qualname)
        if twin is None or sum(is_function(one, item.qualname) for one in self.new.items) > 1:
            return "is defined more than once in its scope"
        if twin.header()["signature"] != function.header()["signature"]:
            return "its decorators changed and its signature, and what the old ones registered would call it wrongly"
        return self._run(function, "its decorators changed: its statement runs again in the running module")

    def _take_shape(self, item: Obstacle) -> str:
        pair = self._functions(item.qualname)
        if pair is None:
            return item.reason
        reason = shape_obstacle(*pair, (self.old, self.new))
        if not reason:
            self.shapes[item.qualname] = pair
        return reason

    def _take_bases(self, item: Obstacle) -> str:
        old, new = (class_of(side, item.qualname) for side in (self.old, self.new))
        reason = item.reason if old is None or new is None else bases_obstacle(old, new)
        if reason or old is None or new is None:
            return reason
        made = {name for one in self.again.values() for name in one.binds}
        known = bound_names(self.old.tree)
        made.update(found.name for one in self.new.items if (found := new_name(one)) and found.name not in known)
        first = {first_name(base) for base in new.node.bases}
        if first & made:
            return "a new base of it is made by the same change"
        self.bases[item.qualname] = ChangedBases(old, new)
        return ""

    def _take_name(self, item: Obstacle) -> str:
        for one in self.new.items:
            name = new_name(one)
            if (name is not None and name.name == item.qualname) or is_function(one, item.qualname):
                if isinstance(one, FunctionOutline) and self._old_function(one.name) is not None:
                    continue
                return self._run(one, "its statement runs in the running module", RISK_ADDED)
        return item.reason

    def _take_constant(self, item: Obstacle) -> str:
        sides = [
            [one for one in side.items if isinstance(one, Statement) and label_of_module(one)[1] == item.qualname]
            for side in (self.old, self.new)
        ]
        if any(len(side) != 1 for side in sides):
            return item.reason
        reason = self._run(sides[1][0], f"{item.reason}: set again, with what is made of it")
        if not reason:
            self._drop(sides[0][0])
        return reason

    def _take_outer(self, item: Obstacle) -> str:
        name, inside, _ = item.qualname.partition(".<locals>.")
        pair = self._functions(name) if inside else None
        if pair is None or (pair[1].name.startswith("__") and pair[1].name.endswith("__")):
            return item.reason
        self.outers[name] = pair
        return ""

    def _take_makers(self, item: Obstacle, found: Differences) -> Obstacle | None:
        """Let what calls a changed function at import run again."""
        pairs = [*found.changed, *found.defaults]
        pair = next((pair for pair in pairs if pair[1].qualname == item.qualname), None)
        if pair is None:
            return self._added_at_import(item)
        for index, function in enumerate(pair):
            for node in self._still_run(index):
                if all(function.node is not one for one in self._import_runs(index).by([node])):
                    continue
                reason = self._run_again(index, node)
                if reason:
                    return Obstacle(item.qualname, item.line, f"{item.reason}, and {reason}", item.part)
        self.makers[item.qualname] = pair[0]
        return None

    def _added_at_import(self, item: Obstacle) -> Obstacle | None:
        """Accept a new function that import uses, where only what runs now does so: it is there by then."""
        added = next((one for one in functions_of(self.new.items) if one.qualname == item.qualname), None)
        if added is None:
            return item
        users = [node for node in self._still_run(1) if added.node in self._import_runs(1).by([node])]
        reason = next((words for node in users if (words := self._run_again(1, node))), "")
        return Obstacle(item.qualname, item.line, f"{item.reason}, and {reason}", item.part) if reason else None

    def _still_run(self, index: int) -> list[ast.stmt]:
        side = (self.old, self.new)[index]
        again = self.again.keys() if index else {id(self._twin_of(one)) for one in self.again.values()}
        return [node for node in side.tree.body if id(node) not in self._dropped and id(node) not in again]

    def _twin_of(self, item: Again) -> ast.stmt | None:
        twin = self._old_function(item.label) if isinstance(item.node, _FUNCTIONS) else None
        return twin.node if twin is not None else None

    def _run_again(self, index: int, node: ast.stmt) -> str:
        """Let a statement of either source that did not change itself run again; say why it cannot."""
        if isinstance(node, ast.ClassDef):
            return f"the class `{node.name}` is made of it"
        if isinstance(node, _FUNCTIONS):
            function = self._new_function(node.name)
            twin = self._old_function(node.name)
            if function is None or twin is None or twin.header()["signature"] != function.header()["signature"]:
                return f"`{node.name}` is made of it"
            return self._run(function, "it is made of what changed: its statement runs again", RISK_REGISTERED)
        if is_block(node):
            return ""
        pair = self._statements_like(node, index)
        if pair is None:
            return "a statement that uses it has no counterpart"
        reason = self._run(pair[1], "it is made of what changed, and runs again")
        if not reason:
            self._drop(pair[0])
        return reason

    def _statements_like(self, node: ast.stmt, index: int) -> tuple[Statement, Statement] | None:
        own = next((one for one in (self.old, self.new)[index].items if one.node is node), None)
        if not isinstance(own, Statement):
            return None
        label = label_of_module(own)
        alike = [
            [one for one in side.items if isinstance(one, Statement) and label_of_module(one) == label]
            for side in (self.old, self.new)
        ]
        if len(alike[0]) != len(alike[1]):
            return None
        place = next(place for place, one in enumerate(alike[index]) if one is own)
        return alike[0][place], alike[1][place]

    def _follow(self) -> list[Obstacle]:
        """Let run again what reads at import what is bound anew; return what cannot."""
        names = {name for item in self.again.values() for name in item.binds}
        if not names:
            return []
        if looks_at_names(self.new.tree):
            line = min(item.node.lineno for item in self.again.values())
            return [Obstacle("<module>", line, "import looks at all names, and some would be made anew")]
        left = []
        for node in self._still_run(1):
            if is_block(node) or names.isdisjoint(self._reads(node)):
                continue
            item = next((one for one in self.new.items if one.node is node), None)
            if isinstance(item, FunctionOutline) and self._old_function(item.name) is None:
                self._run(item, "its statement runs in the running module", RISK_ADDED)
                continue
            if item is not None and (name := new_name(item)) and name.name not in bound_names(self.old.tree):
                self._run(item, "its statement runs in the running module", RISK_ADDED)
                continue
            reason = self._run_again(1, node)
            if reason:
                used = ", ".join(f"`{name}`" for name in sorted(names & self._reads(node)))
                qualname = item.qualname if isinstance(item, (FunctionOutline, ClassOutline)) else "<module>"
                left.append(Obstacle(qualname, node.lineno, f"it is made of {used}, which would be made anew"))
        return [*left, *self._follow_caches(names)]

    def _follow_caches(self, names: set[str]) -> list[Obstacle]:
        """Give a new cache to what reads, or may call what reads, what is bound anew; return what cannot have one."""
        left = []
        wrapped = wrapped_in_caches(self.new.tree)
        for item in functions_of(self.new.items):
            if id(item.node) in self.again or not (
                item.name in wrapped or any(is_cache(name) for name in item.decorator_names())
            ):
                continue
            called = run_inside(self.new.tree, [item.node])
            bodies = [one for one in ast.walk(self.new.tree) if isinstance(one, _FUNCTIONS)]
            reached = [item.node, *(one for one in bodies if (one.name, one.lineno) in called)]
            read = {node.id for body in reached for node in ast.walk(body) if isinstance(node, ast.Name)} & names
            if not read:
                continue
            plain = item in self.new.items and item.name not in wrapped
            if not plain or self._run_again(1, item.node):
                used = ", ".join(f"`{name}`" for name in sorted(read))
                words = f"results that it caches depend on {used}, which would be made anew"
                left.append(Obstacle(item.qualname, item.node.lineno, words))
        return left

    def _reads(self, node: ast.stmt) -> set[str]:
        found = names_read([node])
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            return found
        for function in self._import_runs(1).by([node]):
            found.update(one.id for one in ast.walk(function) if isinstance(one, ast.Name))
        return found

    def _import_runs(self, index: int) -> ImportRuns:
        if self._runs is None:
            self._runs = (ImportRuns(self.old.tree), ImportRuns(self.new.tree))
        return self._runs[index]

    def _run(self, item: Item, reason: str, risk: str = "") -> str:
        """Let the statement of an item of the new source run again; say why it cannot."""
        words = self._stands_alone(item)
        if words:
            return words
        if is_block(item.node):
            self._drop(item)
            return ""
        label = item.name if not isinstance(item, Statement) else label_of(item)
        if not risk:
            risk = RISK_REGISTERED if isinstance(item, FunctionOutline) else RISK_AGAIN
        if isinstance(item, Statement):
            reason = f"{reason}: `{text_of(item.node)}`"
        if id(item.node) not in self.again:
            self.again[id(item.node)] = Again(label, item.node, reason, risk, self._bound_by_calls(item))
        return ""

    def _bound_by_calls(self, item: Item) -> frozenset[str]:
        if not isinstance(item, Statement) or isinstance(item.node, (ast.Import, ast.ImportFrom)):
            return frozenset()
        called = self._import_runs(1).by([item.node])
        found = (one for function in called for one in ast.walk(function) if isinstance(one, ast.Global))
        return frozenset(name for one in found for name in one.names)

    def _drop(self, item: Item) -> None:
        self._dropped.setdefault(id(item.node), item)
        self.block_changed = self.block_changed or is_block(item.node)

    def _stands_alone(self, item: Item) -> str:
        """Say why a statement cannot be run by itself."""
        node = item.node
        if isinstance(node, ast.ImportFrom) and (node.module == "__future__" or node.names[0].name == "*"):
            return f"`{text_of(node)}` changes what other names mean"
        own = lines_of([node])
        for side in (self.old, self.new):
            if any(one.node is node for one in side.items):
                others = [one.node for one in side.items if not is_part(one.node, node)]
                if own & lines_of(others):
                    return "a statement that changed shares its line with another"
        return ""

    def _new_functions(self) -> list[FunctionOutline]:
        return [
            item
            for item in self.new.items
            if isinstance(item, FunctionOutline) and self._old_function(item.name) is None
        ]

    def _new_function(self, name: str) -> FunctionOutline | None:
        return next((item for item in self.new.items if isinstance(item, FunctionOutline) and item.name == name), None)

    def _old_function(self, name: str) -> FunctionOutline | None:
        found = [item for item in self.old.items if isinstance(item, FunctionOutline) and item.name == name]
        return found[0] if len(found) == 1 else None

    def _functions(self, qualname: str) -> tuple[FunctionOutline, FunctionOutline] | None:
        sides = [
            [item for item in functions_of(side.items) if item.qualname == qualname] for side in (self.old, self.new)
        ]
        if any(len(side) != 1 for side in sides) or "<locals>" in qualname:
            return None
        return sides[0][0], sides[1][0]


_WITH_THE_STATEMENT = frozenset({"decorators", "defaults", "annotations", "default", "annotation"})
"""What a function gets by its statement when that runs again."""
