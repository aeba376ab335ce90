"""What a configuration says, entry by entry: YAML, JSON, TOML and INI, whole files and pieces of them.

A patch shows pieces, and a hostile file need not parse; then keys are taken from the lines' indentation. Pure, and
bounded: text in, entries out.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from homeostat.core.errors import InvalidInput

ITEM = "[]"
"""The step of a path that leads to the members of a list."""

_MOST_BYTES = 1_000_000
_MOST_ENTRIES = 20_000
_DEPTH = 50

_NAMES = ("name", "id", "key", "agent", "agent_name", "task", "title")
"""What tells the members of a list apart, where they are mappings."""

_LINE = re.compile(
    r"""(?x) ^ (?P<indent>[ \t]*) (?P<dashes>(?:-[ \t]+)*) (?:
        (?P<bare>-) [ \t]* $
      | \[+ (?P<section>[^\]\[\n]+) \]+ [ \t]* $
      | ["']? (?P<key>[\w.$/@ -]{1,100}?) ["']? [ \t]* (?: : (?=[ \t]|$) | = ) [ \t]* (?P<value>.*)
      | (?P<item>.+)
    ) $"""
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One value of a configuration, and where it stands."""

    path: tuple[str, ...]
    """The keys that lead to it; `ITEM` or ``[name]`` for a member of a list."""

    value: str
    line: int


def entries_of(*texts: str, suffix: str) -> list[list[Entry]]:
    """Return the entries of each text of a file whose name ends with `suffix`; duplicates of a key are all there.

    All are read in the same way: as lines where one of them does not parse. Raises `InvalidInput` where one is larger
    than 1 MB or has more than 20,000 entries, as of aliases within aliases.
    """
    if max(map(len, texts), default=0) > _MOST_BYTES:
        raise InvalidInput("configuration-too-large", f"this configuration has more than {_MOST_BYTES:,} characters")
    try:
        if suffix in (".yaml", ".yml", ".json"):
            return [_bounded(_of_nodes(text)) for text in texts]
        if suffix == ".toml":
            return [_bounded(_of_values(tomllib.loads(text), (), _Lines(text), 0)) for text in texts]
    except (yaml.YAMLError, RecursionError, ValueError):  # a TOML error is a ValueError
        pass
    return [_bounded(_of_lines(text)) for text in texts]


def added_entries(before: str, after: str, *, suffix: str) -> list[Entry]:
    """Return the entries that there are more of than before, in their order."""
    old, new = entries_of(before, after, suffix=suffix)
    left = Counter((entry.path, entry.value) for entry in old)
    added = []
    for entry in new:
        if left[entry.path, entry.value] > 0:
            left[entry.path, entry.value] -= 1
        else:
            added.append(entry)
    return added


def _bounded(entries: Iterator[Entry]) -> list[Entry]:
    found: list[Entry] = []
    for entry in entries:
        found.append(entry)
        if len(found) > _MOST_ENTRIES:
            raise InvalidInput("configuration-too-large", f"this has more than {_MOST_ENTRIES:,} entries")
    return found


def _of_nodes(text: str) -> Iterator[Entry]:
    for document in yaml.compose_all(text, Loader=yaml.SafeLoader):
        if document is not None:
            yield from _below(document, (), 0)


def _below(node: yaml.Node, path: tuple[str, ...], depth: int) -> Iterator[Entry]:
    if depth > _DEPTH:
        raise InvalidInput("configuration-too-deep", f"this is nested deeper than {_DEPTH}")
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else "?"
            yield from _below(value, (*path, str(name)), depth + 1)
        if not node.value:
            yield Entry(path, "{}", node.start_mark.line + 1)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _below(item, (*path, _named(item)), depth + 1)
    else:
        yield Entry(path, str(node.value), node.start_mark.line + 1)


def _named(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in _NAMES and isinstance(value, yaml.ScalarNode):
                return f"[{value.value}]"
    return ITEM


class _Lines:
    """Finds lines for values of a format whose parser tells none."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")

    def of(self, *words: str) -> int:
        """Return the first line that has all words, else the first that has the last one, else 1."""
        for wanted in (words, words[-1:]):
            for number, line in enumerate(self._lines, start=1):
                if all(word in line for word in wanted):
                    return number
        return 1


def _of_values(value: object, path: tuple[str, ...], lines: _Lines, depth: int) -> Iterator[Entry]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _of_values(below, (*path, str(key)), lines, depth + 1)
    elif isinstance(value, list):
        for item in value:
            name = next((str(item[key]) for key in _NAMES if key in item), "") if isinstance(item, dict) else ""
            yield from _of_values(item, (*path, f"[{name}]"), lines, depth + 1)
    else:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        key = next((step for step in reversed(path) if not step.startswith("[")), "")
        yield Entry(path, text, lines.of(key, text) if len(text) < 200 else lines.of(key))


def _of_lines(text: str) -> Iterator[Entry]:
    """Read keys by their indentation, whatever the whole is; flow lists and mappings count as one value each item."""
    above: list[tuple[int, str]] = []
    section: tuple[str, ...] = ()
    for number, line in enumerate(text.split("\n"), start=1):
        bare = line.strip()
        match = _LINE.match(line)
        if not bare or match is None or bare[0] in "#;" or bare.startswith("//"):
            continue
        if match["section"]:
            section, above = (match["section"].strip(),), []
            continue
        dashes = len(match["dashes"])
        indent = len(match["indent"].expandtabs()) + dashes
        # A list may stand as far to the left as the key that it belongs to.
        member = dashes > 0 or match["bare"] is not None
        place = indent - dashes if member else indent
        while above and (above[-1][0] > place or (above[-1][0] == place and not (member and above[-1][1] != ITEM))):
            above.pop()
        if member:
            above.append((place, ITEM))
        path = (*section, *(key for _, key in above))
        if match["key"] is None:
            yield from _items(path, match["item"] or "", number)
            continue
        key, value = match["key"].strip(), match["value"].strip()
        if value and value not in ("{", "[", "|", ">", "|-", ">-"):
            yield from _items((*path, key), value, number)
        if not value or value[-1] in "{[|>-":
            above.append((indent, key))


def _items(path: tuple[str, ...], value: str, line: int) -> Iterator[Entry]:
    value = re.sub(r"\s+#.*$", "", value).strip().rstrip(",").strip()
    if value.startswith(("[", "{")):
        for item in re.split(r"[,\[\]{}]", value):
            if item.strip():
                yield from _pair((*path, ITEM), item.strip(), line)
    elif value not in ("", "]", "}", "],", "},"):
        yield Entry(path, value.strip("\"'"), line)


def _pair(path: tuple[str, ...], item: str, line: int) -> Iterator[Entry]:
    key, colon, value = item.partition(":")
    if colon and value[:1] in ("", " "):
        yield Entry((*path, key.strip(" \"'")), value.strip(" \"'"), line)
    else:
        yield Entry(path, item.strip("\"'"), line)
