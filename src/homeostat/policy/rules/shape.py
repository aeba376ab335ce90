"""The one shape of a rule, and what several rules need to look at a change."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from homeostat.model.change import FileChange, TreeChange
from homeostat.model.proof import PolicyFinding
from homeostat.policy.document import PolicyDocument
from homeostat.policy.line_changes import line_changes

TEST_FILE = re.compile(r"(?i)(?:^|.*/)(?:tests?|testing)/.*|(?:.*/)?(?:test_[^/]*|[^/]*_test|conftest)\.py")
"""Paths of tests and of what only they use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule: pure, total, and silent where it has nothing to say."""

    id: str
    summary: str
    check: Callable[[TreeChange, PolicyDocument], Iterable[PolicyFinding]]


def base_name(path: str) -> str:
    """Return the last part of a path."""
    return path.rpartition("/")[2]


def added_lines(change: FileChange) -> Iterator[tuple[int, str]]:
    """Yield (line number in the new file, text) of every line that is new or changed.

    Bytes that are no UTF-8 are shown with replacement characters: a rule must see every line.
    """
    if change.after is not None:
        yield from _added_lines(None if change.before is None else change.before.content, change.after.content)


@lru_cache(maxsize=64)
def _added_lines(before: bytes | None, after: bytes) -> tuple[tuple[int, str], ...]:
    """Compare once for all rules, which look at the same files one after the other."""
    lines = _lines(after)
    if before is None:
        return tuple(enumerate(lines, start=1))
    return tuple((index + 1, lines[index]) for index in line_changes(_lines(before), lines).added)


def changed_line_count(change: FileChange) -> int:
    """Count lines that are added and lines that are removed."""
    before = _lines(change.before.content) if change.before else []
    after = _lines(change.after.content) if change.after else []
    changes = line_changes(before, after)
    return len(changes.added) + changes.removed


def changed_away(change: FileChange) -> bool:
    """Tell whether any line of the file before is gone or stands elsewhere."""
    before = _lines(change.before.content) if change.before else []
    after = _lines(change.after.content) if change.after else []
    return line_changes(before, after).removed > 0


def _lines(content: bytes) -> list[str]:
    return content.decode("utf-8", errors="replace").split("\n")
