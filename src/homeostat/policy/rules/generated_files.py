"""Files that nobody reads: binary, minified, made by a program. What nobody reads, nobody reviews."""

import re
from collections.abc import Iterable

from homeostat.model.change import FileChange, TreeChange
from homeostat.model.proof import PolicyFinding, PolicySeverity
from homeostat.policy.document import PolicyDocument
from homeostat.policy.rules.shape import Rule, added_lines

_RUNS = re.compile(
    r"(?i).*\.(?:pyc|pyo|pyd|so(?:\.[\d.]+)?|dll|dylib|exe|whl|egg|jar|class|o|a|bin|zip|tar|gz|xz|bz2|7z|pkl|pickle|joblib|npz|pt)"
)
_MADE = re.compile(r"(?i).*(?:\.min\.(?:js|css)|_pb2(?:_grpc)?\.py|\.bundle\.js|\.map)")
_SAYS_SO = re.compile(r"(?i)@generated|\bdo not edit\b|\b(?:auto-?|automatically )generated\b")
_LONG = 2_000


def _check(change: TreeChange, document: PolicyDocument) -> Iterable[PolicyFinding]:
    for item in change.files:
        what = _what(item)
        if what:
            yield PolicyFinding(
                rule="generated-files",
                severity=PolicySeverity.REVIEW,
                path=item.path,
                line=None,
                message=f"this file {what}",
                remedy="change what it is made from, and let it be made where that is checked",
                confidence=0.8,
            )


def _what(item: FileChange) -> str:
    if item.after is None:
        return ""
    if _RUNS.fullmatch(item.path) or b"\0" in item.after.content:
        return "holds bytes that nobody can read"
    if _MADE.fullmatch(item.path) or any(_SAYS_SO.search(line) for line in _head(item)):
        return "is made by a program"
    if any(len(line) > _LONG for _, line in added_lines(item)):
        return f"has a new line of more than {_LONG:,} characters"
    return ""


def _head(item: FileChange) -> list[str]:
    assert item.after is not None
    return [
        line
        for line in item.after.content[:2_000].decode("utf-8", errors="replace").split("\n")[:10]
        if line[:2] in ("# ", "//", "/*", "<!")
    ]


RULE = Rule(id="generated-files", summary="Files that nobody reads are pointed out", check=_check)
