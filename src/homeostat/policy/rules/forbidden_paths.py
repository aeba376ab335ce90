"""Paths that no proposal may touch: infrastructure, governance, credentials, and our own files."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from homeostat.model.change import TreeChange
from homeostat.model.proof import PolicyFinding, PolicySeverity
from homeostat.policy.document import PolicyDocument
from homeostat.policy.look_alikes import skeleton
from homeostat.policy.rules.shape import Rule


def _check(change: TreeChange, document: PolicyDocument) -> Iterable[PolicyFinding]:
    for path in change.touched_paths:  # rename sources are touched too
        pattern = next(_matching(path, document), None)
        if pattern is not None:
            yield PolicyFinding(
                rule="forbidden-paths",
                severity=PolicySeverity.BLOCK,
                path=path,
                line=None,
                message=f"no proposal may touch {pattern}",
                remedy="a person changes this file by hand, outside of proposals",
            )


def _matching(path: str, document: PolicyDocument) -> Iterator[str]:
    folded = _fold(path)
    for pattern in document.forbidden:
        if _compiled(_fold(pattern)).fullmatch(folded):
            yield pattern


def _fold(path: str) -> str:
    """Fold letter case and composition, as some file systems do, letters that look Latin, and what Windows drops."""
    return "/".join(part.rstrip(" .") or part for part in skeleton(path).split("/"))


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    """Translate a glob: ``**`` any depth, ``*`` and ``?`` within one segment; it may start at any folder.

    A pattern also matches everything below a folder that it names.
    """
    out = []
    index = 0
    while index < len(pattern):
        if pattern.startswith("**", index):
            out.append(".*")
            index += 2
        elif pattern[index] == "*":
            out.append("[^/]*")
            index += 1
        elif pattern[index] == "?":
            out.append("[^/]")
            index += 1
        else:
            out.append(re.escape(pattern[index]))
            index += 1
    return re.compile(r"(?:.*/)?" + "".join(out) + r"(?:/.*)?", re.DOTALL)


RULE = Rule(id="forbidden-paths", summary="Infrastructure, governance and credential files stay", check=_check)
