"""The program under care: real source text that is really run, so that what a change does is what its code does.

Each part is one module with one function; a request is one of ten kinds, all equally frequent. The
program's own tests ask for the first two kinds only, as tests do.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import unified_diff
from functools import lru_cache
from typing import Any

from homeostat.core.ids import CommitId
from homeostat.model.change import FileState
from homeostat.model.proof import TestRun
from homeostat.testing.fake_prover import test_run
from homeostat.testing.memory_repository import MemoryRepository

PARTS = ("cart", "search", "stock")
KINDS = range(10)
TESTED = (0, 1)
STUCK = "stuck"
"""What a request answers that never comes back: its process serves nobody from then on."""

_CLAUSE = re.compile(r"    if kind in \(([\d, ]+)\):\n        ([^\n]+)\n")
FUNCTION = "answer"
"""The one function of each part. It is pure."""

_HEAD = f"def {FUNCTION}(kind):\n"


def path_of(part: str) -> str:
    return f"shop/{part}.py"


def source_of(part: str, *clauses: str) -> str:
    return f'"""Answers requests for {part}."""\n\nLIMIT = 10\n\n\n{_HEAD}{"".join(clauses)}    return kind % LIMIT\n'


def clause(kinds: tuple[int, ...], what: str) -> str:
    """Return the lines that treat some kinds of request in their own way."""
    listed = ", ".join(map(str, kinds)) + ("," if len(kinds) == 1 else "")
    return f"    if kind in ({listed}):\n        {what}\n"


def with_clause(source: str, lines: str) -> str:
    return source.replace(_HEAD, _HEAD + lines, 1)


def without_clauses(source: str) -> str:
    """Return the source with every special treatment removed: the program as it should be."""
    return _CLAUSE.sub("", source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one kind of request gets of one source."""

    value: object
    error: str
    """Type of the exception; empty when it answered."""

    line: int


@lru_cache(maxsize=4096)
def reply(source: str, path: str, kind: int) -> Reply:
    """Run the source for one request."""
    names: dict[str, Any] = {}
    try:
        exec(compile(source, path, "exec"), names)  # noqa: S102 - texts of this module, and of nobody else
        return Reply(value=names[FUNCTION](kind), error="", line=0)
    except Exception as error:
        line = 0
        trace = error.__traceback__
        while trace is not None:
            line = trace.tb_lineno
            trace = trace.tb_next
        return Reply(value=None, error=type(error).__name__, line=line)


def failing_share(sources: Mapping[str, str]) -> float:
    """Return the share of all requests that fail, or never come back, with these sources."""
    replies = [reply(source, path, kind) for path, source in sources.items() for kind in KINDS]
    return sum(bool(item.error) or item.value == STUCK for item in replies) / len(replies)


def run_tests(repository: MemoryRepository, commit: CommitId) -> TestRun:
    """Run the program's own tests on one commit."""
    outcomes = {}
    for path, source in sources_at(repository.at(commit).tree).items():
        for kind in TESTED:
            answer = reply(source, path, kind)
            outcomes[f"tests/test_{path[5:-3]}.py::test_{kind}"] = "failed" if answer.error else "passed"
    return test_run(outcomes)


def sources_at(tree: Mapping[str, FileState]) -> dict[str, str]:
    """Return the program's modules of a tree, or of what lies on disk."""
    return {path_of(part): tree[path_of(part)].content.decode() for part in PARTS if path_of(part) in tree}


def diff_of(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Return the unified diff as a person would make it; an absent text is a file that is not there."""
    lines: list[str] = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old != new:
            lines += unified_diff(
                (old or "").splitlines(keepends=True),
                (new or "").splitlines(keepends=True),
                f"a/{path}" if old is not None else "/dev/null",
                f"b/{path}" if new is not None else "/dev/null",
            )
    return "".join(lines)
