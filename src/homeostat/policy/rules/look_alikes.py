"""Names that read like others: letters of other alphabets in code and paths, and names near to protected ones."""

import re
import sys
from collections.abc import Iterable, Iterator

from homeostat.model.change import FileChange, TreeChange
from homeostat.model.proof import PolicyFinding, PolicySeverity
from homeostat.policy.document import PolicyDocument
from homeostat.policy.look_alikes import mixes_alphabets, skeleton
from homeostat.policy.rules.shape import Rule, added_lines, base_name

_WORD = re.compile(r"[^\W_]{2,}")
_TEXT = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_COMMENT = re.compile(r"(?:^|\s)(?:#|//).*$")
_TALK = (".md", ".rst", ".txt", ".po", ".pot", ".html", ".csv", ".ftl", ".strings")

_GUARDING = ("conftest.py", "sitecustomize.py", "usercustomize.py", "pytest.ini", "CODEOWNERS", "policy_test.py")
"""Names that steer what runs or who decides, beside those that no change may touch."""

_RUNNERS = ("pytest", "_pytest", "pluggy", "xdist", "coverage", "hypothesis", "nose", "homeostat", "homeostat_agent")

_SHORTEST = 7
"""Of shorter names too many are near one another."""


def _check(change: TreeChange, document: PolicyDocument) -> Iterable[PolicyFinding]:
    protected = {_folded(base_name(name)) for name in (*document.forbidden, *_GUARDING) if "*" not in name}
    for item in change.files:
        yield from _of_path(item, protected)
        if not item.path.endswith(_TALK):
            yield from _of_lines(item)


def _of_path(item: FileChange, protected: set[str]) -> Iterator[PolicyFinding]:
    if item.after is None or (item.before is not None and item.path == item.old_path):
        return  # the name was there before
    foreign = next((word for word in _WORD.findall(item.path) if mixes_alphabets(word)), None)
    if (
        foreign is not None
        or item.path != item.path.strip()
        or any(part != part.strip(" .") for part in _hidden(item.path))
    ):
        yield _finding(item, None, f"the path {item.path!a} does not read as it is written", 0.95)
        return
    name = _folded(base_name(item.path))
    hidden = _hides(item.path)
    if hidden is not None:
        yield _finding(item, None, f"this comes before the module {hidden} wherever both are looked for", 0.9)
    near = next((one for one in sorted(protected) if name != one and len(one) >= _SHORTEST and _near(name, one)), None)
    if near is not None:
        yield _finding(item, None, f"this name is nearly {near}, which is protected", 0.6)


def _hides(path: str) -> str | None:
    """Return the module of Python, or of the test runner, in whose place a new top-level file would be imported."""
    parts = path.removeprefix("src/").split("/")
    name = parts[0].removesuffix(".py") if len(parts) == 1 or parts[1] == "__init__.py" else ""
    known = name in sys.stdlib_module_names or name in _RUNNERS
    return name if known and path.endswith(".py") else None


def _hidden(path: str) -> Iterator[str]:
    """Yield the parts of a path without the one dot that hides a file."""
    for part in path.split("/"):
        yield part[1:] if part.startswith(".") else part


def _folded(name: str) -> str:
    return skeleton(name).replace("-", "_")


def _near(one: str, other: str) -> bool:
    """Tell two names that are one letter apart: another, one more, one less, or two in each other's place."""
    if abs(len(one) - len(other)) > 1:
        return False
    start = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    left, right = one[start:], other[start:]
    swapped = len(left) > 1 and len(right) > 1 and left[:2] == right[1::-1] and left[2:] == right[2:]
    return swapped or left[1:] == right[1:] or left[1:] == right or left == right[1:]


def _of_lines(item: FileChange) -> Iterator[PolicyFinding]:
    for number, line in added_lines(item):
        if line.isascii():
            continue
        said = _COMMENT.sub("", line)
        names = _WORD.findall(_TEXT.sub(" ", said))
        # In a text whole words of another language are what they are; in code they are names that read like others.
        texts = [word for word in _WORD.findall(said) if re.search(r"[A-Za-z]", word)]
        word = next((word for word in (*names, *texts) if mixes_alphabets(word)), None)
        if word is not None:
            yield _finding(item, number, f"{word[:50]!a} reads like {skeleton(word)[:50]!r} and is another name", 0.9)


def _finding(item: FileChange, line: int | None, message: str, confidence: float) -> PolicyFinding:
    return PolicyFinding(
        rule="look-alikes",
        severity=PolicySeverity.REVIEW,
        path=item.path,
        line=line,
        message=message,
        remedy="use a name that nobody takes for another",
        confidence=confidence,
    )


RULE = Rule(id="look-alikes", summary="Names that read like others are pointed out", check=_check)
