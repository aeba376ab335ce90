"""What the source of one module shows of how it looks at others: which of their names it asks for, or all of them.

A name that was not there when it was asked for cannot be given later: whoever found it missing has made do without.
Pure: texts in, words out. No types are followed, so a module counts as looking at another as soon as it names it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass

_ALL_NAMES = frozenset(
    {"vars", "dir", "__dict__", "getmembers", "getmembers_static", "__getattribute__", "eval", "exec"}
)
_BY_NAME = {"getattr": 1, "hasattr": 1, "getattr_static": 1, "attrgetter": 0, "methodcaller": 0}
"""What looks a name up, and which argument says it."""

_ANY_MODULE = frozenset(
    {"modules", "import_module", "__import__", "iter_modules", "walk_packages", "get_objects", "get_referrers"}
)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Onlooker:
    """What a source has of words, by what they do there."""

    words: frozenset[str]
    """All names, and all words of imports, attributes and texts: what a module may be known by."""

    attributes: frozenset[str]
    kept: frozenset[str]
    """Attributes that it reads and does not call right there: what it got of a class may be held for good."""

    texts: frozenset[str]
    imports: frozenset[tuple[str, str]]
    """Imported names, each with the last word of the module that it is from; that is empty where only dots are."""

    looks: str
    """What it looks at all names of something with; empty where it does not."""

    climbs: bool
    """It imports by way of a package that it lies in."""

    def uses(self, words: frozenset[str]) -> bool:
        """Tell whether it may ask objects for one of these: as attribute, import or text."""
        imported = {name for _, name in self.imports}
        return not (words.isdisjoint(self.attributes) and words.isdisjoint(self.texts) and words.isdisjoint(imported))

    def refers_to(self, known_as: frozenset[str], *, is_package: bool) -> bool:
        """Tell whether it may get at a module that is known by these words."""
        return not self.words.isdisjoint(known_as | _ANY_MODULE) or (is_package and self.climbs)

    def all_taken(self, known_as: frozenset[str]) -> str:
        """Say how it takes along, or looks at, all names of a module that it refers to; empty where it does not."""
        star = next((source for source in (*known_as, "") if (source, "*") in self.imports), None)
        if star is not None:
            return f"imports all names of `{star or '.'}`"
        return f"may look at all its names (`{self.looks}`)" if self.looks else ""

    def missed(self, name: str, known_as: frozenset[str], *, is_member: bool) -> str:
        """Say how it may have met the absence of a name of a module that it refers to, or of a class in it."""
        if name in self.texts:
            return f"looks `{name}` up as text"
        if is_member:
            return f"may look at all its names (`{self.looks}`)" if self.looks else ""
        if any((source, name) in self.imports for source in (*known_as, "")):
            return f"imports `{name}` by its name"
        if name in self.attributes:
            return f"asks for a `{name}`"
        taken = self.all_taken(known_as)
        return "" if name.startswith("_") and not self.looks else taken


def onlooker(source: str) -> Onlooker:
    """Read a source; raises as a compiler does."""
    words: set[str] = set()
    attributes: set[str] = set()
    texts: set[str] = set()
    imports: set[tuple[str, str]] = set()
    climbs = False
    tree = ast.parse(source.lstrip("\ufeff"))
    nodes = list(ast.walk(tree))
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    kept = {node.attr for node in nodes if isinstance(node, ast.Attribute) and id(node) not in called}
    for node in nodes:
        if isinstance(node, ast.Name):
            words.add(node.id)
        elif isinstance(node, ast.Attribute):
            words.add(node.attr)
            attributes.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words.update(_WORD.findall(node.value))
            texts.update(node.value.split("."))
        elif isinstance(node, ast.ImportFrom):
            climbs = climbs or node.level > 0
            source_word = (node.module or "").rpartition(".")[2]
            imports.update((source_word, alias.name) for alias in node.names)
            words.update(_WORD.findall(node.module or ""))
        if isinstance(node, ast.alias):
            words.update(_WORD.findall(f"{node.name} {node.asname or ''}"))
    return Onlooker(
        words=frozenset(words),
        attributes=frozenset(attributes),
        kept=frozenset(kept),
        texts=frozenset(texts),
        imports=frozenset(imports),
        looks=look_at_all(nodes),
        climbs=climbs,
    )


def look_at_all(nodes: Sequence[ast.AST]) -> str:
    """Return what these nodes of a source may look at all names of something with; empty where there is none."""
    said = {id(node.func) for node in nodes if isinstance(node, ast.Call) and _is_said(node)}
    for node in nodes:
        word = node.name if isinstance(node, ast.alias) else getattr(node, "attr", getattr(node, "id", ""))
        if word in _ALL_NAMES:
            return str(word)
        # Anything but a call with the name as text: `map(getattr, ...)`, or an import by another name.
        if word in _BY_NAME and id(node) not in said and not (isinstance(node, ast.alias) and node.asname is None):
            return str(word)
    return ""


def _is_said(call: ast.Call) -> bool:
    """Tell whether a call says as text which names it looks up."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    given = call.args[_BY_NAME.get(name, 0) :]
    given = given[:1] if _BY_NAME.get(name) else given
    return bool(given) and all(isinstance(item, ast.Constant) and isinstance(item.value, str) for item in given)
